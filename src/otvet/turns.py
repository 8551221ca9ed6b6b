"""Turns: what a client said since our last reply, and the one reply we owe for it.

waiting ──> answering ──> sending ──> sent      the reply is in amoCRM
                 │            └─────> failed    amoCRM refused it for good; ``reason`` says why
                 └─────> kept                   amoCRM is not connected: the reply is here, and was not sent

Two partial unique indexes keep the promise: a conversation has at most one turn that waits and one in hand.
A change of state is an UPDATE that names the state it leaves; who changes no row has lost the race.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from otvet.conversations import conversations, messages
from otvet.database import Id, Json, UtcDateTime, metadata
from otvet.responders.base import Reply

WAITING, ANSWERING, SENDING = "waiting", "answering", "sending"
SENT, KEPT, FAILED = "sent", "kept", "failed"
OPEN = (WAITING, ANSWERING, SENDING)
STATES = (*OPEN, SENT, KEPT, FAILED)

NOT_CONNECTED = "amocrm_not_connected"


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
    sa.Column("first_message_at", UtcDateTime, nullable=False),  # when we received it, by our own clock
    sa.Column("last_message_at", UtcDateTime, nullable=False),
    sa.Column("closed_at", UtcDateTime),
    sa.Column("responder", sa.Text),
    sa.Column("model", sa.Text),
    sa.Column("reply", sa.Text),
    sa.Column("details", Json),  # what the responder tells of its reply: passages, task, seconds
    sa.Column("note_id", sa.BigInteger),
    sa.Column("reason", sa.Text),  # for a person: why it is not sent
    _unique_while("uq_turns_waiting", WAITING),
    _unique_while("uq_turns_in_hand", ANSWERING, SENDING),
    sqlite_autoincrement=True,  # an id names a workflow too, so it must not come back after a turn is joined to another
)


_WAITING = sa.select(turns.c.id, turns.c.conversation_id).where(
    turns.c.state == WAITING, turns.c.conversation_id.in_(sa.bindparam("conversations", expanding=True))
)
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
    found = connection.execute(_WAITING, {"conversations": list(conversation_ids)})
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
    connection.execute(messages.update().where(messages.c.turn_id == source.id).values(turn_id=target.id))
    first = min(source.first_message_at, target.first_message_at)
    connection.execute(turns.update().where(turns.c.id == target.id).values(first_message_at=first))
    connection.execute(turns.delete().where(turns.c.id == source.id))


def _waiting(connection: Connection, conversation_id: int) -> Row[Any] | None:
    return connection.execute(
        sa.select(turns).where(turns.c.conversation_id == conversation_id, turns.c.state == WAITING)
    ).one_or_none()


_GET = (
    sa.select(turns, conversations.c.amocrm_lead_id, conversations.c.client_id)
    .join(conversations)
    .where(turns.c.id == sa.bindparam("turn"))
)


def get(connection: Connection, turn_id: int) -> Row[Any] | None:
    """A turn with its conversation's client and lead."""
    return connection.execute(_GET, {"turn": turn_id}).one_or_none()


def unfinished(connection: Connection) -> Sequence[int]:
    """The open turns that can be worked on, oldest first: those whose lead is known."""
    return connection.scalars(
        sa.select(turns.c.id)
        .join(conversations)
        .where(turns.c.state.in_(OPEN), conversations.c.amocrm_lead_id.is_not(None))
        .order_by(turns.c.id)
    ).all()


_other = turns.alias("other")
_TAKE = (
    turns.update()
    .where(
        turns.c.id == sa.bindparam("turn"),
        turns.c.state == WAITING,
        ~sa.exists().where(
            _other.c.conversation_id == turns.c.conversation_id, _other.c.state.in_((ANSWERING, SENDING))
        ),
    )
    .values(state=ANSWERING)
)


def take(connection: Connection, turn_id: int) -> bool:
    """waiting -> answering, unless another turn of the conversation is in hand. True also if we have it already."""
    if connection.execute(_TAKE, {"turn": turn_id}).rowcount == 1:
        return True
    row = get(connection, turn_id)
    return row is not None and row.state != WAITING


def write_down(connection: Connection, turn_id: int, reply: Reply) -> bool:
    """Keep the draft with the turn; nothing of it is a message yet."""
    values = {"reply": reply.text, "responder": reply.responder, "model": reply.model}
    return _move(connection, turn_id, ANSWERING, {**values, "details": dict(reply.details)})


def commit_to_send(connection: Connection, turn_id: int, now: datetime) -> bool:
    """answering -> sending, with the reply saved as a message: from here on it counts as said.

    True only for the call that made the step: that one may send without looking.
    """
    return _say(connection, turn_id, {"state": SENDING}, {"state": SENDING, "way": "note"}, now)


def keep(connection: Connection, turn_id: int, now: datetime) -> bool:
    """answering -> kept: the reply is saved as a message that was not sent."""
    values = {"state": KEPT, "reason": NOT_CONNECTED, "closed_at": now}
    return _say(connection, turn_id, values, {"state": KEPT, "reason": NOT_CONNECTED}, now)


def mark_sent(connection: Connection, turn_id: int, note_id: int, now: datetime) -> bool:
    """sending -> sent."""
    return _close(connection, turn_id, {"state": SENT, "note_id": note_id, "closed_at": now}, {"note_id": note_id})


def fail(connection: Connection, turn_id: int, reason: str, now: datetime) -> bool:
    """sending -> failed, with a sentence that a person understands."""
    return _close(connection, turn_id, {"state": FAILED, "reason": reason, "closed_at": now}, {"reason": reason})


def marker(installation_name: str, turn_id: int) -> str:
    """What is written below a note, so that it can be found again: unique also after a reinstallation."""
    digest = hashlib.blake2s(f"{installation_name}:{turn_id}".encode(), digest_size=5).hexdigest()
    return f"otvet:{turn_id}-{digest}"


def _move(
    connection: Connection, turn_id: int, from_state: str, values: Mapping[str, Any], *also: sa.ColumnElement[bool]
) -> bool:
    moved = connection.execute(
        turns.update().where(turns.c.id == turn_id, turns.c.state == from_state, *also).values(**values)
    )
    return moved.rowcount == 1


def _say(
    connection: Connection, turn_id: int, values: Mapping[str, Any], delivery: Mapping[str, Any], now: datetime
) -> bool:
    if not _move(connection, turn_id, ANSWERING, values, turns.c.reply.is_not(None)):
        return False
    turn = get(connection, turn_id)
    assert turn is not None
    connection.execute(
        messages.insert().values(
            conversation_id=turn.conversation_id,
            sender_type="assistant",
            content=turn.reply,
            message_type="text",
            metadata={
                "amocrm_lead_id": turn.amocrm_lead_id,
                "source": "ai_response",
                "responder": turn.responder,
                "model": turn.model,
                "details": turn.details,
                "delivery": dict(delivery),
            },
            timestamp=now,
            turn_id=turn_id,
        )
    )
    connection.execute(
        conversations.update().where(conversations.c.id == turn.conversation_id).values(last_activity=now)
    )
    return True


def _close(connection: Connection, turn_id: int, values: Mapping[str, Any], delivery: Mapping[str, Any]) -> bool:
    if not _move(connection, turn_id, SENDING, values):
        return False
    said = sa.and_(messages.c.turn_id == turn_id, messages.c.sender_type == "assistant")
    data: dict[str, Any] = connection.execute(sa.select(messages.c.metadata).where(said)).scalar_one()
    data["delivery"] |= {"state": values["state"], **delivery}
    connection.execute(messages.update().where(said).values(metadata=data))
    return True
