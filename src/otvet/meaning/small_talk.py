"""Whether what a client wrote wants an answer: thanks and an "ok" do not, a greeting wants a greeting. No I/O.

Only words that are known to ask nothing count as small talk; with any other word it is a question. "Yes" and "no" alone
answer something that we asked, so they are questions too. The words stand in ``small_talk.toml``.
"""

import re
import unicodedata
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

from otvet.meaning.tags import Lexicon

WORDLESS = frozenset(("sticker", "reaction", "gif", "animation"))
"""Kinds of media that say no more than an emoji does."""


class Talk(StrEnum):
    """What a client's messages want: silence or a short word, a greeting, an answer."""

    THANKS = "thanks"
    GREETING = "greeting"
    QUESTION = "question"


_words = Lexicon(Path(__file__).with_suffix(".toml"))
_NOT_SO, _REASON = _words.patterns("not_so"), _words.patterns("reason")

_ASKING = "❓❔⁉🤔🤨🧐"
_UNHAPPY = "😡🤬😠👎💩😤😞😢😭☹🙁😕😒🤮🖕💔😫😩😣😖🤢🆘‼😟😔😥😓😰😨😱"
_WAVING = "👋🙋🖐"
_JOINERS = "\u200d\u20e3"
_SMILE = re.compile(r"(?<!\w)[:;=8xX]'?-?[)\]DdPpРрВ3*]+(?!\w)|<3+|\^[_.]?\^|(?<!\()\){1,}(?=\s|$)|(?<=\w)\)+")
_FROWN = re.compile(r"(?<!\w)[:;=]'?-?[(\[]+|(?<!\S)\(+\Z|(?<=[\w!.,])\({1,}\s*\Z")
_BRACKETS = re.compile(r"\([^()]*\)")
_REACTION = re.compile(
    r"\A\s*(?:reacted|liked|loved|laughed at|emphasi[sz]ed|отреагировал\w*|реакция|поставил\w* (?:реакцию|лайк)"
    r"|отметил\w* как понравившееся|понравилось|нравится)(?=\W*[«\"“:]|\W*\Z|\W+(?:to|на)\b)",
    re.IGNORECASE,
)
_NAME = re.compile(
    r"(?<=[^\W\d_][,! ])\s?(?!\w+те\b)[А-ЯЁІA-Z][а-яёіїa-z]{2,}(?: [А-ЯЁІA-Z][а-яёіїa-z]{3,})?(?=\s*(?:[.!,)]|\Z))"
)
_IDLE = frozenset(("THANKS", "OK", "PRAISE", "BYE", "GREET", "NOPE", ","))
_WANTING = frozenset(("ASKS", "BAD", "IMP", "n", "N"))
_MAY_PRAISE = 3  # unknown words beside praise: "спасибо, плед чудесный"


def kind_of(texts: Iterable[str], media: Iterable[str] = ()) -> Talk:
    """What the messages of one question want together.

    texts: the words of those that have any. media: the kinds of the others, as amoCRM names them: "sticker", "voice".
    """
    kinds = {_kind(text) for text in texts} | {Talk.THANKS if kind in WORDLESS else Talk.QUESTION for kind in media}
    if not kinds or Talk.QUESTION in kinds:
        return Talk.QUESTION
    return Talk.THANKS if Talk.THANKS in kinds else Talk.GREETING


def _kind(text: str) -> Talk:
    if _REACTION.search(text):
        return Talk.THANKS
    if _FROWN.search(_BRACKETS.sub("", text)):
        return Talk.QUESTION
    words, signs = _without_signs(_SMILE.sub(" ☺ ", text))
    if any(sign in _ASKING or sign in _UNHAPPY for sign in signs):
        return Talk.QUESTION
    if not any(char.isalnum() for char in words):
        if not signs or "?" in words:
            return Talk.QUESTION
        return Talk.GREETING if set(signs) <= set(_WAVING) else Talk.THANKS
    return _of_words(_NAME.sub(" ", words))


def _without_signs(text: str) -> tuple[str, str]:
    """The text with its emojis taken out, and these."""
    signs = "".join(char for char in text if unicodedata.category(char) == "So" or char in _ASKING + _UNHAPPY)
    kept = (
        " " if char in signs or (unicodedata.category(char) in ("Sk", "Mn", "Cf") and char not in "й") else char
        for char in text
    )
    return "".join(kept), signs


def _of_words(text: str) -> Talk:
    found: set[str] = set()
    unknown = 0
    for sentence in _words.read(text):
        said = _REASON.sub("THANKS ", sentence)
        tags = said.split()
        greets = set(tags) <= {"GREET", ",", "?"}
        if _NOT_SO.search(said) or ("?" in tags and not greets) or not _WANTING.isdisjoint(tags):
            return Talk.QUESTION
        unknown += sum(tag not in _IDLE and tag != "?" for tag in tags)
        found |= set(tags)
    if unknown and not (unknown <= _MAY_PRAISE and {"THANKS", "PRAISE"} <= found and "BUT" not in found):
        return Talk.QUESTION
    if found & {"THANKS", "OK", "PRAISE", "BYE"}:
        return Talk.THANKS
    return Talk.GREETING if "GREET" in found else Talk.QUESTION
