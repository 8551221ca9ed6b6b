"""The clock, which is passed in, so that a test never waits."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The only source of time in the program."""

    def now(self) -> datetime:
        """The wall clock in UTC, for records and for deadlines that survive a restart. It may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow, for measuring durations."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait, while other tasks run."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
