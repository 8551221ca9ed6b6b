"""The trial chat as its page shows it: what was said, and beside it what happened to each question."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.conversations.tables import messages
from otvet.turns import attempts
from otvet.turns.turn import SELECTED, Turn, turns

MOST_QUESTIONS = 10


@dataclass(frozen=True, slots=True)
class Step:
    """One question. asked: the client's messages, as (text, when it was received)."""

    turn: Turn
    asked: Sequence[tuple[str, datetime]]
    attempts: Sequence[Any]

    @property
    def text(self) -> str:
        """The question as one text."""
        return "\n".join(text for text, _at in self.asked)


def steps(connection: Connection, conversation_id: int) -> list[Step]:
    """The newest questions of a chat, the newest first."""
    query = SELECTED.where(turns.c.conversation_id == conversation_id).order_by(turns.c.id.desc())
    return [_step(connection, Turn.from_row(row)) for row in connection.execute(query.limit(MOST_QUESTIONS)).all()]


def _step(connection: Connection, turn: Turn) -> Step:
    query = sa.select(messages.c.content, messages.c.timestamp).where(
        messages.c.turn_id == turn.id, messages.c.sender_type == "client"
    )
    asked = [tuple(row) for row in connection.execute(query.order_by(messages.c.timestamp, messages.c.id))]
    return Step(turn, asked, attempts.of_turn(connection, turn.id))
