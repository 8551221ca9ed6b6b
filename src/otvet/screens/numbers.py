"""Numbers of a period for the head of sales, beside those of the period before.

A question counts in the period in which it was asked. Trial chats do not count.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.conversations.messages import origin_of
from otvet.conversations.tables import is_trial, messages
from otvet.storage.spending import spending
from otvet.turns.attempts import attempts
from otvet.turns.handoffs import ClosedBy
from otvet.turns.handoffs import handoffs as handoffs_table
from otvet.turns.turn import OPEN, Reason, State, Writer, turns

DURABLE = timedelta(days=7)
MINUTES_A_REPLY = 2
"""What a reply takes a manager, as it is assumed for the hours saved."""

MOST_CHANNELS = 8

_later = turns.alias("later")


@dataclass(frozen=True, slots=True)
class Hour:
    """What was asked in one hour of one day, by the company's clock."""

    day: date
    hour: int
    asked: int
    answered: int
    left: int


@dataclass(frozen=True, slots=True)
class Numbers:
    """One period. Durations are seconds; None where there is nothing to count.

    asked = answered + left + small_talk + open + others (a manager came first, or the settings say so).
    approved: of the answered ones, those that a manager approved or wrote.
    stayed: of the answered ones that are older than a week, those after which the chat needed no person for a week;
    reopened: the others. findings: drafts that the checks refused. spent: by responder, in its own unit.
    """

    since: datetime
    until: datetime
    asked: int
    answered: int
    approved: int
    left: int
    small_talk: int
    open: int
    others: int
    left_by_reason: Mapping[str, int]
    stayed: int
    reopened: int
    reply_median: float | None
    reply_p95: float | None
    person_median: float | None
    findings: int
    gaps: int
    spent: Mapping[str, int]
    hours: tuple[Hour, ...]
    channels: Mapping[str, int]

    @property
    def saved_hours(self) -> float:
        return self.answered * MINUTES_A_REPLY / 60

    @property
    def share(self) -> float | None:
        """The share that the assistant answered, of what it answered or left to staff."""
        both = self.answered + self.left
        return self.answered / both if both else None

    def days(self) -> Iterator[tuple[date, int, int, int]]:
        """(day, asked, answered, left), every day of the period."""
        by_day = Counter[tuple[date, str]]()
        for one in self.hours:
            by_day.update(
                {(one.day, "asked"): one.asked, (one.day, "answered"): one.answered, (one.day, "left"): one.left}
            )
        zone = self.since.tzinfo
        day, last = self.since.date(), self.until.astimezone(zone).date()
        while day <= last:
            yield day, by_day[day, "asked"], by_day[day, "answered"], by_day[day, "left"]
            day += timedelta(days=1)

    def of_the_day(self) -> list[int]:
        """What was asked in each hour of the day."""
        counted = Counter[int]()
        for one in self.hours:
            counted[one.hour] += one.asked
        return [counted[hour] for hour in range(24)]


def periods(now: datetime, days: int, zone: tzinfo) -> tuple[tuple[datetime, datetime], tuple[datetime, datetime]]:
    """The period of so many days that ends now, today included, and the same stretch right before it."""
    midnight = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    since = midnight - timedelta(days=days - 1)
    span = timedelta(days=days)
    return (since, now.astimezone(zone)), (since - span, now.astimezone(zone) - span)


def read(connection: Connection, since: datetime, until: datetime, now: datetime) -> Numbers:
    """The numbers of a period; ``since`` carries the company's zone."""
    here = sa.and_(
        turns.c.first_message_at >= since,
        turns.c.first_message_at < until,
        ~is_trial(turns),
        sa.func.coalesce(turns.c.reason, "") != Reason.REWORDED,
        turns.c.responder.is_distinct_from(Writer.PERSON),  # a manager's own words are no question
    )
    hours = tuple(_hours(connection, here, since.tzinfo or UTC))
    small_talk = _count(connection, here, _IS_ANSWER, turns.c.responder == Writer.SMALL_TALK)
    asked, answered = sum(one.asked for one in hours), sum(one.answered for one in hours)
    left = sum(one.left for one in hours)
    open_ = _count(connection, here, turns.c.state.in_(OPEN), turns.c.handoff_id.is_(None))
    stayed, reopened = _durable(connection, here, now)
    durations = _percentiles(connection, here)
    return Numbers(
        since=since,
        until=until,
        asked=asked,
        answered=answered,
        approved=_count(connection, here, _ANSWERED, turns.c.approved),
        left=left,
        small_talk=small_talk,
        open=open_,
        others=asked - answered - left - small_talk - open_,
        left_by_reason=_left_by_reason(connection, here),
        stayed=stayed,
        reopened=reopened,
        reply_median=durations[0],
        reply_p95=durations[1],
        person_median=_until_person(connection, since, until),
        findings=_findings(connection, since, until),
        gaps=_count(connection, here, turns.c.gap),
        spent=_spent(connection, since, until),
        hours=hours,
        channels=_channels(connection, here),
    )


_IS_ANSWER = sa.and_(
    turns.c.state.in_((State.SENT, State.KEPT)),
    turns.c.summary.is_(None),
    sa.or_(turns.c.handoff_id.is_(None), turns.c.approved),
)
_ANSWERED = sa.and_(_IS_ANSWER, sa.func.coalesce(turns.c.responder, "") != Writer.SMALL_TALK)
_LEFT = sa.and_(turns.c.handoff_id.is_not(None), ~_IS_ANSWER)


def _count(connection: Connection, *where: sa.ColumnElement[bool]) -> int:
    return connection.scalar(sa.select(sa.func.count()).select_from(turns).where(*where)) or 0


def _hours(connection: Connection, here: sa.ColumnElement[bool], zone: tzinfo) -> Iterator[Hour]:
    """By the hour in UTC, which the database groups by; by the company's clock afterwards."""
    if connection.dialect.name == "sqlite":
        hour: sa.ColumnElement[Any] = sa.func.substr(sa.cast(turns.c.first_message_at, sa.Text), 1, 13)
    else:
        hour = sa.func.date_trunc("hour", turns.c.first_message_at)
    query = sa.select(
        hour.label("hour"),
        sa.func.count().label("asked"),
        sa.func.sum(sa.case((_ANSWERED, 1), else_=0)).label("answered"),
        sa.func.sum(sa.case((_LEFT, 1), else_=0)).label("left"),
    ).where(here)
    for row in connection.execute(query.group_by(hour).order_by(hour)):
        at = datetime.fromisoformat(f"{row.hour}:00+00:00") if isinstance(row.hour, str) else row.hour
        local = at.astimezone(zone)
        yield Hour(local.date(), local.hour, row.asked, row.answered, row.left)


def _left_by_reason(connection: Connection, here: sa.ColumnElement[bool]) -> dict[str, int]:
    """By the reason, the most frequent first."""
    query = sa.select(turns.c.left_because, sa.func.count()).where(here, _LEFT).group_by(turns.c.left_because)
    counted = Counter({reason or Reason.WAITED: count for reason, count in connection.execute(query)})
    return dict(counted.most_common())


def _durable(connection: Connection, here: sa.ColumnElement[bool], now: datetime) -> tuple[int, int]:
    """Of the answered questions that are a week old: (the chat needed no person within a week, it did)."""
    week_later = _plus_week(connection, turns.c.first_message_at)
    needed = sa.exists().where(
        _later.c.conversation_id == turns.c.conversation_id,
        _later.c.chat_ref == turns.c.chat_ref,
        _later.c.id > turns.c.id,
        _later.c.first_message_at < week_later,
        _later.c.handoff_id.is_not(None),
    )
    old = turns.c.first_message_at < now - DURABLE
    all_ = _count(connection, here, _ANSWERED, old)
    reopened = _count(connection, here, _ANSWERED, old, needed) if all_ else 0
    return all_ - reopened, reopened


def _plus_week(connection: Connection, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    if connection.dialect.name == "sqlite":
        return sa.func.strftime("%Y-%m-%d %H:%M:%S", column, "+7 days")
    return column + sa.text("interval '7 days'")


def _seconds(connection: Connection, start: Any, end: Any) -> sa.ColumnElement[Any]:
    if connection.dialect.name == "sqlite":
        return (sa.func.julianday(end) - sa.func.julianday(start)) * 86400.0
    return sa.func.extract("epoch", end - start)


def _percentiles(connection: Connection, here: sa.ColumnElement[bool]) -> tuple[float | None, float | None]:
    """How long an answered client waited: median and 95th percentile, by nearest rank."""
    took = _seconds(connection, turns.c.first_message_at, turns.c.closed_at)
    where = (here, _ANSWERED, turns.c.state == State.SENT, turns.c.closed_at.is_not(None))
    count = _count(connection, *where)
    if not count:
        return None, None
    ordered = sa.select(took).where(*where).order_by(took)
    ranks = ((count - 1) // 2, min(count - 1, (count * 95 + 99) // 100 - 1))
    median, p95 = (connection.scalar(ordered.limit(1).offset(rank)) for rank in ranks)
    return float(median or 0), float(p95 or 0)


def _until_person(connection: Connection, since: datetime, until: datetime) -> float | None:
    """How long clients waited until a manager wrote: the median of the hand-offs that began in the period."""
    took = _seconds(connection, handoffs_table.c.opened_at, handoffs_table.c.closed_at)
    where = (
        handoffs_table.c.closed_by == ClosedBy.MANAGER,
        handoffs_table.c.opened_at >= since,
        handoffs_table.c.opened_at < until,
        ~is_trial(handoffs_table),
    )
    count = connection.scalar(sa.select(sa.func.count()).select_from(handoffs_table).where(*where)) or 0
    if not count:
        return None
    value = connection.scalar(sa.select(took).where(*where).order_by(took).limit(1).offset((count - 1) // 2))
    return float(value or 0)


def _findings(connection: Connection, since: datetime, until: datetime) -> int:
    """How many drafts the checks refused."""
    query = sa.select(sa.func.count()).where(
        attempts.c.refused.is_not(None), attempts.c.started_at >= since, attempts.c.started_at < until
    )
    return connection.scalar(query) or 0


def _spent(connection: Connection, since: datetime, until: datetime) -> dict[str, int]:
    days = (spending.c.day >= since.astimezone(UTC).date(), spending.c.day <= until.astimezone(UTC).date())
    query = sa.select(spending.c.responder, sa.func.sum(spending.c.amount)).where(*days).group_by(spending.c.responder)
    return {name: int(amount) for name, amount in connection.execute(query)}


def _channels(connection: Connection, here: sa.ColumnElement[bool]) -> dict[str, int]:
    """How many questions each channel brought, the busiest first; the channel of a question's first message."""
    first = (
        sa.select(sa.func.min(messages.c.id))
        .where(messages.c.turn_id == turns.c.id, messages.c.sender_type == "client")
        .correlate(turns)
        .scalar_subquery()
    )
    origin = messages.c.metadata["raw"]["origin"].as_string()
    joined = (
        sa.select(origin.label("origin"), sa.func.count()).select_from(turns).join(messages, messages.c.id == first)
    )
    rows = connection.execute(joined.where(here).group_by(origin))
    counted = Counter[str]()
    for name, count in rows:
        counted[origin_of({"raw": {"origin": name}})] += count
    busiest = counted.most_common(MOST_CHANNELS)
    return dict(busiest)
