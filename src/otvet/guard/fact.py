"""The type of a fact in a text, such as a price or a time, in a form that does not depend on the spelling."""

import re
import unicodedata
from dataclasses import dataclass

Key = tuple[str, float | str]
"""The kind of a value and the value: ("RUB", 1500.0), ("time", 600.0), ("phone", "+79001234567")."""

Keys = frozenset[Key]


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact of a text.

    needs: the fact is known if the context has at least one key of every set.
    gives: the keys that a context has if it contains the fact.
    """

    kind: str
    start: int
    end: int
    needs: tuple[Keys, ...]
    gives: Keys


_SPACES = re.compile(r"[\u00a0\u2000-\u200a\u202f\u205f\u3000\t]")
_DASHES = re.compile(r"[\u2010-\u2015\u2212\ufe63\uff0d]")
_OTHER_DIGITS = re.compile(r"(?![0-9])\d")
_TIMES = re.compile(r"(?<=\d)[xх×](?=\s?\d)|(?<=\d\s)[xх×](?=\s\d)")
_APOSTROPHES = re.compile(r"(?<=[а-яіїєґ])[’ʼ`](?=[а-яіїєґ])", re.IGNORECASE)
_BOXED = re.compile(r"(?:\d\u20e3){2,}")
INVISIBLE = re.compile(r"[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufe0e\ufe0f]")


def visible(text: str) -> str:
    """The text without invisible characters and without the keycap boxes around the digits of a number."""
    return _BOXED.sub(lambda match: match[0].replace("\u20e3", ""), INVISIBLE.sub("", text))


def plain(text: str) -> str:
    """The text with plain spaces, dashes and digits; positions do not change."""
    if text.isascii():
        return text.replace("\t", " ")
    text = _APOSTROPHES.sub("'", _DASHES.sub("-", _SPACES.sub(" ", text)))
    return _OTHER_DIGITS.sub(lambda match: str(unicodedata.digit(match[0])), text)


def lower(text: str) -> str:
    """The text in lower case; positions do not change."""
    folded = _TIMES.sub("*", text.lower())
    return folded if len(folded) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def blank(text: str, spans: list[tuple[int, int]]) -> str:
    """The text with NUL characters in place of these pieces; positions do not change."""
    for start, end in spans:
        text = text[:start] + "\0" * (end - start) + text[end:]
    return text
