"""Finds personal data in a text: phones, e-mails, bank cards, and Russian passports, SNILS and INN. No I/O.

The numbers of things - orders, parcels, articles, devices - are not personal. The check digit of a number, its shape
and the words before it tell its kind.
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from otvet.guard import links, phones
from otvet.guard.fact import INVISIBLE, plain

_GAP = r"[\s\u2010-\u2015-]{0,3}"
_LATIN_EMAIL = re.compile(r"[A-Za-z0-9](?:[\w.+%-]*[\w+-])?@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,24}", re.ASCII)
_CARD = re.compile(rf"(?<![\d+])(?<!\d[.,/-])[2-6](?:{_GAP}\d){{12,18}}(?!\d)")
_SNILS = re.compile(r"(?<!\d)\d{3}[ -]\d{3}[ -]\d{3}[ -]\d{2}(?!\d)")
_ELEVEN = re.compile(r"(?<!\d)\d{11}(?!\d)")
_TWELVE = re.compile(r"(?<!\d)\d{12}(?!\d)")
_PASSPORT = re.compile(
    rf"(?<![\d+.,/-])(\d{{2}}[\s-]?\d{{2}})(?:[\s,{phones.JOINT}]*(?:№|номер|n|no\.?):?\s?|[\s-]?{phones.JOINT}?)"
    r"(\d{3}\s?\d{3})(?![\d.,/-]?\d)",
    re.IGNORECASE,
)
_PASSPORT_SHAPE = re.compile(r"\d{2}\s\d{2}\s\d{6}|\d{4}\s\d{6}|\d{4}\s?№\s?\d{6}")
_FOREIGN_PASSPORT = re.compile(
    r"(?<![\w+.,/-])(?:\d{2}\s?№?\s?\d{7}|[A-Z]{1,2}\s?\d{6,8}|\d{9})(?!\w|[.,/-]\d)", re.IGNORECASE
)
_PASSPORT_WORD = re.compile(r"паспорт|загран|passport|сери[яию]", re.IGNORECASE)
_OTHER_PASSPORT = re.compile(
    r"техническ\w+ паспорт|паспорт\w* (?:изделия|товара|прибора|объекта|сделки)", re.IGNORECASE
)
_SNILS_WORD = re.compile(r"снилс|snils", re.IGNORECASE)
_INN_WORD = re.compile(r"\bинн\b", re.IGNORECASE)
_CARD_WORD = re.compile(r"карт(?:а|у|ы|е|ой)\b(?!\s+лояльн)|\bcard\b", re.IGNORECASE)

_DIGIT = re.compile(r"\d")
WINDOW = 40
"""The characters before a number in which words for its kind are looked for."""


class Found(NamedTuple):
    """A piece of personal data in a text. ``value``: its normal form, for comparing."""

    start: int
    end: int
    kind: str
    value: str


def find(text: str, before: str = "") -> list[Found]:
    """The personal data of a text, in its order and not overlapping.

    before: the text or message right before it. It may name the kind of a number, or begin a passport's number.
    """
    before = f"{before}{phones.JOINT}" if before else ""
    plain_text = plain(INVISIBLE.sub(" ", before + text))  # positions do not change
    found: list[Found] = []
    for finder in (_emails, _cards, _numbered_papers, _passports, _phones):
        for piece in finder(plain_text):
            if all(piece.end <= other.start or piece.start >= other.end for other in found):
                found.append(piece)
    return sorted(_after(len(before), plain_text, found))


def _after(start: int, text: str, found: Iterable[Found]) -> Iterator[Found]:
    """The pieces after ``start``, with positions from there, and the second half of a passport's number across it."""
    for piece in found:
        digit = _DIGIT.search(text, start, piece.end)
        if piece.start >= start:
            yield piece._replace(start=piece.start - start, end=piece.end - start)
        elif piece.kind == "PASSPORT" and digit:
            half = _digits(text[start : piece.end])
            yield Found(digit.start() - start, piece.end - start, piece.kind, half)


def _emails(text: str) -> Iterator[Found]:
    for email in links.find_emails(text):
        # Words of the sentence may be joined to it: "почта—ivan@mail.ru.Жду".
        latin = _LATIN_EMAIL.search(text, email.start, email.end)
        start, end = latin.span() if latin else (email.start, email.end)
        yield Found(start, end, "EMAIL", latin[0].lower() if latin else email.address)


def _cards(text: str) -> Iterator[Found]:
    for match in _CARD.finditer(text):
        start, written = match.start(), match[0]
        of_a_card = bool(_CARD_WORD.search(_before(text, start)))
        # The date after the number may look like a part of it.
        ends = [end for end in range(len(written), 12, -1) if end == len(written) or not written[end].isdigit()]
        end = next((end for end in ends if written[end - 1].isdigit() and _is_card(_digits(written[:end]))), 0)
        if of_a_card and not end and len(_digits(written)) == 16:  # a mistyped digit, but still a card's number
            end = len(written)
        if end and (of_a_card or not phones.is_number_of_something(text, start)):
            yield Found(start, start + end, "CARD", _digits(written[:end]))


def _numbered_papers(text: str) -> Iterator[Found]:
    for match in _SNILS.finditer(text):
        if _is_snils(digits := _digits(match[0])):
            yield Found(match.start(), match.end(), "SNILS", digits)
    for match in _ELEVEN.finditer(text):
        if _SNILS_WORD.search(_before(text, match.start())) and _is_snils(match[0]):
            yield Found(match.start(), match.end(), "SNILS", match[0])
    for match in _TWELVE.finditer(text):
        named = phones.is_number_of_something(text, match.start()) and not _INN_WORD.search(
            _before(text, match.start())
        )
        if not named and _is_inn(match[0]):
            yield Found(match.start(), match.end(), "INN", match[0])


def _passports(text: str) -> Iterator[Found]:
    for match in _PASSPORT.finditer(text):
        if _is_passport(text, match):
            yield Found(match.start(), match.end(), "PASSPORT", _digits(match[0]))
    for match in _FOREIGN_PASSPORT.finditer(text):
        if _of_passport(text, match.start()):
            yield Found(match.start(), match.end(), "PASSPORT", re.sub(r"\W", "", match[0]).upper())


def _is_passport(text: str, match: re.Match[str]) -> bool:
    if _of_passport(text, match.start()):
        return True
    return bool(_PASSPORT_SHAPE.fullmatch(match[0])) and not phones.is_number_of_something(text, match.start())


def _of_passport(text: str, start: int) -> bool:
    before = _before(text, start)
    words = list(_PASSPORT_WORD.finditer(before))
    if not words or _OTHER_PASSPORT.search(before):
        return False
    since = before[words[-1].end() :]
    return not phones.is_number_of_something(since, len(since))


def _phones(text: str) -> Iterator[Found]:
    for phone in phones.find(text):
        yield Found(phone.start, phone.end, "PHONE", phone.number)


def _is_card(digits: str) -> bool:
    length = len(digits)
    if digits.startswith(("34", "37")):
        known = length == 15
    elif digits.startswith(("5", "6")):
        known = length in (16, 18, 19)
    else:
        known = length == 16 and digits[0] in "245"
    return known and _luhn(digits)


def _luhn(digits: str) -> bool:
    total = 0
    for index, char in enumerate(reversed(digits)):
        value = int(char) * (1 + index % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0


def _is_snils(digits: str) -> bool:
    total = sum(int(char) * (9 - index) for index, char in enumerate(digits[:9]))
    return total % 101 % 100 == int(digits[9:])


def _is_inn(digits: str) -> bool:
    """Whether the two check digits of a person's taxpayer number are right."""
    weights = (3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8)
    values = [int(char) for char in digits]
    first = sum(weight * value for weight, value in zip(weights[1:], values[:10], strict=True)) % 11 % 10
    second = sum(weight * value for weight, value in zip(weights, values[:11], strict=True)) % 11 % 10
    return [first, second] == values[10:]


def _before(text: str, start: int) -> str:
    return text[max(0, start - WINDOW) : start]


def _digits(written: str) -> str:
    return "".join(char for char in written if char.isdigit())
