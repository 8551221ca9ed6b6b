"""The database: one engine to read, one writer whose commits are shared, SQLite or PostgreSQL.

Everything the running service writes goes through ``Database.write``: a thread takes what has queued up, carries it
out in one transaction, and answers only when that is committed. Under load many writes share one sync to the disk;
on SQLite it also means that our own threads never wait for each other's lock.
"""

import asyncio
import contextlib
import itertools
import json
import os
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import quote

import sqlalchemy as sa
import structlog
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import URL, Connection, Dialect, Engine, make_url
from sqlalchemy.exc import DBAPIError, OperationalError

from otvet.errors import StorageError
from otvet.i18n import _

log = structlog.get_logger(__name__)

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # only INTEGER numbers itself on SQLite
Json = sa.JSON().with_variant(JSONB(), "postgresql")

MOST_SHARING_A_COMMIT = 512
MOST_OTHERS_AT_ONCE = 32
LEAST_OTHERS_AT_ONCE = 8  # what is urgent waits no longer than for these
MOST_WAITING = 20_000
MOST_READERS = 4
MOST_READERS_ON_SQLITE = 2  # they wait for no network, and more threads only take the processor from each other
MOST_TRIES = 8
IDLE_TRANSACTION_MS = 5000
LONGEST_BACKOFF_SECONDS = 0.05
LOCK_SECONDS = 1.5  # amoCRM waits 2 s for the answer; a 503 in time is better than none
IDLE_SECONDS = 1.0
WAL_PAGES = 8000  # 32 MB before a commit has to wait for a checkpoint; a quiet second makes one anyway

# A server that is silent is taken for gone within seconds; the kernel alone would wait for a quarter of an hour. Names
# and units are libpq's: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
PATIENCE = {
    "connect_timeout": "3",
    "tcp_user_timeout": "5000",
    "keepalives": "1",
    "keepalives_idle": "3",
    "keepalives_interval": "1",
    "keepalives_count": "2",
}

# https://www.postgresql.org/docs/current/errcodes-appendix.html
DEADLOCK, SERIALIZATION_FAILURE, LOCK_NOT_AVAILABLE = "40P01", "40001", "55P03"


def insert(dialect: str, table: sa.Table) -> Any:
    """The dialect's INSERT, which knows ON CONFLICT; both dialects spell it alike."""
    return (postgresql if dialect == "postgresql" else sqlite).insert(table)


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """A moment in UTC; SQLite keeps it as readable text without a zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


def _readable_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def make_private(file: Path) -> None:
    """Make the SQLite file, empty and for its owner alone, if it is not there: clients' words come into it.

    SQLite gives its journals the mode of the file. One that is there keeps its mode, and is not even opened: closing
    it would drop the locks of this process.
    """
    with contextlib.suppress(OSError):  # SQLite says itself what is wrong, or there is a file already
        os.close(os.open(os.path.realpath(file), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def make_engine(url: str, *, read_only: bool = False) -> Engine:
    """An engine to write with, or one that cannot write.

    On SQLite a writing transaction takes the lock when it begins: one that turned from reading to writing midway
    could be refused without waiting. A read-only one neither makes the file nor blocks the writer.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        engine = sa.create_engine(
            _without_long_waits(impatient(parsed.set(drivername="postgresql+psycopg"))),
            json_serializer=_readable_json,
            pool_pre_ping=True,
            hide_parameters=True,
        )
        return engine.execution_options(postgresql_readonly=True) if read_only else engine
    if read_only:
        file = quote(str(Path(parsed.database or "").absolute()))
        parsed = make_url(f"sqlite:///file:{file}?mode=ro&uri=true")
    engine = sa.create_engine(
        parsed,
        json_serializer=_readable_json,
        connect_args={"timeout": LOCK_SECONDS},
        hide_parameters=True,  # a client's words must not get into the log with an error
    )

    if not read_only:

        @event.listens_for(engine, "do_connect")
        def make(*_how: Any) -> None:
            make_private(Path(parsed.database or ""))

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we begin ourselves, so that DDL is part of a transaction too
        if not read_only:
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(f"PRAGMA wal_autocheckpoint={WAL_PAGES}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def impatient(url: URL) -> URL:
    """The address of PostgreSQL with PATIENCE, as far as it says nothing else itself."""
    return url.update_query_dict({name: value for name, value in PATIENCE.items() if name not in url.query})


def _without_long_waits(url: URL) -> URL:
    """A process that hangs in the middle of a write must not keep the others from those rows.

    Said before the address's own options, so that these win.
    """
    given = url.query.get("options", "")
    own = given if isinstance(given, str) else " ".join(given)
    limits = {"idle_in_transaction_session_timeout": IDLE_TRANSACTION_MS, "lock_timeout": int(LOCK_SECONDS * 1000)}
    ours = " ".join(f"-c {name}={value}" for name, value in limits.items())
    return url.update_query_dict({"options": f"{ours} {own}".strip()})


Work = Callable[[Connection, Sequence[Any]], Sequence[Any]]
"""What is done to the database for some items: one result an item, in their order."""

Result = TypeVar("Result")


@dataclass(slots=True)
class _Job:
    work: Work
    item: Any
    future: "asyncio.Future[Any]"
    urgent: bool
    outcome: Any = None


class Writer:
    """The only thread of this process that writes. Start it on the event loop that will wait for it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._urgent: deque[_Job] = deque()  # taken from the queue, and not yet begun
        self._others: deque[_Job] = deque()
        self._urgent_put = self._urgent_taken = 0  # each changed by one thread only
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Carry out what is queued, then end."""
        self._jobs.put(None)
        with ThreadPoolExecutor(1) as alone:  # the loop's own pool may be closed by now
            await asyncio.get_running_loop().run_in_executor(alone, self._thread.join)

    @property
    def waiting(self) -> int:
        """How many writes wait for a commit."""
        return self._jobs.qsize() + len(self._urgent) + len(self._others)

    def submit(self, work: Work, item: Any, *, urgent: bool = False) -> "asyncio.Future[Any]":
        """Queue an item; items that wait for the same work at the same time are given to it together.

        urgent: before all that are not, in a commit without them, because somebody waits for an answer.
        """
        if self._loop is None:
            raise RuntimeError("the writer was not started")
        if self.waiting > MOST_WAITING:
            raise StorageError(_("more writes are waiting than can be carried out in time"))
        future: asyncio.Future[Any] = self._loop.create_future()
        self._urgent_put += urgent
        self._jobs.put(_Job(work, item, future, urgent))
        return future

    def _run(self) -> None:
        dirty = going_on = True
        while going_on or self.waiting:
            try:
                going_on = self._take(IDLE_SECONDS if dirty else None) and going_on
            except queue.Empty:
                self._settle()
                dirty = False
                continue
            if batch := self._batch():
                done = self._commit(batch)
                self._others.extendleft(reversed(batch[done:]))
                dirty = True

    def _take(self, patience: float | None) -> bool:
        """Sort what is queued, waiting for it if there is nothing to do; False when it is time to end."""
        while not (self._urgent or self._others) or not self._jobs.empty():
            job = self._jobs.get(timeout=patience)
            if job is None:
                return False
            self._urgent_taken += job.urgent
            (self._urgent if job.urgent else self._others).append(job)
        return True

    def _batch(self) -> list[_Job]:
        jobs, most = (self._urgent, MOST_SHARING_A_COMMIT) if self._urgent else (self._others, MOST_OTHERS_AT_ONCE)
        return [jobs.popleft() for _ in range(min(most, len(jobs)))]

    def _commit(self, batch: list[_Job]) -> int:
        """How many of them are answered now; the rest has to be taken up again."""
        done = len(batch)
        try:
            done = self._transact(batch)
        except Exception as error:  # the thread must outlive whatever a write met
            if not isinstance(error, DBAPIError):
                log.exception("a write failed in an unexpected way")
            for job in batch:
                job.outcome = StorageError(_sentence(error))
        loop = cast(asyncio.AbstractEventLoop, self._loop)
        if not loop.is_closed():
            loop.call_soon_threadsafe(_answer, batch[:done])
        return done

    def _transact(self, batch: list[_Job]) -> int:
        for tries_left in reversed(range(MOST_TRIES)):
            try:
                with self._engine.begin() as connection:
                    done = self._together(connection, batch)
            except OperationalError as error:
                # Disk full, locked, server gone: nothing of it can stand. But where PostgreSQL undid it for the sake
                # of another process, it may simply be run again, at a moment of its own.
                if not tries_left or getattr(error.orig, "sqlstate", None) not in (DEADLOCK, SERIALIZATION_FAILURE):
                    raise
                time.sleep(random.uniform(0, LONGEST_BACKOFF_SECONDS))  # noqa: S311 - no secret
            except Exception:
                # One of them is at fault, or another process wrote the same row just now: a second look finds it.
                with self._engine.begin() as connection:
                    _one_by_one(connection, batch)
                return len(batch)
            else:
                return done
        raise AssertionError("the last try returns or raises")

    def _together(self, connection: Connection, batch: list[_Job]) -> int:
        """Carry them out, or as many as have begun when something urgent comes; gives how many that are."""
        done = 0
        for group in _alike(batch):
            if done and not batch[0].urgent and self._urgent_put != self._urgent_taken:
                break
            for job, result in zip(group, group[0].work(connection, [job.item for job in group]), strict=True):
                job.outcome = result
            done += len(group)
        return done

    def _settle(self) -> None:
        """When nothing is happening, bring the SQLite file up to date, so that a plain copy of it is whole."""
        if self._engine.dialect.name != "sqlite":
            return
        try:
            connection = self._engine.raw_connection()
            try:
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                connection.close()
        except Exception as error:  # a reader may be in the way; the next quiet moment comes
            log.debug("checkpoint postponed", reason=str(error))


def _alike(batch: list[_Job]) -> Iterator[list[_Job]]:
    """In their order, those for the same work together; of what is not urgent, a few at a time."""
    most = MOST_SHARING_A_COMMIT if batch[0].urgent else LEAST_OTHERS_AT_ONCE
    for _work, jobs in itertools.groupby(batch, key=lambda job: job.work):
        while group := list(itertools.islice(jobs, most)):
            yield group


def _one_by_one(connection: Connection, batch: list[_Job]) -> None:
    """Each in a savepoint, so that only the faulty one fails."""
    for job in batch:
        try:
            with connection.begin_nested():
                (job.outcome,) = job.work(connection, [job.item])
        except OperationalError:
            raise
        except Exception as error:
            job.outcome = error


def _answer(batch: list[_Job]) -> None:
    for job in batch:
        if job.future.done():  # the caller went away; what it asked for is written all the same
            continue
        if isinstance(job.outcome, Exception):
            job.future.set_exception(job.outcome)
        else:
            job.future.set_result(job.outcome)


def _sentence(error: Exception) -> str:
    cause = first_line(error.orig if isinstance(error, DBAPIError) else error)
    return _("the database did not take the write: {cause}").format(cause=cause)


def first_line(error: object) -> str:
    """A driver's complaint as one line; PostgreSQL's go on with hints and quotations."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _each(connection: Connection, functions: Sequence[Callable[[Connection], Any]]) -> Sequence[Any]:
    return [function(connection) for function in functions]


class Database:
    """The conversations' database, as the service and the commands use it."""

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
        """The address as the user gave it, without its password and without what is added to it here."""
        return make_url(self.url).render_as_string(hide_password=True)

    def start(self) -> None:
        """Begin to take writes; call it on the event loop that will wait for them."""
        self.writer.start()

    async def stop(self) -> None:
        await self.writer.stop()
        self.close()

    def close(self) -> None:
        self._readers.shutdown()
        self.reads.dispose()
        self.writes.dispose()

    async def write(self, function: Callable[[Connection], Result]) -> Result:
        """Run ``function`` in a transaction; when this returns, what it did is committed."""
        return cast(Result, await self.writer.submit(_each, function))

    async def write_alone(self, function: Callable[[Connection], Result]) -> Result:
        """The same in a transaction that nothing else shares: for what locks out other processes until it ends."""
        if self.is_sqlite:
            return await self.write(function)
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._write_alone, function)

    def _write_alone(self, function: Callable[[Connection], Result]) -> Result:
        try:
            with self.writes.begin() as connection:
                return function(connection)
        except DBAPIError as error:
            raise StorageError(_sentence(error)) from error

    async def read(self, function: Callable[[Connection], Result]) -> Result:
        """Run ``function`` beside the writer."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self.look, function)

    def look(self, function: Callable[[Connection], Result]) -> Result:
        """The same for code without an event loop."""
        try:
            with self.reads.connect() as connection:
                return function(connection)
        except DBAPIError as error:
            raise StorageError(
                _("the database cannot be read: {cause}").format(cause=first_line(error.orig))
            ) from error
