"""Manus may say by a webhook that a task stopped; every process that waits for the task hears of it."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "task_stops",
        sa.Column("delivery", sa.Text, nullable=False),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("delivery", name="pk_task_stops"),
    )
    op.create_index("ix_task_stops_task", "task_stops", ["task"])
