"""An index for the numbers of a period."""

from alembic import op

revision = "0020"
down_revision = "0014"


def upgrade() -> None:
    op.create_index("ix_turns_first_message_at", "turns", ["first_message_at"])
