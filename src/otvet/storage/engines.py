"""Engines for SQLite and PostgreSQL, and column types and statements for both."""

import contextlib
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import URL, Connection, Dialect, Engine, make_url
from sqlalchemy.exc import DBAPIError

from otvet.errors import StorageError
from otvet.i18n import _

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

IDLE_TRANSACTION_MS = 5000
LOCK_SECONDS = 1.5  # amoCRM waits 2 s for the answer; a 503 in time is better than none
WAL_PAGES = 8000  # 32 MB before a commit has to wait for a checkpoint; the writer also makes one when it is idle

# With these a silent server counts as gone within seconds; the kernel alone would wait for a quarter of an hour. Names
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
    """The dialect's own INSERT, which has ON CONFLICT; both dialects spell it alike."""
    return (postgresql if dialect == "postgresql" else sqlite).insert(table)


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """A moment in UTC; SQLite stores it as readable text without a zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], Any]:
        return _sqlite_text if dialect.name == "sqlite" else _in_utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


def _sqlite_text(value: datetime | None) -> str | None:
    """The text that SQLAlchemy's own type writes, in a third of the time."""
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds") if value is not None else None


def _in_utc(value: datetime | None) -> datetime | None:
    return value.astimezone(UTC) if value is not None else None


_readable_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
"""One encoder for all values: ``json.dumps`` would make one for each."""


def make_private(file: Path) -> None:
    """Make an empty SQLite file that only its owner can read, because it will hold clients' words.

    SQLite gives its journals the mode of the file. An existing file keeps its mode and is not even opened: closing it
    would drop the locks of this process.
    """
    with contextlib.suppress(OSError):  # the file exists, or SQLite itself will say what is wrong
        os.close(os.open(os.path.realpath(file), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def make_engine(url: str, *, read_only: bool = False) -> Engine:
    """An engine for the database.

    On SQLite a writing transaction takes the lock when it begins: a transaction that starts to write midway could be
    refused without waiting. read_only: the engine cannot write, does not make the file and does not block the writer.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        engine = sa.create_engine(
            _without_long_waits(with_timeouts(parsed.set(drivername="postgresql+psycopg"))),
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
        connection.isolation_level = None  # BEGIN is our own, so that DDL is part of a transaction too
        if not read_only:
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(f"PRAGMA wal_autocheckpoint={WAL_PAGES}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def with_timeouts(url: URL) -> URL:
    """PostgreSQL's address with the timeouts of PATIENCE; the address's own options win."""
    return url.update_query_dict({name: value for name, value in PATIENCE.items() if name not in url.query})


def _without_long_waits(url: URL) -> URL:
    """The address with limits for a process that hangs in the middle of a write: it must not block the others' writes.

    The limits stand before the address's own options, so that those win.
    """
    given = url.query.get("options", "")
    own = given if isinstance(given, str) else " ".join(given)
    limits = {"idle_in_transaction_session_timeout": IDLE_TRANSACTION_MS, "lock_timeout": int(LOCK_SECONDS * 1000)}
    ours = " ".join(f"-c {name}={value}" for name, value in limits.items())
    return url.update_query_dict({"options": f"{ours} {own}".strip()})


def write_refused(error: Exception) -> StorageError:
    """The error for a write that the database refused, with the first line of its cause."""
    cause = first_line(error.orig if isinstance(error, DBAPIError) else error)
    return StorageError(_("the database did not take the write: {cause}").format(cause=cause))


def first_line(error: object) -> str:
    """The first line of a driver's error; PostgreSQL's go on with hints and quotations."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
