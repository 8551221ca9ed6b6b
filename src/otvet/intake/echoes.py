"""Echoes: our own replies that come back from amoCRM as outgoing messages. They must not pass for a manager's words.

A message is an echo if amoCRM named its id when it took the reply. Otherwise it is an echo if it has the text of a part
in flight, in the same conversation, at about the same time. A part comes back once: the same text later is somebody
else's message.
"""

import html
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from otvet.amocrm.events import MessageEvent
from otvet.conversations.tables import chats, conversations
from otvet.turns import sending
from otvet.turns.parts import GIVEN, SENT, UNKNOWN, came_back, known_echoes, parts
from otvet.turns.turn import turns

BEFORE = timedelta(minutes=1)  # amoCRM's clock may be behind ours
WITHIN = timedelta(minutes=10)  # after the call; a bot may have other steps before the reply
DELIVERED_WITHIN = timedelta(hours=3)  # amoCRM repeats a delivery for the last time 95 minutes after the event
LEAST_TO_CONTAIN = 12  # characters; a bot may put its own words around a part, but "ok" is in every message
MOST_AROUND = 100  # the most characters of a bot's own words; a longer message holds the part by chance

_IN_FLIGHT = (
    sa.select(parts, turns.c.conversation_id, turns.c.chat_ref, turns.c.reply, conversations.c.amocrm_lead_id)
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


def take(connection: Connection, events: Sequence[tuple[MessageEvent, datetime]], now: datetime) -> set[str]:
    """Note outgoing messages that are our parts; returns their keys. events: each with the time it was received."""
    keys = [event.key for event, _at in events]
    own = known_echoes(connection, keys)
    wanted = {
        "since": now - DELIVERED_WITHIN,
        "leads": [event.lead_id for event, _at in events if event.lead_id],
        "refs": [event.chat_ref for event, _at in events if event.chat_ref],
        "keys": keys,
    }
    found = list(connection.execute(_IN_FLIGHT, wanted))
    if not found:
        return own
    chat_of = _conversations_of(connection, wanted["refs"])
    for event, at in events:
        if event.key in own:
            continue
        matching = _matching(event, event.created_at or at, found, chat_of.get(event.chat_ref or ""))
        noted = [part for part in matching if came_back(connection, part.id, event.key)]
        if noted:
            own.add(event.key)
            found = [part for part in found if part not in noted]
            sending.heal(connection, noted[0].turn_id, now)
    return own


def _conversations_of(connection: Connection, refs: Any) -> dict[str, int]:
    query = sa.select(chats).where(chats.c.chat_ref.in_(refs))
    return {row.chat_ref: row.conversation_id for row in connection.execute(query)}


def _matching(event: MessageEvent, at: datetime, found: Sequence[Row[Any]], chat: int | None) -> Sequence[Row[Any]]:
    """The part that came back as this message; all parts of a turn if a bot sent the whole reply at once."""
    for part in found:
        if part.outside_id == event.key:
            return [part]
    here = [
        part for part in found if _is_here(part, event, chat) and part.given_at - BEFORE <= at <= part.given_at + WITHIN
    ]
    # Of two parts with the same text, prefer the one sent into this chat, then the one that was surely sent.
    free = sorted(
        (part for part in here if part.echo_id is None),
        key=lambda part: (part.chat_ref != event.chat_ref, part.state == UNKNOWN),
    )
    said = _plain(event.text)
    for part in free:
        if said == _plain(part.text):
            return [part]
    for part in free:
        if said and said == _plain(part.reply or ""):
            return [other for other in free if other.turn_id == part.turn_id]
    return [part for part in free if _contains(said, _plain(part.text))][:1]


def _is_here(part: Row[Any], event: MessageEvent, chat: int | None) -> bool:
    if event.lead_id is not None and part.amocrm_lead_id == event.lead_id:
        return True
    return chat is not None and part.conversation_id == chat


def _contains(said: str, text: str) -> bool:
    return len(text) >= LEAST_TO_CONTAIN and text in said and len(said) - len(text) <= MOST_AROUND


def _plain(text: str) -> str:
    return " ".join(html.unescape(text).split())
