"""How much an outgoing message says what a reply of ours says, whatever was changed on the way. No I/O.

Channels and bots rewrite links, leave out emoji, change quotes and white space, cut a text or part it into several
messages, and put words of their own around it. So links and signs are left aside, and letters and digits are compared.
"""

import html
import re
import unicodedata
from difflib import SequenceMatcher
from enum import IntEnum


class Likeness(IntEnum):
    """What a message is of a text of ours; the smaller, the surer."""

    SAME = 1
    HOLDS = 2  # all of it, with words around it
    ENDS = 3  # its last piece, or most of its words
    PIECE = 4  # its beginning, or a piece of its middle: the rest may be lost
    NONE = 5


LEAST_TO_HOLD = 12  # characters; "ok" is in every message
LEAST_ENDING = 4
MOST_AROUND = 100  # characters of a bot's own words; a longer message holds the text by chance
MOST_WORDS = 700  # compared one by one
LIKE = 0.8  # the share of words that both have

_LINK = re.compile(r"(?:https?://|www\.)\S+|\b(?:[\w-]+\.)+(?:[a-z]{2,}|рф)\b(?:/\S*)?", re.IGNORECASE)
_WORD = re.compile(r"[^\W_]+")


def likeness(said: str, text: str) -> Likeness:
    """What the message ``said`` is of ``text``."""
    said_words, words = _words(said), _words(text)
    theirs, ours = "".join(said_words), "".join(words)
    if theirs == ours:
        return Likeness.SAME if ours or _same_signs(said, text) else Likeness.NONE
    if not theirs or not ours:
        return Likeness.NONE
    if len(ours) >= LEAST_TO_HOLD and ours in theirs and len(theirs) - len(ours) <= MOST_AROUND:
        return Likeness.HOLDS
    if len(theirs) >= LEAST_ENDING and ours.endswith(theirs):
        return Likeness.ENDS
    if ours.startswith(theirs) or (len(theirs) >= LEAST_TO_HOLD and theirs in ours):
        return Likeness.PIECE
    return Likeness.ENDS if _share(said_words, words) >= LIKE else Likeness.NONE


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", _LINK.sub(" ", html.unescape(text))).casefold())


def _same_signs(said: str, text: str) -> bool:
    """Whether two texts without words are the same: a link each, or the same signs."""
    if _LINK.search(said) and _LINK.search(text):
        return True
    return bool(said.strip()) and "".join(said.split()) == "".join(text.split())


def _share(said: list[str], words: list[str]) -> float:
    if max(len(said), len(words)) > MOST_WORDS:
        return 0.0
    return SequenceMatcher(None, said, words, autojunk=False).ratio()
