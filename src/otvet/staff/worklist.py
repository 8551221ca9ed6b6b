"""What needs a person: the open hand-offs that are due, and the drafts that wait for a manager."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.conversations.tables import is_trial
from otvet.i18n import N_, _
from otvet.turns import handoffs
from otvet.turns.handoffs import Handoff
from otvet.turns.reasons import reason, why_left
from otvet.turns.turn import SELECTED, State, Turn, turns

NO_TASK = N_("{why}; amoCRM does not take the task for it: {refusal}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the list. turn: the newest question of the hand-off, or the draft. since: when the waiting began."""

    turn: Turn
    handoff: Handoff | None
    since: datetime

    @property
    def why(self) -> str | None:
        """Why a person is needed; and why that person has no task, if amoCRM refuses it."""
        listed = self.handoff is not None or self.turn.state == State.DRAFT
        turn = self.turn
        left = why_left(turn.state, turn.reason, turn.summary, turn.left_because)
        why = left if listed else reason(turn.reason)
        refusal = self.handoff and self.handoff.refusal
        return _(NO_TASK).format(why=why, refusal=refusal) if refusal else why


def listed(connection: Connection, now: datetime, limit: int, before: int = 0) -> list[Entry]:
    """The list, the newest question first. before: only questions with a smaller id."""
    here = sa.or_(sa.and_(turns.c.state == State.DRAFT, ~is_trial(turns)), turns.c.id.in_(handoffs.listed_turns(now)))
    query = SELECTED.where(here, turns.c.id < before) if before else SELECTED.where(here)
    found = [Turn.from_row(row) for row in connection.execute(query.order_by(turns.c.id.desc()).limit(limit))]
    return [_entry(connection, turn) for turn in found]


def _entry(connection: Connection, turn: Turn) -> Entry:
    handoff = handoffs.of_turn(connection, turn.id)
    if handoff is None or handoff.closed_at is not None:
        return Entry(turn, None, turn.last_message_at)
    return Entry(turn, handoff, handoff.opened_at)
