"""Turns: what a client said since our last reply, and the one reply we owe for it.

waiting ──> answering ──> sending ──> sent        the reply is in amoCRM
   │            │            ├──────> failed      amoCRM refused it for good
   │            │            └──────> cancelled   a person took over before it could be sent
   │            ├───────────────────> kept        amoCRM is not connected: the reply is here, and was not sent
   │            └───────────────────> handed      a person has to see to it; ``reason`` says why
   └────────────────────────────────> cancelled   a manager wrote first

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
from otvet.database import Id, Json, UtcDateTime, metadata
from otvet.responders.base import Reply
from otvet.tries import tries

WAITING, ANSWERING, SENDING = "waiting", "answering", "sending"
SENT, KEPT, FAILED, CANCELLED, HANDED = "sent", "kept", "failed", "cancelled", "handed"
OPEN = (WAITING, ANSWERING, SENDING)
STATES = (*OPEN, SENT, KEPT, FAILED, CANCELLED, HANDED)
NEEDS_A_PERSON = (FAILED, HANDED)

# Why a turn ended as it did; sentences for them are in ``view.REASONS``.
NOT_CONNECTED = "amocrm_not_connected"
MANAGER = "manager"  # a manager, or another bot, wrote in the conversation
PAUSED = "paused"
STALE = "stale"
CEILING = "ceiling"
ASKED = "asked"  # the client asked for a person

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
    sa.Column("redrafts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("forced", sa.Boolean, nullable=False, server_default=sa.false()),  # a person wants it answered
    sa.Column("responder", sa.Text),
    sa.Column("model", sa.Text),
    sa.Column("reply", sa.Text),
    sa.Column("details", Json),  # what the responder tells of its reply: passages, task, seconds
    sa.Column("note_id", sa.BigInteger),
    sa.Column("reason", sa.Text),  # why it is not sent: a word of ours, or amoCRM's refusal as a sentence
    sa.Column("summary", sa.Text),  # for the person who takes over
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
    """Two conversations turn out to be one: the waiting turn of the first goes to the second."""
    source = _waiting(connection, from_conversation)
    target = _waiting(connection, to_conversation)
    if source is None:
        return
    if target is None:
        connection.execute(turns.update().where(turns.c.id == source.id).values(conversation_id=to_conversation))
        return
    first = min(source.first_message_at, target.first_message_at)
    _join(connection, source.id, target.id, {"first_message_at": first})


def cancel_for_manager(connection: Connection, conversation_id: int, wrote_at: datetime, now: datetime) -> None:
    """A person wrote in the conversation: what the client had said until then is not answered a second time."""
    here = (turns.c.conversation_id == conversation_id, turns.c.state.in_((WAITING, ANSWERING)))
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
        return True
    row = get(connection, turn_id)
    return row is None or row.state != WAITING or row.owner != me


def write_down(connection: Connection, turn_id: int, me: str, reply: Reply) -> bool:
    """Keep the draft with the turn; nothing of it is a message yet."""
    values = {"reply": reply.text, "responder": reply.responder, "model": reply.model}
    return _move(connection, turn_id, me, ANSWERING, {**values, "details": dict(reply.details)})


def ask_for_person(connection: Connection, turn_id: int, summary: str) -> None:
    """Keep with the turn that the client asked for a person, and what the person should know."""
    connection.execute(turns.update().where(turns.c.id == turn_id).values(reason=ASKED, summary=summary or ASKED))


def absorb_newer(connection: Connection, turn_id: int, me: str) -> bool:
    """The client wrote on while the reply was written: drop the draft, and answer the newer words with it.

    False when there are none, or the draft was dropped for newer words MOST_REDRAFTS times already.
    """
    row = get(connection, turn_id)
    if row is None or row.state != ANSWERING or row.owner != me or row.redrafts >= MOST_REDRAFTS:
        return False
    newer = _waiting(connection, row.conversation_id)
    if newer is None:
        return False
    # The quiet period begins anew with the newer words.
    moments = {"first_message_at": newer.first_message_at, "last_message_at": newer.last_message_at}
    _join(connection, newer.id, turn_id, {**moments, "reply": None, "redrafts": row.redrafts + 1})
    return True


def commit_to_send(connection: Connection, turn_id: int, me: str, now: datetime) -> bool:
    """answering -> sending, with the reply saved as a message: from here on it counts as said.

    The last look, in one UPDATE: the turn is ours, and the conversation is not in a person's hands. True only for
    the call that made the step: that one may send without asking amoCRM first.
    """
    return _say(connection, turn_id, me, {"state": SENDING}, {"state": SENDING, "way": "note"}, now)


def keep(connection: Connection, turn_id: int, me: str, now: datetime) -> bool:
    """answering -> kept: the reply is saved as a message that was not sent."""
    values = {"state": KEPT, "reason": NOT_CONNECTED, "closed_at": now}
    delivery = {"state": KEPT, "reason": NOT_CONNECTED}
    return _say(connection, turn_id, me, values, delivery, now)


def mark_sent(connection: Connection, turn_id: int, me: str, note_id: int, now: datetime) -> bool:
    """sending -> sent."""
    values = {"state": SENT, "note_id": note_id, "closed_at": now}
    return _close(connection, turn_id, me, values, {"note_id": note_id})


def fail(connection: Connection, turn_id: int, me: str, reason: str, now: datetime) -> bool:
    """sending -> failed, with a sentence that a person understands."""
    return _close(connection, turn_id, me, {"state": FAILED, "reason": reason, "closed_at": now}, {"reason": reason})


def cancel_unsent(connection: Connection, turn_id: int, me: str, now: datetime) -> bool:
    """sending -> cancelled: it surely is not in amoCRM, and a person took over meanwhile."""
    return _close(
        connection, turn_id, me, {"state": CANCELLED, "reason": MANAGER, "closed_at": now}, {"reason": MANAGER}
    )


def hand_to_person(connection: Connection, turn_id: int, me: str, reason: str, now: datetime) -> bool:
    """waiting or answering -> handed: it is on the operator's list."""
    values = {"state": HANDED, "reason": reason, "closed_at": now}
    return _move(connection, turn_id, me, ANSWERING, values) or _move(connection, turn_id, me, WAITING, values)


def retry(connection: Connection, turn_id: int, now: datetime) -> bool:
    """A person wants a turn answered that ended without a reply. One that may be in amoCRM is looked for first."""
    row = get(connection, turn_id)
    if row is None or row.state not in (FAILED, HANDED, CANCELLED, KEPT):
        return False
    ended = (turns.c.id == turn_id, turns.c.state == row.state)
    again = {"owner": None, "closed_at": None, "reason": None, "forced": True}
    if connection.execute(_GET_SAID, {"turn": turn_id}).first() is not None:
        busy = sa.exists().where(
            _other.c.conversation_id == row.conversation_id, _other.c.state.in_((ANSWERING, SENDING))
        )
        return connection.execute(turns.update().where(*ended, ~busy).values(**again, state=SENDING)).rowcount == 1
    newer = _waiting(connection, row.conversation_id)
    if newer is not None:
        _join(connection, turn_id, newer.id, {"forced": True, "first_message_at": row.first_message_at})
        return True
    connection.execute(tries.delete().where(tries.c.turn_id == turn_id))  # of a draft that nobody has seen
    values = {**again, "state": WAITING, "reply": None, "redrafts": 0, "last_message_at": now}
    return connection.execute(turns.update().where(*ended).values(**values)).rowcount == 1


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


@cache
def _saying(columns: frozenset[str]) -> sa.Update:
    """Only what was written, and only while the conversation is not in a person's hands."""
    in_a_persons_hands = sa.exists().where(
        conversations.c.id == turns.c.conversation_id, conversations.c.paused_until > sa.bindparam("_now")
    )
    return _moving(columns).where(turns.c.reply.is_not(None), sa.or_(turns.c.forced, ~in_a_persons_hands))


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
) -> bool:
    ours = {"_turn": turn_id, "_me": me, "_from": ANSWERING, "_now": now}
    if connection.execute(_saying(frozenset(values)), {**ours, **values}).rowcount != 1:
        return False
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
    return True


def _close(
    connection: Connection, turn_id: int, me: str, values: Mapping[str, Any], delivery: Mapping[str, Any]
) -> bool:
    if not _move(connection, turn_id, me, SENDING, values):
        return False
    data: dict[str, Any] = connection.execute(_GET_SAID, {"turn": turn_id}).scalar_one()
    data["delivery"] = {"way": data["delivery"].get("way", "note"), "state": values["state"], **delivery}
    connection.execute(_SET_SAID, {"turn": turn_id, "data": data})
    return True
