"""Repairs texts that were damaged on their way: wrong encodings, escapes, tokenizers' signs, repeated sentences."
" No I/O."""

import re
import unicodedata
from collections import Counter

import ftfy
from ftfy.badness import is_bad

from otvet.languages import evidence
from otvet.storage.storable import storable_text

# UTF-8 that was read as one of these, or Windows-1251 that was read as Latin-1; ftfy knows the other mistakes.
_WRONGLY_READ = (("cp866", "utf-8"), ("koi8-r", "utf-8"), ("latin-1", "cp1251"), ("cp1252", "cp1251"))
_SIGNS = re.compile(r"[\u00c0-\u00ff\u0152\u0153\u0160\u0161\u017d\u017e\u2500-\u259f]")
_MOST_SIGNS = 0.6  # of the letters; French and German have far fewer accents

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_ESCAPED_LETTERS = re.compile(r"(?:\\u[0-9a-fA-F]{4})+")
_ESCAPED_BREAK = re.compile(r"(?:\\r)?\\n(?![a-zà-ÿ])|(?<=[.!?…:;,)])(?:\\r)?\\n")
_ESCAPED_SIGN = re.compile(r"\\([\"'])|\\t(?![a-z])")
_SPACE_OF_TOKENIZERS = re.compile(r"[▁Ġ]|<0x20>")
_BREAK_OF_TOKENIZERS = re.compile(r"Ċ|<0x0A>")

_LOST = re.compile(r"[A-ZА-Я]?\?{2,}[,.:]?")
_MANY_LOST = 2
_WORD_RUN = re.compile(r"(?<!\w)([^\W\d_]+)(?:[\s,.!;—-]+\1(?!\w)){5,}", re.IGNORECASE)
_PHRASE_RUN = re.compile(r"(?<!\w)([^\W\d_][^\n]{7,80}?)(?:[\s,.!;—-]{1,3}\1){3,}", re.IGNORECASE)
_SENTENCE = re.compile(r"[^.!?…\n]+(?:[.!?…]+|\n|\Z)")
_LETTER_RUN = re.compile(r"([^\W\d_])\1{11,}", re.IGNORECASE)
_FEW_WORDS = 0.2  # of a long text are different
_LONG = 16
_WORD = re.compile(r"[^\W\d_]{4,}")
_INVERTED = re.compile(r"[а-яё][А-ЯЁ]{3,}")
_LOOP = 3
"""A sentence that stands in a text as often as this is one that the model cannot stop writing."""


def repaired(text: str) -> str:
    """The text in the right encoding, with real line breaks and spaces, each sentence that loops once."""
    text = _CONTROL.sub("", storable_text(text))
    if _SPACE_OF_TOKENIZERS.search(text):
        text = _BREAK_OF_TOKENIZERS.sub("\n", _SPACE_OF_TOKENIZERS.sub(" ", text))
    text = _ESCAPED_LETTERS.sub(_letters, text)
    text = _ESCAPED_SIGN.sub(lambda match: match[1] or " ", _ESCAPED_BREAK.sub("\n", text))
    return "\n".join(map(_well_read, text.split("\n")))


def is_broken(text: str) -> bool:
    """Whether parts of the text are lost, or a word repeats without end."""
    words = text.split()
    if len(words) >= _LONG and len(set(words)) < len(words) * _FEW_WORDS:
        return True
    lost = sum(bool(_LOST.fullmatch(word)) for word in words)
    return bool(
        _LETTER_RUN.search(text)
        or "\ufffd" in text
        or lost >= _MANY_LOST
        or _WORD_RUN.search(text)
        or _PHRASE_RUN.search(text)
        or is_bad(text)
    )


def without_loop(text: str) -> str:
    """The text up to the second time that a sentence begins which stands there three times or more."""
    sentences = [(match.start(), " ".join(match[0].casefold().split())) for match in _SENTENCE.finditer(text)]
    counts = Counter(said for _, said in sentences if len(said) > 3 and any(map(str.isalpha, said)))
    seen: set[str] = set()
    for start, said in sentences:
        if said in seen:
            return text[:start].rstrip()
        if counts[said] >= _LOOP:
            seen.add(said)
    return text


def _letters(match: re.Match[str]) -> str:
    units = bytes.fromhex(match[0].replace("\\u", ""))
    return units.decode("utf-16-be", "ignore")


def _well_read(line: str) -> str:
    """A line as it was written, if it was read in a wrong encoding."""
    line = _between_cyrillic(ftfy.fix_encoding(line))
    letters = sum(map(str.isalpha, line)) + sum("\u2500" <= char <= "\u259f" for char in line)
    if len(_SIGNS.findall(line)) < max(3, letters * _MOST_SIGNS):
        return _koi8(line)
    for read_as, written_in in _WRONGLY_READ:
        try:
            fixed = line.encode(read_as).decode(written_in)
        except UnicodeError:
            continue
        if _is_cyrillic(fixed):
            return fixed
    return line


def _koi8(line: str) -> str:
    """UTF-8 read as KOI8-R is Cyrillic with box drawings between; ftfy does not know it."""
    if not re.search(r"[\u2500-\u259f]", line):
        return line
    try:
        return line.encode("koi8-r").decode("utf-8")
    except UnicodeError:
        return line


def _between_cyrillic(line: str) -> str:
    """A line that was read in another Cyrillic encoding, where small letters are capitals."""
    words = _WORD.findall(line)
    inverted = [word for word in words if _INVERTED.fullmatch(word)]
    if not inverted or not all(word.isupper() for word in words if word not in inverted):
        return line
    for read_as, written_in in (("cp1251", "koi8-r"), ("koi8-r", "cp1251")):
        try:
            fixed = line.encode(read_as).decode(written_in)
        except UnicodeError:
            continue
        if evidence(fixed).get("ru", 0) >= 1:
            return fixed
    return line


def _is_cyrillic(text: str) -> bool:
    letters = [char for char in text if char.isalpha()]
    return sum(unicodedata.name(char, "").startswith("CYRILLIC") for char in letters) > len(letters) / 2
