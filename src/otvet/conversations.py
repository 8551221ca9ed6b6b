"""Clients, conversations and messages: the tables that users know, and what is read of them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from otvet.database import Id, Json, UtcDateTime, metadata

clients = sa.Table(
    "clients",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("amocrm_contact_id", sa.BigInteger, unique=True),
    sa.Column("name", sa.Text),
    sa.Column("phone", sa.Text),
    sa.Column("email", sa.Text),
    sa.Column("first_version", Json),  # the row as it stood in a file of the first version
)

conversations = sa.Table(
    "conversations",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("client_id", Id, sa.ForeignKey("clients.id"), nullable=False, index=True),
    sa.Column("amocrm_lead_id", sa.BigInteger),  # none: the deal is not known yet
    sa.Column("chat_ref", sa.Text),  # the chat that last wrote here; see events.MessageEvent.chat_ref
    sa.Column("status", sa.Text, nullable=False, server_default="active"),
    sa.Column("last_activity", UtcDateTime, nullable=False),
    sa.Column("paused_until", UtcDateTime),  # until then people answer here
    sa.Column("paused_by", sa.Text),  # BY_MANAGER, BY_CLIENT or BY_HAND
    sa.Column("first_version", Json),  # the row as it stood in a file of the first version
    sa.CheckConstraint("status IN ('active', 'completed')", name="status"),
    sa.Index(
        "uq_conversations_active_lead",
        "amocrm_lead_id",
        unique=True,
        sqlite_where=sa.text("status = 'active'"),
        postgresql_where=sa.text("status = 'active'"),
    ),
    sa.Index(
        "uq_conversations_waiting_chat",
        "chat_ref",
        unique=True,
        sqlite_where=sa.text("amocrm_lead_id IS NULL AND status = 'active'"),
        postgresql_where=sa.text("amocrm_lead_id IS NULL AND status = 'active'"),
    ),
    sa.Index(None, "amocrm_lead_id"),
    sa.Index(None, "chat_ref"),
    sa.Index(None, "last_activity", "id"),
)

messages = sa.Table(
    "messages",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("conversation_id", Id, sa.ForeignKey("conversations.id"), nullable=False),
    sa.Column("sender_type", sa.Text, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("message_type", sa.Text, nullable=False, server_default="text"),
    sa.Column("metadata", Json, nullable=False),
    sa.Column("timestamp", UtcDateTime, nullable=False),
    sa.Column("amocrm_message_id", sa.Text, unique=True),  # or a key of our own; see events.MessageEvent.key
    sa.Column("amocrm_contact_id", sa.BigInteger),
    sa.Column("amocrm_chat_id", sa.Text),
    sa.Column("amocrm_talk_id", sa.Text),
    sa.Column("turn_id", Id, sa.ForeignKey("turns.id"), index=True),  # the turn that answers it, or that wrote it
    sa.Column("first_version", Json),  # the row as it stood in a file of the first version
    sa.CheckConstraint("sender_type IN ('client', 'assistant', 'manager')", name="sender_type"),
    sa.Index(None, "conversation_id", "timestamp", "id"),
)


BY_MANAGER = "manager"  # a manager wrote
BY_CLIENT = "client"  # the client asked for a person
BY_HAND = "hand"
FOR_GOOD = datetime(9999, 1, 1, tzinfo=UTC)


def of_lead(lead_id: int) -> sa.ColumnElement[bool]:
    """All that was said in a deal, also in conversations of it that are completed."""
    return messages.c.conversation_id.in_(
        sa.select(conversations.c.id).where(conversations.c.amocrm_lead_id == lead_id)
    )


def pause_for_manager(connection: Connection, conversation_id: int, until: datetime, now: datetime) -> None:
    """A manager wrote. What was paused by hand stays so; a client who asked for a person has one now."""
    by_hand = sa.and_(conversations.c.paused_by == BY_HAND, conversations.c.paused_until > now)
    shorter = sa.or_(conversations.c.paused_until.is_(None), conversations.c.paused_until < until)
    connection.execute(
        conversations.update()
        .where(
            conversations.c.id == conversation_id,
            sa.or_(conversations.c.paused_by.is_(None), ~by_hand),
            sa.or_(conversations.c.paused_by == BY_CLIENT, shorter),
        )
        .values(paused_until=until, paused_by=BY_MANAGER)
    )


def pause_for_client(connection: Connection, conversation_id: int) -> None:
    """The client asked for a person: until one writes, or somebody resumes, nothing is answered."""
    connection.execute(
        conversations.update()
        .where(conversations.c.id == conversation_id)
        .values(paused_until=FOR_GOOD, paused_by=BY_CLIENT)
    )


def set_pause(connection: Connection, lead_id: int, until: datetime | None) -> bool:
    """Pause a deal's conversation by hand, or resume it (None); False when there is none."""
    changed = connection.execute(
        conversations.update()
        .where(conversations.c.amocrm_lead_id == lead_id, conversations.c.status == "active")
        .values(paused_until=until, paused_by=BY_HAND if until else None)
    )
    return changed.rowcount > 0


_HISTORY = (
    sa.select(messages)
    .where(
        messages.c.conversation_id.in_(
            sa.select(conversations.c.id).where(conversations.c.amocrm_lead_id == sa.bindparam("lead"))
        ),
        sa.or_(
            messages.c.turn_id.is_(None),
            messages.c.turn_id != sa.bindparam("turn"),
            messages.c.sender_type != "client",
        ),
    )
    .order_by(messages.c.timestamp.desc(), messages.c.id.desc())
    .limit(sa.bindparam("most"))
)


def history(connection: Connection, lead_id: int, turn_id: int, limit: int) -> Sequence[Row[Any]]:
    """The newest ``limit`` messages of a deal besides what the client said in a turn, oldest first."""
    newest = connection.execute(_HISTORY, {"lead": lead_id, "turn": turn_id, "most": limit})
    return newest.all()[::-1]
