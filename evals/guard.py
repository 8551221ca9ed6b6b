"""The number guard: what it catches in prepared bad replies, and where it is wrong in good ones; ``replies.json``."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evals.section import Section
from otvet.i18n import language_of
from otvet.responders.base import Context, Line
from otvet.responders.checks.guard import Finding, check
from otvet.responders.knowledge.passages import Passage

REPLIES = Path(__file__).with_name("replies.json")

CATCH_AIM = 0.98
ALARM_AIM = 0.02

_THEN = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Case:
    """One prepared reply. ``invented``: the pieces that must be found; none in a good reply."""

    situation: str
    aside: bool
    context: Context
    reply: str
    invented: tuple[str, ...]


@dataclass(slots=True)
class Count:
    """What the guard did with one part of the replies.

    caught: bad replies of which every invented piece was found.
    alarms: good replies with a finding; surplus: findings in bad replies beside what was invented.
    misses: a line for each reply that went wrong.
    """

    good: int = 0
    bad: int = 0
    caught: int = 0
    alarms: int = 0
    surplus: int = 0
    misses: list[str] = field(default_factory=list)

    @property
    def catch_rate(self) -> float:
        return self.caught / self.bad

    @property
    def alarm_rate(self) -> float:
        return self.alarms / self.good


@dataclass(frozen=True, slots=True)
class Measure:
    """Counts of the part that the guard was tuned on, of the third set aside, and of both together."""

    tuning: Count
    aside: Count
    whole: Count


def measure() -> Measure:
    """Have the guard judge every prepared reply."""
    result = Measure(Count(), Count(), Count())
    for case in cases():
        findings = check(case.reply, case.context)
        for count in (result.aside if case.aside else result.tuning, result.whole):
            _count(count, case, findings)
    return result


def failures(count: Count) -> list[str]:
    """Which aims are missed, each as a sentence."""
    found = []
    if not count.bad or count.catch_rate < CATCH_AIM:
        found.append(f"the guard caught {count.caught} of {count.bad} bad replies, the aim is {CATCH_AIM:.0%}")
    if not count.good or count.alarm_rate > ALARM_AIM:
        found.append(f"the guard has {count.alarms} false alarms of {count.good}, the aim is {ALARM_AIM:.0%}")
    return found


def section() -> Section:
    """The measurement, for the page."""
    result = measure()
    missed = failures(result.whole)
    return Section(
        {language: page(result, language) for language in WORDS}, (*missed, *(result.whole.misses if missed else ()))
    )


def page(result: Measure, language: str) -> str:
    """The section in a language."""
    introduction = Path(__file__).with_name(f"guard.{language}.md").read_text(encoding="utf-8")
    words = WORDS[language]
    lines = [words["header"], "| --- |" + " ---: |" * 7]
    for name, count in (("aside", result.aside), ("tuned", result.tuning), ("all", result.whole)):
        rates = (
            count.bad,
            count.caught,
            _percent(count.catch_rate),
            count.good,
            count.alarms,
            _percent(count.alarm_rate),
        )
        lines.append("| " + " | ".join(map(str, (words[name], *rates, count.surplus))) + " |")
    return f"{introduction}\n" + "\n".join(lines) + "\n"


def cases() -> Iterator[Case]:
    """The prepared replies with their contexts, in the order of the file."""
    for situation in json.loads(REPLIES.read_text(encoding="utf-8"))["situations"]:
        for reply in situation["replies"]:
            yield Case(
                situation["name"],
                situation["aside"],
                _context(situation, reply),
                reply["reply"],
                tuple(reply.get("invented", ())),
            )


def _context(situation: dict[str, Any], reply: dict[str, Any]) -> Context:
    history = [*situation["history"], *reply.get("history", ())]
    return Context(
        turn_id=1,
        conversation_id=1,
        lead_id=1,
        history=tuple(Line(sender, text, _THEN) for sender, text in history),
        question=tuple(Line("client", text, _THEN) for text in reply["ask"].split("\n")),
        language=language_of(reply["ask"]),
        instructions=situation["instructions"],
        known=tuple((name, value) for name, value in situation["known"]),
        knowledge=tuple(Passage("knowledge.md", heading, text) for heading, text in situation["knowledge"]),
    )


def _count(count: Count, case: Case, findings: list[Finding]) -> None:
    found = [finding.text for finding in findings]
    where = f"{case.situation}: {case.reply!r} found {found}"
    if not case.invented:
        count.good += 1
        if found:
            count.alarms += 1
            count.misses.append(f"false alarm: {where}")
        return
    count.bad += 1
    count.surplus += sum(not any(_overlap(text, piece) for piece in case.invented) for text in found)
    if all(any(_overlap(text, piece) for text in found) for piece in case.invented):
        count.caught += 1
    else:
        count.misses.append(f"not caught: {where}, not {list(case.invented)}")


def _overlap(found: str, invented: str) -> bool:
    return found.rstrip(".") in invented or invented.rstrip(".") in found


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


WORDS = {
    "en": {
        "header": "| | bad replies | caught | | good replies | false alarms | | found too much |",
        "aside": "the third set aside",
        "tuned": "the two thirds that the guard was tuned on",
        "all": "**all**",
    },
    "ru": {
        "header": "| | плохих ответов | поймано | | хороших ответов | ложных тревог | | найдено лишнего |",
        "aside": "отложенная треть",
        "tuned": "две трети, на которых настраивали",
        "all": "**все**",
    },
}
