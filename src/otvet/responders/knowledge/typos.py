"""Finds the known word that a misspelt or an unusual word stands for."""

import re
from collections import defaultdict
from collections.abc import Mapping
from itertools import takewhile
from typing import NamedTuple

_MIN_LETTERS = 5
_MIN_LETTERS_FOR_TWO_MISTAKES = 8

# The first letter is assumed to be right, except for vowels that sound alike: аплата, електрический.
_FIRST = str.maketrans("оэи", "аее")

# Spelling by ear: unstressed vowels, devoiced consonants, silent letters.
_SOUNDS = str.maketrans("оэиыябдгзжвщ", "аеееептксшфш", "ьъ")
_REPEATED = re.compile(r"(.)\1+")

_PREFIX_LETTERS = 5
_PREFIX_SHARE = 0.6


class Guess(NamedTuple):
    """A known word, and its edit distance from the word that was asked for."""

    word: str
    mistakes: int


class Speller:
    """Guesses from known words. known: how often each word occurs."""

    def __init__(self, known: Mapping[str, int]) -> None:
        self._known = known
        self._by_length: defaultdict[tuple[str, int], list[tuple[str, int]]] = defaultdict(list)
        self._by_sound: defaultdict[str, list[str]] = defaultdict(list)
        self._by_prefix: defaultdict[str, list[str]] = defaultdict(list)
        for word in known:
            self._by_length[_first(word), len(word)].append((word, _letters(word)))
            self._by_sound[sound_of(word)].append(word)
            self._by_prefix[word[:_PREFIX_LETTERS]].append(word)

    def nearest(self, word: str) -> Guess | None:
        """The known word with the fewest mistakes, the most frequent of several; None for a word of under 5 letters."""
        if len(word) < _MIN_LETTERS or not word.isalpha():
            return None
        allowed = 2 if len(word) >= _MIN_LETTERS_FOR_TWO_MISTAKES else 1
        letters = _letters(word)
        guesses = [Guess(known, 1) for known in self._by_sound.get(sound_of(word), ())]
        guesses += [
            Guess(known, mistakes)
            for length in range(len(word) - allowed, len(word) + allowed + 1)
            for known, known_letters in self._by_length.get((_first(word), length), ())
            if (letters ^ known_letters).bit_count() <= 2 * allowed  # a mistake changes at most two letters
            and (mistakes := distance(word, known, allowed)) <= allowed
        ]
        return min(guesses, key=lambda guess: (guess.mistakes, -self._known[guess.word], guess.word), default=None)

    def kindred(self, word: str) -> str | None:
        """The known word with the longest common beginning, if that is most of both words: телефончик, телефон."""

        def common(known: str) -> int:
            return sum(1 for _same in takewhile(lambda pair: pair[0] == pair[1], zip(word, known, strict=False)))

        found = self._by_prefix.get(word[:_PREFIX_LETTERS], ()) if word.isalpha() else ()
        best = max(found, key=lambda known: (common(known), self._known[known], known), default=None)
        enough = best is not None and common(best) >= _PREFIX_SHARE * max(len(word), len(best))
        return best if enough else None


def distance(one: str, other: str, limit: int) -> int:
    """The edit distance of two words, a swap of neighbours counting one; ``limit`` + 1 for anything above ``limit``."""
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
    """The letters of a word as bits; comparing these rules out most words before ``distance`` is called."""
    bits = 0
    for letter in word:
        bits |= 1 << ord(letter) % 64
    return bits


def _first(word: str) -> str:
    return word[:1].translate(_FIRST)


def sound_of(word: str) -> str:
    """A key for how a word sounds: two spellings that sound alike have the same key."""
    return _REPEATED.sub(r"\1", word.translate(_SOUNDS))
