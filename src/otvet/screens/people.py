"""Users as the pages list them: with how many browsers each is signed in, and when each was seen last."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.users import sessions, users
from otvet.users.users import User


@dataclass(frozen=True, slots=True)
class Person:
    """A user of the list. seen_at: the last request of a living session."""

    user: User
    sessions: int
    seen_at: datetime | None


def listed(connection: Connection, now: datetime) -> Sequence[Person]:
    """All users, by name; those who are shut out last."""
    table = sessions.sessions
    counted = sa.select(table.c.user_id, sa.func.count().label("count"), sa.func.max(table.c.seen_at).label("seen_at"))
    query = counted.where(sessions.alive(now)).group_by(table.c.user_id)
    found = {user_id: (count, seen_at) for user_id, count, seen_at in connection.execute(query)}
    return [Person(user, *found.get(user.id, (0, None))) for user in users.listed(connection)]
