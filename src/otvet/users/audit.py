"""Who did what, and when: an entry for each change that a person makes. The only file that writes ``audit``.

It names deals and questions by number and never repeats what a client wrote.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.storage.engines import Id, Json, UtcDateTime, metadata

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("who", sa.Text, nullable=False),  # the user's name then, or a token's
    sa.Column("did", sa.Text, nullable=False),  # such as "approve"
    sa.Column("what", sa.Text, nullable=False, server_default=sa.text("''")),  # such as "turn 12", "deal 345"
    sa.Column("details", Json),
    sa.Index(None, "what"),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of ``audit``."""

    id: int
    at: datetime
    who: str
    did: str
    what: str
    details: Any


def note(connection: Connection, who: str, did: str, what: str, now: datetime, **details: Any) -> None:
    """Remember that somebody did something; in the transaction that does it."""
    connection.execute(audit.insert().values(at=now, who=who, did=did, what=what, details=details or None))


def noted(
    who: str, did: str, what: str, now: datetime, function: Callable[[Connection], Any], **details: Any
) -> Callable[[Connection], Any]:
    """A change that is noted in its own transaction, unless it returns None, False or a sentence why not."""

    def run(connection: Connection) -> Any:
        result = function(connection)
        if result is not None and result is not False and not isinstance(result, str):
            note(connection, who, did, what, now, **details)
        return result

    return run


def listed(connection: Connection, limit: int, before: int = 0) -> Sequence[Entry]:
    """The newest entries first. before: only those with a smaller id."""
    query = sa.select(audit).order_by(audit.c.id.desc()).limit(limit)
    if before:
        query = query.where(audit.c.id < before)
    return [Entry(*row) for row in connection.execute(query)]


def last_who(connection: Connection, did: str, what: str) -> str | None:
    """Who did this last."""
    return last_who_of(connection, (did,), what)


def last_who_of(connection: Connection, did: Collection[str], what: str) -> str | None:
    """Who did one of these last."""
    query = sa.select(audit.c.who).where(audit.c.what == what, audit.c.did.in_(did))
    return connection.scalar(query.order_by(audit.c.id.desc()).limit(1))
