"""The search and the local answer: what is found, what is answered, what is refused."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from evals.questions import KINDS, Question, load
from evals.section import Section
from otvet.clock import SystemClock
from otvet.responders.knowledge.passages import Passage
from otvet.responders.knowledge.responder import Knowledge

FOLDER = Path(__file__).resolve().parent.parent / "knowledge"

FIRST_AIM = 0.85
THREE_AIM = 0.97


class Outcome(Enum):
    """What the local responder did with a question."""

    RIGHT = "right"
    HONEST = "honestly refused"
    SILENT = "wrongly refused"
    INVENTED = "invented"


@dataclass(frozen=True, slots=True)
class Result:
    """``found`` holds the first three passages of the search, ``answer`` what the client would have got."""

    question: Question
    found: tuple[str, ...]
    answer: str | None

    @property
    def searched(self) -> bool:
        """Whether there is anything to find."""
        return bool(self.question.expect or self.question.parts)

    @property
    def first(self) -> bool:
        """hit@1: the best passage is a right one."""
        return bool(set(self.found[:1]) & (self.question.expect | self.question.parts))

    @property
    def three(self) -> bool:
        """hit@3: a right one is among the first three; all of them, where each answers a part."""
        found = set(self.found)
        return bool(found & self.question.expect or (self.question.parts and self.question.parts <= found))

    @property
    def outcome(self) -> Outcome:
        """An answer that is no right one, or only a part of one, counts as invented."""
        if self.answer is None:
            return Outcome.SILENT if self.question.expect else Outcome.HONEST
        return Outcome.RIGHT if self.answer in self.question.expect else Outcome.INVENTED


def measure(questions: Iterable[Question], folder: Path = FOLDER) -> list[Result]:
    """Ask all questions."""
    knowledge = Knowledge(folder, SystemClock())
    return [_result(knowledge, question) for question in questions]


def _result(knowledge: Knowledge, question: Question) -> Result:
    found = knowledge.passages(question.ask, question.history, k=3)
    answer = knowledge.answer(question.ask, question.history)
    return Result(question, tuple(_name(hit.passage) for hit in found), _name(answer.passage) if answer else None)


def _name(passage: Passage) -> str:
    return f"{passage.file} > {passage.heading}"


def share(results: Sequence[Result], holds: Callable[[Result], bool]) -> float | None:
    """The share of the results with something to find; None if there are none."""
    searched = [result for result in results if result.searched]
    return sum(map(holds, searched)) / len(searched) if searched else None


def failures(results: Sequence[Result]) -> list[str]:
    """Which aims are missed, each as a sentence."""
    found = []
    for name, holds, aim in (("hit@1", _first, FIRST_AIM), ("hit@3", _three, THREE_AIM)):
        reached = share(results, holds)
        if reached is None or reached < aim:
            found.append(f"{name} is {_percent(reached)}, the aim is {_percent(aim)}")
    found += [
        f"invented: {result.question.text} -> {result.answer}"
        for result in results
        if result.outcome is Outcome.INVENTED
    ]
    return found


def _first(result: Result) -> bool:
    return result.first


def _three(result: Result) -> bool:
    return result.three


def section() -> Section:
    """The measurement, for the page."""
    results = measure(load())
    return Section({language: page(results, language) for language in WORDS}, tuple(failures(results)))


def page(results: Sequence[Result], language: str) -> str:
    """The section in a language."""
    introduction = Path(__file__).with_name(f"local.{language}.md").read_text(encoding="utf-8")
    words = WORDS[language]
    tables = {
        "aside": [result for result in results if result.question.aside],
        "later": [result for result in results if result.question.later],
        "tuned": [result for result in results if not result.question.aside and not result.question.later],
        "whole": results,
    }
    return introduction + "".join(f"\n### {words[name]}\n\n{_table(chosen, words)}" for name, chosen in tables.items())


def _table(results: Sequence[Result], words: dict[str, str]) -> str:
    kinds = [(words[kind], [result for result in results if result.question.kind == kind]) for kind in KINDS]
    rows = [(name, chosen) for name, chosen in kinds if chosen]
    lines = [words["header"], "| --- |" + " ---: |" * 7]
    lines += [_row(name, chosen) for name, chosen in (*rows, (words["all"], results))]
    return "\n".join(lines) + "\n"


def _row(name: str, results: Sequence[Result]) -> str:
    counts = [sum(result.outcome is outcome for result in results) for outcome in Outcome]
    cells = [name, len(results), _percent(share(results, _first)), _percent(share(results, _three)), *counts]
    return "| " + " | ".join(map(str, cells)) + " |"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"


WORDS = {
    "en": {
        "aside": "The third set aside, today",
        "later": "The questions written later, today",
        "tuned": "The two thirds that the search was tuned on",
        "whole": "All of them",
        "header": "| | questions | hit@1 | hit@3 | right | honestly refused | wrongly refused | invented |",
        "plain": "one plain question",
        "typo": "misspelt",
        "burst": "several messages",
        "follow_up": "follow-up",
        "unknown": "not in the folder",
        "near": "not in the folder, but near",
        "injection": "orders to the assistant",
        "all": "**all**",
    },
    "ru": {
        "aside": "Отложенная треть, сегодня",
        "later": "Вопросы, написанные позже, сегодня",
        "tuned": "Две трети, на которых настраивали",
        "whole": "Все вместе",
        "header": "| | вопросов | первым | в тройке | верно | честный отказ | лишний отказ | выдумано |",
        "plain": "один простой вопрос",
        "typo": "с опечатками",
        "burst": "несколько сообщений",
        "follow_up": "в продолжение разговора",
        "unknown": "в папке этого нет",
        "near": "в папке есть похожее, но не это",
        "injection": "приказы помощнику",
        "all": "**все**",
    },
}
