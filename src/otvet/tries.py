"""Tries: which responder was asked for a turn, when, and how it ended; and what it must remember across a crash."""

from collections.abc import Mapping
from datetime import datetime
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
    """One responder's try at one turn: the Journal that responders are given, kept in the database."""

    def __init__(
        self,
        database: Database,
        id_: int,
        conversation_id: int,
        responder: str,
        started_at: datetime,
        facts: Mapping[str, Any],
        thread: str | None,
        ended: bool,
    ) -> None:
        self.started_at = started_at
        self.facts: Mapping[str, Any] = facts
        self.thread = thread
        self.ended = ended
        self._database = database
        self.id = id_
        self._conversation_id = conversation_id
        self._responder = responder

    async def remember(self, **facts: Any) -> None:
        self.facts = {**self.facts, **facts}
        statement = tries.update().where(tries.c.id == self.id).values(facts=self.facts)
        await self._database.write(lambda connection: connection.execute(statement).rowcount)

    async def keep_thread(self, thread: str | None) -> None:
        self.thread = thread
        key = {"conversation_id": self._conversation_id, "responder": self._responder}

        def write(connection: Connection) -> None:
            connection.execute(threads.delete().filter_by(**key))
            if thread is not None:
                connection.execute(threads.insert().values(**key, thread=thread))

        await self._database.write(write)


async def begin(
    database: Database, turn_id: int, draft: int, conversation_id: int, responder: str, now: datetime
) -> Try:
    """Open a try, or find the one that a crash left behind."""

    def write(connection: Connection) -> Try:
        row = {"turn_id": turn_id, "draft": draft, "responder": responder}
        connection.execute(insert(connection, tries).values(**row, started_at=now, facts={}).on_conflict_do_nothing())
        found = connection.execute(sa.select(tries).filter_by(**row)).one()
        thread = connection.scalar(
            sa.select(threads.c.thread).filter_by(conversation_id=conversation_id, responder=responder)
        )
        return Try(
            database, found.id, conversation_id, responder, found.started_at, found.facts, thread, bool(found.outcome)
        )

    return await database.write(write)


def end(connection: Connection, try_id: int, outcome: str, now: datetime) -> None:
    """Say how a try went: REPLIED, or why there was no reply."""
    connection.execute(tries.update().where(tries.c.id == try_id).values(outcome=outcome, ended_at=now))
