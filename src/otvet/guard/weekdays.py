"""Finds days of the week in a text, with ranges and words for several: "пн–пт", "по будням", "daily". No I/O."""

import re
from collections.abc import Iterator
from datetime import date, timedelta

from otvet.guard.denied import clause_around
from otvet.guard.fact import Fact, Key, Keys
from otvet.guard.spelled import LETTER

_LONG = (
    r"понедельник\w*|понеділ\w+|дүйсенбі\w*|mondays?",
    r"вторник\w*|вівтор\w+|сейсенбі\w*|tuesdays?",
    r"сред(?:а|у|ы|ой|ам)(?!\sобитания)|серед(?:а|у|и|ою|ам)|сәрсенбі\w*|wednesdays?",
    r"четверг\w*|четвер|бейсенбі\w*|thursdays?",
    r"пятниц\w+|п'ятниц\w+|жұма\w*|fridays?",
    r"суббот\w+|субот\w+|сенбі\w*|saturdays?",
    r"воскресень\w+|неділ\w+|жексенбі\w*|sundays?",
)
_SHORT = ("пн|mon", "вт|tue", "ср|wed", "чт|thu", "пт|fri", "сб|sat", "вс|нд|sun")
_WEEK = range(7)
_KIND = "weekday"

_long = "|".join(_LONG)
_short = "|".join(_SHORT)
_END = rf"(?![{LETTER}])"
_ANY = rf"(?:{_long}|(?:{_short})\.?){_END}"
_RANGE = re.compile(rf"(?<![{LETTER}])({_ANY})\s?(?:-|до|по|to|through|till)\s?({_ANY})")
_LIST = re.compile(rf"(?<![{LETTER}])({_ANY})(?=(?:\s?[,/]\s?|\s(?:и|или|та|and|or|мен)\s){_ANY})")
_ONE = re.compile(
    rf"(?<![{LETTER}])(?:(?:окружающ\w+|в\sсреде)\s\w+|({_long}){_END}"
    rf"|(?:(?<=по\s)|(?<=в\s)|(?<=во\s)|(?<=на\s)|(?<=до\s)|(?<=с\s)|(?<=и\s)|(?<=,\s)|(?<=on\s))({_short}){_END}"
    rf"|({_short}){_END}(?=\.?\s?[:\d(-]))"
)
_WORKDAYS = re.compile(
    rf"(?<![{LETTER}])(?:будн(?:и|ям|ях|ие|им|і)|(?:по|в)\sрабочи[ем]\sдн\w+|weekdays?|жұмыс\sкүндері){_END}"
)
_WEEKEND = re.compile(
    r"(?:(?<=по\s)|(?<=в\s)|(?<=на\s)|(?<=у\s)|(?<=on\s)|(?<=at\s)|(?<=at\sthe\s))"
    rf"(?:выходн(?:ые|ым|ых)|вихідн(?:і|их|им)|weekends?){_END}"
    r"|\bвыходные(?=\s?[-:(]|\s(?:с|до|от)\s[\d\0]|\s[\d\0])"
)
_DAILY = re.compile(
    rf"(?<![{LETTER}])(?:ежедневно|каждый\sдень|без\sвыходных|(?:7|семь)\sдней\sв\sнеделю|щодня|без\sвихідних|күн\sсайын|every\sday|daily"
    rf"|(?:7|seven)\sdays\sa\sweek){_END}"
)
OPENS = re.compile(
    r"\b(?:работа|открыт|приним|достав|прив[ео]з|отправ|график|режим|отгруж|выда[её]м|open|deliver|work|ship|hours|працю"
    r"|відчин|істейді|ашық)"
)
"""How a sentence begins a word that says when somebody works."""
_CLOSED = re.compile(
    r"\b(?:кроме|исключая|выходной|закрыт|не\s(?:работа|приним|достав|прив[ео]з|отправ)|except|closed"
    r"|not\s(?:open|deliver|work)|крім|зачинен|вихідний|не\sпрацю|демалыс|басқа)"
)
_WISH = re.compile(r"\b(?:хорош|приятн|удачн|отличн|добр|прекрасн|have\sa\s|happy|гарн)\w*\s(?:вам\s)?\Z")
OPEN = "open"
"""The kind of the keys of days on which the company works, which a client cannot make known."""


def read(text: str) -> Iterator[Fact]:
    """The weekdays of a text in lower case. "Daily" has to be known where it says when somebody works."""
    taken: list[tuple[int, int]] = []
    for pattern, days in _PATTERNS:
        for match in pattern.finditer(text):
            found = list(days(match))
            if found and not any(start < match.end() and match.start() < end for start, end in taken):
                taken.append(match.span())
                yield _fact(text, match, found, only_when=pattern is _DAILY)


def _fact(text: str, match: re.Match[str], days: list[int], *, only_when: bool) -> Fact:
    """The fact of some days. only_when: they have to be known only where it says when somebody works.

    Days on which nobody works claim nothing and prove nothing: that a shop is closed is seldom written.
    """
    before, after = clause_around(text, *match.span())
    opens = bool(OPENS.search(before) or OPENS.search(after))
    needs = tuple(frozenset({(OPEN if opens else _KIND, float(day))}) for day in days)
    gives = frozenset((name, float(day)) for name in (OPEN, _KIND) for day in days)
    if _WISH.search(before) or _CLOSED.search(f"{before} {after}" if not only_when else before):
        needs, gives = (), frozenset()
    elif only_when and not (opens or re.match(r",?\s(?:с|from)\s[\d\0]", text[match.end() :])):
        needs = ()
    return Fact("date", match.start(), match.end(), needs, gives)


def of_week(fact: Fact) -> bool:
    """Whether a fact is a day of the week, and no date."""
    return any(name == OPEN for name, _ in fact.gives) and not any(name == "dm" for name, _ in fact.gives)


def of(day: date) -> Keys:
    """The keys of the weekday of a date."""
    return frozenset({(OPEN, float(day.weekday())), (_KIND, float(day.weekday()))})


def near(text: str, today: date) -> Keys:
    """The keys of the weekdays that "today", "tomorrow" and "the day after tomorrow" of a text stand for."""
    words = (
        r"сегодня|today|сьогодні|бүгін",
        r"(?<!после)завтра|tomorrow|ертең",
        r"послезавтра|day after tomorrow|післязавтра",
    )
    return frozenset(
        _key((today + timedelta(days=n)).weekday()) for n, word in enumerate(words) if re.search(word, text)
    )


def _from_to(match: re.Match[str]) -> Iterator[int]:
    first, last = _number(match[1]), _number(match[2])
    return (day % 7 for day in range(first, last + 1 if last >= first else last + 8))


def _named(match: re.Match[str]) -> Iterator[int]:
    return (_number(name) for name in match.groups() if name)


def _number(name: str) -> int:
    name = name.rstrip(".")
    return next(n for n in _WEEK if re.fullmatch(f"{_LONG[n]}|{_SHORT[n]}", name))


def _key(day: int) -> Key:
    return (_KIND, float(day))


_PATTERNS = (
    (_RANGE, _from_to),
    (_LIST, _named),
    (_ONE, _named),
    (_WORKDAYS, lambda _: iter(range(5))),
    (_WEEKEND, lambda _: iter((5, 6))),
    (_DAILY, lambda _: iter(_WEEK)),
)
