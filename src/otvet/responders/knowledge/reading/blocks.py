"""What every kind of file is read into: headings, paragraphs, list items and tables, in their order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["heading", "text", "item", "table"]


class Unreadable(ValueError):
    """The file cannot be used; the message says why, for people."""


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a file.

    level: of a heading, 1 for the highest; of a list item, 0 for the outermost. lead: the bold words that a text begins
    with. rows: of a table, merged cells filled; the head is among them. context: what stands beside a table, such as
    the sheet's name, which may name its currency.
    """

    kind: Kind
    text: str = ""
    level: int = 0
    lead: str = ""
    rows: tuple[tuple[str, ...], ...] = ()
    context: str = ""


def one_line(text: str) -> str:
    """The text with each run of spaces and line breaks as one space."""
    return " ".join(text.split())


def table(rows: Sequence[Sequence[str]], context: str = "") -> Block:
    """A table whose cells are one line each."""
    return Block("table", rows=tuple(tuple(one_line(cell) for cell in row) for row in rows), context=context)
