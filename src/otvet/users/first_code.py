"""The one-time code of the first visit, so that nobody else makes the first user. It stands in the log of a start."""

import hmac
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


def take(connection: Connection, code: str) -> bool:
    """Use the code, as somebody typed it; it holds once, also for two at the same moment in two processes."""
    known = keyvalue.recall_locked(connection, NAME)
    if not known or not hmac.compare_digest(spelled(code), known):
        return False
    keyvalue.note(connection, NAME, "")
    return True


def shown(code: str) -> str:
    """The code as people read it: ABCD-EFGH."""
    return f"{code[: LENGTH // 2]}-{code[LENGTH // 2 :]}"


def spelled(text: str) -> str:
    """What somebody typed, as it would be stored."""
    return "".join(char for char in text.upper() if char in ALPHABET)
