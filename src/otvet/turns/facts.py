"""Reads the facts of a turn for ``policy.decide``: only those that its state needs."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.conversations.messages import origin_of
from otvet.conversations.tables import conversations, messages
from otvet.storage import outages
from otvet.turns import loops, parts, sending
from otvet.turns.policy import Facts, Policy
from otvet.turns.queue import has_waiting, place_taken
from otvet.turns.turn import Reason, State, Turn, Writer, turns
from otvet.users.kept_settings import switch

A_DAY = timedelta(days=1)
A_MINUTE = timedelta(minutes=1)


def read(connection: Connection, turn: Turn, policy: Policy, now: datetime, *, connected: bool = True) -> Facts:
    """The facts of a turn as it stands now. connected: whether an amoCRM account is connected."""
    everywhere = switch(connection)
    found = _of_state(connection, turn, policy, now, connected=connected)
    return replace(found, mode=everywhere.mode, stopped=everywhere.stopped is not None)


def _of_state(connection: Connection, turn: Turn, policy: Policy, now: datetime, *, connected: bool) -> Facts:
    match turn.state:
        case State.WAITING:
            return Facts(connected, place_taken=place_taken(connection, turn))
        case State.ANSWERING if turn.reply is None:
            return _to_write(connection, turn, policy, now)
        case State.ANSWERING:
            return Facts(
                connected,
                outage=is_outage(connection),
                wrote_on=has_waiting(connection, turn.conversation_id, turn.chat_ref),
                said_at=said_at(connection, turn.id),
            )
        case State.SENDING:
            told = any(part.state == parts.SENT for part in parts.of_turn(connection, turn.id))
            wrote = sending.manager_wrote(connection, turn.id)
            return Facts(connected, outage=is_outage(connection), manager_wrote=wrote, told=told)
    return Facts(connected)


def _to_write(connection: Connection, turn: Turn, policy: Policy, now: datetime) -> Facts:
    closed = not policy.answers_out_of_hours and policy.hours is not None and not policy.hours.open_at(now)
    return Facts(
        said_at=said_at(connection, turn.id),
        replies_today=_replies_since(connection, turn.conversation_id, now - A_DAY),
        replies_lately=_replies_since(connection, turn.conversation_id, now - A_MINUTE, turn.chat_ref),
        repeats=loops.repeats(connection, turn),
        left_as_bot=loops.left_before(connection, turn),
        left_out=left_out(connection, turn, policy),
        told_hours=closed and _told_hours(connection, turn, policy, now),
    )


def is_outage(connection: Connection) -> bool:
    """Whether amoCRM must not be called for now."""
    return outages.current(connection) is not None


_SAID_AT = sa.select(sa.func.max(messages.c.timestamp)).where(
    messages.c.turn_id == sa.bindparam("turn"), messages.c.sender_type == "client"
)
_REPLIES = sa.select(sa.func.count()).where(
    turns.c.conversation_id == sa.bindparam("conversation"),
    turns.c.closed_at >= sa.bindparam("since"),
    turns.c.state.in_((State.SENT, State.KEPT)),
    turns.c.responder.is_distinct_from(Writer.PERSON),
)
_REPLIES_IN_CHAT = _REPLIES.where(turns.c.chat_ref == sa.bindparam("chat"))
_ASKED_LAST = (
    sa.select(messages.c.metadata, conversations.c.deal)
    .join(conversations, conversations.c.id == messages.c.conversation_id)
    .where(messages.c.turn_id == sa.bindparam("turn"), messages.c.sender_type == "client")
    .order_by(messages.c.timestamp.desc(), messages.c.id.desc())
    .limit(1)
)
_TOLD_HOURS = sa.select(
    sa.exists().where(
        turns.c.conversation_id == sa.bindparam("conversation"),
        turns.c.chat_ref == sa.bindparam("chat"),
        turns.c.id != sa.bindparam("turn"),
        turns.c.responder == Writer.HOURS,
        turns.c.state.not_in((State.FAILED, State.CANCELLED)),
        sa.func.coalesce(turns.c.closed_at, turns.c.last_message_at) >= sa.bindparam("since"),
    )
)


def said_at(connection: Connection, turn_id: int) -> datetime | None:
    """When the client wrote the turn's newest message, by amoCRM's clock."""
    newest: datetime | None = connection.scalar(_SAID_AT, {"turn": turn_id})
    return newest


def _replies_since(connection: Connection, conversation_id: int, since: datetime, chat_ref: str | None = None) -> int:
    """How many replies a deal had, or one chat of it."""
    statement = _REPLIES if chat_ref is None else _REPLIES_IN_CHAT
    return connection.scalar(statement, {"conversation": conversation_id, "since": since, "chat": chat_ref}) or 0


def left_out(connection: Connection, turn: Turn, policy: Policy) -> Reason | None:
    """Why the settings leave the deal or the channel of a turn to staff; None if they do not."""
    if not policy.selection.is_set:
        return None
    asked_last = connection.execute(_ASKED_LAST, {"turn": turn.id}).one_or_none()
    if asked_last is None:
        return None
    why = policy.selection.leaves_out(asked_last.deal, origin_of(asked_last.metadata) or None)
    return None if why is None else Reason(why)


def _told_hours(connection: Connection, turn: Turn, policy: Policy, now: datetime) -> bool:
    assert policy.hours is not None
    values: dict[str, Any] = {"conversation": turn.conversation_id, "chat": turn.chat_ref, "turn": turn.id}
    return bool(connection.scalar(_TOLD_HOURS, values | {"since": policy.hours.closed_since(now)}))
