"""Which passage answers a question, if one clearly does."""

import re
from collections.abc import Sequence

from otvet.responders.knowledge.search import Hit, Index
from otvet.responders.knowledge.stopwords import PLACE_AND_TIME, REASONS
from otvet.responders.knowledge.words import question_words, words

# Found on the questions in evals/: below these, right answers end and wrong ones begin.
_COVERAGE = 0.65
_MISSING = 0.34
_HEADED = 0.6
_SCORE = 0.4
_SCORE_OF_TEXT = 0.52
_LEAD = 0.1

_PART_COVERAGE = 0.5
_PART_RIVALS = 10

_PART_END = re.compile(r"[?!\n]+|[.…]+(?=\s|$)")

_MOST_WORDS_OF_A_FOLLOW_UP = 2
_GOES_ON = re.compile(
    r"\W*(?:а|и|но|или|на|в|во|за|с|со|для|до|из|к|по|про|от|and|or|but|for|in|to|with)\b", re.IGNORECASE
)
_ADJECTIVE = re.compile(r"\w{2,}(?:ый|ий|ой|ая|яя|ое|ее|ые|ие|ую|юю|ого|его|ых|их|ым|им)")
_AMOUNT = re.compile(r"\d\s*(?:₽|руб|р\b|\$|€|₸)|[$€]\s*\d")


def choose(index: Index, lines: Sequence[str], before: Sequence[str] = ()) -> Hit | None:
    """The one passage for all that was asked; None when there is none, or when it would take two.

    before: what the client had asked last, which a short question may rest on ("and the woollen one?").
    """
    question = index.corrected("\n".join(lines))
    if not before or not _rests_on_earlier(question):
        return _alone(index, question)
    return _together(index, question, index.corrected("\n".join(before)))


def _alone(index: Index, question: str) -> Hit | None:
    best = _clear(question, index.search(question))
    if best is None:
        return None
    parts = [part for part in _PART_END.split(question) if words(part)]
    return best if all(_answers(best, index, part) for part in parts) else None


def _rests_on_earlier(question: str) -> bool:
    own = set(words(question))
    if len(own) > _MOST_WORDS_OF_A_FOLLOW_UP:
        return False
    return not own or bool(_GOES_ON.match(question)) or all(map(_ADJECTIVE.fullmatch, own))


def _together(index: Index, question: str, before: str) -> Hit | None:
    """The passage that clearly fits both, holds every word of the question, and names a price if one is asked for."""
    conversation = f"{before}\n{question}"
    best = _clear(conversation, index.search(conversation))
    if not words(question):
        return best if best and _asks_price(question) and _AMOUNT.search(best.passage.text) else None
    if best and any(hit.passage is best.passage and hit.missing == 0 for hit in index.search(question, _PART_RIVALS)):
        return best
    alone = _alone(index, question)
    if alone and alone.missing == 0 and alone.by_headings and len(set(words(question))) > 1:
        return alone
    return _instead(index, question, before, conversation)


def _instead(index: Index, question: str, before: str, conversation: str) -> Hit | None:
    """The passage with the price of this after that of something else: "how much is the sheet?", "and the pillow?".

    It stands in the file that answered the earlier question, holds every word of the new one, and of the earlier one
    all but so many as the new ones may stand for.
    """
    answered = _alone(index, before) if index.asks_price(before) and index.knows_all(question) else None
    if answered is None:
        return None
    own, both = index.size(question), index.size(conversation)
    said = [hit.passage for hit in index.search(question, _PART_RIVALS) if hit.missing == 0]
    fitting = [
        hit
        for hit in index.search(conversation, _PART_RIVALS)
        if hit.passage in said
        and hit.passage.file == answered.passage.file
        and round(hit.missing * both) <= own
        and _AMOUNT.search(hit.passage.text)
    ]
    fitting.sort(key=lambda hit: hit.missing)
    if len(fitting) > 1 and fitting[1].missing == fitting[0].missing and _rivals(fitting[0], fitting[1], set()):
        return None
    return fitting[0] if fitting else None


def _asks_price(question: str) -> bool:
    return bool(words(question, price_alone=True)) or question_words(question) == ["сколько"]


def _answers(best: Hit, index: Index, part: str) -> bool:
    """Whether that passage is right for this part of the question too, and no other one is righter."""
    hits = index.search(part, _PART_RIVALS)
    clear = _clear(part, hits)
    hit = next((hit for hit in hits if hit.passage is best.passage), None)
    if hit is None or hit.coverage < _PART_COVERAGE:
        return False
    # "And delivery" is said by another heading alone, but by this one too, and asks nothing of its own.
    return clear is None or clear is hit or (hit.missing == 0 and hit.by_headings and not question_words(part))


def _clear(text: str, hits: Sequence[Hit]) -> Hit | None:
    if not hits:
        return None
    best, rivals = hits[0], hits[1:]
    asked = set(question_words(text))
    fits = (
        best.coverage >= _COVERAGE
        and best.missing <= _MISSING
        and not best.elsewhere
        and not best.of_another
        # What only the text mentions may be there for another reason, so that takes more.
        and best.score >= (_SCORE if best.headed >= _HEADED else _SCORE_OF_TEXT)
        # One word says what it is about, but not what is asked: "colours" may mean the choice or an exchange.
        and (best.titled or len(set(words(text))) > 1)
        and asked & REASONS <= best.asked
    )
    return best if fits and not any(_rivals(best, rival, asked) for rival in rivals) else None


def _rivals(best: Hit, other: Hit, asked: set[str]) -> bool:
    """Whether the second may be meant as well as the first."""
    near = best.score - other.score < _LEAD * best.score
    # What only texts mention does not tell two passages apart, though a shorter one scores more.
    alike = not best.by_headings and other.coverage >= best.coverage and other.headed >= best.headed
    better_asked = bool(asked & PLACE_AND_TIME & other.asked - best.asked) and other.headed > 0
    return near or alike or better_asked
