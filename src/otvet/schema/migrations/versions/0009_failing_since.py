"""Since when attempts at a turn have failed: the day for which they are repeated is counted from there."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("turns", sa.Column("failing_since", sa.DateTime(timezone=True)))
