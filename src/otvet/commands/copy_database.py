"""``otvet copy-database FROM TO``: copies a history to another database, usually from SQLite to PostgreSQL."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import sqlalchemy as sa
from rich.console import Console
from rich.progress import Progress
from sqlalchemy.engine import Connection

from otvet.account import vault
from otvet.errors import UsageError, os_reason
from otvet.i18n import _
from otvet.schema import upgrade
from otvet.settings.loading import load_settings
from otvet.settings.settings import Settings
from otvet.storage import heartbeats, single_instance
from otvet.storage.database import Database
from otvet.storage.engines import metadata

ROWS_AT_ONCE = 1000
OF_ONE_PLACE = frozenset(("processes", "rate_places", "gates", "consents", "watched", "search_position"))  # no history
MADE_BY_EVERY_START = frozenset(("installation", "counters"))


def copy(source_url: str, target_url: str) -> None:
    """Copy all tables in one transaction; the target must be empty, and the counts must agree at the end."""
    source_settings, target_settings = load_settings(database_url=source_url), load_settings(database_url=target_url)
    if source_settings.is_sqlite and not source_settings.sqlite_path.exists():
        raise UsageError(_("there is no database {file}").format(file=source_settings.sqlite_path))
    source, target = Database(source_url), Database(target_url)
    locks = ExitStack()
    try:
        _keep_others_out(locks, source_settings, target_settings)
        if source.read_now(upgrade.version) != upgrade.LATEST:
            raise UsageError(
                _("{url} is not of this version; start and stop Otvet with it first").format(
                    url=source_settings.shown_url
                )
            )
        upgrade.prepare(target, datetime.now(UTC))
        console = Console()
        with (
            _snapshot(source) as reading,
            _snapshot(target, to_write=True) as writing,
            Progress(console=console) as progress,
        ):
            _refuse_unless_empty(writing, target_settings.shown_url)
            counts = {table.name: _copy_table(reading, writing, table, progress) for table in _tables()}
            _check_counts(writing, counts)
            _number_on(writing)
        for name, count in counts.items():
            console.print(f"  {name}: {count}")
        for line in _bring_key(source_settings, target_settings, has_tokens=counts["tokens"] > 0):
            console.print(line, markup=False, soft_wrap=True)
        console.print(
            _("copied to {url}; set OTVET_DATABASE_URL to it and start Otvet").format(url=target_settings.shown_url)
        )
    finally:
        source.close()
        target.close()
        locks.close()


def _keep_others_out(locks: ExitStack, source: Settings, target: Settings) -> None:
    """Lock both files: a running server could store more in the source. DatabaseUnfit if one runs."""
    if source.is_sqlite and (lock := single_instance.lock_if_there(source.sqlite_path)):
        locks.enter_context(lock)
    if target.is_sqlite and target.sqlite_path != source.sqlite_path:
        locks.enter_context(single_instance.lock(target.sqlite_path))


@contextmanager
def _snapshot(database: Database, *, to_write: bool = False) -> Iterator[Connection]:
    """A transaction with a snapshot of all tables; on SQLite every transaction is one."""
    engine = database.writes if to_write else database.reads
    if not database.is_sqlite:
        engine = engine.execution_options(isolation_level="REPEATABLE READ")
    with engine.begin() as connection:
        if not database.is_sqlite and not to_write:
            _refuse_if_alive(connection, database)
        yield connection


def _refuse_if_alive(connection: Connection, database: Database) -> None:
    if heartbeats.alive(connection, datetime.now(UTC)):
        raise UsageError(
            _("Otvet is running on {url}, or ran seconds ago; stop it and try again, nothing was copied").format(
                url=database.shown_url
            )
        )


def _tables() -> Iterator[sa.Table]:
    """Parents before children."""
    return (table for table in metadata.sorted_tables if table.name not in OF_ONE_PLACE)


def _bring_key(source: Settings, target: Settings, *, has_tokens: bool) -> Iterator[str]:
    """Copy the key file with which the tokens are decrypted; yields sentences about the result."""
    file, place = source.key_file, target.key_file
    if source.secret_key or not (has_tokens or file.exists()):
        return  # the key is a setting, or there is none
    try:
        brought = vault.bring(file, place)
    except (OSError, UnicodeDecodeError) as error:
        sentence = _(
            "the key of the tokens could not be copied from {file} to {place} ({cause}): copy it yourself, or connect "
            "anew with: otvet connect"
        )
        yield sentence.format(file=file, place=place, cause=os_reason(error))
        return
    if not brought:
        sentence = _(
            "{place} holds another key and was left as it is; the tokens need the one in {file}: set "
            "OTVET_SECRET_KEY to what is in that file"
        )
        yield sentence.format(place=place, file=file)
    elif file.resolve() != place.resolve():
        yield _("the key of the tokens is copied to {place}").format(place=place)
    if not target.is_sqlite:
        sentence = _(
            "each machine needs the key that is in {file}: as OTVET_SECRET_KEY, or in the file {place} of its working "
            "directory"
        )
        yield sentence.format(file=file, place=place)


def _refuse_unless_empty(connection: Connection, url: str) -> None:
    for table in _tables():
        if table.name in MADE_BY_EVERY_START:
            connection.execute(table.delete())
        elif connection.scalar(sa.select(sa.exists().select_from(table))):
            raise UsageError(_("{url} is not empty; nothing was copied").format(url=url))


def _copy_table(reading: Connection, writing: Connection, table: sa.Table, progress: Progress) -> int:
    total = reading.scalar(sa.select(sa.func.count()).select_from(table)) or 0
    task = progress.add_task(table.name, total=max(total, 1))  # with a total of 0 the bar would stay at 0%
    rows = iter(reading.execution_options(yield_per=ROWS_AT_ONCE).execute(sa.select(table)).mappings())
    while some := [dict(row) for row in islice(rows, ROWS_AT_ONCE)]:
        writing.execute(table.insert(), some)
        progress.advance(task, len(some))
    progress.update(task, completed=max(total, 1))
    return total


def _check_counts(connection: Connection, counts: dict[str, int]) -> None:
    for name, count in counts.items():
        found = connection.scalar(sa.select(sa.func.count()).select_from(metadata.tables[name]))
        if found != count:
            raise UsageError(
                _("{table}: {count} rows were read and {found} arrived; nothing was copied").format(
                    table=name, count=count, found=found
                )
            )


def _number_on(connection: Connection) -> None:
    """Set PostgreSQL's sequences behind the copied ids: an INSERT with an id does not move them."""
    if connection.dialect.name != "postgresql":
        return
    for table in _tables():
        key: sa.Column[Any] | None = table.c.get("id")
        if key is not None and isinstance(key.type, sa.BigInteger):
            last = sa.select(sa.func.coalesce(sa.func.max(key), 0) + 1).scalar_subquery()
            sequence = sa.func.pg_get_serial_sequence(table.name, "id")
            connection.execute(sa.select(sa.func.setval(sequence, last, False)))
