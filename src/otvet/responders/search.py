"""The index over the passages: BM25, headings before bodies, and how much of a question each one covers."""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
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
    a heading that is the question adds 1.
    coverage: the share of the question's words that the passage holds, a rare word counting more.
    titled: the question is the heading or one of its other wordings, or one word that no other heading has.
    """

    passage: Passage
    score: float
    coverage: float
    titled: bool


class Index:
    """Built once from the passages, then only asked."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._passages = passages
        self._numbers: dict[str, int] = {}
        self._stems: Counter[str] = Counter()
        self._titled: defaultdict[str, list[int]] = defaultdict(list)
        self._named: defaultdict[str, list[int]] = defaultdict(list)
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
        asked = question_words(text)
        titled = self._titled.get(_title(terms, asked)) or self._named_by_one(terms, asked)
        scores /= possible
        scores[[number for word in asked for number in self._asking.get(word, ())]] += _QUESTION_WORD_WEIGHT
        scores[titled] += 1
        scores[coverage == 0] = 0
        best = np.argsort(-scores, kind="stable")[:k]
        coverage /= possible
        return [
            Hit(self._passages[i], float(scores[i]), float(coverage[i]), i in titled) for i in best if scores[i] > 0
        ]

    def _document(self, number: int, passage: Passage) -> list[int]:
        for term in set(self._learn(passage.heading)):
            self._named[term].append(number)
        title = []
        for phrase in (passage.heading, *_PHRASE_END.split(passage.other_words)):
            terms, asked = self._learn(phrase), question_words(phrase)
            self._titled[_title(terms, asked)].append(number)
            for word in asked:
                self._asking[word].append(number)
            title += terms
        body = self._learn("\n".join(passage.above)) + self._learn(passage.text)
        return [self._numbers.setdefault(term, len(self._numbers)) for term in title * _HEADING_WEIGHT + body]

    def _learn(self, text: str) -> list[str]:
        stems = [stem(word) for word in words(text)]
        self._stems.update(stems)
        return [family(each) for each in stems]

    def _terms(self, text: str) -> dict[str, float]:
        """What is asked about, and how far to trust each term: a guess less, the shorter the word."""
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

    def _named_by_one(self, terms: Iterable[str], asked: Iterable[str]) -> list[int]:
        """The passage whose heading is this one word and at most another, if no other heading has it.

        A heading that asks "how much" is meant only by a question that asks it too.
        """
        named = [number for term in terms for number in self._named.get(term, ())]
        if len(set(terms)) != 1 or len(named) != 1:
            return []
        heading = self._passages[named[0]].heading
        return named if len(words(heading)) <= 2 and set(question_words(heading)) <= set(asked) else []


def _title(terms: Iterable[str], asked: Iterable[str]) -> str:
    """The same for two phrases that say the same in another order."""
    return " ".join(sorted({*terms, *asked}))
