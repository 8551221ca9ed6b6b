"""What messages mean for staff: who asks for a person, small talk, complaints, and promises of a model; ``*.json``.

A kind has a file of the sets that its recogniser was tuned on, each by another author, or of many voices. A set that it
never saw has the name ``*_third.json``; it is measured where it is there.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from evals.section import Section, percent
from otvet.meaning.person import asks_for_person
from otvet.meaning.promises import promise_of
from otvet.meaning.small_talk import kind_of
from otvet.meaning.temper import is_angry

FOLDER = Path(__file__).parent
PARTS = {"tuned": "", "third": "_third"}
CATCH_AIM = 0.95
ALARM_AIM = 0.03


@dataclass(frozen=True, slots=True)
class Kind:
    """A set. nothing: the meaning that asks for nothing; of it an alarm may be false. judge: the meaning of a text."""

    name: str
    nothing: str
    judge: Callable[[str], str]


KINDS = (
    Kind("person", "others", lambda text: "asks" if asks_for_person(text) else "others"),
    Kind("small_talk", "questions", lambda text: _SMALL_TALK[kind_of([text])]),
    Kind("angry", "calm", lambda text: "angry" if is_angry(text) else "calm"),
    Kind("promises", "fine", lambda text: str(promise_of(text))),
)
_SMALL_TALK = {"thanks": "thanks", "greeting": "greetings", "question": "questions"}


class Row(NamedTuple):
    """One text of a set, and what it means."""

    author: str
    text: str
    meaning: str


@dataclass(slots=True)
class Count:
    """caught: texts with a meaning that were given it. alarms: texts without one that were given any."""

    with_meaning: int = 0
    caught: int = 0
    without: int = 0
    alarms: int = 0
    wrong: list[tuple[str, str, str]] = field(default_factory=list)
    """(text, the right meaning, the one that was found)"""

    @property
    def catch_rate(self) -> float:
        return self.caught / self.with_meaning

    @property
    def alarm_rate(self) -> float:
        return self.alarms / self.without


def measure() -> dict[tuple[str, str], Count]:
    """A count for each set and part, by (name of the kind, part)."""
    counts: dict[tuple[str, str], Count] = {}
    for kind in KINDS:
        for part, ending in PARTS.items():
            file = FOLDER / f"{kind.name}{ending}.json"
            if file.exists():
                counts[kind.name, part] = count_of(kind, rows(file.stem))
    return counts


def rows(name: str, author: str = "") -> Iterator[Row]:
    """What stands in ``evals/<name>.json``: {"sets": {author: {meaning: [text]}}}, or one set without its author.

    author: only what that one wrote, if given.
    """
    told = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    for writer, by_meaning in told.get("sets", {author: told}).items():
        if author in ("", writer):
            yield from (Row(writer, one["text"], one["right"]) for one in by_meaning.get("cases", ()))
            for meaning in [name for name in by_meaning if name not in ("about", "cases")]:
                yield from (Row(writer, text, meaning) for text in by_meaning[meaning])


def missed(count: Count) -> list[str]:
    """The aims that a count does not reach, as the names of their columns."""
    found = [] if count.catch_rate >= CATCH_AIM else ["caught"]
    return found + ([] if count.alarm_rate <= ALARM_AIM else ["false alarms"])


def failures(result: Mapping[tuple[str, str], Count]) -> list[str]:
    """What makes the measurement fail: an aim missed by a part that the recogniser was tuned on."""
    return [f"{name}: {aim}" for (name, part), count in result.items() if part == "tuned" for aim in missed(count)]


def section() -> Section:
    """The measurement, for the page."""
    result = measure()
    return Section({language: page(result, language) for language in WORDS}, tuple(failures(result)))


def page(result: Mapping[tuple[str, str], Count], language: str) -> str:
    """The section in a language."""
    words = WORDS[language]
    lines = [Path(__file__).with_name(f"meaning.{language}.md").read_text(encoding="utf-8")]
    lines += [words["header"], "| --- | --- |" + " ---: |" * 6 + " --- |"]
    for (name, part), count in result.items():
        aims = ", ".join(words[aim] for aim in missed(count)) or "–"
        shares = (count.with_meaning, count.caught, percent(count.catch_rate))
        shares += (count.without, count.alarms, percent(count.alarm_rate))
        cells = (words[f"{name}?"], words[part], *shares, aims)
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    wrong = [
        f"- {words[f'{name}?']}: {text} ({words['is']} {words[right]}, {words['taken']} {words[found]})"
        for (name, part), count in result.items()
        if part == "third"
        for text, right, found in count.wrong
    ]
    return "\n".join((*lines, "", *([words["wrong"], "", *wrong, ""] if wrong else ())))


def count_of(kind: Kind, told: Iterable[Row]) -> Count:
    count = Count()
    for _author, text, right in told:
        found = kind.judge(text)
        if right == kind.nothing:
            count.without += 1
            count.alarms += found != right
        else:
            count.with_meaning += 1
            count.caught += found == right
        if found != right:
            count.wrong.append((text.replace("\n", " / "), right, found))
    return count


WORDS = {
    "en": {
        "header": "| what | written by | with it | caught | | without | false alarms | | aims missed |",
        "person?": "asks for a person",
        "small_talk?": "thanks or a greeting",
        "angry?": "complains",
        "promises?": "a draft promises",
        "tuned": "several authors, for tuning",
        "third": "another author, unseen",
        "caught": "caught",
        "false alarms": "false alarms",
        "wrong": "What went wrong of what the recognisers were not tuned on:",
        "is": "is",
        "taken": "taken for",
        "asks": "a wish for a person",
        "others": "another matter",
        "thanks": "thanks",
        "greetings": "a greeting",
        "questions": "a question",
        "angry": "a complaint",
        "calm": "a calm message",
        "handoff": "a hand-off",
        "refuse": "a promise that nobody keeps",
        "fine": "no promise",
    },
    "ru": {
        "header": "| что | кто написал | с этим | поймано | | без этого | ложных тревог | | не достигнуто |",
        "person?": "просит позвать человека",
        "small_talk?": "благодарность или приветствие",
        "angry?": "жалуется",
        "promises?": "черновик обещает",
        "tuned": "разные авторы, для настройки",
        "third": "другой автор, не показано",
        "caught": "поймано",
        "false alarms": "ложные тревоги",
        "wrong": "В чём ошиблись на том, под что их не настраивали:",
        "is": "на деле —",
        "taken": "принято за:",
        "asks": "просьба позвать человека",
        "others": "другое",
        "thanks": "благодарность",
        "greetings": "приветствие",
        "questions": "вопрос",
        "angry": "жалоба",
        "calm": "спокойное сообщение",
        "handoff": "передача менеджеру",
        "refuse": "обещание, которое никто не выполнит",
        "fine": "обещания нет",
    },
}
