"""Rate limits that all processes share: each reserved call is a row with its moment."""

import zlib
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.clock import Clock
from otvet.storage.database import Database
from otvet.storage.engines import Id, UtcDateTime, metadata
from otvet.storage.heartbeats import database_time

places = sa.Table(
    "rate_places",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Index(None, "name", "at"),
)


BLOCKS = 20

_NEWEST = (
    sa.select(places.c.at)
    .where(places.c.name == sa.bindparam("mine"), places.c.at < sa.bindparam("latest"))
    .order_by(places.c.at.desc())
    .limit(sa.bindparam("count"))
)
_FORGET = places.delete().where(places.c.name == sa.bindparam("mine"), places.c.at < sa.bindparam("before"))
_TAKE = places.insert()


class SharedLimit:
    """At most ``count`` calls within any ``seconds``, over all processes on the database, first come, first served.

    Each caller reserves a moment of its own and waits for it outside of any transaction. If many calls are allowed, a
    process reserves a twentieth of them at once, so that the limit costs few commits.
    """

    def __init__(self, database: Database, clock: Clock, name: str, count: int, seconds: float) -> None:
        self._database = database
        self._clock = clock
        self._name = name
        self._block = max(1, count // BLOCKS)
        self._count = count // self._block
        self._window = timedelta(seconds=seconds)
        self._in_hand = 0
        self._in_hand_until = 0.0

    async def acquire(self, patience: float | None = None) -> bool:
        """Wait until a call is allowed; False at once if that is more than ``patience`` seconds away."""
        if self._in_hand > 0 and self._clock.monotonic() < self._in_hand_until:
            self._in_hand -= 1
            return True
        wait = await self._database.write_alone(lambda connection: self._reserve(connection, patience))
        if wait is None:
            return False
        if wait > 0:
            await self._clock.sleep(wait)
        self._in_hand = self._block - 1
        self._in_hand_until = self._clock.monotonic() + self._window.total_seconds()
        return True

    def _reserve(self, connection: Connection, patience: float | None) -> float | None:
        if connection.dialect.name == "postgresql":  # SQLite has one writer anyway
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(zlib.crc32(self._name.encode()))))
        now = database_time(connection, self._clock.now())
        at = self._next(connection, now)
        wait = (at - now).total_seconds()
        if patience is not None and wait > patience:
            return None
        connection.execute(_FORGET, {"mine": self._name, "before": now - 2 * self._window})
        connection.execute(_TAKE, {"name": self._name, "at": at})
        return wait

    def _next(self, connection: Connection, now: datetime) -> datetime:
        """The first moment with no more than ``count - 1`` calls in the window before it."""
        # After a clock was set back, moments far in the future must not make all callers wait.
        values = {"mine": self._name, "latest": now + self._window * 1000, "count": self._count}
        newest = connection.scalars(_NEWEST, values).all()
        return now if len(newest) < self._count else max(now, newest[-1] + self._window)
