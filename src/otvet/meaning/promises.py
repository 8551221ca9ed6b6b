"""What a model without tools promises in a draft: that a person will answer, or that something has been done. No I/O.

"I have passed it on to a manager" is kept by a hand-off. "I have booked you for tomorrow" cannot be kept: nothing was
booked. "You can book by phone" and "managers are here from 9 to 18" promise nothing, and neither does an offer, a
question or a rule ("if it does not fit, the money comes back"). Weights learned from known sentences tell them apart.
"""

import re
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

from otvet.meaning.scorer import Scorer
from otvet.meaning.small_talk import Talk, kind_of
from otvet.meaning.tags import Lexicon


class Promise(StrEnum):
    """FINE: none. HANDOFF: a person will see to it. REFUSE: something was done, or will be, that nobody does."""

    FINE = "fine"
    HANDOFF = "handoff"
    REFUSE = "refuse"


_words = Lexicon(Path(__file__).with_suffix(".toml"))
HANDED, REFUSED = (Scorer(_words, Path(__file__).with_name(f"{name}.weights")) for name in ("handed", "refused"))
_LIKELY = -0.1  # score
_PIECE_END = re.compile(r"(?<=[.!?…])\s+|\n+")
_SAYS_MORE = re.compile(r"\d|\A\W*(?:да|нет|есть|yes|no|так|ні|иә|жоқ)\b", re.IGNORECASE)  # an answer beside it
_GOES_ON = re.compile(
    r"\A\W*(?:он|она|они|he|she|they|він|вона|вони|ол|олар)\s(?:[^\W\d]+\s){0,3}"
    r"(?:ответ|напиш|свяж|перезвон|reply|answer|write|contact|get back|відповід|відпові|зв.яж|жауап|хабарлас)",
    re.IGNORECASE,
)


def promise_of(draft: str, told: Iterable[str] = ()) -> Promise:
    """The weightiest promise of a draft.

    told: what the company itself said in the conversation or knows of the deal. If it says that something was done, the
    draft may say so too.
    """
    if REFUSED.highest(draft) > _LIKELY and not any(promise_of(text) is Promise.REFUSE for text in told):
        return Promise.REFUSE
    return Promise.HANDOFF if HANDED.highest(draft) > _LIKELY else Promise.FINE


def is_only_a_promise(draft: str) -> bool:
    """Whether a draft says nothing but that a person will see to it, apart from greetings and thanks."""
    pieces = [piece for piece in _PIECE_END.split(draft) if piece.strip()]
    pieces = [piece for piece in pieces if kind_of([piece]) == Talk.QUESTION and not _GOES_ON.search(piece)]
    return bool(pieces) and all(
        promise_of(piece) is Promise.HANDOFF and not _SAYS_MORE.search(piece) for piece in pieces
    )
