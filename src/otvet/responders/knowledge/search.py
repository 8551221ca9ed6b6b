"""The index over the passages: BM25, headings before bodies, and how much of a question each one covers."""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from math import log

import bm25s
import numpy as np
import numpy.typing as npt

from otvet.responders.knowledge.passages import Passage
from otvet.responders.knowledge.stopwords import ASKED_AS, NEGATIONS, QUESTION_WORDS, STOPWORDS
from otvet.responders.knowledge.typos import Speller
from otvet.responders.knowledge.words import broader, denied, family, folded, question_words, stem, words

_HEADING_WEIGHT = 3
_ASKED_SO = 1.4
_MOST_WORDS = 50

_ROUNDING = 0.01

_KIND_TRUST = 0.5
_KINDRED_TRUST = 0.5

Numbers = npt.NDArray[np.float32]

_PHRASE_END = re.compile(r"[,;\n]")

_SMALL_WORDS = STOPWORDS | NEGATIONS
_SMALL_SPELLER = Speller(dict.fromkeys(_SMALL_WORDS, 1) | dict.fromkeys(QUESTION_WORDS, 2))
_MAY_BE_MISSPELT = re.compile(r"[а-яa-z]{5,}")
_PART_OF_TWO = 4
_PRICE = family(stem("цена"))

logging.getLogger("bm25s").setLevel(logging.WARNING)  # it asks for DEBUG by itself


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that speaks of something in the question.

    score: BM25 as a share of the most that these words can score, so that it means the same in every folder;
    a heading that is the question adds 1.
    coverage: the share of the question's words that the passage holds, a rare word counting more.
    headed: the share that its heading and the other wordings of it hold.
    missing: the share of the question's words that it does not hold, each counting the same.
    elsewhere: a word that it does not hold stands in a heading of another passage, which is then asked about too.
    of_another: what the question denies, its headings deny only of something that the question does not name.
    asked: the words like "where" that both the question and a heading ask with.
    titled: the question is the heading or one of its other wordings, or one word that no other heading has.
    """

    passage: Passage
    score: float
    coverage: float
    headed: float
    missing: float
    elsewhere: bool
    of_another: bool
    asked: frozenset[str]
    titled: bool

    @property
    def by_headings(self) -> bool:
        """Whether all that it holds of the question stands in headings, nothing in the text alone."""
        return self.headed > self.coverage - _ROUNDING


class Index:
    """Built once from the passages, then only asked."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._passages = passages
        self._numbers: dict[str, int] = {}
        self._stems: Counter[str] = Counter()
        self._words: Counter[str] = Counter()
        self._titled: defaultdict[str, list[int]] = defaultdict(list)
        self._named: defaultdict[str, list[int]] = defaultdict(list)
        self._headed: defaultdict[str, list[int]] = defaultdict(list)
        self._asking: defaultdict[str, list[int]] = defaultdict(list)
        self._denied: defaultdict[tuple[str, int], list[frozenset[str]]] = defaultdict(list)
        documents = [self._document(number, passage) for number, passage in enumerate(passages)]
        self._spread = Counter(term for document in documents for term in set(document))
        self._speller = Speller(self._stems)
        self._whole_words = Speller(self._words)
        self._bm25 = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
        if self._numbers:
            self._bm25.index((documents, self._numbers), create_empty_token=False, show_progress=False)

    def search(self, text: str, k: int = 3, earlier: Sequence[tuple[str, float]] = ()) -> list[Hit]:
        """The best passages first; none when they speak of nothing that the text asks about.

        earlier: what was said before, each text with its weight from 0 to 1 beside the question's own words.
        """
        text = self.corrected(text)
        own = self._terms(text, price_alone=bool(earlier))
        scores, possible = self._scores(own, earlier)
        coverage, headed, held, weight = self._coverage(own)
        speaks = scores > 0
        if not speaks.any():
            return []
        asked = question_words(text)
        titled = self._titled_by(own, asked) or self._named_by_one(own, asked)
        scores /= possible
        scores[[number for word in asked for number in self._asking.get(word, ())]] *= _ASKED_SO
        scores[titled] += 1
        scores[~speaks] = 0
        best = np.argsort(-scores, kind="stable")[:k]
        return [
            Hit(
                self._passages[i],
                score=float(scores[i]),
                coverage=float(coverage[i] / weight),
                headed=float(headed[i] / weight),
                missing=1 - float(held[i]) / max(len(own), 1),
                elsewhere=any(term in self._headed and not self._holds(i, term) for term in own),
                of_another=any(not self._denies(i, term, own.keys()) for term in own),
                asked=frozenset(word for word in asked if i in self._asking.get(word, ())),
                titled=i in titled,
            )
            for i in best
            if scores[i] > 0
        ]

    def size(self, text: str) -> int:
        """How many different things a text asks about."""
        return len(self._terms(text))

    def asks_price(self, text: str) -> bool:
        """Whether a text asks what something costs."""
        return "сколько" in question_words(text) or _PRICE in self._terms(text)

    def knows_all(self, text: str) -> bool:
        """Whether nothing has to be guessed: each word stands in a passage, or is a place of which one speaks."""
        terms = [family(stem(word)) for word in words(text)]
        return all(term in self._numbers or any(each in self._numbers for each in broader(term)) for term in terms)

    def corrected(self, text: str) -> str:
        """The text with its small words put right, and words that run together set apart.

        Only where no passage holds such a word: "сколко" is not asked about, and neither is "сколькостоит".
        """
        return _MAY_BE_MISSPELT.sub(lambda word: self._put_right(word[0]), folded(text))

    def _put_right(self, word: str) -> str:
        if self._is_known(word):
            return word
        small = _SMALL_SPELLER.nearest(word)
        if small and small.mistakes == 1 and (small.word in QUESTION_WORDS or not self._is_nearly_known(word)):
            return ASKED_AS.get(small.word, small.word)
        halves = ((word[:i], word[i:]) for i in range(2, len(word) - 1))
        return next((f"{first} {second}" for first, second in halves if self._are_two(first, second)), word)

    def _is_known(self, word: str) -> bool:
        return word in _SMALL_WORDS or family(stem(word)) in self._numbers

    def _is_nearly_known(self, word: str) -> bool:
        guesses = (self._speller.nearest(stem(word)), self._whole_words.nearest(word))
        return any(guess and guess.mistakes == 1 for guess in guesses)

    def _are_two(self, first: str, second: str) -> bool:
        asks = first in QUESTION_WORDS
        return (
            (asks or min(len(first), len(second)) >= _PART_OF_TWO) and self._is_known(first) and self._is_known(second)
        )

    def _scores(self, own: Mapping[str, float], earlier: Sequence[tuple[str, float]]) -> tuple[Numbers, float]:
        """What each passage scores, and the most that one could."""
        emphasis = dict.fromkeys(own, 1.0)
        trust = dict(own)
        for text, weight in earlier:
            for term, sure in self._terms(text).items():
                emphasis[term] = max(weight, emphasis.get(term, 0))
                trust.setdefault(term, sure)
        scores = np.zeros(len(self._passages), dtype=np.float32)
        possible = 0.0
        for term, weight in emphasis.items():
            possible += weight * self._weight(term)
            if term in self._numbers:
                scores += weight * trust[term] * self._bm25.get_scores([self._numbers[term]])
        return scores, possible

    def _coverage(self, terms: Mapping[str, float]) -> tuple[Numbers, Numbers, Numbers, float]:
        """For each passage the weight of the terms it holds, of those its headings hold, their number; and of all."""
        coverage = np.zeros(len(self._passages), dtype=np.float32)
        headed, held = np.zeros_like(coverage), np.zeros_like(coverage)
        possible = 0.0
        for term, trust in terms.items():
            weight = self._weight(term)
            possible += weight
            if term in self._numbers:
                found = self._bm25.get_scores([self._numbers[term]]) > 0
                coverage += trust * weight * found
                held += found
            if term in self._headed:
                headed[self._headed[term]] += trust * weight
        return coverage, headed, held, possible or 1.0

    def _holds(self, number: int, term: str) -> bool:
        return bool(self._bm25.get_scores([self._numbers[term]])[number] > 0)

    def _denies(self, number: int, term: str, said: Set[str]) -> bool:
        """Whether the passage's headings deny this of what is said too; most terms deny nothing."""
        phrases = self._denied.get((term, number))
        return phrases is None or any(phrase <= said for phrase in phrases)

    def _document(self, number: int, passage: Passage) -> list[int]:
        for term in set(self._learn(passage.heading)):
            self._named[term].append(number)
        title = []
        above = self._learn("\n".join(passage.above))
        for phrase in (passage.heading, *_PHRASE_END.split(passage.other_words)):
            terms, asked = self._learn(phrase), question_words(phrase)
            self._titled[_title(terms, asked)].append(number)
            for word in asked:
                self._asking[word].append(number)
            for word in denied(phrase):
                self._denied[family(stem(word)), number].append(frozenset(terms))
            title += terms
        for term in set(title):
            self._headed[term].append(number)
        body = above + self._learn(passage.text)
        return [self._numbers.setdefault(term, len(self._numbers)) for term in title * _HEADING_WEIGHT + body]

    def _learn(self, text: str) -> list[str]:
        found = words(text)
        self._words.update(found)
        stems = [stem(word) for word in found]
        self._stems.update(stems)
        return [family(each) for each in stems]

    def _terms(self, text: str, *, price_alone: bool = False) -> dict[str, float]:
        """What is asked about, and how far to trust each term: a guess less, the shorter the word."""
        terms: dict[str, float] = {}
        for word in islice(dict.fromkeys(words(text, price_alone=price_alone)), _MOST_WORDS):
            term, trust = self._known(word)
            terms[term] = max(trust, terms.get(term, 0))
        return terms

    def _known(self, word: str) -> tuple[str, float]:
        ending_off = stem(word)
        term = family(ending_off)
        if term in self._numbers:
            return term, 1.0
        if kind := next((each for each in broader(term) if each in self._numbers), None):
            return kind, _KIND_TRUST
        if guess := self._speller.nearest(ending_off):
            return family(guess.word), 1 - 2 * guess.mistakes / len(word)
        if guess := self._whole_words.nearest(word):  # a mistake near the end makes another stem
            return family(stem(guess.word)), 1 - 2 * guess.mistakes / len(word)
        if kindred := self._speller.kindred(ending_off):
            return family(kindred), _KINDRED_TRUST
        return term, 1.0

    def _weight(self, term: str) -> float:
        """The most that BM25 gives for a word; an unknown one is as rare as any known."""
        spread = self._spread[self._numbers[term]] if term in self._numbers else 1
        return log(1 + (len(self._passages) - spread + 0.5) / (spread + 0.5))

    def _titled_by(self, terms: Iterable[str], asked: Sequence[str]) -> list[int] | None:
        """The passages that have the question as a heading; who asks "how much" and no more asks for the price."""
        price = [_PRICE] if "сколько" in asked else []
        return self._titled.get(_title(terms, asked)) or self._titled.get(_title([*terms, *price], asked))

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
