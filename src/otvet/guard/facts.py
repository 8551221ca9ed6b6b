"""Reads all facts of a text: addresses first, then dates, then numbers. No I/O."""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from otvet.guard import free, links, moments, numbers, phones, weekdays
from otvet.guard.fact import Fact, Keys, blank, lower

# The code of a parcel, an article or a discount: compared letter by letter.
_CODE = re.compile(r"(?<![\w-])(?:[A-ZА-ЯЁ]{2,}\d{2,}[A-ZА-ЯЁ0-9]*|\d{12,})(?![\w-])")
_PROMO = re.compile(
    r"(?i:промо-?код\w*|купон\w*|код\w*|promo ?code|coupon|code)(?:\s?[:\-«\"“]|\s)\s?[«\"“]?"
    r"([A-ZА-ЯЁ][A-ZА-ЯЁ0-9_-]{2,}|[^\W\d_]+\d\w*)(?![\w-])"
)
_ACCOUNT = re.compile(
    r"(?<![\w+-])(?:\d{4}(?:([ -])\d{4})(?:\1\d{4}){2}(?:\1\d{1,4})?|\d{20}"
    r"|(?:(?<=карта )|(?<=карт[уые] )|(?<=card ))\d{16})(?![\w-])",
    re.IGNORECASE,
)
"""A bank card or an account. Sixteen digits in one piece are a parcel's number, unless a word before says "card"."""

_SHOUTED = re.compile(r"(?<![\w-])[A-ZА-ЯЁ]{3,}(?![\w-])")
_NAMES = re.compile(r"(?<!\w)(?:[2-5]G|[2-5]D|[48]K)(?!\w)")  # names of technologies, not grams or thousands
_WORD_WITH_DIGITS = re.compile(r"[^\W\d]*\d\w*")


_CLAIMS = ("price", "percent", "code")


def read(text: str) -> list[Fact]:
    """The facts of a text, in their order. text: the result of ``fact.plain``."""
    found, rest = _before_numbers(text)
    return sorted([*found, *numbers.read(rest), *free.read(rest)], key=lambda fact: fact.start)


def _before_numbers(text: str) -> tuple[list[Fact], str]:
    """The addresses and dates of a text, and the remaining text in lower case."""
    found = list(_addresses(text))
    names = [match.span() for match in _NAMES.finditer(text)]
    rest = lower(blank(text, names + [(fact.start, fact.end) for fact in found]))
    when = list(moments.read(rest))
    when += weekdays.read(blank(rest, [(fact.start, fact.end) for fact in when]))
    return found + when, blank(rest, [(fact.start, fact.end) for fact in when])


def known(texts: Iterable[str]) -> Keys:
    """The keys of all facts and words with digits in these texts."""
    return frozenset().union(*map(_keys, texts))


def claims(texts: Iterable[str]) -> Keys:
    """The keys of the prices, discounts and promo codes in a client's texts, bare numbers included."""
    named = (fact.gives for text in texts for fact in read(text) if fact.kind in _CLAIMS)
    return frozenset().union(*named, *(numbers.haggled(_before_numbers(text)[1]) for text in texts))


def known_for_long(texts: Iterable[str]) -> Keys:
    """Like ``known``, for texts that many questions share, such as passages: their keys are cached."""
    return frozenset().union(*map(_cached_keys, texts))


def _keys(text: str) -> Keys:
    folded, found = lower(text), read(text)
    return frozenset(
        {
            *(key for fact in found for key in fact.gives),
            *numbers.implied(folded),
            *free.implied(folded),
            *numbers.figures(blank(folded, [(fact.start, fact.end) for fact in found])),
            *(("code", word.casefold()) for word in _WORD_WITH_DIGITS.findall(text) + _SHOUTED.findall(text)),
        }
    )


_cached_keys = lru_cache(maxsize=512)(_keys)


def _addresses(text: str) -> Iterator[Fact]:
    spans: list[tuple[int, int]] = []
    for email in links.find_emails(text):
        spans.append(email[:2])
        yield _same("email", *email)
    text = blank(text, spans)
    spans = []
    for link in links.find_links(text):
        spans.append(link[:2])
        site: Keys = frozenset({("link", links.root_of(link.address))})
        same: Keys = frozenset({("link", link.address)})
        of_phone: Keys = frozenset({("phone", called)} if (called := links.phone_of(link.address)) else ())
        # The address of a page names its site too.
        gives = same | of_phone | (site if "t.me" not in link.address else frozenset())
        yield Fact("link", link.start, link.end, (same | of_phone,), gives)
    text = blank(text, spans)
    spans = []
    for match in _PROMO.finditer(text):
        spans.append(match.span(1))
        yield _same("code", *match.span(1), match[1])
    for match in _ACCOUNT.finditer(text):
        spans.append(match.span())
        yield _same("account", *match.span(), re.sub(r"\D", "", match[0]))
    text = blank(text, spans)
    for phone in phones.find(text):
        endings: Keys = frozenset(("phone", phone.number[-length:]) for length in (6, 7) if len(phone.number) > length)
        number: Keys = frozenset({("phone", phone.number)})
        yield Fact("phone", phone.start, phone.end, (number,), number | endings)
    for match in _CODE.finditer(text):
        yield _same("number", *match.span(), match[0], name="code")


def _same(kind: str, start: int, end: int, value: str, name: str = "") -> Fact:
    key: Keys = frozenset({(name or kind, value.casefold())})
    return Fact(kind, start, end, (key,), key)
