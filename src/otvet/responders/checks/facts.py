"""All facts of a text that the guard compares: addresses first, then dates, then numbers. No I/O."""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from otvet.responders.checks import links, moments, numbers, phones
from otvet.responders.checks.fact import Fact, Keys, blank, lower

# A code for a discount, the number of a parcel or an account: compared letter by letter.
_CODE = re.compile(r"(?<![\w-])(?:[A-Z]{2,}\d{2,}[A-Z0-9]*|\d{12,})(?![\w-])")
_NAMES = re.compile(r"(?<!\w)(?:[2-5]G|[2-5]D|[48]K)(?!\w)")  # of techniques; no gram and no thousand
_WORD_WITH_DIGITS = re.compile(r"[^\W\d]*\d\w*")


def read(text: str) -> list[Fact]:
    """The facts of a text that is ``fact.plain``, in their order."""
    found = list(_addresses(text))
    names = [match.span() for match in _NAMES.finditer(text)]
    rest = lower(blank(text, names + [(fact.start, fact.end) for fact in found]))
    when = list(moments.read(rest))
    found += when
    found += numbers.read(blank(rest, [(fact.start, fact.end) for fact in when]))
    return sorted(found, key=lambda fact: fact.start)


def known(texts: Iterable[str]) -> Keys:
    """Everything that stands in these texts, in the form in which facts ask for it."""
    return frozenset().union(*map(_keys, texts))


def known_for_long(texts: Iterable[str]) -> Keys:
    """The same for texts that come back in turn after turn, passages and instructions: they are read once."""
    return frozenset().union(*map(_kept_keys, texts))


def _keys(text: str) -> Keys:
    folded = lower(text)
    return frozenset(
        {
            *(key for fact in read(text) for key in fact.gives),
            *numbers.implied(folded),
            *numbers.figures(folded),
            *(("code", word.casefold()) for word in _WORD_WITH_DIGITS.findall(text)),
        }
    )


_kept_keys = lru_cache(maxsize=512)(_keys)


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
        # Who names a page has named its site.
        yield Fact("link", link.start, link.end, (same,), same | (site if "t.me" not in link.address else frozenset()))
    text = blank(text, spans)
    for phone in phones.find(text):
        endings: Keys = frozenset(("phone", phone.number[-length:]) for length in (6, 7) if len(phone.number) > length)
        number: Keys = frozenset({("phone", phone.number)})
        yield Fact("phone", phone.start, phone.end, (number,), number | endings)
    for match in _CODE.finditer(text):
        yield _same("number", match.start(), match.end(), match[0], name="code")


def _same(kind: str, start: int, end: int, value: str, name: str = "") -> Fact:
    key: Keys = frozenset({(name or kind, value.casefold() if name else value)})
    return Fact(kind, start, end, (key,), key)
