"""Numbers for the API, the metrics and the command line, read from the database."""

import time
from datetime import datetime
from statistics import median
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.conversations.tables import clients, conversations, is_trial, messages
from otvet.intake.quarantine import quarantined
from otvet.storage import counters
from otvet.turns import handoffs
from otvet.turns.attempts import REPLIED, SUMMARY, attempts
from otvet.turns.turn import OPEN, State, Writer, turns

MOST_COUNTED = 1000

_STARTED = time.monotonic()

_OF_REPLIES = attempts.c.draft < SUMMARY
_IS_QUESTION = turns.c.responder.is_distinct_from(Writer.PERSON)
"""Not a manager's own words, which are a turn too."""

_OUTSIDE = attempts.c.responder.not_in(("knowledge", "template"))
"""Responders whose failures count as errors. It is no error that the knowledge folder has no passage for a question."""


def uptime_seconds() -> int:
    """Seconds since this process began."""
    return int(time.monotonic() - _STARTED)


def read(connection: Connection, now: datetime) -> dict[str, Any]:
    """The totals since the database was made, without trial chats.

    questions = answered + left to staff + small talk + open + what the settings or a manager took from the assistant. A
    reply that only says that a person will answer is no answer.

    messages_received = messages_saved + duplicates: what amoCRM delivered. errors: replies that failed for good and
    attempts of a responder that ended without a reply.
    """
    by_sender = _counted(connection, messages.c.sender_type)
    by_state = _counted(connection, turns.c.state, _IS_QUESTION)
    manus = sa.select(sa.func.count()).where(attempts.c.responder == "manus", _OF_REPLIES)
    failed = sa.select(sa.func.count()).where(attempts.c.outcome.is_not(None), attempts.c.outcome != REPLIED, _OUTSIDE)
    failed_attempts = connection.scalar(failed.where(_OF_REPLIES))
    answered = sa.select(sa.func.count()).where(
        ~is_trial(turns), _IS_QUESTION, turns.c.state.in_((State.SENT, State.KEPT)), turns.c.summary.is_(None)
    )
    totals = counters.totals(connection)
    saved = by_sender.get("client", 0) + by_sender.get("manager", 0)
    duplicates = totals.get("duplicates", 0)
    return {
        "messages_received": saved + duplicates,
        "messages_saved": saved,
        "duplicates": duplicates,
        "manus_requests": connection.scalar(manus),
        "replies_sent": by_state.get(State.SENT, 0),
        "replies_kept": by_state.get(State.KEPT, 0),
        "errors": by_state.get(State.FAILED, 0) + (failed_attempts or 0),
        "turns_open": sum(by_state.get(state, 0) for state in OPEN),
        "questions": sum(by_state.values()),
        "answered": connection.scalar(answered.where(turns.c.responder.not_in((Writer.SMALL_TALK, Writer.PERSON)))),
        "left_to_staff": _left_to_staff(connection),
        "waiting_for_staff": handoffs.waiting(connection, now),
        "median_seconds_to_staff": _median_seconds_to_staff(connection),
        "clients": connection.scalar(sa.select(sa.func.count()).select_from(clients)),
        "conversations": connection.scalar(sa.select(sa.func.count()).where(~is_trial(conversations))),
        "quarantined": quarantined(connection),
        "messages": {sender: by_sender.get(sender, 0) for sender in ("client", "assistant", "manager")},
        "turns": {state.value: by_state.get(state, 0) for state in State},
        "ignored_events": {
            name.removeprefix("event."): value for name, value in sorted(totals.items()) if name.startswith("event.")
        },
    }


def _left_to_staff(connection: Connection) -> dict[str, int]:
    """How many questions were left to staff, by the reason for which they were, however they ended since."""
    query = (
        sa.select(turns.c.left_because, sa.func.count())
        .where(turns.c.handoff_id.is_not(None), ~is_trial(turns))
        .group_by(turns.c.left_because)
    )
    return dict(sorted(map(tuple, connection.execute(query))))


def _median_seconds_to_staff(connection: Connection) -> int | None:
    """How long clients waited for a manager's first words, of the newest hand-offs; None if there is none yet."""
    waited = handoffs.answered_after(connection, MOST_COUNTED)
    return int(median(waited)) if waited else None


def _counted(connection: Connection, column: sa.Column[Any], *where: sa.ColumnElement[bool]) -> dict[str, int]:
    real = sa.select(column, sa.func.count()).where(~is_trial(column.table), *where)
    return {name: count for name, count in connection.execute(real.group_by(column))}  # noqa: C416 - no pairs to mypy
