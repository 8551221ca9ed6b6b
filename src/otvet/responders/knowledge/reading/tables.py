"""A table to what a person would quote of it: a row with its head, or the whole of a small one as sentences."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from otvet.responders.knowledge import prices

Cells = tuple[str, ...]
_NUMERIC = re.compile(r"^[\d  .,:/–—-]*\d[\d  .,:/–—-]*(?:₽|руб\.?|р\.?|%|шт\.?|мин\.?|ч\.?)?$", re.IGNORECASE)
_TIME = re.compile(r"\b\d{1,2}[:.]\d{2}\b|выходн|closed|круглосуточно", re.IGNORECASE)
_DAY = re.compile(
    r"\b(?:пн|вт|ср|чт|пт|сб|вс|понедельник|вторник|сред[аы]|четверг|пятниц|суббот|воскресень|будн|выходн)", re.I
)
_MOST_HOURS = 10


@dataclass(frozen=True, slots=True)
class Table:
    """title: what stands above the head. hours: it says when something is open."""

    title: str
    lines: tuple[prices.Row, ...]
    hours: bool

    @property
    def whole(self) -> str:
        """All rows, a line each."""
        return "\n".join(line.text for line in self.lines)


def understood(rows: Sequence[Cells], context: str = "") -> Table | None:
    """The table, if it has a head and a row below it. context: what stands beside it, which may name the currency."""
    width = max(map(len, rows), default=0)
    filled = [tuple(row) + ("",) * (width - len(row)) for row in rows]
    there = [row for row in filled if any(row)]
    used = [at for at in range(width) if any(row[at] for row in there)]
    there = [tuple(row[at] for at in used) for row in there]
    titles: list[str] = []
    while there and len(set(filter(None, there[0]))) == 1 and len(there[0]) > 1:
        titles.append(next(filter(None, there.pop(0))))
    if not there:
        return None
    title = "\n".join(titles)
    if _is_data(there[0]):
        head: Cells = ("",) * len(there[0])
    else:
        head = there.pop(0)
        # A head of two rows: names above that span some columns, and names of their own below.
        spans = len(set(filter(None, head))) < len(list(filter(None, head)))
        if there and (spans or not all(head)) and not _is_data(there[0]) and len(there) > 1:
            head = tuple(_both(*pair) for pair in zip(head, there.pop(0), strict=True))
    lines = tuple(_lines(there, head, f"{context} {title}"))
    if not lines:
        return None
    hours = len(lines) <= _MOST_HOURS and sum(
        bool(_DAY.search(line.text) and _TIME.search(line.text)) for line in lines
    ) * 2 > len(lines)
    return Table(title, lines, hours)


def _is_data(row: Cells) -> bool:
    return any(map(_NUMERIC.match, filter(None, row[1:]))) or bool(_DAY.match(row[0]) and _TIME.search(" ".join(row)))


def _both(above: str, below: str) -> str:
    if not above or not below or above == below:
        return above or below
    return f"{above}, {below}"


def _lines(rows: Sequence[Cells], head: Cells, about: str) -> Iterator[prices.Row]:
    columns = prices.Columns(head, prices.currency_in(" ".join((*head, about))))
    group = ""
    for cells in rows:
        if len(set(filter(None, cells))) == 1 and len(cells) > 1:  # one cell, or one merged over the row
            group = next(filter(None, cells))
        elif cells[columns.name]:
            row = columns.row(cells, group)
            pair = len(cells) == 2 and not columns.priced and "\n" in row.text
            yield replace(row, text=f"{row.name}: {cells[1 - columns.name]}") if pair else row
