"""The state of the account's subjects: what the watch found, one row for each, and what a step of connecting found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.storage import keyvalue
from otvet.storage.engines import UtcDateTime, insert, metadata

watched = sa.Table(
    "watched",
    metadata,
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("sentence", sa.Text, nullable=False),  # for people; holds no secret
    sa.Column("looked_at", UtcDateTime, nullable=False),
)

TOKEN, WEBHOOK, DELIVERIES = "token", "webhook", "deliveries"
SUBJECTS = (TOKEN, WEBHOOK, DELIVERIES)
LAST_DELIVERY = "amocrm_last_delivery"
SINCE = "amocrm_watched_since"
TOKEN_ENDS = "amocrm_token_ends"  # noqa: S105 - a name

State = Literal["good", "warning", "bad"]


@dataclass(frozen=True, slots=True)
class Seen:
    """The state in which the watch found a subject; unless it is good, the sentence says what to do."""

    state: State
    sentence: str
    looked_at: datetime


@dataclass(frozen=True, slots=True)
class Step:
    """What a step of connecting found. Holds no token.

    next: what the person has to do; empty if nothing. copied: an address to copy, to be shown whole.
    """

    name: str
    state: State
    sentence: str
    next: str = ""
    copied: str = ""


def worst(steps: Sequence[Step]) -> State:
    """The worst state of all steps."""
    states = {step.state for step in steps}
    return "bad" if "bad" in states else "warning" if "warning" in states else "good"


def keep(connection: Connection, found: Mapping[str, tuple[State, str]], now: datetime) -> None:
    """Store what the watch found, in place of what it found before."""
    for subject, (state, sentence) in sorted(found.items()):
        values = {"state": state, "sentence": sentence, "looked_at": now}
        statement = insert(connection.dialect.name, watched).values(subject=subject, **values)
        connection.execute(statement.on_conflict_do_update(index_elements=["subject"], set_=values))


def seen(connection: Connection) -> dict[str, Seen]:
    """What the watch found last, by subject; empty before its first check."""
    rows = connection.execute(sa.select(watched)).all()
    return {row.subject: Seen(row.state, row.sentence, row.looked_at) for row in rows}


def moment(connection: Connection, name: str) -> datetime | None:
    """A stored moment, such as LAST_DELIVERY; None if there is none."""
    text = keyvalue.recall(connection, name)
    return datetime.fromisoformat(text) if text else None


def for_metrics(connection: Connection) -> dict[str, Any]:
    """What seen() gives, as numbers, and the stored moments; unknown ones are left out."""
    rows = seen(connection)
    worth = {"good": 1.0, "warning": 0.5, "bad": 0.0}
    numbers: dict[str, Any] = {
        "amocrm_good": {subject: worth[one.state] for subject, one in rows.items()},
        "amocrm_looked_timestamp_seconds": {subject: one.looked_at.timestamp() for subject, one in rows.items()},
    }
    for name, kept in (("last_delivery", LAST_DELIVERY), ("token_ends", TOKEN_ENDS)):
        if at := moment(connection, kept):
            numbers[f"amocrm_{name}_timestamp_seconds"] = at.timestamp()
    return numbers


def note_moment(connection: Connection, name: str, at: datetime | None) -> None:
    """Store a moment; None deletes it."""
    keyvalue.note(connection, name, at.isoformat() if at else "")
