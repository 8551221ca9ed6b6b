"""Attempts: which responder was asked for a turn, when, and how it ended; and what it must remember across a crash."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from otvet.clock import Clock
from otvet.errors import StorageError
from otvet.guard.finding import Finding
from otvet.i18n import N_, _
from otvet.storage import spending
from otvet.storage.database import Database
from otvet.storage.engines import Id, Json, UtcDateTime, insert, metadata
from otvet.storage.storable import storable
from otvet.turns.turn import Turn, turns

attempts = sa.Table(
    "tries",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("turn_id", Id, sa.ForeignKey("turns.id"), nullable=False),
    sa.Column("draft", sa.Integer, nullable=False, server_default="0"),  # the number of the draft, or SUMMARY
    sa.Column("responder", sa.Text, nullable=False),
    sa.Column("started_at", UtcDateTime, nullable=False),
    sa.Column("ended_at", UtcDateTime),
    sa.Column("outcome", sa.Text),  # REPLIED, REFUSED, or a sentence why there is no reply
    sa.Column("facts", Json, nullable=False),  # ids and states, never a client's words
    sa.Column("refused", sa.Text),  # the text of a refused draft
    sa.Column("findings", Json),  # why it was refused: (kind, text) of each finding
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
"""How many times a responder may write one draft: once, and once more if the checks found something."""

SUMMARY = 1000
"""The draft number of the summary that is written after a turn."""


class TakenOver(StorageError):
    """Another process owns the turn, because this process seemed dead. Nothing was stored; this process must stop."""


TAKEN_OVER = N_("another process has taken the question over")


class Attempt:
    """One responder's attempt at one draft. Responders see the part that is in responders.base.Attempt.

    begun_at: when its responder was asked. started_at: when the first writing of the draft began; both writings share
        one time budget.
    facts, thread: what the responder remembers of the turn and of the conversation.
    outcome, ended_at: None until it has ended. spent: its cost in the responder's unit; None: not known.
    refused, findings: the refused text, and why it was refused.
    is_open: its responder is to be asked now. is_booked: its expected cost is booked.
    """

    def __init__(self, log: "AttemptLog", draft: int, responder: str, row: Row[Any] | None = None) -> None:
        self.draft = draft
        self.responder = responder
        self.begun_at: datetime = row.started_at if row else log.clock.now()
        self.started_at = self.begun_at
        self.facts: Mapping[str, Any] = row.facts if row else {}
        self.thread = log.threads.get(responder)
        self.outcome: str | None = row.outcome if row else None
        self.ended_at: datetime | None = row.ended_at if row else None
        self.refused: str | None = row.refused if row else None
        self.findings = tuple(Finding(*finding) for finding in (row.findings if row else None) or ())
        self.spent: int | None = None
        self.is_open = False
        self.is_booked = row is not None and row.ended_at is None  # begun before a crash
        self._log = log

    async def remember(self, **facts: Any) -> None:
        self.facts = {**self.facts, **storable(facts)}
        await self._log.store(self)

    async def keep_thread(self, thread: str | None) -> None:
        self.thread = self._log.threads[self.responder] = thread
        await self._log.store_thread(self.responder, thread)

    def end(self, outcome: str, spent: int | None = None) -> None:
        """End the attempt; the reply's commit stores it. spent: in the responder's unit; None: the booking stands."""
        self.outcome, self.ended_at, self.spent = outcome, self._log.clock.now(), spent
        self.is_open = False

    async def refuse(self, text: str, findings: Sequence[Finding], spent: int | None = None) -> None:
        """End the attempt with a refused text. Stored at once: the responder is shown the text for the next writing."""
        self.end(REFUSED, spent)
        self.refused, self.findings = text, tuple(findings)
        await self._log.store(self, final=True)
        self.is_booked = False

    @property
    def correction(self) -> Mapping[tuple[date, str], int]:
        """The difference between the cost and the booking, by (day of the booking, responder)."""
        if not self.is_booked or self.spent is None or self.responder not in spending.UNITS:
            return {}
        return {(self.begun_at.date(), self.responder): self.spent - spending.EXPECTED[self.responder]}


class AttemptLog:
    """All attempts at one draft of a turn, or at the summary after it. In memory only; see StoredAttempts.

    draft: the number of the draft's first writing; the second writing has the next number.
    threads: each responder's own id of the conversation.
    """

    def __init__(self, clock: Clock, draft: int = 0) -> None:
        self.clock = clock
        self.threads: dict[str, str | None] = {}
        self._draft = draft
        self._by_key: dict[tuple[int, str], Attempt] = {}

    def of(self, responder: str, writing: int = 0) -> Attempt:
        """The attempt at this draft, also one that a crash left behind. writing: 0, or 1 for the second writing."""
        key = (self._draft + writing, responder)
        if key not in self._by_key:
            self._by_key[key] = Attempt(self, *key, self._row(*key))
        return self._by_key[key]

    async def begin(self, responder: str, writing: int = 0) -> Attempt:
        """The attempt at this draft, begun now and open if its responder is to be asked.

        The attempt stays closed if its draft was refused before a crash, or if its ceiling is reached. An attempt begun
        before a crash keeps its begun_at, and goes on whatever it costs, because it is paid for.
        """
        attempt = self.of(responder, writing)
        if attempt.refused is not None:
            return attempt
        if not attempt.facts:
            attempt.begun_at = self.clock.now()
        attempt.started_at = self.of(responder).started_at if writing else attempt.begun_at
        attempt.is_open = True
        if not attempt.facts and responder in spending.UNITS:
            closed = await self.book(attempt)
            attempt.is_booked = closed is None
            if closed is not None:
                attempt.end(closed)
        return attempt

    @property
    def attempts(self) -> Sequence[Attempt]:
        """The attempts at this draft that this log was asked for, in their order."""
        return tuple(self._by_key.values())

    async def book(self, attempt: Attempt) -> str | None:
        """Book the attempt's expected cost. If the ceiling is reached, returns a sentence that says so instead."""
        return None

    async def store(self, attempt: Attempt, *, final: bool = False) -> None:
        """Store an attempt that goes on; with ``final``, one that has ended, with its cost."""

    async def store_thread(self, responder: str, thread: str | None) -> None:
        """Store a responder's own id of the conversation; None deletes it."""

    def _row(self, draft: int, responder: str) -> Row[Any] | None:
        return None


class StoredAttempts(AttemptLog):
    """An AttemptLog in the database.

    An attempt's row is written when there is something to remember, at the latest with the outcome: a responder that
    answers at once costs no extra commit.

    ceilings: the most that each responder may spend in a day, in its own unit; see spending.UNITS.
    """

    def __init__(
        self,
        connection: Connection,
        database: Database,
        clock: Clock,
        turn: Turn,
        draft: int,
        ceilings: Mapping[str, int] = {},
    ) -> None:
        super().__init__(clock, draft)
        self._database = database
        self._turn_id = turn.id
        self._owner = turn.owner
        self._of_chat = {"conversation_id": turn.conversation_id, "chat_ref": turn.chat_ref}
        self._ceilings = ceilings
        self._rows = {(row.draft, row.responder): row for row in connection.execute(_ATTEMPTS, {"turn": turn.id})}
        stored = connection.execute(_THREADS, self._of_chat)
        self.threads.update({row.responder: row.thread for row in stored})

    async def book(self, attempt: Attempt) -> str | None:
        day, ceiling = attempt.begun_at.date(), self._ceilings.get(attempt.responder)
        return await self._database.write(lambda connection: spending.book(connection, day, attempt.responder, ceiling))

    async def store(self, attempt: Attempt, *, final: bool = False) -> None:
        def write(connection: Connection) -> None:
            if not self._save(connection, attempt):
                raise TakenOver(_(TAKEN_OVER))
            if final:
                spending.add(connection, attempt.correction)

        await self._database.write(write)

    async def store_thread(self, responder: str, thread: str | None) -> None:
        key = {**self._of_chat, "responder": responder}

        def write(connection: Connection) -> None:
            connection.execute(threads.delete().filter_by(**key))
            if thread is not None:
                connection.execute(threads.insert().values(**key, thread=thread))

        await self._database.write(write)

    def save(self, connection: Connection) -> None:
        """Store the outcome and the cost of all attempts that have ended."""
        amounts: Counter[tuple[date, str]] = Counter()
        for attempt in self.attempts:
            if attempt.outcome is not None:
                self._save(connection, attempt)
                amounts.update(attempt.correction)
        spending.add(connection, amounts)

    def _row(self, draft: int, responder: str) -> Row[Any] | None:
        return self._rows.get((draft, responder))

    def _save(self, connection: Connection, attempt: Attempt) -> bool:
        """Write the row. False if the turn has another owner by now: the attempt does not know its newer messages."""
        turn = connection.execute(_TURN, {"turn": self._turn_id}).one_or_none()
        if turn is None:
            return True  # the turn was joined to another while its summary was written
        if turn.owner != self._owner:
            return False
        row = {
            "turn_id": self._turn_id,
            "draft": attempt.draft,
            "responder": attempt.responder,
            "started_at": attempt.begun_at,
            "ended_at": attempt.ended_at,
            "outcome": attempt.outcome,
            "facts": attempt.facts,
            "refused": attempt.refused,
            "findings": [(finding.kind, finding.text) for finding in attempt.findings] or None,
        }
        if turn.reason == "erased":  # meanwhile: the refused text must not come back
            row |= {"refused": None, "findings": None}
        connection.execute(_saving(connection.dialect.name), row)
        return True


def forget(connection: Connection, turn_id: int) -> None:
    """Delete the attempts at a draft that nobody will see."""
    connection.execute(attempts.delete().where(attempts.c.turn_id == turn_id))


_IS_ASKED = sa.select(attempts.c.id).where(
    attempts.c.turn_id == sa.bindparam("turn"), attempts.c.draft >= sa.bindparam("draft")
)


def is_asked(connection: Connection, turn_id: int, redrafts: int) -> bool:
    """Whether a responder was asked for the present draft of a turn. redrafts: the turn's."""
    return connection.execute(_IS_ASKED, {"turn": turn_id, "draft": redrafts * WRITINGS}).first() is not None


def of_turn(connection: Connection, turn_id: int) -> Sequence[Row[Any]]:
    """All attempts at a turn, in their order."""
    in_order = _ATTEMPTS.order_by(attempts.c.draft // WRITINGS, attempts.c.started_at, attempts.c.draft, attempts.c.id)
    return connection.execute(in_order, {"turn": turn_id}).all()


_TURN = (
    sa.select(turns.c.owner, turns.c.reason)
    .where(turns.c.id == sa.bindparam("turn"))
    .with_for_update(read=True)  # the turn must not be deleted or change its owner before the attempt is written
)
_ATTEMPTS = sa.select(attempts).where(attempts.c.turn_id == sa.bindparam("turn"))
_THREADS = sa.select(threads).where(
    threads.c.conversation_id == sa.bindparam("conversation_id"), threads.c.chat_ref == sa.bindparam("chat_ref")
)


@cache  # once for each dialect: building it anew costs more than running it
def _saving(dialect: str) -> Any:
    statement = insert(dialect, attempts)
    said_later = {name: statement.excluded[name] for name in ("facts", "outcome", "ended_at", "refused", "findings")}
    return statement.on_conflict_do_update(index_elements=["turn_id", "draft", "responder"], set_=said_later)


def erase(connection: Connection, turn_ids: Collection[int], conversation_ids: Collection[int]) -> None:
    """Erase the facts and texts of the attempts at these turns, and the responders' ids of these conversations."""
    here = attempts.c.turn_id.in_(turn_ids)
    connection.execute(attempts.update().where(here).values(facts={}, refused=None, findings=sa.null()))
    connection.execute(threads.delete().where(threads.c.conversation_id.in_(conversation_ids)))
