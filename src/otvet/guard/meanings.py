"""Decides what a chain of numbers means: money, an amount, a count, a time of day, a cell of a table."""

import re
from collections.abc import Iterator

from otvet.guard import units
from otvet.guard.fact import Fact, Key, Keys
from otvet.guard.moments import hours, no_noun_follows
from otvet.guard.number import Number, amounts, rounded

SMALL = 10
"""A smaller number without a unit is no fact, such as "two ways" or "1." of a list."""
BARE = ("number", "count", "loose")
"""The kinds of keys for a number without a unit."""
HOME = "RUB"
"""The currency of a price without one."""
_PRICE_WORD = re.compile(
    r"(?:цен\w+|стои\w+|обойд\w+|выйдет|итого|всего|сумм\w+|оплат\w+|доплат\w+|доплач\w+|предоплат\w+|залог\w*|отда\w+|уступ\w+|доставк\w+"
    r"|прайс\w*|тариф\w*|price\w*|costs?|total|pay|charge\w*|fee)[^\w\n]+(?:[a-zа-яё]+[^\w\n]+){0,2}\Z"
)
HAGGLED = re.compile(r"\b(?:за|по|for)\s\Z")
_DEAL = re.compile(r"\s*(?:[.,!?;\n]|\Z|(?:сдела|отда|устро|договор|соглас|прода|уступ|будет))")
PRICE_OFF = re.compile(r"(?:\b(?:скид\w+|скин\w+|сброс\w+|минус|discount|off)\W+(?:[a-zа-яё]+\W+)?)\Z")
_PRICE_SIGN = re.compile(r"(?:\b(?:за|по|от|до|for)|[=:]|\s-)\s?\Z")
_PLACE = re.compile(
    r"(?:\b(?:дом|д|ул|улиц\w+|просп\w*|пр|наб|шоссе|корп\w*|к|стр\w*|строени\w|кв|кварти\w+|офис\w*|оф|каб\w*|павильон\w*|бокс\w*"
    r"|подъезд\w*|номер\w*|размер\w*|зал\w*|комнат\w|street|room|suite|building|apartment|apt|size|number|no)\.?|№|#)"
    r"\s?(?:[а-яё]+,\s)?\Z"
)
_ALONE_BEFORE = re.compile(r"(?:\A|[,.!]\s|\n)\Z")
_ALONE_AFTER = re.compile(r"\s*(?:\Z|[.!?\n])(?!\d)")
_CELL_BEFORE = re.compile(r"(?:\A|[|;:\t=\n]|\s-)\s*\Z")
_CELL_AFTER = re.compile(r"\s*(?:$|[|;\t\n]|,\s*[^\d\s]|\.(?:\s|$))")
_COUNTED_THING = re.compile(r"\s?(?![а-яё]+(?:ая|яя|ое|ее|ые|ие|ых|их)(?![а-яё]))[a-zа-яё]{3,}")
_LABEL_WORD = re.compile(r"[a-zа-яё%²³]+")
ANY_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")


def facts_of(text: str, chain: list[Number]) -> Iterator[Fact]:
    needs: list[Keys] = []
    gives: set[Key] = set()
    kinds = []
    clock = _is_clock(chain)
    for number in chain:
        kind, needed, given = _meaning(text, number, (chain[0].start, chain[-1].end))
        gives |= given | {(name, rounded(value)) for name in _proves(number) for value in number.values}
        hours = _clock_hours(number, exact=max(chain[-1].values) > 12) if clock else frozenset()
        gives |= hours
        if kind and not number.between:
            kinds.append(kind)
            needs.append(needed | hours)
            if number.currency not in ("", HOME):  # a price without a currency may mean roubles, but not dollars
                needs.append(frozenset({("currency", number.currency)}))
    if chain and (needs or gives):
        yield Fact(kinds[-1] if kinds else "number", chain[0].start, chain[-1].end, tuple(needs), frozenset(gives))


def _proves(number: Number) -> Iterator[str]:
    """The kinds of bare numbers that a number makes known: a percentage none; a price or a length no count."""
    names = {name for name, _ in number.unit}
    if "percent" not in names:
        yield "number"
        if not number.currency and (not names or names & units.COUNTED):
            yield "count"


def _is_clock(chain: list[Number]) -> bool:
    """Whether two joined numbers without a unit, such as "9-18", may be opening hours."""
    return len(chain) == 2 and not any(number.named or number.spelled or max(number.values) > 24 for number in chain)


def _clock_hours(number: Number, *, exact: bool) -> Keys:
    hour = int(number.values[0])
    return frozenset({("clock", hour * 60.0)}) if exact else hours(hour)


def _meaning(text: str, number: Number, whole: tuple[int, int]) -> tuple[str, Keys, set[Key]]:
    """The kind of a number's fact (empty if it is no fact), the keys it needs, and the keys it gives."""
    if number.currency:
        return _money(number)
    if number.unit:
        return _amount(number)
    return _without_unit(text, number, whole)


def _money(number: Number) -> tuple[str, Keys, set[Key]]:
    needed: set[Key] = set()
    for value in number.values:
        needed |= {(number.currency, rounded(value)), ("price", rounded(value)), ("cell", rounded(value))}
    if number.soft:
        needed |= {("number", rounded(value)) for value in number.values}
    gives: set[Key] = {(number.currency, rounded(value)) for value in number.values}
    gives |= {("any price", rounded(value)) for value in number.values}
    gives.add(("currency", number.currency))
    return "price", frozenset(needed), gives


def _amount(number: Number) -> tuple[str, Keys, set[Key]]:
    names = {name for name, _ in number.unit}
    gives = {key for value in number.values for key in amounts(value, number.unit)}
    if number.spelled and number.values == (1.0,) and not names & {"day", "month", "percent"}:
        return "", frozenset(), gives  # "one minute, please"
    needed = set(gives)
    kind = "percent" if "percent" in names else "quantity"
    if kind == "quantity":
        needed |= {("table", rounded(value)) for value in number.values}
        if names & units.COUNTED:
            needed |= {("loose", rounded(value)) for value in number.values}
    if number.soft:
        needed |= {("number", rounded(value)) for value in number.values}
    return kind, frozenset(needed), gives


def _without_unit(text: str, number: Number, whole: tuple[int, int]) -> tuple[str, Keys, set[Key]]:
    values = [rounded(value) for value in number.values]
    gives: set[Key] = {("loose", value) for value in values}
    before, biggest = text[max(0, number.start - 40) : number.start], max(values)
    if number.spelled and biggest < SMALL and not (biggest > 1 and _PLACE.search(before)):
        return "", frozenset(), set()
    if _is_price(text, number, before, biggest):
        gives |= {("price", value) for value in values} | {("any price", value) for value in values}
        return "price", each(("any price", "price", "cell"), values), gives
    if PRICE_OFF.search(before) and no_noun_follows(text, number.end) and not number.joined:
        off: set[Key] = {(name, value) for name in ("percent", "price", "any price") for value in values}
        return "percent", frozenset(off), gives | off
    if biggest >= 100 and _ALONE_BEFORE.search(before) and _ALONE_AFTER.match(text, number.end):
        return "price", each(("any price", "price", "cell", "number"), values), gives
    if _CELL_BEFORE.search(text, max(0, whole[0] - 3), whole[0]) and _CELL_AFTER.match(text, whole[1]):
        gives.update(_of_cell(text, number, values))
    if biggest < SMALL and not _PLACE.search(before):
        return "", frozenset(), gives
    counts = whole == (number.start, number.end) and _COUNTED_THING.match(text, number.end)
    if not counts or _PLACE.search(before) or no_noun_follows(text, number.end):
        return "number", each(("number",), values), gives
    return "number", each(("count", "any price") if biggest >= 100 else ("count",), values), gives


def each(names: tuple[str, ...], values: list[float]) -> Keys:
    return frozenset((name, value) for name in names for value in values)


def _of_cell(text: str, number: Number, values: list[float]) -> Iterator[Key]:
    """The keys of a number that stands alone in a table cell or after a label, which may name its unit."""
    line = text[text.rfind("\n", 0, number.start) + 1 : number.start]
    label = re.split(r"[|;\t]", line)[-1]
    named = [amount for word in _LABEL_WORD.findall(label) for amount in units.amounts_of(word)]
    for value in values:
        yield ("cell", value)
        if re.search(r"[|;\t]", line):
            yield ("table", value)
        yield from amounts(value, tuple(named))


def _is_price(text: str, number: Number, before: str, value: float) -> bool:
    if number.joined or _PLACE.search(before):
        return False
    if HAGGLED.search(before) and value >= SMALL and _DEAL.match(text, number.end):
        return True
    if not no_noun_follows(text, number.end):
        return False
    if _PRICE_WORD.search(before):
        return True
    thousands = number.factor > 1 and not number.spelled
    return value >= 100 and not 1900 <= value <= 2100 and bool(thousands or _PRICE_SIGN.search(before))
