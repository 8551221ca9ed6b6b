"""Numbers in a text and what they count: money, shares, amounts, or nothing that is named.

The text is in lower case and has neither addresses nor dates any more, see ``facts``.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from otvet.responders.checks import units
from otvet.responders.checks.fact import Fact, Key, Keys
from otvet.responders.checks.moments import hours, no_noun_follows

SMALL = 10
"""A number below it that counts nothing known is no fact: "two ways", "1." of a list."""

_NUMBER = re.compile(
    r"(?<![a-zа-яё0-9_\0])(?<!\d[.,])"
    r"(?:\d{1,3}(?: \d{3})+(?:[.,]\d{1,2})?(?!\d)|\d{1,3}(?:,\d{3})+(?:\.\d{1,2})?(?![\d,])"
    r"|\d{1,3}(?:\.\d{3})+(?:,\d{1,2})?(?![\d.])|\d+(?:[.,]\d+)?)"
    r"(?:(?:-(?:й|я|е|ый|ая|ое|ую|го|му|м|х|ти|ми|ю|и)|х|ти|st|nd|rd|th)(?![a-zа-яё0-9]))?\+?"
)
_HALVES = re.compile(r"\b(?:полчаса|получаса|полгода|полугода|half an hour|half a year)\b")
_WITHIN = re.compile(
    r"\b(?:через|в\sтечение|спустя|within|in)\s(?:(?:an?|one)\s)?(час|часа|сутки|суток|неделю|недели|месяц|месяца|год|года"
    r"|hour|week|month|year)(?![a-zа-яё])"
)
_IMPLIED = re.compile(
    r"(?:[:-]|\b(?:за|через|на|в|раз\sв|в\sтечение|около|каждый|каждую|гаранти\w+|сроко?м?|длится|занимает|идёт|a|an|per|every|один))\s"
    r"(час|часа|день|дня|сутки|суток|неделю|недели|месяц|месяца|год|года|hour|day|week|month|year)(?![a-zа-яё])"
)
_RATE = re.compile(r"(?:₽|руб\w*|[рp]|[$€]|тыс\w*|usd|eur\w*)\.?\s?\Z")
_FREE = re.compile(r"\b(?:бесплатн|даром\b|free\b)")
_HALF_OF_ALL = re.compile(r"\b(?:наполовину|половин\w+|half)\b")

_TIGHT = re.compile(r"-|\s?\*\s?|\s(?:до|to)\s")
_SOFT = re.compile(r"\s?(?:,|/|и|или|на|and|or|by)\s?|\s-\s")
_LIST_MARK = re.compile(r"(?:^|\n)[ \t]*\d{1,2}[.)](?=\s)")

_PRICE_WORD = re.compile(
    r"(?:цен\w+|стои\w+|обойд\w+|выйдет|итого|всего|сумм\w+|оплат\w+|доплат\w+|доплач\w+|предоплат\w+|залог\w*|отда\w+|уступ\w+|доставк\w+"
    r"|прайс\w*|тариф\w*|price\w*|costs?|total|pay|charge\w*|fee)[^\w\n]+(?:[a-zа-яё]+[^\w\n]+){0,2}\Z"
)
_PRICE_SIGN = re.compile(r"(?:\b(?:за|по|от|до|for)|[=:]|\s-)\s?\Z")
_PLACE = re.compile(
    r"(?:\b(?:дом|д|ул|улиц\w+|просп\w*|пр|наб|шоссе|корп\w*|к|стр\w*|строени\w|кв|кварти\w+|офис\w*|оф|каб\w*|павильон\w*|бокс\w*"
    r"|подъезд\w*|номер\w*|размер\w*|зал\w*|комнат\w|street|room|suite|building|apartment|apt|size|number|no)\.?|№|#)"
    r"\s?(?:[а-яё]+,\s)?\Z"
)
_JOINT = re.compile(r"\.?\s?(?:и\s)?")
_HOUR = (("minute", 60.0),)
_MINUTE = (("minute", 1.0),)
_ALONE_BEFORE = re.compile(r"(?:\A|[,.!]\s|\n)\Z")
_ALONE_AFTER = re.compile(r"\s*(?:\Z|[.!?\n])(?!\d)")
_CELL_BEFORE = re.compile(r"(?:\A|[|;:\t=\n]|\s-)\s*\Z")
_CELL_AFTER = re.compile(r"\s*(?:$|[|;\t\n]|,\s*[^\d\s]|\.(?:\s|$))")
_LABEL_WORD = re.compile(r"[a-zа-яё%²³]+")
_ANY_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")
_GROUPED = re.compile(r"\d{1,3}(?:[ .,]\d{3})+(?!\d)")


@dataclass(frozen=True, slots=True)
class _Number:
    start: int
    end: int
    values: tuple[float, ...]
    spelled: bool = False
    currency: str = ""
    unit: tuple[units.Amount, ...] = ()
    multiplied: bool = False
    soft: bool = False
    """The unit is that of the next number, and may not be meant for this one."""
    joined: bool = False
    """The next number belongs to it: a range, or a size."""

    @property
    def named(self) -> bool:
        return bool(self.currency or self.unit)


def read(text: str) -> Iterator[Fact]:
    """What is counted in the text; numbers that are joined, such as "2-3 days", are one fact."""
    text = _LIST_MARK.sub(lambda match: "\0" * len(match[0]), text)
    chain: list[_Number] = []
    for number in _with_units(text):
        chain.append(number)
        if not number.joined:
            yield from _facts(text, chain)
            chain = []
    yield from _facts(text, chain)
    yield from _durations(text)


def implied(text: str) -> Iterator[Key]:
    """What a context says without a figure: within *a* week, free, half of it."""
    for match in _IMPLIED.finditer(text):
        if not _RATE.search(text, max(0, match.start() - 12), match.start()):
            yield from _amounts(1, units.amounts_of(match[1]))
    if _FREE.search(text):
        yield from ((code, 0.0) for code in ("RUB", "USD", "EUR"))
    if _HALF_OF_ALL.search(text):
        yield ("percent", 50.0)


def figures(text: str) -> Iterator[Key]:
    """Every number that stands in a text, whatever it is a part of."""
    for written in {*_ANY_NUMBER.findall(text), *_GROUPED.findall(text)}:
        if written.isdigit():
            yield ("number", float(written))
        else:
            yield from (("number", value) for value in _values(written))
            yield from (("number", float(part)) for part in re.split("[., ]", written))


def _with_units(text: str) -> list[_Number]:
    numbers: list[_Number] = []
    for plain in _plain(text):
        if not numbers or plain.start >= numbers[-1].end:
            numbers.append(_measured(text, plain))
    numbers = _join_parts(text, numbers)
    for index in range(len(numbers) - 2, -1, -1):
        number, following = numbers[index], numbers[index + 1]
        gap = text[number.end : following.start]
        if number.named or len(gap) > 6:
            continue
        if _TIGHT.fullmatch(gap):
            numbers[index] = _inherited(number, following, soft=following.soft)
        elif following.named and _SOFT.fullmatch(gap) and not (number.spelled and following.currency):
            numbers[index] = _inherited(number, following, soft=True)
    return numbers


def _inherited(number: _Number, following: _Number, *, soft: bool) -> _Number:
    # "5-10 тысяч": the thousand is meant for both.
    values = (
        tuple(value * 1000 for value in number.values)
        if not soft and _shares_thousand(number, following)
        else number.values
    )
    return replace(
        number,
        currency=following.currency,
        unit=following.unit,
        soft=soft,
        joined=not soft or following.joined,
        values=values,
    )


def _shares_thousand(number: _Number, following: _Number) -> bool:
    return following.multiplied and not number.multiplied and max(number.values) < 1000


def _plain(text: str) -> list[_Number]:
    found = [_Number(match.start(), match.end(), _values(match[0])) for match in _NUMBER.finditer(text)]
    found += [
        _Number(match.start(), match.end(), (units.spelled_value(match[0]),), spelled=True)
        for match in units.SPELLED.finditer(text)
    ]
    found += [
        _Number(match.start(), match.end() - 1, (units.ordinal_value(match),), spelled=True)
        for match in units.ORDINAL_FLOOR.finditer(text)
    ]
    return sorted(found, key=lambda number: number.start)


def _measured(text: str, number: _Number) -> _Number:
    after = units.AFTER_NUMBER.match(text, number.end)
    before = units.CURRENCY_BEFORE.search(text, max(0, number.start - 5), number.start)
    values, multiplied, end = number.values, False, number.end
    if after and after["multiplier"]:
        factor = units.multiplier_of(after["multiplier"])
        values, multiplied = tuple(value * factor for value in values), True
        end = after.end("multiplier")
        if number.spelled or not after["currency"]:
            rest = units.SPELLED.match(text, end + 1)
            if rest and number.spelled:  # two thousand five hundred
                values, end = tuple(value + units.spelled_value(rest[0]) for value in values), rest.end()
                after = units.AFTER_NUMBER.match(text, end)
    number = replace(number, values=values, multiplied=multiplied, end=end)
    if before:
        return replace(number, start=before.start(), currency=units.currency_before(before))
    if after and after["currency"]:
        return replace(number, currency=units.currency_of(after["currency"]), end=after.end("currency"))
    if after and after["unit"]:
        return replace(number, unit=units.amounts_of(after["unit"]), end=after.end("unit"))
    return number


def _join_parts(text: str, numbers: list[_Number]) -> list[_Number]:
    """Roubles and kopecks are one sum, hours and minutes one time."""
    joined: list[_Number] = []
    for number in numbers:
        last = joined[-1] if joined else None
        if last and _JOINT.fullmatch(text, last.end, number.start) and (both := _both(last, number)):
            joined[-1] = both
        elif number.currency == "KOPECK":
            joined.append(replace(number, currency="RUB", values=(number.values[0] / 100,)))
        else:
            joined.append(number)
    return joined


def _both(first: _Number, second: _Number) -> _Number | None:
    if first.currency == "RUB" and second.currency == "KOPECK":
        return replace(first, values=tuple(value + second.values[0] / 100 for value in first.values), end=second.end)
    if first.unit == _HOUR and second.unit == _MINUTE:
        minutes = tuple(value * 60 + second.values[0] for value in first.values)
        return replace(first, values=minutes, unit=_MINUTE, end=second.end)
    return None


def _facts(text: str, chain: list[_Number]) -> Iterator[Fact]:
    needs: list[Keys] = []
    gives: set[Key] = set()
    kinds = []
    clock = _is_clock(chain)
    for number in chain:
        kind, needed, given = _meaning(text, number, (chain[0].start, chain[-1].end))
        gives |= given | {("number", _round(value)) for value in number.values}
        if clock:
            gives |= _clock_hours(number, exact=max(chain[-1].values) > 12)
        if kind:
            kinds.append(kind)
            needs.append(needed)
    if chain and (needs or gives):
        yield Fact(kinds[-1] if kinds else "number", chain[0].start, chain[-1].end, tuple(needs), frozenset(gives))


def _is_clock(chain: list[_Number]) -> bool:
    """ "9-18" with nothing named may be opening hours."""
    return len(chain) == 2 and not any(number.named or number.spelled or max(number.values) > 24 for number in chain)


def _clock_hours(number: _Number, *, exact: bool) -> Keys:
    hour = int(number.values[0])
    return frozenset({("time", hour * 60.0)}) if exact else hours(hour)


def _meaning(text: str, number: _Number, whole: tuple[int, int]) -> tuple[str, Keys, set[Key]]:
    """The kind of a fact (empty: none), what it needs, and what it gives."""
    if number.currency:
        return _money(number)
    if number.unit:
        return _amount(number)
    if number.spelled:
        return "", frozenset(), set()
    return _nameless(text, number, whole)


def _money(number: _Number) -> tuple[str, Keys, set[Key]]:
    needed: set[Key] = set()
    for value in number.values:
        needed |= {(number.currency, _round(value)), ("price", _round(value)), ("cell", _round(value))}
    if number.soft:
        needed |= {("number", _round(value)) for value in number.values}
    gives: set[Key] = {(number.currency, _round(value)) for value in number.values}
    gives |= {("any price", _round(value)) for value in number.values}
    return "price", frozenset(needed), gives


def _amount(number: _Number) -> tuple[str, Keys, set[Key]]:
    names = {name for name, _ in number.unit}
    gives = {key for value in number.values for key in _amounts(value, number.unit)}
    if number.spelled and number.values == (1.0,) and not names & {"day", "month", "percent"}:
        return "", frozenset(), gives  # "one minute, please"
    needed = set(gives)
    kind = "percent" if "percent" in names else "quantity"
    if kind == "quantity":
        needed |= {("table", _round(value)) for value in number.values}
        if names & units.COUNTED:
            needed |= {("loose", _round(value)) for value in number.values}
    if number.soft:
        needed |= {("number", _round(value)) for value in number.values}
    return kind, frozenset(needed), gives


def _nameless(text: str, number: _Number, whole: tuple[int, int]) -> tuple[str, Keys, set[Key]]:
    values = [_round(value) for value in number.values]
    gives: set[Key] = {("loose", value) for value in values}
    before, biggest = text[max(0, number.start - 40) : number.start], max(values)
    if _is_price(text, number, before, biggest):
        gives |= {("price", value) for value in values} | {("any price", value) for value in values}
        return "price", _each(("any price", "price", "cell"), values), gives
    if biggest >= 100 and _ALONE_BEFORE.search(before) and _ALONE_AFTER.match(text, number.end):
        return "price", _each(("any price", "price", "cell", "number"), values), gives
    if _CELL_BEFORE.search(text, max(0, whole[0] - 3), whole[0]) and _CELL_AFTER.match(text, whole[1]):
        gives.update(_of_cell(text, number, values))
    if biggest < SMALL and not _PLACE.search(before):
        return "", frozenset(), gives
    return "number", frozenset(("number", value) for value in values), gives


def _each(names: tuple[str, ...], values: list[float]) -> Keys:
    return frozenset((name, value) for name in names for value in values)


def _of_cell(text: str, number: _Number, values: list[float]) -> Iterator[Key]:
    """What a number gives that stands alone in its cell or after its label: its unit is in the label or the heading."""
    line = text[text.rfind("\n", 0, number.start) + 1 : number.start]
    label = re.split(r"[|;\t]", line)[-1]
    named = [amount for word in _LABEL_WORD.findall(label) for amount in units.amounts_of(word)]
    for value in values:
        yield ("cell", value)
        if re.search(r"[|;\t]", line):
            yield ("table", value)
        yield from _amounts(value, tuple(named))


def _is_price(text: str, number: _Number, before: str, value: float) -> bool:
    if not no_noun_follows(text, number.end) or _PLACE.search(before) or number.joined:
        return False
    if _PRICE_WORD.search(before):
        return True
    return value >= 100 and not 1900 <= value <= 2100 and bool(number.multiplied or _PRICE_SIGN.search(before))


def _durations(text: str) -> Iterator[Fact]:
    for match in _HALVES.finditer(text):
        year = match[0].endswith(("года", "year"))
        keys: Keys = frozenset({("month", 6.0)} if year else {("minute", 30.0)})
        yield Fact("quantity", match.start(), match.end(), (keys,), keys)
    for match in _WITHIN.finditer(text):
        keys = frozenset(_amounts(1, units.amounts_of(match[1])))
        yield Fact("quantity", match.start(), match.end(), (keys,), keys)


def _amounts(value: float, unit: tuple[units.Amount, ...]) -> Iterator[Key]:
    for name, size in unit:
        yield (name, _round(value * size))


def _values(written: str) -> tuple[float, ...]:
    """What a number may mean: "1,500" is one and a half or a thousand and a half."""
    digits = re.match(r"[\d.,]*\d", written.replace(" ", ""))
    plain = digits[0] if digits else ""
    found = []
    if re.fullmatch(r"\d{1,3}(?:([.,])\d{3})(?:\1\d{3})*", plain):
        found.append(float(re.sub("[.,]", "", plain)))
    if re.fullmatch(r"\d+(?:[.,]\d+)?", plain):
        found.append(float(plain.replace(",", ".")))
    if not found:
        whole, _, part = re.sub(r"[.,](?=\d{3}(?!\d))", "", plain).replace(",", ".").rpartition(".")
        found.append(float(f"{whole or part}.{part if whole else 0}".replace("..", ".")))
    return tuple(dict.fromkeys(found))


def _round(value: float) -> float:
    return round(value, 4)
