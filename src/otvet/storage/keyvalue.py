"""Values of this installation by name, such as the webhook's secret."""

import secrets

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.storage.engines import insert, metadata

installation = sa.Table(
    "installation",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)


def recall_locked(connection: Connection, name: str) -> str | None:
    """The stored value, or None; nobody else changes it before this transaction ends."""
    return connection.scalar(sa.select(installation.c.value).where(installation.c.name == name).with_for_update())


def recall(connection: Connection, name: str) -> str | None:
    """The stored value, or None."""
    return connection.scalar(sa.select(installation.c.value).where(installation.c.name == name))


def recall_or_make(connection: Connection, name: str, entropy_bytes: int) -> str:
    """The stored value; the first caller makes it at random, and of several at once one wins."""
    made = {"name": name, "value": secrets.token_urlsafe(entropy_bytes)}
    connection.execute(insert(connection.dialect.name, installation).values(made).on_conflict_do_nothing())
    value = recall(connection, name)
    assert value is not None
    return value


def note(connection: Connection, name: str, value: str) -> None:
    """Store a value, in place of the one before."""
    statement = insert(connection.dialect.name, installation).values(name=name, value=value)
    connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"value": value}))
