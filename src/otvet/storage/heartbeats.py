"""The heartbeats of the processes that share one database: which of them are alive."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.storage.engines import UtcDateTime, insert, metadata

BEAT_SECONDS = 5.0
DEAD_AFTER = timedelta(seconds=20)  # four missed beats; with the sweep's interval a take-over comes within 30 s
FORGOTTEN_AFTER = timedelta(days=1)

processes = sa.Table(
    "processes",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("seen_at", UtcDateTime, nullable=False),
)


def beat(connection: Connection, me: str, now: datetime) -> None:
    """Store a heartbeat of this process."""
    moment = database_time(connection, now)
    statement = insert(connection.dialect.name, processes).values(id=me, seen_at=moment)
    connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_={"seen_at": moment}))
    connection.execute(processes.delete().where(processes.c.seen_at < moment - FORGOTTEN_AFTER))


def leave(connection: Connection, me: str) -> None:
    """Delete this process's heartbeat, because it stops."""
    connection.execute(processes.delete().where(processes.c.id == me))


_ALIVE = sa.select(processes.c.id).where(processes.c.seen_at > sa.bindparam("since"))


def alive(connection: Connection, now: datetime) -> Sequence[str]:
    """The ids of the living processes."""
    since = database_time(connection, now) - DEAD_AFTER
    return connection.scalars(_ALIVE, {"since": since}).all()


def forget_others(connection: Connection, me: str) -> None:
    """Delete all other heartbeats: on a SQLite file only this process can be alive."""
    connection.execute(processes.delete().where(processes.c.id != me))


def database_time(connection: Connection, now: datetime) -> datetime:
    """The time by one clock for all machines: PostgreSQL's. A SQLite file has one process, so its own clock will do."""
    if connection.dialect.name != "postgresql":
        return now
    moment: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return moment
