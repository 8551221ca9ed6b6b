from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.conversations.tables import chats, clients, conversations, messages
from otvet.storage.database import Database
from otvet.storage.engines import make_engine, metadata
from otvet.storage.prepared import Prepared, among

NOW = datetime(2026, 1, 5, 9, 0, 0, 5, tzinfo=UTC)
COLUMNS = ("conversation_id", "sender_type", "content", "metadata", "timestamp", "amocrm_message_id")

ADD = Prepared(messages.insert(), COLUMNS)
IN_DEALS = Prepared(sa.select(conversations.c.id).where(among(conversations.c.amocrm_lead_id, "leads")))
IN_CHATS = Prepared(sa.select(conversations.c.id).where(among(conversations.c.chat_ref, "refs")))
ACTIVE = Prepared(
    sa.select(conversations.c.id)
    .where(
        conversations.c.status == "active",
        sa.or_(among(conversations.c.amocrm_lead_id, "leads"), among(conversations.c.chat_ref, "refs")),
    )
    .order_by(conversations.c.id)
)

Run = Callable[[Callable[[Connection], Any]], Any]


@pytest.fixture
def run(database: Database) -> Run:
    """Runs a function in a transaction, on a database with the conversations of three deals."""
    with database.writes.begin() as connection:
        client = connection.scalar(clients.insert().values(name="Client 1").returning(clients.c.id))
        for number, ref in ((1, "a"), (2, "quotes \"'[]"), (2**62, "é 👍 \\u0041")):
            row = {"id": number % 1000, "client_id": client, "amocrm_lead_id": number, "chat_ref": ref}
            connection.execute(conversations.insert().values(**row, last_activity=NOW))

    def run(function: Callable[[Connection], Any]) -> Any:
        with database.writes.begin() as connection:
            return function(connection)

    return run


def ids(rows: Any) -> list[int]:
    return sorted(id_ for (id_,) in rows)


def test_a_list_is_one_value_of_any_length(run: Run) -> None:
    assert ids(run(lambda connection: IN_DEALS.rows(connection, leads=[]))) == []
    assert ids(run(lambda connection: IN_DEALS.rows(connection, leads={1, 2**62, 77}))) == [1, 2**62 % 1000]
    assert ids(run(lambda connection: IN_DEALS.rows(connection, leads=range(1, 70_000)))) == [1, 2]


def test_a_text_in_a_list_is_found_as_it_is(run: Run) -> None:
    for id_, ref in ((1, "a"), (2, "quotes \"'[]"), (2**62 % 1000, "é 👍 \\u0041")):
        assert ids(run(lambda connection, ref=ref: IN_CHATS.rows(connection, refs=[ref, "another"]))) == [id_]


def test_conditions_are_joined_and_constants_are_kept(run: Run) -> None:
    assert ids(run(lambda connection: ACTIVE.rows(connection, leads=[2], refs=["a"]))) == [1, 2]
    run(lambda connection: connection.execute(conversations.update().values(status="completed")))
    assert ids(run(lambda connection: ACTIVE.rows(connection, leads=[2], refs=["a"]))) == []


@pytest.mark.parametrize("moment", [NOW, NOW.astimezone(timezone(timedelta(hours=7))), NOW.replace(microsecond=0)])
def test_values_are_written_as_sqlalchemy_writes_them(run: Run, database: Database, moment: datetime) -> None:
    row = {
        "conversation_id": 1,
        "sender_type": "client",
        "content": "50 % of «this» :name ? $1",
        "metadata": {"raw": {"text": 'да "👍"\n', "none": None}},
        "timestamp": moment,
    }

    def write(connection: Connection) -> None:
        ADD.run(connection, [{**row, "amocrm_message_id": f"prepared-{number}"} for number in range(3)])
        ADD.run(connection, [])
        connection.execute(messages.insert().values(**row, amocrm_message_id="plain"))

    run(write)

    as_stored = sa.text("SELECT content, CAST(metadata AS TEXT), CAST(timestamp AS TEXT) FROM messages")
    found = run(lambda connection: connection.execute(as_stored).all())
    assert len(found) == 4
    assert len(set(found)) == 1
    read = run(lambda connection: connection.execute(sa.select(messages)).first())
    assert (read.content, read.metadata, read.timestamp) == (row["content"], row["metadata"], moment)


@pytest.mark.parametrize(
    "statement",
    [
        sa.select(messages.c.id).where(among(messages.c.amocrm_message_id, "values")),
        sa.select(chats).where(among(chats.c.chat_ref, "values")),
        conversations.update().where(among(conversations.c.amocrm_lead_id, "values")).values(mode="off"),
    ],
    ids=["messages", "chats", "deals"],
)
def test_sqlite_looks_a_list_up_in_the_index(tmp_path: Path, statement: Any) -> None:
    engine = make_engine(f"sqlite:///{tmp_path / 'conversations.db'}")
    text = f"EXPLAIN QUERY PLAN {statement.compile(dialect=engine.dialect)}"

    with engine.begin() as connection:
        metadata.create_all(connection)
        plan = [row.detail for row in connection.exec_driver_sql(text, ("[]",) * text.count("?"))]

    engine.dispose()
    assert plan[0].startswith("SEARCH")
