"""Gates: a service that must not be called for now, and why, for all processes. What waits for it is kept."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.errors import ServiceError
from otvet.storage.database import Database
from otvet.storage.engines import UtcDateTime, insert, metadata

gates = sa.Table(
    "gates",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("sentence", sa.Text, nullable=False),
    sa.Column("closed_at", UtcDateTime, nullable=False),
    sa.Column("look_again_at", UtcDateTime, nullable=False),
)

AMOCRM = "amocrm"

# How long to leave the service alone before one call tries whether it takes calls again.
LOOK_AGAIN = {
    "unauthorized": timedelta(minutes=5),
    "payment": timedelta(minutes=15),
    "forbidden": timedelta(minutes=15),
    "banned": timedelta(hours=1),
}


_GET = sa.select(gates).where(gates.c.name == sa.bindparam("gate"))
_OPEN = gates.delete().where(gates.c.name == sa.bindparam("gate"))


class Refusal(Protocol):
    """A service's error, with a word for why and a sentence as its text."""

    permanent: bool

    @property
    def reason(self) -> str: ...


class GateClosed(ServiceError):
    """The service was not called, because its gate is closed; the message is the reason's sentence."""


@dataclass(frozen=True, slots=True)
class Closed:
    """A closed gate, for whom it stops."""

    reason: str
    sentence: str
    closed_at: datetime
    look_again_at: datetime


def closed(connection: Connection, name: str) -> Closed | None:
    """Why the service must not be called, or None."""
    row = connection.execute(_GET, {"gate": name}).one_or_none()
    return None if row is None else Closed(row.reason, row.sentence, row.closed_at, row.look_again_at)


async def pass_through(database: Database, name: str) -> None:
    """Raise GateClosed if the service must not be called."""
    gate = await database.read(lambda connection: closed(connection, name))
    if gate is not None:
        raise GateClosed(gate.sentence)


def close(connection: Connection, name: str, reason: str, sentence: str, now: datetime) -> None:
    """Nobody calls the service until the pause for this reason is over."""
    again = {"reason": reason, "sentence": sentence, "look_again_at": now + LOOK_AGAIN[reason]}
    statement = insert(connection.dialect.name, gates).values(name=name, closed_at=now, **again)
    connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=again))


def stops_all(error: Refusal) -> bool:
    """Whether every other call would be refused too, until a person has seen to it."""
    return error.reason in LOOK_AGAIN and not error.permanent


def heed(connection: Connection, name: str, error: Refusal, now: datetime) -> bool:
    """Close it if the refusal holds for every call; gives whether it does."""
    if not stops_all(error):
        return False
    close(connection, name, error.reason, str(error), now)
    return True


def may_look(connection: Connection, name: str, now: datetime) -> bool:
    """Whether the caller is the one who tries a service whose gate is closed: one of all, after each pause."""
    gate = closed(connection, name)
    if gate is None:
        return False
    pause = LOOK_AGAIN[gate.reason]
    later = now + pause
    # Two pauses from now: the clock was set back. A bit over one: another process has just closed it anew.
    due = sa.or_(gates.c.look_again_at <= now, gates.c.look_again_at > later + pause)
    won = connection.execute(gates.update().where(gates.c.name == name, due).values(look_again_at=later))
    return won.rowcount == 1


def forget_refused_token(connection: Connection, name: str) -> None:
    """At a start: the token may be another one by now, so it is tried at once."""
    connection.execute(gates.delete().where(gates.c.name == name, gates.c.reason == "unauthorized"))


def open_again(connection: Connection, name: str) -> bool:
    """The service took a call; True if the gate was closed."""
    return connection.execute(_OPEN, {"gate": name}).rowcount == 1
