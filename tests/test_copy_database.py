"""A history that moves house."""

from pathlib import Path

import pytest

from otvet.copy_database import copy
from otvet.errors import UsageError
from tests.running import command, otvet, wait_for
from tests.standins.sender import incoming


@pytest.fixture
def history(tmp_path: Path) -> str:
    """The address of a SQLite file with two conversations."""
    with otvet(tmp_path) as server:
        for lead in (1, 2):
            server.deliver(incoming(f"hello {lead}", lead_id=lead, chat_id=f"chat-{lead}", contact_id=lead))
        wait_for(server.settled, "the turns closed")
        server.end()
    return f"sqlite:///{tmp_path / 'conversations.db'}"


def test_everything_arrives_and_goes_on_from_there(history: str, postgres_url: str, tmp_path: Path) -> None:
    result = command(tmp_path, "copy-database", history, postgres_url)
    assert result.returncode == 0, result.stderr
    assert "messages: 4" in result.stdout
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


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.db"):
        copy(f"sqlite:///{tmp_path / 'nowhere.db'}", f"sqlite:///{tmp_path / 'target.db'}")
    assert not (tmp_path / "target.db").exists()
