"""A command that is broken off while it renews the account's tokens: amoCRM gives each pair once."""

import asyncio
from typing import Any

import httpx2
import pytest

from otvet.account import account, tokens
from otvet.amocrm import oauth
from otvet.amocrm.token import Pair
from otvet.settings.loading import load_settings
from otvet.storage.database import Database
from tests.clocks import FakeClock

DAY = 86_400


def test_the_pair_that_amocrm_gives_meanwhile_is_kept(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    settings = load_settings(
        amocrm_base_url="https://example.amocrm.ru",
        amocrm_client_id="client-id",
        amocrm_client_secret="client-secret",
        public_url="https://otvet.example.com",
        secret_key="key of the tests " * 3,
    )
    vault, keys = account.vault_of(settings), account.keys_of(settings)
    assert keys is not None
    assert settings.amocrm_base_url is not None
    with database.writes.begin() as connection:
        first = Pair("access-1", "refresh-1", DAY)
        tokens.keep_consent(connection, vault, settings.amocrm_base_url, keys, first, clock.now())
    clock.advance(0.9 * DAY)
    asked, answered = asyncio.Event(), asyncio.Event()

    async def refresh(*_: Any) -> Pair:
        asked.set()
        await answered.wait()
        return Pair("access-2", "refresh-2", DAY)

    monkeypatch.setattr(oauth, "refresh", refresh)

    async def use() -> None:
        async with httpx2.AsyncClient() as http, account.tokens(settings, clock, http, database) as source:
            assert source is not None
            await source.prepare()

    async def go() -> None:
        database.start()
        command = asyncio.create_task(use())
        await asked.wait()
        command.cancel()  # as Ctrl-C does
        for _turn in range(10):
            await asyncio.sleep(0)
        assert not command.done()
        answered.set()
        with pytest.raises(asyncio.CancelledError):
            await command
        await database.stop()

    asyncio.run(go())
    again = Database(database.url)
    kept = again.read_now(lambda connection: tokens.kept(connection, vault))
    again.close()
    assert kept is not None
    assert (kept.access, kept.refresh, kept.version) == ("access-2", "refresh-2", 2)
