"""Tells the open pages that something in the database has changed, whoever wrote it.

One look a second for all pages of this process, and none while no page is open. A page that is told reads what it shows
anew and compares; so nothing depends on a change being seen by itself, and none can be missed or come twice.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.clock import Clock
from otvet.errors import StorageError
from otvet.storage.database import Database

LOOK_SECONDS = 1.0
ANYWAY_SECONDS = 20.0
"""A page is told after this time even without a change: waiting times grow, and the connection is kept open."""


class Pulse:
    """The revision of the database, for whoever waits for the next one."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._waiting: set[asyncio.Event] = set()
        self._revision: Any = None
        self._looking: asyncio.Task[None] | None = None
        self._connection: Connection | None = None
        self._ended = False
        self._made: dict[Hashable, tuple[float, asyncio.Task[Any]]] = {}

    async def once(self, key: Hashable, make: Callable[[], Awaitable[Any]]) -> Any:
        """What ``make`` gives, made once for all who ask with this key between two changes."""
        now = self._clock.monotonic()
        made = self._made.get(key)
        if made is None or now - made[0] >= ANYWAY_SECONDS / 2:
            made = self._made[key] = now, asyncio.ensure_future(make())
            made[1].add_done_callback(lambda task: self._forget(key, task))
        return await asyncio.shield(made[1])

    def _forget(self, key: Hashable, task: "asyncio.Task[Any]") -> None:
        """What has failed is tried again by whoever asks next."""
        if (task.cancelled() or task.exception()) and self._made.get(key, (0, None))[1] is task:
            del self._made[key]

    async def beats(self) -> AsyncGenerator[None, None]:
        """Yields at once, and then after each change, until the pages end."""
        mine = asyncio.Event()
        self._waiting.add(mine)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        try:
            while not self._ended:
                mine.clear()
                yield
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(ANYWAY_SECONDS):
                        await mine.wait()
        finally:
            self._waiting.discard(mine)
            if not self._waiting and self._looking:
                self._looking.cancel()
                self._looking = None
                self._made.clear()

    def end(self) -> None:
        """End all streams, so that a server that stops need not wait for them. Safe to call from a signal's handler."""
        self._ended = True
        if self._looking:
            self._looking.get_loop().call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        self._made.clear()
        for one in self._waiting:
            one.set()

    async def _look(self) -> None:
        while True:
            with contextlib.suppress(StorageError):  # the next look finds the change
                found = await self._database.read(self._read)
                if found != self._revision:
                    self._revision = found
                    self._tell()
            await self._clock.sleep(LOOK_SECONDS)

    def _read(self, connection: Connection) -> Any:
        if not self._database.is_sqlite:
            return connection.scalar(sa.text("SELECT pg_current_wal_insert_lsn()"))
        # A number that holds for one connection, and changes with the commits of all others.
        if self._connection is None:
            self._connection = self._database.reads.connect()
        with self._connection.begin():
            return self._connection.exec_driver_sql("PRAGMA data_version").scalar()
