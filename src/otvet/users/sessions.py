"""Sessions of the pages: who is signed in, with which browser. The only file that writes the table ``sessions``.

The browser has a random token, the database only its hash. A session ends after IDLE without a request, and in any case
after LONGEST.
"""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.storage.engines import Id, UtcDateTime, metadata
from otvet.users import users as users_
from otvet.users.users import User, users

IDLE = timedelta(days=7)
LONGEST = timedelta(days=30)
SEEN_EVERY = timedelta(minutes=5)  # how exactly the last request is remembered

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("token", sa.Text, nullable=False, unique=True),  # the SHA-256 of what the browser has
    sa.Column("user_id", Id, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("csrf", sa.Text, nullable=False),  # stands in every form of this session
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("seen_at", UtcDateTime, nullable=False),
    sa.Column("address", sa.Text, nullable=False, server_default=sa.text("''")),
    sa.Column("browser", sa.Text, nullable=False, server_default=sa.text("''")),
)


@dataclass(frozen=True, slots=True)
class Session:
    """One row of ``sessions``, with its user."""

    id: int
    user: User
    csrf: str
    created_at: datetime
    seen_at: datetime
    address: str
    browser: str


def hash_of(token: str) -> str:
    """What is stored of a random token; it is long, so it needs no salt."""
    return hashlib.sha256(token.encode()).hexdigest()


def begin(connection: Connection, user_id: int, address: str, browser: str, now: datetime) -> str:
    """Sign a user in. Returns the token for the browser's cookie."""
    token = secrets.token_urlsafe(32)
    row = {"token": hash_of(token), "user_id": user_id, "csrf": secrets.token_urlsafe(24)}
    row |= {"address": address[:100], "browser": browser[:200]}
    connection.execute(sessions.insert().values(**row, created_at=now, seen_at=now))
    connection.execute(sessions.delete().where(~alive(now)))
    return token


def alive(now: datetime) -> sa.ColumnElement[bool]:
    """Whether a session has not ended, as a condition."""
    return sa.and_(sessions.c.seen_at > now - IDLE, sessions.c.created_at > now - LONGEST)


_SELECTED = sa.select(sessions, users.c.name, users.c.role, users.c.shortcuts, users.c.disabled_at).join(users)


def find(connection: Connection, token: str, now: datetime) -> Session | None:
    """The living session of a cookie's token, of a user who is not shut out."""
    query = _SELECTED.where(sessions.c.token == hash_of(token), alive(now), users.c.disabled_at.is_(None))
    row = connection.execute(query).one_or_none()
    return None if row is None else _session(row)


def _session(row: sa.Row) -> Session:  # type: ignore[type-arg]
    user = User(row.user_id, row.name, users_.Role(row.role), row.shortcuts, row.disabled_at)
    return Session(row.id, user, row.csrf, row.created_at, row.seen_at, row.address, row.browser)


def seen(connection: Connection, session_id: int, now: datetime) -> None:
    """The session was used: its idle time begins anew."""
    connection.execute(sessions.update().where(sessions.c.id == session_id).values(seen_at=now))


def of_user(connection: Connection, user_id: int, now: datetime) -> Sequence[Session]:
    """A user's living sessions, the last used first."""
    query = _SELECTED.where(sessions.c.user_id == user_id, alive(now)).order_by(sessions.c.seen_at.desc())
    return [_session(row) for row in connection.execute(query)]


def end(connection: Connection, session_id: int, user_id: int) -> None:
    """Sign one browser of a user out."""
    connection.execute(sessions.delete().where(sessions.c.id == session_id, sessions.c.user_id == user_id))


def end_of(connection: Connection, token: str) -> None:
    """End the session of a cookie's token, if there is one."""
    connection.execute(sessions.delete().where(sessions.c.token == hash_of(token)))


def end_all(connection: Connection, user_id: int, but: int | None = None) -> None:
    """Sign a user out everywhere, perhaps but for the session ``but``."""
    where = [sessions.c.user_id == user_id, *([] if but is None else [sessions.c.id != but])]
    connection.execute(sessions.delete().where(*where))
