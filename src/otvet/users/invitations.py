"""Invitations: a link that lets one person make a user. The only file that writes the table ``invitations``."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.storage.engines import Id, UtcDateTime, metadata
from otvet.users.sessions import hash_of
from otvet.users.users import Role

LASTS = timedelta(days=7)

invitations = sa.Table(
    "invitations",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("token", sa.Text, nullable=False, unique=True),  # the SHA-256 of what stands in the link
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("invited_by", sa.Text, nullable=False),
    sa.Column("expires_at", UtcDateTime, nullable=False),
)


def make(connection: Connection, role: Role, invited_by: str, now: datetime) -> str:
    """Invite somebody. Returns the token of the link, which is shown once."""
    token = secrets.token_urlsafe(24)
    row = {"token": hash_of(token), "role": role, "invited_by": invited_by, "expires_at": now + LASTS}
    connection.execute(invitations.insert().values(**row))
    connection.execute(invitations.delete().where(invitations.c.expires_at <= now))
    return token


def role_of(connection: Connection, token: str, now: datetime) -> Role | None:
    """The role that an invitation gives; None if it is none, is used or is too old."""
    query = sa.select(invitations.c.role).where(invitations.c.token == hash_of(token), invitations.c.expires_at > now)
    role = connection.scalar(query)
    return None if role is None else Role(role)


@dataclass(frozen=True, slots=True)
class Invitation:
    """One row of ``invitations``, without what stands in the link."""

    id: int
    role: Role
    invited_by: str
    expires_at: datetime


def listed(connection: Connection, now: datetime) -> Sequence[Invitation]:
    """Those that nobody has used, the newest first."""
    columns = (invitations.c.id, invitations.c.role, invitations.c.invited_by, invitations.c.expires_at)
    query = sa.select(*columns).where(invitations.c.expires_at > now).order_by(invitations.c.id.desc())
    return [Invitation(row.id, Role(row.role), row.invited_by, row.expires_at) for row in connection.execute(query)]


def withdraw(connection: Connection, invitation_id: int) -> bool:
    """Make a link worthless."""
    return connection.execute(invitations.delete().where(invitations.c.id == invitation_id)).rowcount == 1


def withdraw_all_of(connection: Connection, name: str) -> None:
    """Make the links of a user worthless, who may not invite any more."""
    connection.execute(invitations.delete().where(invitations.c.invited_by == name))


def use(connection: Connection, token: str, now: datetime) -> Role | None:
    """Take an invitation, which holds once; of two at the same moment one gets None."""
    role = role_of(connection, token, now)
    taken = connection.execute(invitations.delete().where(invitations.c.token == hash_of(token))).rowcount
    return role if taken else None
