"""Arrival: whether a client has a reply that amoCRM took. It shows when the reply comes back as an outgoing message.

Not every account reports that. So it is stored, for each delivery method, once a reply has come back. From then on one
that does not is left to staff; it is never sent again by itself.
"""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.settings.by_channel import SALESBOT, TALK, WIDGET
from otvet.storage import keyvalue
from otvet.turns import handoffs, parts
from otvet.turns.changes import move
from otvet.turns.sending import MANAGER_WROTE
from otvet.turns.turn import Reason, State, get, turns

_FACT = "replies_come_back_{way}"
BOT = "bot"  # amoCRM's type of an author


def learn(connection: Connection, way: str, author: str) -> None:
    """A reply has come back. author: the type of author that amoCRM named for it; BOT where any was."""
    known = comes_back_as(connection, way)
    if known is None or (author == BOT and known != BOT):
        keyvalue.note(connection, _FACT.format(way=way), author or "unknown")


def comes_back_as(connection: Connection, way: str) -> str | None:
    """The type of author under which replies come back by this method; None if none ever has, in this account."""
    return keyvalue.recall(connection, _FACT.format(way=way)) or None


def forget(connection: Connection) -> None:
    """Another account is connected: nothing is known of it."""
    for way in (SALESBOT, WIDGET, TALK):
        if comes_back_as(connection, way):
            keyvalue.note(connection, _FACT.format(way=way), "")


_MISSING = sa.select(parts.parts.c.turn_id).where(
    parts.parts.c.state == parts.SENT,
    sa.func.coalesce(parts.parts.c.echo_id, "") == "",  # so that SQLite goes by the time: few parts are that new
    parts.parts.c.given_at >= sa.bindparam("since"),
    parts.parts.c.given_at <= sa.bindparam("until"),
)
_UNSEEN = (
    sa.select(turns.c.id)
    .where(
        turns.c.id.in_(_MISSING),
        turns.c.state == State.SENT,
        turns.c.way.in_(sa.bindparam("ways", expanding=True)),
        turns.c.summary.is_(None),  # else staff have their task
        sa.or_(turns.c.reason.is_(None), turns.c.reason != Reason.ERASED),
        ~MANAGER_WROTE,
    )
    .order_by(turns.c.id)
)


def unseen(connection: Connection, since: datetime, until: datetime) -> Sequence[int]:
    """The turns whose replies amoCRM took between the two and did not report back, where it does that.

    Not those in whose chat a manager has written since, because the manager has seen the chat.
    """
    ways = [way for way in (SALESBOT, WIDGET, TALK) if comes_back_as(connection, way)]
    return connection.scalars(_UNSEEN, {"ways": ways, "since": since, "until": until}).all() if ways else ()


def doubt(connection: Connection, turn_id: int, now: datetime) -> bool:
    """sent -> failed: it cannot be told whether the client has the reply. A late report heals it."""
    turn = get(connection, turn_id)
    if turn is None or turn.state != State.SENT:
        return False
    if not move(connection, turn, State.FAILED, me=None, reason=Reason.UNSEEN, closed_at=now):
        return False
    parts.doubt(connection, turn_id)
    handoffs.add(connection, turn, handoffs.because(turn, Reason.UNSEEN), now)
    return True
