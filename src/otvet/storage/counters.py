"""Counts of events that leave no row of their own, such as repeated deliveries."""

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.storage.engines import insert, metadata

counters = sa.Table(
    "counters",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)


def add(connection: Connection, counts: Mapping[str, int]) -> None:
    """Add to the totals, in the order of their names, so that two processes never deadlock."""
    rows = [{"name": name, "value": count} for name, count in sorted(counts.items()) if count]
    if rows:
        statement = insert(connection.dialect.name, counters)
        total = counters.c.value + statement.excluded.value
        connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"value": total}), rows)


def totals(connection: Connection) -> dict[str, int]:
    """All totals by name."""
    return {row.name: row.value for row in connection.execute(sa.select(counters))}
