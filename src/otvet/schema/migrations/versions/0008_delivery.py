"""Ways to the client's chat: the parts of a reply and how far each has come, bots that wait, drafts for approval."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

MOMENT = sa.DateTime(timezone=True)
ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.add_column("conversations", sa.Column("mode", sa.Text))
    op.add_column("turns", sa.Column("way", sa.Text))
    op.add_column("turns", sa.Column("approved", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_table(
        "parts",
        sa.Column("id", ID, nullable=False),
        sa.Column("turn_id", ID, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False, server_default="to_send"),
        sa.Column("given_at", MOMENT),
        sa.Column("outside_id", sa.Text),
        sa.Column("echo_id", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_parts"),
        sa.ForeignKeyConstraint(["turn_id"], ["turns.id"], name="fk_parts_turn_id_turns"),
        sa.UniqueConstraint("turn_id", "number", name="uq_parts_turn_id_number"),
    )
    op.create_index("ix_parts_given_at", "parts", ["given_at"])
    op.create_index("ix_parts_outside_id", "parts", ["outside_id"])
    op.create_index("ix_parts_echo_id", "parts", ["echo_id"])
    op.create_table(
        "bot_waits",
        sa.Column("id", ID, nullable=False),
        sa.Column("lead_id", sa.BigInteger, nullable=False),
        sa.Column("return_url", sa.Text, nullable=False),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("turn_id", ID),
        sa.PrimaryKeyConstraint("id", name="pk_bot_waits"),
        sa.ForeignKeyConstraint(["turn_id"], ["turns.id"], name="fk_bot_waits_turn_id_turns"),
        sa.UniqueConstraint("return_url", name="uq_bot_waits_return_url"),
    )
    op.create_index("ix_bot_waits_lead_id", "bot_waits", ["lead_id"])
