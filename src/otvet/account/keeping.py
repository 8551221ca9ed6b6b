"""Writes of what there is no second copy of: a database that is away is waited for."""

from collections.abc import Callable
from typing import TypeVar

import structlog
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from otvet.amocrm.answers import AmoError
from otvet.clock import Clock
from otvet.errors import StorageError
from otvet.i18n import N_, _
from otvet.storage.database import Database
from otvet.storage.engines import first_line

T = TypeVar("T")

log = structlog.get_logger(__name__)

TRIES = 60
LOST = N_("what amoCRM gave could not be stored: {reason}")


async def keep_surely(database: Database, clock: Clock, write: Callable[[Connection], T]) -> T:
    """Commit what amoCRM has given. Tried once a second for a minute; then AmoError."""
    for tries_left in reversed(range(TRIES)):
        try:
            return await database.write(write)
        except (StorageError, DBAPIError) as error:
            reason = first_line(error.orig if isinstance(error, DBAPIError) else error)
            if not tries_left:
                raise AmoError(_(LOST).format(reason=reason), reason="unavailable") from error
            log.error("what amoCRM gave is not stored yet", reason=reason)
            await clock.sleep(1)
    raise AssertionError
