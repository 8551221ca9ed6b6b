"""Background calls to amoCRM: deliveries go first, and a refusal that holds for every call begins an outage."""

from typing import Protocol

from otvet.amocrm.answers import AmoError
from otvet.clock import Clock
from otvet.storage import outages
from otvet.storage.database import Database

PAUSE_SECONDS = 0.5


class Patient(Protocol):
    """A limit that can refuse a slot which is too far in the future."""

    async def acquire(self, patience: float | None = None) -> bool:
        """See rate_limits.SharedLimit."""
        ...


class LowPriorityLimiter:
    """A limit for background calls, which lets replies go first. patience: the longest wait for a slot, in seconds."""

    def __init__(self, limit: Patient, clock: Clock, patience: float) -> None:
        self._limit = limit
        self._clock = clock
        self._patience = patience

    async def acquire(self) -> None:
        """Wait for such a slot."""
        while not await self._limit.acquire(self._patience):
            await self._clock.sleep(PAUSE_SECONDS)


def about_this_only(error: Exception) -> bool:
    """Whether the refusal concerns this record only, so that retrying is pointless; ``forbidden`` may."""
    return isinstance(error, AmoError) and (error.permanent or error.reason == "forbidden")


async def heed(database: Database, clock: Clock, error: Exception) -> None:
    """Begin an outage if amoCRM refused what it would refuse every caller."""
    if isinstance(error, AmoError) and not about_this_only(error):
        await outages.heed(database, error, clock.now())
