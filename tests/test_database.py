import asyncio
import shutil
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError

from otvet.conversations.tables import clients
from otvet.errors import StorageError
from otvet.intake.quarantine import quarantine
from otvet.storage import keyvalue
from otvet.storage.database import Database
from otvet.storage.engines import PATIENCE
from otvet.storage.writer import LEAST_OTHERS_AT_ONCE, MOST_OTHERS_AT_ONCE, MOST_WAITING
from tests.databases import put_prepared

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
AMOCRM_WAITS = 2.0

Result = TypeVar("Result")


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    database = Database(put_prepared(tmp_path))
    yield database
    database.close()


@pytest.fixture
def postgresql(prepared_postgres_url: str) -> Iterator[Database]:
    database = Database(prepared_postgres_url)
    yield database
    database.close()


def run(database: Database, scenario: Callable[[], Awaitable[Result]]) -> Result:
    """Run a scenario with the writer at work."""

    async def running() -> Result:
        database.start()
        try:
            async with asyncio.timeout(30):
                return await scenario()
        finally:
            await database.writer.stop()

    return asyncio.run(running())


@asynccontextmanager
async def held(database: Database) -> AsyncIterator[None]:
    """Keep the writer busy, so that what is queued in the meantime waits together."""
    begun, released = threading.Event(), threading.Event()

    def hold(connection: Connection) -> None:
        begun.set()
        released.wait(10)

    holding = asyncio.ensure_future(database.write(hold))
    await asyncio.to_thread(begun.wait, 10)
    try:
        yield
    finally:
        released.set()
        await holding


async def all_held(database: Database, *writes: Callable[[Connection], Any]) -> list[Any]:
    """Queue writes while the writer is busy: what became of each."""
    async with held(database):
        waiting = [asyncio.ensure_future(database.write(write)) for write in writes]
        await asyncio.sleep(0)  # each has been queued
    return await asyncio.gather(*waiting, return_exceptions=True)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


def note(name: str) -> Callable[[Connection], str]:
    def write(connection: Connection) -> str:
        keyvalue.note(connection, name, "noted")
        return name

    return write


def note_and_fail(name: str, error: Exception) -> Callable[[Connection], None]:
    def write(connection: Connection) -> None:
        keyvalue.note(connection, name, "noted")
        raise error

    return write


def noted(database: Database) -> set[str]:
    return set(database.read_now(lambda connection: connection.scalars(sa.select(keyvalue.installation.c.name)).all()))


def commits_of(database: Database) -> list[Connection]:
    """A list that grows with each COMMIT from now on."""
    seen: list[Connection] = []
    event.listen(database.writes, "commit", seen.append)
    return seen


def locked(file: Path) -> sqlite3.Connection:
    """Another program in the middle of a write."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return connection


def file_of(database: Database) -> Path:
    return Path(database.writes.url.database or "")


# What a write promises.


def test_a_write_is_committed_when_it_returns(database: Database) -> None:
    async def scenario() -> tuple[str, set[str]]:
        return await database.write(note("a")), noted(database)

    assert run(database, scenario) == ("a", {"a"})


def test_an_error_of_a_write_is_told_and_undoes_it(database: Database) -> None:
    async def scenario() -> None:
        with pytest.raises(ValueError, match="wrong"):
            await database.write(note_and_fail("a", ValueError("wrong")))

    run(database, scenario)

    assert noted(database) == set()


def test_what_is_queued_is_carried_out_before_the_writer_stops(database: Database) -> None:
    async def running() -> None:
        database.start()
        waiting = [asyncio.ensure_future(database.write(note(name))) for name in "abc"]
        await asyncio.sleep(0)
        await database.writer.stop()
        assert await asyncio.gather(*waiting) == ["a", "b", "c"]

    asyncio.run(running())

    assert noted(database) == {"a", "b", "c"}


def test_a_writer_that_was_not_started_takes_nothing(sqlite: Database) -> None:
    with pytest.raises(RuntimeError):
        sqlite.writer.submit(lambda connection, items: items, 1)


def test_a_caller_that_goes_away_does_not_stop_its_write(database: Database) -> None:
    async def scenario() -> None:
        async with held(database):
            gone, other = (asyncio.ensure_future(database.write(note(name))) for name in ("gone", "other"))
            await asyncio.sleep(0)
            gone.cancel()
        assert await other == "other"

    run(database, scenario)

    assert noted(database) == {"gone", "other"}


# Shared commits.


def test_writes_that_wait_together_share_a_commit(database: Database) -> None:
    commits = commits_of(database)

    results = run(database, lambda: all_held(database, *(note(f"{number}") for number in range(30))))

    assert results == [f"{number}" for number in range(30)]
    assert len(noted(database)) == 30
    assert len(commits) == 2  # one for the write that the others waited for


def test_a_write_alone_has_a_commit_of_its_own(database: Database) -> None:
    commits = commits_of(database)

    async def scenario() -> None:
        for name in ("a", "b", "c"):
            await database.write(note(name))

    run(database, scenario)

    assert len(commits) == 3


def test_what_is_urgent_goes_before_all_others(database: Database) -> None:
    order: list[str] = []

    def store(_connection: Connection, items: Sequence[Any]) -> Sequence[Any]:
        order.append("urgent")
        return items

    async def scenario() -> None:
        async with held(database):
            others = [
                asyncio.ensure_future(database.write(lambda _connection: order.append("other"))) for _ in range(10)
            ]
            await asyncio.sleep(0)  # each has been queued
            urgent = database.writer.submit(store, 1, urgent=True)
        assert await urgent == 1
        await asyncio.gather(*others)

    run(database, scenario)
    assert order == ["urgent", *["other"] * 10]


def test_what_is_urgent_waits_for_only_a_few_others_that_have_begun(database: Database) -> None:
    order: list[str] = []
    urgent: list[asyncio.Future[Any]] = []

    def store(_connection: Connection, items: Sequence[Any]) -> Sequence[Any]:
        order.append("urgent")
        return items

    async def scenario() -> None:
        loop, queued = asyncio.get_running_loop(), threading.Event()

        def queue_something_urgent() -> None:
            urgent.append(database.writer.submit(store, 1, urgent=True))
            queued.set()

        def meanwhile(_connection: Connection) -> None:
            order.append("other")
            loop.call_soon_threadsafe(queue_something_urgent)
            assert queued.wait(10)

        async with held(database):
            others = [
                asyncio.ensure_future(database.write(work))
                for work in (meanwhile, *[lambda _connection: order.append("other")] * (MOST_OTHERS_AT_ONCE - 1))
            ]
            await asyncio.sleep(0)  # each has been queued
        await asyncio.gather(*others, *urgent)

    commits = commits_of(database)
    run(database, scenario)
    assert order.index("urgent") == LEAST_OTHERS_AT_ONCE
    assert len(order) == 1 + MOST_OTHERS_AT_ONCE
    assert len(commits) == 1 + 3  # the one that held them, the others in two parts, what is urgent between them


def test_a_commit_is_not_shared_by_too_many(sqlite: Database) -> None:
    commits = commits_of(sqlite)

    run(sqlite, lambda: all_held(sqlite, *([lambda connection: None] * (2 * MOST_OTHERS_AT_ONCE + 1))))

    assert len(commits) == 1 + 3


def test_items_of_the_same_work_are_given_to_it_together_and_in_their_order(database: Database) -> None:
    calls: list[tuple[str, list[int]]] = []

    def double(connection: Connection, items: Any) -> list[int]:
        calls.append(("double", list(items)))
        return [2 * item for item in items]

    def negate(connection: Connection, items: Any) -> list[int]:
        calls.append(("negate", list(items)))
        return [-item for item in items]

    async def scenario() -> list[Any]:
        async with held(database):
            waiting = [database.writer.submit(work, item) for work, item in jobs]
        return await asyncio.gather(*waiting)

    jobs = [(double, 1), (double, 2), (negate, 3), (double, 4)]

    assert run(database, scenario) == [2, 4, -3, 8]
    assert calls == [("double", [1, 2]), ("negate", [3]), ("double", [4])]


def test_too_many_waiting_writes_are_refused_at_once(sqlite: Database) -> None:
    async def scenario() -> list[Any]:
        async with held(sqlite):
            waiting = [sqlite.writer.submit(lambda connection, items: items, 1) for _ in range(MOST_WAITING + 1)]
            with pytest.raises(StorageError):
                sqlite.writer.submit(lambda connection, items: items, 1)
        return await asyncio.gather(*waiting)

    assert len(run(sqlite, scenario)) == MOST_WAITING + 1


# One at fault.


@pytest.mark.parametrize(
    "fail",
    [
        note_and_fail("bad", ValueError("wrong")),
        lambda connection: connection.execute(clients.insert(), [{"amocrm_contact_id": 7}] * 2),
    ],
    ids=["error", "refused row"],
)
def test_a_faulty_write_harms_no_other_of_its_commit(database: Database, fail: Callable[[Connection], Any]) -> None:
    first, bad, last = run(database, lambda: all_held(database, note("first"), fail, note("last")))

    assert (first, last) == ("first", "last")
    assert isinstance(bad, Exception)
    assert noted(database) == {"first", "last"}


def test_a_faulty_item_harms_no_other_of_the_same_work(database: Database) -> None:
    def add(connection: Connection, contacts: Any) -> list[int]:
        connection.execute(clients.insert(), [{"amocrm_contact_id": contact} for contact in contacts])
        return list(contacts)

    async def scenario() -> list[Any]:
        async with held(database):
            waiting = [database.writer.submit(add, contact) for contact in (1, 2, 2, 3)]
        return await asyncio.gather(*waiting, return_exceptions=True)

    first, second, again, last = run(database, scenario)

    assert (first, second, last) == (1, 2, 3)
    assert isinstance(again, IntegrityError)


def test_the_writer_goes_on_after_a_fault(database: Database) -> None:
    async def scenario() -> str:
        await asyncio.gather(database.write(note_and_fail("bad", ValueError())), return_exceptions=True)
        return await database.write(note("good"))

    assert run(database, scenario) == "good"


# When the database does not take it.


def test_a_lock_that_another_holds_is_told_in_time_for_amocrm(sqlite: Database) -> None:
    async def scenario() -> tuple[list[Any], float]:
        begun = time.monotonic()
        results = await asyncio.gather(*(sqlite.write(note(name)) for name in "ab"), return_exceptions=True)
        return results, time.monotonic() - begun

    with closing(locked(file_of(sqlite))):
        results, seconds = run(sqlite, scenario)

    assert all(isinstance(result, StorageError) and "locked" in str(result) for result in results)
    assert seconds < AMOCRM_WAITS
    assert noted(sqlite) == set()


def test_a_lock_that_is_given_up_in_time_is_waited_for(sqlite: Database) -> None:
    async def scenario() -> str:
        with closing(locked(file_of(sqlite))):
            writing = asyncio.ensure_future(sqlite.write(note("a")))
            await asyncio.sleep(0)
            await until(lambda: sqlite.writer.waiting == 0)
        return await writing

    assert run(sqlite, scenario) == "a"


def test_after_a_lock_was_told_writing_works_again(sqlite: Database) -> None:
    @event.listens_for(sqlite.writes, "checkout")
    def wait_less(connection: Any, _record: Any, _proxy: Any) -> None:
        connection.execute("PRAGMA busy_timeout = 20")

    async def scenario() -> str:
        with closing(locked(file_of(sqlite))), pytest.raises(StorageError):
            await sqlite.write(note("a"))
        return await sqlite.write(note("b"))

    assert run(sqlite, scenario) == "b"
    assert noted(sqlite) == {"b"}


def fill(connection: Connection) -> None:
    connection.execute(quarantine.insert().values(received_at=NOW, reason="", body=b"x" * 1_000_000))


def leave_pages(database: Database, count: int) -> None:
    """Let the disk have room for so many pages more, as far as SQLite can tell."""
    with database.writes.connect() as connection:
        used = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {used + count}")


def test_on_a_full_disk_nothing_is_half_written(sqlite: Database) -> None:
    leave_pages(sqlite, 10)

    results = run(sqlite, lambda: all_held(sqlite, note("a"), fill, note("b")))

    assert all(isinstance(result, StorageError) and "full" in str(result) for result in results)
    assert noted(sqlite) == set()


def test_when_the_disk_has_room_again_writing_works(sqlite: Database) -> None:
    async def scenario() -> str:
        leave_pages(sqlite, 10)
        with pytest.raises(StorageError):
            await sqlite.write(fill)
        leave_pages(sqlite, 1000)
        await sqlite.write(fill)
        return await sqlite.write(note("a"))

    assert run(sqlite, scenario) == "a"


def test_a_server_that_cuts_the_connection_is_told_and_found_again(postgresql: Database) -> None:
    def cut(connection: Connection) -> None:
        own = connection.scalar(sa.text("SELECT pg_backend_pid()"))
        with psycopg.connect(postgresql.url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", [own])
        keyvalue.note(connection, "cut", "noted")

    async def scenario() -> str:
        with pytest.raises(StorageError):
            await postgresql.write(cut)
        return await postgresql.write(note("a"))

    assert run(postgresql, scenario) == "a"
    assert noted(postgresql) == {"a"}


def test_a_connection_that_was_cut_in_a_quiet_moment_is_not_noticed(postgresql: Database) -> None:
    async def scenario() -> str:
        own = await postgresql.write(lambda connection: connection.scalar(sa.text("SELECT pg_backend_pid()")))
        with psycopg.connect(postgresql.url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 10000)", [own])
        return await postgresql.write(note("a"))

    assert run(postgresql, scenario) == "a"


def test_a_deadlock_with_another_process_is_resolved(postgresql: Database) -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()
    tries: list[int] = []

    def ours(connection: Connection) -> str:
        if tries:
            ended.wait(10)  # PostgreSQL looks for a deadlock once in each wait: the other one must not come too late
        tries.append(1)
        connection.exec_driver_sql("SET LOCAL deadlock_timeout = '5ms'")
        keyvalue.note(connection, "a", "ours")
        begun.set()
        go_on.wait(10)
        keyvalue.note(connection, "b", "ours")
        return "done"

    def theirs() -> None:
        with psycopg.connect(postgresql.url) as other:
            other.execute("SET LOCAL deadlock_timeout = '1min'")
            for name in ("b", "a"):
                other.execute("UPDATE installation SET value = 'theirs' WHERE name = %s", [name])

    def blocked() -> bool:
        waits = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(postgresql.read_now(lambda connection: connection.scalar(waits)))

    async def scenario() -> str:
        for name in ("a", "b"):
            await postgresql.write(note(name))
        writing = asyncio.ensure_future(postgresql.write(ours))
        await asyncio.to_thread(begun.wait, 10)
        other = asyncio.ensure_future(asyncio.to_thread(theirs))
        await until(blocked)
        go_on.set()
        await other
        return await writing

    assert run(postgresql, scenario) == "done"
    assert len(tries) == 2


# Reading.


def test_reading_does_not_wait_for_a_write(database: Database) -> None:
    async def scenario() -> set[str]:
        await database.write(note("a"))
        async with held(database):
            return await database.read(
                lambda connection: set(connection.scalars(sa.select(keyvalue.installation.c.name)))
            )

    assert run(database, scenario) == {"a"}


def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises((StorageError, DBAPIError), match=r"read.?only"):
        database.read_now(note("a"))

    assert noted(database) == set()


def test_reading_does_not_make_the_file(tmp_path: Path) -> None:
    file = tmp_path / "none.db"
    database = Database(f"sqlite:///{file}")

    with pytest.raises(StorageError):
        database.read_now(lambda connection: None)

    assert not file.exists()
    database.close()


def test_a_file_that_is_made_is_its_owners_alone(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "behind.db")
    with closing(Database(f"sqlite:///{tmp_path / 'link.db'}")) as database, database.writes.begin():
        modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}

    assert {"behind.db", "link.db"} <= set(modes)
    assert set(modes.values()) == {0o600}


def test_a_file_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "ours.db"
    file.touch()
    file.chmod(0o640)
    with closing(Database(f"sqlite:///{file}")) as database, database.writes.begin():
        assert file.stat().st_mode & 0o777 == 0o640


def test_after_a_quiet_moment_the_file_alone_is_whole(sqlite: Database, tmp_path: Path) -> None:
    journal = file_of(sqlite).with_name("conversations.db-wal")

    async def scenario() -> None:
        await sqlite.write(note("a"))
        await until(lambda: journal.stat().st_size == 0)
        shutil.copy(file_of(sqlite), tmp_path / "copy.db")

    run(sqlite, scenario)

    with closing(Database(f"sqlite:///{tmp_path / 'copy.db'}")) as copy:
        assert noted(copy) == {"a"}


# Values.


def test_a_table_is_part_of_the_transaction_that_made_it(database: Database) -> None:
    with database.writes.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE half (a integer)")
        connection.rollback()

    assert not database.read_now(lambda connection: sa.inspect(connection).has_table("half"))


@pytest.mark.parametrize("moment", [NOW, NOW.astimezone(timezone(timedelta(hours=7))), NOW.replace(microsecond=1)])
def test_a_moment_is_the_same_when_it_is_read(database: Database, moment: datetime) -> None:
    with database.writes.begin() as connection:
        connection.execute(quarantine.insert().values(received_at=moment, reason="", body=b""))

    found = database.read_now(lambda connection: connection.scalar(sa.select(quarantine.c.received_at)))
    assert found == moment
    assert found.utcoffset() == timedelta(0)


def test_a_moment_is_readable_in_the_file(sqlite: Database) -> None:
    with sqlite.writes.begin() as connection:
        connection.execute(quarantine.insert().values(received_at=NOW, reason="", body=b""))

    with closing(sqlite3.connect(file_of(sqlite))) as connection:
        assert connection.execute("SELECT received_at FROM quarantine").fetchone() == ("2026-01-05 09:00:00.000000",)


def test_json_is_readable_in_the_file(sqlite: Database) -> None:
    with sqlite.writes.begin() as connection:
        connection.execute(clients.insert().values(first_version={"name": "Мария"}))

    with closing(sqlite3.connect(file_of(sqlite))) as connection:
        assert connection.execute("SELECT first_version FROM clients").fetchone() == ('{"name":"Мария"}',)


def test_a_connection_to_postgresql_does_not_idle_in_a_transaction(postgresql: Database) -> None:
    for engine in (postgresql.writes, postgresql.reads):
        with engine.connect() as connection:
            assert connection.scalar(sa.text("SHOW idle_in_transaction_session_timeout")) == "5s"


def patience(url: str) -> dict[str, str]:
    """What libpq was told about a server that is silent."""
    with closing(Database(url)) as database, database.writes.connect() as connection:
        assert connection.scalar(sa.text("SHOW lock_timeout")) == "1500ms"  # of the 2 s that amoCRM waits
        told = connection.connection.driver_connection.info.get_parameters()  # type: ignore[union-attr]
        return {name: told[name] for name in PATIENCE if name in told}


def test_a_server_that_is_silent_is_taken_for_gone_within_seconds(postgres_url: str) -> None:
    assert patience(postgres_url) == PATIENCE
    own = make_url(postgres_url).update_query_dict({"tcp_user_timeout": "60000"})
    assert patience(own.render_as_string(hide_password=False)) == PATIENCE | {"tcp_user_timeout": "60000"}


@pytest.mark.parametrize(
    ("options", "idling"),
    [("-c statement_timeout=7s", "5s"), ("-c idle_in_transaction_session_timeout=9s -c statement_timeout=7s", "9s")],
)
def test_options_of_the_address_are_kept(postgres_url: str, options: str, idling: str) -> None:
    database = Database(with_options(postgres_url, options))
    with database.reads.connect() as connection:
        assert connection.scalar(sa.text("SHOW statement_timeout")) == "7s"
        assert connection.scalar(sa.text("SHOW idle_in_transaction_session_timeout")) == idling
    database.close()


def with_options(url: str, options: str) -> str:
    return make_url(url).update_query_dict({"options": options}).render_as_string(hide_password=False)
