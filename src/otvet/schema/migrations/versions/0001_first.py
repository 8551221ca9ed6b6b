"""Clients, conversations, messages, and the turns that answer them."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
MOMENT = sa.DateTime(timezone=True)


def where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def upgrade() -> None:
    op.create_table(
        "clients",
        sa.Column("id", ID, nullable=False),
        sa.Column("amocrm_contact_id", sa.BigInteger()),
        sa.Column("name", sa.Text()),
        sa.Column("phone", sa.Text()),
        sa.Column("email", sa.Text()),
        sa.Column("first_version", JSON),
        sa.PrimaryKeyConstraint("id", name="pk_clients"),
        sa.UniqueConstraint("amocrm_contact_id", name="uq_clients_amocrm_contact_id"),
    )
    op.create_table(
        "counters",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_counters"),
    )
    op.create_table(
        "installation",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_installation"),
    )
    op.create_table(
        "quarantine",
        sa.Column("id", ID, nullable=False),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_quarantine"),
    )
    op.create_table(
        "conversations",
        sa.Column("id", ID, nullable=False),
        sa.Column("client_id", ID, nullable=False),
        sa.Column("amocrm_lead_id", sa.BigInteger()),
        sa.Column("chat_ref", sa.Text()),
        sa.Column("status", sa.Text(), server_default="active", nullable=False),
        sa.Column("last_activity", MOMENT, nullable=False),
        sa.Column("first_version", JSON),
        sa.CheckConstraint("status IN ('active', 'completed')", name=op.f("ck_conversations_status")),
        sa.ForeignKeyConstraint(["client_id"], ["clients.id"], name="fk_conversations_client_id_clients"),
        sa.PrimaryKeyConstraint("id", name="pk_conversations"),
    )
    op.create_index("ix_conversations_amocrm_lead_id", "conversations", ["amocrm_lead_id"])
    op.create_index("ix_conversations_chat_ref", "conversations", ["chat_ref"])
    op.create_index("ix_conversations_client_id", "conversations", ["client_id"])
    op.create_index("ix_conversations_last_activity_id", "conversations", ["last_activity", "id"])
    op.create_index(
        "uq_conversations_active_lead",
        "conversations",
        ["amocrm_lead_id"],
        unique=True,
        **where("status = 'active'"),
    )
    op.create_index(
        "uq_conversations_waiting_chat",
        "conversations",
        ["chat_ref"],
        unique=True,
        **where("amocrm_lead_id IS NULL AND status = 'active'"),
    )
    op.create_table(
        "threads",
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("responder", sa.Text(), nullable=False),
        sa.Column("thread", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.id"], name="fk_threads_conversation_id_conversations"
        ),
        sa.PrimaryKeyConstraint("conversation_id", "responder", name="pk_threads"),
    )
    op.create_table(
        "turns",
        sa.Column("id", ID, nullable=False),
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("first_message_at", MOMENT, nullable=False),
        sa.Column("last_message_at", MOMENT, nullable=False),
        sa.Column("closed_at", MOMENT),
        sa.Column("responder", sa.Text()),
        sa.Column("model", sa.Text()),
        sa.Column("reply", sa.Text()),
        sa.Column("details", JSON),
        sa.Column("note_id", sa.BigInteger()),
        sa.Column("reason", sa.Text()),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.id"], name="fk_turns_conversation_id_conversations"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_turns"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_turns_conversation_id", "turns", ["conversation_id"])
    op.create_index("ix_turns_state", "turns", ["state"])
    op.create_index(
        "uq_turns_in_hand",
        "turns",
        ["conversation_id"],
        unique=True,
        **where("state IN ('answering', 'sending')"),
    )
    op.create_index("uq_turns_waiting", "turns", ["conversation_id"], unique=True, **where("state IN ('waiting')"))
    op.create_table(
        "messages",
        sa.Column("id", ID, nullable=False),
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("sender_type", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("message_type", sa.Text(), server_default="text", nullable=False),
        sa.Column("metadata", JSON, nullable=False),
        sa.Column("timestamp", MOMENT, nullable=False),
        sa.Column("amocrm_message_id", sa.Text()),
        sa.Column("amocrm_contact_id", sa.BigInteger()),
        sa.Column("amocrm_chat_id", sa.Text()),
        sa.Column("amocrm_talk_id", sa.Text()),
        sa.Column("turn_id", ID),
        sa.Column("first_version", JSON),
        sa.CheckConstraint("sender_type IN ('client', 'assistant', 'manager')", name=op.f("ck_messages_sender_type")),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.id"], name="fk_messages_conversation_id_conversations"
        ),
        sa.ForeignKeyConstraint(["turn_id"], ["turns.id"], name="fk_messages_turn_id_turns"),
        sa.PrimaryKeyConstraint("id", name="pk_messages"),
        sa.UniqueConstraint("amocrm_message_id", name="uq_messages_amocrm_message_id"),
    )
    op.create_index("ix_messages_conversation_id_timestamp_id", "messages", ["conversation_id", "timestamp", "id"])
    op.create_index("ix_messages_turn_id", "messages", ["turn_id"])
    op.create_table(
        "tries",
        sa.Column("id", ID, nullable=False),
        sa.Column("turn_id", ID, nullable=False),
        sa.Column("responder", sa.Text(), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT),
        sa.Column("outcome", sa.Text()),
        sa.Column("facts", JSON, nullable=False),
        sa.ForeignKeyConstraint(["turn_id"], ["turns.id"], name="fk_tries_turn_id_turns"),
        sa.PrimaryKeyConstraint("id", name="pk_tries"),
        sa.UniqueConstraint("turn_id", "responder", name="uq_tries_turn_id_responder"),
    )
