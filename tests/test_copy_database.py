"""A history that moves house."""

import io
import re
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from rich.console import Console
from sqlalchemy.engine import Connection

from otvet.account import account, tokens
from otvet.amocrm.events import read_delivery
from otvet.amocrm.token import Keys, Pair
from otvet.commands import copy_database
from otvet.commands.copy_database import copy
from otvet.conversations.tables import clients, conversations, messages
from otvet.errors import UsageError
from otvet.intake.inbox import Received, store
from otvet.schema.upgrade import prepare
from otvet.settings.loading import load_settings
from otvet.settings.settings import Settings
from otvet.storage.database import Database
from otvet.turns.turn import State, turns
from tests.running import command, otvet, wait_for
from tests.standins.sender import incoming

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)


@pytest.fixture
def history(tmp_path: Path) -> str:
    """The address of a SQLite file with two conversations."""
    with otvet(tmp_path) as server:
        for lead in (1, 2):
            server.deliver(incoming(f"hello {lead}", lead_id=lead, chat_id=f"chat-{lead}", contact_id=lead))
        wait_for(server.settled, "the turns closed")
        server.end()
    return f"sqlite:///{tmp_path / 'conversations.db'}"


@pytest.mark.quick
def test_everything_arrives_and_goes_on_from_there(history: str, postgres_url: str, tmp_path: Path) -> None:
    result = command(tmp_path, "copy-database", history, postgres_url)
    assert result.returncode == 0, result.stderr
    assert "messages: 4" in result.stdout
    assert "[info" not in result.stdout + result.stderr  # lines of the log
    with otvet(tmp_path, OTVET_DATABASE_URL=postgres_url) as server:
        assert [one["content"] for one in server.messages(1, "client")] == ["hello 1"]
        assert server.deliver(incoming("hello 1", lead_id=1, chat_id="chat-1", contact_id=1)).json()["duplicates"] == 1
        server.deliver(incoming("and more", lead_id=1, chat_id="chat-1", contact_id=1))
        wait_for(lambda: len(server.messages(1, "assistant")) == 2, "a reply to what came after the move")


def test_a_database_with_something_in_it_is_left_alone(history: str, tmp_path: Path) -> None:
    target = f"sqlite:///{tmp_path / 'target.db'}"
    copy(history, target)
    with pytest.raises(UsageError, match="not empty"):
        copy(history, target)


@pytest.mark.quick
def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.db"):
        copy(f"sqlite:///{tmp_path / 'nowhere.db'}", f"sqlite:///{tmp_path / 'target.db'}")
    assert not (tmp_path / "target.db").exists()


def test_a_source_that_a_server_works_on_is_refused(tmp_path: Path) -> None:
    with otvet(tmp_path) as server:
        server.deliver(incoming("hello"))
        refused = command(tmp_path, "copy-database", f"sqlite:///{tmp_path / 'conversations.db'}", "sqlite:///new.db")
        assert refused.returncode == 1
        assert "running" in refused.stderr
        assert not (tmp_path / "new.db").exists()


def test_a_source_on_postgresql_that_a_server_works_on_is_refused(tmp_path: Path, postgres_url: str) -> None:
    target = f"sqlite:///{tmp_path / 'target.db'}"
    with otvet(tmp_path, OTVET_DATABASE_URL=postgres_url) as server:
        server.deliver(incoming("hello"))
        wait_for(server.settled, "the turn closed")
        with pytest.raises(UsageError, match="running"):
            copy(postgres_url, target)
        server.end()
    copy(postgres_url, target)


def test_a_copy_shows_one_moment_of_all_tables(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is stored while tables are read is in none of them."""
    copied: list[str] = []
    original = copy_database._copy_table

    def with_a_message_meanwhile(reading: Connection, writing: Connection, table: sa.Table, progress: Any) -> int:
        if copied:
            body = incoming("meanwhile", message_id=f"m-{table.name}", lead_id=2, chat_id="two", contact_id=2)
            with database.writes.begin() as connection:
                store(connection, [Received(body, read_delivery(body, NOW), NOW)])
        copied.append(table.name)
        return original(reading, writing, table, progress)

    monkeypatch.setattr(copy_database, "_copy_table", with_a_message_meanwhile)
    url = f"sqlite:///{tmp_path / 'target.db'}"
    copy(database.url, url)
    target = Database(url)
    with target.reads.connect() as connection:
        for table in (clients, conversations, messages):
            assert connection.scalar(sa.select(sa.func.count()).select_from(table)) == 0
    target.close()


# In this process


@pytest.fixture
def target_url(database: Database, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """An empty database of the other kind than ``database``, which has a turn in each state."""
    for number, state in enumerate(State, 1):
        fill(database, number, state)
    return str(request.getfixturevalue("postgres_url")) if database.is_sqlite else f"sqlite:///{tmp_path / 'target.db'}"


def fill(database: Database, lead: int, state: str) -> None:
    body = incoming("Сколько стоит?", message_id=f"m-{lead}", lead_id=lead, chat_id=f"chat-{lead}", contact_id=lead)
    with database.writes.begin() as connection:
        store(connection, [Received(body, read_delivery(body, NOW), NOW)])
        kept = {
            "state": state,
            "owner": "a process",
            "reply": "300 ₽",
            "details": {"seconds": 1},
            "sent_attempt_at": NOW,
        }
        newest = sa.select(sa.func.max(turns.c.id)).scalar_subquery()
        connection.execute(turns.update().where(turns.c.id == newest).values(kept))


def everything(url: str) -> dict[str, Any]:
    with closing(Database(url)) as database, database.reads.connect() as connection:
        tables = copy_database._tables()
        return {one.name: connection.execute(sa.select(one).order_by(*one.primary_key)).all() for one in tables}


def test_turns_in_every_state_arrive_as_they_were(database: Database, target_url: str) -> None:
    copy(database.url, target_url)
    arrived = everything(target_url)
    assert arrived == everything(database.url)
    assert [turn.state for turn in arrived["turns"]] == list(State)


def test_a_copy_that_is_not_whole_is_refused_and_leaves_nothing(
    database: Database, target_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = copy_database._copy_table

    def losing_one(reading: Connection, writing: Connection, table: sa.Table, progress: Any) -> int:
        count = original(reading, writing, table, progress)
        if table is messages:
            writing.execute(messages.delete().where(messages.c.id == 1))
        return count

    monkeypatch.setattr(copy_database, "_copy_table", losing_one)
    with pytest.raises(UsageError, match=f"messages: {len(State)} rows were read and {len(State) - 1} arrived"):
        copy(database.url, target_url)
    assert not any(everything(target_url).values())


def test_a_bar_shows_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = (f"sqlite:///{tmp_path / name}" for name in ("source.db", "target.db"))
    with closing(Database(source)) as database:
        prepare(database, NOW)
        fill(database, 1, "waiting")
    shown = io.StringIO()
    monkeypatch.setattr(copy_database, "Console", lambda: Console(file=shown, force_terminal=True, width=100))
    copy(source, target)
    for table in ("messages", "turns", "quarantine"):  # the last one is empty
        assert re.search(rf"{table}\s+\S*━\S* \S*100%", shown.getvalue())


# The key of amoCRM's tokens, which is not in the database


@pytest.fixture
def consented(database: Database) -> Settings:
    """The settings of a database that holds a consent's tokens, with a key of its own."""
    settings = load_settings(database_url=database.url)
    pair = Pair("an access token", "a refresh token", 86_400)
    keys = Keys("client-id", "client-secret", "https://otvet.example.com/oauth/amocrm")
    with database.writes.begin() as connection:
        tokens.keep_consent(connection, account.vault_of(settings), "https://a.amocrm.ru", keys, pair, NOW)
    return settings


@pytest.fixture
def elsewhere(database: Database, tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    """The settings of an empty database of the other kind, whose key is looked for in another place."""
    url = (
        request.getfixturevalue("postgres_url") if database.is_sqlite else f"sqlite:///{tmp_path / 'new' / 'target.db'}"
    )
    (tmp_path / "new").mkdir()
    return load_settings(database_url=str(url))


def refresh_token(settings: Settings) -> str:
    """As whoever starts with these settings reads it."""
    with closing(Database(settings.database_url)) as database:
        kept = database.read_now(lambda connection: tokens.kept(connection, account.vault_of(settings)))
    assert kept is not None
    return kept.refresh


def test_the_tokens_can_be_read_under_the_new_address(
    consented: Settings, elsewhere: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    copy(consented.database_url, elsewhere.database_url)
    assert refresh_token(elsewhere) == "a refresh token"
    assert elsewhere.key_file.stat().st_mode & 0o777 == 0o600
    told = capsys.readouterr().out
    assert f"copied to {elsewhere.key_file}" in told
    assert ("each machine needs the key" in told) is not elsewhere.is_sqlite


def test_another_key_in_the_new_place_is_left_there_and_named(
    consented: Settings, elsewhere: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere.key_file.write_text("the key of something else\n")
    copy(consented.database_url, elsewhere.database_url)
    assert elsewhere.key_file.read_text() == "the key of something else\n"
    assert f"{elsewhere.key_file} holds another key" in capsys.readouterr().out
    key = consented.key_file.read_text().strip()
    assert refresh_token(load_settings(database_url=elsewhere.database_url, secret_key=key)) == "a refresh token"


def test_a_key_that_is_not_there_is_said(
    consented: Settings, elsewhere: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    consented.key_file.unlink()
    copy(consented.database_url, elsewhere.database_url)
    assert "could not be copied" in capsys.readouterr().out
    assert not elsewhere.key_file.exists()


def test_a_key_of_the_settings_needs_no_copy(
    database: Database, elsewhere: Settings, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("OTVET_SECRET_KEY", "the key of all machines, long enough")
    request.getfixturevalue("consented")
    copy(database.url, elsewhere.database_url)
    assert not elsewhere.key_file.exists()
    assert refresh_token(load_settings(database_url=elsewhere.database_url)) == "a refresh token"
