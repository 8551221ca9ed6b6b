"""The queue of turns: how a message opens or joins a turn, how a process claims it and takes it in hand."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.conversations.messages import move_message, move_messages
from otvet.conversations.tables import chats, conversations
from otvet.storage import heartbeats
from otvet.storage.prepared import Prepared, among
from otvet.turns import attempts, handoffs
from otvet.turns.changes import (
    FREE,
    join,
    move,
    move_all,
    name_chat,
    name_chat_unless_in_hand,
    open_turn,
    pass_handoff,
    set_owner,
    touch,
)
from otvet.turns.turn import IN_HAND, OPEN, SELECTED, Reason, State, Turn, Writer, get, turns

UNKNOWN = ""
"""The chat of a message that names none, for instance one that only a bot has reported."""

Chat = tuple[int, str]
"""A conversation's id and the chat_ref of a chat in it."""

_WAITING = sa.select(turns.c.id, turns.c.conversation_id, turns.c.chat_ref).where(
    turns.c.state == sa.literal_column(f"'{State.WAITING}'"),
    turns.c.reply.is_(None),  # a manager's own words wait with their text
    among(turns.c.conversation_id, "conversations"),
)
_WAITING_IDS = Prepared(_WAITING)
_WAITING_LOCKED = Prepared(_WAITING.order_by(turns.c.id).with_for_update())  # SQLite has one writer and no such lock


def open_for(connection: Connection, asked: Collection[Chat], now: datetime) -> tuple[dict[Chat, int], set[int]]:
    """Find or open the waiting turn of each chat. Returns ({chat: turn id}, the ids of the turns opened now)."""
    if not asked:
        return {}, set()
    # Locked, so that no other process takes one in hand while a message joins it.
    found = _WAITING_LOCKED.rows(connection, conversations=sorted({conversation for conversation, _ in asked}))
    waiting = {(conversation, ref): id_ for id_, conversation, ref in found}
    turn_of = {chat: waiting[chat] for chat in asked if chat in waiting}
    if waiting:
        turn_of |= _join_across(connection, sorted(set(asked) - turn_of.keys()), waiting)
        touch(connection, set(turn_of.values()), now)
    missing = sorted(set(asked) - turn_of.keys())
    if not missing:
        return turn_of, set()
    for id_, ref in missing:
        turn_of[id_, ref] = open_turn(connection, id_, ref, now)
    return turn_of, {turn_of[chat] for chat in missing}


def _join_across(connection: Connection, asked: Sequence[Chat], waiting: dict[Chat, int]) -> dict[Chat, int]:
    """Match a message without a chat to the deal's only waiting turn, or a named chat to the turn without one."""
    turn_of: dict[Chat, int] = {}
    for conversation, ref in asked:
        here = {chat: id_ for chat, id_ in waiting.items() if chat[0] == conversation}
        if ref == UNKNOWN and len(here) == 1:
            turn_of[conversation, ref] = next(iter(here.values()))
        elif ref != UNKNOWN and (id_ := here.get((conversation, UNKNOWN))) and is_alone(connection, conversation, ref):
            name_chat(connection, id_, ref)
            handoffs.follow(connection, id_)
            turn_of[conversation, ref] = id_
    return turn_of


def is_alone(connection: Connection, conversation_id: int, chat_ref: str) -> bool:
    """Whether the deal has no other known chat."""
    others = sa.exists().where(chats.c.conversation_id == conversation_id, chats.c.chat_ref != chat_ref)
    return not connection.scalar(sa.select(others))


def know_chat(connection: Connection, turn_id: int, chat_ref: str) -> None:
    """Set the chat of a turn that was opened without one, or join the turn to the waiting turn of that chat."""
    turn = get(connection, turn_id)
    if turn is None or turn.chat_ref != UNKNOWN or turn.state not in OPEN:
        return
    waiting = waiting_turn(connection, turn.conversation_id, chat_ref)
    if turn.state == State.WAITING and waiting is not None:
        join(connection, turn.id, waiting.id, first_message_at=min(turn.first_message_at, waiting.first_message_at))
        handoffs.follow(connection, waiting.id)
        return
    name_chat_unless_in_hand(connection, turn.id, chat_ref)
    handoffs.follow(connection, turn.id)


def set_apart(connection: Connection, message_id: int, turn_id: int, chat_ref: str, now: datetime) -> None:
    """Move a message that joined the turn of another chat to the waiting turn of its own chat."""
    turn = get(connection, turn_id)
    if turn is None or turn.chat_ref in (UNKNOWN, chat_ref) or turn.state != State.WAITING:
        return
    turn_of, _opened = open_for(connection, {(turn.conversation_id, chat_ref)}, now)
    own = turn_of[turn.conversation_id, chat_ref]
    move_message(connection, message_id, own)


def ask_anew(connection: Connection, turn_id: int, now: datetime) -> int | None:
    """The client changed the words of a question. If a draft of the reply may exist, ask it anew in the waiting turn.

    Returns that turn; None if the turn has not been begun, so that it gets the new words, or has ended.
    """
    turn = get(connection, turn_id)
    if turn is None or turn.state not in (State.ANSWERING, State.DRAFT):
        return None
    closed: dict[str, Any] = {"reason": Reason.REWORDED, "closed_at": now, "draft_note_id": turn.note_of_draft}
    if not move(connection, turn, State.CANCELLED, me=None, **closed):
        return None
    turn_of, _opened = open_for(connection, {(turn.conversation_id, turn.chat_ref)}, now)
    anew = turn_of[turn.conversation_id, turn.chat_ref]
    move_messages(connection, turn_id, anew)
    pass_handoff(connection, turn_id, anew)
    return anew


def waiting_in(connection: Connection, conversation_ids: Collection[int]) -> set[int]:
    """The ids of the waiting turns of these conversations."""
    if not conversation_ids:
        return set()
    return {id_ for id_, _conversation, _ref in _WAITING_IDS.rows(connection, conversations=list(conversation_ids))}


_WAITING_OF = SELECTED.where(
    turns.c.conversation_id == sa.bindparam("conversation"),
    turns.c.chat_ref == sa.bindparam("chat"),
    turns.c.state == State.WAITING,
    turns.c.reply.is_(None),
).with_for_update(of=turns)


def waiting_turn(connection: Connection, conversation_id: int, chat_ref: str) -> Turn | None:
    """The chat's waiting turn, locked; not a manager's own words that wait for their place."""
    row = connection.execute(_WAITING_OF, {"conversation": conversation_id, "chat": chat_ref}).one_or_none()
    return None if row is None else Turn.from_row(row)


_HAS_WAITING = sa.select(turns.c.id).where(
    turns.c.conversation_id == sa.bindparam("conversation"),
    turns.c.chat_ref == sa.bindparam("chat"),
    turns.c.state == State.WAITING,
    turns.c.reply.is_(None),
)


def has_waiting(connection: Connection, conversation_id: int, chat_ref: str) -> bool:
    """Whether the chat has a waiting turn."""
    return connection.execute(_HAS_WAITING, {"conversation": conversation_id, "chat": chat_ref}).first() is not None


def move_turns(connection: Connection, from_conversation: int, to_conversation: int) -> None:
    """Move the turns of one conversation to another, of the same deal; two waiting turns of a chat are joined."""
    deal_found(connection, from_conversation)
    for id_, _conversation, ref in _WAITING_LOCKED.rows(connection, conversations=[from_conversation]):
        source, target = get(connection, id_), waiting_turn(connection, to_conversation, ref)
        if source is not None and target is not None:
            join(
                connection, source.id, target.id, first_message_at=min(source.first_message_at, target.first_message_at)
            )
    move_all(connection, from_conversation, to_conversation)
    handoffs.move_to(connection, from_conversation, to_conversation)


def deal_found(connection: Connection, conversation_id: int) -> None:
    """handed -> waiting: the deal of the conversation was found after all. Joins the chat's waiting turn, if any."""
    rows = connection.execute(
        sa.select(turns.c.id)
        .where(
            turns.c.conversation_id == conversation_id, turns.c.state == State.HANDED, turns.c.reason == Reason.NO_DEAL
        )
        .order_by(turns.c.id.desc())
        .limit(1)
        .with_for_update()
    )
    handed = get(connection, id_) if (id_ := rows.scalar_one_or_none()) else None
    if handed is None:
        return
    waiting = waiting_turn(connection, conversation_id, handed.chat_ref)
    if waiting is not None:
        join(connection, handed.id, waiting.id, first_message_at=handed.first_message_at)
    else:
        move(connection, handed, State.WAITING, me=None, reason=None, closed_at=None, owner=None)


def claim(connection: Connection, turn_id: int, me: str, now: datetime) -> Turn | None:
    """Make this process the owner; returns the turn, or None if it is closed or another living process owns it."""
    return get(connection, turn_id) if set_owner(connection, turn_id, me, _others(connection, me, now)) else None


_IDLE = (
    sa.select(turns.c.id)
    .join(conversations)
    .where(turns.c.state.in_(OPEN), conversations.c.amocrm_lead_id.is_not(None), FREE)
    .order_by(turns.c.id)
)


def idle(connection: Connection, me: str, now: datetime) -> Sequence[int]:
    """Open turns of known deals without a living owner, or owned by this process, oldest first."""
    return connection.scalars(_IDLE, {"others": _others(connection, me, now)}).all()


def _others(connection: Connection, me: str, now: datetime) -> list[str]:
    return [process for process in heartbeats.alive(connection, now) if process != me]


_other = turns.alias("other")
_SAME_CHAT = sa.and_(
    _other.c.conversation_id == turns.c.conversation_id,
    # An unknown chat may be any chat of the deal.
    sa.or_(_other.c.chat_ref == turns.c.chat_ref, _other.c.chat_ref == UNKNOWN, turns.c.chat_ref == UNKNOWN),
)
# Also while a manager's own words wait that were written sooner.
_WORDS_BEFORE = sa.and_(_other.c.state == State.WAITING, _other.c.responder == Writer.PERSON, _other.c.id < turns.c.id)
_IN_HAND_HERE = sa.exists().where(
    _SAME_CHAT, _other.c.id != turns.c.id, sa.or_(_other.c.state.in_(IN_HAND), _WORDS_BEFORE)
)


_PLACE_TAKEN = sa.select(turns.c.id).where(turns.c.id == sa.bindparam("turn"), _IN_HAND_HERE)


def place_taken(connection: Connection, turn: Turn) -> bool:
    """Whether another turn of the chat is in hand."""
    return connection.execute(_PLACE_TAKEN, {"turn": turn.id}).first() is not None


def take(connection: Connection, turn: Turn, me: str) -> bool:
    """waiting -> answering, unless another turn of the chat is in hand."""
    if not move(connection, turn, State.ANSWERING, me=me, unless=(_IN_HAND_HERE,)):
        return False
    if not turn.is_of_person:
        _replace_draft(connection, turn)
    return True


_DRAFTED = (
    sa.select(turns.c.id)
    .where(
        turns.c.conversation_id == sa.bindparam("conversation"),
        turns.c.chat_ref == sa.bindparam("chat"),
        turns.c.state == State.DRAFT,
    )
    .with_for_update()
)


def _replace_draft(connection: Connection, turn: Turn) -> None:
    """Join a draft that waits for a manager to this turn, because the client wrote on.

    Not the other way round: a manager who approves a draft must not send a newer one that they did not see.
    """
    here = {"conversation": turn.conversation_id, "chat": turn.chat_ref}
    for id_ in connection.scalars(_DRAFTED, here).all():
        draft = get(connection, id_)
        join(connection, id_, turn.id, reply=None, draft_note_id=draft and draft.note_id)


def join_newer(connection: Connection, turn: Turn, me: str) -> bool:
    """Join the client's newer messages to a turn that no responder was asked for; it then waits for quiet again.

    A responder that was asked already, perhaps before a crash, answers without the newer messages. The last check
    before sending drops that draft.
    """
    if turn.state != State.ANSWERING or turn.owner != me or turn.reply is not None:
        return False
    newer = waiting_turn(connection, turn.conversation_id, turn.chat_ref)
    if newer is None or attempts.is_asked(connection, turn.id, turn.redrafts):
        return False
    join(connection, newer.id, turn.id, last_message_at=newer.last_message_at)
    return True
