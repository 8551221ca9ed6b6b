"""What the responders spent on each day (by UTC): a ceiling a day keeps the bill known."""

from collections.abc import Mapping
from datetime import date

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.database import insert, metadata
from otvet.i18n import N_, _

UNITS = {"manus": "credits", "openai": "tokens"}
"""What each responder counts, as its replies' details and its facts name it; the others cost nothing."""

SPENT = N_("today's ceiling of {ceiling} {unit} is reached")

spending = sa.Table(
    "spending",
    metadata,
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("responder", sa.Text, primary_key=True),
    sa.Column("amount", sa.BigInteger, nullable=False),
)


def add(connection: Connection, day: date, amounts: Mapping[str, int]) -> None:
    """Add to what was spent; in the order of the names, so that two processes never wait for each other in a ring."""
    rows = [{"day": day, "responder": name, "amount": amount} for name, amount in sorted(amounts.items()) if amount > 0]
    if rows:
        statement = insert(connection.dialect.name, spending)
        total = spending.c.amount + statement.excluded.amount
        connection.execute(
            statement.on_conflict_do_update(index_elements=["day", "responder"], set_={"amount": total}), rows
        )


def over(connection: Connection, day: date, ceilings: Mapping[str, int]) -> dict[str, str]:
    """The responders that have spent what they may spend on that day, each with a sentence."""
    if not ceilings:
        return {}
    spent = on(connection, day)
    reached = [name for name, ceiling in ceilings.items() if spent.get(name, 0) >= ceiling]
    return {name: _(SPENT).format(ceiling=ceilings[name], unit=UNITS[name]) for name in reached}


def on(connection: Connection, day: date) -> dict[str, int]:
    """What each responder spent on that day."""
    return {row.responder: row.amount for row in connection.execute(sa.select(spending).filter_by(day=day))}
