"""Personal data is taken out before anything goes to an outside model, and put back into what it wrote. No I/O.

The placeholder of a value is made from the value and the installation's secret alone. So it is the same in every turn
of a conversation, however the value is written, and nothing has to be stored. It is short and ASCII, for models count
Cyrillic dearly and repeat such a word as it is.
"""

import hmac
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from otvet.responders.base import Context, Line
from otvet.responders.checks.personal import Found, find

CODE_LENGTH = 6
"""Letters of a placeholder: 30 bits, so that two values of one conversation do not meet."""

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: nothing that looks like another letter
_ALIKE = str.maketrans("OIL", "011")
_KINDS = ("PHONE", "EMAIL", "CARD", "PASSPORT", "SNILS", "INN", "TEXT")

# A model may change the case, the brackets, escape signs, or leave the brackets out: then the underscore tells one.
_NAME = rf"(?:{'|'.join(_KINDS)})(?:\\?_|[ -])[0-9A-Za-z]{{{CODE_LENGTH},10}}"
_PLACEHOLDER = re.compile(
    rf"\\?\[\s?(?P<square>{_NAME})\s?\\?\]|[{{【<]\s?(?P<other>{_NAME})\s?[}}】>]"
    rf"|(?<![^\W_])(?P<bare>{_NAME.replace('|[ -]', '')})(?![^\W_])",
    re.IGNORECASE,
)


class Restored(NamedTuple):
    """A text with its values back. ``unknown``: placeholders in it that stand for nothing known."""

    text: str
    unknown: tuple[str, ...]


class Restorer:
    """Puts back what a mask has taken out."""

    def __init__(self, written: dict[str, str]) -> None:
        self._written = written

    def restore(self, text: str) -> Restored:
        """Replace every placeholder by its value, also where a model has changed its case, brackets or escapes."""
        unknown: list[str] = []

        def value(match: re.Match[str]) -> str:
            found = self._written.get(_name(match["square"] or match["other"] or match["bare"]))
            if found is None:
                unknown.append(match[0])
                return match[0]
            return found

        return Restored(_PLACEHOLDER.sub(value, text), tuple(unknown))


class Masker:
    """Takes personal data out of what a responder is given.

    key: the installation's secret; with another one every placeholder changes.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def mask(self, context: Context) -> tuple[Context, Restorer]:
        """The context as an outside model may see it. What the company says of itself stays readable everywhere."""
        mask = _Mask(self._key, _public(context))
        masked = replace(
            context,
            known=tuple((name, mask.after_label(name, value)) for name, value in context.known),
            summary=mask(context.summary),
            history=_lines(context.history, mask),
            question=_lines(context.question, mask),
            draft=mask(context.draft),
            findings=tuple(map(mask, context.findings)),
        )
        return masked, Restorer(mask.written)


def placeholders(text: str) -> Iterator[str]:
    """What looks like a placeholder in a text."""
    return (match[0] for match in _PLACEHOLDER.finditer(text))


@dataclass(slots=True)
class _Mask:
    """The work on one context. ``written``: placeholder to value, as the value was first written."""

    key: bytes
    public: frozenset[tuple[str, str]]
    written: dict[str, str] = field(default_factory=dict)
    _names: dict[tuple[str, str], str] = field(default_factory=dict)

    def __call__(self, text: str) -> str:
        # What looks like a placeholder and is none is masked too, so that nobody can plant one.
        return _replaced(text, [*_look_alikes(text), *find(text)], self._placeholder)

    def after_label(self, label: str, value: str) -> str:
        """A value whose label says what it is."""
        start = len(label) + 2
        pieces = [
            piece._replace(start=piece.start - start, end=piece.end - start)
            for piece in find(f"{label}: {value}")
            if piece.start >= start
        ]
        return _replaced(value, [*_look_alikes(value), *pieces], self._placeholder)

    def _placeholder(self, piece: Found, written: str) -> str:
        if (piece.kind, piece.value) in self.public:
            return written
        name = self._names.get((piece.kind, piece.value)) or self._new_name(piece)
        self.written.setdefault(name, written)
        return f"[{name}]"

    def _new_name(self, piece: Found) -> str:
        code = _code(self.key, piece.kind, piece.value)
        for length in range(CODE_LENGTH, len(code)):
            name = f"{piece.kind}_{code[:length]}"
            if name not in self.written:
                break
        self._names[piece.kind, piece.value] = name
        return name


def _lines(lines: Iterable[Line], mask: _Mask) -> tuple[Line, ...]:
    return tuple(replace(line, text=mask(line.text)) for line in lines)


def _public(context: Context) -> frozenset[tuple[str, str]]:
    texts = [context.instructions]
    for passage in context.knowledge:
        texts += [*passage.above, passage.heading, passage.text]
    return frozenset((piece.kind, piece.value) for text in texts for piece in find(text))


def _replaced(text: str, pieces: list[Found], placeholder: Callable[[Found, str], str]) -> str:
    parts, position = [], 0
    for piece in sorted(pieces):
        if piece.start >= position:
            parts += [text[position : piece.start], placeholder(piece, text[piece.start : piece.end])]
            position = piece.end
    return "".join([*parts, text[position:]])


def _code(key: bytes, kind: str, value: str) -> str:
    digest = hmac.digest(key, f"{kind}:{value}".encode(), "sha256")
    number = int.from_bytes(digest[:10], "big")
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(75, 20, -5))[:10]


def _name(written: str) -> str:
    kind, code = re.split(r"\\?[_ -]", written.upper(), maxsplit=1)
    return f"{kind}_{code.translate(_ALIKE)}"


def _look_alikes(text: str) -> Iterator[Found]:
    for match in _PLACEHOLDER.finditer(text):
        yield Found(match.start(), match.end(), "TEXT", match[0])
