"""A Notebook without a database, for tests that look at what was written into it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from otvet.guard.guard import Finding
from otvet.tries import REFUSED
from tests.contexts import THEN


@dataclass
class Entry:
    """One try, as it was left. ``closed``: why it must not be begun."""

    started_at: datetime = THEN
    facts: Mapping[str, Any] = field(default_factory=dict)
    thread: str | None = None
    outcome: str | None = None
    spent: int | None = None
    closed: str | None = None
    refused: str | None = None
    findings: tuple[Finding, ...] = ()

    async def begin(self) -> str | None:
        return self.closed

    async def remember(self, **facts: Any) -> None:
        self.facts = {**self.facts, **facts}

    async def keep_thread(self, thread: str | None) -> None:
        self.thread = thread

    def end(self, outcome: str, spent: int | None = None) -> None:
        self.outcome, self.spent = outcome, spent

    async def refuse(self, text: str, findings: Sequence[Finding], spent: int | None = None) -> None:
        self.end(REFUSED, spent)
        self.refused, self.findings = text, tuple(findings)


class Memory:
    """KeyValues in memory."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    async def recall(self, name: str) -> str | None:
        return self.values.get(name) or None

    async def save(self, name: str, value: str) -> None:
        self.values[name] = value


class Book:
    """All tries at one draft; ``entries`` in the order in which they were begun.

    closed: why a try (responder, writing) must not be begun.
    """

    def __init__(self, closed: Mapping[tuple[str, int], str] = {}) -> None:
        self.entries: dict[tuple[str, int], Entry] = {}
        self._closed = closed

    def one(self, responder: str, writing: int) -> Entry:
        key = (responder, writing)
        return self.entries.setdefault(key, Entry(closed=self._closed.get(key)))

    @property
    def outcomes(self) -> dict[tuple[str, int], str | None]:
        return {key: entry.outcome for key, entry in self.entries.items()}
