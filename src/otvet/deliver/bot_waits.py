"""Bot waits: a Salesbot that asked for a reply and waits at an address of amoCRM's until it gets one."""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from otvet.storage.engines import Id, UtcDateTime, insert, metadata

WAITS_FOR = timedelta(days=1)
"""What asked longer ago than that is taken for gone. How long amoCRM lets a bot wait is not documented."""

bot_waits = sa.Table(
    "bot_waits",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("lead_id", sa.BigInteger, nullable=False, index=True),
    sa.Column("return_url", sa.Text, nullable=False, unique=True),
    sa.Column("received_at", UtcDateTime, nullable=False),
    sa.Column("turn_id", Id, sa.ForeignKey("turns.id")),  # the turn whose reply it got; none: it still waits
)


def keep(connection: Connection, lead_id: int, return_url: str, now: datetime) -> bool:
    """A bot waits; False when that is known already."""
    values = {"lead_id": lead_id, "return_url": return_url, "received_at": now}
    statement = insert(connection.dialect.name, bot_waits).values(values).on_conflict_do_nothing()
    return connection.scalar(statement.returning(bot_waits.c.id)) is not None


def newest(connection: Connection, lead_id: int, now: datetime) -> Row[Any] | None:
    """The bot that asked last in a deal and has no reply yet; one deal has one bot at work at a time."""
    here = (bot_waits.c.lead_id == lead_id, bot_waits.c.received_at > now - WAITS_FOR)
    return connection.execute(
        sa.select(bot_waits).where(*here, bot_waits.c.turn_id.is_(None)).order_by(bot_waits.c.id.desc()).limit(1)
    ).one_or_none()


def of_turn(connection: Connection, turn_id: int) -> Row[Any] | None:
    """The bot that a turn's reply goes to."""
    query = sa.select(bot_waits).where(bot_waits.c.turn_id == turn_id).order_by(bot_waits.c.id.desc()).limit(1)
    return connection.execute(query).one_or_none()


def take(connection: Connection, id_: int, turn_id: int) -> bool:
    """The turn's reply goes to this bot, and no other's does."""
    free = bot_waits.update().where(bot_waits.c.id == id_, bot_waits.c.turn_id.is_(None))
    return connection.execute(free.values(turn_id=turn_id)).rowcount == 1


def hand_over(connection: Connection, from_turn: int, to_turn: int) -> None:
    """A turn becomes part of another, and its bots with it."""
    mine = bot_waits.update().where(bot_waits.c.turn_id == from_turn)
    connection.execute(mine.values(turn_id=to_turn))
