"""What the watch has seen of the account, for all processes and for people: one row a subject."""

from collections.abc import Mapping
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
    """How a subject was found, with a sentence that says what to do where it is not good."""

    state: State
    sentence: str
    looked_at: datetime


def keep(connection: Connection, found: Mapping[str, tuple[State, str]], now: datetime) -> None:
    """In place of what was seen before."""
    for subject, (state, sentence) in sorted(found.items()):
        values = {"state": state, "sentence": sentence, "looked_at": now}
        statement = insert(connection.dialect.name, watched).values(subject=subject, **values)
        connection.execute(statement.on_conflict_do_update(index_elements=["subject"], set_=values))


def seen(connection: Connection) -> dict[str, Seen]:
    """What was seen last, by subject; empty before the first look."""
    rows = connection.execute(sa.select(watched)).all()
    return {row.subject: Seen(row.state, row.sentence, row.looked_at) for row in rows}


def moment(connection: Connection, name: str) -> datetime | None:
    """A moment that is kept of the account, such as LAST_DELIVERY."""
    text = keyvalue.recall(connection, name)
    return datetime.fromisoformat(text) if text else None


def for_metrics(connection: Connection) -> dict[str, Any]:
    """The same as numbers; what is not known is left out."""
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
    """Keep a moment, or forget it."""
    keyvalue.note(connection, name, at.isoformat() if at else "")
