"""The workflow engine on a real database."""

import asyncio

import pytest
import sqlalchemy as sa
from dbos._dbos import _get_dbos_instance

from otvet.engine import Engine
from tests.test_database import with_options


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
