"""The index over the passages: BM25, a heading above a body, and how much of a question a passage speaks of."""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import log

import bm25s
import numpy as np

from otvet.responders.passages import Passage
from otvet.responders.typos import Speller
from otvet.responders.words import family, question_words, stem, words

_HEADING_WEIGHT = 3
_QUESTION_WORD_WEIGHT = 0.15
_MOST_WORDS = 50

_PHRASE_END = re.compile(r"[,;\n]")

logging.getLogger("bm25s").setLevel(logging.WARNING)  # it asks for DEBUG by itself


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that speaks of something in the question.

    score: BM25 as a share of the most that these words can score, so that it means the same in every folder;
    a heading that is the question, word for word, adds 1.
    coverage: the share of the question's words that the passage holds, a rare word counting more.
    """

    passage: Passage
    score: float
    coverage: float


class Index:
    """Built once from the passages, then only asked."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._passages = passages
        self._stems: Counter[str] = Counter()
        self._numbers: dict[str, int] = {}
        self._titled: defaultdict[str, list[int]] = defaultdict(list)
        self._asking: defaultdict[str, list[int]] = defaultdict(list)
        documents = [self._document(number, passage) for number, passage in enumerate(passages)]
        self._spread = Counter(term for document in documents for term in set(document))
        self._speller = Speller(self._stems)
        self._bm25 = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
        if self._numbers:
            self._bm25.index((documents, self._numbers), create_empty_token=False, show_progress=False)

    def search(self, text: str, k: int = 3) -> list[Hit]:
        """The best passages first; none when they speak of nothing that the text asks about."""
        terms = self._terms(text)
        scores = np.zeros(len(self._passages), dtype=np.float32)
        coverage = np.zeros_like(scores)
        possible = 0.0
        for term, trust in terms.items():
            weight = self._weight(term)
            possible += weight
            if term in self._numbers:
                found = self._bm25.get_scores([self._numbers[term]])
                scores += found
                coverage += trust * weight * (found > 0)
        if not coverage.any():
            return []
        scores /= possible
        coverage /= possible
        asked = question_words(text)
        scores[self._asking_one_of(asked)] += _QUESTION_WORD_WEIGHT
        scores[self._titled.get(_title(terms, asked), [])] += 1
        scores[coverage == 0] = 0
        best = np.argsort(-scores, kind="stable")[:k]
        return [Hit(self._passages[i], float(scores[i]), float(coverage[i])) for i in best if scores[i] > 0]

    def _document(self, number: int, passage: Passage) -> list[int]:
        heading = []
        for phrase in {passage.heading, *_PHRASE_END.split(passage.other_words)}:
            terms = self._learn(phrase)
            asked = question_words(phrase)
            self._titled[_title(terms, asked)].append(number)
            for word in asked:
                self._asking[word].append(number)
            heading += terms
        body = self._learn("\n".join(passage.above)) + self._learn(passage.text)
        return [self._number(term) for term in heading * _HEADING_WEIGHT + body]

    def _learn(self, text: str) -> list[str]:
        stems = [stem(word) for word in words(text)]
        self._stems.update(stems)
        return [family(each) for each in stems]

    def _number(self, term: str) -> int:
        return self._numbers.setdefault(term, len(self._numbers))

    def _terms(self, text: str) -> Mapping[str, float]:
        """What the question asks about, and how far each is to be trusted: a guessed word less, the shorter it is."""
        terms: dict[str, float] = {}
        for word in islice(dict.fromkeys(words(text)), _MOST_WORDS):
            term, trust = family(stem(word)), 1.0
            if term not in self._numbers and (guess := self._speller.nearest(stem(word))):
                term, trust = family(guess.word), 1 - 2 * guess.mistakes / len(word)
            terms[term] = max(trust, terms.get(term, 0))
        return terms

    def _weight(self, term: str) -> float:
        """The most that BM25 gives for a word; an unknown one is as rare as any known."""
        spread = self._spread[self._numbers[term]] if term in self._numbers else 1
        return log(1 + (len(self._passages) - spread + 0.5) / (spread + 0.5))

    def _asking_one_of(self, asked: Sequence[str]) -> list[int]:
        return sorted({number for word in asked for number in self._asking.get(word, ())})


def _title(terms: Mapping[str, float] | Sequence[str], asked: Sequence[str]) -> str:
    """The same for two phrases that say the same in another order."""
    return " ".join(sorted({*terms, *asked}))
