"""The search over the passages: ranked by BM25, and for each passage what it covers of the question."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from heapq import nlargest
from itertools import islice

from otvet.responders.knowledge.bm25 import Postings
from otvet.responders.knowledge.passages import Passage
from otvet.responders.knowledge.stopwords import ASKED_AS, NEGATIONS, QUESTION_WORDS, STOPWORDS
from otvet.responders.knowledge.typos import Speller
from otvet.responders.knowledge.words import broader, denied, family, folded, question_words, stem, words

_HEADING_WEIGHT = 3
_SAME_QUESTION_WORD = 1.4
_MAX_WORDS = 50

_ROUNDING = 0.01

_BROADER_TRUST = 0.5
_KINDRED_TRUST = 0.5

_PHRASE_END = re.compile(r"[,;\n]")

_SMALL_WORDS = STOPWORDS | NEGATIONS
_SMALL_SPELLER = Speller(dict.fromkeys(_SMALL_WORDS, 1) | dict.fromkeys(QUESTION_WORDS, 2))
_MAY_BE_MISSPELT = re.compile(r"[а-яa-z]{5,}")
_MIN_PART_LETTERS = 4
_PRICE = family(stem("цена"))


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that holds at least one word of the question.

    score: BM25 divided by the highest score that these words can reach, so that limits fit every folder; a passage
        whose heading is the question gets 1 more.
    coverage: the share of the question's words that the passage holds, weighted by rarity.
    headed: the share of them that its heading or its other wordings hold, weighted by rarity.
    missing: the share of the question's words that it does not hold, unweighted.
    elsewhere: another passage has a word in its heading that this one does not hold, so the question asks about both.
    of_another: the question denies something that this passage's headings deny only of things not in the question.
    asked: the question words, such as "where", that stand both in the question and in a heading.
    titled: the question equals the heading or another wording of it, or is one word that only this heading has.
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
        """Whether every word of the question that the passage holds stands in its headings."""
        return self.headed > self.coverage - _ROUNDING


class Index:
    """The index over the passages; it does not change once it is built."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._passages = passages
        self._stems: Counter[str] = Counter()
        self._words: Counter[str] = Counter()
        self._titled: defaultdict[str, list[int]] = defaultdict(list)
        self._named: defaultdict[str, list[int]] = defaultdict(list)
        self._headed: defaultdict[str, list[int]] = defaultdict(list)
        self._asking: defaultdict[str, list[int]] = defaultdict(list)
        self._denied: defaultdict[tuple[str, int], list[frozenset[str]]] = defaultdict(list)
        documents = [self._document(number, passage) for number, passage in enumerate(passages)]
        self._postings = Postings(documents)
        self._speller = Speller(self._stems)
        self._whole_words = Speller(self._words)

    def search(self, text: str, k: int = 3, earlier: Sequence[tuple[str, float]] = ()) -> list[Hit]:
        """The best ``k`` passages, best first; empty when no passage holds a word of the text.

        earlier: earlier messages, each with a weight from 0 to 1; the question's own words have weight 1.
        """
        text = self.corrected(text)
        own = self.terms(text, price_alone=bool(earlier))
        scores = self._scores(own, earlier)
        asked = question_words(text)
        titled = self._titled_by(own, asked) or self._named_by_one(own, asked)
        for number in {number for word in asked for number in self._asking.get(word, ())}:
            scores[number] *= _SAME_QUESTION_WORD
        for number in set(titled):
            scores[number] += 1 if scores[number] else 0
        best = nlargest(k, range(len(scores)), key=scores.__getitem__)
        return [self._hit(i, scores[i], own, asked, titled) for i in best if scores[i]]

    def size(self, text: str) -> int:
        """The number of different search terms in a text."""
        return len(self.terms(text))

    def asks_price(self, text: str) -> bool:
        """Whether a text asks for a price."""
        return "сколько" in question_words(text) or _PRICE in self.terms(text)

    def knows_all(self, text: str) -> bool:
        """Whether the passages hold every word of a text, or a broader one for it such as "city" for a city's name."""
        terms = [family(stem(word)) for word in words(text)]
        return all(term in self._postings or any(each in self._postings for each in broader(term)) for term in terms)

    def share(self, terms: Mapping[str, float], held: Set[str]) -> float:
        """The share of these terms that are among ``held``, weighted by rarity and trust."""
        possible = sum(map(self._postings.weight, terms))
        return sum(trust * self._postings.weight(term) for term, trust in terms.items() if term in held) / (
            possible or 1
        )

    def corrected(self, text: str) -> str:
        """The text with misspelt small words corrected and joined words split: "сколко", "сколькостоит".

        A word that a passage holds is left as it is.
        """
        return _MAY_BE_MISSPELT.sub(lambda word: self._corrected_word(word[0]), folded(text))

    def _corrected_word(self, word: str) -> str:
        if self._is_known(word):
            return word
        small = _SMALL_SPELLER.nearest(word)
        if small and small.mistakes == 1 and (small.word in QUESTION_WORDS or not self._is_nearly_known(word)):
            return ASKED_AS.get(small.word, small.word)
        halves = ((word[:i], word[i:]) for i in range(2, len(word) - 1))
        return next((f"{first} {second}" for first, second in halves if self._are_two(first, second)), word)

    def _is_known(self, word: str) -> bool:
        return word in _SMALL_WORDS or family(stem(word)) in self._postings

    def _is_nearly_known(self, word: str) -> bool:
        guesses = (self._speller.nearest(stem(word)), self._whole_words.nearest(word))
        return any(guess and guess.mistakes == 1 for guess in guesses)

    def _are_two(self, first: str, second: str) -> bool:
        asks = first in QUESTION_WORDS
        return (
            (asks or min(len(first), len(second)) >= _MIN_PART_LETTERS)
            and self._is_known(first)
            and self._is_known(second)
        )

    def _scores(self, own: Mapping[str, float], earlier: Sequence[tuple[str, float]]) -> list[float]:
        """The score of each passage by its number, as a share of the highest possible score."""
        emphasis = dict.fromkeys(own, 1.0)
        trust = dict(own)
        for text, weight in earlier:
            for term, certainty in self.terms(text).items():
                emphasis[term] = max(weight, emphasis.get(term, 0))
                trust.setdefault(term, certainty)
        possible = sum(weight * self._postings.weight(term) for term, weight in emphasis.items())
        scores = [0.0] * len(self._passages)
        for term, weight in emphasis.items():
            highest = weight * trust[term] * self._postings.weight(term) / possible
            for number, share in self._postings.of(term):
                scores[number] += highest * share
        return scores

    def _hit(
        self, number: int, score: float, own: Mapping[str, float], asked: Sequence[str], titled: Sequence[int]
    ) -> Hit:
        weights = {term: self._postings.weight(term) for term in own}
        possible = sum(weights.values()) or 1.0
        held = {term for term in own if self._postings.holds(number, term)}
        headed = {term for term in own if number in self._headed.get(term, ())}
        return Hit(
            self._passages[number],
            score=score,
            coverage=sum(own[term] * weights[term] for term in held) / possible,
            headed=sum(own[term] * weights[term] for term in headed) / possible,
            missing=1 - len(held) / max(len(own), 1),
            elsewhere=any(term in self._headed and term not in held for term in own),
            of_another=any(not self._denies(number, term, own.keys()) for term in own),
            asked=frozenset(word for word in asked if number in self._asking.get(word, ())),
            titled=number in titled,
        )

    def _denies(self, number: int, term: str, said: Set[str]) -> bool:
        """Whether a heading denies the term of things that the question names too; true where no heading denies it."""
        phrases = self._denied.get((term, number))
        return phrases is None or any(phrase <= said for phrase in phrases)

    def _document(self, number: int, passage: Passage) -> list[str]:
        """The passage's terms, those of its headings repeated; notes down what its headings say."""
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
        return title * _HEADING_WEIGHT + body

    def _learn(self, text: str) -> list[str]:
        """The terms of a text; its words become known to the spellers."""
        found = words(text)
        self._words.update(found)
        stems = [stem(word) for word in found]
        self._stems.update(stems)
        return [family(each) for each in stems]

    def terms(self, text: str, *, price_alone: bool = False) -> dict[str, float]:
        """The search terms of a text, each with a trust up to 1: a guess for a short word is trusted least."""
        terms: dict[str, float] = {}
        for word in islice(dict.fromkeys(words(text, price_alone=price_alone)), _MAX_WORDS):
            term, trust = self._known_term(word)
            terms[term] = max(trust, terms.get(term, 0))
        return terms

    def _known_term(self, word: str) -> tuple[str, float]:
        """The term that passages hold for a word, and its trust; the word's own term where they hold none."""
        word_stem = stem(word)
        term = family(word_stem)
        if term in self._postings:
            return term, 1.0
        if wider := next((each for each in broader(term) if each in self._postings), None):
            return wider, _BROADER_TRUST
        if guess := self._speller.nearest(word_stem):
            return family(guess.word), 1 - 2 * guess.mistakes / len(word)
        if guess := self._whole_words.nearest(word):  # a mistake near the end changes the stem
            return family(stem(guess.word)), 1 - 2 * guess.mistakes / len(word)
        if kindred := self._speller.kindred(word_stem):
            return family(kindred), _KINDRED_TRUST
        return term, 1.0

    def _titled_by(self, terms: Iterable[str], asked: Sequence[str]) -> list[int] | None:
        """The passages whose heading, or another wording of it, is the question; "how much" alone means the price."""
        price = [_PRICE] if "сколько" in asked else []
        return self._titled.get(_title(terms, asked)) or self._titled.get(_title([*terms, *price], asked))

    def _named_by_one(self, terms: Iterable[str], asked: Iterable[str]) -> list[int]:
        """The passage whose heading of one or two words has the question's only word, if no other heading has it.

        A heading with a question word counts only where the question has that word too.
        """
        named = [number for term in terms for number in self._named.get(term, ())]
        if len(set(terms)) != 1 or len(named) != 1:
            return []
        heading = self._passages[named[0]].heading
        return named if len(words(heading)) <= 2 and set(question_words(heading)) <= set(asked) else []


def _title(terms: Iterable[str], asked: Iterable[str]) -> str:
    """A key for a phrase that does not depend on the order of its words."""
    return " ".join(sorted({*terms, *asked}))
