"""Hand-offs: what is left to staff, with the task that tells them. What stood on the list before gets no task."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

MOMENT = sa.DateTime(timezone=True)
ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_OPEN = sa.text("closed_at IS NULL")

# As they are here, whatever the code calls them one day.
turns = sa.table(
    "turns",
    sa.column("id"),
    sa.column("conversation_id"),
    sa.column("chat_ref"),
    sa.column("state"),
    sa.column("last_message_at", MOMENT),
    sa.column("closed_at", MOMENT),
    sa.column("handoff_id"),
)
handoffs = sa.table(
    "handoffs",
    sa.column("id"),
    sa.column("conversation_id"),
    sa.column("chat_ref"),
    sa.column("opened_at", MOMENT),
    sa.column("due_at", MOMENT),
    sa.column("told_revision"),
)


def upgrade() -> None:
    op.create_table(
        "handoffs",
        sa.Column("id", ID, nullable=False),
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("chat_ref", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False, server_default="1"),
        sa.Column("told_revision", sa.Integer, nullable=False, server_default="0"),
        sa.Column("client_told_at", MOMENT),
        sa.Column("task_id", sa.BigInteger),
        sa.Column("sent_attempt_at", MOMENT),
        sa.Column("retry_at", MOMENT),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("refusal", sa.Text),
        sa.Column("closed_at", MOMENT),
        sa.Column("closed_by", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_handoffs"),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.id"], name="fk_handoffs_conversation_id_conversations"
        ),
    )
    chat_columns = ["conversation_id", "chat_ref"]
    op.create_index(
        "uq_handoffs_open", "handoffs", chat_columns, unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN
    )
    op.create_index("ix_handoffs_due", "handoffs", ["due_at"], sqlite_where=_OPEN, postgresql_where=_OPEN)
    op.add_column("turns", sa.Column("handoff_id", ID))
    op.add_column("turns", sa.Column("draft_note_id", sa.BigInteger))
    op.create_index("ix_turns_handoff_id", "turns", ["handoff_id"])
    connection = op.get_bind()
    since = sa.func.min(sa.func.coalesce(turns.c.closed_at, turns.c.last_message_at))
    chat = (turns.c.conversation_id, turns.c.chat_ref)
    listed = sa.select(*chat, since, since, sa.literal(1)).where(_ON_THE_LIST).group_by(*chat)
    columns = [*chat_columns, "opened_at", "due_at", "told_revision"]
    connection.execute(handoffs.insert().from_select(columns, listed))
    here = (handoffs.c.conversation_id == turns.c.conversation_id, handoffs.c.chat_ref == turns.c.chat_ref)
    of_chat = sa.select(handoffs.c.id).where(*here).scalar_subquery()
    connection.execute(turns.update().where(_ON_THE_LIST).values(handoff_id=of_chat))


_ON_THE_LIST = turns.c.state.in_(("failed", "handed"))
