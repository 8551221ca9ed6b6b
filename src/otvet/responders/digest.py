"""The older part of a conversation in short, without a model: how it began, and the last of it."""

from collections.abc import Sequence

from otvet.responders.base import Line

LINE_CHARACTERS = 120


def digest(lines: Sequence[Line], before: str, characters: int) -> str:
    """At most so many characters: a summary of what was earlier, then the newest of ``lines``, each cut short.

    before: the summary or digest of what was said before the lines; it may take half of the room.
    """
    room_before = characters // 2 if lines else characters
    begun = before.strip() if len(before) <= room_before else shortened(before, room_before)
    room = characters - len(begun)
    kept: list[str] = []
    for line in reversed(lines):
        told = f"{line.sender}: {shortened(line.text, LINE_CHARACTERS)}"
        room -= len(told) + 1
        if room < 0:
            break
        kept.insert(0, told)
    return "\n".join(filter(None, [begun, *kept]))


def shortened(text: str, characters: int) -> str:
    """On one line, and if it is longer than that cut between two words."""
    flat = " ".join(text.split())
    return flat if len(flat) <= characters else flat[: max(characters - 1, 0)].rsplit(" ", 1)[0] + "…"
