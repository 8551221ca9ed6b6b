"""What the page of the assistant's health reads: nothing is called, only what is stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.account import health
from otvet.conversations.tables import is_trial
from otvet.intake.quarantine import quarantined
from otvet.storage import heartbeats, outages, spending
from otvet.storage.outages import Outage
from otvet.turns import handoffs
from otvet.turns.attempts import REPLIED, SUMMARY, attempts
from otvet.turns.turn import OPEN, turns

LATELY = timedelta(hours=1)
NEWEST = 500  # attempts that are looked at, so that a busy hour costs no more


@dataclass(frozen=True, slots=True)
class Asked:
    """How a responder did in the last hour. failed: of ``asked``. why: what the last failure said."""

    asked: int
    failed: int
    why: str


@dataclass(frozen=True, slots=True)
class Health:
    """What is stored of the state of things.

    open: how many questions have no reply yet; oldest: since when the oldest of them waits. processes: those alive.
    responders: by name. spent: today, in each responder's unit. seen: what the watch over the account found last.
    """

    open: int
    oldest: datetime | None
    waiting_for_staff: int
    quarantined: int
    processes: int
    outage: Outage | None
    seen: Mapping[str, health.Seen]
    last_delivery: datetime | None
    token_ends: datetime | None
    responders: Mapping[str, Asked]
    spent: Mapping[str, int]


def read(connection: Connection, now: datetime) -> Health:
    """Everything, by a handful of small queries."""
    waiting = turns.c.state.in_(OPEN)
    query = sa.select(sa.func.count(), sa.func.min(turns.c.first_message_at)).where(waiting, ~is_trial(turns))
    count, oldest = connection.execute(query).one()
    return Health(
        count,
        oldest,
        handoffs.waiting(connection, now),
        quarantined(connection),
        len(heartbeats.alive(connection, now)),
        outages.current(connection),
        health.seen(connection),
        health.moment(connection, health.LAST_DELIVERY),
        health.moment(connection, health.TOKEN_ENDS),
        _responders(connection, now),
        spending.on(connection, now.astimezone(UTC).date()),
    )


def _responders(connection: Connection, now: datetime) -> Mapping[str, Asked]:
    newest = sa.select(attempts).order_by(attempts.c.id.desc()).limit(NEWEST).subquery()
    query = (
        sa.select(newest.c.responder, newest.c.outcome)
        .where(newest.c.started_at >= now - LATELY, newest.c.draft < SUMMARY, newest.c.outcome.is_not(None))
        .order_by(newest.c.id)
    )
    ended: dict[str, list[str]] = {}
    for responder, outcome in connection.execute(query):
        ended.setdefault(responder, []).append(outcome)
    return {name: _asked(outcomes) for name, outcomes in ended.items()}


def _asked(outcomes: Sequence[str]) -> Asked:
    failures = [one for one in outcomes if one != REPLIED]
    return Asked(len(outcomes), len(failures), failures[-1] if failures else "")
