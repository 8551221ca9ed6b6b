"""Turns that staff answer: left to staff, cancelled because a manager wrote, and retried at their request."""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.conversations.messages import has_reply
from otvet.conversations.tables import is_trial, messages
from otvet.i18n import N_, _
from otvet.turns import attempts, changes, drafts, handoffs, parts, sending
from otvet.turns.changes import join, move
from otvet.turns.drafts import NOTHING_WRITTEN
from otvet.turns.queue import UNKNOWN, waiting_turn
from otvet.turns.turn import IN_HAND, OPEN, SELECTED, Reason, State, Turn, Writer, get, listed_in, turns

A_MANAGER_MAY_ANSWER = timedelta(minutes=10)
"""What a client writes while a manager is in the chat is the manager's; after this time the question is on the list."""

STILL_KEPT = N_(
    "the question {turn} is kept because amoCRM is not connected: connect it with otvet connect, start the server"
    " again, then try this once more"
)


def leave_to_staff(connection: Connection, turn: Turn, me: str | None, reason: Reason, now: datetime) -> bool:
    """waiting or answering -> handed: the turn is left to staff, without a word to the client.

    If the chat's previous turn waits for the same person, this turn is joined to it.
    me: None for a turn that no process works on.
    """
    if not move(connection, turn, State.HANDED, me=me, reason=reason, closed_at=now):
        return False
    before = _turn_before(connection, turn)
    after = A_MANAGER_MAY_ANSWER if reason == Reason.PAUSED else timedelta(0)
    handoffs.add(connection, turn, reason, now, after=after)
    left = get(connection, turn.id)
    assert left is not None
    if before is not None and before.state == State.HANDED and before.handoff_id == left.handoff_id:
        newest = {"reason": reason, "summary": left.summary, "last_message_at": left.last_message_at}
        join(connection, turn.id, before.id, **newest, closed_at=now)
    return True


_BEFORE = (
    SELECTED.where(
        turns.c.conversation_id == sa.bindparam("conversation"),
        turns.c.chat_ref == sa.bindparam("chat"),
        turns.c.id < sa.bindparam("turn"),
    )
    .order_by(turns.c.id.desc())
    .limit(1)
    .with_for_update(of=turns)  # so that nobody retries it while this turn is joined to it
)


def _turn_before(connection: Connection, turn: Turn) -> Turn | None:
    here = {"conversation": turn.conversation_id, "chat": turn.chat_ref, "turn": turn.id}
    row = connection.execute(_BEFORE, here).one_or_none()
    return None if row is None else Turn.from_row(row)


def give_up_on_deal(connection: Connection, conversation_id: int, now: datetime) -> None:
    """waiting -> handed: no deal was found for the conversation."""
    waiting = connection.execute(
        sa.select(turns.c.id).where(turns.c.conversation_id == conversation_id, turns.c.state == State.WAITING)
    )
    for id_ in waiting.scalars().all():
        turn = get(connection, id_)
        if turn is not None:
            leave_to_staff(connection, turn, None, Reason.NO_DEAL, now)


def cancel_for_manager(
    connection: Connection,
    conversation_id: int,
    chat_ref: str,
    wrote_at: datetime,
    now: datetime,
    *,
    arrived: bool = True,
) -> None:
    """A manager wrote in a chat: cancel its turns, unless the client has written in them since ``wrote_at``.

    chat_ref: UNKNOWN if the message names no chat: then all chats of the deal count.
    arrived: the client has the manager's words; else what was left to staff stays so. Words of another manager that are
    on their way stay too.

    Turns left to staff are answered by this too. Not a turn at the ceiling of replies: the writer may be another
    bot that talks with this one.
    """
    left = sa.and_(turns.c.state == State.HANDED, turns.c.reason != Reason.CEILING)
    begun = turns.c.state.in_((State.WAITING, State.ANSWERING, State.DRAFT))
    here = [
        turns.c.conversation_id == conversation_id,
        sa.or_(begun, left) if arrived else begun,
        turns.c.responder.is_distinct_from(Writer.PERSON),
    ]
    if chat_ref != UNKNOWN:
        here.append(turns.c.chat_ref.in_((chat_ref, UNKNOWN)))
    # Locked first, so that the condition below sees what the client wrote meanwhile.
    ids = connection.scalars(sa.select(turns.c.id).where(*here).order_by(turns.c.id).with_for_update()).all()
    said_later = sa.exists().where(
        messages.c.turn_id == turns.c.id, messages.c.sender_type == "client", messages.c.timestamp > wrote_at
    )
    for id_ in ids:
        turn = get(connection, id_)
        if turn is not None:
            closed: dict[str, Any] = {"reason": Reason.MANAGER, "closed_at": now, "draft_note_id": turn.note_of_draft}
            move(connection, turn, State.CANCELLED, me=None, unless=(said_later,), **closed)
    if not arrived:
        return
    answered = None if chat_ref == UNKNOWN else (chat_ref, UNKNOWN)
    handoffs.close_for_manager(connection, conversation_id, answered, wrote_at, now)


def leave_alone(connection: Connection, turn: Turn, me: str, reason: Reason, now: datetime) -> bool:
    """answering -> cancelled: the settings leave the turn to staff, or the assistant is switched off in the deal."""
    if not move(connection, turn, State.CANCELLED, me=me, reason=reason, closed_at=now):
        return False
    handoffs.withdraw(connection, turn, now)
    return True


def still_kept(connection: Connection, turn_id: int, *, connected: bool) -> str | None:
    """A sentence if the turn is a kept reply, which cannot be retried before amoCRM is connected; else None."""
    turn = None if connected else get(connection, turn_id)
    return _(STILL_KEPT).format(turn=turn_id) if turn is not None and turn.state == State.KEPT else None


_KEPT = sa.select(turns.c.id).where(
    turns.c.state == State.KEPT, turns.c.reason == Reason.NOT_CONNECTED, ~is_trial(turns)
)


def release_kept(connection: Connection, stale: timedelta, now: datetime) -> None:
    """amoCRM is connected now: send the kept replies that surprise nobody, and leave the other questions to staff."""
    for id_ in connection.scalars(_KEPT.order_by(turns.c.id)).all():
        turn = get(connection, id_)
        if turn is None or turn.lead_id is None or sending.manager_wrote(connection, id_):
            continue
        if now - turn.last_message_at <= stale:
            retry(connection, id_, now)
        elif move(connection, turn, State.HANDED, me=None, reason=Reason.STALE):
            handoffs.add(connection, turn, handoffs.because(turn, Reason.STALE), now)


_other = turns.alias("other")


def hurry(connection: Connection, turn_id: int) -> bool:
    """Answer a waiting question now, at the staff's request. False if it waits no more."""
    turn = get(connection, turn_id)
    return turn is not None and turn.state == State.WAITING and changes.ask_for(connection, turn)


def stop(connection: Connection, conversation_id: int, now: datetime) -> None:
    """Somebody takes a deal over: what is being written for its clients, or waits to be, is left to staff at once.

    What is on its way goes no further where it can still be held (see policy.decide), also if somebody had asked for
    it. A manager's own words stay.
    """
    for turn in listed_in(connection, conversation_id, OPEN):
        if turn.is_of_person:
            continue
        if turn.state == State.SENDING:
            changes.ask_for(connection, turn, wanted=False)
        else:
            leave_to_staff(connection, turn, None, Reason.PAUSED, now)


def write_anew(connection: Connection, turn_id: int, now: datetime) -> int | None:
    """Have another draft written in place of one that waits for a manager, which waits too in any mode."""
    if drafts.reject(connection, turn_id, now) is not None:
        return None
    return retry(connection, turn_id, now, as_draft=True)


def retry(connection: Connection, turn_id: int, now: datetime, *, as_draft: bool = False) -> int | None:
    """Answer a turn that ended without a reply, at the staff's request. as_draft: a manager approves it in any mode.

    Returns the id of the turn that will be answered: another turn if the client has written on; None if this one cannot
    be retried. A reply that was stored is sent as it is, and is looked for in amoCRM first.
    """
    turn = get(connection, turn_id)
    ended = (State.FAILED, State.HANDED, State.CANCELLED, State.KEPT)
    if turn is None or turn.state not in ended or turn.reason == Reason.ERASED:
        return None
    again: dict[str, Any] = {
        "owner": None,
        "closed_at": None,
        "reason": None,
        "requested_by_staff": True,
        "failing_since": None,
    }
    if has_reply(connection, turn_id):
        return _send_anew(connection, turn, again)
    newer = waiting_turn(connection, turn.conversation_id, turn.chat_ref)
    if newer is not None:
        values = {"requested_by_staff": True, "as_draft": as_draft, "first_message_at": turn.first_message_at}
        join(connection, turn_id, newer.id, **values)
        return newer.id
    attempts.forget(connection, turn_id)  # at a draft that nobody has seen
    written = {**again, **NOTHING_WRITTEN, "redrafts": 0, "last_message_at": now, "as_draft": as_draft}
    written |= {"approved": False}
    return turn_id if move(connection, turn, State.WAITING, me=None, **written) else None


def _send_anew(connection: Connection, turn: Turn, again: dict[str, Any]) -> int | None:
    busy = sa.exists().where(
        _other.c.conversation_id == turns.c.conversation_id,
        sa.or_(_other.c.chat_ref == turns.c.chat_ref, sa.and_(turns.c.way == "salesbot", _other.c.way == "salesbot")),
        _other.c.state.in_(IN_HAND),
    )
    if turn.way is not None:  # its note says that the client did not get the reply
        again |= {"sent_attempt_at": None, "note_id": None}
    if not move(connection, turn, State.SENDING, me=None, unless=(busy,), **again):
        return None
    parts.try_again(connection, turn.id)
    return turn.id
