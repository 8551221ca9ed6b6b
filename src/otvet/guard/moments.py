"""Finds dates and times of day in a text, Russian and English. text: the result of ``fact.lower``."""

import re
from collections.abc import Callable, Iterator

from otvet.guard.fact import Fact, Key, Keys, blank
from otvet.guard.spelled import HOURS_FROM, HOURS_IN, KAZAKH_HOUR, ORDINAL, SPELLED, ordinal_value, spelled_value
from otvet.guard.units import AFTER_NUMBER

_MONTHS = (
    r"янв(?:ар\w+)?|jan(?:uary)?",
    r"фев(?:рал\w+)?|feb(?:ruary)?",
    r"мар(?:т\w?)?|mar(?:ch)?",
    r"апр(?:ел\w+)?|apr(?:il)?",
    r"ма[йяею]|may",
    r"июн[ьяею]?|jun[e]?",
    r"июл[ьяею]?|jul[y]?",
    r"авг(?:уст\w?)?|aug(?:ust)?",
    r"сен(?:т(?:ябр\w+)?)?|sept?(?:ember)?",
    r"окт(?:ябр\w+)?|oct(?:ober)?",
    r"ноя(?:бр\w+)?|nov(?:ember)?",
    r"дек(?:абр\w+)?|dec(?:ember)?",
)
_MONTH = rf"({'|'.join(_MONTHS)})(?![a-zа-яё])"
_DAY_FIGURES = r"(?<![\d.,:])\d{1,2}(?:-?(?:го|е|ое|му|st|nd|rd|th))?(?![\d.,]\d)"
_DAY = rf"(?:{_DAY_FIGURES}|\b(?:{ORDINAL}))"
_TO = r"\s*(?:-|\bдо\b|\bпо\b|\bto\b)\s*"
_OR = r"\s*\b(?:и|или|and|or)\b\s*"
_DAYS = rf"(?:{_DAY}(?:\s*,\s*{_DAY}){{0,6}}{_OR}|{_DAY}{_TO})?{_DAY}"
_YEAR = r"(?:[.,]?\s*(?:of\s)?((?:19|20)\d\d)(?!\d)(?:\s?(?:года|году|год|гг?\b\.?))?)?"

_ISO = re.compile(r"(?<!\d)((?:19|20)\d\d)-(\d\d)-(\d\d)(?!\d)t?")
_FULL = re.compile(
    r"(?<![\d.])(\d{1,2})([./-])(\d{1,2})\2((?:19|20)\d\d|\d\d)(?![\d-])(?:\s?(?:года|году|год|г\b\.?))?"
)
_SHORT = re.compile(r"(?<![\d.,:/])(\d{1,2})(?:\.|(?<=\d\d)/)(0[1-9]|1[0-2])(?![\d:/]|[.,]\d)")
_DAYS_BEFORE = re.compile(rf"({_DAYS})\s+(?:of\s)?{_MONTH}{_YEAR}")
_DAYS_AFTER = re.compile(rf"\b{_MONTH}\s+(?:the\s)?({_DAYS}){_YEAR}")
_DAY_ONLY = re.compile(rf"({_DAYS})\s+числ\w+|(?<![\d.,])(\d{{1,2}}-го)\b")
_ONE_DAY = re.compile(rf"\d+|\b(?:{ORDINAL})")
_MONTH_ONLY = re.compile(
    r"(\b(?:в|к|до|с|от|по|на|in|by|until|since|from)\s(?:(?:начал|середин|конц)\w+\s)?)?"
    r"\b((?:январ|феврал|апрел|июн|июл|сентябр|октябр|ноябр|декабр)[а-яё]{1,3}|март[аеу]?|ма[йяею]|август\w?|january|february"
    r"|march|april|june|july|august|september|october|november|december)(?![a-zа-яё])"
)
_YEAR_ONLY = re.compile(r"(?<![\d.,])((?:19|20)\d\d)(?:\s?(?:года|году|год|гг?\b\.?))")

_HOUR = rf"(?:\d{{1,2}}(?!\d)|(?:двадцат[ьи]\s)?(?:{HOURS_IN}|{HOURS_FROM})(?![a-zа-яё]))"
_BEFORE_HOUR = r"в|во|к|до|с|со|после|около|at|by|until|till|after|from"
_MINUTES_SAID = (
    r"(?:десять|десяти|пятнадцат[ьи]|двадцат[ьи]|тридцат[ьи]|сорока?|пят(?:ьдесят|идесяти)|ten|fifteen|twenty|thirty"
    r"|forty|fifty)(?:[\s-](?:пят[ьи]|five))?(?![a-zа-яё])"
)
_NEXT_HOUR = rf"({ORDINAL}|\d{{1,2}}-?го)"

_CLOCK = re.compile(r"(?<![\d.,:])([01]?\d|2[0-4]):([0-5]\d)(?::[0-5]\d)?(?![\d:])")
_CLOCK_SAID = re.compile(
    r"(?:(?<=\b[свк]\s)|(?<=(?:до|по|at|to|by)\s)|(?<=\d-)|(?=\d{1,2}\.\d\d(?:-\d|\s?(?:утра|вечера|ночи|[ap]m))))(?<![\d.,:])"
    r"([01]?\d|2[0-4])(?:\.([0-5]\d)|-([03]0))(?![\d.,%]\d|\d|\s?[%₽$€])"
)
_HALF = (
    r"\s?(am|a\.m\.?|pm|p\.m\.?|утра|вечера|ночи|(?:час(?:а|ов)?\s)дня|in\sthe\s(?:morning|afternoon|evening))"
    r"(?![a-zа-яё])"
)
_HALF_AFTER = re.compile(_HALF)
_HOUR_OF_HALF = re.compile(rf"(?<![\d.,:])(?:(\d{{1,2}}|{SPELLED.pattern}){_HALF}|\b(час[ау]?)\s(дня|ночи)\b)")
# "До трёх дня" is a time and "до трёх дней" a duration; "в три дня" may be either.
_HOUR_OF_DAY = re.compile(rf"(?:(?<=\b[кс]\s)|(?<=\bдо\s)|(?<=\bпосле\s))(\d{{1,2}}|{HOURS_FROM})\s(дня)(?![а-яё])")
_BEFORE_RANGE = re.compile(r"(?<![\d.,:])(\d{1,2})\s?(?:-|до|to)\s?\Z")
# Towards an hour: "в половине восьмого", "четверть девятого", "10 минут девятого".
_TOWARDS = re.compile(
    rf"\b(?:(пол-?|половин[аеуы]\s)|(четверть\s)|(\d{{1,2}}|{SPELLED.pattern})\sминут[аы]?\s){_NEXT_HOUR}(?:\sчаса\b)?"
)
_LESS = re.compile(rf"\bбез\s(четверти|\d{{1,2}}|{SPELLED.pattern})(?:\sминут\w?)?\s(час|{_HOUR})(?![a-zа-яё\d])")
_PAST = re.compile(rf"\b(?:(half)|a?\s?(quarter)|(\d{{1,2}}|{SPELLED.pattern})\sminutes)\s(past|to)\s({_HOUR})")
_NAMED = re.compile(
    r"\b(?:(полдень|полудн[яюе]|полднем|noon|midday)|полноч[ьи]|полуноч[ьи]|полночью|midnight)(?![a-zа-яё])"
)
_HOUR_AND_MINUTES = re.compile(rf"(?<![a-zа-яё])(?:{_BEFORE_HOUR})\s(час|(?!\d){_HOUR})\s({_MINUTES_SAID})")
_HOURS = re.compile(
    rf"(?<![a-zа-яё])({_BEFORE_HOUR})\s({_HOUR})(?:-?ти)?\s?(?:ч|час(?:а|ов|ам)?)(?![a-zа-яё])"
    r"(?!\.?\s(?:до|назад|после)(?![а-яё]))"
)
_RANGE = re.compile(
    rf"(?<![a-zа-яё])(?:с|со|from|between)\s({_HOUR}|\0+)(?:\sчас\w*)?\s(?:до|по|to|till|until|and)\s({_HOUR}|(?=\0))"
)
_ALONE = re.compile(
    rf"(?<![a-zа-яё])(?:(в|во|к|at)|до|с|после|after|(?<!\d\s)(?<!минут\s)(?<!минуты\s)(?<!дней\s)(?<!недель\s)на|by|until|till)\s({_HOUR})"
)
_HOURS_BEFORE = re.compile(rf"\b(?:час(?:ов|ика|иков)?|часам)\s(?:в|к|до|около|после)\s({_HOUR})")
_OBLIQUE = re.compile(HOURS_FROM)
_ALL_DAY = re.compile(
    r"\b24\s?/\s?7\b|\b24\s?(?:ч|час\w*|hours)\.?\s(?:в\s(?:сутки|день)|a\sday)\b|(круглосуточн\w+|around the clock)"
)

_KAZAKH_FROM_TO = re.compile(
    rf"\b({KAZAKH_HOUR})(?:[:.]00)?-?[дтн][ае]н(?:\sбастап)?\s(?:сағат\s)?({KAZAKH_HOUR})(?:[:.]00)?-?[гқк][еа]\s(?:дейін|шейін)"
)
_KAZAKH_AT = re.compile(
    rf"\bсағат\s({KAZAKH_HOUR})-?(?:[гқк][еа]|[дт][ае]н?|н[ае]н)(?![а-яәіңғүұқөһ])(?:\s(?:дейін|шейін|кейін))?"
)

_MORE_DIGITS = re.compile(r"\s?[:*x]\s?\d|[.,/-]?\d|\s\d|-[a-zа-яё]")
_NEXT_WORD = re.compile(r"\s?([a-zа-яё]+)")
_VERB = re.compile(r"\w+(?:[еёий]те|[еи]шь)")
_SMALL_WORDS = """
и или а но в во с со до по на за при от у к о об из без то это плюс мск москве местному что как вам вас мы вы я
не можно будет ждём ждем утра вечера каждый ежедневно будни будням выходные завтра сегодня если чтобы сразу
также ещё еще and or but in on at to for from by with per until till so we you it is are every daily today
tomorrow plus a the local if
"""
_NO_NOUN = frozenset(_SMALL_WORDS.split())


def read(text: str) -> Iterator[Fact]:
    """The dates and times of a text. Dates are read first, because "25.05" may be a time too."""
    taken: list[tuple[int, int]] = []
    for reader in (_dates, _clock, _said_hours):
        for fact in reader(blank(text, taken)):
            taken.append((fact.start, fact.end))
            yield fact


def no_noun_follows(text: str, end: int) -> bool:
    """Whether no noun for a counted thing follows the number that ends here."""
    word = _NEXT_WORD.match(text, end)
    return word is None or word[1] in _NO_NOUN or bool(_VERB.fullmatch(word[1]))


def hours(hour: int, minute: int = 0) -> Keys:
    """The keys of both times that "at 7" may mean."""
    return frozenset(_time(hour + half, minute) for half in ((0, 12) if hour <= 12 else (0,)))


def _dates(text: str) -> Iterator[Fact]:
    for match in _ISO.finditer(text):
        yield from _date(match, [(int(match[3]), int(match[2]))], match[1])
    text = _ISO.sub(_blanked, text)
    for match in _FULL.finditer(text):
        year = match[4] if len(match[4]) == 4 else f"20{match[4]}"
        yield from _date(match, [(int(match[1]), int(match[3]))], year, american=match[2] == "/")
    text = _FULL.sub(_blanked, text)
    for pattern, days, month in ((_DAYS_BEFORE, 1, 2), (_DAYS_AFTER, 2, 1)):
        for match in pattern.finditer(text):
            number = _month(match[month])
            found = [(day, number) for day in _said_days(match[days])]
            yield from _date(match, found, match[3] or "")
        text = pattern.sub(_blanked, text)
    for match in _SHORT.finditer(text):
        after = AFTER_NUMBER.match(text, match.end())
        if after and not (after["currency"] or after["unit"] or after["multiplier"]):
            yield from _short_date(match)
    for match in _DAY_ONLY.finditer(text):
        keys = [_day(day) for day in _said_days(match[1] or match[2])]
        yield Fact("date", match.start(), match.end(), tuple(frozenset({key}) for key in keys), frozenset(keys))
    for match in _MONTH_ONLY.finditer(text):
        named: Keys = frozenset({_of_year(_month(match[2]))})
        yield Fact("date", match.start(2), match.end(), (named,) if match[1] else (), named)
    for match in _YEAR_ONLY.finditer(text):
        year = _year(match[1])
        yield Fact("date", match.start(), match.end(), (year,), year)


def _said_days(text: str) -> list[int]:
    return [int(day) if day.isdigit() else ordinal_value(day) for day in _ONE_DAY.findall(text)]


def _day(day: int) -> Key:
    return ("day of month", float(day))


def _of_year(month: int) -> Key:
    return ("month of year", float(month))


def _date(match: re.Match[str], days: list[tuple[int, int]], year: str, *, american: bool = False) -> Iterator[Fact]:
    pairs = [_either(day, month, american) for day, month in days]
    if not all(pairs):
        return
    needs: list[Keys] = [frozenset(("dm", f"{day}.{month}") for day, month in pair) for pair in pairs]
    gives: Keys = frozenset().union(*needs)
    gives |= {key for pair in pairs for day, month in pair for key in (_day(day), _of_year(month))}
    if year:
        needs.append(_year(year))
        gives |= _year(year)
    yield Fact("date", match.start(), match.end(), tuple(needs), gives)


def _either(day: int, month: int, american: bool) -> list[tuple[int, int]]:
    orders = [(day, month), (month, day)] if american else [(day, month)]
    return [(d, m) for d, m in orders if 1 <= d <= 31 and 1 <= m <= 12]


def _short_date(match: re.Match[str]) -> Iterator[Fact]:
    day, month = int(match[1]), int(match[2])
    if not 1 <= day <= 31:
        return
    keys: set[Key] = {("dm", f"{day}.{month}")}
    if day <= 24 and "." in match[0]:  # 10.10 may be ten past ten
        keys.add(_time(day, month))
    yield Fact("date", match.start(), match.end(), (frozenset(keys),), frozenset(keys | {_day(day), _of_year(month)}))


def _year(year: str) -> Keys:
    return frozenset({("number", float(year)), ("year", float(year))})


def _month(written: str) -> int:
    return next(number for number, pattern in enumerate(_MONTHS, 1) if re.fullmatch(pattern, written))


def _clock(text: str) -> Iterator[Fact]:
    """The times of day that are written as such; each reader skips what the readers before it found."""
    for pattern, reader in _CLOCK_READERS:
        for match in pattern.finditer(text):
            yield from reader(text, match)
        text = pattern.sub(_blanked, text)


def _figures(text: str, match: re.Match[str]) -> Iterator[Fact]:
    return _half_after(text, match, int(match[1]), int(match[match.lastindex or 2]), exact=True)


def _all_day(_text: str, match: re.Match[str]) -> Iterator[Fact]:
    all_day: Keys = frozenset({("clock", "all day")})
    yield Fact("time", match.start(), match.end(), () if match[1] else (all_day,), all_day)


def _named(_text: str, match: re.Match[str]) -> Iterator[Fact]:
    yield _at(match.start(), match.end(), frozenset({_time(12 if match[1] else 0)}))


def _towards(text: str, match: re.Match[str]) -> Iterator[Fact]:
    half, quarter, minutes, hour = match.groups()
    minute = 30 if half else 15 if quarter else _number(minutes)
    return _half_after(text, match, _hour_before(_next(hour)), minute)


def _kazakh(_text: str, match: re.Match[str]) -> Iterator[Fact]:
    said = [_number(hour) for hour in match.groups()]
    if max(said) <= 24:
        needs = tuple(frozenset({_time(hour)}) if max(said) > 12 else hours(hour) for hour in said)
        yield Fact("time", match.start(), match.end(), needs, frozenset().union(*needs))


def _less(text: str, match: re.Match[str]) -> Iterator[Fact]:
    minute = 15 if match[1] == "четверти" else _number(match[1])
    return _half_after(text, match, _hour_before(_number(match[2])), 60 - minute)


def _past(text: str, match: re.Match[str]) -> Iterator[Fact]:
    minute, hour = 30 if match[1] else 15 if match[2] else _number(match[3]), _number(match[5])
    if match[4] == "to":
        hour, minute = _hour_before(hour), 60 - minute
    return _half_after(text, match, hour, minute)


def _hour_and_minutes(text: str, match: re.Match[str]) -> Iterator[Fact]:
    if _stands_alone(text, match.end()) or _HALF_AFTER.match(text, match.end()):
        yield from _half_after(text, match, _number(match[1]), _number(match[2]), match.start(1))


def _of_half(text: str, match: re.Match[str]) -> Iterator[Fact]:
    return _hour_of_half(text, match, _number(match[1] or match[3]), match[2] or match[4])


def _of_day(text: str, match: re.Match[str]) -> Iterator[Fact]:
    hour = _number(match[1])
    return _hour_of_half(text, match, hour, match[2]) if 1 < hour <= 12 else iter(())


_CLOCK_READERS: tuple[tuple[re.Pattern[str], Callable[[str, re.Match[str]], Iterator[Fact]]], ...] = (
    (_CLOCK, _figures),
    (_CLOCK_SAID, _figures),
    (_ALL_DAY, _all_day),
    (_NAMED, _named),
    (_KAZAKH_FROM_TO, _kazakh),
    (_KAZAKH_AT, _kazakh),
    (_TOWARDS, _towards),
    (_LESS, _less),
    (_PAST, _past),
    (_HOUR_AND_MINUTES, _hour_and_minutes),
    (_HOUR_OF_HALF, _of_half),
    (_HOUR_OF_DAY, _of_day),
)


def _half_after(
    text: str, match: re.Match[str], hour: int, minute: int, start: int | None = None, *, exact: bool = False
) -> Iterator[Fact]:
    """A time with "am", "вечера" and the like after it. exact: without such a word the 24-hour clock is meant."""
    half = _HALF_AFTER.match(text, match.end())
    if hour <= 24 and minute < 60:
        keys = frozenset({_time(_in_half(hour, half[1]) if half else hour, minute)})
        known = keys if half or exact else hours(hour, minute)
        yield _at(match.start() if start is None else start, half.end() if half else match.end(), known)


def _hour_of_half(text: str, match: re.Match[str], hour: int, half: str) -> Iterator[Fact]:
    if hour > 24:
        return
    needs, start = [frozenset({_time(_in_half(hour, half))})], match.start()
    before = _BEFORE_RANGE.search(text, 0, start)
    if before and int(before[1]) <= 24:
        needs.append(hours(int(before[1])))
        start = before.start()
    yield Fact("time", start, match.end(), tuple(needs), frozenset().union(*needs))


def _said_hours(text: str) -> Iterator[Fact]:
    """The hours that only words around them tell apart from other numbers: "at 10", "from 9 to 6"."""
    for match in _HOURS.finditer(text):
        hour = _number(match[2])
        if hour <= 24 and _may_be_hour(match[1], match[2]):
            lasts = match[1] in ("до", "около", "после")
            lasting: Keys = frozenset({("minute", hour * 60.0)}) if lasts else frozenset()
            yield _at(match.start(2), match.end(), hours(hour) | lasting)
    text = _HOURS.sub(lambda match: text[match.start() : match.start(2)] + "\0" * (match.end() - match.start(2)), text)
    for match in _HOURS_BEFORE.finditer(text):
        if _number(match[1]) <= 24:
            yield _at(match.start(1), match.end(), hours(_number(match[1])))
    text = _HOURS_BEFORE.sub(_blanked, text)
    for match in _RANGE.finditer(text):
        said = [_number(hour) for hour in match.groups() if hour and "\0" not in hour]
        if said and max(said) <= 24 and (not match[2] or _stands_alone(text, match.end())):
            exact = max(said) > 12  # by the 24-hour clock
            needs = tuple(frozenset({_time(hour)}) if exact else hours(hour) for hour in said)
            yield Fact("time", match.start(1), match.end(), needs, frozenset().union(*needs))
    text = _RANGE.sub(_blanked, text)
    for match in _ALONE.finditer(text):
        hour = _number(match[2])
        if hour <= 24 and _may_be_hour(match[1] or "", match[2]) and _stands_alone(text, match.end()):
            keys = hours(hour)
            number: Keys = frozenset({("number", float(hour))})
            yield Fact("time", match.start(2), match.end(), (keys if match[1] else keys | number,), keys | number)


def _may_be_hour(before: str, said: str) -> bool:
    """Whether a number can be an hour: "в двух" is said of two shops."""
    return before not in ("в", "во") or not _OBLIQUE.fullmatch(said)


def _at(start: int, end: int, keys: Keys) -> Fact:
    return Fact("time", start, end, (keys,), keys)


def _number(said: str) -> int:
    if said.startswith("час"):
        return 1
    return int(said) if said.isdigit() else int(spelled_value(said))


def _hour_before(hour: int) -> int:
    return hour - 1 or 12


def _next(said: str) -> int:
    digits = re.match(r"\d+", said)
    return int(digits[0]) if digits else ordinal_value(said)


def _stands_alone(text: str, end: int) -> bool:
    after = AFTER_NUMBER.match(text, end)
    return bool(after and not after[0].strip() and no_noun_follows(text, end) and not _MORE_DIGITS.match(text, end))


def _in_half(hour: int, half: str) -> int:
    if half[0] == "p" or half.endswith(("вечера", "дня", "afternoon", "evening")) or (half == "ночи" and 8 < hour < 12):
        return hour if hour >= 12 else hour + 12
    return 0 if hour == 12 else hour


def _time(hour: int, minute: int = 0) -> Key:
    return ("clock", float((hour * 60 + minute) % 1440))


def _blanked(match: re.Match[str]) -> str:
    return "\0" * len(match[0])
