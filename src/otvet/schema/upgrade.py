"""Prepares the database at a start: checks its owner, takes a first version over, migrates; or leaves it as it is."""

import sqlite3
import time
from collections.abc import Set
from contextlib import closing
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from otvet.account import (
    consents,  # noqa: F401
    health,  # noqa: F401
    tokens,  # noqa: F401
)
from otvet.conversations import chats  # noqa: F401
from otvet.errors import DatabaseUnfit
from otvet.i18n import _
from otvet.intake import quarantine  # noqa: F401
from otvet.notices import notices  # noqa: F401
from otvet.schema.first_version import FIRST_VERSION_TABLES, adopt, is_first_version, set_aside
from otvet.search import index  # noqa: F401
from otvet.staff import (
    gaps,  # noqa: F401
    instruction_versions,  # noqa: F401
)
from otvet.storage import (
    counters,  # noqa: F401
    heartbeats,  # noqa: F401
    keyvalue,  # noqa: F401
    outages,  # noqa: F401
    rate_limits,  # noqa: F401
    spending,  # noqa: F401
)
from otvet.storage.database import Database
from otvet.storage.engines import DEADLOCK, LOCK_NOT_AVAILABLE, SERIALIZATION_FAILURE, metadata
from otvet.turns import (
    attempts,  # noqa: F401
    handoffs,  # noqa: F401
    parts,  # noqa: F401
    turn,  # noqa: F401
)
from otvet.users import (
    api_tokens,  # noqa: F401
    audit,  # noqa: F401
    invitations,  # noqa: F401
    kept_settings,  # noqa: F401
    ratings,  # noqa: F401
    sessions,  # noqa: F401
    tries,  # noqa: F401
)
from otvet.widget import waiting  # noqa: F401

# Several modules are imported only for their tables, so that the metadata has the whole schema.

__all__ = ["LATEST", "metadata", "prepare", "version"]

log = structlog.get_logger(__name__)

LATEST = "0019"
"""The newest migration; a constant, so that a start with nothing to migrate does not load Alembic."""

MOST_TRIES = 20
PAUSE_SECONDS = 1.0  # in which the processes that use the tables can go on

_PASSES = (DEADLOCK, SERIALIZATION_FAILURE, LOCK_NOT_AVAILABLE)
_MIGRATION_LOCK = 7_305_817_263  # any number that no other program locks on the same PostgreSQL
_ALWAYS_OURS = {"alembic_version", "installation", "conversations", "messages"}


def prepare(database: Database, now: datetime) -> None:
    """Bring the database to the latest schema in one transaction; with a DatabaseUnfit nothing has changed."""
    shown = database.shown_url
    if database.is_sqlite:
        _check_file(Path(database.writes.url.database or ""), now)
    for tries_left in reversed(range(MOST_TRIES)):
        try:
            with database.writes.begin() as connection:
                if not database.is_sqlite:
                    _wait_for_other_starts(connection)
                _migrate(connection, shown, now)
        except DBAPIError as error:
            if not tries_left or getattr(error.orig, "sqlstate", None) not in _PASSES:
                raise _cannot_be_opened(shown, str(error.orig).strip()) from error
            log.warning("the tables are in use; the schema is brought up to date in a moment")
            time.sleep(PAUSE_SECONDS)
        else:
            return


def _wait_for_other_starts(connection: Connection) -> None:
    """Wait for other migrations without a time limit; the limit for locks on tables is as before afterwards."""
    connection.execute(sa.text("SET LOCAL lock_timeout = 0"))
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
    connection.execute(sa.text("SET LOCAL lock_timeout TO DEFAULT"))


def _cannot_be_opened(shown: str, cause: object) -> DatabaseUnfit:
    return DatabaseUnfit(_("the database {url} cannot be opened: {cause}").format(url=shown, cause=cause))


def _check_file(path: Path, now: datetime) -> None:
    """Before anything is written: accept an empty file or Otvet's own, copy a first version's aside, else raise."""
    if not path.parent.is_dir():
        raise DatabaseUnfit(_("the folder {folder} does not exist").format(folder=path.parent.absolute()))
    if not path.exists() or path.stat().st_size == 0:
        return
    try:
        tables, found = _look_into(path)
    except sqlite3.OperationalError as error:
        raise _cannot_be_opened(str(path), error) from error
    except sqlite3.DatabaseError as error:
        raise DatabaseUnfit(
            _("{file} is not a SQLite database ({cause}); it was left untouched").format(file=path, cause=error)
        ) from error
    if not is_first_version(tables):
        _check_owner(str(path), set(tables), found, others=set(tables))
        return
    try:
        copy = set_aside(path, now)
    except sqlite3.Error as error:
        raise DatabaseUnfit(
            _("{file} cannot be copied before it is brought up to date: {cause}").format(file=path, cause=error)
        ) from error
    log.info("a database of the first version was copied aside", copy=str(copy))


def _look_into(path: Path) -> tuple[dict[str, set[str]], str | None]:
    """The columns of each table, and the schema's version; makes no file, not even a journal."""
    journal = path.with_name(f"{path.name}-wal")
    alone = "" if journal.exists() and journal.stat().st_size else "&immutable=1"
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{alone}", uri=True)) as connection:
        tables: dict[str, set[str]] = {}
        for table, column in connection.execute(
            "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c "
            "WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite!_%' ESCAPE '!'"
        ):
            tables.setdefault(table, set()).add(column)
        found = None
        if "version_num" in tables.get("alembic_version", ()):
            found = connection.execute("SELECT max(version_num) FROM alembic_version").fetchone()[0]
        return tables, found


def _check_owner(shown: str, tables: Set[str], found: str | None, others: Set[str]) -> None:
    """Raise DatabaseUnfit if the tables are another program's or a newer Otvet's. others: tables that could collide."""
    if others and not tables >= _ALWAYS_OURS:
        raise DatabaseUnfit(
            _("{file} belongs to another program (it has the tables {tables}); it was left untouched").format(
                file=shown, tables=", ".join(sorted(others))
            )
        )
    if found is not None and found > LATEST:
        raise DatabaseUnfit(
            _("the database is of a newer Otvet (schema {version}, this program knows {latest}); update Otvet").format(
                version=found, latest=LATEST
            )
        )


def _migrate(connection: Connection, shown: str, now: datetime) -> None:
    tables = set(sa.inspect(connection).get_table_names())
    found = version(connection)
    if connection.dialect.name == "sqlite" and tables == FIRST_VERSION_TABLES:
        adopt(connection, _upgrade, now)
    else:
        _check_owner(shown, tables, found, others=tables & {"alembic_version", *metadata.tables})
        if found == LATEST:
            return
        _upgrade(connection)
    log.info("the database schema was brought up to date", before=found, now=LATEST)


def version(connection: Connection) -> str | None:
    """The version of the database's schema; None if it has no schema of Otvet."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return found


def _upgrade(connection: Connection) -> None:
    from alembic import command  # slow to import, and needed only for a migration
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
