import json
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Connection, Row

from otvet.amocrm.events import read_delivery
from otvet.amocrm.form import build
from otvet.conversations.messages import of_lead
from otvet.conversations.tables import clients, conversations, messages
from otvet.errors import DatabaseUnfit
from otvet.intake.inbox import Received, store
from otvet.schema.first_version import adopt
from otvet.schema.upgrade import LATEST, prepare, version
from otvet.storage.database import Database
from tests.forked import Forked

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
LATER = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
COPY = "conversations.db.before-20260105-090000"

NUMBERS = """
    CREATE TABLE clients (
        id INTEGER PRIMARY KEY AUTOINCREMENT, amocrm_contact_id INTEGER UNIQUE, name TEXT, phone TEXT, email TEXT
    );
    CREATE TABLE conversations (
        id INTEGER PRIMARY KEY AUTOINCREMENT, client_id INTEGER NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
        amocrm_lead_id INTEGER, status TEXT DEFAULT 'active', last_activity TIMESTAMP DEFAULT CURRENT_TIMESTAMP
    );
    CREATE TABLE messages (
        id INTEGER PRIMARY KEY AUTOINCREMENT, conversation_id INTEGER NOT NULL, sender_type TEXT NOT NULL,
        content TEXT NOT NULL, message_type TEXT DEFAULT 'text', metadata TEXT, timestamp TIMESTAMP,
        FOREIGN KEY (conversation_id) REFERENCES conversations (id)
    );
    CREATE INDEX ix_messages_turn_id ON messages (conversation_id);
    CREATE UNIQUE INDEX uq_conversations_active_lead ON conversations (id, amocrm_lead_id);
    CREATE INDEX ix_lower ON clients (lower(name));
"""
TEXTS = """
    CREATE TABLE clients (id TEXT PRIMARY KEY, amocrm_contact_id TEXT, name TEXT, phone TEXT, email TEXT);
    CREATE TABLE conversations (
        id TEXT PRIMARY KEY, client_id TEXT REFERENCES clients (id), amocrm_lead_id TEXT, status TEXT,
        last_activity TEXT
    );
    CREATE TABLE messages (
        id TEXT PRIMARY KEY, conversation_id TEXT REFERENCES conversations (id), sender_type TEXT, content TEXT,
        message_type TEXT, metadata TEXT, timestamp TEXT
    );
"""
BARE = """
    CREATE TABLE clients (id, amocrm_contact_id, name, phone, email);
    CREATE TABLE conversations (id, client_id, amocrm_lead_id, status, last_activity);
    CREATE TABLE messages (id, conversation_id, sender_type, content, message_type, metadata, timestamp);
"""
TABLES = ("clients", "conversations", "messages")

Old = Mapping[str, Any]


def client(id_: Any = 1, **changes: Any) -> Old:
    given = {"amocrm_contact_id": 7, "name": "Client 1", "phone": "+70000000001", "email": "client@example.ru"}
    return {"id": id_, **given, **changes}


def conversation(id_: Any = 1, **changes: Any) -> Old:
    given = {"client_id": 1, "amocrm_lead_id": 5, "status": "active", "last_activity": "2025-03-01 10:00:00"}
    return {"id": id_, **given, **changes}


def message(id_: Any = 1, **changes: Any) -> Old:
    given = {
        "conversation_id": 1,
        "sender_type": "client",
        "content": "Hello",
        "message_type": "text",
        "metadata": '{"amocrm_lead_id": 5, "source": "amocrm_webhook"}',
        "timestamp": "2025-03-01 10:00:00.250000",
    }
    return {"id": id_, **given, **changes}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "conversations.db"


def write(file: Path, *rows: Old, tables: str = BARE) -> None:
    """A file of the first version; a row's table is told by its columns."""
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.executescript(tables)
        fill(connection, rows)


def fill(connection: sqlite3.Connection, rows: Sequence[Old]) -> None:
    for row in rows:
        table = "messages" if "content" in row else "conversations" if "client_id" in row else "clients"
        places = ", ".join("?" for _value in row)
        connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", list(row.values()))


@pytest.fixture
def database(file: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{file}")
    yield database
    database.close()


def adopted(database: Database) -> dict[str, Sequence[Row[Any]]]:
    """Start on the file; then today's rows of the three tables by their names."""
    prepare(database, NOW)
    return database.read_now(
        lambda connection: {
            table.name: connection.execute(sa.select(table).order_by(table.c.id)).all()
            for table in (clients, conversations, messages)
        }
    )


def dump(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        return list(connection.iterdump())


@pytest.mark.parametrize("tables", [NUMBERS, TEXTS, BARE], ids=["numbers", "texts", "bare"])
def test_rows_move_with_their_ids_and_values(file: Path, database: Database, tables: str) -> None:
    write(
        file,
        client(3),
        conversation(4, client_id=3),
        message(5, conversation_id=4),
        message(6, conversation_id=4, sender_type="assistant", content="Hi!"),
        tables=tables,
    )
    found = adopted(database)

    (one,) = found["clients"]
    assert (one.id, one.amocrm_contact_id, one.name) == (3, 7, "Client 1")
    assert (one.phone, one.email) == ("+70000000001", "client@example.ru")
    (talk,) = found["conversations"]
    assert (talk.id, talk.client_id, talk.amocrm_lead_id, talk.status) == (4, 3, 5, "active")
    assert talk.last_activity == datetime(2025, 3, 1, 10, tzinfo=UTC)
    asked, answered = found["messages"]
    assert (asked.id, asked.conversation_id, asked.sender_type, asked.content) == (5, 4, "client", "Hello")
    assert (asked.message_type, asked.timestamp) == ("text", datetime(2025, 3, 1, 10, 0, 0, 250_000, UTC))
    assert asked.metadata == {"amocrm_lead_id": 5, "source": "amocrm_webhook"}
    assert (answered.id, answered.sender_type, answered.content) == (6, "assistant", "Hi!")
    assert database.read_now(version) == LATEST


@pytest.mark.parametrize("tables", [TEXTS, BARE], ids=["texts", "bare"])
def test_text_ids_become_numbers_and_still_belong_together(file: Path, database: Database, tables: str) -> None:
    write(
        file,
        client("8", name="number"),
        client("c-1", name="text", amocrm_contact_id="9"),
        conversation("t-1", client_id="c-1", amocrm_lead_id="5"),
        conversation("t-2", client_id="8", amocrm_lead_id="6"),
        message("m-1", conversation_id="t-2", content="to two"),
        message("m-2", conversation_id="t-1", content="to one"),
        tables=tables,
    )
    found = adopted(database)

    assert [(row.id, row.name) for row in found["clients"]] == [(8, "number"), (9, "text")]
    names = {row.id: row.name for row in found["clients"]}
    leads = {row.id: row.amocrm_lead_id for row in found["conversations"]}
    assert {row.amocrm_lead_id: names[row.client_id] for row in found["conversations"]} == {5: "text", 6: "number"}
    assert {row.content: leads[row.conversation_id] for row in found["messages"]} == {"to one": 5, "to two": 6}


def test_a_reference_may_be_written_in_another_type(file: Path, database: Database) -> None:
    write(file, client(1), conversation("2", client_id="1"), message(3, conversation_id=2))
    found = adopted(database)

    assert found["conversations"][0].client_id == 1
    assert found["messages"][0].conversation_id == 2


def test_each_row_keeps_its_original(file: Path, database: Database) -> None:
    rows = [client("c-1"), conversation("t-1", client_id="c-1"), message("m-1", conversation_id="t-1", metadata="{")]
    write(file, *rows)
    found = adopted(database)

    assert [found[table][0].first_version for table in TABLES] == rows


def test_a_conversation_goes_on_where_it_was(file: Path, database: Database) -> None:
    write(file, client(), conversation(), message(1, content="before"), tables=NUMBERS)
    adopted(database)
    entry = {"id": "a", "chat_id": "chat", "contact_id": 7, "entity_type": "lead", "entity_id": 5, "text": "after"}
    body = build({"message": {"add": [entry]}})

    with database.writes.begin() as connection:
        store(connection, [Received(body, read_delivery(body, NOW), NOW)])
        found = connection.execute(sa.select(messages).where(of_lead(5)).order_by(messages.c.id)).all()
        known = connection.scalars(sa.select(clients.c.id)).all()

    assert [(row.content, row.conversation_id) for row in found] == [("before", 1), ("after", 1)]
    assert known == [1]


def test_an_empty_file_of_the_first_version_is_adopted(file: Path, database: Database) -> None:
    write(file, tables=NUMBERS)

    assert not any(adopted(database).values())


# Rows that do not fit.


def test_a_conversation_without_its_client_is_kept(file: Path, database: Database) -> None:
    write(file, conversation(1, client_id=404), conversation(2, client_id=None, amocrm_lead_id=6))
    found = adopted(database)

    assert [row.id for row in found["conversations"]] == [1, 2]
    assert [row.name for row in found["clients"]] == [None, None]


def test_messages_without_their_conversation_are_kept_in_a_completed_one(file: Path, database: Database) -> None:
    write(
        file, client(), conversation(1), message(1), message(2, conversation_id=404), message(3, conversation_id=None)
    )
    found = adopted(database)

    home = {row.id: (row.status, row.amocrm_lead_id) for row in found["conversations"]}
    assert [home[row.conversation_id] for row in found["messages"]] == [
        ("active", 5),
        ("completed", None),
        ("completed", None),
    ]


def test_a_message_without_a_reference_is_not_put_to_a_conversation_without_an_id(
    file: Path, database: Database
) -> None:
    write(file, client(), conversation(None), message(1, conversation_id=None))
    found = adopted(database)

    leads = {row.id: row.amocrm_lead_id for row in found["conversations"]}
    assert leads[found["messages"][0].conversation_id] is None


def test_of_several_active_conversations_of_a_lead_the_newest_stays_active(file: Path, database: Database) -> None:
    write(
        file,
        client(),
        conversation(1, last_activity="2025-03-01 10:00:00"),
        conversation(2, last_activity="2025-03-03 10:00:00"),
        conversation(3, last_activity="2025-03-02 10:00:00"),
        message(1, conversation_id=1),
        message(2, conversation_id=2),
    )
    found = adopted(database)

    assert [row.status for row in found["conversations"]] == ["completed", "active", "completed"]
    assert [row.conversation_id for row in found["messages"]] == [1, 2]


def test_a_completed_conversation_stays_completed(file: Path, database: Database) -> None:
    write(file, client(), conversation(1, status="completed"), conversation(2, last_activity="2020-01-01"))

    assert [row.status for row in adopted(database)["conversations"]] == ["completed", "active"]


def test_conversations_without_a_lead_may_be_several(file: Path, database: Database) -> None:
    write(file, client(), conversation(1, amocrm_lead_id=None), conversation(2, amocrm_lead_id=""))

    assert [(row.amocrm_lead_id, row.status) for row in adopted(database)["conversations"]] == [(None, "active")] * 2


def test_a_contact_that_stands_twice_belongs_to_the_first(file: Path, database: Database) -> None:
    write(file, client(1), client(2, amocrm_contact_id="7"), client(3, amocrm_contact_id=None))

    assert [row.amocrm_contact_id for row in adopted(database)["clients"]] == [7, None, None]


def test_ids_that_are_missing_or_repeated_lose_no_row(file: Path, database: Database) -> None:
    odd_ids = [None, None, 7, 7, "7", "007", "x", "x", -1, 0, 2**63 - 1]
    rows = [message(id_, content=f"{n}") for n, id_ in enumerate(odd_ids)]
    write(file, client(), conversation(), *rows)
    found = adopted(database)["messages"]

    assert sorted(row.content for row in found) == sorted(f"{n}" for n in range(len(odd_ids)))
    assert {row.id: row.content for row in found}[7] == "2"


NO_OBJECTS = ("", "{", "not JSON", "[1, 2]", '"text"', "null", None, 5, b"\xff", "[" * 200_000, '{"a": "\\ud83d"}')


def test_metadata_that_is_no_object_becomes_an_empty_one(file: Path, database: Database) -> None:
    found = messages_with(file, database, "metadata", NO_OBJECTS)

    for row, metadata in zip(found, NO_OBJECTS, strict=True):
        assert row.metadata == {}, metadata
        assert row.first_version["metadata"] == ("\ufffd" if metadata == b"\xff" else metadata)


def messages_with(file: Path, database: Database, column: str, values: Sequence[Any]) -> Sequence[Row[Any]]:
    """A message for each value, as it is after the start."""
    write(file, client(), conversation(), *(message(id_, **{column: value}) for id_, value in enumerate(values, 1)))
    return adopted(database)["messages"]


TIMES = (
    ("2025-03-01 10:00:00", datetime(2025, 3, 1, 10, tzinfo=UTC)),
    ("2025-03-01T10:00:00.5", datetime(2025, 3, 1, 10, 0, 0, 500_000, UTC)),
    ("2025-03-01T10:00:00Z", datetime(2025, 3, 1, 10, tzinfo=UTC)),
    ("2025-03-01T10:00:00+03:00", datetime(2025, 3, 1, 7, tzinfo=UTC)),
    ("2025-03-01", datetime(2025, 3, 1, tzinfo=UTC)),
    (1740823200, datetime(2025, 3, 1, 10, tzinfo=UTC)),
    ("1740823200", datetime(2025, 3, 1, 10, tzinfo=UTC)),
    (1740823200.5, datetime(2025, 3, 1, 10, 0, 0, 500_000, UTC)),
    (1740823200000, datetime(2025, 3, 1, 10, tzinfo=UTC)),
    ("yesterday", NOW),
    ("", NOW),
    (None, NOW),
    (10**18, NOW),
    (-(10**18), NOW),
    (float("inf"), NOW),
    ("0001-01-01T00:00:00+14:00", NOW),
    (b"\xff", NOW),
)


def test_a_time_is_understood_or_the_present_one(file: Path, database: Database) -> None:
    rows: list[Old] = [client()]
    for id_, (written, _) in enumerate(TIMES, 1):
        rows += [conversation(id_, amocrm_lead_id=id_, last_activity=written)]
        rows += [message(id_, conversation_id=id_, timestamp=written)]
    write(file, *rows)
    found = adopted(database)

    for said, talk, (written, read) in zip(found["messages"], found["conversations"], TIMES, strict=True):
        assert said.timestamp == read, written
        assert talk.last_activity == read, written


def test_an_unknown_sender_is_taken_for_a_manager(file: Path, database: Database) -> None:
    senders = ("user", "bot", "", None, 5, b"client")
    found = messages_with(file, database, "sender_type", senders)

    assert {row.sender_type for row in found} == {"manager"}
    assert [row.first_version["sender_type"] for row in found] == [*senders[:-1], "client"]


def test_an_unknown_kind_of_message_is_text(file: Path, database: Database) -> None:
    found = messages_with(file, database, "message_type", ("voice", "image", None, ""))

    assert [row.message_type for row in found] == ["voice", "text", "text", "text"]


def test_content_of_another_type_becomes_text(file: Path, database: Database) -> None:
    contents = (None, 5, b"da\xff", "a\x00b")
    write(
        file,
        *(client(id_, amocrm_contact_id=id_, name=content) for id_, content in enumerate(contents, 1)),
        conversation(),
        *(message(id_, content=content) for id_, content in enumerate(contents, 1)),
    )
    found = adopted(database)

    read = ["", "5", "da\ufffd", "a\x00b"]
    assert [row.content for row in found["messages"]] == read
    assert [row.name or "" for row in found["clients"]] == read


def test_text_that_is_not_utf8_does_not_stop_it(file: Path, database: Database) -> None:
    write(file, client(), conversation(), message())
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE messages SET content = CAST(x'CFF0E8E2E5F2' AS TEXT)")

    assert adopted(database)["messages"][0].content == "\ufffd" * 6


def test_columns_that_others_added_are_kept_with_the_original(file: Path, database: Database) -> None:
    write(file, tables=BARE)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("ALTER TABLE clients ADD COLUMN city TEXT")
        fill(connection, [client(city="Казань")])

    assert adopted(database)["clients"][0].first_version["city"] == "Казань"


VALUES = (
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(0, 3) | st.text(max_size=5) | st.binary(max_size=3)
    | st.sampled_from(["1", "2", "x", "{}", "active", "client", "2025-03-01"])
)  # fmt: skip


def odd(row: Old) -> st.SearchStrategy[Old]:
    return st.fixed_dictionaries(dict.fromkeys(row, VALUES))


def as_kept(rows: Sequence[Old]) -> Counter[str]:
    """The rows as ``first_version`` has them, to be counted."""
    return Counter(json.dumps({name: text_of(row[name]) for name in sorted(row)}) for row in rows)


def text_of(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


@given(
    st.lists(odd(client()), max_size=6),
    st.lists(odd(conversation()), max_size=6),
    st.lists(odd(message()), max_size=6),
)
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.slow
def test_whatever_the_rows_hold_none_is_lost(
    file: Path, client_rows: list[Old], conversation_rows: list[Old], message_rows: list[Old]
) -> None:
    file.unlink(missing_ok=True)
    write(file, *client_rows, *conversation_rows, *message_rows)
    with closing(Database(f"sqlite:///{file}")) as database:
        found = adopted(database)

    for table, rows in zip(TABLES, (client_rows, conversation_rows, message_rows), strict=True):
        assert as_kept([row.first_version for row in found[table] if row.first_version]) == as_kept(rows)


# The file itself.


def test_the_file_is_copied_aside_before(file: Path, database: Database) -> None:
    write(file, client(), conversation(), message(), tables=NUMBERS)
    before = dump(file)
    adopted(database)

    assert dump(file.with_name(COPY)) == before


def test_what_only_the_journal_holds_is_adopted_and_copied(file: Path, database: Database) -> None:
    write(file, client(), conversation())
    with closing(sqlite3.connect(file)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        with other:
            fill(other, [message()])
        found = adopted(database)

    assert [row.content for row in found["messages"]] == ["Hello"]
    assert any("Hello" in line for line in dump(file.with_name(COPY)))


def test_what_a_crash_of_the_first_version_left_half_done_is_undone(file: Path, tmp_path: Path) -> None:
    running = tmp_path / "running.db"
    write(running, client(), conversation(), message(1, content="whole"))
    with closing(sqlite3.connect(running, isolation_level=None)) as connection:
        connection.execute("PRAGMA cache_size = 5")
        connection.execute("BEGIN")
        fill(connection, [message(n, content="half" * 100) for n in range(2, 500)])
        for name in ("running.db", "running.db-journal"):
            shutil.copy(tmp_path / name, tmp_path / name.replace("running", "conversations"))

    with closing(Database(f"sqlite:///{file}")) as database:
        assert [row.content for row in adopted(database)["messages"]] == ["whole"]


def test_the_next_start_does_nothing_more(file: Path, database: Database, tmp_path: Path) -> None:
    write(file, client(), conversation(), message())
    before = adopted(database)
    prepare(database, LATER)

    assert adopted(database) == before
    assert [path.name for path in tmp_path.glob("*.before-*")] == [COPY]
    assert (tmp_path / COPY).stat().st_mode & 0o777 == 0o600


def test_nothing_of_the_old_tables_is_left(file: Path, database: Database) -> None:
    write(file, client(), conversation(), message(), tables=NUMBERS)
    adopted(database)
    fresh = Database(f"sqlite:///{file.with_name('fresh.db')}")
    prepare(fresh, NOW)

    schema = "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
    assert database.read_now(lambda c: c.exec_driver_sql(schema).all()) == fresh.read_now(
        lambda c: c.exec_driver_sql(schema).all()
    )
    fresh.close()


def test_an_error_in_the_middle_leaves_the_old_tables_as_they_were(file: Path, database: Database) -> None:
    write(file, client(), conversation(), message(), tables=NUMBERS)
    before = dump(file)

    def fail(connection: Connection) -> None:
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"), database.writes.begin() as connection:
        adopt(connection, fail, NOW)

    assert dump(file) == before


def _die_in_the_middle(file: Path) -> None:
    with Database(f"sqlite:///{file}").writes.begin() as connection:
        connection.exec_driver_sql("PRAGMA cache_size = 5")
        adopt(connection, lambda connection: os._exit(9), NOW)


def test_a_crash_in_the_middle_loses_nothing(file: Path, database: Database) -> None:
    rows = [message(number, content=f"{number}" * 100) for number in range(1, 200)]
    write(file, client(), conversation(), *rows, tables=NUMBERS)
    before = dump(file)

    assert Forked(_die_in_the_middle, file).wait(60) == 9
    assert dump(file) == before
    assert [row.first_version for row in adopted(database)["messages"]] == rows


def test_without_a_copy_nothing_is_begun(file: Path, database: Database) -> None:
    write(file, client(), conversation(), message())
    file.with_name(COPY).mkdir()
    before = file.read_bytes()

    with pytest.raises(DatabaseUnfit, match="cannot be copied"):
        prepare(database, NOW)

    assert file.read_bytes() == before
