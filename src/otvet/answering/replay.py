"""Past replies written anew, with today's instructions and knowledge or with proposed ones. Nothing is sent."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.answering import context
from otvet.answering.instructions import Instructions
from otvet.answering.writer import ReplyWriter, Written
from otvet.clock import Clock
from otvet.conversations.tables import conversations
from otvet.responders.base import Context
from otvet.responders.knowledge.responder import Knowledge
from otvet.turns import human_request
from otvet.turns import turn as turn_
from otvet.turns.attempts import AttemptLog
from otvet.turns.turn import OPEN, turns


@dataclass(frozen=True, slots=True)
class Past:
    """A past turn: its context at that time, and its reply."""

    turn_id: int
    asked_at: datetime
    told: Context
    reply: str
    responder: str


@dataclass(frozen=True, slots=True)
class Anew:
    """A past turn and what is written for it now."""

    past: Past
    written: Written

    @property
    def same(self) -> bool:
        return self.written.reply.text.strip() == self.past.reply.strip()

    @property
    def outcome(self) -> str:
        """ "refused" by the checks, the "same" text, or "changed"."""
        return "refused" if self.written.doubts else "same" if self.same else "changed"


def past(
    connection: Connection,
    last: int,
    instructions: Instructions,
    *,
    history_messages: int,
    zone: tzinfo | None,
    lead_id: int | None = None,
) -> list[Past]:
    """The newest ``last`` turns with a reply, oldest first, each with the context at the time of its question."""
    answered = sa.select(turns.c.id).join(conversations).where(turns.c.reply.is_not(None))
    answered = answered.where(turns.c.state.not_in(OPEN))
    if lead_id is not None:
        answered = answered.where(conversations.c.amocrm_lead_id == lead_id)
    newest = connection.scalars(answered.order_by(turns.c.id.desc()).limit(last)).all()
    found = []
    for turn_id in reversed(newest):
        turn = turn_.get(connection, turn_id)
        assert turn is not None
        told = context.build(
            connection, turn, history_messages, instructions, turn.first_message_at, zone, as_of_then=True
        )
        if told.question and turn.reply is not None:
            found.append(Past(turn_id, turn.first_message_at, told, turn.reply, turn.responder or ""))
    return found


async def write(one: Past, writer: ReplyWriter, knowledge: Knowledge, person_phrases: str, clock: Clock) -> Anew:
    """Have a past turn's reply written anew."""
    told = one.told
    if why := human_request.why_staff(told, person_phrases):
        return Anew(one, Written(human_request.reply(told, why)))
    told, _known = await context.with_knowledge(told, knowledge)
    return Anew(one, await writer.write(told, AttemptLog(clock)))


Pieces = Sequence[tuple[str, bool]]
"""A text in pieces: (piece, whether the other text has another one in its place)."""


def compared(then: str, now: str) -> tuple[Pieces, Pieces]:
    """Both texts, word by word."""
    before, after = re.findall(r"\s+|\S+", then), re.findall(r"\s+|\S+", now)
    went, came = [], []
    for change, a, b, c, d in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        went.append(("".join(before[a:b]), change != "equal"))
        came.append(("".join(after[c:d]), change != "equal"))
    return went, came
