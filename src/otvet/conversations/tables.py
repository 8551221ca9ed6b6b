"""Clients, conversations, chats and messages: the tables that users know. Each is written by the file of its name."""

from datetime import UTC, datetime

import sqlalchemy as sa

from otvet.storage.engines import Id, Json, UtcDateTime, metadata

clients = sa.Table(
    "clients",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("amocrm_contact_id", sa.BigInteger, unique=True),
    sa.Column("name", sa.Text),
    sa.Column("phone", sa.Text),
    sa.Column("email", sa.Text),
    sa.Column("card", Json),  # the other fields of the contact's card; see amocrm.cards.contact
    sa.Column("card_read_at", UtcDateTime),
    sa.Column("card_due_at", UtcDateTime),  # see ``deal_due_at``
    sa.Column("first_version", Json),  # the row as it stood in a file of the first version
    sa.Index(None, "name", "phone"),  # all that a search for a client has to read
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
    sa.Column("paused_until", UtcDateTime),  # until then staff answer in the whole deal; ``chats`` has each chat's own
    sa.Column("paused_by", sa.Text),  # BY_MANAGER, BY_CLIENT or BY_HAND
    sa.Column("mode", sa.Text),  # AUTO, DRAFT or OFF; none: the mode of the settings
    sa.Column("summary", sa.Text),  # the summary of the deal's messages up to ...
    sa.Column("summarised_until", UtcDateTime),  # ... this moment, by amoCRM's clock
    sa.Column("deal", Json),  # amoCRM's card of the deal; see amocrm.cards.deal
    sa.Column("deal_read_at", UtcDateTime),
    sa.Column("deal_due_at", UtcDateTime),  # when to read it again; a reader's claim moves this, see deals/known.py
    sa.Column(
        "searches", sa.Integer, nullable=False, server_default="0"
    ),  # how many searches for the deal were in vain
    sa.Column("search_at", UtcDateTime),  # when to search for the deal again
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

chats = sa.Table(
    "chats",
    metadata,
    sa.Column("chat_ref", sa.Text, primary_key=True),  # see events.MessageEvent.chat_ref
    # The conversation where the chat was last seen. Of several chats ``conversations.chat_ref`` is the last that wrote.
    sa.Column("conversation_id", Id, sa.ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("paused_until", UtcDateTime),  # until then staff answer in this chat, also if it goes on in another deal
    sa.Column("paused_by", sa.Text),  # BY_MANAGER or BY_CLIENT
)

_WITHOUT_CHAT = sa.text("chat_ref IS NULL AND message_type <> 'erased'")

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
    sa.Column("amocrm_message_id", sa.Text),  # or a key of our own; see events.MessageEvent.key
    sa.Column("amocrm_contact_id", sa.BigInteger),
    sa.Column("amocrm_chat_id", sa.Text),
    sa.Column("amocrm_talk_id", sa.Text),
    sa.Column("chat_ref", sa.Text),  # the chat in which it was said, if known; see ``chats``
    sa.Column(
        "turn_id", Id, sa.ForeignKey("turns.id"), index=True
    ),  # the turn that answers the client's message, or that wrote the reply
    sa.Column("first_version", Json),  # the row as it stood in a file of the first version
    sa.CheckConstraint("sender_type IN ('client', 'assistant', 'manager')", name="sender_type"),
    sa.Index(None, "conversation_id", "timestamp", "id"),
    # Some channels count their messages from 1 in every chat.
    sa.Index("uq_messages_id_in_chat", "amocrm_message_id", "chat_ref", unique=True),
    sa.Index(
        "uq_messages_id_without_chat",
        "amocrm_message_id",
        "conversation_id",
        unique=True,
        sqlite_where=_WITHOUT_CHAT,
        postgresql_where=_WITHOUT_CHAT,
    ),
)

TRIAL = "otvet-trial-"
"""Trial chats begin with it: no list and no number counts them, and nothing of them goes to amoCRM."""
BY_HAND_TRIAL = f"{TRIAL}page-"
"""The trial chats of the pages, in which somebody waits for the reply: the quiet period is short there."""
ERASED_TRIAL = f"{TRIAL}erased"
"""Stands for the chat of an erased trial, so that it is counted nowhere afterwards either."""


def is_trial(table: sa.FromClause) -> sa.ColumnElement[bool]:
    """Whether a message, turn or hand-off is of a trial chat."""
    return sa.func.coalesce(table.c.chat_ref, "").startswith(TRIAL)


def erased_ref(table: sa.FromClause, nothing: str | None) -> sa.ColumnElement[str]:
    """What replaces the chat of an erased row. nothing: the column's value for no chat."""
    return sa.case((is_trial(table), ERASED_TRIAL), else_=sa.literal(nothing, sa.Text))


ERASED = "erased"  # the ``message_type`` of an erased message, which no responder is told

BY_MANAGER = "manager"  # a manager wrote
BY_CLIENT = "client"  # the client asked for a person
BY_HAND = "hand"
FOR_GOOD = datetime(9999, 1, 1, tzinfo=UTC)

AUTO, DRAFT, OFF = "auto", "draft", "off"
MODES = (AUTO, DRAFT, OFF)


def may_yield_to_manager(table: sa.Table, until: datetime, now: datetime) -> sa.ColumnElement[bool]:
    """Whether a manager's message may set the pause of a deal or a chat to ``until``.

    It never ends a pause by hand and never shortens a pause, but replaces the pause of a client who asked for a person.
    """
    by_hand = sa.and_(table.c.paused_by == BY_HAND, table.c.paused_until > now)
    shorter = sa.or_(table.c.paused_until.is_(None), table.c.paused_until < until)
    return sa.and_(
        sa.or_(table.c.paused_by.is_(None), ~by_hand),
        sa.or_(table.c.paused_by == BY_CLIENT, shorter),
    )
