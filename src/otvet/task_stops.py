"""Words of Manus that a task stopped: they end the wait of the turn that looks at the task, in whatever process it is.

They are kept for an hour and say nothing of what the task answered. A word may come before the task is known here, and
of the account's other tasks too: nobody waits for those.
"""

import asyncio
from collections import defaultdict
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.clock import Clock
from otvet.processes import database_time
from otvet.storage.database import Database
from otvet.storage.engines import UtcDateTime, insert, metadata

KEPT_FOR = timedelta(hours=1)
LOOK_SECONDS = 0.5
"""How often the words that another process took are looked for. Manus takes 20 questions a minute, and each has 90
seconds, so at most some thirty turns wait at once."""

task_stops = sa.Table(
    "task_stops",
    metadata,
    sa.Column("delivery", sa.Text, primary_key=True),  # a digest of the delivery: a repetition is told by it
    sa.Column("task", sa.Text, nullable=False, index=True),
    sa.Column("at", UtcDateTime, nullable=False),
)

_OF_TASK = sa.select(task_stops.c.delivery).where(task_stops.c.task == sa.bindparam("of"))
_FORGET = task_stops.delete().where(task_stops.c.at < sa.bindparam("before"))


class TaskStops:
    """Keeps what Manus said, and lets those sleep who wait for it. For the event loop of the service."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._bells: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    async def take(self, delivery: str, task: str) -> bool:
        """Manus says that the task stopped. False if it had said so before; StorageError if it could not be kept."""
        new = await self._database.write(lambda connection: self._keep(connection, delivery, task))
        if new:
            for bell in self._bells.get(task, ()):
                bell.set()
        return new

    async def wait(self, task: str, heard: frozenset[str], seconds: float) -> frozenset[str]:
        """Sleep until there is a word of that task that is not in ``heard``, or for so many seconds.

        Gives all words of the task from the last hour.
        """
        bell = asyncio.Event()
        self._bells[task].add(bell)
        try:
            while True:
                bell.clear()  # before the look: a word that comes during it rings, and there is another look
                words = await self._words(task)
                if words - heard or seconds <= 0:
                    return words
                nap = seconds if self._database.is_sqlite else min(seconds, LOOK_SECONDS)
                await self._nap(bell, nap)
                seconds -= nap
        finally:
            self._bells[task].discard(bell)
            if not self._bells[task]:
                del self._bells[task]

    async def _words(self, task: str) -> frozenset[str]:
        return await self._database.read(lambda connection: frozenset(connection.scalars(_OF_TASK, {"of": task})))

    async def _nap(self, bell: asyncio.Event, seconds: float) -> None:
        parts = [asyncio.ensure_future(self._clock.sleep(seconds)), asyncio.ensure_future(bell.wait())]
        try:
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)

    def _keep(self, connection: Connection, delivery: str, task: str) -> bool:
        now = database_time(connection, self._clock.now())
        connection.execute(_FORGET, {"before": now - KEPT_FOR})
        statement = insert(connection.dialect.name, task_stops).values(delivery=delivery, task=task, at=now)
        return connection.scalar(statement.on_conflict_do_nothing().returning(task_stops.c.delivery)) is not None
