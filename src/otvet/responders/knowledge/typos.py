"""The known word that a mistyped or an unusual one was meant to be."""

import re
from collections import defaultdict
from collections.abc import Mapping
from itertools import takewhile
from typing import NamedTuple

_SHORTEST = 5
_TWO_MISTAKES_FROM = 8

# The first letter is taken on trust, except for the vowels that sound alike: аплата, електрический.
_FIRST = str.maketrans("оэи", "аее")

# Written by ear: vowels without stress, consonants that lose their voice, letters that are not heard.
_HEARD = str.maketrans("оэиыябдгзжвщ", "аеееептксшфш", "ьъ")
_HEARD_AS_ONE = re.compile(r"(.)\1+")

_COMMON_BEGINNING = 5
_COMMON_SHARE = 0.6


class Guess(NamedTuple):
    """A known word and how many letters away it is."""

    word: str
    mistakes: int


class Speller:
    """Knows the words of the passages, and how often each occurs."""

    def __init__(self, known: Mapping[str, int]) -> None:
        self._known = known
        self._alike: defaultdict[tuple[str, int], list[tuple[str, int]]] = defaultdict(list)
        self._heard: defaultdict[str, list[str]] = defaultdict(list)
        self._beginning: defaultdict[str, list[str]] = defaultdict(list)
        for word in known:
            self._alike[_first(word), len(word)].append((word, _letters(word)))
            self._heard[heard(word)].append(word)
            self._beginning[word[:_COMMON_BEGINNING]].append(word)

    def nearest(self, word: str) -> Guess | None:
        """The fewest mistakes away, the commonest of several; a short word is not guessed."""
        if len(word) < _SHORTEST or not word.isalpha():
            return None
        allowed = 2 if len(word) >= _TWO_MISTAKES_FROM else 1
        letters = _letters(word)
        guesses = [Guess(known, 1) for known in self._heard.get(heard(word), ())]
        guesses += [
            Guess(known, mistakes)
            for length in range(len(word) - allowed, len(word) + allowed + 1)
            for known, known_letters in self._alike.get((_first(word), length), ())
            if (letters ^ known_letters).bit_count() <= 2 * allowed  # a mistake changes two letters at most
            and (mistakes := distance(word, known, allowed)) <= allowed
        ]
        return min(guesses, key=lambda guess: (guess.mistakes, -self._known[guess.word], guess.word), default=None)

    def kindred(self, word: str) -> str | None:
        """A word that begins alike for the most part: телефончик, телефон."""

        def common(known: str) -> int:
            return sum(1 for _same in takewhile(lambda pair: pair[0] == pair[1], zip(word, known, strict=False)))

        found = self._beginning.get(word[:_COMMON_BEGINNING], ()) if word.isalpha() else ()
        best = max(found, key=lambda known: (common(known), self._known[known], known), default=None)
        enough = best is not None and common(best) >= _COMMON_SHARE * max(len(word), len(best))
        return best if enough else None


def distance(one: str, other: str, limit: int) -> int:
    """How many letters are missing, added, replaced or swapped; above ``limit`` it stops counting."""
    earlier: list[int] = []
    before = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        row = [i]
        for j, wanted in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and wanted == one[i - 2]:
                cost = min(cost, earlier[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return limit + 1
        earlier, before = before, row
    return before[-1]


def _letters(word: str) -> int:
    """Which letters a word has, as bits: most words that are far from it are passed over by these alone."""
    bits = 0
    for letter in word:
        bits |= 1 << ord(letter) % 64
    return bits


def _first(word: str) -> str:
    return word[:1].translate(_FIRST)


def heard(word: str) -> str:
    """The same for two spellings of what sounds alike."""
    return _HEARD_AS_ONE.sub(r"\1", word.translate(_HEARD))
