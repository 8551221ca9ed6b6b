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
from otvet.turns.turn import Turn, turns

attempts = sa.Table(
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
"""How often a responder may write one draft: once, and once more when the checks found something in it."""

SUMMARY = 1000
"""The number, as if it were a draft's, of the summary that is written after a turn."""


class TakenOver(StorageError):
    """Another process owns the turn, because this one seemed dead; nothing was stored, and it must not go on."""


TAKEN_OVER = N_("another process has taken the turn over")


class Attempt:
    """One responder's attempt at one draft, as responders see it (see responders.base.Attempt) and as it ended.

    begun_at: when its responder was asked. started_at: when the first writing of the draft was, for both writings share
        one budget of time.
    facts, thread: what the responder remembers of the turn and of the conversation.
    outcome, ended_at: None until it has ended. spent: what it cost, in the responder's unit; None: not known.
    refused, findings: what it wrote and must not be sent, and why.
    is_open: its responder is to be asked now.
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
        self.findings = tuple(Finding(*one) for one in (row.findings if row else None) or ())
        self.spent: int | None = None
        self.is_open = False
        self.is_booked = row is not None and row.ended_at is None  # begun before a crash
        self._log = log

    async def remember(self, **facts: Any) -> None:
        self.facts = {**self.facts, **facts}
        await self._log.store(self)

    async def keep_thread(self, thread: str | None) -> None:
        self.thread = self._log.threads[self.responder] = thread
        await self._log.store_thread(self.responder, thread)

    def end(self, outcome: str, spent: int | None = None) -> None:
        """It ended now; stored with the reply. spent: in the responder's unit; None: what is booked stands."""
        self.outcome, self.ended_at, self.spent = outcome, self._log.clock.now(), spent
        self.is_open = False

    async def refuse(self, text: str, findings: Sequence[Finding], spent: int | None = None) -> None:
        """What it wrote must not be sent; stored at once, because the responder is shown it when it writes anew."""
        self.end(REFUSED, spent)
        self.refused, self.findings = text, tuple(findings)
        await self._log.store(self, final=True)
        self.is_booked = False

    @property
    def correction(self) -> Mapping[tuple[date, str], int]:
        """What the cost makes of the booking, on the day of the booking."""
        if not self.is_booked or self.spent is None or self.responder not in spending.UNITS:
            return {}
        return {(self.begun_at.date(), self.responder): self.spent - spending.EXPECTED[self.responder]}


class AttemptLog:
    """All attempts at one draft of a turn, or at the summary after it; in memory alone, see StoredAttempts.

    draft: the number of the draft's first writing; the second writing has the next number.
    threads: by responder, its own id of the conversation.
    """

    def __init__(self, clock: Clock, draft: int = 0) -> None:
        self.clock = clock
        self.threads: dict[str, str | None] = {}
        self._draft = draft
        self._by_key: dict[tuple[int, str], Attempt] = {}

    def of(self, responder: str, writing: int = 0) -> Attempt:
        """The attempt at this draft, or the one that a crash left behind. writing: 0, or 1 for writing it anew."""
        key = (self._draft + writing, responder)
        if key not in self._by_key:
            self._by_key[key] = Attempt(self, *key, self._row(*key))
        return self._by_key[key]

    async def begin(self, responder: str, writing: int = 0) -> Attempt:
        """The attempt at this draft, begun now and open, if its responder is to be asked.

        An attempt is not opened if its draft was refused before a crash, or if its ceiling is reached. One begun before
        a crash keeps the moment at which it began, and goes on whatever it costs, because it is paid for.
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
        """The attempts at this draft that this process has looked at, in their order."""
        return tuple(self._by_key.values())

    async def book(self, attempt: Attempt) -> str | None:
        """Book what the attempt is expected to cost; gives why it must not be made, if its ceiling is reached."""
        return None

    async def store(self, attempt: Attempt, *, final: bool = False) -> None:
        """Store an attempt before it has ended; with ``final``, as it has ended, and with what it cost."""

    async def store_thread(self, responder: str, thread: str | None) -> None:
        """Store a responder's own id of the conversation; None: it has none."""

    def _row(self, draft: int, responder: str) -> Row[Any] | None:
        return None


class StoredAttempts(AttemptLog):
    """An AttemptLog in the database.

    An attempt's row is written when there is something to remember, and at the latest with the outcome: a responder
    that answers at once costs no commit of its own.

    ceilings: by responder, what it may spend in a day; see spending.UNITS.
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
        """Store how all attempts ended, and what that cost."""
        amounts: Counter[tuple[date, str]] = Counter()
        for attempt in self.attempts:
            if attempt.outcome is not None:
                self._save(connection, attempt)
                amounts.update(attempt.correction)
        spending.add(connection, amounts)

    def _row(self, draft: int, responder: str) -> Row[Any] | None:
        return self._rows.get((draft, responder))

    def _save(self, connection: Connection, attempt: Attempt) -> bool:
        """False where the turn has another owner by now: what was asked for this one does not know its later words."""
        turn = connection.execute(_TURN, {"turn": self._turn_id}).one_or_none()
        if turn is None:
            return True  # joined to another one while the summary after it was written
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
            "findings": [(one.kind, one.text) for one in attempt.findings] or None,
        }
        if turn.reason == "erased":  # meanwhile: what it wrote must not come back
            row |= {"refused": None, "findings": None}
        connection.execute(_saving(connection.dialect.name), row)
        return True


def forget(connection: Connection, turn_id: int) -> None:
    """Nobody will see the draft that they were attempts at."""
    connection.execute(attempts.delete().where(attempts.c.turn_id == turn_id))


_IS_ASKED = sa.select(attempts.c.id).where(
    attempts.c.turn_id == sa.bindparam("turn"), attempts.c.draft >= sa.bindparam("draft")
)


def is_asked(connection: Connection, turn_id: int, redrafts: int) -> bool:
    """Whether any responder was asked for the present draft of a turn."""
    return connection.execute(_IS_ASKED, {"turn": turn_id, "draft": redrafts * WRITINGS}).first() is not None


def of_turn(connection: Connection, turn_id: int) -> Sequence[Row[Any]]:
    """All attempts at a turn, in their order."""
    in_order = _ATTEMPTS.order_by(attempts.c.draft // WRITINGS, attempts.c.started_at, attempts.c.draft, attempts.c.id)
    return connection.execute(in_order, {"turn": turn_id}).all()


_TURN = (
    sa.select(turns.c.owner, turns.c.reason)
    .where(turns.c.id == sa.bindparam("turn"))
    .with_for_update(read=True)  # it must not go, nor change hands, before its attempt is there
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
    """Forget what was remembered of these turns, and the responders' own ids of these conversations."""
    here = attempts.c.turn_id.in_(turn_ids)
    connection.execute(attempts.update().where(here).values(facts={}, refused=None, findings=sa.null()))
    connection.execute(threads.delete().where(threads.c.conversation_id.in_(conversation_ids)))
