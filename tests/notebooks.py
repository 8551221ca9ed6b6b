"""A Notebook without a database, for tests that look at what was written into it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from otvet.responders.checks.guard import Finding
from otvet.tries import REFUSED
from tests.contexts import THEN


@dataclass
class Entry:
    """One try, as it was left."""

    started_at: datetime = THEN
    facts: Mapping[str, Any] = field(default_factory=dict)
    thread: str | None = None
    outcome: str | None = None
    spent: int = 0
    refused: str | None = None
    findings: tuple[Finding, ...] = ()

    def begin(self) -> None:
        pass

    async def remember(self, **facts: Any) -> None:
        self.facts = {**self.facts, **facts}

    async def keep_thread(self, thread: str | None) -> None:
        self.thread = thread

    def end(self, outcome: str, spent: int = 0) -> None:
        self.outcome, self.spent = outcome, spent

    async def refuse(self, text: str, findings: Sequence[Finding], spent: int = 0) -> None:
        self.end(REFUSED, spent)
        self.refused, self.findings = text, tuple(findings)


class Book:
    """All tries at one draft; ``entries`` in the order in which they were begun."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, int], Entry] = {}

    def one(self, responder: str, writing: int) -> Entry:
        return self.entries.setdefault((responder, writing), Entry())

    @property
    def outcomes(self) -> dict[tuple[str, int], str | None]:
        return {key: entry.outcome for key, entry in self.entries.items()}
