"""Echoes: our own replies that come back from amoCRM as outgoing messages. They must not pass for a manager's words.

A message is an echo if amoCRM named its id when it took the reply. Otherwise it is an echo if it says what a part on
its way says, in the same conversation, soon after the call.

A bot's message may be changed on the way, and may come several times, once for each channel. Whatever else a bot says
soon after our run is the bot's: it is no manager's word either. From a person, only the whole text counts, and once:
the same text later is that person's own. Where replies come back as a bot's, a person's message never is one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from otvet.amocrm.events import MessageEvent
from otvet.conversations.tables import chats, conversations, messages
from otvet.intake.likeness import Likeness, likeness
from otvet.settings.by_channel import SALESBOT, WIDGET
from otvet.turns import arrival, sending
from otvet.turns.arrival import BOT
from otvet.turns.parts import GIVEN, SENT, UNKNOWN, came_back, known_echoes, parts
from otvet.turns.turn import turns

BEFORE = timedelta(minutes=1)  # amoCRM's clock may be behind ours
WITHIN = timedelta(minutes=10)  # after the call; a bot may have other steps before the reply
DELIVERED_WITHIN = timedelta(hours=3)  # amoCRM repeats a delivery for the last time 95 minutes after the event

_IN_FLIGHT = (
    sa.select(
        parts,
        turns.c.conversation_id,
        turns.c.chat_ref,
        turns.c.reply,
        turns.c.way,
        conversations.c.amocrm_lead_id,
        sa.select(sa.func.max(messages.c.timestamp))
        # Of a manager's own words: when they were written, by the same clock.
        .where(messages.c.turn_id == turns.c.id, messages.c.sender_type != "assistant")
        .scalar_subquery()
        .label("asked_at"),
    )
    .join(turns, turns.c.id == parts.c.turn_id)
    .join(conversations, conversations.c.id == turns.c.conversation_id)
    .where(
        parts.c.state.in_((GIVEN, SENT, UNKNOWN)),
        parts.c.given_at > sa.bindparam("since"),
        sa.or_(
            conversations.c.amocrm_lead_id.in_(sa.bindparam("leads", expanding=True)),
            conversations.c.id.in_(
                sa.select(chats.c.conversation_id).where(chats.c.chat_ref.in_(sa.bindparam("refs", expanding=True)))
            ),
            parts.c.outside_id.in_(sa.bindparam("keys", expanding=True)),
        ),
    )
    .order_by(parts.c.id)
)


@dataclass(frozen=True, slots=True)
class Echoes:
    """The keys of messages that are no manager's. ours: our replies. beside: what a bot said besides, after our run."""

    ours: set[str] = field(default_factory=set)
    beside: set[str] = field(default_factory=set)


def take(connection: Connection, events: Sequence[tuple[MessageEvent, datetime]], now: datetime) -> Echoes:
    """Note which parts have come back as outgoing messages. events: each with the time it was received."""
    keys = [event.key for event, _at in events]
    refs = [event.chat_ref for event, _at in events if event.chat_ref]
    wanted = {
        "since": now - DELIVERED_WITHIN,
        "leads": [event.lead_id for event, _at in events if event.lead_id],
        "refs": refs,
        "keys": keys,
    }
    echoes = Echoes(known_echoes(connection, keys))
    found = list(connection.execute(_IN_FLIGHT, wanted))
    if not found:
        return echoes
    returned = {part.id for part in found if part.echo_id is not None}
    chat_of = _conversations_of(connection, refs)
    for event, at in events:
        if event.key in echoes.ours:
            continue
        near = [part for part in found if _is_near(part, event, at, chat_of.get(event.chat_ref or ""))]
        echo = _echo(connection, event, found, near, returned)
        if echo is not None:
            echoes.ours.add(event.key)
            returned |= _note(connection, event, echo, now)
        elif _author(event) == BOT and any(part.way in (SALESBOT, WIDGET) for part in near):
            echoes.beside.add(event.key)
    return echoes


@dataclass(frozen=True, slots=True)
class _Echo:
    """Parts that a message repeats. has_all: it shows that the client has them, and not only a piece of one."""

    parts: Sequence[Row[Any]]
    has_all: bool


def _echo(
    connection: Connection,
    event: MessageEvent,
    found: Sequence[Row[Any]],
    near: Sequence[Row[Any]],
    returned: set[int],
) -> _Echo | None:
    """What the message repeats; None if it is none of our replies."""
    named = [part for part in found if part.outside_id == event.key]
    if named:
        return _Echo(named[:1], has_all=True)
    if _author(event) == BOT:
        return _best(event, near, returned, worst=Likeness.PIECE)
    free = [part for part in near if part.id not in returned and arrival.comes_back_as(connection, part.way) != BOT]
    return _best(event, free, returned, worst=Likeness.HOLDS)


def _best(event: MessageEvent, near: Sequence[Row[Any]], returned: set[int], worst: Likeness) -> _Echo | None:
    """The part that the message repeats most surely; all parts of a turn if a bot sent the whole reply at once."""
    if not near:
        return None

    def rank(part: Row[Any]) -> tuple[Any, ...]:
        # Of equal ones that which has not come back, was sent into this chat, was surely sent.
        return likeness(event.text, part.text), part.id in returned, part.chat_ref != event.chat_ref, _doubted(part)

    part = min(near, key=rank)
    like = likeness(event.text, part.text)
    if like != Likeness.SAME:
        whole = _of_whole_reply(event, near)
        if whole:
            return _Echo(whole, has_all=True)
    return _Echo([part], has_all=like < Likeness.PIECE) if like <= worst else None


def _of_whole_reply(event: MessageEvent, near: Iterable[Row[Any]]) -> list[Row[Any]]:
    whole = next((part.turn_id for part in near if likeness(event.text, part.reply or "") == Likeness.SAME), None)
    return [part for part in near if part.turn_id == whole]


def _doubted(part: Row[Any]) -> bool:
    return bool(part.state == UNKNOWN)


def _note(connection: Connection, event: MessageEvent, echo: _Echo, now: datetime) -> set[int]:
    """Store what the echo shows; returns the parts that have come back by it."""
    arrival.learn(connection, echo.parts[0].way, _author(event))
    if not echo.has_all:
        return set()
    noted = [part for part in echo.parts if came_back(connection, part.id, event.key)]
    if noted:
        sending.heal(connection, noted[0].turn_id, now)
    return {part.id for part in noted}


def _conversations_of(connection: Connection, refs: Any) -> dict[str, int]:
    query = sa.select(chats).where(chats.c.chat_ref.in_(refs))
    return {row.chat_ref: row.conversation_id for row in connection.execute(query)}


def _is_near(part: Row[Any], event: MessageEvent, at: datetime, chat: int | None) -> bool:
    """Whether the message is of the part's conversation, and was written soon after the part was given to amoCRM."""
    here = event.lead_id is not None and part.amocrm_lead_id == event.lead_id
    if not here and (chat is None or part.conversation_id != chat):
        return False
    written = event.created_at or at
    if part.given_at - BEFORE <= written <= part.given_at + WITHIN:
        return True
    # However far amoCRM's clock is from ours, it has one for the question and for this message.
    asked_at = part.asked_at
    return asked_at is not None and written >= asked_at and part.given_at <= at <= part.given_at + WITHIN


def _author(event: MessageEvent) -> str:
    """amoCRM's type of the message's author; empty if it names none."""
    author = event.raw.get("author")
    kind = author.get("type") if isinstance(author, dict) else None
    return kind.lower() if isinstance(kind, str) else ""
