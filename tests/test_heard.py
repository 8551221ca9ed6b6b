"""Whatever shape amoCRM or a relay gives it: a client's message is stored, or its body is kept. Over HTTP."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.running import Otvet, otvet, wait_for
from tests.standins.sender import incoming
from tests.tables import every

SAID = """
    SELECT m.sender_type, m.message_type, m.content, m.metadata, m.timestamp, c.amocrm_lead_id
    FROM messages m JOIN conversations c ON c.id = m.conversation_id
    WHERE m.id > ? AND m.sender_type <> 'assistant' ORDER BY m.id
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Otvet]:
    with otvet(tmp_path_factory.mktemp("heard"), OTVET_QUIET_SECONDS="600", OTVET_QUIET_MAX_SECONDS="600") as running:
        yield running


def as_bytes(body: str | dict[str, str]) -> bytes:
    """A body in UTF-8, or {its encoding: its text}."""
    if isinstance(body, str):
        return body.encode()
    ((encoding, text),) = body.items()
    return bytes.fromhex(text) if encoding == "hex" else text.encode(encoding)


def query(server: Otvet, statement: str, *values: Any) -> list[Any]:
    with closing(sqlite3.connect(server.folder / "conversations.db")) as connection:
        return connection.execute(statement, values).fetchall()


def newest(server: Otvet, table: str) -> int:
    return query(server, f"SELECT coalesce(max(id), 0) FROM {table}")[0][0] or 0


def shown(row: Any, *, timed: bool) -> str:
    sender, kind, text, about, timestamp, lead = row
    earlier = json.loads(about).get("earlier_words")
    line = f"{lead or '-'} {sender}{'' if kind == 'text' else f' {kind}'}: {text}"
    line += f" ({'|'.join(earlier)})" if earlier else ""
    if not timed:
        return line
    moment = datetime.fromisoformat(timestamp)
    fresh = datetime.now(UTC).replace(tzinfo=None) - moment < timedelta(minutes=5)
    return f"{line} @{'now' if fresh else moment.isoformat()}"


@every("heard", "deliveries", "name, bodies, messages, quarantined")
def test_it_is_stored_or_kept(
    server: Otvet, name: str, bodies: list[Any], messages: list[str], quarantined: list[str]
) -> None:
    said, kept = newest(server, "messages"), newest(server, "quarantine")
    contents = [as_bytes(body) for body in bodies]

    answers = [server.deliver(content) for content in contents]

    found = [shown(row, timed="@" in "".join(messages)) for row in query(server, SAID, said)]
    set_aside = query(server, "SELECT reason, body FROM quarantine WHERE id > ? ORDER BY id", kept)
    assert [answer.status_code for answer in answers] == [200] * len(bodies)
    assert found == messages
    assert len(set_aside) == len(quarantined)
    for (reason, body), says in zip(set_aside, quarantined, strict=True):
        assert says in reason
        assert body in contents


def test_an_auto_reply_and_an_edit_over_http(tmp_path: Path) -> None:
    away = "Thank you! We are away, and will answer in the morning."
    with otvet(tmp_path) as server:
        for number in range(4):
            server.deliver(incoming(away, lead_id=5, message_id=f"m-{number}", created_at=1767600000 + number))
            wait_for(server.settled, "an answer, or none")
        ended = query(server, "SELECT state, reason FROM turns ORDER BY id")
        assert ended == [("kept", "amocrm_not_connected")] * 2 + [("handed", "repeated_words")]

        asked = {"lead_id": 6, "message_id": "m-9", "chat_id": "other"}
        server.deliver(incoming("Is the red one in stock?", **asked))
        answer = server.deliver(incoming("Is the blue one in stock?", **asked))
        assert answer.json() == {"saved": 1, "duplicates": 0}
        wait_for(server.settled, "an answer")
        (message,) = server.messages(6, "client")
        assert message["content"] == "Is the blue one in stock?"
        assert len(server.messages(6, "assistant")) == 1
