"""Messages: what was said, by whom, in which chat; every write to the table."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.conversations.tables import (
    ERASED,
    conversations,
    erased_ref,
    messages,
)
from otvet.storage.prepared import Prepared


def of_lead(lead_id: int) -> sa.ColumnElement[bool]:
    """Selects all messages of a deal, also those in its completed conversations."""
    return messages.c.conversation_id.in_(
        sa.select(conversations.c.id).where(conversations.c.amocrm_lead_id == lead_id)
    )


def origin_of(about: Mapping[str, Any] | None) -> str:
    """amoCRM's name of a message's channel, from its ``metadata``; empty if it is not known."""
    raw = (about or {}).get("raw")
    origin = raw.get("origin") if isinstance(raw, dict) else None
    return origin if isinstance(origin, str) else ""


def chats_named(connection: Connection, conversation_id: int, talk_id: str | None, contact_id: int | None) -> set[str]:
    """The chats of a conversation in which this talk has messages; if there are none, those of this contact."""
    for column, value in ((messages.c.amocrm_talk_id, talk_id), (messages.c.amocrm_contact_id, contact_id)):
        if value is None:
            continue
        here = (messages.c.conversation_id == conversation_id, column == value, messages.c.amocrm_chat_id.is_not(None))
        if found := set(connection.scalars(sa.select(messages.c.amocrm_chat_id).where(*here).distinct())):
            return found
    return set()


_ADD_REPLY = messages.insert()
# What goes to the client: the assistant's reply, or a manager's own words.
_REPLY = sa.and_(messages.c.turn_id == sa.bindparam("turn"), messages.c.sender_type != "client")
_HAS_REPLY = sa.select(messages.c.id).where(_REPLY).limit(1)
_SET_REPLY = messages.update().where(_REPLY).values(content=sa.bindparam("text"))
_REMOVE_REPLY = messages.delete().where(_REPLY)
_MOVE_MESSAGES = (
    messages.update().where(messages.c.turn_id == sa.bindparam("source")).values(turn_id=sa.bindparam("target"))
)


def add_reply(
    connection: Connection,
    conversation_id: int,
    chat_ref: str,
    turn_id: int,
    text: str,
    about: Mapping[str, Any],
    now: datetime,
    sender: str = "assistant",
) -> None:
    """Store the reply of a turn as a message. about: its ``metadata``. sender: "manager" for a manager's own words."""
    message = {
        "conversation_id": conversation_id,
        "sender_type": sender,
        "content": text,
        "message_type": "text",
        "metadata": about,
        "timestamp": now,
        "chat_ref": chat_ref or None,
        "turn_id": turn_id,
    }
    connection.execute(_ADD_REPLY, message)


def has_reply(connection: Connection, turn_id: int) -> bool:
    """Whether a turn's reply is stored as a message, so that it counts as said."""
    return connection.execute(_HAS_REPLY, {"turn": turn_id}).first() is not None


def set_reply_text(connection: Connection, turn_id: int, text: str) -> None:
    """Replace the text of a turn's reply by the part that was said."""
    connection.execute(_SET_REPLY, {"turn": turn_id, "text": text})


def reply_of(turn_id: int) -> sa.ColumnElement[bool]:
    """Selects the message of a turn's reply."""
    return sa.and_(messages.c.turn_id == turn_id, messages.c.sender_type == "assistant")


def remove_reply(connection: Connection, turn_id: int) -> None:
    """Delete a turn's reply, which was never said."""
    connection.execute(_REMOVE_REPLY, {"turn": turn_id})


def know_message(
    connection: Connection,
    message_id: int,
    key: str,
    contact_id: int | None,
    chat_id: str | None,
    talk_id: str | None,
    chat_ref: str | None,
    raw: Mapping[str, Any],
) -> None:
    """Add the details from amoCRM's webhook to a message that was stored without its ids."""
    here = messages.c.id == message_id
    about = connection.execute(sa.select(messages.c.metadata).where(here)).scalar_one()
    values = {
        "amocrm_message_id": key,
        "amocrm_contact_id": contact_id,
        "amocrm_chat_id": chat_id,
        "amocrm_talk_id": talk_id,
        "chat_ref": chat_ref,
        "metadata": {**about, "raw": raw},
    }
    connection.execute(messages.update().where(here).values(values))


def known_messages(connection: Connection, keys: Collection[str]) -> set[str]:
    """Which of these keys of amoCRM's messages are stored."""
    return set(
        connection.scalars(sa.select(messages.c.amocrm_message_id).where(messages.c.amocrm_message_id.in_(keys)))
    )


def move_message(connection: Connection, message_id: int, to_turn: int) -> None:
    """Move a message to another turn."""
    connection.execute(messages.update().where(messages.c.id == message_id).values(turn_id=to_turn))


def move_messages(connection: Connection, from_turn: int, to_turn: int) -> None:
    """Move the messages of a turn to another turn."""
    connection.execute(_MOVE_MESSAGES, {"source": from_turn, "target": to_turn})


VOICE = ("voice", "audio")
"""Kinds of messages whose words are in a file."""

# By name, because otvet.turns imports this module. A kept reply counts as said: without an account it cannot be sent.
turn_states = sa.table("turns", sa.column("id"), sa.column("state"))
NEVER_SAID = sa.or_(
    messages.c.message_type == ERASED,
    sa.and_(
        messages.c.sender_type != "client",
        sa.exists().where(turn_states.c.id == messages.c.turn_id, turn_states.c.state.in_(("failed", "cancelled"))),
    ),
)


_ADD_MESSAGES = Prepared(
    messages.insert(),
    columns=(
        "conversation_id",
        "sender_type",
        "content",
        "message_type",
        "metadata",
        "timestamp",
        "amocrm_message_id",
        "amocrm_contact_id",
        "amocrm_chat_id",
        "amocrm_talk_id",
        "chat_ref",
        "turn_id",
    ),
)


def add_messages(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store messages that amoCRM has reported."""
    _ADD_MESSAGES.run(connection, rows)


def move_to_conversation(connection: Connection, from_conversation: int, to_conversation: int) -> None:
    """Move the messages of a conversation to another one."""
    here = messages.c.conversation_id == from_conversation
    connection.execute(messages.update().where(here).values(conversation_id=to_conversation))


def tell_lead(connection: Connection, conversation_id: int, lead_id: int | None) -> None:
    """Write the deal into the metadata of messages that were stored before it was known."""
    here = messages.c.conversation_id == conversation_id
    for row in connection.execute(sa.select(messages.c.id, messages.c.metadata).where(here)).all():
        about = {**row.metadata, "amocrm_lead_id": lead_id}
        connection.execute(messages.update().where(messages.c.id == row.id).values(metadata=about))


def reword(connection: Connection, message_id: int, text: str, kind: str, about: Mapping[str, Any]) -> None:
    """Store the new words of a message that was edited. about: its new ``metadata``."""
    change = messages.update().where(messages.c.id == message_id, messages.c.message_type != ERASED)
    connection.execute(change.values(content=text, message_type=kind, metadata=about))


def write_down(connection: Connection, message_id: int, text: str, about: Mapping[str, Any]) -> None:
    """Store the transcript of a voice message, unless the client was erased meanwhile. about: its new ``metadata``."""
    unheard = (messages.c.message_type.in_(VOICE), messages.c.content == "")
    change = messages.update().where(messages.c.id == message_id, *unheard)
    connection.execute(change.values(content=text, metadata=about))


def erase_messages(connection: Connection, message_ids: Collection[int]) -> None:
    """Erase messages. The rows and their ids stay, so that a repeated webhook does not bring the messages back."""
    connection.execute(
        messages.update()
        .where(messages.c.id.in_(message_ids))
        .values(
            content="",
            message_type=ERASED,
            metadata={},
            amocrm_contact_id=None,
            amocrm_chat_id=None,
            amocrm_talk_id=None,
            chat_ref=erased_ref(messages, None),
            first_version=sa.null(),
        )
    )
