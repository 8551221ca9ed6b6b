"""What the responders spend on each day (by UTC): a ceiling a day keeps the bill known.

What a question is expected to cost is booked before it is put, and corrected when the cost is known. So of many at once
no more are put than the ceiling leaves room for, and what a crash leaves behind is a booking that ends with its day.
"""

from collections.abc import Mapping
from datetime import date

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.i18n import N_, _
from otvet.storage.engines import insert, metadata

UNITS = {"manus": "credits", "openai": "tokens"}
"""What each responder counts, as its replies' details and its facts name it; the others cost nothing."""

EXPECTED = {"manus": 50, "openai": 4000}
"""What a question is taken to cost until that is known, and for good where it is never told.

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
    """Count what a question is expected to cost, unless the ceiling is reached: then gives a sentence that says so.

    One statement, so that nobody else's booking comes between the look and the counting.
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
    """Add to what was spent, by day and responder; in their order, so that two processes never wait in a ring."""
    rows = [{"day": day, "responder": name, "amount": amount} for (day, name), amount in sorted(amounts.items())]
    if rows:
        statement = insert(connection.dialect.name, spending)
        total = spending.c.amount + statement.excluded.amount
        connection.execute(
            statement.on_conflict_do_update(index_elements=["day", "responder"], set_={"amount": total}), rows
        )


def on(connection: Connection, day: date) -> dict[str, int]:
    """What each responder spent on that day, with what is booked for questions that are under way."""
    return {row.responder: row.amount for row in connection.execute(sa.select(spending).filter_by(day=day))}
