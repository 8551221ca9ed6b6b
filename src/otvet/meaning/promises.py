"""What a model without tools promises in a draft: that a person will answer, or that something has been done. No I/O.

"I have passed it on to a manager" is kept by a hand-off. "I have booked you for tomorrow" cannot be kept: nothing was
booked. "You can book by phone" and "managers are here from 9 to 18" promise nothing, and neither does an offer, a
question or a rule ("if it does not fit, the money comes back"). The words stand in ``promises.toml``.
"""

import re
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

from otvet.meaning.small_talk import Talk, kind_of
from otvet.meaning.tags import Lexicon


class Promise(StrEnum):
    """FINE: none. HANDOFF: a person will see to it. REFUSE: something was done, or will be, that nobody does."""

    FINE = "fine"
    HANDOFF = "handoff"
    REFUSE = "refuse"


_words = Lexicon(Path(__file__).with_suffix(".toml"))
_REFUSED, _HANDED = map(_words.patterns, ("refused", "handed"))
_IF, _PLACE = (re.compile(rf"(?<!\S){tag}\s") for tag in ("IF", "PLACE"))
_PIECE_END = re.compile(r"(?<=[.!?…])\s+|\n+")
_SAYS_MORE = re.compile(r"\d|\A\W*(?:да|нет|есть|yes|no|так|ні|иә|жоқ)\b", re.IGNORECASE)  # an answer beside it
_GOES_ON = re.compile(
    r"\A\W*(?:он|она|они|he|she|they|він|вона|вони|ол|олар)\s(?:[^\W\d]+\s){0,3}"
    r"(?:ответ|напиш|свяж|перезвон|reply|answer|write|contact|get back|відповід|відпові|зв.яж|жауап|хабарлас)",
    re.IGNORECASE,
)
_NOT = re.compile(r"(?<!\S)NOT\s(?:\S+\s)?(?=(?:DID|DONE|WROTE|BOOK|PASS_ON|IS_DONE|I_WILL|WILL_ACT|THEY_WILL)\s)\S+\s")


def promise_of(draft: str, told: Iterable[str] = ()) -> Promise:
    """The weightiest promise of a draft.

    told: what the company itself said in the conversation or knows of the deal. If it says that something was done, the
    draft may say so too.
    """
    found = {_of_sentence(sentence) for sentence in _words.read(draft)}
    if Promise.REFUSE in found and any(promise_of(text) is Promise.REFUSE for text in told):
        found.remove(Promise.REFUSE)
    return next((one for one in (Promise.REFUSE, Promise.HANDOFF) if one in found), Promise.FINE)


def is_only_a_promise(draft: str) -> bool:
    """Whether a draft says nothing but that a person will see to it, apart from greetings and thanks."""
    pieces = [piece for piece in _PIECE_END.split(draft) if piece.strip()]
    pieces = [piece for piece in pieces if kind_of([piece]) == Talk.QUESTION and not _GOES_ON.search(piece)]
    return bool(pieces) and all(
        promise_of(piece) is Promise.HANDOFF and not _SAYS_MORE.search(piece) for piece in pieces
    )


def _of_sentence(sentence: str) -> Promise:
    said = _NOT.sub("x ", sentence)
    if sentence.endswith("? "):
        return Promise.FINE
    if _IF.search(sentence):
        return Promise.FINE
    if _REFUSED.search(said):
        return Promise.REFUSE
    return Promise.HANDOFF if _HANDED.search(said) and not _PLACE.search(sentence) else Promise.FINE
