"""What is kept of how a reply came about: refused drafts and why, what was spent, questions without an answer."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"

JSON = sa.JSON().with_variant(JSONB(), "postgresql")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("tries", sa.Column("refused", sa.Text))
    op.add_column("tries", sa.Column("findings", JSON))
    op.add_column("conversations", sa.Column("summary", sa.Text))
    op.add_column("conversations", sa.Column("summarised_until", MOMENT))
    op.add_column("turns", sa.Column("gap", sa.Boolean, nullable=False, server_default=sa.false()))
    gaps = sa.text("gap")
    op.create_index("ix_turns_gaps", "turns", ["first_message_at"], sqlite_where=gaps, postgresql_where=gaps)
    op.create_table(
        "spending",
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("responder", sa.Text, nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("day", "responder", name="pk_spending"),
    )
