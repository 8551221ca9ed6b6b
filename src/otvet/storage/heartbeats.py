"""The processes that share the work on one database, and which of them are alive."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.storage.engines import UtcDateTime, insert, metadata

BEAT_SECONDS = 5.0
DEAD_AFTER = timedelta(seconds=20)  # four beats in vain; with the sweep that makes less than 30 s to a takeover
FORGOTTEN_AFTER = timedelta(days=1)

processes = sa.Table(
    "processes",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("seen_at", UtcDateTime, nullable=False),
)


def beat(connection: Connection, me: str, now: datetime) -> None:
    """Say that this process is alive."""
    moment = database_time(connection, now)
    statement = insert(connection.dialect.name, processes).values(id=me, seen_at=moment)
    connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_={"seen_at": moment}))
    connection.execute(processes.delete().where(processes.c.seen_at < moment - FORGOTTEN_AFTER))


def leave(connection: Connection, me: str) -> None:
    """Say that this process stops."""
    connection.execute(processes.delete().where(processes.c.id == me))


_ALIVE = sa.select(processes.c.id).where(processes.c.seen_at > sa.bindparam("since"))


def alive(connection: Connection, now: datetime) -> Sequence[str]:
    """The processes that were heard of lately."""
    since = database_time(connection, now) - DEAD_AFTER
    return connection.scalars(_ALIVE, {"since": since}).all()


def forget_others(connection: Connection, me: str) -> None:
    """On a SQLite file this process has for itself, every other one is dead."""
    connection.execute(processes.delete().where(processes.c.id != me))


def database_time(connection: Connection, now: datetime) -> datetime:
    """One clock for all machines: PostgreSQL's; a SQLite file has one process, so its own will do."""
    if connection.dialect.name != "postgresql":
        return now
    moment: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return moment
