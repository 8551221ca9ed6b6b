"""What amoCRM's cards say of clients and deals, and the search for the deal of a message that named none."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"

JSON = sa.JSON().with_variant(JSONB(), "postgresql")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("clients", sa.Column("card", JSON))
    op.add_column("clients", sa.Column("card_read_at", MOMENT))
    op.add_column("clients", sa.Column("card_due_at", MOMENT))
    op.add_column("conversations", sa.Column("deal", JSON))
    op.add_column("conversations", sa.Column("deal_read_at", MOMENT))
    op.add_column("conversations", sa.Column("deal_due_at", MOMENT))
    op.add_column("conversations", sa.Column("searches", sa.Integer, nullable=False, server_default="0"))
    op.add_column("conversations", sa.Column("search_at", MOMENT))
