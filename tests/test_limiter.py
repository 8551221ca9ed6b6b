import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otvet.amocrm.limiter import WINDOW, Limiter
from tests.clocks import FakeClock


class EarlyClock(FakeClock):
    """A clock that wakes sleepers too early, as timers of coarse resolution do."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds * 0.5 if seconds > 0.01 else seconds)


class OpenEndedClock(FakeClock):
    """A clock whose sleepers sleep until they are woken."""

    def __init__(self) -> None:
        super().__init__()
        self.asleep = asyncio.Event()
        self.woken = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.asleep.set()
        await self.woken.wait()
        await super().sleep(seconds)


def start_all(clock: FakeClock, limiter: Limiter, count: int) -> list[tuple[int, float]]:
    """(who, when) of so many requests made at once, in the order in which they were let through."""
    started: list[tuple[int, float]] = []

    async def one(number: int) -> None:
        await limiter.acquire()
        started.append((number, clock.monotonic()))

    async def all_of_them() -> None:
        await asyncio.gather(*(one(number) for number in range(count)))

    asyncio.run(all_of_them())
    return started


def assert_never_more(times: list[float], per_second: int) -> None:
    for first, beyond in zip(times, times[per_second:], strict=False):
        assert beyond >= first + WINDOW


def test_a_burst_is_spread_over_seconds() -> None:
    clock = FakeClock()
    times = [at for _, at in start_all(clock, Limiter(clock, per_second=6), 20)]
    assert times == [0.0] * 6 + [1.0] * 6 + [2.0] * 6 + [3.0] * 2


def test_first_come_first_served() -> None:
    clock = FakeClock()
    assert [who for who, _ in start_all(clock, Limiter(clock, per_second=3), 30)] == list(range(30))


def test_what_is_below_the_limit_does_not_wait() -> None:
    clock = FakeClock()
    limiter = Limiter(clock, per_second=2)

    async def slow_caller() -> list[float]:
        times = []
        for _ in range(5):
            await limiter.acquire()
            times.append(clock.monotonic())
            clock.advance(0.5)
        return times

    assert asyncio.run(slow_caller()) == [0.0, 0.5, 1.0, 1.5, 2.0]


@given(
    gaps=st.lists(st.floats(min_value=0, max_value=2, allow_nan=False), max_size=60),
    per_second=st.integers(min_value=1, max_value=7),
    uptime=st.floats(min_value=0, max_value=1e7, allow_nan=False),
)
def test_no_second_has_more_whenever_the_requests_come(gaps: list[float], per_second: int, uptime: float) -> None:
    clock = FakeClock()
    clock.advance(uptime)
    limiter = Limiter(clock, per_second)

    async def caller() -> list[float]:
        times = []
        for gap in gaps:
            clock.advance(gap)
            await limiter.acquire()
            times.append(clock.monotonic())
        return times

    assert_never_more(asyncio.run(caller()), per_second)


def test_waking_up_early_does_not_let_one_through() -> None:
    clock = EarlyClock()
    times = [at for _, at in start_all(clock, Limiter(clock, per_second=6), 30)]
    assert len(times) == 30
    assert_never_more(times, 6)


def test_who_gives_up_waiting_takes_no_place() -> None:
    async def scenario() -> list[float]:
        clock = OpenEndedClock()
        limiter = Limiter(clock, per_second=1)
        times: list[float] = []

        async def one() -> None:
            await limiter.acquire()
            times.append(clock.monotonic())

        await one()
        waiting = [asyncio.create_task(one()) for _ in range(3)]
        await clock.asleep.wait()
        waiting[0].cancel()
        waiting[1].cancel()
        clock.woken.set()
        await asyncio.gather(*waiting, return_exceptions=True)
        return times

    assert asyncio.run(scenario()) == [0.0, 1.0]


def test_a_limit_below_one_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="per_second"):
        Limiter(FakeClock(), per_second=0)
