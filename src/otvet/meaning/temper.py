"""Whether a client is angry or complains: insults, threats, money wanted back, goods broken or late. No I/O.

"What if a damaged one arrives?" is no complaint, and neither is "awfully pretty": weights learned from known sentences
tell them apart. The plainest complaints are patterns over tags besides, in ``temper.toml``.
"""

import re
from pathlib import Path

from otvet.meaning.scorer import Scorer
from otvet.meaning.tags import Lexicon

_words = Lexicon(Path(__file__).with_suffix(".toml"))
SCORER = Scorer(_words, Path(__file__).with_suffix(".weights"))
_PLAINLY = _words.patterns("angry")
_LIKELY, _POSSIBLE = -0.15, -0.5  # scores
_SIGNS = re.compile("[😡🤬😠👎💩🤮🖕]")


def is_angry(text: str) -> bool:
    """Whether a text is a complaint or angry, so that a person should see it."""
    score = SCORER.score(text)
    if score > _LIKELY or _SIGNS.search(text):
        return True
    return score > _POSSIBLE and any(map(_PLAINLY.search, _words.read(text)))
