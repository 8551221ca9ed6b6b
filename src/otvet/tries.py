"""Tries: which responder was asked for a turn, when, and how it ended; and what it must remember across a crash."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.database import Database, Id, Json, UtcDateTime, insert, metadata

tries = sa.Table(
    "tries",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("turn_id", Id, sa.ForeignKey("turns.id"), nullable=False),
    sa.Column("draft", sa.Integer, nullable=False, server_default="0"),  # which one of the turn's drafts
    sa.Column("responder", sa.Text, nullable=False),
    sa.Column("started_at", UtcDateTime, nullable=False),
    sa.Column("ended_at", UtcDateTime),
    sa.Column("outcome", sa.Text),  # replied, or why not, for a person
    sa.Column("facts", Json, nullable=False),  # ids and states, never a client's words
    sa.UniqueConstraint("turn_id", "draft", "responder"),
)

threads = sa.Table(
    "threads",
    metadata,
    sa.Column("conversation_id", Id, sa.ForeignKey("conversations.id"), primary_key=True),
    sa.Column("responder", sa.Text, primary_key=True),
    sa.Column("thread", sa.Text, nullable=False),  # the responder's own id of the conversation: a Manus task
)

REPLIED = "replied"


class Try:
    """One responder's try at one turn: the Journal that responders are given, kept in the database.

    Its row is written when there is something to remember, and at the latest with the outcome: a responder that
    answers at once costs no commit of its own.
    """

    def __init__(
        self,
        database: Database,
        key: Mapping[str, Any],
        conversation_id: int,
        started_at: datetime,
        facts: Mapping[str, Any],
        thread: str | None,
        outcome: str | None,
    ) -> None:
        self.started_at = started_at
        self.facts: Mapping[str, Any] = facts
        self.thread = thread
        self.outcome = outcome
        self._database = database
        self._key = key
        self._conversation_id = conversation_id

    async def remember(self, **facts: Any) -> None:
        self.facts = {**self.facts, **facts}
        await self._database.write(self._keep)

    async def keep_thread(self, thread: str | None) -> None:
        self.thread = thread
        key = {"conversation_id": self._conversation_id, "responder": self._key["responder"]}

        def write(connection: Connection) -> None:
            connection.execute(threads.delete().filter_by(**key))
            if thread is not None:
                connection.execute(threads.insert().values(**key, thread=thread))

        await self._database.write(write)

    def end(self, connection: Connection, outcome: str, now: datetime) -> None:
        """Say how it went: REPLIED, or why there was no reply."""
        self.outcome = outcome
        self._keep(connection, outcome=outcome, ended_at=now)

    def _keep(self, connection: Connection, **values: Any) -> None:
        row = {**self._key, "started_at": self.started_at, "facts": self.facts, "outcome": None, "ended_at": None}
        connection.execute(_keeping(connection.dialect.name), {**row, **values})


@cache  # once for each dialect: building it anew costs more than running it
def _keeping(dialect: str) -> Any:
    statement = insert(dialect, tries)
    said_later = {name: statement.excluded[name] for name in ("facts", "outcome", "ended_at")}
    return statement.on_conflict_do_update(index_elements=["turn_id", "draft", "responder"], set_=said_later)


def begin(
    connection: Connection,
    database: Database,
    turn_id: int,
    draft: int,
    conversation_id: int,
    responders: Sequence[str],
    now: datetime,
) -> list[Try]:
    """A try for each responder, begun now, or the one that a crash left behind."""
    here = {"turn_id": turn_id, "draft": draft}
    known = {row.responder: row for row in connection.execute(sa.select(tries).filter_by(**here))}
    kept = connection.execute(sa.select(threads).filter_by(conversation_id=conversation_id))
    thread_of = {row.responder: row.thread for row in kept}
    begun = []
    for name in responders:
        row = known.get(name)
        started_at, facts, outcome = (row.started_at, row.facts, row.outcome) if row else (now, {}, None)
        key = {**here, "responder": name}
        begun.append(Try(database, key, conversation_id, started_at, facts, thread_of.get(name), outcome))
    return begun
