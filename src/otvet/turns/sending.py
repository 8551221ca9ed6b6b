"""Sending a reply: the commit from which on it counts as said, further attempts, and how they end."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.conversations.conversation import touch
from otvet.conversations.messages import add_reply, reply_of, set_reply_text
from otvet.conversations.tables import chats, conversations, messages
from otvet.search import index
from otvet.turns import handoffs, parts
from otvet.turns.changes import move, note
from otvet.turns.turn import Reason, State, Turn, get, turns

CLOCKS_DIFFER = timedelta(minutes=2)
"""A message that came later than this was late: nothing can be said of the clocks."""

_PAUSED = sa.or_(
    sa.exists().where(
        conversations.c.id == turns.c.conversation_id, conversations.c.paused_until > sa.bindparam("_now")
    ),
    sa.exists().where(chats.c.chat_ref == turns.c.chat_ref, chats.c.paused_until > sa.bindparam("_now")),
)
_IN_STAFF_HANDS = sa.and_(~turns.c.requested_by_staff, _PAUSED)
_NOT_WRITTEN = turns.c.reply.is_(None)

_other = turns.alias("other")
_FIELD_IN_USE = sa.exists().where(
    _other.c.conversation_id == turns.c.conversation_id,
    _other.c.id != turns.c.id,
    _other.c.state == State.SENDING,
    _other.c.way == "salesbot",
)
"""Another chat's reply uses the deal's field from which a Salesbot reads; see the index uq_turns_field_in_use."""


def commit_to_send(
    connection: Connection, turn: Turn, me: str, now: datetime, way: str | None = None, texts: Sequence[str] = ()
) -> Turn | None:
    """answering -> sending, with the reply stored as a message: from here on it counts as said.

    way, texts: the delivery method into the client's chat, and the parts; None: the reply goes into the deal as a note.

    One UPDATE checks that this process owns the turn and that staff have not taken over. Returns the turn as it is
    then, to the one call that made the move: its caller may send without asking amoCRM first.
    """
    unless = [_NOT_WRITTEN, _IN_STAFF_HANDS]
    if way == "salesbot":
        unless.append(_FIELD_IN_USE)
    attempt = now if way is None else None
    if not move(
        connection,
        turn,
        State.SENDING,
        me=me,
        unless=tuple(unless),
        now=now,
        way=way,
        sent_attempt_at=attempt,
        note_id=None,
    ):
        return None
    _store_reply(connection, turn, now)
    handoffs.add_if_needed(connection, turn, now)
    if way is not None:
        parts.plan(connection, turn.id, texts)
    return get(connection, turn.id)


def keep(connection: Connection, turn: Turn, me: str, now: datetime) -> bool:
    """answering -> kept: amoCRM is not connected, or this is a trial: the reply is stored as a message and not sent."""
    unless = (_NOT_WRITTEN, _IN_STAFF_HANDS)
    closed = {"reason": Reason.TRIAL if turn.is_trial else Reason.NOT_CONNECTED, "closed_at": now}
    if not move(connection, turn, State.KEPT, me=me, unless=unless, now=now, **closed):
        return False
    _store_reply(connection, turn, now)
    _end_handoff(connection, turn, now, client_told=False)
    return True


def _end_handoff(connection: Connection, turn: Turn, now: datetime, *, client_told: bool) -> None:
    """The reply is given: staff have to answer only if it says so. client_told: the client can read it."""
    if turn.summary is None:
        handoffs.withdraw(connection, turn, now)  # it may have waited for long
        return
    if turn.requested_by_staff or not manager_wrote(connection, turn.id):  # who wrote meanwhile has kept the promise
        handoffs.add_if_needed(connection, turn, now)
    if client_told:
        handoffs.client_told(connection, turn, now)


def _store_reply(connection: Connection, turn: Turn, now: datetime) -> None:
    if turn.is_of_person:
        return  # stored when they were written
    said = {
        "amocrm_lead_id": turn.lead_id,
        "source": "ai_response",
        "responder": turn.responder,
        "model": turn.model,
        "details": turn.details,
    }
    at = by_amocrms_clock(connection.scalar(_SAID_AT, {"turn": turn.id}), turn.last_message_at, now)
    add_reply(connection, turn.conversation_id, turn.chat_ref, turn.id, turn.reply or "", said, at)
    touch(connection, turn.conversation_id, now)


def by_amocrms_clock(said_at: datetime | None, received_at: datetime, now: datetime) -> datetime:
    """When something is said now, by the clock that dates the client's messages; never before the question.

    The clock of amoCRM is seen from the question: it was said at one time (None: there is no question), and we received
    it at another.
    """
    if said_at is None:
        return now
    ahead = said_at - received_at
    return max(said_at, now + ahead if abs(ahead) <= CLOCKS_DIFFER else now)


_reply = messages.alias("the_reply")
_of_manager = messages.alias("of_manager")
_asked = messages.alias("asked")
_SAID_AT = sa.select(sa.func.max(_asked.c.timestamp)).where(
    _asked.c.turn_id == sa.bindparam("turn"), _asked.c.sender_type == "client"
)
MANAGER_WROTE = sa.exists().where(
    _of_manager.c.conversation_id == turns.c.conversation_id,
    _of_manager.c.sender_type == "manager",
    # In this chat, or in an unknown one.
    sa.or_(
        _of_manager.c.chat_ref == turns.c.chat_ref,
        sa.func.coalesce(_of_manager.c.chat_ref, "") == "",
        turns.c.chat_ref == "",
    ),
    _of_manager.c.id
    > sa.select(sa.func.max(_reply.c.id))
    .where(_reply.c.turn_id == turns.c.id, _reply.c.sender_type != "client")
    .correlate(turns)  # two levels up; without this it would be the newest reply of all turns
    .scalar_subquery(),
    # A message that was written before the question and came in late does not answer it.
    _of_manager.c.timestamp
    >= sa.select(sa.func.max(_asked.c.timestamp))
    .where(_asked.c.turn_id == turns.c.id, _asked.c.sender_type == "client")
    .correlate(turns)
    .scalar_subquery(),
)
_HAS_MANAGER = sa.select(turns.c.id).where(turns.c.id == sa.bindparam("turn"), MANAGER_WROTE)
_TAKEN_OVER = sa.and_(~turns.c.requested_by_staff, sa.or_(_PAUSED, MANAGER_WROTE))


def manager_wrote(connection: Connection, turn_id: int) -> bool:
    """Whether a manager has written in the chat after the question, since the reply was stored."""
    return connection.execute(_HAS_MANAGER, {"turn": turn_id}).first() is not None


def send_again(
    connection: Connection, turn: Turn, me: str, now: datetime, *, sent_attempt_at: datetime | None = None
) -> bool:
    """The last guard before every further attempt to send a reply that is not in amoCRM.

    sent_attempt_at: the time of the call for a note; None for a part into the client's chat.

    False if this process does not own the turn, or staff have taken over: wrote in the chat, or paused it.
    """
    return note(connection, turn, me, unless=(_TAKEN_OVER,), now=now, sent_attempt_at=sent_attempt_at)


def still_fails(connection: Connection, turn: Turn, me: str, now: datetime) -> timedelta:
    """Note that another attempt failed; returns how long attempts have been failing."""
    since = turn.failing_since or now
    note(connection, turn, me, failing_since=since)
    return now - since


def mark_sent(connection: Connection, turn: Turn, me: str, note_id: int | None, now: datetime) -> bool:
    """sending -> sent. note_id: None if only the client's chat has the reply."""
    if not move(connection, turn, State.SENT, me=me, note_id=note_id, closed_at=now):
        return False
    _end_handoff(connection, turn, now, client_told=turn.way is not None)
    return True


def mark_half_sent(connection: Connection, turn: Turn, me: str, told: str, reason: Reason, now: datetime) -> bool:
    """sending -> sent, for a reply that was stopped half-way: the client has only ``told`` of it."""
    if not move(connection, turn, State.SENT, me=me, reason=reason, closed_at=now, note_id=None):
        return False
    set_reply_text(connection, turn.id, told)
    index.renew(connection, reply_of(turn.id))
    _end_handoff(connection, turn, now, client_told=True)
    return True


def heal(connection: Connection, turn_id: int, now: datetime) -> None:
    """failed -> sent: all parts of a doubtful reply have been seen in the client's chat after all."""
    turn = get(connection, turn_id)
    if turn is None or turn.state != State.FAILED:
        return
    if all(part.state == parts.SENT for part in parts.of_turn(connection, turn_id)):
        move(connection, turn, State.SENT, me=None, reason=None, closed_at=now)
        _end_handoff(connection, turn, now, client_told=True)


def fail(connection: Connection, turn: Turn, me: str, reason: str, now: datetime) -> bool:
    """sending -> failed. reason: a sentence for staff."""
    if not move(connection, turn, State.FAILED, me=me, reason=reason, closed_at=now):
        return False
    handoffs.add(connection, turn, handoffs.because(turn, Reason.REFUSED), now)
    return True


def cancel(connection: Connection, turn: Turn, me: str, reason: Reason, now: datetime) -> bool:
    """sending -> cancelled: the reply surely is not in amoCRM, and staff took over or the assistant is off now."""
    if not move(connection, turn, State.CANCELLED, me=me, reason=reason, closed_at=now):
        return False
    if turn.summary is None:
        handoffs.withdraw(connection, turn, now)
    return True


def marker(installation_name: str, of: int | str) -> str:
    """The marker below a note or in a task, by which it is found again. Unique also across reinstallations.

    of: the turn's id, or another name.
    """
    digest = hashlib.blake2s(f"{installation_name}:{of}".encode(), digest_size=5).hexdigest()
    return f"otvet:{of}-{digest}"
