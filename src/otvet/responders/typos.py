"""The known word that a mistyped one was meant to be."""

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

_SHORTEST = 5
_TWO_MISTAKES_FROM = 8

# The first letter is taken on trust, except for the vowels that sound alike: аплата, електрический.
_SOUND = str.maketrans("оэи", "аее")


class Guess(NamedTuple):
    """A known word and how many letters away it is."""

    word: str
    mistakes: int


class Speller:
    """Knows the words of the passages, and how often each occurs."""

    def __init__(self, known: Mapping[str, int]) -> None:
        self._known = known
        self._alike: defaultdict[tuple[str, int], list[tuple[str, int]]] = defaultdict(list)
        for word in known:
            self._alike[_sound(word), len(word)].append((word, _letters(word)))

    def nearest(self, word: str) -> Guess | None:
        """The fewest mistakes away, the commonest of several; a short word is not guessed."""
        if len(word) < _SHORTEST or not word.isalpha():
            return None
        allowed = 2 if len(word) >= _TWO_MISTAKES_FROM else 1
        letters = _letters(word)
        guesses = [
            Guess(known, mistakes)
            for length in range(len(word) - allowed, len(word) + allowed + 1)
            for known, known_letters in self._alike.get((_sound(word), length), ())
            if (letters ^ known_letters).bit_count() <= 2 * allowed  # a mistake changes two letters at most
            and (mistakes := distance(word, known, allowed)) <= allowed
        ]
        return min(guesses, key=lambda guess: (guess.mistakes, -self._known[guess.word], guess.word), default=None)


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


def _sound(word: str) -> str:
    return word[:1].translate(_SOUND)
