"""Calls that cannot be undone: a stop waits for the calls in flight, and lets no other begin."""

from collections.abc import Iterator
from contextlib import contextmanager

from otvet.clock import Clock

LOOK_SECONDS = 0.05


class Stopping(Exception):
    """The process is stopping, so the call was not begun; the turn goes on at the next start."""


class InFlight:
    """Counts the calls of this process that are in flight."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._count = 0
        self._stopping = False

    @contextmanager
    def track(self) -> Iterator[None]:
        """Count a call, from the last check until its outcome is stored. Raises Stopping."""
        if self._stopping:
            raise Stopping
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1

    async def finish(self, until: float) -> None:
        """Before a stop: wait for the calls in flight, no longer than ``until`` by the monotonic clock."""
        self._stopping = True
        while self._count and self._clock.monotonic() < until:
            await self._clock.sleep(LOOK_SECONDS)
