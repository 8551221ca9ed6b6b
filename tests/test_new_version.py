"""A new version of the program goes on with the turns of the one before: its schema, its workflows, its open turns."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from otvet.answering import engine
from otvet.answering.engine import Engine
from otvet.schema import upgrade
from otvet.settings.loading import load_settings
from otvet.storage.database import Database
from otvet.storage.engines import UtcDateTime
from otvet.turns import sending
from otvet.turns.turn import State, turns
from tests.standins.amocrm import AmoStandin, amocrm_standin
from tests.test_outages import connected, serving, until
from tests.test_schema import PREVIOUS, migrate_to
from tests.workflows import kept

NAME = "an-older-start"
WRITTEN = "Written by the older version."

# One deal for each state in which a turn may be left: what is kept of the turn, besides that.
LEFT: dict[int, dict[str, Any]] = {
    1: {"state": State.WAITING},
    2: {"state": State.ANSWERING},
    3: {"state": State.ANSWERING, "reply": WRITTEN, "responder": "template"},
    4: {"state": State.SENDING, "reply": WRITTEN, "responder": "template"},
}


@pytest.fixture
def amo() -> Iterator[AmoStandin]:
    with amocrm_standin() as standin:
        standin.any_lead, standin.rate = True, 1000
        yield standin


def leave_behind(database: Database) -> None:
    """What a process of the version before had in hand when its machine went away."""
    with database.writes.begin() as connection:
        migrate_to(connection, PREVIOUS)
        found = sa.MetaData()
        found.reflect(connection)
        for table in found.tables.values():  # a moment is stored as the program stores it
            for column in table.columns:
                column.type = UtcDateTime() if isinstance(column.type, sa.DateTime) else column.type
        add = {name: table.insert() for name, table in found.tables.items()}
        connection.execute(add["installation"], {"name": "name", "value": NAME})
        connection.execute(add["processes"], {"id": "older", "seen_at": datetime.now(UTC) - timedelta(hours=1)})
        for lead, turn in LEFT.items():
            _leave_turn(connection, add, lead, turn)


def _leave_turn(connection: sa.Connection, add: dict[str, sa.Insert], lead: int, turn: dict[str, Any]) -> None:
    now = datetime.now(UTC) - timedelta(minutes=1)
    connection.execute(add["clients"], {"id": lead})
    about = {"id": lead, "client_id": lead, "amocrm_lead_id": lead, "last_activity": now}
    connection.execute(add["conversations"], about)
    owned = {"id": lead, "conversation_id": lead, "owner": "older", "first_message_at": now, "last_message_at": now}
    connection.execute(add["turns"], owned | turn)
    said = {"conversation_id": lead, "timestamp": now, "turn_id": lead}
    connection.execute(add["messages"], {**said, "sender_type": "client", "content": "How much?", "metadata": {}})
    if turn["state"] == State.SENDING:
        delivery = {"delivery": {"state": State.SENDING, "way": "note"}}
        told = {**said, "sender_type": "assistant", "content": WRITTEN, "metadata": delivery}
        connection.execute(add["messages"], told)


async def leave_workflows(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the engine of the version before has them, on another machine."""
    begun: set[int] = set()

    async def answer(turn_id: int) -> str:
        begun.add(turn_id)
        await asyncio.Event().wait()
        return "never"

    with monkeypatch.context() as older:
        older.setattr(engine, "APPLICATION_VERSION", "the-one-before")
        running = Engine(url, "older")
        await running.start(answer, wake=lambda _turn_id: None)
        for turn_id in LEFT:
            await running.begin(f"turn-{turn_id}-{NAME}", turn_id)
        await until(lambda: len(begun) == len(LEFT))
        await running.stop()


def test_a_new_version_answers_what_the_one_before_left_open(
    tmp_path: Path, database_url: str, amo: AmoStandin, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = connected(amo, tmp_path, database_url)
    with closing(Database(database_url)) as database:
        leave_behind(database)

        async def play() -> None:
            url = load_settings(**settings).workflow_url
            await leave_workflows(url, monkeypatch)
            assert kept(url).count("PENDING") == len(LEFT) < kept(url).count("the-one-before")
            async with serving(**settings):
                await until(lambda: set(states(database)) == {State.SENT})

        asyncio.run(play())
        assert database.read_now(upgrade.version) == upgrade.LATEST
        assert states(database) == [State.SENT] * len(LEFT)
    for lead, turn in LEFT.items():
        (note,) = amo.notes(lead)
        assert note["params"]["text"].endswith(f"[{sending.marker(NAME, lead)}]")
        assert (WRITTEN in note["params"]["text"]) == ("reply" in turn)


def states(database: Database) -> list[str]:
    query = sa.select(turns.c.state).order_by(turns.c.id)
    return list(database.read_now(lambda connection: connection.scalars(query).all()))
