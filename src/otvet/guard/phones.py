"""Finds telephone numbers in a text, in all their spellings. No I/O.

Regular expressions find the candidates, and the library ``phonenumbers`` knows which of them exist. The library's own
search is not used: it is slower, and takes order numbers for telephone numbers.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import phonenumbers

REGION = "RU"
"""The country of a number without a country code; a number that begins with 80 may be from Belarus."""

JOINT = "\0"
"""The separator between a text and the message before it: no telephone number goes across it."""

_GAP = r"[\s().\u2010-\u2015-]{0,3}"
_INTERNATIONAL = re.compile(rf"(?<![\w+])\+\d(?:{_GAP}\d){{6,14}}")
_NATIONAL = re.compile(rf"(?<!\d)(?<!\d[.,-])[78](?:{_GAP}\d){{10}}(?!\d)")
_NEIGHBOUR = re.compile(rf"(?<!\d)(?:375|380|998|996|992|994|995|374|373)(?:{_GAP}\d){{8,9}}(?!\d)")
_WITH_CODE = re.compile(rf"(?<![\d+])(?<!\d[.,-])\(?[2-9]\d{{2,4}}\)?(?:{_GAP}\d){{5,7}}(?!\d)")
_AMERICAN = re.compile(r"\(?\d{3}\)?[\s.-]\d{3}[.-]\d{4}")
_LOCAL = re.compile(r"(?<![\d-])\d{3}[-\u2010-\u2015]\d{2}[-\u2010-\u2015]\d{2}(?!-?\d)")

_AFTER = re.compile(
    r"\s*(?:[₽$€₸%]|(?:руб(?:л[а-яё]*)?|р|тыс(?:яч[а-яё]*)?|млн|шт(?:ук[а-яё]*)?|км|сум(?:а|ов)?|тенге|USD|EUR)(?![\w-]))",
    re.IGNORECASE,
)
_THOUSANDS = re.compile(r"\d{1,3}(?:\s\d{3})+")
# Things that have a number, and kinds of numbers. They count only on the line of the number.
_THING = (
    r"(?<!\w)(?:(?:пред)?заказ(?:а|у|ом|е)?|накладн\w+|отправлени\w|посылк\w|сч[её]т\w*|договор\w*|заявк\w|квитанци\w"
    r"|сделк\w|чек\w?|сери\w|карт\w+|\w*паспорт\w*|рейс|версия|модель"
    r"|orders?|invoice|item|ticket|parcel|passport|version)"
)
_CODE = r"(?<!\w)(?:трек\w*|артикул\w*|арт|(?:про|штрих-?)?код\w*|imei|инн|огрн|кпп|бик|снилс|вин|vin|track\w*|sku)"
_BETWEEN = rf"[ .:#№={JOINT}-]*"
_NUMBER_OF = re.compile(
    rf"(?:{_THING}|{_CODE}|(?<!\w)id){_BETWEEN}(?:(?:номер\w?|number|no|код|почты|сдэк|cdek|id|лояльности){_BETWEEN})*\Z",
    re.IGNORECASE,
)
_SURELY_ITS_NUMBER = re.compile(
    rf"(?:{_CODE}|(?<!\w)(?:номер\w?|number|no\.?|id)\s{_THING}|{_THING}\s?(?:номер\w?|number|no|id|[№#])){_BETWEEN}\Z",
    re.IGNORECASE,
)
_CALL = re.compile(r"тел\b|телеф|звон|позвон|моб|whats|ватс|вотс|вайбер|viber|phone|call\b|cell", re.IGNORECASE)

_WINDOW = 40  # the characters before a number in which words for its kind are looked for


class Phone(NamedTuple):
    """A telephone number in a text. ``number``: E.164, or only digits where the area code is missing."""

    start: int
    end: int
    number: str


def find(text: str) -> Iterator[Phone]:
    """The telephone numbers in their order, not overlapping; a word before a number may make it an order's instead."""
    position = 0
    for match in _candidates(text):
        if match.start() >= position and (phone := _phone(text, match)):
            position = phone.end
            yield phone


def is_number_of_something(text: str, start: int, words: re.Pattern[str] = _NUMBER_OF) -> bool:
    """Whether the words before ``start`` say that the number belongs to an order, a parcel or another thing."""
    before = text[max(0, start - _WINDOW) : start]
    return bool(words.search(before)) and not _CALL.search(before)


def _candidates(text: str) -> list[re.Match[str]]:
    patterns = (_INTERNATIONAL, _NATIONAL, _NEIGHBOUR, _WITH_CODE, _LOCAL)
    found = [match for pattern in patterns for match in pattern.finditer(text)]
    return sorted(found, key=lambda match: (match.start(), -match.end()))


def _phone(text: str, match: re.Match[str]) -> Phone | None:
    start, written = match.start(), match[0]
    if match.re is _INTERNATIONAL:
        return _international(start, written)
    whole = match.re is _NATIONAL  # too long for an amount, and seldom valid by chance
    if _THOUSANDS.fullmatch(written) or (not whole and _AFTER.match(text, match.end())):
        return None
    if is_number_of_something(text, start, _SURELY_ITS_NUMBER if whole else _NUMBER_OF):
        return None
    if match.re is _LOCAL:
        return Phone(start, match.end(), _digits(written))
    number = _number(match.re, written)
    if number is None:
        return None
    # An opening bracket that is not closed inside belongs to the sentence.
    inside = written.startswith("(") and ")" not in written
    return Phone(start + inside, match.end(), number)


def _international(start: int, written: str) -> Phone | None:
    """The longest beginning that is a valid number: another number may follow without punctuation."""
    ends = [index for index in range(len(written), 7, -1) if index == len(written) or not written[index].isdigit()]
    for end in ends:
        if written[end - 1].isdigit() and (number := _valid("+" + _digits(written[:end]))):
            return Phone(start, start + end, number)
    return None


def _number(pattern: re.Pattern[str], written: str) -> str | None:
    digits = _digits(written)
    if pattern is _NATIONAL:
        return _valid(digits) or _valid(digits, "BY")
    if pattern is _NEIGHBOUR:
        return _valid("+" + digits)
    if len(digits) != 10 or (written.isdigit() and not digits.startswith("9")):
        return None
    if number := _valid(digits):
        return number
    # The shape is enough for an American number that the library does not know.
    return f"+1{digits}" if _AMERICAN.fullmatch(written) else None


def _valid(number: str, region: str = REGION) -> str | None:
    try:
        parsed = phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(parsed):
        return None
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def _digits(written: str) -> str:
    return "".join(char for char in written if char.isdigit())
