"""The search and the local answer: what is found, what is answered, what is refused."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from evals.questions import HELD_OUT, KINDS, PARTS, Question, load
from evals.section import Section, percent
from otvet.clock import SystemClock
from otvet.responders.knowledge.choice import Answer
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
    """``found`` holds the first three passages of the search, ``answer`` those that the client would have got."""

    question: Question
    found: tuple[str, ...]
    answer: tuple[str, ...]

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
        if not self.answer:
            return Outcome.SILENT if self.question.expect else Outcome.HONEST
        told = frozenset(self.answer)
        right = told <= self.question.expect or (self.question.parts and self.question.parts <= told)
        return Outcome.RIGHT if right else Outcome.INVENTED


def measure(questions: Iterable[Question], folder: Path = FOLDER) -> list[Result]:
    """Ask all questions."""
    knowledge = Knowledge(folder, SystemClock())
    return [_result(knowledge, question) for question in questions]


def _result(knowledge: Knowledge, question: Question) -> Result:
    found = knowledge.passages(question.ask, question.history, k=3)
    answer = knowledge.answer(question.ask, question.history)
    return Result(question, tuple(name_of(hit.passage) for hit in found), _names(answer))


def _names(answer: Answer | None) -> tuple[str, ...]:
    return tuple(name_of(hit.passage) for hit in answer.hits) if answer else ()


def name_of(passage: Passage) -> str:
    """How the questions name a passage."""
    return f"{passage.file} > {passage.heading}"


def share(results: Sequence[Result], holds: Callable[[Result], bool]) -> float | None:
    """The share of the results with something to find; None if there are none."""
    searched = [result for result in results if result.searched]
    return sum(map(holds, searched)) / len(searched) if searched else None


def missed(results: Sequence[Result]) -> list[str]:
    """The aims that these results do not reach, as the names of their columns."""
    shares = (("hit@1", _first, FIRST_AIM), ("hit@3", _three, THREE_AIM))
    found = [name for name, holds, aim in shares if (reached := share(results, holds)) is None or reached < aim]
    return [*found, *({"invented"} if any(one.outcome is Outcome.INVENTED for one in results) else ())]


def failures(results: Sequence[Result]) -> list[str]:
    """What makes the measurement fail: aims that all together miss, and every invented answer."""
    found = [f"{name} of all questions" for name in missed(results) if name != "invented"]
    return found + [
        f"invented: {result.question.text} -> {result.answer}"
        for result in results
        if result.outcome is Outcome.INVENTED
    ]


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
    by_part = {part: [one for one in results if one.question.part == part] for part in PARTS}
    held_out = [one for one in results if one.question.part in HELD_OUT]
    by_kind = {kind: [one for one in held_out if one.question.kind == kind] for kind in KINDS}
    return "\n".join(
        (
            introduction + f"\n### {words['today']}\n",
            _table({**by_part, "all": results}, words, aims=True),
            f"{words['kinds']}\n",
            _table({**by_kind, "all": held_out}, words, aims=False),
            f"{words['not found']}\n",
            *(f"- {one.question.text}" for one in held_out if one.searched and not one.three),
            "",
        )
    )


def _table(groups: Mapping[str, Sequence[Result]], words: Mapping[str, str], *, aims: bool) -> str:
    lines = [words["header"] + (f" {words['aims']} |" if aims else ""), "| --- |" + " ---: |" * 8 + " --- |" * aims]
    lines += [_row(words[name], results, words if aims else None) for name, results in groups.items() if results]
    return "\n".join(lines) + "\n"


def _row(name: str, results: Sequence[Result], words: Mapping[str, str] | None) -> str:
    right, honest, silent, invented = (sum(one.outcome is outcome for one in results) for outcome in Outcome)
    could = sum(bool(one.question.expect) for one in results)
    cells = [name, len(results), percent(share(results, _first)), percent(share(results, _three))]
    cells += [right, honest, silent, percent(silent / could if could else None), invented]
    if words:
        cells.append(", ".join(words.get(aim, aim) for aim in missed(results)) or words["met"])
    return "| " + " | ".join(map(str, cells)) + " |"


WORDS = {
    "en": {
        "today": "Today",
        "kinds": "What was not tuned to, by the kind of question:",
        "not found": "Of these, the right passage was not among the first three for:",
        "aside": "the thirds set aside",
        "later": "written after the first tuning",
        "others": "another author's",
        "last": "written after all tuning",
        "tuned": "the two thirds that the search was tuned on",
        "header": "| | questions | hit@1 | hit@3 | right | honestly refused | wrongly refused | | invented |",
        "aims": "aims missed",
        "met": "–",
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
        "today": "Сегодня",
        "kinds": "То, под что не настраивали, по видам вопросов:",
        "not found": "Из них нужной записи не было среди первых трёх для таких:",
        "aside": "отложенные трети",
        "later": "написаны после первой настройки",
        "others": "вопросы другого автора",
        "last": "написаны после всей настройки",
        "tuned": "две трети, на которых настраивали",
        "header": "| | вопросов | первым | в тройке | верно | честный отказ | лишний отказ | | выдумано |",
        "aims": "не достигнуто",
        "met": "–",
        "plain": "один простой вопрос",
        "typo": "с опечатками",
        "burst": "несколько сообщений",
        "follow_up": "в продолжение разговора",
        "unknown": "в папке этого нет",
        "near": "в папке есть похожее, но не это",
        "injection": "приказы помощнику",
        "hit@1": "первым",
        "hit@3": "в тройке",
        "invented": "выдумано",
        "all": "**все**",
    },
}
