"""Outages: amoCRM must not be called for now, and why, for all processes. The replies that wait for it are kept."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.errors import ServiceError
from otvet.storage.database import Database
from otvet.storage.engines import UtcDateTime, insert, metadata

outages = sa.Table(
    "gates",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("sentence", sa.Text, nullable=False),
    sa.Column("closed_at", UtcDateTime, nullable=False),
    sa.Column("look_again_at", UtcDateTime, nullable=False),
)

AMOCRM = "amocrm"

RETRY_AFTER = {
    "unauthorized": timedelta(minutes=5),
    "payment": timedelta(minutes=15),
    "forbidden": timedelta(minutes=15),
    "banned": timedelta(hours=1),
    "scope": timedelta(minutes=15),
    "moved": timedelta(minutes=15),
    "no_api": timedelta(minutes=5),
}
"""How long amoCRM is left alone, by the reason of its refusal, before one call tries it again."""

_HERE = outages.c.name == AMOCRM
_GET = sa.select(outages).where(_HERE)
_END = outages.delete().where(_HERE)


class Refusal(Protocol):
    """A service's error, with a word for why and a sentence as its text."""

    permanent: bool

    @property
    def reason(self) -> str: ...


class Blocked(ServiceError):
    """amoCRM was not called, because of an outage; the message is the outage's sentence."""


@dataclass(frozen=True, slots=True)
class Outage:
    """Why amoCRM must not be called; sentence: for people."""

    reason: str
    sentence: str
    closed_at: datetime
    look_again_at: datetime


def current(connection: Connection) -> Outage | None:
    """The outage, if there is one."""
    row = connection.execute(_GET).one_or_none()
    return None if row is None else Outage(row.reason, row.sentence, row.closed_at, row.look_again_at)


def raise_if_blocked(connection: Connection) -> None:
    """Raise Blocked in an outage."""
    outage = current(connection)
    if outage is not None:
        raise Blocked(outage.sentence)


async def check(database: Database) -> None:
    """Raise Blocked in an outage."""
    await database.read(raise_if_blocked)


def begin(connection: Connection, reason: str, sentence: str, now: datetime) -> None:
    """No process calls amoCRM until the pause for this reason is over."""
    again = {"reason": reason, "sentence": sentence, "look_again_at": now + RETRY_AFTER[reason]}
    statement = insert(connection.dialect.name, outages).values(name=AMOCRM, closed_at=now, **again)
    connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=again))


def concerns_all(error: Refusal) -> bool:
    """Whether amoCRM would refuse every other call too, until a person has seen to it."""
    return error.reason in RETRY_AFTER and not error.permanent


def begin_if_refused(connection: Connection, error: Refusal, now: datetime) -> bool:
    """Begin an outage if the refusal concerns every call; gives whether it does."""
    if not concerns_all(error):
        return False
    begin(connection, error.reason, str(error), now)
    return True


async def heed(database: Database, error: Refusal, now: datetime) -> None:
    """begin_if_refused, in a transaction of its own."""
    await database.write(lambda connection: begin_if_refused(connection, error, now))


def claim_probe(connection: Connection, now: datetime) -> bool:
    """Reserve the call that tries amoCRM again: one of all processes gets it, after each pause."""
    outage = current(connection)
    if outage is None:
        return False
    pause = RETRY_AFTER[outage.reason]
    later = now + pause
    # Two pauses from now: the clock was set back. A bit over one: another process has just begun it anew.
    due = sa.or_(outages.c.look_again_at <= now, outages.c.look_again_at > later + pause)
    won = connection.execute(outages.update().where(_HERE, due).values(look_again_at=later))
    return won.rowcount == 1


def forget_wrong_settings(connection: Connection) -> None:
    """At a start: token and address may be others by now, so amoCRM is tried at once."""
    connection.execute(_END.where(outages.c.reason.in_(("unauthorized", "scope", "moved", "no_api"))))


def end(connection: Connection) -> bool:
    """amoCRM took a call; gives whether there was an outage."""
    return connection.execute(_END).rowcount == 1
