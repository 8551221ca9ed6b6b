"""Chooses the passage that answers a question, if one clearly does."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from otvet.responders.knowledge import decision, subjects
from otvet.responders.knowledge.search import Hit, Index
from otvet.responders.knowledge.stopwords import PLACE_AND_TIME, QUESTION_WORDS, REASONS
from otvet.responders.knowledge.words import question_words, words

# Found with the questions in evals/: looser limits give more wrong answers than right ones.
_COVERAGE = 0.65
_MISSING = 0.34
_HEADED = 0.6
_SCORE = 0.4
_SCORE_OF_TEXT = 0.52
_LEAD = 0.1

_PART_COVERAGE = 0.5
_PART_RIVALS = 10

_PART_END = re.compile(r"[?!\n]+|[.…]+(?=\s|$)")
_BETWEEN = re.compile(
    _PART_END.pattern + r"|,?\s+(?:и|а|and)(?:\s+(?:еще|также|заодно|also))?\s+"
    r"|,\s*(?:(?:и|а|еще|также|заодно|and|also)\s+)?"
)
_ASKS = re.compile(
    rf"\?\s*$|\b(?:{'|'.join(sorted(QUESTION_WORDS))}|скольк\w+|как\w{{2,3}}|кто|почем|ли|можно|есть|нужн\w+|принимаете|делаете)\b"
)

_MAX_FOLLOW_UP_WORDS = 2
_GOES_ON = re.compile(
    r"\W*(?:а|и|но|или|на|в|во|за|с|со|для|до|из|к|по|про|от|and|or|but|for|in|to|with)\b", re.IGNORECASE
)
_ADJECTIVE = re.compile(r"\w{2,}(?:ый|ий|ой|ая|яя|ое|ее|ые|ие|ую|юю|ого|его|ых|их|ым|им)")


@dataclass(frozen=True, slots=True)
class Answer:
    """The passages that answer a question: one, or one for each half of it."""

    hits: tuple[Hit, ...]

    @property
    def told(self) -> str:
        """What the client gets."""
        return "\n\n".join(hit.passage.shown for hit in self.hits)


def choose(index: Index, lines: Sequence[str], before: Sequence[str] = ()) -> Answer | None:
    """The passage that answers the whole question, or two where each clearly answers a half; else None.

    before: the client's previous question, which a short one may refer to ("and the woollen one?").
    """
    question = asked(index, lines, before)
    if subjects.is_emergency(question.own):
        return None
    if found := by_rules(index, question):
        return Answer((found,))
    if halves := _halves(question.own):
        return _of_two(index, halves)
    found = decision.likely(index, question)
    return Answer((found,)) if found else None


def asked(index: Index, lines: Sequence[str], before: Sequence[str] = ()) -> decision.Question:
    """The question as it is searched for: with the one before it if it refers to that."""
    own = index.corrected("\n".join(lines))
    return decision.Question(own, index.corrected("\n".join(before)) if before and _refers_to_earlier(own) else "")


def by_rules(index: Index, question: decision.Question) -> Hit | None:
    """The one passage that answers the whole question by strict rules."""
    if question.before:
        return _together(index, question.own, question.before)
    return _alone(index, question.own)


def _halves(question: str) -> tuple[str, str] | None:
    """The two halves of a question, each of which asks by itself: "a sofa / is there?" is one."""
    for between in _BETWEEN.finditer(question):
        first, second = question[: between.start()], question[between.end() :]
        asks = _ASKS.search(first) and (_ASKS.search(second) or subjects.asked(second))
        if asks and words(first) and words(second):
            return first, second
    return None


def _of_two(index: Index, halves: tuple[str, str]) -> Answer | None:
    """What answers both halves: two passages, or the one that answers each."""
    found = [_alone(index, half) or decision.likely(index, decision.Question(half)) for half in halves]
    hits = {hit.passage: hit for hit in found if hit is not None}
    return Answer(tuple(hits.values())) if all(found) else None


def _alone(index: Index, question: str) -> Hit | None:
    best = _clear(question, index.search(question))
    if best is None:
        return None
    parts = _halves(question) or [part for part in _PART_END.split(question) if words(part)]
    return best if all(_answers(best, index, part) for part in parts) else None


def _refers_to_earlier(question: str) -> bool:
    own = set(words(question))
    if len(own) > _MAX_FOLLOW_UP_WORDS:
        return False
    return not own or bool(_GOES_ON.match(question)) or all(map(_ADJECTIVE.fullmatch, own))


def _together(index: Index, question: str, before: str) -> Hit | None:
    """The passage for a question and the one before it: it holds every word of the question, and a price if asked."""
    conversation = f"{before}\n{question}"
    best = _clear(conversation, index.search(conversation))
    if not words(question):
        return best if best and _asks_price(question) and subjects.AMOUNT.search(best.passage.text) else None
    if best and any(hit.passage is best.passage and hit.missing == 0 for hit in index.search(question, _PART_RIVALS)):
        return best
    alone = _alone(index, question)
    if alone and alone.missing == 0 and alone.by_headings and len(set(words(question))) > 1:
        return alone
    return _instead(index, question, before, conversation)


def _instead(index: Index, question: str, before: str, conversation: str) -> Hit | None:
    """The passage with the price of another thing: "how much is the sheet?", then "and the pillow?".

    It stands in the file that answered the earlier question and holds every word of the new one. Of the earlier
    question it may lack as many words as the new one has, since those may take their place.
    """
    answered = _alone(index, before) if index.asks_price(before) and index.knows_all(question) else None
    if answered is None:
        return None
    own, both = index.size(question), index.size(conversation)
    complete = [hit.passage for hit in index.search(question, _PART_RIVALS) if hit.missing == 0]
    fitting = [
        hit
        for hit in index.search(conversation, _PART_RIVALS)
        if hit.passage in complete
        and hit.passage.file == answered.passage.file
        and round(hit.missing * both) <= own
        and subjects.AMOUNT.search(hit.passage.text)
    ]
    fitting.sort(key=lambda hit: hit.missing)
    if len(fitting) > 1 and fitting[1].missing == fitting[0].missing and _rivals(fitting[0], fitting[1], set()):
        return None
    return fitting[0] if fitting else None


def _asks_price(question: str) -> bool:
    return bool(words(question, price_alone=True)) or question_words(question) == ["сколько"]


def _answers(best: Hit, index: Index, part: str) -> bool:
    """Whether the passage fits this part of the question too, and no other passage fits it better."""
    hits = index.search(part, _PART_RIVALS)
    clear = _clear(part, hits)
    hit = next((hit for hit in hits if hit.passage is best.passage), None)
    if hit is None or hit.coverage < _PART_COVERAGE:
        return False
    # "And delivery" may be the whole heading of another passage; if this one names it too, the part asks nothing new.
    return clear is None or clear is hit or (hit.missing == 0 and hit.by_headings and not question_words(part))


def _clear(text: str, hits: Sequence[Hit]) -> Hit | None:
    """The best passage, if it fits the text within the limits and no other one may be meant as well."""
    if not hits:
        return None
    best, rivals = hits[0], hits[1:]
    asked = set(question_words(text))
    fits = (
        best.coverage >= _COVERAGE
        and best.missing <= _MISSING
        and not best.elsewhere
        and not best.of_another
        # Words that stand only in the text may be there for another reason, so the limit is higher.
        and best.score >= (_SCORE if best.headed >= _HEADED else _SCORE_OF_TEXT)
        # One word names the subject but not the question: "colours" may mean the choice or an exchange.
        and (best.titled or len(set(words(text))) > 1)
        and asked & REASONS <= best.asked
    )
    return best if fits and not any(_rivals(best, rival, asked) for rival in rivals) else None


def _rivals(best: Hit, other: Hit, asked: set[str]) -> bool:
    """Whether the question may mean the other passage as well as the best one."""
    near = best.score - other.score < _LEAD * best.score
    # Words that stand only in texts do not tell two passages apart, though a shorter text scores more.
    alike = not best.by_headings and other.coverage >= best.coverage and other.headed >= best.headed
    better_asked = bool(asked & PLACE_AND_TIME & other.asked - best.asked) and other.headed > 0
    return near or alike or better_asked
