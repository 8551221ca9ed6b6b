"""The draft of a turn: written, dropped because the client wrote on, shown to a manager, approved or rejected."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.conversations.messages import remove_reply, reply_of
from otvet.i18n import N_, _
from otvet.responders.base import Reply
from otvet.search import index
from otvet.turns import handoffs, parts
from otvet.turns.changes import join, move, note
from otvet.turns.queue import waiting_turn
from otvet.turns.turn import OPEN, Reason, State, Turn, get, turns
from otvet.users.kept_settings import switch

NO_DRAFT = N_("the question {turn} has no draft that waits for a manager")
STOPPED = N_("the assistant is stopped everywhere, and sends nothing; let it work again first")
WROTE_ON = N_("the client has written on since the draft {turn}; a new one is being written")

MOST_REDRAFTS = 2

NOTHING_WRITTEN: Mapping[str, Any] = {"reply": None, "reason": None, "summary": None, "gap": False}
"""The columns of a turn without a draft. A need for staff that came from the draft is cleared too."""


def write_down(connection: Connection, turn: Turn, me: str, reply: Reply, *, gap: bool = False) -> bool:
    """Store the draft with the turn; it is not a message yet.

    gap: the knowledge folder does not answer what was asked.
    """
    written: dict[str, Any] = {"reply": reply.text, "responder": reply.responder, "model": reply.model, "gap": gap}
    return note(connection, turn, me, **written, details=dict(reply.details))


def ask_for_person(connection: Connection, turn: Turn, me: str, reason: Reason, summary: str) -> bool:
    """Store that staff are needed besides the reply, why, and a summary for them."""
    return note(connection, turn, me, reason=reason, summary=summary)


def drop(connection: Connection, turn: Turn, me: str) -> bool:
    """Drop a draft that must not be sent any more: the reply is written anew."""
    return note(connection, turn, me, **NOTHING_WRITTEN, responder=None, model=None)


def absorb_newer(connection: Connection, turn: Turn, me: str) -> bool:
    """Drop the draft and join the messages that the client wrote meanwhile: one new reply answers all.

    False if there are none. The caller has checked MOST_REDRAFTS.
    """
    newer = waiting_turn(connection, turn.conversation_id, turn.chat_ref)
    if newer is None or not note(connection, turn, me, redrafts=turn.redrafts + 1):
        return False
    # The quiet period begins anew with the newer words.
    moments = {"first_message_at": newer.first_message_at, "last_message_at": newer.last_message_at}
    join(connection, newer.id, turn.id, **moments, **NOTHING_WRITTEN, approved=False, sent_attempt_at=None)
    return True


def take_back(connection: Connection, turn: Turn, me: str) -> bool:
    """sending -> answering: the reply surely is not in amoCRM and must not be sent as it is. Deletes its message."""
    if not move(connection, turn, State.ANSWERING, me=me, way=None, sent_attempt_at=None):
        return False
    parts.forget(connection, turn.id)
    index.drop(connection, reply_of(turn.id))
    remove_reply(connection, turn.id)
    return True


def show(connection: Connection, turn: Turn, me: str, note_id: int | None, now: datetime) -> bool:
    """answering -> draft: the reply waits for a manager. note_id: the note that shows it."""
    if not move(connection, turn, State.DRAFT, me=me, note_id=note_id, sent_attempt_at=None):
        return False
    if not turn.as_draft:  # who asked for it is there
        handoffs.add(connection, turn, handoffs.because(turn, Reason.DRAFT), now, anew=True)
    return True


_other = turns.alias("other")


def approve(connection: Connection, turn_id: int, text: str | None) -> str | None:
    """draft -> answering: a manager wants it sent, perhaps with a changed text. Returns a sentence if it cannot be."""
    turn = get(connection, turn_id)
    if turn is None or turn.state != State.DRAFT:
        return _(NO_DRAFT).format(turn=turn_id)
    if switch(connection).stopped:
        return _(STOPPED)
    wrote_on = sa.exists().where(
        _other.c.conversation_id == turns.c.conversation_id,
        _other.c.chat_ref == turns.c.chat_ref,
        _other.c.state.in_(OPEN),
    )
    approved: dict[str, Any] = {"owner": None, "approved": True, "requested_by_staff": True}
    approved |= {"draft_note_id": turn.note_of_draft, "note_id": None}
    if text is not None:
        approved |= {"reply": text, "details": {**(turn.details or {}), "edited": True, "findings": []}}
        approved |= {"summary": None}  # what the draft promised is not in it
    if move(connection, turn, State.ANSWERING, me=None, unless=(wrote_on,), **approved):
        return None
    return _(WROTE_ON).format(turn=turn_id)


def reject(connection: Connection, turn_id: int, now: datetime) -> str | None:
    """draft -> cancelled: a manager does not want it. Returns a sentence if the turn is not such a draft."""
    turn = get(connection, turn_id)
    if turn is None or turn.state != State.DRAFT:
        return _(NO_DRAFT).format(turn=turn_id)
    closed: dict[str, Any] = {"reason": Reason.REJECTED, "closed_at": now, "draft_note_id": turn.note_of_draft}
    if not move(connection, turn, State.CANCELLED, me=None, **closed):
        return _(NO_DRAFT).format(turn=turn_id)
    if turn.summary is None:
        handoffs.withdraw(connection, turn, now)
    return None
