"""What staff think of a reply: good or bad, and why. The only file that writes the table ``ratings``."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.storage.engines import Id, UtcDateTime, insert, metadata

LONGEST_REASON = 500

ratings = sa.Table(
    "ratings",
    metadata,
    sa.Column("turn_id", Id, primary_key=True),  # the question whose reply is rated; the last opinion holds
    sa.Column("good", sa.Boolean, nullable=False),
    sa.Column("reason", sa.Text, nullable=False, server_default=sa.text("''")),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
)


def rate(connection: Connection, turn_id: int, *, good: bool, reason: str, who: str, now: datetime) -> None:
    """Rate a reply, in place of what was said of it before."""
    values = {"good": good, "reason": reason.strip()[:LONGEST_REASON], "who": who, "at": now}
    new = insert(connection.dialect.name, ratings).values(turn_id=turn_id, **values)
    connection.execute(new.on_conflict_do_update(index_elements=["turn_id"], set_=values))


@dataclass(frozen=True, slots=True)
class Rating:
    """One row of ``ratings``."""

    turn_id: int
    good: bool
    reason: str
    who: str
    at: datetime


def of_turn(connection: Connection, turn_id: int) -> Rating | None:
    """What staff think of a reply."""
    row = connection.execute(sa.select(ratings).where(ratings.c.turn_id == turn_id)).one_or_none()
    return None if row is None else Rating(*row)


def of_turns(connection: Connection, turn_ids: Collection[int]) -> dict[int, bool]:
    """{question: good} of those that were rated."""
    rows = connection.execute(sa.select(ratings.c.turn_id, ratings.c.good).where(ratings.c.turn_id.in_(turn_ids)))
    return {turn_id: good for turn_id, good in rows}  # noqa: C416 - rows are not pairs to a type checker


def forget(connection: Connection, turn_ids: Collection[int]) -> None:
    """Erase the opinions on these questions: a reason may repeat what the client wrote."""
    connection.execute(ratings.delete().where(ratings.c.turn_id.in_(turn_ids)))
