"""Settings changed on the pages, and the stop of the assistant everywhere. Writes the table ``kept_settings``.

A setting of the environment or ``.env`` holds over the one kept here.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.storage import keyvalue
from otvet.storage.engines import UtcDateTime, insert, metadata

MODE = "mode"
STOPPED = "stopped"  # no setting: while there is such a row, the assistant is stopped everywhere
REVISION = "settings_revision"

kept_settings = sa.Table(
    "kept_settings",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),  # the field of ``Settings``, or STOPPED
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


@dataclass(frozen=True, slots=True)
class Switch:
    """What the pages have set for the whole assistant.

    mode: the mode kept there; None: it is not set there. stopped: who stopped the assistant everywhere, and when.
    """

    mode: str | None = None
    stopped: Kept | None = None


_SWITCH = sa.select(kept_settings).where(kept_settings.c.name.in_((MODE, STOPPED)))


def read(connection: Connection) -> Mapping[str, Kept]:
    """All settings that are kept, by name."""
    query = sa.select(kept_settings).where(kept_settings.c.name != STOPPED)
    return {row.name: Kept(*row) for row in connection.execute(query)}


def switch(connection: Connection) -> Switch:
    """What holds at this moment, in all processes: nobody remembers it."""
    rows = {row.name: Kept(*row) for row in connection.execute(_SWITCH)}
    return Switch(rows[MODE].value if MODE in rows else None, rows.get(STOPPED))


def keep(connection: Connection, name: str, value: str, who: str, now: datetime) -> None:
    """Keep a setting, in place of its value before."""
    values = {"value": value, "changed_at": now, "changed_by": who}
    new = insert(connection.dialect.name, kept_settings).values(name=name, **values)
    connection.execute(new.on_conflict_do_update(index_elements=["name"], set_=values))
    announce(connection)


def drop(connection: Connection, name: str) -> bool:
    """Let the default hold again. False if nothing was kept."""
    announce(connection)
    return connection.execute(kept_settings.delete().where(kept_settings.c.name == name)).rowcount == 1


def stop(connection: Connection, who: str, now: datetime) -> bool:
    """Stop the assistant everywhere: from this commit on nothing more is sent. False if it is stopped already."""
    new = insert(connection.dialect.name, kept_settings).values(name=STOPPED, value="", changed_at=now, changed_by=who)
    return connection.execute(new.on_conflict_do_nothing()).rowcount == 1


def go_on(connection: Connection) -> bool:
    """Let the assistant work again. False if it was not stopped."""
    return connection.execute(kept_settings.delete().where(kept_settings.c.name == STOPPED)).rowcount == 1


def announce(connection: Connection) -> None:
    """Have every running server read its settings anew, those of ``.env`` too."""
    keyvalue.note(connection, REVISION, secrets.token_hex(8))


def revision(connection: Connection) -> str:
    """Changes with every change of a setting."""
    return keyvalue.recall(connection, REVISION) or ""
