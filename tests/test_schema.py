import itertools
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, OperationalError
from structlog.testing import capture_logs

from otvet.conversations.tables import chats, messages
from otvet.errors import DatabaseUnfit
from otvet.schema import upgrade
from otvet.schema.upgrade import LATEST, prepare
from otvet.storage import keyvalue
from otvet.storage.database import Database
from otvet.storage.engines import UtcDateTime, metadata
from tests.running import wait_for

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
THREE_TABLES = "CREATE TABLE clients ({}); CREATE TABLE conversations ({}); CREATE TABLE messages ({});"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder / "conversations.db"


def start(file: Path) -> None:
    with closing(Database(f"sqlite:///{file}")) as database:
        prepare(database, NOW)


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every file of a folder, byte for byte."""
    return {path.name: path.read_bytes() if path.is_file() else None for path in folder.iterdir()}


def tables(database: Database) -> set[str]:
    found = database.read_now(lambda connection: sa.inspect(connection).get_table_names())
    return {name for name in found if not_of_the_search(name)}


def not_of_the_search(name: str | None, kind: str = "table", _where: object = None) -> bool:
    """Each database has an index of its own kind there; see ``otvet.search.index``."""
    return kind != "table" or not (name or "").startswith("search_index")


def set_version(database: Database, version: str) -> None:
    with database.writes.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :version"), {"version": version})


def test_the_migrations_make_the_tables_that_the_code_knows(database: Database) -> None:
    def differences(connection: sa.Connection) -> list[Any]:
        options = {"compare_type": True, "compare_server_default": True, "include_name": not_of_the_search}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

    assert database.read_now(differences) == []


def rules(connection: sa.Connection, place: str | None = None) -> set[Any]:
    """What compare_metadata does not look at: checks, and the conditions of partial indexes."""
    inspector = sa.inspect(connection)
    found: set[Any] = set()
    for table in metadata.tables:
        for check in inspector.get_check_constraints(table, schema=place):
            found.add((table, check["name"], check["sqltext"]))
        for index in inspector.get_indexes(table, schema=place):
            options = {name: str(value) for name, value in index["dialect_options"].items()}
            found.add((index["name"], *index["column_names"], bool(index["unique"]), str(options)))
    return found


def test_the_schema_knows_every_table_by_itself(database: Database) -> None:
    """Whatever a command imported before: a table that is not known is not copied."""
    known = "from otvet.schema.upgrade import metadata; print(*metadata.tables, sep='\\n')"
    printed = subprocess.run([sys.executable, "-c", known], capture_output=True, text=True, check=True).stdout
    assert set(printed.split()) | {"alembic_version"} == tables(database)


def test_the_migrations_make_the_same_rules_on_sqlite(file: Path) -> None:
    start(file)
    made = sa.create_engine("sqlite://")
    metadata.create_all(made)

    with made.connect() as connection, closing(Database(f"sqlite:///{file}")) as database:
        assert database.read_now(rules) == rules(connection)


def test_the_migrations_make_the_same_rules_on_postgresql(postgres_url: str) -> None:
    database = Database(postgres_url)
    prepare(database, NOW)
    with database.writes.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA made")
        metadata.create_all(connection.execution_options(schema_translate_map={None: "made"}))

    assert database.read_now(rules) == database.read_now(lambda connection: rules(connection, "made"))
    database.close()


def test_latest_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(upgrade.__file__).with_name("migrations")))

    assert ScriptDirectory.from_config(config).get_current_head() == LATEST


def test_a_new_database_is_at_the_latest_version(database: Database) -> None:
    assert database.read_now(upgrade.version) == LATEST


def test_a_database_without_a_schema_has_no_version(database_url: str) -> None:
    database = Database(database_url)
    with database.writes.connect() as connection:
        assert upgrade.version(connection) is None
    database.close()


def test_the_next_start_changes_nothing(database: Database) -> None:
    with database.writes.begin() as connection:
        keyvalue.note(connection, "name", "kept")
    before = tables(database)

    with capture_logs() as log:
        prepare(database, NOW)

    assert tables(database) == before
    assert log == []
    assert database.read_now(lambda connection: keyvalue.recall(connection, "name")) == "kept"


def test_a_newer_schema_is_refused(database: Database) -> None:
    set_version(database, "9999")

    with pytest.raises(DatabaseUnfit, match="newer Otvet"):
        prepare(database, NOW)

    assert database.read_now(upgrade.version) == "9999"


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_file_of_a_newer_schema_is_left_byte_for_byte(file: Path, mode: str) -> None:
    start(file)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    before = contents(file.parent)

    with pytest.raises(DatabaseUnfit, match="newer Otvet"):
        start(file)

    assert contents(file.parent) == before


def test_an_empty_file_is_welcome(file: Path) -> None:
    file.touch()

    start(file)

    with closing(Database(f"sqlite:///{file}")) as database:
        assert database.read_now(upgrade.version) == LATEST


def test_the_folder_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnfit, match=r"folder .*nowhere does not exist"):
        start(tmp_path / "nowhere" / "conversations.db")

    assert list(tmp_path.iterdir()) == []


def foreign(script: str) -> Callable[[Path], None]:
    def write(file: Path) -> None:
        with closing(sqlite3.connect(file)) as connection:
            connection.executescript(script)
            connection.execute("INSERT INTO users VALUES (1)") if "users" in script else None
            connection.commit()

    return write


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda file: file.write_bytes(b"hi"), "not a SQLite database"),
        (lambda file: file.write_bytes(b"Dear diary, " * 1000), "not a SQLite database"),
        (lambda file: file.write_bytes(b"SQLite format 3\x00" + b"x" * 5000), "not a SQLite database"),
        (lambda file: file.mkdir(), "cannot be opened"),
        (foreign("CREATE TABLE users (id)"), "another program .*users"),
        (foreign("PRAGMA journal_mode = WAL; CREATE TABLE users (id)"), "another program"),
        (foreign("CREATE TABLE users (id); " + THREE_TABLES.format("id", "id", "id")), "another program"),
        (foreign(THREE_TABLES.format("uid", "title", "body")), "another program"),
        (foreign("CREATE TABLE users (id); CREATE TABLE alembic_version (version_num)"), "another program"),
        (
            foreign(
                f"CREATE TABLE users (id); CREATE TABLE alembic_version (version_num);"
                f"INSERT INTO alembic_version VALUES ('{LATEST}')"
            ),
            "another program",
        ),
        (foreign("CREATE TABLE users (id); CREATE TABLE alembic_version (other)"), "another program"),
    ],
    ids=[
        "tiny",
        "text",
        "broken",
        "folder",
        "tables",
        "wal",
        "more tables",
        "same names",
        "no version",
        "same version",
        "other version",
    ],
)
def test_a_file_of_something_else_is_left_byte_for_byte(file: Path, write: Callable[[Path], None], reason: str) -> None:
    write(file)
    before = contents(file.parent)

    with pytest.raises(DatabaseUnfit, match=reason) as refusal:
        start(file)

    assert contents(file.parent) == before
    assert str(file) in str(refusal.value)


def test_a_locked_file_is_told(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")

        with pytest.raises(DatabaseUnfit, match="locked"):
            start(file)


# PostgreSQL.


def test_starts_at_the_same_time_do_not_disturb_each_other(postgres_url: str) -> None:
    together = threading.Barrier(4)
    errors: list[Exception] = []

    def begin() -> None:
        with closing(Database(postgres_url)) as database:
            together.wait()
            try:
                prepare(database, NOW)
            except Exception as error:
                errors.append(error)

    starts = [threading.Thread(target=begin, daemon=True) for _ in range(4)]
    for one in starts:
        one.start()
    for one in starts:
        one.join(timeout=30)

    assert errors == []
    assert not any(one.is_alive() for one in starts)
    with closing(Database(postgres_url)) as database:
        assert database.read_now(upgrade.version) == LATEST


PREVIOUS = f"{int(LATEST) - 1:04}"


@pytest.fixture
def older(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a database that the version before has left."""
    monkeypatch.setattr(upgrade, "PAUSE_SECONDS", 0.01)
    with closing(Database(postgres_url)) as database, database.writes.begin() as connection:
        migrate_to(connection, PREVIOUS)
        connection.execute(sa.text("INSERT INTO clients (id) VALUES (1)"))
        connection.execute(sa.text("INSERT INTO conversations (client_id, last_activity) VALUES (1, now())"))
    return postgres_url


SAY = sa.text(
    "INSERT INTO messages (conversation_id, sender_type, content, metadata, timestamp)"
    " SELECT id, 'client', :text, '{}', now() FROM conversations RETURNING id"
)


def test_a_migration_gives_way_to_whom_it_would_wait_for(older: str) -> None:
    with_timeouts = make_url(older).update_query_dict({"options": "-c lock_timeout=100ms"})
    with (
        closing(Database(older)) as other,
        closing(Database(with_timeouts.render_as_string(hide_password=False))) as database,
        ThreadPoolExecutor(1) as pool,
    ):
        with other.writes.begin() as connection:
            connection.exec_driver_sql("LOCK TABLE turns IN ROW EXCLUSIVE MODE")
            starting = pool.submit(prepare, database, NOW)
            waits = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            wait_for(lambda: other.read_now(lambda looking: looking.scalar(waits)), "a migration that waits")
            connection.execute(SAY, {"text": "hello"})  # not a deadlock with it
        starting.result(30)
        assert database.read_now(upgrade.version) == LATEST


def test_starts_at_the_same_time_bring_an_older_schema_up_to_date_while_an_old_process_serves(older: str) -> None:
    stopping = threading.Event()
    stored: list[str] = []

    def serve() -> None:
        with closing(Database(older)) as database:
            for number in itertools.count():
                if stopping.is_set():
                    return
                with suppress(OperationalError):  # as after a 503
                    with database.writes.begin() as connection:
                        connection.execute(SAY, {"text": f"{number}"})
                    stored.append(f"{number}")

    def begin() -> None:
        with closing(Database(older)) as database:
            prepare(database, NOW)

    with ThreadPoolExecutor(4) as pool:
        serving = pool.submit(serve)
        wait_for(lambda: len(stored) > 10, "an old process at work")
        for one in [pool.submit(begin) for _ in range(3)]:
            one.result(30)
        migrated = len(stored)
        wait_for(lambda: len(stored) > migrated + 10, "an old process that goes on")
        stopping.set()
        serving.result(30)

    with closing(Database(older)) as database:
        assert database.read_now(upgrade.version) == LATEST
        said = sa.text("SELECT content FROM messages ORDER BY id")
        assert database.read_now(lambda connection: connection.scalars(said).all()) == stored


@pytest.mark.parametrize("taken", ["clients (uid integer)", "alembic_version (version_num varchar(32))"])
def test_tables_of_another_program_on_postgresql_are_left_alone(postgres_url: str, taken: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute(f"CREATE TABLE {taken}")
    database = Database(postgres_url)

    with pytest.raises(DatabaseUnfit, match=f"another program .*{taken.partition(' ')[0]}"):
        prepare(database, NOW)

    assert tables(database) == {taken.partition(" ")[0]}
    database.close()


def test_old_tables_on_postgresql_are_not_taken_for_the_first_version(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute(
            THREE_TABLES.format(
                "id integer, amocrm_contact_id integer",
                "id integer, client_id integer, amocrm_lead_id integer",
                "id integer, conversation_id integer, sender_type text, content text",
            )
        )
    database = Database(postgres_url)

    with pytest.raises(DatabaseUnfit, match="another program"):
        prepare(database, NOW)

    assert tables(database) == {"clients", "conversations", "messages"}
    database.close()


def test_other_tables_on_postgresql_are_good_neighbours(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE spatial_ref_sys (id integer)")
    database = Database(postgres_url)

    prepare(database, NOW)

    assert tables(database) > {"spatial_ref_sys", "messages"}
    database.close()


def test_a_user_without_rights_is_told(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS guest")
        connection.execute("CREATE ROLE guest LOGIN")
    database = Database(postgres_url.replace("postgres:", "guest:").replace("user=postgres", "user=guest"))

    with pytest.raises(DatabaseUnfit, match="permission denied"):
        prepare(database, NOW)

    database.close()


def test_a_server_that_is_not_there_is_told_without_the_password() -> None:
    database = Database("postgresql://user:hidden@127.0.0.1:1/none")

    with pytest.raises(DatabaseUnfit, match="cannot be opened") as refusal:
        prepare(database, NOW)

    assert "hidden" not in str(refusal.value)
    database.close()


def migrate_to(connection: sa.Connection, to: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(upgrade.__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    command.upgrade(config, to)


def test_messages_are_kept_when_their_ids_become_those_of_a_chat(database_url: str) -> None:
    database = Database(database_url)
    kept = sa.text(
        "SELECT id, conversation_id, sender_type, content, message_type, amocrm_message_id, amocrm_contact_id,"
        " amocrm_chat_id, amocrm_talk_id, chat_ref, turn_id, first_version IS NULL FROM messages ORDER BY id"
    )
    add = sa.text(
        "INSERT INTO messages (id, conversation_id, sender_type, content, message_type, metadata, timestamp,"
        " amocrm_message_id, amocrm_contact_id, amocrm_chat_id, amocrm_talk_id, chat_ref, turn_id)"
        " VALUES (:id, 1, 'client', :text, 'text', :about, '2026-01-05 09:00:00', :key, 7, :chat, '31', :chat, 1)"
    )
    with database.writes.begin() as connection:
        migrate_to(connection, "0011")
        connection.execute(sa.text("INSERT INTO clients (id) VALUES (1)"))
        connection.execute(
            sa.text("INSERT INTO conversations (id, client_id, last_activity) VALUES (1, 1, '2026-01-05 09:00:00')")
        )
        connection.execute(
            sa.text(
                "INSERT INTO turns (id, conversation_id, first_message_at, last_message_at)"
                " VALUES (1, 1, '2026-01-05 09:00:00', '2026-01-05 09:00:00')"
            )
        )
        for id_, key, chat in ((3, "a", "one"), (8, "b", "two"), (9, None, None), (12, "c", None)):
            row = {"id": id_, "text": f"text {id_}", "about": '{"raw": {"x": "1"}}', "key": key, "chat": chat}
            connection.execute(add, row)
        before = connection.execute(kept).all()
    prepare(database, NOW)

    with database.writes.begin() as connection:
        assert connection.execute(kept).all() == before
        assert {row.metadata["raw"]["x"] for row in connection.execute(sa.select(messages.c.metadata))} == {"1"}
        new = {"text": "new", "about": "{}"}
        connection.execute(add, {**new, "id": 20, "key": "a", "chat": "two"})  # the same id in another chat
        with pytest.raises(IntegrityError), connection.begin_nested():
            connection.execute(add, {**new, "id": 21, "key": "a", "chat": "one"})
        with pytest.raises(IntegrityError), connection.begin_nested():
            connection.execute(add, {**new, "id": 22, "key": "c", "chat": None})
    database.close()


def test_the_chats_of_older_messages_are_known(database_url: str) -> None:
    database = Database(database_url)
    with database.writes.begin() as connection:
        migrate_to(connection, "0002")
        connection.execute(sa.text("INSERT INTO clients (id) VALUES (1)"))
        for id_, status in ((1, "active"), (2, "active"), (3, "completed")):
            values = {"id": id_, "status": status, "at": NOW}
            connection.execute(
                sa.text(
                    "INSERT INTO conversations (id, client_id, amocrm_lead_id, status, last_activity)"
                    " VALUES (:id, 1, :id, :status, :at)"
                ).bindparams(sa.bindparam("at", type_=UtcDateTime)),
                values,
            )
        said = (
            (1, "one", None, None),
            (1, "two", "9", 7),
            (2, "one", None, None),
            (3, "three", None, None),
            (2, None, "31", 7),
            (2, None, None, 8),
            (2, None, None, None),
        )
        for conversation, chat, talk, contact in said:
            connection.execute(
                sa.text(
                    "INSERT INTO messages (conversation_id, sender_type, content, metadata, timestamp,"
                    " amocrm_chat_id, amocrm_talk_id, amocrm_contact_id)"
                    " VALUES (:conversation, 'client', '', '{}', :at, :chat, :talk, :contact)"
                ).bindparams(sa.bindparam("at", type_=UtcDateTime)),
                {"conversation": conversation, "at": NOW, "chat": chat, "talk": talk, "contact": contact},
            )
    prepare(database, NOW)
    found = database.read_now(
        lambda connection: {row.chat_ref: row.conversation_id for row in connection.execute(sa.select(chats))}
    )
    assert found == {"one": 2, "two": 1, "talk:31": 2, "contact:8": 2}
    database.close()


def test_what_manus_told_of_its_tasks_is_dropped(database_url: str) -> None:
    database = Database(database_url)
    with database.writes.begin() as connection:
        migrate_to(connection, "0009")
        told = sa.table("task_stops", sa.column("delivery"), sa.column("task"), sa.column("at", UtcDateTime))
        connection.execute(told.insert(), [{"delivery": text, "task": "t", "at": NOW} for text in ("one", "two")])
        for name in ("manus_webhook.1a2b", "manus_project.1a2b.3c4d", "manusXwebhook.1a2b", "webhook_secret"):
            keyvalue.note(connection, name, "value")
    prepare(database, NOW)
    assert "task_stops" not in tables(database)
    names = sa.select(keyvalue.installation.c.name).order_by(keyvalue.installation.c.name)
    left = database.read_now(lambda connection: connection.scalars(names).all())
    assert set(left) == {"manus_project.1a2b.3c4d", "manusXwebhook.1a2b", "webhook_secret"}
    database.close()
