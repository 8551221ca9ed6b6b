"""Parts: a reply for the client's chat, cut to the channel's limit, and the state of each part.

to_send ──> given ──> sent        amoCRM took it, or it came back as an outgoing message
   │          ├────> to_send     it surely was not taken: it may be given again
   │          ├────> unknown     nobody can tell whether the client has it; a person has to look
   └──────────┴────> refused     amoCRM will not take it

``sent`` becomes ``unknown`` where parts come back and this one does not; ``unknown`` becomes ``sent`` when it does.

``given`` is committed before the call to amoCRM, because the call cannot be undone.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.storage.engines import Id, UtcDateTime, metadata

TO_SEND, GIVEN, SENT, REFUSED, UNKNOWN = "to_send", "given", "sent", "refused", "unknown"

parts = sa.Table(
    "parts",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("turn_id", Id, sa.ForeignKey("turns.id"), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),  # from 1, in the order in which the client gets them
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False, server_default=TO_SEND),
    sa.Column("given_at", UtcDateTime, index=True),  # the last call to amoCRM for the part
    sa.Column("outside_id", sa.Text, index=True),  # amoCRM's id of it, if the delivery method returns one
    sa.Column("echo_id", sa.Text, index=True),  # the key of the outgoing message as which it came back
    sa.UniqueConstraint("turn_id", "number"),
)


@dataclass(frozen=True, slots=True)
class Part:
    """One row of ``parts``."""

    id: int
    turn_id: int
    number: int
    text: str
    state: str
    given_at: datetime | None
    outside_id: str | None
    echo_id: str | None


_OF_TURN = sa.select(parts).where(parts.c.turn_id == sa.bindparam("turn")).order_by(parts.c.number)


def plan(connection: Connection, turn_id: int, texts: Sequence[str], first: int = 1) -> None:
    """Store the parts of a reply, to be sent. first: the number of the first of them."""
    rows = [{"turn_id": turn_id, "number": number, "text": text} for number, text in enumerate(texts, first)]
    connection.execute(parts.insert(), rows)


def of_turn(connection: Connection, turn_id: int) -> list[Part]:
    """All parts of a reply in their order; none if it goes into the deal as a note only."""
    return [Part(*row) for row in connection.execute(_OF_TURN, {"turn": turn_id})]


def give(connection: Connection, ids: Collection[int], now: datetime) -> bool:
    """to_send -> given; False if any of them was not to_send."""
    todo = parts.update().where(parts.c.id.in_(ids), parts.c.state == TO_SEND)
    return connection.execute(todo.values(state=GIVEN, given_at=now)).rowcount == len(ids)


def end(connection: Connection, ids: Collection[int], given_at: datetime, state: str, outside_id: str | None) -> bool:
    """given -> ``state``. given_at is a fencing token: a stalled worker cannot end parts that another one has given.

    Parts that have come back meanwhile become sent, whatever the call said. Returns whether there were other parts.
    """
    mine = parts.update().where(parts.c.id.in_(ids), parts.c.state == GIVEN, parts.c.given_at == given_at)
    connection.execute(mine.where(parts.c.echo_id.is_not(None)).values(state=SENT))
    return connection.execute(mine.values(state=state, outside_id=outside_id)).rowcount > 0


def refuse(connection: Connection, ids: Collection[int]) -> None:
    """to_send -> refused."""
    todo = parts.update().where(parts.c.id.in_(ids), parts.c.state == TO_SEND)
    connection.execute(todo.values(state=REFUSED))


def cut_anew(connection: Connection, turn_id: int, cut: Callable[[str], Sequence[str]]) -> None:
    """Cut the parts that are still to be sent into smaller ones."""
    todo = [part for part in of_turn(connection, turn_id) if part.state == TO_SEND]
    connection.execute(parts.delete().where(parts.c.id.in_([part.id for part in todo])))
    plan(connection, turn_id, [piece for part in todo for piece in cut(part.text)], first=todo[0].number)


def forget(connection: Connection, turn_id: int) -> None:
    """Delete the parts of a reply that must not be sent as it is, and of which nothing was given."""
    connection.execute(parts.delete().where(parts.c.turn_id == turn_id))


def try_again(connection: Connection, turn_id: int) -> None:
    """refused or unknown -> to_send: a person has looked and wants the missing parts sent."""
    ended = parts.update().where(parts.c.turn_id == turn_id, parts.c.state.in_((REFUSED, UNKNOWN)))
    connection.execute(ended.values(state=TO_SEND, given_at=None))


def unconfirmed(connection: Connection, turn_ids: sa.Select[Any], since: datetime) -> Sequence[datetime]:
    """The given_at of these turns' parts that have not come back as outgoing messages, oldest first."""
    given = (parts.c.state.in_((GIVEN, SENT, UNKNOWN)), parts.c.echo_id.is_(None), parts.c.given_at >= since)
    query = sa.select(parts.c.given_at).where(parts.c.turn_id.in_(turn_ids), *given)
    return connection.scalars(query.order_by(parts.c.given_at)).all()


def known_echoes(connection: Connection, keys: Collection[str]) -> set[str]:
    """Which of these keys of outgoing messages are known to be our parts."""
    return set(connection.scalars(sa.select(parts.c.echo_id).where(parts.c.echo_id.in_(keys))))


def have_come_back(connection: Connection, since: datetime) -> bool:
    """Whether any part given since then has come back as an outgoing message."""
    seen = sa.exists().where(parts.c.given_at >= since, parts.c.echo_id.is_not(None))
    return bool(connection.scalar(sa.select(seen)))


def came_back(connection: Connection, id_: int, key: str) -> bool:
    """Note the message as which a part came back; an unknown part is sent then. False if the part has one already."""
    free = parts.update().where(parts.c.id == id_, parts.c.echo_id.is_(None))
    if connection.execute(free.values(echo_id=key)).rowcount != 1:
        return False
    connection.execute(parts.update().where(parts.c.id == id_, parts.c.state == UNKNOWN).values(state=SENT))
    return True


def doubt(connection: Connection, turn_id: int) -> None:
    """sent -> unknown, for parts that have not come back where parts do."""
    missing = parts.update().where(parts.c.turn_id == turn_id, parts.c.state == SENT, parts.c.echo_id.is_(None))
    connection.execute(missing.values(state=UNKNOWN))


def erase(connection: Connection, turn_ids: Collection[int]) -> None:
    """Erase the texts of these turns' parts."""
    connection.execute(parts.update().where(parts.c.turn_id.in_(turn_ids)).values(text=""))
