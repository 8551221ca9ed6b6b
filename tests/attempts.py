"""Attempts without a database, for tests that look at what became of them."""

from collections.abc import Mapping

from otvet.clock import Clock
from otvet.turns.attempts import Attempt, AttemptLog
from tests.clocks import FakeClock


class Book(AttemptLog):
    """An AttemptLog that can be read. closed: why an attempt (responder, writing) must not be made."""

    def __init__(self, clock: Clock | None = None, *, closed: Mapping[tuple[str, int], str] = {}) -> None:
        super().__init__(clock or FakeClock())
        self._closed = closed

    async def book(self, attempt: Attempt) -> str | None:
        return self._closed.get((attempt.responder, attempt.draft))

    @property
    def outcomes(self) -> dict[tuple[str, int], str | None]:
        """How the attempts ended, by responder and writing, in the order in which they were begun."""
        return {(one.responder, one.draft): one.outcome for one in self.attempts}


class Memory:
    """KeyValues in memory."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    async def recall(self, name: str) -> str | None:
        return self.values.get(name) or None

    async def save(self, name: str, value: str) -> None:
        self.values[name] = value
