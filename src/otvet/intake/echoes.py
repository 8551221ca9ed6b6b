"""Echoes: replies of ours that come back from amoCRM as outgoing messages. They must not pass for a manager's words.

A message is an echo when amoCRM named its id as it took the reply; otherwise when it says what a part of a reply on
its way says, in the same conversation, at about the same time. A part comes back once: the same words later are
somebody else's.
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
WITHIN = timedelta(minutes=10)  # of the call; a bot may have other steps before
DELIVERED_WITHIN = timedelta(hours=3)  # amoCRM's last repetition of a delivery comes 95 minutes after the event
LEAST_TO_CONTAIN = 12  # characters; a bot may put words of its own around the reply, but "ok" is in every message
MOST_AROUND = 100  # characters of the bot's own words; more, and another message only happens to hold these

_ON_THEIR_WAY = (
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
    """The keys of those outgoing messages that are replies of ours; they are noted with the parts. at: received."""
    keys = [event.key for event, _at in events]
    own = known_echoes(connection, keys)
    wanted = {
        "since": now - DELIVERED_WITHIN,
        "leads": [event.lead_id for event, _at in events if event.lead_id],
        "refs": [event.chat_ref for event, _at in events if event.chat_ref],
        "keys": keys,
    }
    found = list(connection.execute(_ON_THEIR_WAY, wanted))
    if not found:
        return own
    chat_of = _conversations_of(connection, wanted["refs"])
    for event, at in events:
        if event.key in own:
            continue
        those = _matching(event, event.created_at or at, found, chat_of.get(event.chat_ref or ""))
        came = [one for one in those if came_back(connection, one.id, event.key)]
        if came:
            own.add(event.key)
            found = [one for one in found if one not in came]
            sending.heal(connection, came[0].turn_id, now)
    return own


def _conversations_of(connection: Connection, refs: Any) -> dict[str, int]:
    query = sa.select(chats).where(chats.c.chat_ref.in_(refs))
    return {row.chat_ref: row.conversation_id for row in connection.execute(query)}


def _matching(event: MessageEvent, at: datetime, found: Sequence[Row[Any]], chat: int | None) -> Sequence[Row[Any]]:
    """The part that an event is; all of a turn where a bot sent its whole reply at once."""
    for one in found:
        if one.outside_id == event.key:
            return [one]
    here = [one for one in found if _is_here(one, event, chat) and one.given_at - BEFORE <= at <= one.given_at + WITHIN]
    # Of two that say the same, the one that was sent into this chat, and that surely was sent.
    free = sorted(
        (one for one in here if one.echo_id is None),
        key=lambda one: (one.chat_ref != event.chat_ref, one.state == UNKNOWN),
    )
    said = _plain(event.text)
    for one in free:
        if said == _plain(one.text):
            return [one]
    for one in free:
        if said and said == _plain(one.reply or ""):
            return [other for other in free if other.turn_id == one.turn_id]
    return [one for one in free if _contains(said, _plain(one.text))][:1]


def _is_here(part: Row[Any], event: MessageEvent, chat: int | None) -> bool:
    if event.lead_id is not None and part.amocrm_lead_id == event.lead_id:
        return True
    return chat is not None and part.conversation_id == chat


def _contains(said: str, text: str) -> bool:
    return len(text) >= LEAST_TO_CONTAIN and text in said and len(said) - len(text) <= MOST_AROUND


def _plain(text: str) -> str:
    return " ".join(html.unescape(text).split())
