"""Quarantine: bodies of deliveries that could not be understood, stored as they came, for a person."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.storage.engines import Id, UtcDateTime, metadata

quarantine = sa.Table(
    "quarantine",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("received_at", UtcDateTime, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),  # as it came, byte for byte
)

_COUNT = sa.select(sa.func.count()).select_from(quarantine)


def add_quarantined(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store bodies, each with its reason and the time it was received."""
    connection.execute(quarantine.insert(), rows)


def remove_quarantined(connection: Connection, ids: Collection[int]) -> None:
    """Delete these bodies."""
    connection.execute(quarantine.delete().where(quarantine.c.id.in_(ids)))


def quarantined(connection: Connection) -> int:
    """How many deliveries are in quarantine. Only a person can answer what clients said in them."""
    return connection.scalar(_COUNT) or 0
