"""Turns: what a client said since our last reply, and the one reply we owe for it.

waiting ──> answering ──> sending ──> sent        the reply is in amoCRM
   │            │            ├──────> failed      amoCRM refused it for good
   │            │            ├──────> cancelled   a person took over, or it was switched off, before it could be sent
   │            │            └──────> answering   a manager has to approve it first, by a mode that was set meanwhile;
   │            │                                 or it is not true any more, as the out-of-hours text by day
   │            ├───────────────────> kept        amoCRM is not connected: the reply is here, and was not sent
   │            ├──────────> draft ──> cancelled  a manager may approve it (it is ``answering`` again) or reject it
   │            └───────────────────> handed      a person has to see to it; ``reason`` says why
   └────────────────────────────────> cancelled   a manager wrote first; what was handed ends so too; or the settings
                                                  leave this deal or channel to people

Two partial unique indexes keep the promise: a conversation has at most one turn that waits and one in hand.
A change of state is one UPDATE that names the state it leaves and the process that owns the turn; who changes no row
has lost the race.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from otvet import processes
from otvet.conversations import conversations, messages
from otvet.deliver import bot_waits, parts
from otvet.i18n import N_, _
from otvet.responders.base import Reply
from otvet.storage.engines import Id, Json, UtcDateTime, metadata
from otvet.tries import WRITINGS, tries

WAITING, ANSWERING, SENDING = "waiting", "answering", "sending"
SENT, KEPT, FAILED, CANCELLED, HANDED = "sent", "kept", "failed", "cancelled", "handed"
DRAFT = "draft"
OPEN = (WAITING, ANSWERING, SENDING)
STATES = (*OPEN, DRAFT, SENT, KEPT, FAILED, CANCELLED, HANDED)
NEEDS_A_PERSON = (FAILED, HANDED, DRAFT)

# Why a turn ended as it did; sentences for them are in ``view.REASONS``.
NOT_CONNECTED = "amocrm_not_connected"
MANAGER = "manager"  # a manager, or another bot, wrote in the conversation
PAUSED = "paused"
STALE = "stale"
CEILING = "ceiling"
ASKED = "asked"  # the client asked for a person
ERASED = "erased"  # the client's data was erased
NO_DEAL = "no_deal"  # the messages name no deal, and none was found
OFF = "off"  # the assistant is switched off
REJECTED = "rejected"  # a manager did not want the draft
DOUBTED = "doubted"  # what was written could not be sent, so a person has to answer

NO_DRAFT = N_("the turn {turn} is no draft that waits for a manager")
WROTE_ON = N_("the client has written on since the draft {turn}; a new one is being written")

STILL_KEPT = N_(
    "the turn {turn} is kept because amoCRM is not connected: connect it with otvet connect, start the server again, "
    "then try this once more"
)

MOST_REDRAFTS = 2


def _one_of(*states: str) -> sa.TextClause:
    names = ", ".join(f"'{state}'" for state in states)
    return sa.text(f"state IN ({names})")


def _unique_while(name: str, *states: str) -> sa.Index:
    where = _one_of(*states)
    return sa.Index(name, "conversation_id", unique=True, sqlite_where=where, postgresql_where=where)


turns = sa.Table(
    "turns",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("conversation_id", Id, sa.ForeignKey("conversations.id"), nullable=False, index=True),
    sa.Column("state", sa.Text, nullable=False, server_default=WAITING, index=True),
    sa.Column("owner", sa.Text),  # the process that works on it; none: whoever comes first
    sa.Column("first_message_at", UtcDateTime, nullable=False),  # when we received it, by our own clock
    sa.Column("last_message_at", UtcDateTime, nullable=False),
    sa.Column("closed_at", UtcDateTime),
    sa.Column("tried_at", UtcDateTime),  # when amoCRM was last given something of it and may carry it out yet
    sa.Column("failing_since", UtcDateTime),  # amoCRM has not taken it since then; what closes the gate does not count
    sa.Column("redrafts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("forced", sa.Boolean, nullable=False, server_default=sa.false()),  # a person wants it answered
    sa.Column("responder", sa.Text),
    sa.Column("model", sa.Text),
    sa.Column("reply", sa.Text),
    sa.Column("details", Json),  # what the responder tells of its reply: passages, task, seconds
    sa.Column("way", sa.Text),  # to the client's chat; none: a note in the deal is all
    sa.Column("approved", sa.Boolean, nullable=False, server_default=sa.false()),  # a manager saw the draft
    sa.Column("note_id", sa.BigInteger),
    sa.Column("reason", sa.Text),  # why it is not sent: a word of ours, or amoCRM's refusal as a sentence
    sa.Column("summary", sa.Text),  # for the person who takes over
    sa.Column("gap", sa.Boolean, nullable=False, server_default=sa.false()),  # the knowledge folder knew nothing of it
    sa.Index("ix_turns_gaps", "first_message_at", sqlite_where=sa.text("gap"), postgresql_where=sa.text("gap")),
    _unique_while("uq_turns_waiting", WAITING),
    _unique_while("uq_turns_in_hand", ANSWERING, SENDING),
    sqlite_autoincrement=True,  # an id names a workflow too, so it must not come back after a turn is joined to another
)

_GET = (
    sa.select(
        turns,
        conversations.c.amocrm_lead_id,
        conversations.c.client_id,
        conversations.c.paused_until,
        conversations.c.paused_by,
        conversations.c.mode,
        conversations.c.summary.label("conversation_summary"),
        conversations.c.summarised_until,
    )
    .join(conversations)
    .where(turns.c.id == sa.bindparam("turn"))
)
_WAITING = sa.select(turns.c.id, turns.c.conversation_id).where(
    turns.c.state == WAITING, turns.c.conversation_id.in_(sa.bindparam("conversations", expanding=True))
)
_WAITING_LOCKED = _WAITING.order_by(turns.c.id).with_for_update()  # SQLite has one writer and no such lock
_TOUCH = (
    turns.update()
    .where(turns.c.id.in_(sa.bindparam("turns", expanding=True)))
    .values(last_message_at=sa.bindparam("at"))
)


def open_for(
    connection: Connection, conversation_ids: Collection[int], now: datetime
) -> tuple[dict[int, int], list[int]]:
    """Give each conversation its waiting turn: ({conversation: turn}, the ids of those that were opened now)."""
    if not conversation_ids:
        return {}, []
    # Locked, so that none of them is taken in hand by another process while a message joins it.
    found = connection.execute(_WAITING_LOCKED, {"conversations": list(conversation_ids)})
    waiting = {row.conversation_id: row.id for row in found}
    if waiting:
        connection.execute(_TOUCH, {"turns": sorted(waiting.values()), "at": now})
    missing = [{"conversation_id": id_} for id_ in sorted(conversation_ids) if id_ not in waiting]
    if not missing:
        return waiting, []
    added = connection.execute(
        turns.insert()
        .values(state=WAITING, first_message_at=now, last_message_at=now)
        .returning(turns.c.id, turns.c.conversation_id),
        missing,
    ).all()
    return waiting | {row.conversation_id: row.id for row in added}, [row.id for row in added]


def waiting_in(connection: Connection, conversation_ids: Collection[int]) -> set[int]:
    """The waiting turns of these conversations."""
    if not conversation_ids:
        return set()
    return set(connection.scalars(_WAITING, {"conversations": list(conversation_ids)}))


def hand_over(connection: Connection, from_conversation: int, to_conversation: int) -> None:
    """Two conversations turn out to be one: the turns of the first go to the second, the waiting one to its own."""
    source = _waiting(connection, from_conversation)
    target = _waiting(connection, to_conversation)
    if source is not None and target is not None:
        first = min(source.first_message_at, target.first_message_at)
        _join(connection, source.id, target.id, {"first_message_at": first})
    here = turns.c.conversation_id == from_conversation
    connection.execute(turns.update().where(here).values(conversation_id=to_conversation))


def unplaced(connection: Connection, conversation_id: int, reason: str, now: datetime) -> None:
    """waiting -> handed, of nobody: the deal of the conversation could not be found."""
    turn = _waiting(connection, conversation_id)
    if turn is None:
        return
    values = {"state": HANDED, "reason": reason, "closed_at": now}
    connection.execute(turns.update().where(turns.c.id == turn.id, turns.c.state == WAITING).values(**values))
    _grow_the_one_before(connection, turn.id, reason, now)


def placed(connection: Connection, conversation_id: int) -> None:
    """handed -> waiting: the deal of the conversation is known after all. One that waits already takes it in."""
    left = connection.execute(
        sa.select(turns)
        .where(turns.c.conversation_id == conversation_id, turns.c.state == HANDED, turns.c.reason == NO_DEAL)
        .order_by(turns.c.id.desc())
        .limit(1)
        .with_for_update()
    ).one_or_none()
    if left is None:
        return
    waiting = _waiting(connection, conversation_id)
    if waiting is not None:
        _join(connection, left.id, waiting.id, {"first_message_at": left.first_message_at})
        return
    values = {"state": WAITING, "reason": None, "closed_at": None, "owner": None}
    connection.execute(turns.update().where(turns.c.id == left.id).values(**values))


def cancel_for_manager(connection: Connection, conversation_id: int, wrote_at: datetime, now: datetime) -> None:
    """A person wrote in the conversation: what the client had said until then is not answered a second time.

    What was left to a person has found one, except where two bots may be talking to each other: it was perhaps the
    other bot that wrote.
    """
    left = sa.and_(turns.c.state == HANDED, turns.c.reason != CEILING)
    here = (
        turns.c.conversation_id == conversation_id,
        sa.or_(turns.c.state.in_((WAITING, ANSWERING, DRAFT)), left),
    )
    # Locked first: what the client said meanwhile is then seen by the look at the messages.
    connection.execute(sa.select(turns.c.id).where(*here).order_by(turns.c.id).with_for_update()).all()
    said_later = sa.exists().where(
        messages.c.turn_id == turns.c.id, messages.c.sender_type == "client", messages.c.timestamp > wrote_at
    )
    connection.execute(turns.update().where(*here, ~said_later).values(state=CANCELLED, reason=MANAGER, closed_at=now))


def get(connection: Connection, turn_id: int) -> Row[Any] | None:
    """A turn with its conversation's client, lead and pause."""
    return connection.execute(_GET, {"turn": turn_id}).one_or_none()


def listed(connection: Connection, states: Collection[str], limit: int, before: int = 0) -> Sequence[Row[Any]]:
    """The newest turns in these states, with their leads; before: a turn's id."""
    query = sa.select(turns, conversations.c.amocrm_lead_id).join(conversations).where(turns.c.state.in_(states))
    if before:
        query = query.where(turns.c.id < before)
    return connection.execute(query.order_by(turns.c.id.desc()).limit(limit)).all()


_free = sa.or_(turns.c.owner.is_(None), turns.c.owner.not_in(sa.bindparam("others", expanding=True)))
_CLAIM = (
    turns.update()
    .where(turns.c.id == sa.bindparam("turn"), turns.c.state.in_(OPEN), _free)
    .values(owner=sa.bindparam("me"))
)


def claim(connection: Connection, turn_id: int, me: str, now: datetime) -> bool:
    """Make the turn this process's, unless it is closed or another living process has it."""
    values = {"turn": turn_id, "me": me, "others": _others(connection, me, now)}
    return connection.execute(_CLAIM, values).rowcount == 1


_IDLE = (
    sa.select(turns.c.id)
    .join(conversations)
    .where(turns.c.state.in_(OPEN), conversations.c.amocrm_lead_id.is_not(None), _free)
    .order_by(turns.c.id)
)


def idle(connection: Connection, me: str, now: datetime) -> Sequence[int]:
    """The open turns of nobody, of this process, or of a dead one, oldest first; those whose lead is known."""
    return connection.scalars(_IDLE, {"others": _others(connection, me, now)}).all()


_LAST: sa.Select[Any] = (
    sa.select(turns.c.id, turns.c.state, conversations.c.amocrm_lead_id)
    .join(conversations)
    .where(turns.c.conversation_id == sa.bindparam("conversation"))
    .order_by(turns.c.id.desc())
    .limit(1)
)


def last(connection: Connection, conversation_id: int) -> Row[Any] | None:
    """The newest turn of a conversation: its id, state and lead."""
    return connection.execute(_LAST, {"conversation": conversation_id}).one_or_none()


def owns(connection: Connection, turn_id: int, me: str) -> bool:
    """Whether the turn is still this process's."""
    return bool(connection.scalar(sa.select(sa.exists().where(turns.c.id == turn_id, turns.c.owner == me))))


def release_all(connection: Connection, me: str) -> None:
    """Before this process stops: whoever comes first may go on with its turns."""
    connection.execute(turns.update().where(turns.c.owner == me, turns.c.state.in_(OPEN)).values(owner=None))


def _others(connection: Connection, me: str, now: datetime) -> list[str]:
    return [process for process in processes.alive(connection, now) if process != me]


_other = turns.alias("other")
_TAKE = (
    turns.update()
    .where(
        turns.c.id == sa.bindparam("turn"),
        turns.c.owner == sa.bindparam("me"),
        turns.c.state == WAITING,
        ~sa.exists().where(
            _other.c.conversation_id == turns.c.conversation_id, _other.c.state.in_((ANSWERING, SENDING))
        ),
    )
    .values(state=ANSWERING)
)


def take(connection: Connection, turn_id: int, me: str) -> bool:
    """waiting -> answering, unless another turn of the conversation is in hand. True also if it waits no more."""
    if connection.execute(_TAKE, {"turn": turn_id, "me": me}).rowcount == 1:
        _replace_draft(connection, turn_id)
        return True
    row = get(connection, turn_id)
    return row is None or row.state != WAITING or row.owner != me


def write_down(connection: Connection, turn_id: int, me: str, reply: Reply, *, gap: bool = False) -> bool:
    """Keep the draft with the turn; nothing of it is a message yet.

    gap: the knowledge folder knew nothing of what was asked.
    """
    values = {"reply": reply.text, "responder": reply.responder, "model": reply.model, "gap": gap}
    return _move(connection, turn_id, me, ANSWERING, {**values, "details": dict(reply.details)})


def ask_for_person(connection: Connection, turn_id: int, reason: str, summary: str) -> None:
    """Keep with the turn that a person is needed besides the reply, why, and what the person should know."""
    connection.execute(turns.update().where(turns.c.id == turn_id).values(reason=reason, summary=summary))


_NOTHING_WRITTEN = {"reply": None, "reason": None, "summary": None, "gap": False}
"""What a dropped draft leaves: nothing, not even that a person was needed because of it."""


def drop_reply(connection: Connection, turn_id: int, me: str) -> bool:
    """What was written is not to be sent any more: the reply is written anew."""
    return _move(connection, turn_id, me, ANSWERING, {**_NOTHING_WRITTEN, "responder": None, "model": None})


def absorb_newer(connection: Connection, turn: Row[Any], me: str) -> bool:
    """The client wrote on while the reply was written: drop the draft, and answer the newer words with it.

    False when there are none, or the draft was dropped for newer words MOST_REDRAFTS times already.
    """
    if turn.state != ANSWERING or turn.owner != me or turn.redrafts >= MOST_REDRAFTS:
        return False
    newer = _waiting(connection, turn.conversation_id)
    if newer is None:
        return False
    # The quiet period begins anew with the newer words.
    moments = {"first_message_at": newer.first_message_at, "last_message_at": newer.last_message_at}
    fresh = {**_NOTHING_WRITTEN, "redrafts": turn.redrafts + 1, "approved": False, "tried_at": None}
    _join(connection, newer.id, turn.id, {**moments, **fresh})
    return True


def join_newer(connection: Connection, turn: Row[Any], me: str) -> bool:
    """The client wrote on before anybody was asked: that is part of the same turn, and it waits for quiet again.

    Who was asked without it, before a crash perhaps, answers without it: that draft is dropped at the last look.
    """
    if turn.state != ANSWERING or turn.owner != me or turn.reply is not None:
        return False
    newer = _waiting(connection, turn.conversation_id)
    if newer is None or _is_asked(connection, turn):
        return False
    _join(connection, newer.id, turn.id, {"last_message_at": newer.last_message_at})
    return True


def _is_asked(connection: Connection, turn: Row[Any]) -> bool:
    """Whether anybody was asked for the present draft."""
    of_it = (tries.c.turn_id == turn.id, tries.c.draft >= turn.redrafts * WRITINGS)
    return bool(connection.scalar(sa.select(sa.exists().where(*of_it))))


def commit_to_send(
    connection: Connection, turn_id: int, me: str, now: datetime, way: str | None = None, texts: Sequence[str] = ()
) -> Row[Any] | None:
    """answering -> sending, with the reply saved as a message: from here on it counts as said.

    way, texts: how it reaches the client's chat, and in which parts; without, it goes into the deal as a note.

    The last look, in one UPDATE: the turn is ours, and the conversation is not in a person's hands. Gives the turn
    as it is then, and only to the call that made the step: that one may send without asking amoCRM first.
    """
    values = {"state": SENDING, "way": way, "tried_at": now if way is None else None, "note_id": None}
    turn = _say(connection, turn_id, me, values, {"state": SENDING, "way": way or "note"}, now)
    if turn is not None and way is not None:
        parts.plan(connection, turn_id, texts)
    return turn


_the_note = messages.alias("the_note")
_of_manager = messages.alias("of_manager")
_asked = messages.alias("asked")
_MANAGER_WROTE_SINCE = sa.exists().where(
    _of_manager.c.conversation_id == turns.c.conversation_id,
    _of_manager.c.sender_type == "manager",
    _of_manager.c.id
    > sa.select(sa.func.max(_the_note.c.id))
    .where(_the_note.c.turn_id == turns.c.id, _the_note.c.sender_type == "assistant")
    .correlate(turns)  # two levels up, which is not seen by itself: it would be the newest note of all turns
    .scalar_subquery(),
    # One that was written before the question and only came in late answers nothing.
    _of_manager.c.timestamp
    >= sa.select(sa.func.max(_asked.c.timestamp))
    .where(_asked.c.turn_id == turns.c.id, _asked.c.sender_type == "client")
    .correlate(turns)
    .scalar_subquery(),
)


_HAS_A_PERSON = sa.select(turns.c.id).where(turns.c.id == sa.bindparam("turn"), _MANAGER_WROTE_SINCE)


def has_a_person(connection: Connection, turn_id: int) -> bool:
    """Whether a manager has written since the client asked."""
    return connection.execute(_HAS_A_PERSON, {"turn": turn_id}).first() is not None


def send_again(
    connection: Connection, turn_id: int, me: str, now: datetime, *, tried_at: datetime | None = None
) -> bool:
    """The last look once more, before every further attempt at a turn that is sending and is not in amoCRM.

    tried_at: when its note is given to amoCRM; none where it is a part for the client's chat.

    False when the turn is not ours, or a person has taken over since: wrote in the conversation, or paused it.
    """
    ours = {"_turn": turn_id, "_me": me, "_from": SENDING, "_now": now, "tried_at": tried_at}
    return connection.execute(_SEND_AGAIN, ours).rowcount == 1


def note_down(connection: Connection, turn_id: int, me: str, *, state: str = SENDING, **values: Any) -> bool:
    """Keep with a turn that is sending how far it has come: ``note_id``, ``tried_at``; False when it is not ours.

    state: ANSWERING while a draft is shown to the staff.
    """
    return _move(connection, turn_id, me, state, values)


def still_fails(connection: Connection, turn: Row[Any], me: str, now: datetime) -> timedelta:
    """Another attempt failed; gives for how long they all have."""
    since: datetime = turn.failing_since or now
    _move(connection, turn.id, me, turn.state, {"failing_since": since})
    return now - since


def begin_to_count_anew(connection: Connection) -> None:
    """amoCRM takes calls again: what it refused before it took none says nothing of what it will take."""
    connection.execute(turns.update().where(turns.c.state.in_(OPEN)).values(failing_since=None))


def show_draft(connection: Connection, turn_id: int, me: str, note_id: int | None) -> bool:
    """answering -> draft: it waits for a manager."""
    return _move(connection, turn_id, me, ANSWERING, {"state": DRAFT, "note_id": note_id, "tried_at": None})


def approve(connection: Connection, turn_id: int, text: str | None, now: datetime) -> str | None:
    """A manager wants a draft sent, perhaps with a changed text: draft -> answering. Gives the sentence why not."""
    row = get(connection, turn_id)
    if row is None or row.state != DRAFT:
        return _(NO_DRAFT).format(turn=turn_id)
    newer = sa.exists().where(_other.c.conversation_id == row.conversation_id, _other.c.state.in_(OPEN))
    values: dict[str, Any] = {"state": ANSWERING, "owner": None, "approved": True, "forced": True, "note_id": None}
    if text is not None:
        values |= {"reply": text, "details": {**(row.details or {}), "edited": True, "findings": []}}
    waiting = (turns.c.id == turn_id, turns.c.state == DRAFT)
    if connection.execute(turns.update().where(*waiting, ~newer).values(**values)).rowcount == 1:
        return None
    return _(WROTE_ON).format(turn=turn_id)


def reject(connection: Connection, turn_id: int, now: datetime) -> str | None:
    """A manager does not want a draft: draft -> cancelled. Gives the sentence why not."""
    waiting = (turns.c.id == turn_id, turns.c.state == DRAFT)
    values = {"state": CANCELLED, "reason": REJECTED, "closed_at": now}
    rejected = connection.execute(turns.update().where(*waiting).values(**values)).rowcount == 1
    return None if rejected else _(NO_DRAFT).format(turn=turn_id)


_DRAFTED = (
    sa.select(_other.c.id)
    .join(turns, sa.and_(_other.c.conversation_id == turns.c.conversation_id, _other.c.state == DRAFT))
    .where(turns.c.id == sa.bindparam("turn"))
    .with_for_update(of=_other)
)


def _replace_draft(connection: Connection, turn_id: int) -> None:
    """The client wrote on while a draft waited: what it was to answer becomes part of this turn, and it is gone.

    Not the other way round: whoever approves the draft they saw must not send one that they did not see.
    """
    for id_ in connection.scalars(_DRAFTED, {"turn": turn_id}).all():
        _join(connection, id_, turn_id, {"reply": None})


def keep(connection: Connection, turn_id: int, me: str, now: datetime) -> bool:
    """answering -> kept: the reply is saved as a message that was not sent."""
    values = {"state": KEPT, "reason": NOT_CONNECTED, "closed_at": now}
    delivery = {"state": KEPT, "reason": NOT_CONNECTED}
    return _say(connection, turn_id, me, values, delivery, now) is not None


def mark_sent(connection: Connection, turn_id: int, me: str, note_id: int | None, now: datetime) -> bool:
    """sending -> sent. note_id: none where only the client's chat has it."""
    values = {"state": SENT, "note_id": note_id, "closed_at": now}
    return _close(connection, turn_id, me, values, {"note_id": note_id})


def mark_half_sent(connection: Connection, turn_id: int, me: str, told: str, reason: str, now: datetime) -> bool:
    """sending -> sent, where it was stopped when the client had a part of it: no more than that was said."""
    values = {"state": SENT, "reason": reason, "closed_at": now}
    if not _close(connection, turn_id, me, values, {"note_id": None, "reason": reason}):
        return False
    connection.execute(messages.update().where(*_said_in(turn_id)).values(content=told))
    return True


def heal(connection: Connection, turn_id: int, now: datetime) -> None:
    """failed -> sent: what nobody could tell was seen in the client's chat after all."""
    if any(part.state != parts.SENT for part in parts.of_turn(connection, turn_id)):
        return
    failed = turns.update().where(turns.c.id == turn_id, turns.c.state == FAILED)
    if connection.execute(failed.values(state=SENT, reason=None, closed_at=now)).rowcount != 1:
        return
    data: dict[str, Any] = connection.execute(_GET_SAID, {"turn": turn_id}).scalar_one()
    data["delivery"] = {**data["delivery"], "state": SENT, "reason": None}
    connection.execute(_SET_SAID, {"turn": turn_id, "data": data})


def _said_in(turn_id: int) -> tuple[sa.ColumnElement[bool], ...]:
    return messages.c.turn_id == turn_id, messages.c.sender_type == "assistant"


def fail(connection: Connection, turn_id: int, me: str, reason: str, now: datetime) -> bool:
    """sending -> failed, with a sentence that a person understands."""
    return _close(connection, turn_id, me, {"state": FAILED, "reason": reason, "closed_at": now}, {"reason": reason})


def cancel_unsent(connection: Connection, turn_id: int, me: str, reason: str, now: datetime) -> bool:
    """sending -> cancelled: it surely is not in amoCRM, and meanwhile a person took over, or it was switched off."""
    return _close(connection, turn_id, me, {"state": CANCELLED, "reason": reason, "closed_at": now}, {"reason": reason})


def take_back(connection: Connection, turn_id: int, me: str) -> bool:
    """sending -> answering: it surely is not in amoCRM, and is not to be sent as it is; it was never said."""
    if not _move(connection, turn_id, me, SENDING, {"state": ANSWERING, "way": None, "tried_at": None}):
        return False
    parts.forget(connection, turn_id)
    connection.execute(messages.delete().where(*_said_in(turn_id)))
    return True


def hand_to_person(connection: Connection, turn_id: int, me: str, reason: str, now: datetime) -> bool:
    """waiting or answering -> handed: it is on the operator's list.

    Where the conversation's turn before is on that list already, this one joins it: one entry that grows.
    """
    values = {"state": HANDED, "reason": reason, "closed_at": now}
    if not (_move(connection, turn_id, me, ANSWERING, values) or _move(connection, turn_id, me, WAITING, values)):
        return False
    _grow_the_one_before(connection, turn_id, reason, now)
    return True


def _grow_the_one_before(connection: Connection, turn_id: int, reason: str, now: datetime) -> None:
    before = connection.execute(_BEFORE, {"turn": turn_id}).one_or_none()
    if before is not None and before.state == HANDED:
        last = connection.scalar(sa.select(turns.c.last_message_at).where(turns.c.id == turn_id))
        _join(connection, turn_id, before.id, {"reason": reason, "last_message_at": last, "closed_at": now})


def leave_alone(connection: Connection, turn_id: int, me: str, reason: str, now: datetime) -> bool:
    """answering -> cancelled: by the user's settings it is not the assistant's, or it is switched off here."""
    return _move(connection, turn_id, me, ANSWERING, {"state": CANCELLED, "reason": reason, "closed_at": now})


_this = turns.alias("this")
_BEFORE = (
    sa.select(turns.c.id, turns.c.state)
    .join(_this, sa.and_(_this.c.conversation_id == turns.c.conversation_id, _this.c.id > turns.c.id))
    .where(_this.c.id == sa.bindparam("turn"))
    .order_by(turns.c.id.desc())
    .limit(1)
    .with_for_update(of=turns)  # so that nobody has it answered while it grows
)


def still_kept(connection: Connection, turn_id: int, *, connected: bool) -> str | None:
    """A reply that is kept has nowhere to go before amoCRM is connected; gives the sentence then."""
    row = None if connected else get(connection, turn_id)
    return _(STILL_KEPT).format(turn=turn_id) if row is not None and row.state == KEPT else None


def retry(connection: Connection, turn_id: int, now: datetime) -> int | None:
    """A person wants a turn answered that ended without a reply. One that may be in amoCRM is looked for first.

    Gives the turn that will be answered: another one where the client has written on; None if it cannot be.
    """
    row = get(connection, turn_id)
    if row is None or row.state not in (FAILED, HANDED, CANCELLED, KEPT) or row.reason == ERASED:
        return None
    ended = (turns.c.id == turn_id, turns.c.state == row.state)
    again: dict[str, Any] = {"owner": None, "closed_at": None, "reason": None, "forced": True, "failing_since": None}
    if connection.execute(_GET_SAID, {"turn": turn_id}).first() is not None:
        busy = sa.exists().where(
            _other.c.conversation_id == row.conversation_id, _other.c.state.in_((ANSWERING, SENDING))
        )
        if row.way is not None:  # the note so far says that the client does not have it
            again |= {"tried_at": None, "note_id": None}
        sent = connection.execute(turns.update().where(*ended, ~busy).values(**again, state=SENDING))
        if sent.rowcount != 1:
            return None
        parts.try_again(connection, turn_id)
        return turn_id
    newer = _waiting(connection, row.conversation_id)
    if newer is not None:
        _join(connection, turn_id, newer.id, {"forced": True, "first_message_at": row.first_message_at})
        return int(newer.id)
    connection.execute(tries.delete().where(tries.c.turn_id == turn_id))  # of a draft that nobody has seen
    values = {**again, **_NOTHING_WRITTEN, "state": WAITING, "redrafts": 0, "last_message_at": now}
    return turn_id if connection.execute(turns.update().where(*ended).values(**values)).rowcount == 1 else None


_REPLIES = sa.select(sa.func.count()).where(
    turns.c.conversation_id == sa.bindparam("conversation"),
    turns.c.closed_at >= sa.bindparam("since"),
    turns.c.state.in_((SENT, KEPT)),
)
_SAID_AT = sa.select(sa.func.max(messages.c.timestamp)).where(
    messages.c.turn_id == sa.bindparam("turn"), messages.c.sender_type == "client"
)


def replies_since(connection: Connection, conversation_id: int, since: datetime) -> int:
    """How many replies the conversation has had."""
    return connection.scalar(_REPLIES, {"conversation": conversation_id, "since": since}) or 0


def said_at(connection: Connection, turn_id: int) -> datetime | None:
    """When the client said the newest of it, by amoCRM's clock."""
    newest: datetime | None = connection.scalar(_SAID_AT, {"turn": turn_id})
    return newest


def marker(installation_name: str, turn_id: int) -> str:
    """What is written below a note, so that it can be found again: unique also after a reinstallation."""
    digest = hashlib.blake2s(f"{installation_name}:{turn_id}".encode(), digest_size=5).hexdigest()
    return f"otvet:{turn_id}-{digest}"


def too_old(said: datetime | None, now: datetime, stale: timedelta) -> bool:
    """Whether a client would be surprised by an answer to this now."""
    return said is not None and now - said > stale


_WAITING_OF = (
    sa.select(turns)
    .where(turns.c.conversation_id == sa.bindparam("conversation"), turns.c.state == WAITING)
    .with_for_update()
)


def _waiting(connection: Connection, conversation_id: int) -> Row[Any] | None:
    return connection.execute(_WAITING_OF, {"conversation": conversation_id}).one_or_none()


def _join(connection: Connection, source: int, target: int, values: Mapping[str, Any]) -> None:
    """What was said in one turn becomes part of another; the first one is gone."""
    connection.execute(messages.update().where(messages.c.turn_id == source).values(turn_id=target))
    connection.execute(tries.delete().where(tries.c.turn_id == source))  # of a draft that nobody will see
    bot_waits.hand_over(connection, source, target)
    connection.execute(turns.delete().where(turns.c.id == source))
    connection.execute(turns.update().where(turns.c.id == target).values(**values))


def _move(connection: Connection, turn_id: int, me: str, from_state: str, values: Mapping[str, Any]) -> bool:
    """One step of a turn that is ours, from a state."""
    ours = {"_turn": turn_id, "_me": me, "_from": from_state}
    return connection.execute(_moving(frozenset(values)), {**ours, **values}).rowcount == 1


@cache  # a statement for each set of columns: building it anew costs more than running it
def _moving(columns: frozenset[str]) -> sa.Update:
    return (
        turns.update()
        .where(
            turns.c.id == sa.bindparam("_turn"),
            turns.c.owner == sa.bindparam("_me"),
            turns.c.state == sa.bindparam("_from"),
        )
        .values({name: sa.bindparam(name) for name in columns})
    )


_IN_A_PERSONS_HANDS = sa.exists().where(
    conversations.c.id == turns.c.conversation_id, conversations.c.paused_until > sa.bindparam("_now")
)


@cache
def _saying(columns: frozenset[str]) -> sa.Update:
    """Only what was written, and only while the conversation is not in a person's hands."""
    return _moving(columns).where(turns.c.reply.is_not(None), sa.or_(turns.c.forced, ~_IN_A_PERSONS_HANDS))


_SEND_AGAIN = _moving(frozenset({"tried_at"})).where(
    sa.or_(turns.c.forced, ~sa.or_(_IN_A_PERSONS_HANDS, _MANAGER_WROTE_SINCE))
)


_ADD_MESSAGE = messages.insert()
_TOUCH_CONVERSATION = (
    conversations.update()
    .where(conversations.c.id == sa.bindparam("conversation"))
    .values(last_activity=sa.bindparam("at"))
)
_SAID = sa.and_(messages.c.turn_id == sa.bindparam("turn"), messages.c.sender_type == "assistant")
_GET_SAID = sa.select(messages.c.metadata).where(_SAID)
_SET_SAID = messages.update().where(_SAID).values(metadata=sa.bindparam("data", type_=Json))


def _say(
    connection: Connection,
    turn_id: int,
    me: str,
    values: Mapping[str, Any],
    delivery: Mapping[str, Any],
    now: datetime,
) -> Row[Any] | None:
    """The turn as it is then; None when it is not to be said."""
    ours = {"_turn": turn_id, "_me": me, "_from": ANSWERING, "_now": now}
    if connection.execute(_saying(frozenset(values)), {**ours, **values}).rowcount != 1:
        return None
    turn = get(connection, turn_id)
    assert turn is not None
    said = {
        "amocrm_lead_id": turn.amocrm_lead_id,
        "source": "ai_response",
        "responder": turn.responder,
        "model": turn.model,
        "details": turn.details,
        "delivery": dict(delivery),
    }
    message = {
        "conversation_id": turn.conversation_id,
        "sender_type": "assistant",
        "content": turn.reply,
        "message_type": "text",
        "metadata": said,
        "timestamp": now,
        "turn_id": turn_id,
    }
    connection.execute(_ADD_MESSAGE, message)
    connection.execute(_TOUCH_CONVERSATION, {"conversation": turn.conversation_id, "at": now})
    return turn


def _close(
    connection: Connection, turn_id: int, me: str, values: Mapping[str, Any], delivery: Mapping[str, Any]
) -> bool:
    if not _move(connection, turn_id, me, SENDING, values):
        return False
    data: dict[str, Any] = connection.execute(_GET_SAID, {"turn": turn_id}).scalar_one()
    data["delivery"] = {"way": data["delivery"].get("way", "note"), "state": values["state"], **delivery}
    connection.execute(_SET_SAID, {"turn": turn_id, "data": data})
    return True
