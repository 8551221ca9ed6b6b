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
        self._alike: defaultdict[tuple[str, int], list[str]] = defaultdict(list)
        for word in known:
            self._alike[_sound(word), len(word)].append(word)

    def nearest(self, word: str) -> Guess | None:
        """The fewest mistakes away, the commonest of several; a short word is not guessed."""
        if len(word) < _SHORTEST or not word.isalpha():
            return None
        allowed = 2 if len(word) >= _TWO_MISTAKES_FROM else 1
        guesses = [
            Guess(known, mistakes)
            for length in range(len(word) - allowed, len(word) + allowed + 1)
            for known in self._alike.get((_sound(word), length), ())
            if (mistakes := distance(word, known, allowed)) <= allowed
        ]
        return min(guesses, key=lambda guess: (guess.mistakes, -self._known[guess.word], guess.word), default=None)


def distance(one: str, other: str, limit: int) -> int:
    """How many letters are missing, added, replaced or swapped with the next; above ``limit`` it stops counting."""
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


def _sound(word: str) -> str:
    return word[:1].translate(_SOUND)
