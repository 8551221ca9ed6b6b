"""Users of the pages: name, password, role. The only file that writes the table ``users``."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.errors import UsageError
from otvet.i18n import N_, _
from otvet.storage.engines import Id, UtcDateTime, insert, metadata

SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 200
LONGEST_NAME = 60

NAME_TAKEN = N_("there is a user {name} already")
NAME_ODD = N_("a name has 1 to 60 characters")
PASSWORD_ODD = N_("a password has 8 to 200 characters")

users = sa.Table(
    "users",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),  # as written
    sa.Column("known_as", sa.Text, nullable=False, unique=True),  # in small letters: what a name is looked up by
    sa.Column("password", sa.Text, nullable=False),  # argon2id
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("disabled_at", UtcDateTime),
    sa.Column("shortcuts", sa.Boolean, nullable=False, server_default=sa.true()),  # whether single keys do something
    sa.CheckConstraint("role IN ('viewer', 'manager', 'owner')", name="role"),
)


class Role(StrEnum):
    """What a user may do: read; answer clients and teach; and besides set up, erase and invite."""

    VIEWER = "viewer"
    MANAGER = "manager"
    OWNER = "owner"

    def covers(self, needed: "Role") -> bool:
        """Whether this role may do what ``needed`` may."""
        ranks = list(Role)
        return ranks.index(self) >= ranks.index(needed)


@dataclass(frozen=True, slots=True)
class User:
    """One row of ``users``, without its password."""

    id: int
    name: str
    role: Role
    shortcuts: bool
    disabled_at: datetime | None


_COLUMNS = (users.c.id, users.c.name, users.c.role, users.c.shortcuts, users.c.disabled_at)


def _user(row: Any) -> User:
    return User(row.id, row.name, Role(row.role), row.shortcuts, row.disabled_at)


@cache
def _hasher() -> Any:
    """argon2id with the library's parameters, RFC 9106's second recommendation. Loaded when the first one signs in."""
    from argon2 import PasswordHasher

    return PasswordHasher()


@cache
def _nobody() -> str:
    return str(_hasher().hash("a password that nobody has"))


def hashed(password: str) -> str:
    """The password as it is stored; takes 50 ms, so not on the event loop. Raises UsageError by its length."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise UsageError(_(PASSWORD_ODD))
    return str(_hasher().hash(password))


def fits(stored: str | None, password: str) -> bool:
    """Whether a password is the stored one; as slow for a user who does not exist."""
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        good = _hasher().verify(stored or _nobody(), password[:LONGEST_PASSWORD])
    except (VerificationError, InvalidHashError):
        return False
    return bool(good) and stored is not None and len(password) <= LONGEST_PASSWORD


def spelled(name: str) -> str:
    """A name as it is kept: without blanks around it or doubled."""
    return " ".join(name.split())


def add(connection: Connection, name: str, password_hash: str, role: Role, now: datetime) -> int:
    """A new user's id. Raises UsageError if the name is taken or odd."""
    name = spelled(name)
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise UsageError(_(NAME_ODD))
    row = {"name": name, "known_as": name.casefold(), "password": password_hash, "role": role, "created_at": now}
    new = insert(connection.dialect.name, users).values(row).on_conflict_do_nothing(index_elements=["known_as"])
    added = connection.execute(new.returning(users.c.id)).scalar_one_or_none()
    if added is None:
        raise UsageError(_(NAME_TAKEN).format(name=name))
    return int(added)


def password_of(connection: Connection, name: str) -> tuple[User, str] | None:
    """The user of that name, who is not disabled, and the stored password."""
    known_as = spelled(name).casefold()
    query = sa.select(*_COLUMNS, users.c.password).where(users.c.known_as == known_as, users.c.disabled_at.is_(None))
    row = connection.execute(query).one_or_none()
    return None if row is None else (_user(row), row.password)


def get(connection: Connection, user_id: int) -> User | None:
    """The user, disabled or not."""
    row = connection.execute(sa.select(*_COLUMNS).where(users.c.id == user_id)).one_or_none()
    return None if row is None else _user(row)


def named(connection: Connection, name: str) -> User | None:
    """The user of that name, disabled or not."""
    query = sa.select(*_COLUMNS).where(users.c.known_as == spelled(name).casefold())
    row = connection.execute(query).one_or_none()
    return None if row is None else _user(row)


def listed(connection: Connection) -> Sequence[User]:
    """All users, by name; the disabled ones last."""
    query = sa.select(*_COLUMNS).order_by(users.c.disabled_at.is_not(None), users.c.known_as)
    return [_user(row) for row in connection.execute(query)]


def any_yet(connection: Connection) -> bool:
    """Whether there is a user at all: without one the pages show the set-up."""
    return bool(connection.scalar(sa.select(sa.exists().select_from(users))))


def set_password(connection: Connection, user_id: int, password_hash: str) -> None:
    """Replace a password and let its user in again."""
    connection.execute(users.update().where(users.c.id == user_id).values(password=password_hash, disabled_at=None))


def set_shortcuts(connection: Connection, user_id: int, on: bool) -> None:
    """Whether single keys do something on this user's pages."""
    connection.execute(users.update().where(users.c.id == user_id).values(shortcuts=on))


def set_role(connection: Connection, user_id: int, role: Role) -> bool:
    """Give a user another role. False if nobody would be owner any more."""
    return _unless_last_owner(connection, user_id, role == Role.OWNER, role=role)


def disable(connection: Connection, user_id: int, now: datetime | None) -> bool:
    """Shut a user out, or in again (now: None). False if nobody would be owner any more."""
    return _unless_last_owner(connection, user_id, now is None, disabled_at=now)


def _unless_last_owner(connection: Connection, user_id: int, harmless: bool, **values: Any) -> bool:
    owners = sa.select(users.c.id).where(users.c.role == Role.OWNER, users.c.disabled_at.is_(None)).with_for_update()
    others = [id_ for id_ in connection.scalars(owners) if id_ != user_id]
    if not (harmless or others):
        return False
    return connection.execute(users.update().where(users.c.id == user_id).values(**values)).rowcount == 1
