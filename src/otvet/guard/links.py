"""Finds web and mail addresses in a text, in all their spellings. No I/O."""

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import phonenumbers

_COMMON = """
com net org info biz pro shop store online site website app dev club top xyz space tech live link page cloud
agency academy group studio market media art bar cafe center company digital email events express fit fun global
gold guru help host house ink life ltd marketing menu moda money network news one photo pizza plus pub rent
repair rest review run sale salon school services solutions support systems team tips today tools tours trade
travel video vip website wiki work works world zone clinic dental care design energy expert fashion flowers
fitness example test su eu uk рф рус онлайн сайт москва дети орг ком
"""
# The codes of countries, and of the other domains those that companies use.
_DOMAINS = frozenset(_COMMON.split()) | {code.lower() for code in phonenumbers.SUPPORTED_REGIONS}

_HOST = r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+([^\W\d_]{2,24})"
_PATH = r"(?::\d{2,5})?(?:[/?#][^\s<>\"«»\x00]*)?"
_LINK = re.compile(rf"(?<![\w@.-])(?:(https?|ftp)://)?({_HOST})({_PATH})", re.IGNORECASE)
_HANDLE = re.compile(r"(?<![\w@./])@([A-Za-z]\w{3,31})(?![\w@]|\.\w)")
_AT = r"(?:\s?@\s?|\s?[\[(]\s?(?:at|собака|собачка)\s?[\])]\s?|\s(?:собака|собачка)\s)"
_EMAIL = re.compile(
    rf"(?<![\w.+-])([\w+-](?:[\w.+%-]{{0,62}}[\w+-])?){_AT}((?:[^\W_][\w-]*\.)+([^\W\d_]{{2,24}}))(?![\w-])",
    re.IGNORECASE,
)
_TELEGRAM = re.compile(r"(?:t|telegram)\.me/([a-z]\w{3,31})")
_OF_PHONE = re.compile(r"(?:wa\.me/|api\.whatsapp\.com/send[/?]+phone=|t\.me/)\+?(\d{10,15})(?:[/?&].*)?")
_TRAILING = ".,;:!?)]}*_'\"»…"


class Address(NamedTuple):
    """An address in a text. ``address``: its normal form without optional parts such as the scheme, for comparing."""

    start: int
    end: int
    address: str


def find_emails(text: str) -> Iterator[Address]:
    """Mail addresses, also with spaces around the "@" or with a word for it."""
    if "@" not in text and "соба" not in text.lower() and "at" not in text.lower():
        return
    for match in _EMAIL.finditer(text):
        plain = match.end(1) + 1 == match.start(2)
        if plain or match[3].lower() in _DOMAINS:
            yield Address(match.start(), match.end(), f"{match[1]}@{match[2]}".lower())


def find_links(text: str) -> Iterator[Address]:
    """Web addresses, with and without a scheme, and Telegram names. text: without mail addresses."""
    for match in _LINK.finditer(text):
        if _is_link(match):
            written = match[0].rstrip(_TRAILING)
            yield Address(match.start(), match.start() + len(written), _plain(written))
    for match in _HANDLE.finditer(text):
        yield Address(match.start(), match.end(), f"t.me/{match[1].lower()}")


def root_of(address: str) -> str:
    """The host of a link."""
    return re.split(r"[/?#]", address, maxsplit=1)[0]


def phone_of(address: str) -> str:
    """The telephone number, E.164, that a messenger's link leads to; empty if it leads elsewhere."""
    match = _OF_PHONE.fullmatch(address)
    return f"+{match[1]}" if match else ""


def _is_link(match: re.Match[str]) -> bool:
    scheme, host, domain = match[1], match[2], match[3]
    if scheme:
        return True
    if domain[0].isupper() and not host.isupper():  # "Хорошо.Да": a space is missing
        return False
    return domain.lower() in _DOMAINS and (host.isascii() or not domain.isascii())


def _plain(written: str) -> str:
    address = re.sub(r"^(?:https?|ftp)://", "", written.lower())
    host = root_of(address)
    rest = address[len(host) :]
    host = host.removeprefix("www.")
    if not host.isascii():
        with suppress(UnicodeError):
            host = host.encode("idna").decode()
    plain = (host + rest).rstrip("/")
    handle = _TELEGRAM.fullmatch(plain)
    return f"t.me/{handle[1]}" if handle else plain
