"""Reads a price list: the text of a CSV file in, one row for each thing out, with the names of the columns."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO

from otvet.i18n import _

_NAMES = (
    re.compile(r"(?:назван|наименован|name\b|title\b)", re.IGNORECASE),
    re.compile(r"(?:товар|услуг|издели|позици|номенклатур|product|item|service)", re.IGNORECASE),
)
_OTHER_WORDS = re.compile(r"(?:иначе|also)$", re.IGNORECASE)

# "Цена за м²" and "Цена опт" say more than "price": such a column keeps its name beside the value.
_PRICE = re.compile(
    r"(?:цена|стоимость|price|cost)[\s,:(]*(?:в\s+)?(?P<currency>₽|руб\w*|р|rub|\$|usd|€|eur|₸|тенге|kzt)?[\s.)]*$",
    re.IGNORECASE,
)
_ANY_PRICE = re.compile(r"цен[аы]\b|стоимость|прайс|price|cost", re.IGNORECASE)
_OTHER_FIGURES = re.compile(
    r"\b(?:срок|дн|ден|час|мин|сек|лет|год|мес|недел|кол|шт|вес|кг|размер|длин|ширин|высот|объ|мощн|код|арт|тел|возраст"
    r"|day|hour|min|year|size|code|phone|age|qty|weight)|[№%]",
    re.IGNORECASE,
)
_CURRENCY = re.compile(
    r"(₽|руб\w*|\brub\b|\$|\busd\b|€|\beur\b|₸|тенге|\bkzt\b)(?:\s*(?:/|за)\s*(\w+))?", re.IGNORECASE
)
_SIGNS = {"usd": "$", "eur": "€", "тенге": "₸", "kzt": "₸", "$": "$", "€": "€", "₸": "₸"}

_NUMBER = re.compile(r"(\d{1,3}(?: \d{3})+|\d+)(?:[.,](\d{1,2}))?$")
_FIGURES = re.compile(r"\d[\d .,:/-]*(?:₽|руб\.?|р\.?)?$", re.IGNORECASE)
_FAILED_FORMULA = re.compile(r"#(?:#+|[A-ZА-Я]+(?:/[A-ZА-Я0])?[!?]?)$")
_LOST_ROUBLE = re.compile(r"(?:\d|\bцена,?)[ \u00a0(]*\?", re.IGNORECASE)
_SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)
_COMMENT = re.compile(r'\s*"?#')


class NoPriceList(ValueError):
    """The file cannot be read as a price list; the message says why."""


@dataclass(frozen=True, slots=True)
class Row:
    """One thing of the list.

    text: the text for a client: "name — price" and a line for each further column that is not empty.
    group: the name of the last row above that has nothing but a name, such as "Lamps"; often empty.
    other_words: further phrases to find it by, separated by commas; never shown.
    """

    name: str
    text: str
    group: str
    other_words: str


@dataclass(frozen=True, slots=True)
class PriceList:
    """The rows, and the numbers of the lines that are left out.

    A line is left out if it has no name, more cells than the header (an unquoted comma shifts them), or a failed
    formula.
    """

    rows: tuple[Row, ...]
    left_out: tuple[int, ...]


def decode(content: bytes) -> str:
    """The text of a file as spreadsheets save it: UTF-8, with or without a byte order mark, or Windows-1251."""
    for encoding in ("utf-8-sig", "cp1251"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text:  # a workbook or UTF-16 with the ending .csv
            break
        if encoding == "cp1251" and _LOST_ROUBLE.search(text):
            raise NoPriceList(_("Windows-1251 has no rouble sign and it was lost; save it as CSV UTF-8"))
        return text
    raise NoPriceList(_("it is neither UTF-8 nor Windows-1251 text; save it as CSV UTF-8"))


def read(text: str) -> PriceList:
    """All rows. The header is the first line with two or more cells; a title or a comment may stand above it."""
    lines = _lines(text, separator(text))
    header, title = None, ""
    for _number, cells in lines:
        if sum(map(bool, cells)) > 1 and not _COMMENT.match(cells[0]):
            header = cells
            break
        title += " ".join(cells)
    if header is None or any(map(_FIGURES.match, header)):
        raise NoPriceList(_("it has no first row with the names of the columns, such as: Название;Цена, ₽"))
    columns = Columns(header, currency_in(title))
    rows, left_out, group = [], [], ""
    for number, cells in lines:
        cells = _fitted(cells, len(header))
        if not any(cells):
            continue
        if len(cells) > len(header) or not cells[columns.name] or any(map(_FAILED_FORMULA.match, cells)):
            left_out.append(number)
        elif sum(map(bool, cells)) == 1:
            group = cells[columns.name]
        else:
            rows.append(columns.row(cells, group))
    if not rows:
        raise NoPriceList(_("it has no row with a name and anything beside it"))
    return PriceList(tuple(rows), tuple(left_out))


class Columns:
    """The meaning of each column, read from the header."""

    def __init__(self, header: Sequence[str], currency: str = "") -> None:
        self._header = header
        self.name = next((i for name in _NAMES for i, cell in enumerate(header) if name.match(cell)), 0)
        self._other_words = next((i for i, cell in enumerate(header) if _OTHER_WORDS.match(cell)), None)
        simple = ((i, _PRICE.match(cell)) for i, cell in enumerate(header) if i != self.name)
        price = next(((i, match["currency"] or "") for i, match in simple if match), None)
        self._price: int | None
        self._price, named = (price[0], price[1].lower()) if price else (None, "")
        self._currency = _sign(currency)
        self._sign = _sign(named) or self._currency

    @property
    def priced(self) -> bool:
        """Whether one column is the price."""
        return self._price is not None

    def row(self, cells: Sequence[str], group: str) -> Row:
        name = cells[self.name]
        price = _amount(cells[self._price], self._sign) if self._price is not None else ""
        lines = [f"{name} — {price}" if price else name]
        priced = bool(price)
        for i, (title, cell) in enumerate(zip(self._header, cells, strict=True)):
            if cell and i not in (self.name, self._price, self._other_words):
                is_price = bool(_ANY_PRICE.search(title)) or (bool(self._currency) and not _OTHER_FIGURES.search(title))
                value = _amount(cell, self._currency) if title and is_price else cell
                lines.append(f"{title}: {value}" if title else value)
                priced = priced or bool(_ANY_PRICE.search(title))
        words = ["цена " + re.sub("[,;]", " ", name)] if priced else []
        if self._other_words is not None:
            words.append(cells[self._other_words])
        return Row(name, "\n".join(lines), group, ", ".join(filter(None, words)))


def currency_in(text: str) -> str:
    """The currency that a title names, with what it is for; empty for none."""
    found = _CURRENCY.search(text)
    return found[0] if found else ""


def _sign(currency: str) -> str:
    """The sign of a currency, however it is written, with what it is for if that is said: "₽ за м2"; or empty."""
    found = _CURRENCY.search(currency)
    if found is None:
        return "₽" if currency.strip() else ""
    sign = _SIGNS.get(found[1].lower(), "₽")
    return f"{sign} за {found[2]}" if found[2] else sign


def separator(text: str) -> str:
    """The separator of the cells. One semicolon is enough: Russian spreadsheets use it, for numbers have commas."""
    if declared := _SEPARATOR_LINE.match(text):
        return declared[1]
    sample = next((line for line in text.splitlines() if not _COMMENT.match(line) and re.search("[;\t,]", line)), "")
    return ";" if ";" in sample else "\t" if "\t" in sample else ","


def _lines(text: str, cut_at: str) -> Iterator[tuple[int, list[str]]]:
    """The number of each line in the file and its cells, without line breaks in them."""
    reader = csv.reader(StringIO(text, newline=""), delimiter=cut_at, strict=True)
    try:
        for cells in reader:
            yield reader.line_num, [" ".join(cell.split()) for cell in cells]
    except csv.Error as error:
        raise NoPriceList(_("line {line} is not CSV: {cause}").format(line=reader.line_num, cause=error)) from error


def _fitted(cells: list[str], width: int) -> list[str]:
    """The cells in the header's width, because spreadsheets drop or add empty ones at the end."""
    while len(cells) > width and not cells[-1]:
        cells = cells[:-1]
    return cells + [""] * (width - len(cells))


def _amount(cell: str, sign: str) -> str:
    """A bare number as an amount, "1500,00" as "1 500 ₽"; any other text ("по запросу") unchanged."""
    number = _NUMBER.match(cell)
    if not number:
        return f"{cell} {sign}".rstrip() if set(cell) <= set("0123456789 .,") and cell else cell
    whole = f"{int(number[1].replace(' ', '')):,}".replace(",", " ")
    fraction = f",{number[2]}" if number[2] and int(number[2]) else ""
    return f"{whole}{fraction} {sign}".rstrip()
