"""Whether a client asks for a person: in Russian, Ukrainian, Kazakh or English, misspelt or in Latin letters. No I/O.

A request is a verb and a person, in any order and with words between: "соедините меня с вашим менеджером". What is
denied ("менеджер не нужен"), what a manager did, how many people sit at a table and who is to assemble a wardrobe are
other senses. The words and the patterns stand in ``person.toml``.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from otvet.meaning.scorer import Scorer
from otvet.meaning.tags import Lexicon, other_layout, plain

_words = Lexicon(Path(__file__).with_suffix(".toml"))
SCORER = Scorer(_words, Path(__file__).with_suffix(".weights"))
_DENIED, _TOLD, _ASKS, _NO_BOT, _BOTS, _OTHER, _WEAK, _RINGS = map(
    _words.patterns, ("denied", "told", "asks", "no_bot", "bots", "other", "weak", "rings")
)
_BEFORE, _BUY, _ABOUT, _WORK, _GOODS, _UNSURE, _TO_SAY = (
    re.compile(rf"(?<!\S)(?:{tags})\s")
    for tags in (
        "BEFORE|WHEN|COURIER",
        "BUY",
        "ABOUT",
        "WORK",
        "THANKS|THING",
        "HUMAN|ROLE|SOMEBODY",
        "LIVE|QUALITY|TALK|DISCUSS|CONTACT|HELP|QUESTION",
    )
)


def asks_for_person(text: str, phrases: Iterable[str] = ()) -> bool:
    """Whether a text asks for a person, or whether it is a bot that answers. phrases: own ones, which count besides."""
    if any(_asks(sentence) for sentence in _words.read(text)):
        return True
    said = f" {_bare(text)} "
    if any(f" {bare} " in said for phrase in phrases if (bare := _bare(phrase))):
        return True
    return not re.search("[а-яё]", text.casefold()) and any(_asks(one) for one in _words.read(other_layout(text)))


def _asks(sentence: str) -> bool:
    said = _TOLD.sub("x ", _DENIED.sub("x ", sentence))
    if not _BUY.search(sentence) and _BOTS.search(_NO_BOT.sub("x ", sentence)):
        return True
    if _ASKS.search(said) or (_RINGS.search(said) and not _BEFORE.search(sentence)):
        return True
    if _ABOUT.search(sentence) or _GOODS.search(sentence):
        return False
    if _WORK.search(sentence) and not _TO_SAY.search(sentence):
        said = _UNSURE.sub("x ", said)
    return bool(_WEAK.search(_OTHER.sub("x ", said)))


def _bare(text: str) -> str:
    return " ".join(re.findall(r"\w+", plain(text)))
