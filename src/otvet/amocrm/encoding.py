"""Bodies whose bytes are no UTF-8: windows-1251, UTF-16, or damaged on their way. No I/O."""

import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from urllib.parse import quote, unquote_to_bytes

_RUN = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")  # a whole run, because a letter may take several bytes
_WORD = re.compile(r"[^\W\d_]+")
_ORDINARY = re.compile(r"[\x00-\x7fА-Яа-яЁёЄєІіЇїҐґЎў«»„“”‘’–—…№©®°±·•€\xa0]+")  # what people write in windows-1251
_LATIN_AND_CYRILLIC = re.compile(r"[A-Za-z][А-яЁёЄєІіЇїҐґЎў]|[А-яЁёЄєІіЇїҐґЎў][A-Za-z]")


def in_utf8(body: bytes) -> bytes:
    """The body in UTF-8, also within its percent-encoding; bytes that belong to no character become U+FFFD."""
    if body.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        return body.decode("utf-16", "replace").encode("utf-8", "replace")
    encoding = "cp1251" if _is_cp1251(unquote_to_bytes(body)) else "utf-8"
    text = body.decode(encoding, "replace").encode()
    if text.lstrip().startswith((b"{", b"[", b'"')):  # JSON has no percent-encoding
        return text
    return _RUN.sub(lambda run: quote(unquote_to_bytes(run[0]).decode(encoding, "replace")).encode(), text)


def _is_cp1251(content: bytes) -> bool:
    """Whether it reads as a person's Cyrillic text in windows-1251, and not as UTF-8 with some bytes missing."""
    as_utf8 = content.decode("utf-8", "replace")
    damaged = as_utf8.count("\ufffd")
    whole = sum(char > "\x7f" for char in as_utf8) - damaged
    if damaged <= whole:
        return False
    try:
        text = content.decode("cp1251")
    except UnicodeDecodeError:
        return False
    if not _ORDINARY.fullmatch(text) or _LATIN_AND_CYRILLIC.search(text):
        return False
    words = [word for word in _WORD.findall(text) if word > "\x7f"]
    natural = all(word.islower() or word.isupper() or word.istitle() for word in words)
    return natural and any(len(word) > 1 for word in words)
