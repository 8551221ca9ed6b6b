"""Calls that cannot be taken back: a stop waits for the end of those that have begun, and lets no other begin."""

from collections.abc import Iterator
from contextlib import contextmanager

from otvet.clock import Clock

LOOK_SECONDS = 0.05


class Stopping(Exception):
    """It is not begun any more; whoever comes next does it."""


class OnTheirWay:
    """Those of this process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._count = 0
        self._stopping = False

    @contextmanager
    def one(self) -> Iterator[None]:
        """From the last look to the end of what follows from the call. Raises Stopping."""
        if self._stopping:
            raise Stopping
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1

    async def finish(self, until: float) -> None:
        """Before a stop; until then by the monotonic clock, at the longest."""
        self._stopping = True
        while self._count and self._clock.monotonic() < until:
            await self._clock.sleep(LOOK_SECONDS)
