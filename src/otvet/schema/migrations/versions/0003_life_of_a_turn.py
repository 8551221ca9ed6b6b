"""When a turn's reply was last on its way; and all the chats of a conversation, not only the last one."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
MOMENT = sa.DateTime(timezone=True)

# The reference as amocrm/events.py makes it. Of active conversations, because a completed one is not continued.
LAST_SEEN = """
    INSERT INTO chats (chat_ref, conversation_id)
    SELECT chat_ref, conversation_id FROM (
        SELECT chat_ref, conversation_id, row_number() OVER (PARTITION BY chat_ref ORDER BY id DESC) AS place
        FROM (
            SELECT m.id, m.conversation_id,
                coalesce(m.amocrm_chat_id, 'talk:' || m.amocrm_talk_id, 'contact:' || m.amocrm_contact_id) AS chat_ref
            FROM messages m JOIN conversations c ON c.id = m.conversation_id
            WHERE c.status = 'active'
        ) AS referred
    ) AS seen
    WHERE place = 1 AND chat_ref IS NOT NULL
"""


def upgrade() -> None:
    op.add_column("turns", sa.Column("tried_at", MOMENT))
    # What is being sent at this moment may have been given to amoCRM just now.
    op.execute("UPDATE turns SET tried_at = CURRENT_TIMESTAMP WHERE state = 'sending'")
    op.create_table(
        "chats",
        sa.Column("chat_ref", sa.Text, nullable=False),
        sa.Column("conversation_id", ID, nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.id"],
            name="fk_chats_conversation_id_conversations",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("chat_ref", name="pk_chats"),
    )
    op.create_index("ix_chats_conversation_id", "chats", ["conversation_id"])
    op.execute(LAST_SEEN)
