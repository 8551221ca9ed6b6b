"""Whether a client is angry or complains: insults, threats, money wanted back, goods broken or late. No I/O.

"What if a damaged one arrives?" is no complaint, and neither is "awfully pretty". The words stand in ``temper.toml``.
"""

import re
from pathlib import Path

from otvet.meaning.scorer import Scorer
from otvet.meaning.tags import Lexicon

_words = Lexicon(Path(__file__).with_suffix(".toml"))
SCORER = Scorer(_words, Path(__file__).with_suffix(".weights"))
_ALWAYS, _UNLESS_IF, _STATED, _LOUD, _CALM = map(_words.patterns, ("always", "unless_if", "stated", "loud", "calm"))
_IF = re.compile(r"(?<!\S)IF\s")
_SIGNS = re.compile("[😡🤬😠👎💩🤮🖕]")
_LOUD_MARKS = re.compile(r"[!?]{3,}|(?:\?!|!\?)")


def is_angry(text: str) -> bool:
    """Whether a text is a complaint or angry, so that a person should see it."""
    if _SIGNS.search(text):
        return True
    loud = bool(_LOUD_MARKS.search(text)) or (text.isupper() and "?" in text)
    return any(_angry(sentence, loud=loud) for sentence in _words.read(text))


def _angry(sentence: str, *, loud: bool) -> bool:
    said = _CALM.sub("x ", sentence)
    if _ALWAYS.search(said):
        return True
    if _IF.search(sentence):
        return False
    asks = sentence.endswith("? ")
    return bool(_UNLESS_IF.search(said) or (not asks and _STATED.search(said)) or (loud and _LOUD.search(said)))
