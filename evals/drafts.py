"""What becomes of what models write: thoughts, half sentences, labels, refusals, other languages; ``drafts*.json``."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from evals.section import Section, percent
from otvet.guard import leaks
from otvet.i18n import language_of
from otvet.responders.base import Context, Line, ResponderError, Unclean
from otvet.responders.chat.completion import read_completion
from otvet.responders.cleaning.clean import clean

FOLDER = Path(__file__).parent
FILES = {"drafts.json": "tuned", "drafts_fresh.json": "tuned", "drafts_third.json": "third"}
PARTS = ("third", "tuned")

LEAK_AIM = 0.03
LOSS_AIM = 0.03
MUST = ("tuned",)
"""The part that has to reach both aims; the unseen one is reported as it is."""

_THEN = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Case:
    """One text of a model. right: keep, clean or refuse; part: one of PARTS."""

    name: str
    part: str
    ask: str
    text: object
    finish: object
    right: str
    must_have: tuple[str, ...]
    must_not: tuple[str, ...]


@dataclass(slots=True)
class Count:
    """What became of one part of the texts.

    bad: texts to be cleaned or refused; leaks: those that were sent with what no client should read.
    good: texts that hold an answer; lost: those that were refused, or damaged.
    wrong: each text that went wrong, behind "leaked" or "lost".
    """

    bad: int = 0
    leaks: int = 0
    good: int = 0
    lost: int = 0
    wrong: list[tuple[str, str]] = field(default_factory=list)

    @property
    def leak_rate(self) -> float:
        return self.leaks / self.bad

    @property
    def loss_rate(self) -> float:
        return self.lost / self.good


def sent(case: Case) -> tuple[str | None, str]:
    """What the client reads, and None if nothing; beside it, why."""
    context = _context(case.ask)
    body = {"choices": [{"message": {"content": case.text}, "finish_reason": case.finish}]}
    try:
        completion = read_completion(body)
        text = clean(completion.text, context, finish=completion.finish)
    except ResponderError as error:
        return None, error.kind if isinstance(error, Unclean) else str(error)
    found = leaks.check(text, context)
    return (None, ", ".join(f"{one.kind}: {one.text}" for one in found)) if found else (text, "")


@cache
def measure() -> dict[str, Count]:
    """Have every text become what it becomes; a count for each of PARTS that has any."""
    counts = {part: Count() for part in PARTS}
    for case in cases():
        _count(counts[case.part], case, sent(case)[0])
    return {part: count for part, count in counts.items() if count.bad}


def missed(count: Count) -> list[str]:
    """The aims that a part does not reach, as the names of their columns."""
    leaked = [] if count.bad and count.leak_rate <= LEAK_AIM else ["leaked"]
    return leaked + ([] if count.good and count.loss_rate <= LOSS_AIM else ["lost"])


def failures(result: Mapping[str, Count]) -> list[str]:
    """What makes the measurement fail."""
    return [f"{name}: {part}" for part in MUST for name in missed(result.get(part, Count()))]


def section() -> Section:
    """The measurement, for the page."""
    result = measure()
    return Section({language: page(result, language) for language in WORDS}, tuple(failures(result)))


def page(result: Mapping[str, Count], language: str) -> str:
    """The section in a language."""
    introduction = Path(__file__).with_name(f"drafts.{language}.md").read_text(encoding="utf-8")
    words = WORDS[language]
    lines = [words["header"], "| --- |" + " ---: |" * 6]
    for part, count in result.items():
        cells = (
            words[part],
            count.bad,
            count.leaks,
            percent(count.leak_rate),
            count.good,
            count.lost,
            percent(count.loss_rate),
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    wrong = [f"- {words[kind]}: {name}" for count in result.values() for kind, name in count.wrong]
    told = [words["wrong"], "", *wrong] if wrong else [words["nothing"]]
    return "\n".join((introduction, *lines, "", *told, ""))


def cases() -> Iterator[Case]:
    """The texts, in the order of the files; the unseen file need not be there."""
    for name, part in FILES.items():
        file = FOLDER / name
        for told in json.loads(file.read_text(encoding="utf-8"))["cases"] if file.exists() else ():
            yield _case(told, part)


def _case(told: Mapping[str, Any], part: str) -> Case:
    return Case(
        told["name"],
        part,
        told["ask"],
        told["text"],
        told.get("finish", "stop"),
        told["right"],
        tuple(told.get("must_have", ())),
        tuple(told.get("must_not", ())),
    )


def _context(ask: str) -> Context:
    asked = tuple(Line("client", text, _THEN) for text in ask.split("\n"))
    return Context(1, 1, 1, (), asked, language_of(ask), "")


def _count(count: Count, case: Case, text: str | None) -> None:
    holds = text is not None and all(piece in text for piece in case.must_have)
    shows = text is not None and (case.right == "refuse" or any(piece in text for piece in case.must_not))
    if case.right != "keep":
        count.bad += 1
        count.leaks += shows
    if case.right != "refuse":
        count.good += 1
        count.lost += not holds
    count.wrong += [("leaked", case.name)] if shows else []
    count.wrong += [("lost", case.name)] if case.right != "refuse" and not holds else []


WORDS = {
    "en": {
        "header": "| | to be cleaned or refused | leaked | | hold an answer | lost | |",
        "third": "another author's, unseen",
        "tuned": "those that the cleaning was tuned on",
        "leaked": "leaked",
        "lost": "lost",
        "wrong": "What went wrong:",
        "nothing": "Nothing went wrong.",
    },
    "ru": {
        "header": "| | очистить или отклонить | просочилось | | содержат ответ | потеряно | |",
        "third": "тексты другого автора, не показаны",
        "tuned": "те, на которых настраивали",
        "leaked": "просочилось",
        "lost": "потеряно",
        "wrong": "В чём ошиблась:",
        "nothing": "Ошибок нет.",
    },
}
