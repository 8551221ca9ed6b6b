"""The notation of OTVET_ANSWER_ONLY and OTVET_ANSWER_EXCEPT: "pipeline: Sales, Repairs; tag: vip". No I/O."""

import re
from collections.abc import Collection, Mapping

from otvet.i18n import _

PIPELINE, STAGE, TAG, CHANNEL = "pipeline", "stage", "tag", "channel"

_KEYS = {
    **dict.fromkeys(("pipeline", "pipelines", "воронка", "воронки"), PIPELINE),
    **dict.fromkeys(("stage", "stages", "этап", "этапы"), STAGE),
    **dict.fromkeys(("tag", "tags", "тег", "теги", "тэг", "тэги"), TAG),
    **dict.fromkeys(("channel", "channels", "канал", "каналы"), CHANNEL),
}
_SPACE = re.compile(r"[\s;]*")
_KEY = re.compile(r"([^\W\d_]+)\s*[:=]")
_QUOTED = r""" "((?:[^"]|"")*)" | '((?:[^']|'')*)' | «([^»]*)» """
_NAME = re.compile(rf"""[^\S\n]*+(?: {_QUOTED} | ((?!["'«])[^,;\n]*?) )[^\S\n]*(,|;|\n|\Z)""", re.VERBOSE)


def read(text: str) -> dict[str, tuple[str, ...]]:
    """The names and ids for PIPELINE, STAGE, TAG and CHANNEL, by kind; a kind that is not mentioned is left out.

    A name with a comma, a semicolon or a quotation mark must be in quotation marks; a mark inside is doubled.
    ValueError, with a sentence and an example, if the text cannot be read.
    """
    found: dict[str, tuple[str, ...]] = {}
    at = _end(_SPACE, text, 0)
    while at < len(text):
        key = _KEY.match(text, at)
        if key is None or key[1].lower() not in _KEYS:
            raise _unreadable(text[at:])
        names, end = _names(text, key.end())
        if not names:
            raise _unreadable(text[at:])
        kind = _KEYS[key[1].lower()]
        found[kind] = found.get(kind, ()) + names
        at = _end(_SPACE, text, end)
    return found


def write(names_of: Mapping[str, Collection[str]]) -> str:
    """The text from which ``read`` gets these names."""
    return "; ".join(f"{kind}: {', '.join(map(_quoted, names))}" for kind, names in names_of.items() if names)


def _names(text: str, at: int) -> tuple[tuple[str, ...], int]:
    """The names from ``at`` up to the next semicolon, line or end, and that position."""
    names: list[str] = []
    separator = ","
    while separator == ",":
        match = _NAME.match(text, at)
        if match is None:  # an unclosed quotation mark, or words after a closing one
            raise _unreadable(text[at:])
        in_double, in_single, in_angles, plain, separator = match.groups()
        if in_double is not None:
            name = in_double.replace('""', '"')
        elif in_single is not None:
            name = in_single.replace("''", "'")
        else:
            name = in_angles if in_angles is not None else plain
        if name.strip():
            names.append(name.strip())
        at = match.end()
    return tuple(names), at


def _quoted(name: str) -> str:
    if not re.search(r"[,;\n]", name) and name[0] not in "\"'«":
        return name
    return "'{}'".format(name.replace("'", "''"))


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


def _unreadable(rest: str) -> ValueError:
    sentence = _(
        '"{text}" is not understood; give pipeline:, stage:, tag: or channel: and its names, such as'
        " pipeline: Sales, Repairs; tag: 'vip, gold'; channel: telegram"
    )
    return ValueError(sentence.format(text=rest.strip().splitlines()[0][:60]))
