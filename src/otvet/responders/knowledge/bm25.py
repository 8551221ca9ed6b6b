"""BM25, which ranks passages by the terms they hold, in the form that Lucene gives it. No I/O."""

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from math import log

_K1 = 1.5  # how soon a term that is repeated stops counting
_B = 0.75  # how much more often a long passage has to repeat a term for the same score


class Postings:
    """For each term the passages that hold it, by number, and the share of the term's weight that each scores.

    Arrays, because a common term stands in thousands of passages: floats in lists make the search three times slower.
    """

    def __init__(self, documents: Sequence[Sequence[str]]) -> None:
        self._documents = len(documents)
        self._postings: dict[str, tuple[array[int], array[float]]] = {}
        average = sum(map(len, documents)) / max(len(documents), 1)
        for number, terms in enumerate(documents):
            for term, count in Counter(terms).items():
                numbers, shares = self._postings.setdefault(term, (array("I"), array("f")))
                numbers.append(number)
                shares.append(count / (count + _K1 * (1 - _B + _B * len(terms) / average)))

    def __contains__(self, term: str) -> bool:
        return term in self._postings

    def of(self, term: str) -> Iterator[tuple[int, float]]:
        """The passages that hold a term, in their order, with their shares."""
        return zip(*self._postings.get(term, ((), ())), strict=True)

    def holds(self, number: int, term: str) -> bool:
        """Whether a passage holds a term."""
        numbers, _shares = self._postings.get(term, ((), ()))
        place = bisect_left(numbers, number)
        return place < len(numbers) and numbers[place] == number

    def weight(self, term: str) -> float:
        """The most that a term can score: the fewer passages hold it, the more; an unknown one counts as held once."""
        holding = len(self._postings[term][0]) if term in self._postings else 1
        return log(1 + (self._documents - holding + 0.5) / (holding + 0.5))
