"""The workflow engine on a real database."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from dbos._dbos import _get_dbos_instance

from otvet.engine import Engine
from tests.test_database import with_options


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


def settings_of_a_connection(url: str) -> tuple[str, str]:
    """(idle_in_transaction_session_timeout, statement_timeout) of what DBOS itself works with."""

    async def answer(_turn_id: int) -> str:
        return "sent"

    async def running() -> tuple[str, str]:
        engine = Engine(url, "this process")
        engine.start(answer)
        try:
            with _get_dbos_instance()._sys_db.engine.connect() as connection:
                names = ("idle_in_transaction_session_timeout", "statement_timeout")
                first, second = (str(connection.scalar(sa.text(f"SHOW {name}"))) for name in names)
                return first, second
        finally:
            await engine.stop()

    return asyncio.run(running())


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
