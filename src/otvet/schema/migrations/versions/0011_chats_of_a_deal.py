"""A turn is of one chat of a deal: its chat, each chat's own pause, a thread and a waiting bot for each chat.

Two columns of turns get the names that the code has for them.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.engine import Connection

revision = "0011"
down_revision = "0010"

MOMENT = sa.DateTime(timezone=True)
ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")

# As they are here, whatever the code calls them one day.
turns = sa.table(
    "turns",
    sa.column("id"),
    sa.column("conversation_id"),
    sa.column("state"),
    sa.column("chat_ref"),
    sa.column("first_message_at", MOMENT),
    sa.column("last_message_at", MOMENT),
    sa.column("redrafts"),
    sa.column("approved", sa.Boolean),
    sa.column("responder"),
    sa.column("model"),
    sa.column("reply"),
    sa.column("reason"),
    sa.column("summary"),
    sa.column("gap", sa.Boolean),
)
messages = sa.table(
    "messages",
    sa.column("id"),
    sa.column("turn_id"),
    sa.column("sender_type"),
    sa.column("chat_ref"),
    sa.column("amocrm_chat_id", sa.Text),
    sa.column("amocrm_talk_id", sa.Text),
    sa.column("amocrm_contact_id", sa.BigInteger),
    sa.column("timestamp", MOMENT),
)
conversations = sa.table("conversations", sa.column("id"), sa.column("chat_ref"))


def upgrade() -> None:
    op.execute("ALTER TABLE turns RENAME COLUMN tried_at TO sent_attempt_at")
    op.execute("ALTER TABLE turns RENAME COLUMN forced TO requested_by_staff")
    op.add_column("turns", sa.Column("chat_ref", sa.Text, nullable=False, server_default=sa.text("''")))
    op.add_column("messages", sa.Column("chat_ref", sa.Text))
    op.add_column("chats", sa.Column("paused_until", MOMENT))
    op.add_column("chats", sa.Column("paused_by", sa.Text))
    connection = op.get_bind()
    _name_chats(connection)
    for name, where in (("uq_turns_waiting", "state IN ('waiting')"), ("uq_turns_in_hand", _IN_HAND)):
        op.drop_index(name, "turns")
        if name == "uq_turns_waiting":
            _part_the_unanswered(connection)
        _unique_index(name, ["conversation_id", "chat_ref"], where)
    _unique_index("uq_turns_field_in_use", ["conversation_id"], "state = 'sending' AND way = 'salesbot'")
    _make_threads_anew(connection)
    _make_bot_waits_anew(connection)


_IN_HAND = "state IN ('answering', 'sending')"


def _unique_index(name: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, "turns", columns, unique=True, sqlite_where=condition, postgresql_where=condition)


def _name_chats(connection: Connection) -> None:
    """By the ids that amoCRM gave; a turn is of the chat in which its client wrote last."""
    named = sa.func.coalesce(
        messages.c.amocrm_chat_id,
        sa.literal("talk:") + messages.c.amocrm_talk_id,
        sa.literal("contact:") + sa.cast(messages.c.amocrm_contact_id, sa.Text),
    )
    connection.execute(messages.update().values(chat_ref=named))
    last = (
        sa.select(messages.c.chat_ref)
        .where(messages.c.turn_id == turns.c.id, messages.c.sender_type == "client")
        .order_by(messages.c.timestamp.desc(), messages.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    connection.execute(turns.update().values(chat_ref=sa.func.coalesce(last, "")))
    asked = sa.select(turns.c.chat_ref).where(turns.c.id == messages.c.turn_id).scalar_subquery()
    replies = messages.update().where(messages.c.sender_type == "assistant", messages.c.turn_id.is_not(None))
    connection.execute(replies.values(chat_ref=sa.func.nullif(asked, "")))


def _part_the_unanswered(connection: Connection) -> None:
    """What waits for an answer in another chat than its turn's goes into a turn of that chat.

    What was being written for all of them is written anew. A draft that a manager has approved is sent as it is.
    """
    waiting = {(row.conversation_id, row.chat_ref): row.id for row in connection.execute(_NAMED_TURNS.where(_WAITING))}
    for row in connection.execute(_STRAYED).all():
        chat = row.conversation_id, row.chat_ref
        if chat not in waiting:
            moments = {"first_message_at": row.first_message_at, "last_message_at": row.last_message_at}
            made = turns.insert().values(conversation_id=chat[0], chat_ref=chat[1], state="waiting", **moments)
            waiting[chat] = connection.execute(made.returning(turns.c.id)).scalar_one()
        connection.execute(messages.update().where(messages.c.id == row.id).values(turn_id=waiting[chat]))
        nothing_written = {
            "reply": None,
            "reason": None,
            "summary": None,
            "gap": False,
            "responder": None,
            "model": None,
        }
        answering = turns.update().where(turns.c.id == row.turn_id, turns.c.state == "answering")
        connection.execute(answering.values(redrafts=turns.c.redrafts + 1, **nothing_written))


_WAITING = turns.c.state == "waiting"
_NAMED_TURNS = sa.select(turns.c.id, turns.c.conversation_id, turns.c.chat_ref)
_STRAYED = (
    sa.select(
        messages.c.id,
        messages.c.turn_id,
        messages.c.chat_ref,
        turns.c.conversation_id,
        turns.c.first_message_at,
        turns.c.last_message_at,
    )
    .join(turns, turns.c.id == messages.c.turn_id)
    .where(
        sa.or_(_WAITING, sa.and_(turns.c.state == "answering", ~turns.c.approved)),
        messages.c.sender_type == "client",
        messages.c.chat_ref != turns.c.chat_ref,
    )
    .order_by(messages.c.id)
)


def _make_threads_anew(connection: Connection) -> None:
    """What a responder remembers goes on in the chat that wrote last."""
    old = sa.table("threads", sa.column("conversation_id"), sa.column("responder"), sa.column("thread"))
    query = sa.select(old, sa.func.coalesce(conversations.c.chat_ref, "").label("chat_ref"))
    kept = _rows(connection, query.join(conversations, conversations.c.id == old.c.conversation_id))
    op.drop_table("threads")
    made = op.create_table(
        "threads",
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("chat_ref", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("responder", sa.Text, nullable=False),
        sa.Column("thread", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("conversation_id", "chat_ref", "responder", name="pk_threads"),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.id"], name="fk_threads_conversation_id_conversations"
        ),
    )
    if kept:
        connection.execute(made.insert(), kept)


def _make_bot_waits_anew(connection: Connection) -> None:
    names = ("id", "lead_id", "return_url", "turn_id")
    old = sa.table("bot_waits", *map(sa.column, names), sa.column("received_at", MOMENT))
    kept = _rows(connection, sa.select(old))
    op.drop_table("bot_waits")
    made = op.create_table(
        "bot_waits",
        sa.Column("id", ID, nullable=False),
        sa.Column("lead_id", sa.BigInteger, nullable=False),
        sa.Column("return_url", sa.Text, nullable=False),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("chat_ref", sa.Text),
        sa.Column("turn_id", ID),
        sa.PrimaryKeyConstraint("id", name="pk_bot_waits"),
        sa.UniqueConstraint("return_url", name="uq_bot_waits_return_url"),
    )
    op.create_index("ix_bot_waits_lead_id", "bot_waits", ["lead_id"])
    op.create_index("ix_bot_waits_turn_id", "bot_waits", ["turn_id"])
    if kept:
        connection.execute(made.insert(), kept)
        if connection.dialect.name == "postgresql":  # its numbers do not go on by themselves
            connection.execute(
                sa.text("SELECT setval(pg_get_serial_sequence('bot_waits', 'id'), max(id)) FROM bot_waits")
            )


def _rows(connection: Connection, query: Any) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in connection.execute(query)]
