"""Scores a text by what pieces of words and which tags spoke for a meaning in sentences that are known. No I/O.

The weights are fitted by ``evals/fit.py`` and stored as one signed byte a bucket; a feature's CRC-32 tells its bucket.
A word that no list has still speaks by its pieces, and a pair of tags speaks for all words that have them.
"""

import re
from collections.abc import Iterator
from functools import cached_property, lru_cache
from itertools import pairwise
from math import sqrt
from pathlib import Path
from zlib import crc32

from otvet.meaning.tags import Lexicon, spelled

BUCKETS = 1 << 15
UNIT = 1 / 32
"""What one step of a stored weight is worth."""
_BETWEEN_SENTENCES = re.compile(r"(?<=[.!?…\n])\s+")
_PIECES = (3, 4, 5)  # letters


class Scorer:
    """The weights of one meaning. file: as ``evals/fit.py`` writes it."""

    def __init__(self, lexicon: Lexicon, file: Path) -> None:
        self.lexicon = lexicon
        self.file = file

    def score(self, text: str) -> float:
        """How much speaks for the meaning: about 1 if it is plain, -1 if something else is, 0 if it is open."""
        buckets = buckets_of(text, self.lexicon)
        return UNIT * sum([self._weights[one] for one in buckets]) / sqrt(len(buckets))

    def highest(self, text: str) -> float:
        """The highest score of the text and of its sentences: what one of several says is not thinned by the others."""
        sentences = _BETWEEN_SENTENCES.split(text)
        return max(map(self.score, sentences if len(sentences) == 1 else (text, *sentences)))

    def reasons(self, text: str, most: int = 5) -> list[tuple[str, float]]:
        """The features that spoke most for or against the meaning, each with its weight."""
        weighed = [(one, UNIT * self._weights[_bucket(one)]) for one in _features(text, self.lexicon)]
        return sorted(weighed, key=lambda pair: (-abs(pair[1]), pair[0]))[:most]

    def load(self, weights: bytes) -> None:
        """Take these weights in place of those of the file."""
        self._weights = _signed(weights)

    @cached_property
    def _weights(self) -> memoryview:
        return _signed(self.file.read_bytes())


@lru_cache(maxsize=64)
def buckets_of(text: str, lexicon: Lexicon) -> tuple[int, ...]:
    """The buckets of what is told of a text, in order, each once."""
    return tuple(sorted({_bucket(feature) for feature in _features(text, lexicon)}))


def _features(text: str, lexicon: Lexicon) -> set[str]:
    tags = (one for sentence in lexicon.read(text) for one in _of_tags(sentence))
    return {"", *_of_letters(spelled(text)), *tags}


def _signed(weights: bytes) -> memoryview:
    return memoryview(weights).cast("b")


def _bucket(feature: str) -> int:
    return crc32(feature.encode()) % BUCKETS


def _of_letters(said: str) -> Iterator[str]:
    for length in _PIECES:
        yield from (said[at : at + length] for at in range(len(said) - length + 1))


def _of_tags(sentence: str) -> Iterator[str]:
    """Each tag, each two with up to two others between, each three in a row."""
    tags = ["<", *sentence.split(), ">"]
    yield from (f"#{tag}" for tag in tags)
    yield from (f"#{one} {other}" for one, other in pairwise(tags))
    yield from (f"#{one} ~ {other}" for apart in (2, 3) for one, other in zip(tags, tags[apart:], strict=False))
    yield from (f"#{' '.join(three)}" for three in zip(tags, tags[1:], tags[2:], strict=False))
