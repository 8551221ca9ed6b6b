"""Spreadsheets to blocks: each sheet is a heading and its table, with merged cells filled and dates as people write."""

import csv
import io
from datetime import date, datetime, time, timedelta
from typing import Any

from otvet.i18n import _
from otvet.responders.knowledge.reading.blocks import Block, Unreadable, table

_MOST_ROWS, _MOST_COLUMNS, _MOST_SHEETS = 20_000, 60, 50


def blocks(content: bytes) -> list[Block]:
    """The blocks of an xlsx, xls or ods file."""
    from python_calamine import CalamineWorkbook  # not at the top: who only reads the database needs no parser

    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(content))
        sheets = [(name, book.get_sheet_by_name(name)) for name in book.sheet_names[:_MOST_SHEETS]]
        whole = [(name, _rows(sheet) if sheet.height <= _MOST_ROWS else None) for name, sheet in sheets]
    except Exception as error:  # the library raises errors of its own of many kinds
        raise Unreadable(_("it is no whole spreadsheet: {cause}").format(cause=error)) from error
    found: list[Block] = []
    for name, rows in whole:
        if rows is None:
            raise Unreadable(_("the sheet {name} has more than {most} rows").format(name=name, most=_MOST_ROWS))
        if any(map(any, rows)):
            found += (Block("heading", name, level=1), table(rows, context=name))
    return found


def _rows(sheet: Any) -> list[list[str]]:
    """The cells of a sheet as text, those that are merged each with the text of the first."""
    rows = [[_written(cell) for cell in row[:_MOST_COLUMNS]] for row in sheet.to_python(skip_empty_area=False)]
    for (top, left), (bottom, right) in sheet.merged_cell_ranges or ():
        if top < len(rows) and left < len(rows[top]):
            for row in rows[top : bottom + 1]:
                row[left : right + 1] = [rows[top][left]] * len(row[left : right + 1])
    return rows


def of_csv(text: str, separator: str) -> list[Block]:
    """The blocks of a CSV file."""
    rows = [row[:_MOST_COLUMNS] for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator)]
    if len(rows) > _MOST_ROWS:
        raise Unreadable(_("it has more than {most} rows").format(most=_MOST_ROWS))
    return [table(rows)] if any(any(map(str.strip, row)) for row in rows) else []


def _written(cell: object) -> str:
    """A cell as a person reads it."""
    match cell:
        case bool():
            return _("yes") if cell else _("no")
        case float():
            return f"{cell:.10g}" if cell != int(cell) else str(int(cell))
        case datetime():
            return cell.strftime("%d.%m.%Y" if cell.time() == time() else "%d.%m.%Y %H:%M")
        case date():
            return cell.strftime("%d.%m.%Y")
        case time():
            return cell.strftime("%-H:%M")
        case timedelta():
            minutes = int(cell.total_seconds()) // 60
            return f"{minutes // 60}:{minutes % 60:02}"
    return str(cell).strip()
