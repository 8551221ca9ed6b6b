"""The delivery methods by channel: as a note in the deal, or into the client's chat. No I/O."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TypeVar

Found = TypeVar("Found")

NOTE, SALESBOT, WIDGET, TALK = "note", "salesbot", "widget", "talk"
WAYS = (NOTE, SALESBOT, WIDGET, TALK)


def ways_in(text: str) -> dict[str, str]:
    """The methods of "telegram=salesbot, *=note", or of one word for all channels; ValueError for another form."""
    ways: dict[str, str] = {}
    for item in filter(None, (item.strip() for item in text.lower().split(","))):
        channel, equals, way = (piece.strip() for piece in item.partition("="))
        if not equals:
            channel, way = "*", channel
        if way not in WAYS or not channel or channel in ways:
            raise ValueError(item)
        ways[channel] = way
    if not ways:
        raise ValueError(text)
    return ways


def way_for(ways: Mapping[str, str], origin: str) -> str:
    """The method for a channel: as set for it, else for ``*``, else a note."""
    return of_channel(ways, origin) or NOTE


def of_channel(table: Mapping[str, Found], origin: str) -> Found | None:
    """A channel's value in a table of patterns such as ``instagram*``; the longest pattern that fits wins."""
    fitting = [pattern for pattern in table if fnmatchcase(origin.lower(), pattern)]
    return table[max(fitting, key=len)] if fitting else None
