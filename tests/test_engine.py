"""The workflow engine on a real database."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import psycopg
import pytest
import sqlalchemy as sa
from dbos._dbos import _get_dbos_instance
from sqlalchemy.exc import IntegrityError
from structlog.testing import capture_logs

from otvet.engine import Engine
from otvet.storage.engines import PATIENCE
from tests.test_database import with_options
from tests.workflows import kept

Result = TypeVar("Result")


def run(url: str, me: str, answer: Callable[[int], Awaitable[str]], play: Callable[[Engine], Awaitable[None]]) -> None:
    """Play with an engine that is stopped at the end, as by a SIGTERM."""

    async def whole() -> None:
        engine = Engine(url, me)
        engine.start(answer)
        try:
            await play(engine)
        finally:
            await engine.stop()

    asyncio.run(whole())


def test_a_workflow_that_was_cut_off_runs_from_its_top_in_another_process(database_url: str) -> None:
    seen: list[str] = []
    ended = asyncio.Event()

    async def cut_off(_turn_id: int) -> str:
        seen.append("begun")
        await asyncio.Event().wait()
        return "never"

    async def to_the_end(_turn_id: int) -> str:
        seen.append("begun again")
        ended.set()
        return "sent"

    async def begin(engine: Engine) -> None:
        await engine.begin("turn-1", 1)
        while not seen:
            await asyncio.sleep(0)

    async def begin_again(engine: Engine) -> None:
        await engine.begin_again("turn-1", 1, alive=("the second",))
        await asyncio.wait_for(ended.wait(), 60)

    run(database_url, "the first", cut_off, begin)
    run(database_url, "the second", to_the_end, begin_again)
    assert seen == ["begun", "begun again"]


def test_what_a_dead_process_left_behind_is_forgotten(database_url: str) -> None:
    begun = asyncio.Event()

    async def cut_off(_turn_id: int) -> str:
        begun.set()
        await asyncio.Event().wait()
        return "never"

    async def begin(engine: Engine) -> None:
        await engine.begin("turn-1", 1)
        await begun.wait()

    async def tidy(engine: Engine) -> None:
        later = datetime.now(UTC) + timedelta(hours=2)
        assert await engine.forget(later, timedelta(hours=3), alive=()) == 0  # too young
        assert await engine.forget(later, timedelta(hours=1), alive=("the first",)) == 0
        assert await engine.forget(later, timedelta(hours=1), alive=()) == 1
        assert await engine.forget(later, timedelta(hours=1), alive=()) == 0

    run(database_url, "the first", cut_off, begin)
    run(database_url, "the second", cut_off, tidy)


def test_an_error_that_quotes_a_client_is_neither_kept_nor_logged(database_url: str) -> None:
    words = "What does the purple umbrella cost?"
    failures = [
        UnicodeEncodeError("utf-8", words, 0, 1, "surrogates not allowed"),
        IntegrityError(None, None, psycopg.errors.CheckViolation(f"refused\nDETAIL:  Failing row contains ({words})")),
    ]
    ended: list[int] = []

    async def answer(turn_id: int) -> str:
        ended.append(turn_id)
        raise failures[turn_id]

    async def begin(engine: Engine) -> None:
        for turn_id in range(len(failures)):
            await engine.begin(f"turn-{turn_id}", turn_id)
        while kept(database_url).count("ERROR") < len(failures):
            await asyncio.sleep(0.01)

    with capture_logs() as log:
        run(database_url, "this process", answer, begin)
    assert "purple umbrella" not in kept(database_url)
    assert [line["error"] for line in log if "error" in line] == ["UnicodeEncodeError", "IntegrityError"]
    assert "purple umbrella" not in str(log)


def with_a_connection(url: str, look: Callable[[sa.Connection], Result]) -> Result:
    """What is seen with a connection that DBOS itself works with."""

    found: list[Result] = []

    async def answer(_turn_id: int) -> str:
        return "sent"

    async def play(_engine: Engine) -> None:
        with _get_dbos_instance()._sys_db.engine.connect() as connection:
            found.append(look(connection))

    run(url, "this process", answer, play)
    return found[0]


def settings_of_a_connection(url: str) -> tuple[str, ...]:
    names = ("idle_in_transaction_session_timeout", "statement_timeout")
    return with_a_connection(url, lambda one: tuple(str(one.scalar(sa.text(f"SHOW {name}"))) for name in names))


def test_the_engine_too_takes_a_silent_server_for_gone_within_seconds(postgres_url: str) -> None:
    told = with_a_connection(postgres_url, lambda one: one.connection.driver_connection.info.get_parameters())  # type: ignore[union-attr]
    assert told.items() >= PATIENCE.items()


def test_the_engines_connections_do_not_idle_in_a_transaction(postgres_url: str) -> None:
    assert settings_of_a_connection(postgres_url)[0] == "5s"


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ("-c statement_timeout=70s", ("5s", "70s")),
        ("-c idle_in_transaction_session_timeout=9s", ("9s", "0")),
    ],
)
def test_options_of_the_address_are_kept(postgres_url: str, options: str, settings: tuple[str, str]) -> None:
    assert settings_of_a_connection(with_options(postgres_url, options)) == settings
