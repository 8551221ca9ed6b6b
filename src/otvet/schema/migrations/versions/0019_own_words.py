"""A manager's own words wait beside a question; a reply that is only suggested."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"

_WAITS = sa.text("state = 'waiting' AND reply IS NULL")


def upgrade() -> None:
    op.add_column("turns", sa.Column("as_draft", sa.Boolean, nullable=False, server_default=sa.false()))
    op.drop_index("uq_turns_waiting", "turns")
    chat = ["conversation_id", "chat_ref"]
    op.create_index("uq_turns_waiting", "turns", chat, unique=True, sqlite_where=_WAITS, postgresql_where=_WAITS)
