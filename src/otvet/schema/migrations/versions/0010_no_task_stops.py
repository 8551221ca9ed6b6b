"""Manus's webhook is gone: its tasks are polled, so nothing that it told is kept any more."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.drop_table("task_stops")
    installation = sa.table("installation", sa.column("name"))
    # The id of the webhook that was registered at Manus, by account.
    op.execute(installation.delete().where(installation.c.name.startswith("manus_webhook.", autoescape=True)))
