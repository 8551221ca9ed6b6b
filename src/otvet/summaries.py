"""The rolling summary of a long conversation: what was said before the messages that a responder is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from otvet.conversations import NEVER_SAID, conversations, messages, of_lead, people
from otvet.responders.base import Context, Reply

CHARACTERS = 8000
"""A summary is due when the messages since the last one are longer than that, or more than a responder is told."""

MOST_AT_ONCE = 400
KEPT_SHARE = 3  # a third of the messages stays as it is


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be summarised: messages, oldest first, after the summary ``before``."""

    conversation_id: int
    before: str
    until_before: datetime | None
    rows: Sequence[Row[Any]]

    @property
    def until(self) -> datetime:
        moment: datetime = self.rows[-1].timestamp
        return moment


def may_be_due(told: Context, reply: Reply, history_messages: int) -> bool:
    """Whether it is worth looking, by a turn's reply and what it was written from: a first guess that costs nothing."""
    texts = [line.text for line in (*told.history, *told.question)]
    return len(texts) + 1 > history_messages or sum(map(len, (*texts, reply.text))) > CHARACTERS


def due(connection: Connection, turn: Row[Any], history_messages: int) -> Due | None:
    """What has to be summarised after this turn, if anything has. history_messages: so many a responder is told."""
    if history_messages == 0 or len(people(connection, turn.amocrm_lead_id)) > 1:  # to whom it could be told?
        return None
    query = sa.select(messages).where(of_lead(turn.amocrm_lead_id), ~NEVER_SAID)
    if turn.summarised_until is not None:
        query = query.where(messages.c.timestamp > turn.summarised_until)
    rows = connection.execute(query.order_by(messages.c.timestamp, messages.c.id).limit(MOST_AT_ONCE)).all()
    if len(rows) <= history_messages and sum(len(row.content) for row in rows) <= CHARACTERS:
        return None
    newest = rows[-max(1, min(history_messages, len(rows)) // KEPT_SHARE) :]
    # amoCRM tells whole seconds: what was said in one of them stays together, else a part would be told nowhere.
    older = [row for row in rows if row.timestamp < newest[0].timestamp]
    return Due(turn.conversation_id, turn.conversation_summary or "", turn.summarised_until, older) if older else None


def keep(connection: Connection, what: Due, summary: str) -> bool:
    """Keep a summary, unless another one was kept meanwhile."""
    before = conversations.c.summarised_until
    unchanged = before.is_(None) if what.until_before is None else before == what.until_before
    changed = connection.execute(
        conversations.update()
        .where(conversations.c.id == what.conversation_id, unchanged)
        .values(summary=summary, summarised_until=what.until)
    )
    return changed.rowcount == 1
