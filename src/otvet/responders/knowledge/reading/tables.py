"""A table to what a person would quote of it: a row with its head, or the whole of a small one as sentences."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from otvet.responders.knowledge import prices

Cells = tuple[str, ...]
_NUMERIC = re.compile(r"^[\d  .,:/–—-]*\d[\d  .,:/–—-]*(?:₽|руб\.?|р\.?|%|шт\.?|мин\.?|ч\.?)?$", re.IGNORECASE)
_TIME = re.compile(r"\b\d{1,2}[:.]\d{2}\b|выходн|closed|круглосуточно", re.IGNORECASE)
_DAY = re.compile(
    r"\b(?:пн|вт|ср|чт|пт|сб|вс|понедельник|вторник|сред[аы]|четверг|пятниц|суббот|воскресень|будн|выходн)", re.I
)
_MOST_HOURS = 10


@dataclass(frozen=True, slots=True)
class Line:
    """A row as a client reads it. name: what it is about. group: the row above that has nothing but a name."""

    name: str
    text: str
    group: str
    other_words: str
    number: int


@dataclass(frozen=True, slots=True)
class Table:
    """title: what stands above the head. head: the names of the columns. hours: it says when something is open."""

    title: str
    head: Cells
    lines: tuple[Line, ...]
    hours: bool

    @property
    def whole(self) -> str:
        """All rows, a line each."""
        return "\n".join(line.text for line in self.lines)


def understood(rows: Sequence[Cells], context: str = "") -> Table | None:
    """The table, if it has a head and a row below it. context: what stands beside it, which may name the currency."""
    width = max(map(len, rows), default=0)
    filled = [tuple(row) + ("",) * (width - len(row)) for row in rows]
    numbered = [(number, row) for number, row in enumerate(filled, 1) if any(row)]
    used = [at for at in range(width) if any(row[at] for _number, row in numbered)]
    numbered = [(number, tuple(row[at] for at in used)) for number, row in numbered]
    titles: list[str] = []
    while numbered and len(set(filter(None, numbered[0][1]))) == 1 and len(numbered[0][1]) > 1:
        titles.append(next(filter(None, numbered.pop(0)[1])))
    if not numbered:
        return None
    title = "\n".join(titles)
    if _is_data(numbered[0][1]):
        head: Cells = ("",) * len(numbered[0][1])
    else:
        head = numbered.pop(0)[1]
        # A head of two rows: names above that span some columns, and names of their own below.
        spans = len(set(filter(None, head))) < len(list(filter(None, head)))
        if numbered and (spans or not all(head)) and not _is_data(numbered[0][1]) and len(numbered) > 1:
            head = tuple(_both(*pair) for pair in zip(head, numbered.pop(0)[1], strict=True))
    lines = tuple(_lines(numbered, head, f"{context} {title}"))
    if not lines:
        return None
    hours = len(lines) <= _MOST_HOURS and sum(
        bool(_DAY.search(line.text) and _TIME.search(line.text)) for line in lines
    ) * 2 > len(lines)
    return Table(title, head, lines, hours)


def _is_data(row: Cells) -> bool:
    return any(map(_NUMERIC.match, filter(None, row[1:]))) or bool(_DAY.match(row[0]) and _TIME.search(" ".join(row)))


def _both(above: str, below: str) -> str:
    if not above or not below or above == below:
        return above or below
    return f"{above}, {below}"


def _lines(numbered: Sequence[tuple[int, Cells]], head: Cells, about: str) -> Iterator[Line]:
    columns = prices.Columns(head, prices.currency_in(" ".join((*head, about))))
    group = ""
    for number, cells in numbered:
        if len(set(filter(None, cells))) == 1 and len(cells) > 1:  # one cell, or one merged over the row
            group = next(filter(None, cells))
        elif cells[columns.name]:
            row = columns.row(cells, group)
            pair = row.text.split("\n") if len(cells) == 2 and not columns.priced else []
            text = f"{row.name}: {cells[1 - columns.name]}" if len(pair) == 2 else row.text
            yield Line(row.name, text, group, row.other_words, number)
