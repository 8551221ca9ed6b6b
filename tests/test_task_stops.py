"""The word that a Manus task stopped, on both databases and between two processes on PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import sqlalchemy as sa

from otvet.clock import SystemClock
from otvet.schema import prepare
from otvet.storage.database import Database
from otvet.task_stops import KEPT_FOR, TaskStops, task_stops
from tests.clocks import FakeClock

Result = TypeVar("Result")

NOTHING: frozenset[str] = frozenset()
LONG = 3600.0


def play(database: Database, scene: Callable[[], Awaitable[Result]]) -> Result:
    """The scene, with the database's writer on its loop; it ends long before a wait of ``LONG`` seconds would."""

    async def run() -> Result:
        database.start()
        try:
            return await asyncio.wait_for(scene(), 30)
        finally:
            await database.writer.stop()

    return asyncio.run(run())


def rows(database: Database) -> list[tuple[str, str]]:
    found = database.look(lambda connection: connection.execute(sa.select(task_stops)).all())
    return sorted((row.delivery, row.task) for row in found)


async def begun(work: Awaitable[Result], clock: "Gated") -> "asyncio.Task[Result]":
    """The work, at the point where it sleeps."""
    task = asyncio.ensure_future(work)
    await clock.asleep.wait()
    return task


class Gated(SystemClock):
    """A clock that says when somebody sleeps."""

    def __init__(self) -> None:
        self.asleep = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.asleep.set()
        await super().sleep(seconds)


def test_a_word_ends_the_wait_of_whoever_waits_for_that_task(database: Database) -> None:
    async def scene() -> frozenset[str]:
        clock = Gated()
        stops = TaskStops(database, clock)
        waiting = await begun(stops.wait("T", NOTHING, LONG), clock)
        assert await stops.take("d1", "another")
        assert not waiting.done()
        assert await stops.take("d2", "T")
        return await waiting

    assert play(database, scene) == {"d2"}


def test_a_word_that_comes_while_the_words_are_read_is_not_missed(database: Database) -> None:
    class Late(TaskStops):
        """Where a word is kept after the first reading saw what there was, and before it is known what that was."""

        is_kept = False

        async def _words(self, task: str) -> frozenset[str]:
            words = await super()._words(task)
            if not self.is_kept:
                self.is_kept = True
                await self.take("d1", task)
            return words

    assert play(database, lambda: Late(database, SystemClock()).wait("T", NOTHING, LONG)) == {"d1"}


def test_a_word_that_came_before_anybody_waited_is_heard(database: Database) -> None:
    async def scene() -> frozenset[str]:
        stops = TaskStops(database, SystemClock())
        await stops.take("d1", "T")
        return await stops.wait("T", NOTHING, LONG)

    assert play(database, scene) == {"d1"}


def test_what_was_heard_wakes_nobody_again_and_neither_does_its_repetition(database: Database) -> None:
    clock = FakeClock()

    async def scene() -> frozenset[str]:
        stops = TaskStops(database, clock)
        assert await stops.take("d1", "T")
        heard = await stops.wait("T", NOTHING, 5)
        assert clock.monotonic() == 0
        assert not await stops.take("d1", "T")
        return await stops.wait("T", heard, 5)

    assert play(database, scene) == {"d1"}
    assert clock.monotonic() == 5
    assert rows(database) == [("d1", "T")]


def test_without_a_word_the_wait_is_as_long_as_asked_for(database: Database) -> None:
    clock = FakeClock()
    assert play(database, lambda: TaskStops(database, clock).wait("T", NOTHING, 2.8)) == NOTHING
    assert round(clock.monotonic(), 6) == 2.8


def test_old_words_are_forgotten(database: Database) -> None:
    async def scene() -> None:
        stops = TaskStops(database, SystemClock())
        await stops.take("d1", "T")
        await database.write(
            lambda connection: connection.execute(task_stops.update().values(at=task_stops_age(connection)))
        )
        await stops.take("d2", "T")

    def task_stops_age(connection: sa.Connection) -> object:
        kept: object = connection.scalar(sa.select(task_stops.c.at)) - KEPT_FOR - timedelta(seconds=60)
        return kept

    play(database, scene)
    assert rows(database) == [("d2", "T")]


def test_another_process_hears_it_too(postgres_url: str) -> None:
    """The one that takes the word is not the one that waits."""
    ours, other = Database(postgres_url), Database(postgres_url)
    prepare(ours, datetime.now(UTC))

    async def scene() -> frozenset[str]:
        other.start()
        clock = Gated()
        waiting = await begun(TaskStops(ours, clock).wait("T", NOTHING, LONG), clock)
        await TaskStops(other, SystemClock()).take("d1", "T")
        try:
            return await waiting
        finally:
            await other.stop()

    assert play(ours, scene) == {"d1"}
    ours.close()
