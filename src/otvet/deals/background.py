"""Calls to amoCRM that nobody waits for: they stand behind the deliveries, and what amoCRM refuses them is heeded."""

from typing import Protocol

from otvet.amocrm.answers import AmoError
from otvet.clock import Clock
from otvet.storage import outages
from otvet.storage.database import Database

PAUSE_SECONDS = 0.5


class Patient(Protocol):
    """A limit that can say that the next place is too far away."""

    async def acquire(self, patience: float | None = None) -> bool:
        """See limits.SharedLimit."""
        ...


class Yielding:
    """A place among the calls, taken only while nobody stands in line. patience: what counts as no line, in seconds."""

    def __init__(self, limit: Patient, clock: Clock, patience: float) -> None:
        self._limit = limit
        self._clock = clock
        self._patience = patience

    async def acquire(self) -> None:
        """Wait until there is one."""
        while not await self._limit.acquire(self._patience):
            await self._clock.sleep(PAUSE_SECONDS)


def about_this_only(error: Exception) -> bool:
    """The refusal concerns this record only, so retrying is pointless; ``forbidden`` may, where nobody asked back."""
    return isinstance(error, AmoError) and (error.permanent or error.reason == "forbidden")


async def heed(database: Database, clock: Clock, error: Exception) -> None:
    """Begin an outage if amoCRM refused what it would refuse every caller."""
    if isinstance(error, AmoError) and not about_this_only(error):
        await outages.heed(database, error, clock.now())
