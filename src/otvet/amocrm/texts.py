"""Texts in a form that amoCRM keeps whole. No I/O.

A database that stores three bytes a character ends a text at the first character beyond U+FFFF, or keeps nothing of
it. So no such character is written: emoji are left out, other signs are replaced.
"""

import re
import unicodedata

_BEYOND = "[\U00010000-\U0010ffff\ud800-\udfff]"
_MARKS = "[\ufe00-\ufe0f\u200d]"  # they join emoji, or choose how one looks
_LEFT_OUT = re.compile(rf"(?:[ \t]*{_BEYOND}{_MARKS}*)+[ \t]*")
_LOOSE_JOINER = re.compile("\u200d(?!\\w)")
_LINE_BREAK = re.compile("\r\n?|[\u2028\u2029\v\f]")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f]")
_NO_SPACE_BEFORE = frozenset("\n.,!?;:)…")
_SPACE = re.compile(r"[^\S\n]+")
_PLAIN = str.maketrans({"'": "’", "<": "‹", ">": "›", "\n": " "})


def storable(text: str) -> str:
    """The text without characters beyond U+FFFF, lone surrogates and control characters; line breaks are one sign."""
    text = _CONTROL.sub("", _LINE_BREAK.sub("\n", text))
    if text.isascii():
        return text
    known = "".join(_known(char) if ord(char) > 0xFFFF else char for char in text)
    return _LOOSE_JOINER.sub("", _LEFT_OUT.sub(_gap, known))


def _known(char: str) -> str:
    """A sign that amoCRM keeps in place of a letter or digit; another character unchanged, which is left out then."""
    same = unicodedata.normalize("NFKC", char)
    if all(ord(one) <= 0xFFFF for one in same):
        return same
    return "?" if unicodedata.category(char)[0] in "LN" else char


def _gap(left_out: re.Match[str]) -> str:
    """What stays between the words around."""
    before, after = left_out.string[: left_out.start()][-1:], left_out.string[left_out.end() :][:1]
    return "" if before in ("", "\n") or after == "" or after in _NO_SPACE_BEFORE else " "


def plain(text: str) -> str:
    """The text in one line, without the signs that HTML escapes; an ampersand stays, because addresses have it."""
    quoted = re.sub(r'"(?=\w)', "“", storable(text)).replace('"', "”")
    return _SPACE.sub(" ", quoted.translate(_PLAIN)).strip()


def same(kept: str, written: str) -> bool:
    """Whether amoCRM has kept a text as it was written, apart from white space at the ends of lines."""
    return _tidy(kept) == _tidy(written)


def beginning(kept: str, written: str) -> bool:
    """Whether amoCRM has kept only the beginning of a text."""
    return 0 < len(_tidy(kept)) < len(_tidy(written)) and _tidy(written).startswith(_tidy(kept))


def _tidy(text: str) -> str:
    lines = _LINE_BREAK.sub("\n", text.replace("&amp;", "&")).split("\n")
    return "\n".join(_SPACE.sub(" ", line).strip() for line in lines).strip()
