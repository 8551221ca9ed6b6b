"""What this installation is and must not forget: the webhook's secret and a name of its own."""

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


def recall(connection: Connection, name: str) -> str | None:
    """A kept value, or None."""
    return connection.scalar(sa.select(installation.c.value).where(installation.c.name == name))


def recall_or_make(connection: Connection, name: str, bytes_of_chance: int) -> str:
    """A kept value; the first caller makes it at random, also when several ask at once."""
    made = {"name": name, "value": secrets.token_urlsafe(bytes_of_chance)}
    connection.execute(insert(connection.dialect.name, installation).values(made).on_conflict_do_nothing())
    value = recall(connection, name)
    assert value is not None
    return value


def note(connection: Connection, name: str, value: str) -> None:
    """Keep a value, in place of the one before."""
    statement = insert(connection.dialect.name, installation).values(name=name, value=value)
    connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"value": value}))
