"""The check of facts: what it catches in prepared bad replies, and its false alarms in good ones; ``replies*.json``."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from evals.local import FOLDER as SHOP
from evals.local import name_of
from evals.section import Section, percent
from otvet.guard.finding import Finding
from otvet.guard.guard import check
from otvet.i18n import language_of
from otvet.responders.base import Context, Line
from otvet.responders.knowledge.passages import Passage, read_folder

FOLDER = Path(__file__).parent
FILES = {
    "replies.json": "tuned",
    "replies_more.json": "tuned",
    "replies_others.json": "others",
    "replies_last.json": "last",
    "replies_slang.json": "slang",
    "replies_fresh.json": "fresh",
    "replies_third.json": "third",
}
"""The last is another author's, which the guard never saw; it is measured where it is there."""
PARTS = ("aside", "others", "last", "slang", "fresh", "third", "tuned")
HELD_OUT = PARTS[:-1]
MUST = ("aside", "tuned")
"""The others are reported as they are: they were written to find what the guard does not see."""

CATCH_AIM = 0.98
ALARM_AIM = 0.02

_THEN = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Case:
    """One prepared reply. ``invented``: the pieces that must be found; none in a good reply. ``part``: one of PARTS."""

    situation: str
    part: str
    context: Context
    reply: str
    invented: tuple[str, ...]


@dataclass(slots=True)
class Count:
    """What the guard did with one part of the replies.

    caught: bad replies of which every invented piece was found.
    alarms: good replies with a finding; surplus: findings in bad replies beside what was invented.
    wrong: each reply that went wrong, behind "not caught" or "false alarm".
    """

    good: int = 0
    bad: int = 0
    caught: int = 0
    alarms: int = 0
    surplus: int = 0
    wrong: list[tuple[str, str]] = field(default_factory=list)

    @property
    def catch_rate(self) -> float:
        return self.caught / self.bad

    @property
    def alarm_rate(self) -> float:
        return self.alarms / self.good


@cache
def measure() -> dict[str, Count]:
    """Have the guard judge every prepared reply; a count for each of PARTS that has any, and one for all."""
    counts = {part: Count() for part in (*PARTS, "all")}
    for case in cases():
        findings = [finding for finding in check(case.reply, case.context) if not finding.is_leak]
        for part in (case.part, "all"):
            _count(counts[part], case, findings)
    return {part: count for part, count in counts.items() if count.bad}


def missed(count: Count) -> list[str]:
    """The aims that a part does not reach, as the names of their columns."""
    found = [] if count.bad and count.catch_rate >= CATCH_AIM else ["caught"]
    return found + ([] if count.good and count.alarm_rate <= ALARM_AIM else ["false alarms"])


def failures(result: Mapping[str, Count]) -> list[str]:
    """What makes the measurement fail: a missed aim of the parts that have to reach all of them."""
    return [f"{name}: {part}" for part in MUST for name in missed(result.get(part, Count()))]


def section() -> Section:
    """The measurement, for the page."""
    result = measure()
    return Section({language: page(result, language) for language in WORDS}, tuple(failures(result)))


def page(result: Mapping[str, Count], language: str) -> str:
    """The section in a language."""
    introduction = Path(__file__).with_name(f"guard.{language}.md").read_text(encoding="utf-8")
    words = WORDS[language]
    lines = [words["header"], "| --- |" + " ---: |" * 7 + " --- |"]
    for part, count in result.items():
        caught, alarms = percent(count.catch_rate), percent(count.alarm_rate)
        aims = ", ".join(words.get(aim, aim) for aim in missed(count)) or words["met"]
        cells = (words[part], count.bad, count.caught, caught, count.good, count.alarms, alarms, count.surplus, aims)
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    wrong = [f"- {words[kind]}: {reply}" for part in HELD_OUT if part in result for kind, reply in result[part].wrong]
    return "\n".join((introduction, *lines, "", words["wrong"], "", *wrong, ""))


def cases() -> Iterator[Case]:
    """The prepared replies with their contexts, in the order of the files."""
    for name, part in FILES.items():
        if not (FOLDER / name).exists():
            continue
        for situation in json.loads((FOLDER / name).read_text(encoding="utf-8"))["situations"]:
            for reply in situation["replies"]:
                yield Case(
                    situation["name"],
                    "aside" if situation.get("aside") else part,
                    _context(situation, reply),
                    reply["reply"],
                    tuple(reply.get("invented", ())),
                )


def _context(situation: dict[str, Any], reply: dict[str, Any]) -> Context:
    history = [*situation.get("history", ()), *reply.get("history", ())]
    return Context(
        turn_id=1,
        conversation_id=1,
        lead_id=1,
        history=tuple(Line(sender, text, _THEN) for sender, text in history),
        question=tuple(Line("client", text, _THEN) for text in reply["ask"].split("\n")),
        language=language_of(reply["ask"]),
        instructions=situation.get("instructions", ""),
        known=tuple((name, value) for name, value in situation.get("known", ())),
        knowledge=tuple(_knowledge(situation, reply)),
    )


def _knowledge(situation: dict[str, Any], reply: dict[str, Any]) -> Iterator[Passage]:
    if "knowledge" in reply:
        yield Passage("knowledge.md", "", reply["knowledge"])
    for heading, text in situation.get("knowledge", ()):
        yield Passage("knowledge.md", heading, text)
    for name in situation.get("passages", ()):
        yield _shop()[name]


@cache
def _shop() -> dict[str, Passage]:
    passages, _ = read_folder(SHOP, with_examples=True)
    return {name_of(passage): passage for passage in passages}


def _count(count: Count, case: Case, findings: list[Finding]) -> None:
    found = [finding.text for finding in findings]
    if not case.invented:
        count.good += 1
        count.alarms += bool(found)
        count.wrong += [("false alarm", case.reply)] if found else []
        return
    caught = all(any(_overlap(text, piece) for text in found) for piece in case.invented)
    count.bad += 1
    count.caught += caught
    count.surplus += sum(not any(_overlap(text, piece) for piece in case.invented) for text in found)
    count.wrong += [] if caught else [("not caught", case.reply)]


def _overlap(found: str, invented: str) -> bool:
    return found.rstrip(".") in invented or invented.rstrip(".") in found


WORDS = {
    "en": {
        "header": "| | bad replies | caught | | good replies | false alarms | | found too much | aims missed |",
        "aside": "the third set aside",
        "others": "another author's",
        "last": "written after the tuning",
        "slang": "another author's second set: slang, sums, weekdays",
        "fresh": "a third author's: everyday trades",
        "third": "another author's, unseen",
        "tuned": "the two thirds that the guard was tuned on",
        "all": "**all**",
        "met": "–",
        "wrong": "What went wrong of those that the guard was not tuned on:",
        "not caught": "not caught",
        "false alarm": "false alarm",
    },
    "ru": {
        "header": "| | плохих | поймано | | хороших | ложных тревог | | лишних находок | не достигнуто |",
        "aside": "отложенная треть",
        "others": "ответы другого автора",
        "last": "написанные после настройки",
        "slang": "второй набор другого автора: сленг, суммы, дни недели",
        "fresh": "ответы третьего автора: повседневные темы",
        "third": "ответы другого автора, не показаны",
        "tuned": "две трети, на которых настраивали",
        "all": "**все**",
        "met": "–",
        "wrong": "В чём ошиблась на том, под что её не настраивали:",
        "caught": "поймано",
        "false alarms": "ложные тревоги",
        "not caught": "не поймано",
        "false alarm": "ложная тревога",
    },
}
