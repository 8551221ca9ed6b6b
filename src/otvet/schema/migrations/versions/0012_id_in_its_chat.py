"""amoCRM's id of a message is unique within its chat: some channels count their messages from 1 in every chat."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0012"
down_revision = "0011"

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        _make_messages_anew()
    else:
        op.drop_constraint("uq_messages_amocrm_message_id", "messages", type_="unique")
    _unique_index("uq_messages_id_in_chat", ["amocrm_message_id", "chat_ref"])
    without_chat = "chat_ref IS NULL AND message_type <> 'erased'"
    _unique_index("uq_messages_id_without_chat", ["amocrm_message_id", "conversation_id"], without_chat)


def _unique_index(name: str, columns: list[str], where: str | None = None) -> None:
    condition: dict[str, Any] = {}
    if where:
        condition = {"sqlite_where": sa.text(where), "postgresql_where": sa.text(where)}
    op.create_index(name, "messages", columns, unique=True, **condition)


def _make_messages_anew() -> None:
    """SQLite cannot drop a constraint of a table."""
    op.execute("ALTER TABLE messages RENAME TO messages_before")
    op.drop_index("ix_messages_conversation_id_timestamp_id", "messages_before")
    op.drop_index("ix_messages_turn_id", "messages_before")
    made = op.create_table(
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
        sa.Column("chat_ref", sa.Text()),
        sa.Column("turn_id", ID),
        sa.Column("first_version", JSON),
        sa.CheckConstraint("sender_type IN ('client', 'assistant', 'manager')", name=op.f("ck_messages_sender_type")),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.id"], name="fk_messages_conversation_id_conversations"
        ),
        sa.ForeignKeyConstraint(["turn_id"], ["turns.id"], name="fk_messages_turn_id_turns"),
        sa.PrimaryKeyConstraint("id", name="pk_messages"),
    )
    names = ", ".join(column.name for column in made.columns)
    op.execute(f"INSERT INTO messages ({names}) SELECT {names} FROM messages_before")  # noqa: S608 - our own names
    op.drop_table("messages_before")
    op.create_index("ix_messages_conversation_id_timestamp_id", "messages", ["conversation_id", "timestamp", "id"])
    op.create_index("ix_messages_turn_id", "messages", ["turn_id"])
