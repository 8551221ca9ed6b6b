"""Whether a turn is answered by the assistant at all: decided right before its reply is written."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from otvet import handover, turns
from otvet.conversations import conversations, messages
from otvet.deals.selection import Selection
from otvet.i18n import language_of
from otvet.responders.base import Line, Reply
from otvet.settings.working_hours import Hours
from otvet.spoken import spoken

RESPONDER = "hours"
OUT_OF_HOURS = "out_of_hours"

OutOfHours = Literal["answer", "text", "silent"]


@dataclass(frozen=True, slots=True)
class Admission:
    """What the user set of what is answered, and when.

    hours: the working hours; None: always. out_of_hours: what happens outside of them. text: what a client is told
    then, once a night, if it is "text".
    """

    selection: Selection = field(default_factory=Selection)
    hours: Hours | None = None
    out_of_hours: OutOfHours = "answer"
    text: str = ""

    def decide(self, connection: Connection, turn: Row[Any], me: str, now: datetime) -> str | None:
        """End a turn that is not the assistant's to answer, or write the out-of-hours text; gives why, or None.

        turn: one that is being answered, without a reply yet, and that no person wants answered.
        """
        reason = self.refuses(connection, turn, now)
        if reason is None:
            return None
        if self.hours is None or reason != OUT_OF_HOURS:
            turns.leave_alone(connection, turn.id, me, reason, now)
            return reason
        asked = connection.execute(_ASKED, {"turn": turn.id}).all()
        if self.out_of_hours == "text" and not _told_since(connection, turn, self.hours.closed_since(now)):
            if turns.write_down(connection, turn.id, me, Reply(self.text, RESPONDER)):
                turns.ask_for_person(connection, turn.id, OUT_OF_HOURS, _summary(asked))
            return OUT_OF_HOURS
        turns.hand_to_person(connection, turn.id, me, OUT_OF_HOURS, now)
        return OUT_OF_HOURS

    def refuses(self, connection: Connection, turn: Row[Any], now: datetime) -> str | None:
        """Why the turn is not the assistant's to answer, or None; see decide."""
        if self.selection.is_set and (reason := self.leaves_out(connection, turn.id)):
            return reason
        closed = self.hours is not None and self.out_of_hours != "answer" and not self.hours.open_at(now)
        return OUT_OF_HOURS if closed else None

    def leaves_out(self, connection: Connection, turn_id: int) -> str | None:
        """Why the deal or the channel of a turn is not the assistant's, or None."""
        return self._leaves_out(connection.execute(_ASKED, {"turn": turn_id}).all()[-1])

    def _leaves_out(self, asked_last: Row[Any]) -> str | None:
        raw = (asked_last.metadata or {}).get("raw")
        channel = raw.get("origin") if isinstance(raw, dict) else None
        return self.selection.leaves_out(asked_last.deal, channel if isinstance(channel, str) else None)


def is_own_text(turn: Row[Any]) -> bool:
    """Whether the reply is the out-of-hours text: the company's own, and nobody is there to approve it."""
    return turn.reply is not None and turn.responder == RESPONDER


def is_over(turn: Row[Any], hours: Hours | None, now: datetime) -> bool:
    """Whether the out-of-hours text could not be sent before work began, so that it is not true any more."""
    return is_own_text(turn) and hours is not None and hours.open_at(now)


_ASKED = (
    sa.select(messages, conversations.c.deal)
    .join(conversations, conversations.c.id == messages.c.conversation_id)
    .where(messages.c.turn_id == sa.bindparam("turn"), messages.c.sender_type == "client")
    .order_by(messages.c.timestamp, messages.c.id)
)
_table = turns.turns
_TOLD = sa.select(
    sa.exists().where(
        _table.c.conversation_id == sa.bindparam("conversation"),
        _table.c.id != sa.bindparam("turn"),
        _table.c.responder == RESPONDER,
        _table.c.state.not_in((turns.FAILED, turns.CANCELLED)),
        sa.func.coalesce(_table.c.closed_at, _table.c.last_message_at) >= sa.bindparam("since"),
    )
)


def _summary(asked: Sequence[Row[Any]]) -> str:
    """For the person who answers when work begins."""
    language = language_of("\n".join(row.content for row in asked))
    texts = [spoken(row.content, row.message_type, row.metadata, language) for row in asked]
    return handover.in_short([Line("client", text, row.timestamp) for text, row in zip(texts, asked, strict=True)])


def _told_since(connection: Connection, turn: Row[Any], since: datetime) -> bool:
    return bool(connection.scalar(_TOLD, {"conversation": turn.conversation_id, "turn": turn.id, "since": since}))
