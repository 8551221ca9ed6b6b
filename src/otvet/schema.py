"""The database made ready at start: what it is, adopted, migrated; or left untouched with a clear error."""

import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError

# Imported for their tables: together they are the schema.
from otvet import conversations, counters, inbox, installation, tries, turns  # noqa: F401
from otvet.database import Database, metadata
from otvet.errors import DatabaseUnfit
from otvet.first_version import FIRST_VERSION_TABLES, adopt, set_aside
from otvet.i18n import _

__all__ = ["LATEST", "metadata", "prepare", "version"]

log = structlog.get_logger(__name__)

LATEST = "0001"
"""The newest migration. Known here so that a start with nothing to do need not load Alembic."""

_MIGRATION_LOCK = 7_305_817_263  # any number that nobody else takes on the same PostgreSQL


def prepare(database: Database, now: datetime) -> None:
    """Bring the database to the latest schema in one transaction; raises DatabaseUnfit and changes nothing."""
    if database.is_sqlite:
        _check_file(Path(database.writes.url.database or ""), now)
    try:
        with database.writes.begin() as connection:
            if not database.is_sqlite:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            _migrate(connection)
    except OperationalError as error:
        raise DatabaseUnfit(
            _("the database {url} cannot be opened: {cause}").format(
                url=database.writes.url.render_as_string(hide_password=True), cause=str(error.orig).strip()
            )
        ) from error


def _check_file(path: Path, now: datetime) -> None:
    """Before anything is written: an empty file and our own are welcome, a first-version one is copied aside."""
    if not path.parent.is_dir():
        raise DatabaseUnfit(_("the folder {folder} does not exist").format(folder=path.parent.absolute()))
    if not path.exists() or path.stat().st_size == 0:
        return
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        try:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        except sqlite3.DatabaseError as error:
            raise DatabaseUnfit(
                _("{file} is not a SQLite database ({cause}); it was left untouched").format(file=path, cause=error)
            ) from error
    ours = {name for name in tables if not name.startswith("sqlite_")}
    if ours == FIRST_VERSION_TABLES:
        copy = set_aside(path, now)
        log.info("a database of the first version was copied aside", copy=str(copy))
    elif ours and "alembic_version" not in ours:
        raise DatabaseUnfit(
            _("{file} belongs to another program (it has the tables {tables}); it was left untouched").format(
                file=path, tables=", ".join(sorted(ours))
            )
        )


def _migrate(connection: Connection) -> None:
    found = version(connection)
    if found == LATEST:
        return
    if found is not None and found > LATEST:
        raise DatabaseUnfit(
            _("the database is of a newer Otvet (schema {version}, this program knows {latest}); update Otvet").format(
                version=found, latest=LATEST
            )
        )
    if set(sa.inspect(connection).get_table_names()) == FIRST_VERSION_TABLES:
        adopt(connection, _upgrade)
    else:
        _upgrade(connection)
    log.info("the database schema was brought up to date", before=found, now=LATEST)


def version(connection: Connection) -> str | None:
    """The schema that the database has, or None if it has none of ours."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return found


def _upgrade(connection: Connection) -> None:
    from alembic import command  # slow to import, and only needed when there is something to do
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
