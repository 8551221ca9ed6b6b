"""Compares the facts of a reply with the known ones: numbers, dates, phones, links and e-mails. No I/O.

Meanings are compared, not spellings: "1 500 руб." is "1500 ₽". A fact is known if the company, its managers or the
assistant's earlier replies said it, except for the pieces that the guard doubted in a reply that was sent. A client's
words are a source for dates, times, amounts and the client's own phone and e-mail, but not for a price, a percentage, a
link, a promo code or an account: a client who writes "you promised it for 1 ruble" must not get that confirmed, neither
as "1 ruble" nor as "yes, 1".
"""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from otvet.guard import denied, facts, free, numbers, units, weekdays
from otvet.guard.arithmetic import Sums
from otvet.guard.fact import Fact, Key, Keys, blank, lower, plain, visible
from otvet.guard.finding import Finding
from otvet.responders.base import Context, Line

_CLIENT_IS_NO_SOURCE = frozenset({"price", "percent", "link", "code", "account"})
_PRICES = frozenset({*units.CURRENCIES, "any price"})
_BARE = _PRICES | {"loose", "number", "count", "price"}
_CLOSE = 25  # characters
_LEAST = 100  # a smaller number without a currency is no price
_ROOT = 5  # letters
_TIME = re.compile(
    r"\b(?:час|ден|дн|недел|месяц|сут|ноч|шт|человек|метр|night|day|week|hour|person|per\b|күн|годин)\w*"
)
_WORKS = re.compile(rf"{weekdays.OPENS.pattern}\w*")
_WE = re.compile(r"\b(?:мы|у нас|открыты|\w+(?:аем|яем|им)|we|our)\b")
_TOUCH = re.compile(r"\s?[,(-]?\s?(?:(?:в|во|это|on|у)\s)?")  # between a date and its day of the week
_MOST_BEFORE = 200  # characters before a price in which its name is looked for
_PIECE = re.compile(r"\n|[.;]\s")
_BOTH = re.compile(r"\b(?:об[ае]|обеи[хм]|обои[хм]|вдвоем|вдвоём|двоим|двоих|both|couple|обидв\w+|екеу\w*)\b")
_SHARE = re.compile(
    r"%|процент|скид|предоплат|аванс|предопл|discount|deposit|\boff\b|знижк|жеңілдік|передоплат|percent"
)
_BESIDE = re.compile(
    r"\b(сегодня|завтра|послезавтра|today|tomorrow|сьогодні|післязавтра),?\s(?:(?:во?|это|у|on|is)\s)?\Z"
)


@dataclass(frozen=True, slots=True)
class Working:
    """A price of a reply that was reckoned from known ones. text: the piece of the reply. how: "2 × 1900 + 350"."""

    text: str
    how: str


def check(reply: str, context: Context) -> list[Finding]:
    """The facts of a reply that the context does not contain, in their order and each once."""
    return judge(reply, context)[0]


def judge(reply: str, context: Context) -> tuple[list[Finding], list[Working]]:
    """The unknown facts of a reply, and its prices that are sums or products of known ones; each once."""
    reply = visible(reply)
    text = plain(reply)
    stated = [fact for fact in facts.read(text) if fact.needs]
    if not stated:
        return [], []
    sources = _Sources(context, text, stated)
    sums = _Reckoning(text, stated, context, sources)
    missing: list[Finding] = []
    workings: list[Working] = []
    judged = [(fact, sources.know(fact, text)) for fact in stated]
    for fact, known in judged:
        if known:
            sums.note(fact)
    for fact, known in judged:
        piece = reply[fact.start : fact.end].strip()
        if known:
            continue
        if how := sums.working_of(fact):
            workings.append(Working(piece, how))
        elif not sources.is_only_denied(fact, text):
            missing.append(Finding(fact.kind, piece))
    return list(dict.fromkeys(missing)), list(dict.fromkeys(workings))


class _Sources:
    """What is known from whom."""

    def __init__(self, context: Context, text: str, stated: list[Fact]) -> None:
        company, passages, client = _sources(context)
        self.from_company = facts.known(company) | facts.known_for_long(passages)
        claims = facts.claims(client)
        self._said = facts.known(client) | claims
        self._said_values = _values(self._said)
        self._from_client = frozenset(key for key in self._said - claims if key[0] != weekdays.OPEN)
        self._question = context.question_text
        self._today = context.question[-1].at.date()
        self._weekdays = _weekdays(lower(text), stated, self._today)
        sentences = [lower(one) for each in (*company, *passages) for one in _PIECE.split(each)]
        self._days = [(_whom(one), days) for one in sentences if (days := _days_in(one))]
        self._dates = [fact for fact in stated if _day_of(fact)]
        self._client_counted = {value for name, value in self._from_client if name == "loose"} - {1.0}
        self._given_away = (
            [("", one) for one in company]
            + [(" ".join((*passage.above, passage.heading)), passage.text) for passage in context.knowledge]
            + [("", context.instructions)]
        )

    def of_company(self) -> list[tuple[str, str]]:
        """The texts of the company with their headings."""
        return self._given_away

    def know(self, fact: Fact, text: str) -> bool:
        """Whether a fact of the reply is known from somebody who may say it."""
        known = self.from_company
        if fact.kind not in _CLIENT_IS_NO_SOURCE:
            known |= self._from_client
        if fact.kind == "date":
            known |= self._weekdays
            known = self._only_days(fact, text) or known
        if fact.kind == "quantity" and _values_of(fact, "number") <= self._client_counted:
            return True
        if not all(not need.isdisjoint(known) for need in fact.needs):
            return False
        return free.KEY not in fact.gives or free.is_known(text, fact, self._question, self._given_away)

    def _only_days(self, fact: Fact, text: str) -> Keys:
        """The day of the week of the date, or of the "tomorrow", that stands beside a weekday; else nothing."""
        if near := _BESIDE.search(lower(text[max(0, fact.start - _CLOSE) : fact.start])):
            return weekdays.near(near[1], self._today)
        if not weekdays.of_week(fact):
            return frozenset()
        beside = [one for one in self._dates if _TOUCH.fullmatch(text, *_gap(one, fact))]
        if beside:
            return frozenset(key for one in beside for key in _weekdays_of(_day_of(one), self._today))
        return self._days_of_subject(lower(text), fact)

    def _days_of_subject(self, text: str, fact: Fact) -> Keys:
        """The weekdays of those sentences of the company that name whom the fact is about, such as a doctor or a group.

        The clause of the fact names them, or else the question, unless the clause speaks of the company ("we").
        """
        clause = " ".join((*denied.clause_around(text, fact.start, fact.end),))
        about = _whom(clause) or (frozenset() if _WE.search(clause) else _whom(lower(plain(self._question))))
        named = (days for whom, days in self._days if about & whom)
        return frozenset(key for days in named for key in days)

    def is_only_denied(self, fact: Fact, text: str) -> bool:
        """Whether the reply denies what the client named, as in "за 500 ₽ не отдадим"."""
        named = all(not need.isdisjoint(self._said) for need in fact.needs)
        if fact.kind in ("price", "number"):
            named = named or _values(fact.gives) <= self._said_values
        return named and denied.is_denied(lower(text), fact.start, fact.end)


class _Reckoning:
    """The sums and products that a reply may state."""

    def __init__(self, text: str, stated: list[Fact], context: Context, sources: _Sources) -> None:
        self._text = lower(text)
        asked = lower(plain(visible(context.question_text)))
        counts = numbers.counted(self._text) | numbers.counted(asked) | ({2.0} if _BOTH.search(asked) else set())
        known = sources.from_company
        shares = (
            [float(value) for name, value in known if name == "percent"] if _SHARE.search(self._text + asked) else []
        )
        currencies = set(filter(None, map(_currency, stated)))
        named = _named(sources.of_company(), f"{self._text} {asked}") if currencies else {}
        self._by_currency = {
            code: Sums((float(value) for name, value in known if name == code), counts, shares, named)
            for code in currencies
        }

    def note(self, fact: Fact) -> None:
        for sums in self._by_currency.values():
            for name, value in fact.gives:
                if name in units.CURRENCIES or name == "loose":
                    sums.state(float(value))

    def working_of(self, fact: Fact) -> str:
        code = _currency(fact)
        return self._by_currency[code].working_of(_amount(fact), self._text[: fact.end]) if code else ""


def _named(texts: list[tuple[str, str]], said: str) -> dict[float, frozenset[str]]:
    """The prices before which a company's text has a word or a figure of what was said, each with these."""
    found: dict[float, frozenset[str]] = {}
    about = _label(said)
    for heading, text in texts:
        for named, amounts in _cached_prices(text) if heading else _prices(text):
            if by := named & about:
                found |= dict.fromkeys(amounts, by)
    return found


def _prices(text: str) -> list[tuple[frozenset[str], list[float]]]:
    """The prices of a text, each with the words and figures before it that name something."""
    folded, end, found = plain(visible(text)), 0, []
    for fact in facts.read(folded):
        if fact.kind == "price":
            before = folded[max(end, fact.start - _MOST_BEFORE) : fact.start]
            amounts = [float(value) for name, value in fact.gives if name in _PRICES]
            found.append((_label(_PIECE.split(before)[-1]), amounts))
            end = fact.end
    return found


_cached_prices = lru_cache(maxsize=512)(_prices)  # of passages, which many questions share


def _label(text: str) -> frozenset[str]:
    """The beginnings of the words that name something, and the figures of a size or a model."""
    words = {word[:_ROOT] for word in free.subject(_TIME.sub(" ", lower(text)))}
    return frozenset(words | set(re.findall(r"(?<!\d)\d{2,3}(?!\d| \d{3})", text)))


def _day_of(fact: Fact) -> str:
    """The day and month that a fact names, such as "14.2"; empty if it names none."""
    return next((str(value) for name, value in fact.gives if name == "dm"), "")


def _days_in(sentence: str) -> Keys:
    return frozenset(key for fact in weekdays.read(sentence) for key in fact.gives)


def _whom(text: str) -> frozenset[str]:
    """The beginnings of the words that name somebody or something, without those that say that they work."""
    days = [(fact.start, fact.end) for fact in weekdays.read(text)]
    return frozenset(word for word in _label(_WORKS.sub(" ", blank(text, days))) if not word.isdigit())


def _gap(one: Fact, other: Fact) -> tuple[int, int]:
    """Where the text between two facts begins and ends."""
    return min(one.end, other.end), max(one.start, other.start)


def _values_of(fact: Fact, kind: str) -> set[float | str]:
    """The values of a kind that a fact gives; a fact without any has a value that nobody names."""
    return {value for name, value in fact.gives if name == kind} or {""}


def _values(keys: Keys) -> set[float]:
    return {value for name, value in keys if name in _BARE and isinstance(value, float)}


def _currency(fact: Fact) -> str:
    """The currency of a price of one amount; roubles if it names none, empty for everything else."""
    amounts = {(name, value) for name, value in fact.gives if name in _PRICES}
    if fact.kind == "number":
        amounts = {(name, value) for name, value in fact.gives if name == "loose" and float(value) >= _LEAST}
    elif fact.kind != "price":
        return ""
    if len({value for _, value in amounts}) != 1:
        return ""
    return next((name for name, _ in amounts if name in units.CURRENCIES), "RUB")


def _amount(fact: Fact) -> float:
    return next(float(value) for name, value in fact.gives if name in _PRICES or name == "loose")


def _weekdays(text: str, stated: list[Fact], today: date) -> Keys:
    """The weekdays of the dates that a reply names, this year and next, and of its "today" and "tomorrow"."""
    dates = {str(value) for fact in stated for name, value in fact.gives if name == "dm"}
    return weekdays.near(text, today).union(*(_weekdays_of(one, today) for one in dates))


def _weekdays_of(day_and_month: str, today: date) -> Iterator[Key]:
    """The weekday of the nearest day of that date."""
    day, month = map(int, day_and_month.split("."))
    days = []
    for year in (today.year - 1, today.year, today.year + 1):
        with contextlib.suppress(ValueError):  # February 29
            days.append(date(year, month, day))
    yield from weekdays.of(min(days, key=lambda one: abs(one - today))) if days else ()


def _sources(context: Context) -> tuple[list[str], list[str], list[str]]:
    """The company's texts in this conversation, its texts for all questions, and the client's texts."""
    passages = [context.instructions]
    for passage in context.knowledge:
        passages += ["\n".join((*passage.above, passage.heading)), passage.text]
    # A summary mixes both sides: a price that only the summary has may be the client's invention.
    company: list[str] = []
    client = [context.summary]
    for name, value in context.known:
        (client if name in context.names else company).append(f"{name}: {value}")
    for line in (*context.history, *context.question):
        (client if line.sender == "client" else company).append(_undoubted(line))
    return _readable(company), _readable(passages), _readable(client)


def _undoubted(line: Line) -> str:
    """A message without the pieces that the guard doubted when it was sent: a mistake must not confirm itself."""
    text = visible(line.text)
    for piece in line.doubted:
        text = re.sub(rf"(?<!\w){re.escape(piece)}(?!\w)", " ", text)
    return text


def _readable(texts: list[str]) -> list[str]:
    return [plain(visible(text)) for text in texts if text]
