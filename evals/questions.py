"""The questions and what each should be answered with.

``questions.toml`` was written before the search was tuned, ``later.toml`` after it.
"""

import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from otvet.responders.base import Line

FILE = Path(__file__).with_name("questions.toml")
LATER = Path(__file__).with_name("later.toml")
KINDS = ("plain", "typo", "burst", "follow_up", "unknown", "near", "injection")
EVERY = 3
"""Of each kind in ``questions.toml``, every so many-th question is set aside."""

_AT = datetime(2026, 1, 5, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Question:
    """What a client asks.

    expect: "file > heading" of the passages that each answer all of it.
    parts: of those that each answer a part, so that no single one may be sent.
    With neither, the folder does not say it.
    aside: not looked at one by one while the search was tuned.
    later: written when that was over.
    """

    kind: str
    ask: tuple[Line, ...]
    history: tuple[Line, ...]
    expect: frozenset[str]
    parts: frozenset[str]
    aside: bool = False
    later: bool = False

    @property
    def text(self) -> str:
        """All of it on one line, for a person to read."""
        return " / ".join(line.text for line in (*self.history, *self.ask))


def load() -> list[Question]:
    """All questions, kind by kind, in the order of the files."""
    return [*_read(FILE), *_read(LATER)]


def _read(file: Path) -> Iterator[Question]:
    with file.open("rb") as opened:
        kinds = tomllib.load(opened)
    for kind, entries in kinds.items():
        for entry in entries:
            yield _question(kind, entry, later=file == LATER)


def _question(kind: str, entry: dict[str, Any], *, later: bool) -> Question:
    unknown = set(entry) - {"ask", "history", "expect", "parts", "aside"}
    if kind not in KINDS or unknown:
        raise ValueError(f"{kind}: {entry['ask']}: not understood: {', '.join(unknown) or kind}")
    ask = entry["ask"]
    return Question(
        kind,
        _lines(("client", text) for text in ([ask] if isinstance(ask, str) else ask)),
        _lines(said.split(": ", 1) for said in entry.get("history", ())),
        expect=frozenset(entry.get("expect", ())),
        parts=frozenset(entry.get("parts", ())),
        aside=entry.get("aside", False),
        later=later,
    )


def _lines(said: Iterable[Any]) -> tuple[Line, ...]:
    return tuple(Line(sender, text, _AT) for sender, text in said)
