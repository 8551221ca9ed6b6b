"""Settings that were changed on the pages. Writes the table ``kept_settings``.

A setting of the environment or ``.env`` holds over the one kept here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.storage.engines import UtcDateTime, insert, metadata

kept_settings = sa.Table(
    "kept_settings",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),  # the field of ``Settings``
    sa.Column("value", sa.Text, nullable=False),  # as it would stand in .env; a secret is encrypted
    sa.Column("changed_at", UtcDateTime, nullable=False),
    sa.Column("changed_by", sa.Text, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Kept:
    """One row of ``kept_settings``."""

    name: str
    value: str
    changed_at: datetime
    changed_by: str


def read(connection: Connection) -> Mapping[str, Kept]:
    """All that is kept, by name."""
    return {row.name: Kept(*row) for row in connection.execute(sa.select(kept_settings))}


def keep(connection: Connection, name: str, value: str, who: str, now: datetime) -> None:
    """Keep a setting, in place of its value before."""
    values = {"value": value, "changed_at": now, "changed_by": who}
    new = insert(connection.dialect.name, kept_settings).values(name=name, **values)
    connection.execute(new.on_conflict_do_update(index_elements=["name"], set_=values))


def drop(connection: Connection, name: str) -> None:
    """Let the default hold again."""
    connection.execute(kept_settings.delete().where(kept_settings.c.name == name))
