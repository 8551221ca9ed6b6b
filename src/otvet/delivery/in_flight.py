"""Calls that cannot be taken back: a stop waits for the end of those that have begun, and lets no other begin."""

from collections.abc import Iterator
from contextlib import contextmanager

from otvet.clock import Clock

LOOK_SECONDS = 0.05


class Stopping(Exception):
    """The process stops, so the call is not begun any more; the turn goes on at the next start."""


class InFlight:
    """The calls of this process that are in flight."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._count = 0
        self._stopping = False

    @contextmanager
    def track(self) -> Iterator[None]:
        """From the last check to the end of what follows from the call. Raises Stopping."""
        if self._stopping:
            raise Stopping
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1

    async def finish(self, until: float) -> None:
        """Before a stop: wait for the calls in flight, until this moment of the monotonic clock at the latest."""
        self._stopping = True
        while self._count and self._clock.monotonic() < until:
            await self._clock.sleep(LOOK_SECONDS)
