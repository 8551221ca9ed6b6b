"""A clock that tests move by hand."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class FakeClock:
    """A Clock whose sleep costs no time: it moves the clock and lets the others run.

    on_sleep: what happens at the end of every sleep, such as another message coming in.
    """

    def __init__(self, start: datetime = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)) -> None:
        self._start = start
        self._passed = 0.0
        self.on_sleep: Callable[[], object] = lambda: None

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._passed)

    def monotonic(self) -> float:
        return self._passed

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)
        self.on_sleep()
        await asyncio.sleep(0)

    def jump(self, seconds: float) -> None:
        """The wall clock is set to another time, as an administrator or a time server does; no time passes."""
        self._start += timedelta(seconds=seconds)

    def advance(self, seconds: float) -> None:
        """Let that much time pass at once."""
        self._passed += seconds


class HeldClock(FakeClock):
    """One that stands still until the test lets time pass; who sleeps meanwhile, sleeps."""

    async def sleep(self, seconds: float) -> None:
        end = self.monotonic() + seconds
        while self.monotonic() < end:
            await asyncio.sleep(0.001)
