"""Decides whether a passage may be sent: fitted weights over what is known of it. They stand in ``decision.toml``."""

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from math import exp
from pathlib import Path

from otvet.responders.knowledge import subjects
from otvet.responders.knowledge.passages import Passage
from otvet.responders.knowledge.search import Hit, Index
from otvet.responders.knowledge.stopwords import REASONS
from otvet.responders.knowledge.words import question_words, words

NAMES = (
    "always",
    "it has every word of the question, and speaks of what is asked",
    "share of the words that name the thing which it lacks",
    "it lacks two words or more",
    "length of the question, of eight words",
    "the question names no thing",
)
"""What is known of a passage as the answer to a question, each a number from 0 to 1."""

FILE = Path(__file__).with_name("decision.toml")
_LOOKED_AT = 8
_FEWEST_WORDS = 2
_LONG = 8
_ALIKE = 0.01
_GUESSED = 0.5
"""Words for which the passages have only a broader or a kindred one are trusted so; see ``search``."""


@dataclass(frozen=True, slots=True)
class Question:
    """own: the client's last words. before: the question before, if these refer to it."""

    own: str
    before: str = ""

    @property
    def text(self) -> str:
        """What is searched for."""
        return f"{self.before}\n{self.own}" if self.before else self.own

    @property
    def says_too_little(self) -> bool:
        """One word names a thing and asks nothing."""
        return len(set(words(self.text))) < _FEWEST_WORDS


@dataclass(frozen=True, slots=True)
class _Seen:
    """Of a passage: its terms, the subjects it speaks of, the share of the thing's words in it, and in its heading."""

    hit: Hit
    held: frozenset[str]
    told: frozenset[str]
    thing: float
    headed: float


@cache
def _fitted() -> tuple[tuple[float, ...], float]:
    kept = tomllib.loads(FILE.read_text("utf-8"))
    return tuple(kept["weights"][name] for name in NAMES), kept["limit"]


def likely(index: Index, question: Question) -> Hit | None:
    """The passage that most likely answers the question, if that is likely enough for sending it."""
    weights, limit = _fitted()
    found = [(trust(weights, row), hit) for hit, row in candidates(index, question)]
    best, hit = max(found, key=lambda one: one[0], default=(0.0, None))
    return hit if best >= limit else None


def trust(weights: Sequence[float], row: Sequence[float]) -> float:
    """How likely a passage with these features is the answer, from 0 to 1."""
    return 1 / (1 + exp(-sum(weight * value for weight, value in zip(weights, row, strict=True))))


def candidates(index: Index, question: Question) -> Iterator[tuple[Hit, tuple[float, ...]]]:
    """The passages that may be the answer, each with its features in the order of NAMES.

    Whatever speaks for it, a passage is none if another one fits as well, if its headings deny what the question asks,
    or if it gives no reason or no price where one is asked for.
    """
    if question.says_too_little:
        return
    asked = subjects.asked(question.own) or (subjects.asked(question.text) if question.before else frozenset())
    thing = index.terms(subjects.without(question.text))
    named = subjects.terms_of(subjects.without(question.own))
    own = index.terms(question.text)
    reasons = set(question_words(question.own)) & REASONS
    hits = index.search(question.text, _LOOKED_AT, subjects.headings(question.own))
    seen = [_seen(index, hit, thing) for hit in hits]
    for hit, one in zip(hits, seen, strict=True):
        priceless = subjects.PRICE in asked and subjects.PRICE not in one.told
        if hit.of_another or not reasons <= hit.asked or priceless or _rivals(one, seen):
            continue
        lacking = [term for term, certainty in own.items() if term not in one.held or certainty <= _GUESSED]
        yield (
            hit,
            (
                1.0,
                float(not lacking and asked <= one.told),
                len(named - one.held) / len(named) if named else 0.0,
                float(len(lacking) > 1),
                min(len(own), _LONG) / _LONG,
                float(not named),
            ),
        )


def rivals(index: Index, question: Question, hit: Hit, hits: Sequence[Hit]) -> list[Hit]:
    """Which of these passages fit the question as well as this one."""
    thing = index.terms(subjects.without(question.text))
    seen = {id(one.passage): _seen(index, one, thing) for one in (hit, *hits)}
    return [one.hit for one in _rivals(seen[id(hit.passage)], list(seen.values()))]


def lacks(index: Index, question: Question, passage: Passage) -> list[str]:
    """The words that name the thing of a question, and that neither a passage nor its headings hold.

    Not those that say what is asked of it: a row with a price has no word such as "costs".
    """
    held, named = subjects.terms_of(_whole(passage)), set(words(subjects.without(question.text)))
    asked = dict.fromkeys(words(question.text))  # whole words: of some, what says what is asked is only a part
    return [word for word in asked if word in named and index.terms(word).keys().isdisjoint(held)]


def _rivals(one: _Seen, seen: Sequence[_Seen]) -> list[_Seen]:
    others = [other for other in seen if other is not one and not _repeats(one.hit, other.hit)]
    return [o for o in others if o.thing >= one.thing - _ALIKE and o.headed >= one.headed - _ALIKE]


def _seen(index: Index, hit: Hit, thing: dict[str, float]) -> _Seen:
    whole = _whole(hit.passage)
    held = subjects.terms_of(whole)
    heading = subjects.terms_of(f"{hit.passage.heading}\n{hit.passage.other_words}")
    return _Seen(hit, held, subjects.told(whole), index.share(thing, held), index.share(thing, heading))


def _whole(passage: Passage) -> str:
    return "\n".join((passage.heading, passage.other_words, *passage.above, passage.text))


def _repeats(one: Hit, other: Hit) -> bool:
    """Whether a passage repeats the other, so that neither is a rival."""
    a, b = one.passage, other.passage
    return a.file == b.file and (a.text in b.text or b.text in a.text)
