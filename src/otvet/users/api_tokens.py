"""Tokens of programs that use the API: named, with a scope, stored as a hash. Writes the table ``api_tokens``."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.storage.engines import Id, UtcDateTime, metadata
from otvet.users.sessions import hash_of

PREFIX = "otvet_"
LONGEST_NAME = 60
USED_EVERY = timedelta(minutes=5)  # how exactly the last use is remembered

api_tokens = sa.Table(
    "api_tokens",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("token", sa.Text, nullable=False, unique=True),  # the SHA-256 of what the program has
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("used_at", UtcDateTime),
    sa.CheckConstraint("scope IN ('read', 'operate', 'admin')", name="scope"),
)


class Scope(StrEnum):
    """What a token opens: reading; besides, what a manager does; besides, erasing and settings."""

    READ = "read"
    OPERATE = "operate"
    ADMIN = "admin"

    def covers(self, needed: "Scope") -> bool:
        """Whether this scope opens what ``needed`` opens."""
        ranks = list(Scope)
        return ranks.index(self) >= ranks.index(needed)


@dataclass(frozen=True, slots=True)
class ApiToken:
    """One row of ``api_tokens``, without the token itself."""

    id: int
    name: str
    scope: Scope
    created_at: datetime
    created_by: str
    used_at: datetime | None


_COLUMNS = tuple(column for column in api_tokens.c if column.name != "token")


def make(connection: Connection, name: str, scope: Scope, created_by: str, now: datetime) -> str:
    """A new token, which is shown once."""
    token = PREFIX + secrets.token_urlsafe(32)
    row = {
        "name": name[:LONGEST_NAME],
        "token": hash_of(token),
        "scope": scope,
        "created_by": created_by,
        "created_at": now,
    }
    connection.execute(api_tokens.insert().values(**row))
    return token


def find(connection: Connection, token: str) -> ApiToken | None:
    """The token of a request, if it is known."""
    row = connection.execute(sa.select(*_COLUMNS).where(api_tokens.c.token == hash_of(token))).one_or_none()
    return None if row is None else _token(row)


def _token(row: sa.Row) -> ApiToken:  # type: ignore[type-arg]
    return ApiToken(row.id, row.name, Scope(row.scope), row.created_at, row.created_by, row.used_at)


def listed(connection: Connection) -> Sequence[ApiToken]:
    """All tokens, the oldest first."""
    return [_token(row) for row in connection.execute(sa.select(*_COLUMNS).order_by(api_tokens.c.id))]


def used(connection: Connection, token_id: int, now: datetime) -> None:
    """A program has used it."""
    connection.execute(api_tokens.update().where(api_tokens.c.id == token_id).values(used_at=now))


def revoke(connection: Connection, token_id: int) -> bool:
    """Make a token worthless."""
    return connection.execute(api_tokens.delete().where(api_tokens.c.id == token_id)).rowcount == 1
