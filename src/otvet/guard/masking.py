"""Replaces personal data by placeholders before a text goes to an outside model, and restores it in the reply. No I/O.

A placeholder depends only on the value and the installation's secret. So it stays the same for all questions of a
conversation and for every spelling of the value, and nothing has to be stored. It is short and ASCII, because models
count Cyrillic as more tokens and copy such a word exactly.
"""

import hmac
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from otvet.guard.personal import WINDOW, find
from otvet.responders.base import Context, Line

CODE_LENGTH = 6
"""The characters of a placeholder's code: 30 bits, so that two values of one conversation do not collide."""

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no look-alikes
_LATIN, _CYRILLIC = "ABCEHKMOPTXY", "АВСЕНКМОРТХУ"  # look-alikes of the two alphabets
_LOWER = "abcdefghijklmnopqrstuvwxyz"
_AS_IN_A_CODE = str.maketrans(
    f"{_LOWER}{_CYRILLIC}{_CYRILLIC.lower()}OoIiLlОо", f"{_LOWER.upper()}{_LATIN}{_LATIN}00111100"
)

_KINDS = ("PHONE", "EMAIL", "CARD", "PASSPORT", "SNILS", "INN", "TEXT")
_TRANSLATED = ("E-MAIL", "ТЕЛЕФОН", "ПОЧТА", "КАРТА", "ПАСПОРТ", "СНИЛС", "ИНН", "ТЕКСТ")


def _in_either_alphabet(word: str) -> str:
    twins = dict(zip(_LATIN + _CYRILLIC, _CYRILLIC + _LATIN, strict=True))
    return "".join(f"[{letter}{twins[letter]}]" if letter in twins else letter for letter in word)


_OPEN, _CLOSE = r"\\?[\[{<‹【＜［]", r"\\?[\]}>›】＞］]"
_KIND = rf"(?:{'|'.join(map(_in_either_alphabet, _KINDS + _TRANSLATED))})"
# A placeholder that a model did not copy exactly: the kind in brackets, or in capitals with an underscore.
_PLACEHOLDER = re.compile(
    rf"(?i:{_OPEN}\s{{0,2}}{_KIND}(?:(?=[A-Z]*\d)[0-9A-Z]{{4,10}}|(?![^\W\d_])[^\[\]{{}}<>\n]{{0,40}}){_CLOSE})"
    rf"|(?<![^\W_]){_KIND}\\?_[^\W_]{{0,12}}"
)

# The frame of a code: brackets with a word of any language, or a word that is joined to the code.
_OPENED = re.compile(rf"{_OPEN}\s?(?:[^\W\d_]+(?:[^\w\[\]{{}}<>]|_){{0,3}})?\Z")
_CLOSED = re.compile(rf"[^\W_]*\s?{_CLOSE}")
_JOINED = re.compile(r"(?:[^\W_]+\\?[_\u2010-\u2015-]?)?\Z")
_REST = re.compile(r"[^\W_]*")
_REACH = 40  # characters before a code


class Restored(NamedTuple):
    """A text with its values restored. ``unknown``: the placeholders in it that have no value."""

    text: str
    unknown: tuple[str, ...]


class Restorer:
    """Restores masked values. written: the values by their codes."""

    def __init__(self, written: Mapping[str, str]) -> None:
        self._written = written
        longest_first = sorted(written, key=len, reverse=True)
        self._codes = re.compile("|".join(longest_first) or r"(?!)")

    def restore(self, text: str) -> Restored:
        """Replace every placeholder by its value; only the characters of its code have to be intact."""
        parts: list[str] = []
        unknown: list[str] = []
        position = 0
        for start, end, value in [*self._find(text), (len(text), len(text), "")]:
            if start >= position:
                between = text[position:start]
                parts += [between, value]
                unknown += placeholders(between)
                position = end
        return Restored("".join(parts), tuple(unknown))

    def _find(self, text: str) -> Iterator[tuple[int, int, str]]:
        places = [place for place, char in enumerate(text) if char.isalnum()]
        signs = "".join(text[place] for place in places).translate(_AS_IN_A_CODE)
        for match in self._codes.finditer(signs):
            yield *_with_frame(text, places[match.start()], places[match.end() - 1] + 1), self._written[match[0]]


class Masker:
    """Masks the personal data of a context.

    key: the installation's secret; with another key every placeholder changes.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def mask(self, context: Context) -> tuple[Context, Restorer]:
        """The context for an outside model. The company's own data in instructions and passages stays readable."""
        mask = _Mask(self._key, _public(context))
        lines = tuple(_lines((*context.history, *context.question), mask))
        masked = replace(
            context,
            known=tuple((name, mask(value, f"{name}: ")) for name, value in context.known),
            summary=mask(context.summary),
            history=lines[: len(context.history)],
            question=lines[len(context.history) :],
            draft=mask(context.draft),
            findings=tuple(map(mask, context.findings)),
        )
        return masked, Restorer(mask.written)


def placeholders(text: str) -> Iterator[str]:
    """The pieces of a text that look like a placeholder."""
    return (match[0] for match in _PLACEHOLDER.finditer(text))


@dataclass(slots=True)
class _Mask:
    """The masking of one context. ``written``: the values by their codes, as each was first written."""

    key: bytes
    public: frozenset[tuple[str, str]]
    written: dict[str, str] = field(default_factory=dict)
    _names: dict[tuple[str, str], str] = field(default_factory=dict)

    def __call__(self, text: str, before: str = "") -> str:
        """The masked text. before: the message right before it."""
        parts, position = [], 0
        for piece in find(text, before):
            if (piece.kind, piece.value) not in self.public:
                written = text[piece.start : piece.end]
                parts += [
                    self._without_look_alikes(text[position : piece.start]),
                    self._placeholder(piece.kind, piece.value, written),
                ]
                position = piece.end
        return "".join([*parts, self._without_look_alikes(text[position:])])

    def _without_look_alikes(self, text: str) -> str:
        """The text with its look-alikes of placeholders masked too, so that a client cannot plant one."""
        return _PLACEHOLDER.sub(lambda match: self._placeholder("TEXT", match[0], match[0]), text)

    def _placeholder(self, kind: str, value: str, written: str) -> str:
        code = self._names.get((kind, value)) or self._new_code(kind, value)
        self.written.setdefault(code, written)
        return f"[{kind}_{code}]"

    def _new_code(self, kind: str, value: str) -> str:
        whole = _code(self.key, kind, value)
        code = next(
            (whole[:length] for length in range(CODE_LENGTH, len(whole)) if whole[:length] not in self.written), whole
        )
        self._names[kind, value] = code
        return code


def _lines(lines: Iterable[Line], mask: _Mask) -> Iterator[Line]:
    """The masked messages, each read with the ones before it: "Your passport?" - "4510" - "123456"."""
    before = ""
    for line in lines:
        yield replace(line, text=mask(line.text, before))
        before = f"{before}{line.text}\n"[-WINDOW:]


def _public(context: Context) -> frozenset[tuple[str, str]]:
    texts = [context.instructions]
    for passage in context.knowledge:
        texts += [*passage.above, passage.heading, passage.text]
    return frozenset((piece.kind, piece.value) for text in texts for piece in find(text))


def _code(key: bytes, kind: str, value: str) -> str:
    digest = hmac.digest(key, f"{kind}:{value}".encode(), "sha256")
    number = int.from_bytes(digest[:10], "big")
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(75, 20, -5))[:10]


def _with_frame(text: str, start: int, end: int) -> tuple[int, int]:
    """The start and end of the placeholder whose code stands from ``start`` to ``end``."""
    reach = max(0, start - _REACH)
    opened, closed = _OPENED.search(text, reach, start), _CLOSED.match(text, end)
    if opened and closed:
        return opened.start(), closed.end()
    joined, rest = _JOINED.search(text, reach, start), _REST.match(text, end)
    assert joined
    assert rest
    return joined.start(), rest.end()
