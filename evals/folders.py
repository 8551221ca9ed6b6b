"""The local answer in folders of other trades, written as people write; see ``folders/``.

Each folder has ``knowledge/`` and ``questions.json``: a list of
    kind      plain, slip, burst, follow_up, two, unknown, near or urgent
    history   what was said before, oldest first, each with who said it
    ask       what the client writes, one or several messages
    holds     a right answer holds one of each list's strings; empty: the folder does not say it, nothing may be sent
    not       strings that make an answer wrong
No author of them saw the search. Those of FITTED are for fitting (``evals/decide.py``) and for looking at what fails;
of those of APART only the totals are looked at. Of flat_repairs the entries were seen while the readers were written.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.local import Outcome
from evals.questions import lines
from evals.section import Section, percent
from otvet.clock import SystemClock
from otvet.responders.base import Line
from otvet.responders.knowledge.responder import Knowledge

FOLDERS = Path(__file__).parent / "folders"
APART = ("clinic", "flat_repairs", "b2b_equipment")
FITTED = {
    "car service": ("car_service", "garage"),
    "language school": ("language_school", "language_courses"),
    "flower delivery": ("flower_delivery", "bouquets"),
}
BEFORE = {
    "clinic": (0.0, 0.097),
    "flat_repairs": (0.0, 0.063),
    "b2b_equipment": (0.0, 0.159),
    "car_service": (0.125, 0.859),
    "garage": (0.103, 0.810),
    "language_school": (0.062, 0.815),
    "language_courses": (0.103, 0.862),
    "flower_delivery": (0.046, 0.800),
    "bouquets": (0.138, 0.914),
}
"""(right, hit@3) of the first answers: of APART before any of the readers, of FITTED before anything was fitted."""

MOST_WRONG, MOST_WRONG_OF_A_PART = 0.03, 0.01
"""Of the questions of one folder, and of all folders of a part."""
KINDS = ("plain", "slip", "burst", "follow_up", "two", "unknown", "near", "urgent")
_SPACES = re.compile(r"\s+")
_INSIDE_NUMBER = re.compile(r"(?<=\d)[ .](?=\d{3}\b)")


@dataclass(frozen=True, slots=True)
class Asked:
    """One question; see the module. ``wrong`` is its ``not``."""

    folder: str
    kind: str
    ask: tuple[Line, ...]
    history: tuple[Line, ...]
    holds: tuple[tuple[str, ...], ...]
    wrong: tuple[str, ...]

    def is_right(self, answer: str) -> bool:
        """Whether an answer holds what it must, and nothing that it must not."""
        text = _plain(answer)
        told = all(any(_plain(one) in text for one in either) for either in self.holds)
        return bool(self.holds) and told and not any(_plain(one) in text for one in self.wrong)


@dataclass(frozen=True, slots=True)
class Answered:
    """found: the texts of the first three passages. answer: what the client would have got."""

    asked: Asked
    found: tuple[str, ...]
    answer: str | None

    @property
    def three(self) -> bool:
        """hit@3: the first three passages hold the answer, together."""
        return self.asked.is_right("\n".join(self.found)) or any(map(self.asked.is_right, self.found))

    @property
    def outcome(self) -> Outcome:
        """An answer that does not hold what it must counts as invented."""
        if self.answer is None:
            return Outcome.SILENT if self.asked.holds else Outcome.HONEST
        return Outcome.RIGHT if self.asked.is_right(self.answer) else Outcome.INVENTED


def _plain(text: str) -> str:
    return _INSIDE_NUMBER.sub("", _SPACES.sub(" ", text.casefold().replace("ё", "е"))).strip()


def read(folder: str) -> Iterator[Asked]:
    """The questions of a folder."""
    for entry in json.loads((FOLDERS / folder / "questions.json").read_text("utf-8")):
        if entry["kind"] not in KINDS or set(entry) - {"kind", "history", "ask", "holds", "not"}:
            raise ValueError(f"{folder}: not understood: {entry}")
        yield _asked(folder, entry)


def _asked(folder: str, entry: dict[str, Any]) -> Asked:
    return Asked(
        folder,
        entry["kind"],
        lines(("client", text) for text in entry["ask"]),
        lines(line.split(": ", 1) for line in entry.get("history", ())),
        tuple(map(tuple, entry["holds"])),
        tuple(entry.get("not", ())),
    )


def measure(folder: str) -> list[Answered]:
    """Ask all questions of a folder."""
    knowledge = Knowledge(FOLDERS / folder / "knowledge", SystemClock())
    return [_answered(knowledge, one) for one in read(folder)]


def _answered(knowledge: Knowledge, asked: Asked) -> Answered:
    found = knowledge.passages(asked.ask, asked.history, k=3)
    answer = knowledge.answer(asked.ask, asked.history)
    return Answered(asked, tuple(hit.passage.shown for hit in found), answer.told if answer else None)


WORDS = {
    "en": ("Folders of other trades, as people write them", "folder", "questions", "right", "wrong", "hit@3", "first"),
    "ru": ("Папки других дел, как их пишут люди", "папка", "вопросов", "верно", "неверно", "hit@3", "сначала"),
}
PARTS = {"en": ("Kept apart", "Fitted to"), "ru": ("Отложенные", "Те, по которым подбирали")}


def section() -> Section:
    """The measurement, for the page."""
    parts = (APART, [name for names in FITTED.values() for name in names])
    found = [{name: totals(measure(name)) for name in names} for names in parts]
    wrong = [
        f"{name}: wrong answers {percent(one['wrong'])}"
        for part in found
        for name, one in part.items()
        if one["wrong"] > MOST_WRONG
    ]
    for name, part in zip(PARTS["en"], found, strict=True):
        share = sum(one["wrong"] * one["asked"] for one in part.values()) / sum(one["asked"] for one in part.values())
        if share > MOST_WRONG_OF_A_PART:
            wrong.append(f"{name}: wrong answers {percent(share)}")
    return Section({language: _page(found, language) for language in WORDS}, tuple(wrong))


def _page(found: Sequence[Mapping[str, Mapping[str, float]]], language: str) -> str:
    title = WORDS[language][0]
    introduction = Path(__file__).with_name(f"folders.{language}.md").read_text("utf-8")
    tables = [f"### {name}\n\n{_table(part, language)}\n" for name, part in zip(PARTS[language], found, strict=True)]
    return "\n".join([f"## {title}\n", introduction, *tables])


def _table(found: Mapping[str, Mapping[str, float]], language: str) -> str:
    _title, *head, first = WORDS[language]
    rows = [
        f"| `{name}` | {one['asked']:.0f} | {percent(one['right'])} ({first}: {percent(BEFORE[name][0])})"
        f" | {percent(one['wrong'])} | {percent(one['three'])} ({first}: {percent(BEFORE[name][1])}) |"
        for name, one in found.items()
    ]
    return "\n".join([f"| {' | '.join(head)} |", "|---|---:|---:|---:|---:|", *rows])


def totals(results: Sequence[Answered]) -> dict[str, float]:
    """asked; right: the share of those that the folder answers; wrong: the share of all; three: hit@3."""
    answerable = [one for one in results if one.asked.holds]
    return {
        "asked": len(results),
        "right": _share(one.outcome is Outcome.RIGHT for one in answerable),
        "wrong": _share(one.outcome is Outcome.INVENTED for one in results),
        "three": _share(one.three for one in answerable),
    }


def _share(holds: Iterable[bool]) -> float:
    found = list(holds)
    return sum(found) / len(found) if found else 0.0
