"""Which passage answers a question, if one clearly does."""

import re
from collections.abc import Sequence

from otvet.responders.search import Hit, Index
from otvet.responders.words import words

# Found on everyday questions to the starter folder: below these, right answers end and wrong ones begin.
_SCORE = 0.5
_COVERAGE = 0.65
_LEAD = 0.1

_PART_COVERAGE = 0.5
_PART_RIVALS = 10

_PART_END = re.compile(r"[?!\n]+|[.…]+(?=\s|$)")


def choose(index: Index, lines: Sequence[str]) -> Hit | None:
    """The one passage for all that was asked; None when there is none, or when it would take two."""
    question = "\n".join(lines)
    best = _clear(question, index.search(question))
    if best is None:
        return None
    parts = [part for part in _PART_END.split(question) if words(part)]
    return best if all(_answers(best, index, part) for part in parts) else None


def _answers(best: Hit, index: Index, part: str) -> bool:
    """Whether that passage is right for this part of the question too, and no other one is righter."""
    hits = index.search(part, _PART_RIVALS)
    clear = _clear(part, hits)
    if clear and clear.passage is not best.passage:
        return False
    return any(hit.passage is best.passage and hit.coverage >= _PART_COVERAGE for hit in hits)


def _clear(text: str, hits: Sequence[Hit]) -> Hit | None:
    if not hits or hits[0].score < _SCORE or hits[0].coverage < _COVERAGE:
        return None
    if len(hits) > 1 and hits[0].score - hits[1].score < _LEAD * hits[0].score:
        return None
    # One word says what it is about, but not what is asked: "colours" may mean the choice or an exchange.
    if len(set(words(text))) == 1 and not hits[0].titled:
        return None
    return hits[0]
