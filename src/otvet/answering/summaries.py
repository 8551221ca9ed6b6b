"""The rolling summary of a long conversation: it covers the messages before those that a responder is told."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection, Row

from otvet.answering.context import as_line
from otvet.answering.writer import ReplyWriter
from otvet.clock import Clock
from otvet.conversations.conversation import save_summary
from otvet.conversations.history import people
from otvet.conversations.messages import NEVER_SAID, of_lead
from otvet.conversations.tables import conversations, messages
from otvet.errors import StorageError
from otvet.i18n import language_of
from otvet.storage.database import Database
from otvet.storage.engines import UtcDateTime
from otvet.turns import facts
from otvet.turns import turn as turns
from otvet.turns.attempts import SUMMARY, StoredAttempts
from otvet.turns.policy import Policy, may_summarise
from otvet.turns.turn import Turn

log = structlog.get_logger(__name__)

CHARACTERS = 8000
"""A summary is due when the messages since the last one exceed this length, or the number that a responder is told."""

MOST_AT_ONCE = 400
VERBATIM_SHARE = 3  # the newest third of a responder's messages is not summarised


@dataclass(frozen=True, slots=True)
class Due:
    """The messages to summarise, oldest first, and the summary ``before`` them."""

    conversation_id: int
    before: str
    until_before: datetime | None
    rows: Sequence[Row[Any]]

    @property
    def until(self) -> datetime:
        moment: datetime = self.rows[-1].timestamp
        return moment


class Summaries:
    """Keeps summaries up to date. attempts: opens the attempt log of a turn for the number of a draft."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        writer: ReplyWriter,
        policy: Policy,
        history_messages: int,
        attempts: Callable[[Connection, Turn, int], StoredAttempts],
    ) -> None:
        self._database = database
        self._clock = clock
        self._writer = writer
        self._policy = policy
        self._history_messages = history_messages
        self._attempts = attempts

    async def bring_up_to_date(self, turn_id: int) -> None:
        """Write the summary that is due after a turn. Not a step of the turn: after a crash it is due again."""
        try:
            found = await self._database.read(lambda connection: self._due(connection, turn_id))
            if found is None:
                return
            what, attempts = found
            language = language_of("\n".join(row.content for row in what.rows))
            lines = [as_line(row, language) for row in what.rows]
            text = await self._writer.summarise(lines, what.before, language, attempts)
            await self._database.write(lambda connection: _save_with_attempts(connection, what, attempts, text))
        except StorageError as error:
            log.warning("no summary is kept", turn=turn_id, reason=str(error))  # the turn has ended well all the same

    def _due(self, connection: Connection, turn_id: int) -> tuple[Due, StoredAttempts] | None:
        turn = turns.get(connection, turn_id)
        if turn is None or not is_long(connection, turn, self._history_messages):
            return None
        now = self._clock.now()
        found = facts.read(connection, turn, self._policy, now)
        found = replace(found, left_out=facts.left_out(connection, turn, self._policy))
        if not may_summarise(turn, found, self._policy, now):
            return None
        what = due(connection, turn, self._history_messages)
        return (what, self._attempts(connection, turn, SUMMARY)) if what is not None else None


def _save_with_attempts(connection: Connection, what: Due, attempts: StoredAttempts, text: str) -> None:
    attempts.save(connection)  # even if the summary is not stored: they were paid for
    save(connection, what, text)


_LONG = (
    sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(sa.func.length(messages.c.content)), 0))
    .join(conversations, conversations.c.id == messages.c.conversation_id)
    .where(
        conversations.c.amocrm_lead_id == sa.bindparam("lead"),
        messages.c.timestamp > sa.bindparam("since", type_=UtcDateTime),
    )
)
_EVER = datetime(1, 1, 2, tzinfo=UTC)


def is_long(connection: Connection, turn: Turn, history_messages: int) -> bool:
    """Whether a conversation is long enough to look closer; costs one look into an index."""
    if history_messages == 0:
        return False
    values = {"lead": turn.deal, "since": turn.summarised_until or _EVER}
    count, size = connection.execute(_LONG, values).one()
    return bool(count > history_messages or size > CHARACTERS)


def due(connection: Connection, turn: Turn, history_messages: int) -> Due | None:
    """The messages to summarise after this turn, or None. history_messages: how many a responder is told."""
    if (
        history_messages == 0 or len(people(connection, turn.deal)) > 1
    ):  # a summary of several people could be told to none of them
        return None
    query = sa.select(messages).where(of_lead(turn.deal), ~NEVER_SAID)
    if turn.summarised_until is not None:
        query = query.where(messages.c.timestamp > turn.summarised_until)
    rows = connection.execute(query.order_by(messages.c.timestamp, messages.c.id).limit(MOST_AT_ONCE)).all()
    if len(rows) <= history_messages and sum(len(row.content) for row in rows) <= CHARACTERS:
        return None
    newest = rows[-max(1, min(history_messages, len(rows)) // VERBATIM_SHARE) :]
    # amoCRM's times are whole seconds: messages of one second stay together, or a part of them would be told nowhere.
    older = [row for row in rows if row.timestamp < newest[0].timestamp]
    return Due(turn.conversation_id, turn.conversation_summary or "", turn.summarised_until, older) if older else None


def save(connection: Connection, what: Due, summary: str) -> bool:
    """Store a summary, unless another one was stored meanwhile."""
    return save_summary(connection, what.conversation_id, summary, what.until, what.until_before)
