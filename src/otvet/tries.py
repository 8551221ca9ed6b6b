"""Tries: which responder was asked for a turn, when, and how it ended; and what it must remember across a crash."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from otvet.clock import Clock
from otvet.guard.guard import Finding
from otvet.storage import spending
from otvet.storage.database import Database
from otvet.storage.engines import Id, Json, UtcDateTime, insert, metadata

tries = sa.Table(
    "tries",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("turn_id", Id, sa.ForeignKey("turns.id"), nullable=False),
    sa.Column("draft", sa.Integer, nullable=False, server_default="0"),  # which one of the turn's drafts; or SUMMARY
    sa.Column("responder", sa.Text, nullable=False),
    sa.Column("started_at", UtcDateTime, nullable=False),
    sa.Column("ended_at", UtcDateTime),
    sa.Column("outcome", sa.Text),  # replied, refused, or why not, for a person
    sa.Column("facts", Json, nullable=False),  # ids and states, never a client's words
    sa.Column("refused", sa.Text),  # what it wrote and was not sent
    sa.Column("findings", Json),  # why: (kind, text) of each
    sa.UniqueConstraint("turn_id", "draft", "responder"),
)

threads = sa.Table(
    "threads",
    metadata,
    sa.Column("conversation_id", Id, sa.ForeignKey("conversations.id"), primary_key=True),
    sa.Column("chat_ref", sa.Text, primary_key=True, server_default=sa.text("''")),  # see turns.chat_ref
    sa.Column("responder", sa.Text, primary_key=True),
    sa.Column("thread", sa.Text, nullable=False),  # the responder's own id of the conversation: a Manus task
)

REPLIED = "replied"
REFUSED = "refused"  # by our own checks
WRITINGS = 2
"""A responder writes a draft at most so often: once, and once more when the checks found something in it."""

SUMMARY = 1000
"""The number, as if it were a draft's, of the summary that is written after a turn."""


class Try:
    """One responder's try at one draft: the Journal that responders are given, kept in the database.

    Its row is written when there is something to remember, and at the latest with the outcome: a responder that
    answers at once costs no commit of its own.

    first: the responder's first writing of the draft, if this is the second one. Both share one budget.
    """

    def __init__(
        self, notes: "Notes", draft: int, responder: str, row: Any, thread: str | None, first: "Try | None"
    ) -> None:
        self.responder = responder
        self.begun_at: datetime = row.started_at if row else notes.clock.now()
        self.started_at = self.begun_at
        self.facts: Mapping[str, Any] = row.facts if row else {}
        self.thread = thread
        self.outcome: str | None = row.outcome if row else None
        self.ended_at: datetime | None = row.ended_at if row else None
        self.refused: str | None = row.refused if row else None
        self.findings = tuple(Finding(*one) for one in (row.findings if row else None) or ())
        self._notes = notes
        self._draft = draft
        self._first = first
        self._booked = row is not None and row.ended_at is None  # begun before a crash
        self._spent: int | None = None

    async def begin(self) -> str | None:
        """It is to be asked now; gives why not, if its ceiling is reached.

        What was begun before a crash has its moment already, and goes on whatever it costs: that is paid for.
        """
        self.begun_at = self.begun_at if self.facts else self._notes.clock.now()
        self.started_at = self._first.started_at if self._first else self.begun_at
        if self.facts or self.responder not in spending.UNITS:
            return None
        ceiling = self._notes.ceilings.get(self.responder)
        closed = await self._notes.database.write(
            lambda connection: spending.book(connection, self.begun_at.date(), self.responder, ceiling)
        )
        self._booked = closed is None
        return closed

    async def remember(self, **facts: Any) -> None:
        self.facts = {**self.facts, **facts}
        await self._notes.database.write(self.save)

    async def keep_thread(self, thread: str | None) -> None:
        self.thread = thread
        self._notes.threads[self.responder] = thread
        notes = self._notes
        key = {"conversation_id": notes.conversation_id, "chat_ref": notes.chat_ref, "responder": self.responder}

        def write(connection: Connection) -> None:
            connection.execute(threads.delete().filter_by(**key))
            if thread is not None:
                connection.execute(threads.insert().values(**key, thread=thread))

        await self._notes.database.write(write)

    def end(self, outcome: str, spent: int | None = None) -> None:
        """It ended now; kept with the reply. spent: in the responder's unit; None: not known, what is booked stands."""
        self.outcome, self.ended_at, self._spent = outcome, self._notes.clock.now(), spent

    async def refuse(self, text: str, findings: Sequence[Finding], spent: int | None = None) -> None:
        """What it wrote must not be sent; kept at once, because it is shown to the one that writes it anew."""
        self.end(REFUSED, spent)
        self.refused, self.findings = text, tuple(findings)

        def write(connection: Connection) -> None:
            self.save(connection)
            spending.add(connection, self.correction)

        await self._notes.database.write(write)
        self._booked = False

    @property
    def correction(self) -> Mapping[tuple[date, str], int]:
        """What the cost makes of the booking, on the day of which that was."""
        if not self._booked or self._spent is None or self.responder not in spending.UNITS:
            return {}
        return {(self.begun_at.date(), self.responder): self._spent - spending.EXPECTED[self.responder]}

    def save(self, connection: Connection) -> None:
        turn = connection.execute(_TURN, {"turn": self._notes.turn_id}).one_or_none()
        if turn is None:
            return  # joined to another one while the summary after it was written
        row = {
            "turn_id": self._notes.turn_id,
            "draft": self._draft,
            "responder": self.responder,
            "started_at": self.begun_at,
            "ended_at": self.ended_at,
            "outcome": self.outcome,
            "facts": self.facts,
            "refused": self.refused,
            "findings": [(one.kind, one.text) for one in self.findings] or None,
        }
        if turn.reason == "erased":  # meanwhile: what it wrote must not come back
            row |= {"refused": None, "findings": None}
        connection.execute(_keeping(connection.dialect.name), row)


class Notes:
    """All tries at one draft of a turn, or at the summary after it.

    draft: which one: a number for each writing, beginning with this one.
    ceilings: by responder, what it may spend in a day; see spending.UNITS.
    """

    def __init__(
        self,
        connection: Connection,
        database: Database,
        clock: Clock,
        turn_id: int,
        draft: int,
        conversation_id: int,
        chat_ref: str = "",
        ceilings: Mapping[str, int] = {},
    ) -> None:
        self.database = database
        self.clock = clock
        self.ceilings = ceilings
        self.turn_id = turn_id
        self.conversation_id = conversation_id
        self.chat_ref = chat_ref
        self._draft = draft
        self._known = {(row.draft, row.responder): row for row in connection.execute(_TRIES, {"turn": turn_id})}
        kept = connection.execute(_THREADS, {"conversation": conversation_id, "chat": chat_ref})
        self.threads: dict[str, str | None] = {row.responder: row.thread for row in kept}
        self._made: dict[tuple[int, str], Try] = {}

    def one(self, responder: str, writing: int) -> Try:
        """The try at this draft, or the one that a crash left behind. writing: 0, or 1 when it writes once more."""
        key = (self._draft + writing, responder)
        if key not in self._made:
            first = self.one(responder, writing - 1) if writing else None
            self._made[key] = Try(self, *key, self._known.get(key), self.threads.get(responder), first)
        return self._made[key]

    def save(self, connection: Connection) -> None:
        """Keep how all of them ended, and what that cost."""
        ended = [one for one in self._made.values() if one.outcome is not None]
        amounts: Counter[tuple[date, str]] = Counter()
        for one in ended:
            one.save(connection)
            amounts.update(one.correction)
        spending.add(connection, amounts)


def forget(connection: Connection, turn_id: int) -> None:
    """Nobody will see the draft that they were attempts at."""
    connection.execute(tries.delete().where(tries.c.turn_id == turn_id))


_IS_ASKED = sa.select(tries.c.id).where(tries.c.turn_id == sa.bindparam("turn"), tries.c.draft >= sa.bindparam("draft"))


def is_asked(connection: Connection, turn_id: int, redrafts: int) -> bool:
    """Whether any responder was asked for the present draft of a turn."""
    return connection.execute(_IS_ASKED, {"turn": turn_id, "draft": redrafts * WRITINGS}).first() is not None


def of_turn(connection: Connection, turn_id: int) -> Sequence[Row[Any]]:
    """All tries at a turn, in their order."""
    in_order = _TRIES.order_by(tries.c.draft // WRITINGS, tries.c.started_at, tries.c.draft, tries.c.id)
    return connection.execute(in_order, {"turn": turn_id}).all()


_turns = sa.table("turns", sa.column("id"), sa.column("reason"))  # by name, because turns.py knows this module
_TURN = (
    sa.select(_turns.c.reason)
    .where(_turns.c.id == sa.bindparam("turn"))
    .with_for_update(read=True, key_share=True)  # it must not go before its try is there
)
_TRIES = sa.select(tries).where(tries.c.turn_id == sa.bindparam("turn"))
_THREADS = sa.select(threads).where(
    threads.c.conversation_id == sa.bindparam("conversation"), threads.c.chat_ref == sa.bindparam("chat")
)


@cache  # once for each dialect: building it anew costs more than running it
def _keeping(dialect: str) -> Any:
    statement = insert(dialect, tries)
    said_later = {name: statement.excluded[name] for name in ("facts", "outcome", "ended_at", "refused", "findings")}
    return statement.on_conflict_do_update(index_elements=["turn_id", "draft", "responder"], set_=said_later)


def erase(connection: Connection, turn_ids: Collection[int], conversation_ids: Collection[int]) -> None:
    """Forget what was remembered of these turns, and the responders' own ids of these conversations."""
    here = tries.c.turn_id.in_(turn_ids)
    connection.execute(tries.update().where(here).values(facts={}, refused=None, findings=sa.null()))
    connection.execute(threads.delete().where(threads.c.conversation_id.in_(conversation_ids)))
