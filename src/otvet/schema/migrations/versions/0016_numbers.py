"""An index for the numbers of a period, and what staff were told outside amoCRM."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.create_index("ix_turns_first_message_at", "turns", ["first_message_at"])
    op.create_table(
        "notices",
        sa.Column("matter", sa.Text, nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("matter", name="pk_notices"),
    )
