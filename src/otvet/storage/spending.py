"""What the responders spend on each day (by UTC), and the ceiling for a day.

A question's expected cost is booked before it is put and corrected when the real cost is known. So many questions at
once do not exceed the ceiling, and a crash leaves only a booking that ends with its day.
"""

from collections.abc import Mapping
from datetime import date

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.i18n import N_, _
from otvet.storage.engines import insert, metadata

UNITS = {"manus": "credits", "openai": "tokens"}
"""The unit of each responder, as its replies' details and its facts name it; the other responders cost nothing."""

EXPECTED = {"manus": 50, "openai": 4000}
"""The expected cost of a question; it stays booked if the real cost is never known.

An ordinary task of Manus was seen to cost some 50 credits (unverified).
"""

SPENT = N_("today's ceiling of {ceiling} {unit} is reached")

spending = sa.Table(
    "spending",
    metadata,
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("responder", sa.Text, primary_key=True),
    sa.Column("amount", sa.BigInteger, nullable=False),
)


def book(connection: Connection, day: date, responder: str, ceiling: int | None) -> str | None:
    """Book a question's expected cost; if the ceiling is reached, return a sentence that says so.

    One statement, so that no other booking comes between the check and the booking.
    """
    statement = insert(connection.dialect.name, spending)
    below = None if ceiling is None else spending.c.amount < ceiling
    booked = statement.values(day=day, responder=responder, amount=EXPECTED[responder]).on_conflict_do_update(
        index_elements=["day", "responder"],
        set_={"amount": spending.c.amount + statement.excluded.amount},
        where=below,
    )
    if ceiling != 0 and connection.scalar(booked.returning(spending.c.amount)) is not None:
        return None
    return _(SPENT).format(ceiling=ceiling, unit=UNITS[responder])


def add(connection: Connection, amounts: Mapping[tuple[date, str], int]) -> None:
    """Add to what was spent, by day and responder, in this order, so that two processes never deadlock."""
    rows = [{"day": day, "responder": name, "amount": amount} for (day, name), amount in sorted(amounts.items())]
    if rows:
        statement = insert(connection.dialect.name, spending)
        total = spending.c.amount + statement.excluded.amount
        connection.execute(
            statement.on_conflict_do_update(index_elements=["day", "responder"], set_={"amount": total}), rows
        )


def on(connection: Connection, day: date) -> dict[str, int]:
    """What each responder spent on that day, with the bookings of questions in flight."""
    return {row.responder: row.amount for row in connection.execute(sa.select(spending).filter_by(day=day))}
