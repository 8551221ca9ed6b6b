"""A client's message that both a Salesbot and the webhook report, in any order: its words are stored once."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from otvet.amocrm.events import MessageEvent
from otvet.amocrm.words import plain
from otvet.conversations.chats import place_chats
from otvet.conversations.messages import know_message
from otvet.conversations.tables import ERASED, conversations, messages
from otvet.turns.queue import know_chat, set_apart
from otvet.widget import waiting

PREFIX = "otvet:bot:"


def key(return_url: str) -> str:
    """The key of a message that only a bot has reported."""
    return PREFIX + hashlib.blake2s(return_url.encode(), digest_size=16).hexdigest()


def chat_of_words(connection: Connection, lead_id: int, text: str, now: datetime) -> str | None:
    """The chat of the client's words if the webhook has reported them; empty: unknown; None: it has not."""
    reported = [row for row in _recent(connection, lead_id, now) if not row.amocrm_message_id.startswith(PREFIX)]
    same = [row for row in reported if plain(row.content) == plain(text)]
    return (same[-1].chat_ref or "") if same else None


def is_told(connection: Connection, lead_id: int, text: str, now: datetime) -> bool:
    """Whether a bot's words need not be stored: a bot reported them, or the webhook reports the deal's messages."""
    recent = _recent(connection, lead_id, now)
    return any(not row.amocrm_message_id.startswith(PREFIX) or plain(row.content) == plain(text) for row in recent)


def adopt(connection: Connection, events: Sequence[MessageEvent], now: datetime) -> set[str]:
    """Add the events' details to the messages that a bot has reported; returns the keys of those events."""
    adopted: set[str] = set()
    for event in events:
        if event.lead_id is None or event.sender != "client":
            continue
        for row in _recent(connection, event.lead_id, now):
            if row.amocrm_message_id.startswith(PREFIX) and plain(row.content) == plain(event.text):
                _add_details(connection, row, event, now)
                adopted.add(event.key)
                break
    return adopted


def _recent(connection: Connection, lead_id: int, now: datetime) -> Sequence[Row[Any]]:
    query = (
        sa.select(messages)
        .join(conversations)
        .where(
            conversations.c.amocrm_lead_id == lead_id,
            messages.c.sender_type == "client",
            messages.c.message_type != ERASED,
            messages.c.timestamp > now - waiting.SAME_WITHIN,
            messages.c.amocrm_message_id.is_not(None),
        )
        .order_by(messages.c.id)
    )
    return connection.execute(query).all()


def _add_details(connection: Connection, row: Row[Any], event: MessageEvent, now: datetime) -> None:
    know_message(
        connection, row.id, event.key, event.contact_id, event.chat_id, event.talk_id, event.chat_ref, event.raw
    )
    if not event.chat_ref:
        return
    place_chats(connection, {event.chat_ref: row.conversation_id})
    if row.turn_id is not None:
        know_chat(connection, row.turn_id, event.chat_ref)
        set_apart(connection, row.id, row.turn_id, event.chat_ref, now)
    for bot in waiting.of_deal(connection, event.lead_id or 0, now):
        if key(bot.return_url) == row.amocrm_message_id:
            waiting.know_chat(connection, bot.id, event.chat_ref)
