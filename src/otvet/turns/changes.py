"""Every write to the table of turns: open, claim, move from state to state, join to another turn, erase.

The other files of this package decide when.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.conversations.messages import move_messages
from otvet.conversations.tables import erased_ref
from otvet.storage.prepared import Prepared
from otvet.turns import attempts
from otvet.turns.turn import IN_HAND, MOVES, NEEDS_STAFF, OPEN, Reason, State, Turn, Writer, turns

Conditions = tuple[sa.ColumnElement[bool], ...]


class NotAllowed(Exception):
    """``MOVES`` does not list the move: a bug."""


def move(
    connection: Connection,
    turn: Turn,
    to: State,
    *,
    me: str | None,
    unless: Conditions = (),
    now: datetime | None = None,
    **values: Any,
) -> bool:
    """Move a turn from the state in which it was read to another one; False if its state or owner has changed since.

    me: the process that owns the turn; None for staff and the inbox, which may end any process's turn.
    unless: conditions that must be false in the database. now: for conditions that compare with ``_now``.
    values: columns to set with the state.
    """
    if to not in MOVES[turn.state]:
        raise NotAllowed(f"a turn does not go from {turn.state} to {to}")
    return _update(connection, turn, me, unless, now, {"state": to, **values})


def note(
    connection: Connection,
    turn: Turn,
    me: str,
    *,
    unless: Conditions = (),
    now: datetime | None = None,
    **values: Any,
) -> bool:
    """Set columns of a turn that stays in its state; see move()."""
    return _update(connection, turn, me, unless, now, values)


def _update(
    connection: Connection,
    turn: Turn,
    me: str | None,
    unless: Conditions,
    now: datetime | None,
    values: Mapping[str, Any],
) -> bool:
    given: dict[str, Any] = {"_turn": turn.id, "_from": turn.state}
    if me is not None:
        given["_me"] = me
    if now is not None:
        given["_now"] = now
    statement = _updating(frozenset(values), unless, owned=me is not None)
    return connection.execute(statement, {**given, **values}).rowcount == 1


@cache  # building a statement costs more than running it
def _updating(columns: frozenset[str], unless: Conditions, *, owned: bool) -> sa.Update:
    here = [turns.c.id == sa.bindparam("_turn"), turns.c.state == sa.bindparam("_from")]
    if owned:
        here.append(turns.c.owner == sa.bindparam("_me"))
    here += [~condition for condition in unless]
    return turns.update().where(*here).values({name: sa.bindparam(name) for name in columns})


_handoffs = sa.table("handoffs", sa.column("id"), sa.column("closed_at"))
_OPEN_HANDOFF = (
    sa.select(turns.c.handoff_id, turns.c.left_because)
    .join(_handoffs, _handoffs.c.id == turns.c.handoff_id)
    .where(turns.c.id == sa.bindparam("turn"), _handoffs.c.closed_at.is_(None))
)


def join(connection: Connection, source: int, target: int, **values: Any) -> None:
    """Move the messages of one turn to another, and delete the first turn. values: columns to set in the other turn.

    A question that is left to staff stays so.
    """
    move_messages(connection, source, target)
    pass_handoff(connection, source, target)
    attempts.forget(connection, source)  # of a draft that nobody will see
    connection.execute(turns.delete().where(turns.c.id == source))
    if values:
        connection.execute(turns.update().where(turns.c.id == target).values(**values))


_TOUCH = Prepared(turns.update().where(turns.c.id == sa.bindparam("turn")).values(last_message_at=sa.bindparam("at")))
_OPEN_TURN = Prepared(
    turns.insert().returning(turns.c.id),
    columns=("conversation_id", "chat_ref", "state", "first_message_at", "last_message_at"),
)
FREE = sa.or_(turns.c.owner.is_(None), turns.c.owner.not_in(sa.bindparam("others", expanding=True)))
_CLAIM = (
    turns.update()
    .where(turns.c.id == sa.bindparam("turn"), turns.c.state.in_(OPEN), FREE)
    .values(owner=sa.bindparam("me"))
)


def release(connection: Connection, turn_id: int, me: str) -> None:
    """Any process may go on with the turn."""
    connection.execute(turns.update().where(turns.c.id == turn_id, turns.c.owner == me).values(owner=None))


def release_all(connection: Connection, me: str) -> None:
    """Give up this process's open turns before it stops, so that other processes go on with them."""
    connection.execute(turns.update().where(turns.c.owner == me, turns.c.state.in_(OPEN)).values(owner=None))


def open_turn(connection: Connection, conversation_id: int, chat_ref: str, now: datetime) -> int:
    """Add a chat's waiting turn; returns its id."""
    moments = {"state": str(State.WAITING), "first_message_at": now, "last_message_at": now}
    ((turn_id,),) = _OPEN_TURN.rows(connection, conversation_id=conversation_id, chat_ref=chat_ref, **moments)
    return int(turn_id)


def open_with_words(connection: Connection, conversation_id: int, chat_ref: str, text: str, now: datetime) -> int:
    """Add a turn with a manager's own words, which waits for its place in the chat; returns its id."""
    values: dict[str, Any] = {"state": State.WAITING, "first_message_at": now, "last_message_at": now, "reply": text}
    values |= {"responder": Writer.PERSON, "approved": True, "requested_by_staff": True}
    new = turns.insert().values(conversation_id=conversation_id, chat_ref=chat_ref, **values)
    return int(connection.execute(new.returning(turns.c.id)).scalar_one())


def ask_for(connection: Connection, turn: Turn, *, wanted: bool = True) -> bool:
    """Staff want a turn answered now, or want it no more. False if it has gone on since it was read."""
    return _update(connection, turn, None, (), None, {"requested_by_staff": wanted})


def touch(connection: Connection, turn_ids: Collection[int], now: datetime) -> None:
    """Note that the client wrote on in these turns."""
    _TOUCH.run(connection, [{"turn": id_, "at": now} for id_ in sorted(turn_ids)])


def forget_draft_note(connection: Connection, turn_id: int, note_id: int) -> None:
    """The note of a draft that waits no more says so."""
    here = (turns.c.id == turn_id, turns.c.draft_note_id == note_id)
    connection.execute(turns.update().where(*here).values(draft_note_id=None))


def set_handoff(connection: Connection, turn_id: int, handoff_id: int | None, because: str | None) -> None:
    """Set the hand-off that a turn belongs to, and why it does."""
    connection.execute(turns.update().where(turns.c.id == turn_id).values(handoff_id=handoff_id, left_because=because))


def pass_handoff(connection: Connection, source: int, target: int) -> None:
    """The question of one turn goes on in another one, and so does its open hand-off."""
    passed = connection.execute(_OPEN_HANDOFF, {"turn": source}).one_or_none()
    if passed is not None:
        set_handoff(connection, target, *passed)
    set_handoff(connection, source, None, None)


def move_handoff(connection: Connection, from_handoff: int, to_handoff: int) -> None:
    """Move the turns of one hand-off to another."""
    connection.execute(turns.update().where(turns.c.handoff_id == from_handoff).values(handoff_id=to_handoff))


def name_chat(connection: Connection, turn_id: int, chat_ref: str) -> None:
    """Set the chat of a turn, which has become known."""
    connection.execute(turns.update().where(turns.c.id == turn_id).values(chat_ref=chat_ref))


def name_chat_unless_in_hand(connection: Connection, turn_id: int, chat_ref: str) -> None:
    """Set the chat of a turn, which has become known, unless another turn of that chat is in hand."""
    other = turns.alias("other")
    busy = sa.exists().where(
        other.c.conversation_id == turns.c.conversation_id,
        other.c.chat_ref == chat_ref,
        other.c.state.in_(IN_HAND),
    )
    connection.execute(turns.update().where(turns.c.id == turn_id, ~busy).values(chat_ref=chat_ref))


def move_all(connection: Connection, from_conversation: int, to_conversation: int) -> None:
    """Move all turns of a conversation to another one."""
    here = turns.c.conversation_id == from_conversation
    connection.execute(turns.update().where(here).values(conversation_id=to_conversation))


def set_owner(connection: Connection, turn_id: int, me: str, others: Sequence[str]) -> bool:
    """Make this process the owner, unless the turn is closed or one of the ``others`` owns it."""
    return connection.execute(_CLAIM, {"turn": turn_id, "me": me, "others": others}).rowcount == 1


def outage_over(connection: Connection) -> None:
    """amoCRM takes calls again: forget the failures of open turns, because the outage caused them."""
    connection.execute(turns.update().where(turns.c.state.in_(OPEN)).values(failing_since=None))


def erase_turns(connection: Connection, turn_ids: Collection[int], now: datetime) -> None:
    """Erase the replies of these turns, and end the unfinished ones."""
    here = turns.c.id.in_(turn_ids)
    nothing = {"reply": None, "details": sa.null(), "summary": None, "gap": False, "reason": Reason.ERASED}
    connection.execute(turns.update().where(here).values(**nothing))
    unfinished = turns.c.state.in_((*OPEN, *NEEDS_STAFF))
    closed = {"state": State.CANCELLED, "closed_at": now}
    connection.execute(turns.update().where(here, unfinished).values(**closed))
    connection.execute(
        turns.update().where(here).values(chat_ref=erased_ref(turns, ""))
    )  # no collision: all are closed by now
