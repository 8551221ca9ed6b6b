"""The questions and what each should be answered with.

``questions.toml`` and ``more.toml`` were each written before the search was tuned to them, and of each a third is set
aside. The other files are held out whole: ``later.toml`` was written after the first tuning, ``others.toml`` by another
author, ``last.toml`` after all tuning.
"""

import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from otvet.responders.base import Line

FOLDER = Path(__file__).parent
Part = Literal["aside", "later", "others", "last", "tuned"]
PARTS: tuple[Part, ...] = get_args(Part)
HELD_OUT = PARTS[:-1]
FILES: dict[str, Part] = {
    "questions.toml": "tuned",
    "more.toml": "tuned",
    "later.toml": "later",
    "others.toml": "others",
    "last.toml": "last",
}
KINDS = ("plain", "typo", "burst", "follow_up", "unknown", "near", "injection")
EVERY = 3
"""Of each kind in a file that the search was tuned to, every so many-th question is set aside."""

_AT = datetime(2026, 1, 5, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Question:
    """What a client asks.

    expect: "file > heading" of the passages that each answer all of it.
    parts: of those that each answer a part, so that no single one may be sent.
    With neither, the folder does not say it.
    part: "tuned", or why nothing was tuned to it: "aside", or the file it stands in.
    """

    kind: str
    ask: tuple[Line, ...]
    history: tuple[Line, ...]
    expect: frozenset[str]
    parts: frozenset[str]
    part: Part = "tuned"

    @property
    def text(self) -> str:
        """All of it on one line, for a person to read."""
        return " / ".join(line.text for line in (*self.history, *self.ask))


def load() -> list[Question]:
    """All questions, kind by kind, in the order of the files."""
    return [question for name in FILES for question in read(name)]


def read(name: str) -> Iterator[Question]:
    """The questions of one file, kind by kind."""
    with (FOLDER / name).open("rb") as opened:
        kinds = tomllib.load(opened)
    for kind, entries in kinds.items():
        for entry in entries:
            yield _question(kind, entry, "aside" if entry.get("aside") else FILES[name])


def _question(kind: str, entry: dict[str, Any], part: Part) -> Question:
    unknown = set(entry) - {"ask", "history", "expect", "parts", "aside"}
    if kind not in KINDS or unknown:
        raise ValueError(f"{kind}: {entry['ask']}: not understood: {', '.join(unknown) or kind}")
    ask = entry["ask"]
    return Question(
        kind,
        lines(("client", text) for text in ([ask] if isinstance(ask, str) else ask)),
        lines(said.split(": ", 1) for said in entry.get("history", ())),
        expect=frozenset(entry.get("expect", ())),
        parts=frozenset(entry.get("parts", ())),
        part=part,
    )


def lines(said: Iterable[Any]) -> tuple[Line, ...]:
    """Lines of a made-up chat: (who said it, what)."""
    return tuple(Line(sender, text, _AT) for sender, text in said)
