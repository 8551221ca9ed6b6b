"""What every business is asked about: where, when, how much. The table is ``subjects.toml``."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from otvet.responders.knowledge.words import family, folded, stem, words

_FILE = Path(__file__).with_name("subjects.toml")
AMOUNT = re.compile(r"\d\s*(?:₽|руб|р\b|\$|€|₸)|[$€]\s*\d")
PRICE = "price"
_EMERGENCY = "emergency"
_HEADED_WEIGHT = 0.2


@dataclass(frozen=True, slots=True)
class Subject:
    """asked: how clients ask for it. headed: words of headings above the answer, and of the answer. terms: its own."""

    asked: re.Pattern[str]
    headed: str
    terms: frozenset[str]


@cache
def _table() -> Mapping[str, Subject]:
    table: Mapping[str, Mapping[str, Mapping[str, object]]] = tomllib.loads(_FILE.read_text("utf-8"))
    return {name: _subject(by_language.values()) for name, by_language in table.items()}


def _subject(languages: Iterable[Mapping[str, object]]) -> Subject:
    patterns: list[str] = []
    headed: list[str] = []
    for one in languages:
        asked = one["asked"]
        patterns += asked if isinstance(asked, list) else []
        headed.append(str(one.get("headed", "")))
    pattern, above = "|".join(f"(?:{pattern})" for pattern in patterns), " ".join(headed)
    return Subject(re.compile(pattern), above, terms_of(above))


def _subjects() -> Iterator[tuple[str, Subject]]:
    return ((name, subject) for name, subject in _table().items() if subject.headed.strip())


def asked(text: str) -> frozenset[str]:
    """The names of the subjects that a question asks about."""
    plain = folded(text)
    return frozenset(name for name, subject in _subjects() if subject.asked.search(plain))


def told(text: str) -> frozenset[str]:
    """The names of the subjects that a passage speaks of, with its headings; one with an amount speaks of a price."""
    terms = terms_of(text)
    found = frozenset(name for name, subject in _subjects() if subject.terms & terms)
    return found | {PRICE} if AMOUNT.search(text) else found


def without(text: str) -> str:
    """A question without the words that say what is asked of the thing: what is left names the thing."""
    plain = folded(text)
    for _name, subject in _subjects():
        plain = subject.asked.sub(" ", plain)
    return plain


def headings(text: str) -> list[tuple[str, float]]:
    """The usual words above the answer to a question, to be searched for beside it: ``earlier`` of ``Index.search``."""
    return [(_table()[name].headed, _HEADED_WEIGHT) for name in sorted(asked(text))]


def is_emergency(text: str) -> bool:
    """Whether somebody is in danger or something is being damaged: only a person may answer."""
    return bool(_table()[_EMERGENCY].asked.search(folded(text)))


def terms_of(text: str) -> frozenset[str]:
    """The search terms of a text."""
    return frozenset(family(stem(word)) for word in words(text, price_alone=True))
