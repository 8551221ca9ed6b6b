"""The limit that all processes share, on both databases."""

import asyncio
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from otvet.storage.database import Database
from otvet.storage.rate_limits import SharedLimit
from otvet.storage.rate_limits import places as taken
from tests.clocks import FakeClock


class Standing(FakeClock):
    """A clock whose sleep only writes down how long it would be."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def places(
    database: Database,
    limits: list[SharedLimit],
    patience: float | None = None,
    between: Callable[[], object] = lambda: None,
) -> list[bool]:
    async def play() -> list[bool]:
        database.start()
        got = []
        try:
            for limit in limits:
                got.append(await limit.acquire(patience))
                between()
            return got
        finally:
            await database.writer.stop()

    return asyncio.run(play())


def test_as_many_as_allowed_start_at_once_and_the_next_ones_a_window_later(database: Database) -> None:
    clock = Standing()
    limit = SharedLimit(database, clock, "amocrm", 3, seconds=60)
    assert all(places(database, [limit] * 7))
    waits = [*[0.0] * (7 - len(clock.slept)), *clock.slept]
    assert waits == pytest.approx([0, 0, 0, 60, 60, 60, 120], abs=2)


def test_two_processes_share_it(database: Database) -> None:
    clock = Standing()
    one, other = (SharedLimit(database, clock, "amocrm", 2, seconds=60) for _ in range(2))
    places(database, [one, other, one, other])
    assert clock.slept == pytest.approx([60, 60], abs=2)


def test_another_service_has_a_limit_of_its_own(database: Database) -> None:
    clock = Standing()
    places(database, [SharedLimit(database, clock, name, 1, seconds=60) for name in ("amocrm", "manus")])
    assert clock.slept == []


def test_who_has_no_patience_gets_no_place_and_takes_none(database: Database) -> None:
    clock = Standing()
    limit = SharedLimit(database, clock, "manus", 1, seconds=60)
    assert places(database, [limit, limit, limit], patience=10) == [True, False, False]
    assert clock.slept == []


def test_many_allowed_calls_cost_few_commits(database: Database) -> None:
    limits = [SharedLimit(database, Standing(), "looks", 100, seconds=60) for _ in range(2)]
    assert all(places(database, limits * 60, patience=0)[:100])
    assert database.read_now(lambda connection: connection.scalar(sa.select(sa.func.count()).select_from(taken))) == 20


def test_calls_taken_at_once_and_not_used_are_lost_with_their_time(database: Database) -> None:
    clock = Standing()
    limit = SharedLimit(database, clock, "looks", 40, seconds=60)
    assert all(places(database, [limit] * 2, between=lambda: clock.advance(61)))
    assert database.read_now(lambda connection: connection.scalar(sa.select(sa.func.count()).select_from(taken))) == 2
