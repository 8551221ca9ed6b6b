"""What a Salesbot told of a client's message before, or instead of, the webhook: the same words are not kept twice."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from otvet.amocrm.events import MessageEvent
from otvet.conversations import ERASED, conversations, messages, place_chats

PREFIX = "otvet:bot:"
SAME_WITHIN = timedelta(minutes=10)


def key(return_url: str) -> str:
    """The key of a message that only a bot has told of yet."""
    return PREFIX + hashlib.blake2s(return_url.encode(), digest_size=16).hexdigest()


def said_lately(connection: Connection, lead_id: int, text: str, now: datetime) -> bool:
    """Whether amoCRM's webhook has told of the client's words already."""
    told = [row for row in _lately(connection, lead_id, now) if not row.amocrm_message_id.startswith(PREFIX)]
    return any(_plain(row.content) == _plain(text) for row in told)


def adopt(connection: Connection, events: Sequence[MessageEvent], now: datetime) -> set[str]:
    """The keys of those events whose message a bot told of before; what they know besides is kept with it."""
    adopted: set[str] = set()
    for event in events:
        if event.lead_id is None or event.sender != "client":
            continue
        for row in _lately(connection, event.lead_id, now):
            if row.amocrm_message_id.startswith(PREFIX) and _plain(row.content) == _plain(event.text):
                _know(connection, row, event)
                adopted.add(event.key)
                break
    return adopted


def _lately(connection: Connection, lead_id: int, now: datetime) -> Sequence[Row[Any]]:
    query = (
        sa.select(messages)
        .join(conversations)
        .where(
            conversations.c.amocrm_lead_id == lead_id,
            messages.c.sender_type == "client",
            messages.c.message_type != ERASED,
            messages.c.timestamp > now - SAME_WITHIN,
            messages.c.amocrm_message_id.is_not(None),
        )
        .order_by(messages.c.id)
    )
    return connection.execute(query).all()


def _know(connection: Connection, row: Row[Any], event: MessageEvent) -> None:
    values = {
        "amocrm_message_id": event.key,
        "amocrm_contact_id": event.contact_id,
        "amocrm_chat_id": event.chat_id,
        "amocrm_talk_id": event.talk_id,
        "metadata": {**row.metadata, "raw": event.raw},
    }
    connection.execute(messages.update().where(messages.c.id == row.id).values(values))
    if event.chat_ref:
        place_chats(connection, {event.chat_ref: row.conversation_id})


def _plain(text: str) -> str:
    return " ".join(text.split())
