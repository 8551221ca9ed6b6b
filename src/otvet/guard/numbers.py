"""Finds numbers in a text with their units: money, percentages, quantities, or none.

The text is in lower case and without addresses and dates, which ``facts`` has read before.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

from otvet.guard import spelled, units
from otvet.guard.fact import Fact, Key, Keys
from otvet.guard.meanings import ANY_NUMBER, BARE, HAGGLED, HOME, PRICE_OFF, each, facts_of
from otvet.guard.moments import no_noun_follows
from otvet.guard.number import Number, amounts, rounded, values_of

_NUMBER = re.compile(
    r"(?<![a-zа-яё0-9_\0])(?<!\d[.,])"
    r"(?:\d{1,3}(?: \d{3})+(?:[.,]\d{1,2})?(?!\d)|\d{1,3}(?:,\d{3})+(?:\.\d{1,2})?(?![\d,])"
    r"|\d{1,3}(?:\.\d{3})+(?:,\d{1,2})?(?![\d.])|\d+(?:[.,]\d+)?)"
    r"(?:(?:-(?:й|я|е|ый|ая|ое|ую|го|му|м|х|ти|ми|ю|и)|х|ти|st|nd|rd|th)(?![a-zа-яё0-9]))?\+?"
)
_HALVES = re.compile(r"\bhalf an? (hour|year)\b")
_PAIR_OF = re.compile(r"\bпар[ауы]\s(?=(?:час|дн[яе]|сут|недел|месяц|лет\b|год|раз\b|штук|сот|тыс|процент))")
_AN_HOUR_AND = re.compile(rf"(?=\bчас\s(?:{spelled.SPELLED.pattern}|\d{{1,2}}(?!\d)))")
_WITHIN = re.compile(
    r"\b(?:через|в\sтечение|спустя|около|порядка|примерно|within|in|about)\s(?:(?:an?|one)\s)?(час|часа|часик|часок|сутки|суток|неделю|недели|недельку|тиждень|годину|місяць|рік|добу"
    r"|месяц|месяца|год|года|hour|week|month|year)(?![a-zа-яё])"
    r"|\b(?:гаранти\w+(?:\sна\s\w+)?|срок\w*(?:\s\w+)?|длится|занимает|займ[её]т|действует|хранится|храним|ждать|ехать)"
    r"(?:\s-|:)?\s(час|день|сутки|неделю|неделя|месяц|год)(?=\s*(?:[.,;!?\n]|\Z))"
    r"|(?:\A|\n|[.!]\s|\b(?:рассрочк\w+|договор\w*|абонемент\w*|подписк\w+|аренд\w+|кредит\w*)\s(?:дают\s|да[её]м\s)?на\s)"
    r"(час|сутки|неделю|неделя|месяц|год)(?=\s*(?:[.,;!?\n]|\Z)|\s(?:со|с|от|после|до)\s[а-яё])"
)
_IN_ONE = re.compile(r"\bза\s(час|сутки|день|неделю|месяц|год)(?![a-zа-яё]|\s?[-:]?\s?\d)")
_IMPLIED = re.compile(
    r"(?:[:-]|\b(?:за|через|на|в\sтечение|около|гаранти\w+|сроко?м?|длится|занимает|идёт|an?|один))\s"
    r"(час|часа|день|дня|сутки|суток|неделю|недели|месяц|месяца|год|года|hour|day|week|month|year)(?![a-zа-яё])"
)
_RATE = re.compile(r"(?:₽|руб\w*|[рp]|[$€]|тыс\w*|usd|eur\w*)\.?\s?\Z")
_IS_PRICE = re.compile(r"\s?-?\s?(?:это\s)?(?:цен|скид|стои|отда|устро|(?:за|for)\b|price|discount)")
_FREE = re.compile(r"\b(?:бесплатн|даром\b|free\b)")
_PARTS = (
    (r"полцены|наполовину|половин[аеуы](?!\s(?:дня|ночи|недели|месяца|года|лета|зимы|весны|осени))|half(?!\sa)", 50.0),
    (r"(?<!две\s)трет(?:ь|и|ью)", 100 / 3),
    (r"две\sтрети|двух\sтретей", 200 / 3),
    (r"четверт(?:ь|и|ью)(?!\sчаса)", 25.0),
    (r"(?<=\ba\s)fifth(?=\soff)|пят(?:ая|ую|ой)\sчаст[ьи]", 20.0),
)
_PART = re.compile("|".join(rf"\b({part})(?![a-zа-яё])" for part, _ in _PARTS))
_FOLDS = {"вдвое": 2.0, "втрое": 3.0, "вчетверо": 4.0}
_FOLD = re.compile(rf"\b(?:{'|'.join(_FOLDS)})(?![а-яё])")
_QUARTER_OF_AN_HOUR = re.compile(r"\bчетверт(?:ь|и|ью)\sчаса\b|\bquarter of an hour\b")

_TIGHT = re.compile(r"-|\s?\*\s?| (?:до|to) ")
_SIZE_BEFORE = re.compile(r"\d\s?\*\s?\Z")
_SOFT = re.compile(r"\s?(?:,|/|и|или|на|and|or|by)\s?|\s-\s")
_LIST_MARK = re.compile(r"(?:^|\n)[ \t]*\d{1,2}[.)](?=\s)")

_HOUR = (("minute", 60.0),)
_MINUTE = (("minute", 1.0),)
_PIECE: tuple[units.Amount, ...] = (("piece", 1),)
_THOUSAND_ROUBLES: tuple[units.Amount, ...] = (("RUB", 1000.0),)
_MAY_BE_THOUSANDS = re.compile(
    r"(?:цен\w+|стои\w+|обойд\w+|выйдет|отда\w+|уступ\w+)\s(?:за\s|в\s|где-то\s|около\s|примерно\s)?\Z"
)
_A_THOUSAND = re.compile(
    r"(?<=стоит )штуку(?![а-яё])|(?<=обойдется в )штуку(?![а-яё])|(?<=обойдётся в )штуку(?![а-яё])"
)
_JOINT = re.compile(r"(?:(?<![^\W\d_]{4})\.)? ?(?:и )?")
_REST_OF_THOUSAND = re.compile(rf"\s(?:(\d{{1,3}})(?!\d| \d{{3}}|[.,]\d)|({spelled.SPELLED.pattern}))")


def read(text: str) -> Iterator[Fact]:
    """The facts that are numbers; joined numbers, such as "2-3 days", are one fact."""
    text = _LIST_MARK.sub(lambda match: "\0" * len(match[0]), text)
    chain: list[Number] = []
    for number in _with_units(text):
        chain.append(number)
        if not number.joined:
            yield from facts_of(text, chain)
            chain = []
    yield from facts_of(text, chain)
    yield from _durations(text)


def implied(text: str) -> Iterator[Key]:
    """The keys of numbers that a context says without a digit, such as "within a week" or "free"."""
    for match in _IMPLIED.finditer(text):
        if not _RATE.search(text, max(0, match.start() - 12), match.start()):
            yield from amounts(1, units.amounts_of(match[1]))
    if _FREE.search(text):
        yield from ((code, 0.0) for code in ("RUB", "USD", "EUR"))


def counted(text: str) -> set[float]:
    """The numbers of a text that count something, also small ones: all but prices and percentages."""
    return {
        number.values[0]
        for number in _with_units(text)
        if not number.currency and ("percent", 1) not in number.unit and number.values[0] % 1 == 0
        if not units.JOINED.match(text, number.start)
    }


def figures(text: str) -> Iterator[Key]:
    """The keys of all digits in a text, also inside of names."""
    for written in set(ANY_NUMBER.findall(text)):
        yield from each(("number", "count"), [*values_of(written)])


def haggled(text: str) -> Iterator[Key]:
    """The keys of bare numbers that a client means as a price or a discount: "for 500?", "is it 1990?"."""
    for number in _with_units(text):
        before = text[max(0, number.start - 40) : number.start]
        named = _IS_PRICE.match(text, number.end)
        if not number.named and (
            named or (HAGGLED.search(before) and no_noun_follows(text, number.end)) or PRICE_OFF.search(before)
        ):
            yield from each(BARE, [rounded(value) for value in number.values])


def _with_units(text: str) -> list[Number]:
    numbers: list[Number] = []
    for plain in _plain(text):
        if not numbers or plain.start >= numbers[-1].end:
            number = _measured(text, plain, numbers[-1].end if numbers else 0)
            numbers.append(_guessed(text, number, numbers))
    numbers = _join_parts(text, numbers)
    for index in range(len(numbers) - 2, -1, -1):
        number, following = numbers[index], numbers[index + 1]
        gap = text[number.end : following.start]
        if number.named or len(gap) > 6:
            continue
        if "*" in gap and following.currency:  # "2 × 1 900 ₽" counts, and is no size
            continue
        if _TIGHT.fullmatch(gap):
            numbers[index] = _inherited(number, following, soft=following.soft)
        elif following.named and _SOFT.fullmatch(gap) and not (following.currency and _is_no_price(text, number)):
            numbers[index] = _inherited(number, following, soft=True)
    for before, number, following in zip(numbers, numbers[1:], numbers[2:], strict=False):
        if before.soft and number.soft and _in_a_row(before, number) and _in_a_row(number, following):
            numbers[numbers.index(number)] = replace(number, between=True)
    return numbers


def _is_no_price(text: str, number: Number) -> bool:
    """Whether a number before a price is not a price itself: "10×15 — 19 ₽", "two — 19 ₽"."""
    return number.spelled or bool(_SIZE_BEFORE.search(text, max(0, number.start - 3), number.start))


def _in_a_row(number: Number, following: Number) -> bool:
    return max(following.values) == max(number.values) + 1 and number.unit == following.unit


def _guessed(text: str, number: Number, before: list[Number]) -> Number:
    """The number with the unit that stands before it: "минут сорок", "часов восемь-десять"."""
    if not number.named and before and before[-1].guess and _TIGHT.fullmatch(text, before[-1].end, number.start):
        before[-1] = replace(before[-1], joined=True)
        return _multiplied(
            replace(number, unit=before[-1].unit, currency=before[-1].currency, guess=True), before[-1].factor
        )
    about = units.ABOUT.search(text, max(0, number.start - 25), number.start)
    if not about or (before and before[-1].end > about.start()):
        return number
    few, value = about["few"], max(number.values)
    if not (1 < value < 5 if few else value >= 5):  # "стоимость часа 900" counts no hours
        return number
    unit = few or about["many"]
    amounts, currency = units.amounts_of(unit), units.currency_of(unit)
    guessed = replace(number, start=about.start(), guess=True)
    if not amounts and not currency:
        return _multiplied(guessed, spelled.multiplier_of(unit))
    return number if number.named else replace(guessed, unit=amounts, currency=currency)


def _multiplied(number: Number, factor: float) -> Number:
    return replace(number, values=tuple(value * factor for value in number.values), factor=factor)


def _inherited(number: Number, following: Number, *, soft: bool) -> Number:
    if not soft and following.factor > max(number.values) and number.factor == 1:  # "5-10 тысяч" multiplies both
        number = _multiplied(number, following.factor)
    return replace(
        number,
        currency=following.currency,
        unit=following.unit,
        soft=soft,
        joined=not soft or following.joined,
    )


def _plain(text: str) -> list[Number]:
    found = [Number(match.start(), match.end(), values_of(match[0])) for match in _NUMBER.finditer(text)]
    for pattern, value in (
        (spelled.SPELLED, spelled.spelled_value),
        (units.JOINED, spelled.beginning_value),
        (spelled.ORDINAL_FLOOR, spelled.ordinal_value),
        (_PAIR_OF, lambda _: 2.0),
        (_AN_HOUR_AND, lambda _: 1.0),
        (_A_THOUSAND, lambda _: 1000.0),
    ):
        for match in pattern.finditer(text):
            written = match[0].rstrip()
            found.append(Number(match.start(), match.start() + len(written), (value(written),), spelled=True))
    for match in spelled.SLANG.finditer(text):
        values = spelled.slang_values(match[0])
        found.append(Number(match.start(), match.end(), values, spelled=True, currency=HOME))
    return sorted(found, key=lambda number: (number.start, -number.end))


def _measured(text: str, number: Number, taken: int) -> Number:
    """The number with the unit beside it. taken: the end of the number before, whose unit is not looked at."""
    if number.spelled:
        number = replace(number, factor=spelled.factor_of(text[number.start : number.end]))
    after = units.AFTER_NUMBER.match(text, number.end)
    before = units.CURRENCY_BEFORE.search(text, max(taken, number.start - 5), number.start)
    if after and after["multiplier"]:
        number = replace(_multiplied(number, spelled.multiplier_of(after["multiplier"])), end=after.end("multiplier"))
        if not after["currency"]:
            if spelled.is_money(after["multiplier"].strip()):
                number = replace(number, currency="RUB")
            number = _with_rest(text, number)
            after = units.AFTER_NUMBER.match(text, number.end)
    if before:
        return replace(number, start=before.start(), currency=units.currency_before(before))
    if after and after["currency"]:
        return replace(number, currency=units.currency_of(after["currency"]), end=after.end("currency"))
    if after and after["unit"]:
        unit = units.amounts_of(after["unit"])
        if unit == _PIECE and _MAY_BE_THOUSANDS.search(text, max(0, number.start - 25), number.start):
            unit += _THOUSAND_ROUBLES
        elif unit == _PIECE and max(number.values) % 1:  # there is no half of a piece
            unit = _THOUSAND_ROUBLES
        return replace(number, unit=unit, end=after.end("unit"))
    if number.spelled and spelled.is_money(text[number.start : number.end]):
        return replace(number, currency="RUB")
    return number


def _with_rest(text: str, number: Number) -> Number:
    """The number with the rest after its thousands: "38 тысяч 900", unless the rest counts another thing."""
    rest = _REST_OF_THOUSAND.match(text, number.end)
    if not rest or number.factor < spelled.THOUSAND:
        return number
    value = float(rest[1]) if rest[1] else spelled.spelled_value(rest[2])
    after = units.AFTER_NUMBER.match(text, rest.end())
    counts, paid = after and (after["unit"] or after["multiplier"]), after and after["currency"]
    if counts or value >= spelled.THOUSAND or not (paid or no_noun_follows(text, rest.end())):
        return number
    return replace(number, values=tuple(each + value for each in number.values), end=rest.end())


def _join_parts(text: str, numbers: list[Number]) -> list[Number]:
    """Join roubles with kopecks, hours with minutes, metres with centimetres."""
    joined: list[Number] = []
    for number in numbers:
        last = joined[-1] if joined else None
        if last and _are_minutes(text, last, number):
            number = replace(number, unit=_MINUTE)
        if last and _JOINT.fullmatch(text, last.end, number.start) and (both := _both(last, number)):
            joined[-1] = both
        elif number.currency == "KOPECK":
            joined.append(replace(number, currency="RUB", values=(number.values[0] / 100,)))
        else:
            joined.append(number)
    return joined


def _are_minutes(text: str, hours: Number, number: Number) -> bool:
    """Whether a bare number after hours means minutes, as in "an hour fifteen"."""
    beside = hours.unit == _HOUR and text[hours.end : number.start] == " " and not number.named
    return beside and 0 < max(number.values) < 60 and no_noun_follows(text, number.end)


def _both(first: Number, second: Number) -> Number | None:
    if first.currency == "RUB" and second.currency == "KOPECK":
        return replace(first, values=tuple(value + second.values[0] / 100 for value in first.values), end=second.end)
    for name, size in first.unit:
        for other, smaller in second.unit:
            if name == other and smaller < size and second.values[0] * smaller < size:
                values = tuple(value * size + second.values[0] * smaller for value in first.values)
                return replace(first, values=values, unit=((name, 1.0),), end=second.end)
    return None


def _durations(text: str) -> Iterator[Fact]:
    for match in _HALVES.finditer(text):
        half = frozenset(amounts(0.5, units.amounts_of(match[1])))
        yield Fact("quantity", match.start(), match.end(), (half,), half)
    for match in _QUARTER_OF_AN_HOUR.finditer(text):
        quarter: Keys = frozenset({("minute", 15.0)})
        yield Fact("quantity", match.start(), match.end(), (quarter,), quarter)
    for match in _FOLD.finditer(text):
        fold: Keys = frozenset({("times", _FOLDS[match[0]])})
        yield Fact("quantity", match.start(), match.end(), (fold,), fold)
    for match in _PART.finditer(text):
        part: Keys = frozenset({("percent", rounded(_PARTS[(match.lastindex or 1) - 1][1]))})
        yield Fact("percent", match.start(), match.end(), (part,), part)
    for match in _IN_ONE.finditer(text):
        if not _RATE.search(text, max(0, match.start() - 12), match.start()):
            one = frozenset(amounts(1, units.amounts_of(match[1])))
            yield Fact("quantity", match.start(), match.end(), (one,), one)
    for match in _WITHIN.finditer(text):
        keys = frozenset(amounts(1, units.amounts_of(match[1] or match[2] or match[3])))
        yield Fact("quantity", match.start(), match.end(), (keys,), keys)
