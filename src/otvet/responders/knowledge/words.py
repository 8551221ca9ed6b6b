"""Turns a text into search terms: Russian and English words without their endings."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from otvet.responders.knowledge.stopwords import ASKED_AS, NEGATIONS, QUESTION_WORDS, STOPWORDS, WITHOUT_SUBJECT
from otvet.responders.knowledge.synonyms import BROADER, PHRASES, SAME

_ADDRESS = re.compile(r"\bhttps?://\S+|(?<![\w.-])(?:[\w-]++\.)+[a-z]{2,}\b(?:/\S*)?")
_GREETING = re.compile(
    r"\b(?:добр\w+ (?:день|дня|утро|утра|вечер|вечера|ночи|времени суток)|меня зовут \w+"
    r"|good (?:morning|day|afternoon|evening)|my name is \w+)"
)
_WORD = re.compile(r"[^\W_]+")
_TWO_ALPHABETS = re.compile(r"\b(?=\w*[а-я])(?=\w*[a-z])\w+")
_LOOK_ALIKE = str.maketrans("abcehkmoptxy", "авсенкмортху")
_LATIN = re.compile(r"[a-z]+")
_NOT = re.compile(r"n['’]t\b")
_TIMES = re.compile(r"(?<=\d)[xх*](?=\d)")

_AMOUNT = re.compile(r"\b(\d{1,3}(?:[ \u00a0\u202f]\d{3})+)(?=\s*(?:₽|руб|р\b))")

_PHRASES = tuple((re.compile(rf"\b(?:{phrase})\b"), word) for phrase, word in PHRASES)

# Snowball keeps доставк-, доставля- and достав- apart; cutting these endings brings them together.
# After т the к stays: открытк- is "postcard" and открыт- is "open".
_TAIL = re.compile(r"(?<=\w{4})(?:ыва|ива|ова|ичн|ийн|лен|ени|ля|ск|ен|ан|ик|(?<!т)(?:ок|ек|к)|л|а|я|и)$")


def words(text: str, *, price_alone: bool = False) -> list[str]:
    """The words that carry the meaning of a text, in their order and in one spelling.

    "Not" is joined to the word after it: a parcel that has not come is another subject than how parcels come.
    A text that asks for a price and names no thing has no words, because it refers to an earlier message; with
    ``price_alone`` its words are given all the same.
    """
    found = [negation + word for negation, word in _with_negations(text)]
    return [] if not price_alone and WITHOUT_SUBJECT.issuperset(found) else found


def denied(text: str) -> list[str]:
    """The words of ``words`` that begin with "not"."""
    return [negation + word for negation, word in _with_negations(text) if negation]


def _with_negations(text: str) -> Iterator[tuple[str, str]]:
    negation = ""
    for word in _all_words(text):
        if word in NEGATIONS:
            negation = word
        elif word not in STOPWORDS:
            yield negation, word
            negation = ""


def question_words(text: str) -> list[str]:
    """The question words of a text, such as "where": they tell apart two passages about one subject."""
    return [ASKED_AS.get(word, word) for word in _all_words(text) if word in QUESTION_WORDS]


def folded(text: str) -> str:
    """The text in one spelling: lower case, е for ё, and no Latin letter inside a Russian word."""
    text = text.casefold().replace("ё", "е")
    return _TWO_ALPHABETS.sub(lambda word: word[0].translate(_LOOK_ALIKE), text)


def stem(word: str) -> str:
    """A word without its ending."""
    return str(_stemmer("english" if _LATIN.fullmatch(word) else "russian").stemWord(word))


@cache
def _stemmer(language: str) -> Any:
    import Stemmer  # not at the top: commands that need no stem read this file too

    return Stemmer.Stemmer(language)


def family(stem: str) -> str:
    """One search term for a stem, its synonyms and its nearest relatives."""
    root, families = _root(stem), _families()
    if root.startswith("не") and root[2:] in families:  # words() joins them
        return "не" + families[root[2:]]
    return families.get(root, root)


def broader(family: str) -> tuple[str, ...]:
    """The broader terms to try for a term that no passage holds, the nearest first."""
    return _broader().get(family, ())


def _all_words(text: str) -> list[str]:
    text = _ADDRESS.sub(" ", folded(text))
    text = _NOT.sub(" not", _GREETING.sub(" ", text))
    text = _AMOUNT.sub(lambda amount: "".join(amount[1].split()), _TIMES.sub(" ", text))
    for phrase, word in _PHRASES:
        text = phrase.sub(f" {word} ", text)
    return _WORD.findall(text)


def _root(stem: str) -> str:
    return _TAIL.sub("", stem)


@cache
def _families() -> dict[str, str]:
    return {_root(stem(word)): _root(stem(group.split()[0])) for group in SAME for word in group.split()}


@cache
def _broader() -> dict[str, tuple[str, ...]]:
    return {family(stem(word)): tuple(family(stem(each)) for each in meant) for word, meant in BROADER.items()}
