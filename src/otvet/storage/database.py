"""The conversations' database, SQLite or PostgreSQL: an engine to read, and a writer that commits in batches.

Everything the running service writes goes through ``Database.write``; see ``storage.writer``.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import DBAPIError

from otvet.errors import StorageError
from otvet.i18n import _
from otvet.storage.engines import first_line, make_engine, write_refused
from otvet.storage.writer import Writer

MOST_READERS = 4
MOST_READERS_ON_SQLITE = 2  # reads wait for no network, so more threads would only compete for the processor

Result = TypeVar("Result")


def _each(connection: Connection, functions: Sequence[Callable[[Connection], Any]]) -> Sequence[Any]:
    return [function(connection) for function in functions]


class Database:
    """The database as the service and the commands use it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_sqlite = make_url(url).get_backend_name() == "sqlite"
        self.writes = make_engine(url)
        self.reads = make_engine(url, read_only=True)
        self.writer = Writer(self.writes)
        self._readers = ThreadPoolExecutor(
            MOST_READERS_ON_SQLITE if self.is_sqlite else MOST_READERS, thread_name_prefix="reader"
        )

    @property
    def shown_url(self) -> str:
        """The address as the user gave it, without its password."""
        return make_url(self.url).render_as_string(hide_password=True)

    def start(self) -> None:
        """Start the writer; call it on the event loop that will wait for the writes."""
        self.writer.start()

    @property
    def is_running(self) -> bool:
        """Whether the writer was started."""
        return self.writer.running

    async def stop(self) -> None:
        await self.writer.stop()
        self.close()

    def close(self) -> None:
        self._readers.shutdown()
        self.reads.dispose()
        self.writes.dispose()

    async def write(self, function: Callable[[Connection], Result]) -> Result:
        """Run ``function`` in a transaction; it is committed when this returns."""
        return cast(Result, await self.writer.submit(_each, function))

    async def write_alone(self, function: Callable[[Connection], Result]) -> Result:
        """Run ``function`` in a transaction of its own, for a write that locks out other processes until its commit."""
        if self.is_sqlite:
            return await self.write(function)
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._write_alone, function)

    def _write_alone(self, function: Callable[[Connection], Result]) -> Result:
        try:
            with self.writes.begin() as connection:
                return function(connection)
        except DBAPIError as error:
            raise write_refused(error) from error

    async def read(self, function: Callable[[Connection], Result]) -> Result:
        """Run ``function`` in a read transaction on a reader's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self.read_now, function)

    def read_now(self, function: Callable[[Connection], Result]) -> Result:
        """Like read(), but on the caller's thread, for code without an event loop."""
        try:
            with self.reads.connect() as connection:
                return function(connection)
        except DBAPIError as error:
            raise StorageError(
                _("the database cannot be read: {cause}").format(cause=first_line(error.orig))
            ) from error
