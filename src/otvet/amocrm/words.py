"""A client's words in a text: none in one of blanks or of what a program left in their place. No I/O."""

import html
import re
import unicodedata

LOST = "\ufffd"  # stands for bytes that belong to no character

# amoCRM's text of a message with an attachment only, and what programs write for words that they do not have.
_IN_PLACE_OF_WORDS = frozenset(("Пустое сообщение", "Empty message", "null", "undefined", "[object Object]"))
_PLACEHOLDERS = re.compile(r"(?:\s*\{\{[^{}]*\}\})+\s*")  # of a Salesbot, which it has not filled
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0\ufe0e\ufe0f\u034f")  # neither seen nor of a blank's category
_MOST_ESCAPED = 3


def words(text: str) -> str:
    """The text; empty if it says nothing."""
    stripped = text.strip()
    if stripped in _IN_PLACE_OF_WORDS or _PLACEHOLDERS.fullmatch(stripped):
        return ""
    return text if any(map(_is_seen, stripped)) else ""


def _is_seen(char: str) -> bool:
    return char not in _BLANK and (char.isalnum() or unicodedata.category(char) not in _UNSEEN)


_UNSEEN = ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp", "Zs")


def mostly_lost(text: str) -> bool:
    """Whether less than half of a text's characters arrived."""
    return 2 * text.count(LOST) >= sum(not char.isspace() for char in text)


def plain(text: str) -> str:
    """The words by which two reports of one message are compared: blanks and HTML's escapes make no difference."""
    for _time in range(_MOST_ESCAPED):
        if "&" not in text or (once := html.unescape(text)) == text:
            break
        text = once
    return " ".join(text.split())
