"""Calls to amoCRM that nobody waits for: they stand behind the deliveries, and what amoCRM refuses them is heeded."""

from typing import Protocol

from otvet.amocrm.answers import AmoError
from otvet.clock import Clock
from otvet.storage import outages
from otvet.storage.database import Database

PAUSE_SECONDS = 0.5

STOPS_ALL = ("unauthorized", "payment", "banned")
"""Refusals that hold for every call. A ``forbidden`` one may be about what was asked for only."""


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
    """Whether amoCRM refused what was asked for, and not the one who asks: asked again it would refuse it again."""
    return isinstance(error, AmoError) and (error.permanent or error.reason == "forbidden")


async def heed(database: Database, clock: Clock, error: Exception) -> None:
    """Close amoCRM's gate if it refused what it would refuse everybody."""
    if isinstance(error, AmoError) and error.reason in STOPS_ALL and not error.permanent:
        reason, sentence, now = error.reason, str(error), clock.now()
        await database.write(lambda connection: outages.close(connection, outages.AMOCRM, reason, sentence, now))
