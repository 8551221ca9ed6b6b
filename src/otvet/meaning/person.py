"""Whether a client asks for a person: in Russian, Ukrainian, Kazakh or English, misspelt or in Latin letters. No I/O.

Weights learned from known sentences tell a request from other senses ("менеджер не нужен", "стол на шесть человек").
The plainest requests are patterns over tags besides, in ``person.toml``; they count unless the weights speak against.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from otvet.meaning.scorer import Scorer
from otvet.meaning.tags import Lexicon, other_layout, plain

_words = Lexicon(Path(__file__).with_suffix(".toml"))
SCORER = Scorer(_words, Path(__file__).with_suffix(".weights"))
_PLAINLY = _words.patterns("asks")
_LATER = re.compile(r"(?<!\S)(?:BEFORE|WHEN|COURIER)\s")  # "позвоните, когда поступит" is said to nobody in the chat
_LIKELY, _POSSIBLE = -0.05, -0.7  # scores
_LIKELY_IN_OTHER_LAYOUT = 0.3  # English becomes a jumble in it, and a jumble says little


def asks_for_person(text: str, phrases: Iterable[str] = ()) -> bool:
    """Whether a text asks for a person, or whether it is a bot that answers. phrases: own ones, which count besides."""
    if _asks(text, _LIKELY):
        return True
    said = f" {_bare(text)} "
    if any(f" {bare} " in said for phrase in phrases if (bare := _bare(phrase))):
        return True
    return not re.search("[а-яё]", text.casefold()) and _asks(other_layout(text), _LIKELY_IN_OTHER_LAYOUT)


def _asks(text: str, likely: float) -> bool:
    score = SCORER.highest(text)
    return score > likely or (score > _POSSIBLE and any(map(_plainly, _words.read(text))))


def _plainly(sentence: str) -> bool:
    return bool(_PLAINLY.search(sentence)) and not _LATER.search(sentence)


def _bare(text: str) -> str:
    return " ".join(re.findall(r"\w+", plain(text)))
