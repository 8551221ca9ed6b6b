"""Which turns a worker begins, and when. The engine is the real one, the clock stands still until it is moved."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from otvet.answering import worker
from otvet.answering.engine import Engine
from otvet.answering.in_every_process import repeat
from otvet.answering.worker import Worker
from otvet.errors import StorageError
from otvet.storage import heartbeats
from otvet.storage.database import Database
from otvet.turns.turn import State
from tests.clocks import FakeClock, HeldClock
from tests.test_answer import LEAD, Stage
from tests.test_outages import until

SWEEP = worker.SWEEP_SECONDS


class Work:
    """A worker of the process ``me`` and what it has begun, on one database."""

    def __init__(self, database: Database, engine_url: str) -> None:
        self.stage = Stage(database)
        self.stage.clock = self.clock = HeldClock()
        self.database = database
        self.begun: list[int] = []
        self.sweeps = 0
        self._url = engine_url
        self.engine: Engine
        self.worker: Worker

    async def answer(self, turn_id: int) -> str:
        """Ends at once, and leaves the turn open and nobody's."""
        self.begun.append(turn_id)
        return State.WAITING

    def run(self, play: Callable[[], Awaitable[None]]) -> None:
        async def whole() -> None:
            self.database.start()
            self.engine = Engine(self._url, "me")
            self.worker = Worker(self.database, self.clock, self.engine, installation_name="test", me="me")
            await self.engine.start(self.answer, wake=lambda turn_id: self.worker.put([turn_id]))
            look = self.worker.sweep

            async def counted() -> None:
                await look()
                self.sweeps += 1

            self.worker.sweep = counted  # type: ignore[method-assign]
            self.worker.start()
            try:
                await until(lambda: self.sweeps)  # the one at the start
                await play()
            finally:
                await self.worker.stop()
                await self.engine.stop()
                await self.database.writer.stop()

        asyncio.run(whole())

    async def sweep(self) -> None:
        """Let the time pass until the next sweep, and wait for what it begins."""
        before = self.sweeps
        self.clock.advance(SWEEP)
        await until(lambda: self.sweeps > before)
        await until(lambda: not self.worker._queue.qsize())


@pytest.fixture
def work(database: Database, tmp_path: Path) -> Work:
    url = database.url if not database.is_sqlite else f"sqlite:///{tmp_path / 'workflows.db'}"
    return Work(database, url)


def test_an_open_turn_that_nothing_works_on_is_begun_again_after_growing_pauses(work: Work) -> None:
    (turn,) = work.stage.client_writes()

    async def play() -> None:
        await until(lambda: work.begun == [turn])
        for count in (2, 2, 3, 3, 3, 3, 4, 4):  # after 5, 10 and 20 seconds more
            await work.sweep()
            await until(lambda count=count: work.begun == [turn] * count and not work.engine.works_on(turn))  # type: ignore[misc]

    work.run(play)


def test_a_turn_that_was_put_off_is_begun_when_the_delay_is_over_and_by_no_sweep(work: Work) -> None:
    turn, other = work.stage.client_writes()[0], work.stage.client_writes(lead_id=LEAD + 1)[0]

    async def play() -> None:
        await until(lambda: len(work.begun) == 2)
        await work.worker.begin_later(turn, timedelta(hours=1))
        for _ in range(4):
            await work.sweep()
        await until(lambda: work.begun.count(other) == 3)
        assert work.begun.count(turn) == 1
        await work.engine.end_delays()
        await until(lambda: work.begun.count(turn) == 2)

    work.run(play)


def test_a_worker_knows_which_processes_live(work: Work) -> None:
    async def play() -> None:
        with work.database.writes.begin() as connection:
            heartbeats.beat(connection, "another", work.clock.now())
        await work.worker.beat()
        await work.sweep()
        assert set(work.engine.alive) == {"me", "another"}

    work.run(play)


def test_what_every_process_does_goes_on_after_an_error() -> None:
    failures: list[Exception] = [StorageError("the disk is full"), ZeroDivisionError()]
    done: list[str] = []

    async def work() -> None:
        if failures:
            raise failures.pop(0)
        done.append("done")

    async def play() -> None:
        working = asyncio.create_task(repeat(FakeClock(), 5, work, "it failed"))
        await until(lambda: done)
        working.cancel()

    with capture_logs() as log:
        asyncio.run(play())
    assert [(line["event"], line.get("reason")) for line in log] == [
        ("it failed", "the disk is full"),
        ("it failed", None),
    ]
