"""The one-time code of the first visit, so that nobody else makes the first user. It stands in the log of a start."""

import secrets

from sqlalchemy.engine import Connection

from otvet.storage import keyvalue
from otvet.users import users

NAME = "first_visit_code"
ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"  # without what is mistaken for something else
LENGTH = 8


def make(connection: Connection) -> None:
    """Make the code, unless there is one already or the first user has come."""
    if not users.any_yet(connection) and not keyvalue.recall(connection, NAME):
        keyvalue.note(connection, NAME, "".join(secrets.choice(ALPHABET) for _letter in range(LENGTH)))


def waiting(connection: Connection) -> str:
    """The code; empty if the first user has come."""
    return keyvalue.recall(connection, NAME) or ""


def shown(code: str) -> str:
    """The code as people read it: ABCD-EFGH."""
    return f"{code[: LENGTH // 2]}-{code[LENGTH // 2 :]}"


def spelled(text: str) -> str:
    """What somebody typed, as it would be stored."""
    return "".join(char for char in text.upper() if char in ALPHABET)


def forget(connection: Connection) -> None:
    """There is a user: the code opens nothing any more."""
    keyvalue.note(connection, NAME, "")
