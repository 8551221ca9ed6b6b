"""Turns are owned by a process, conversations can be in a person's hands, limits and gates are shared."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("conversations", sa.Column("paused_until", MOMENT))
    op.add_column("conversations", sa.Column("paused_by", sa.Text))
    op.add_column("turns", sa.Column("owner", sa.Text))
    op.add_column("turns", sa.Column("redrafts", sa.Integer, nullable=False, server_default="0"))
    op.add_column("turns", sa.Column("forced", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("turns", sa.Column("summary", sa.Text))
    with op.batch_alter_table("tries") as tries:
        tries.add_column(sa.Column("draft", sa.Integer, nullable=False, server_default="0"))
        tries.drop_constraint("uq_tries_turn_id_responder", type_="unique")
        tries.create_unique_constraint("uq_tries_turn_id_draft_responder", ["turn_id", "draft", "responder"])
    op.create_table(
        "processes",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("seen_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_processes"),
    )
    op.create_table(
        "rate_places",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_rate_places"),
    )
    op.create_index("ix_rate_places_name_at", "rate_places", ["name", "at"])
    op.create_table(
        "gates",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("sentence", sa.Text, nullable=False),
        sa.Column("closed_at", MOMENT, nullable=False),
        sa.Column("look_again_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_gates"),
    )
