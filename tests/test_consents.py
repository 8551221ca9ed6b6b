"""A consent that is asked for is answered once, within twenty minutes, and for the account that was asked."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.account import consents, tokens
from otvet.account.consenting import Consenting
from otvet.account.consents import Answer, Asked
from otvet.account.vault import Vault
from otvet.amocrm.addresses import account_address, consent_page, is_exposed
from otvet.amocrm.token import Keys
from otvet.errors import SettingsError, StorageError, UsageError
from otvet.storage.database import Database
from tests.clocks import FakeClock
from tests.standins.amocrm import AmoStandin, amocrm_standin

VAULT = Vault("key of the tests " * 3)
KEYS = Keys("client-id", "client-secret", "https://otvet.example.com/oauth/amocrm")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def amo() -> Iterator[AmoStandin]:
    with amocrm_standin() as standin:
        standin.access.integration(KEYS.client_id, KEYS.client_secret, KEYS.redirect_url)
        yield standin


def ask(database: Database, clock: FakeClock, amo: AmoStandin) -> Asked:
    with database.writes.begin() as connection:
        return consents.ask(connection, VAULT, amo.url, KEYS, clock.now())


def take(
    database: Database,
    clock: FakeClock,
    *answers: tuple[str, str, str],
    vault: Callable[[], Vault] = lambda: VAULT,
) -> list[Answer]:
    """Answers (state, code, referer) that come in at the same time."""

    async def go() -> list[Answer]:
        own = Database(database.url)
        own.start()
        try:
            async with httpx2.AsyncClient(trust_env=False) as http:
                taking = Consenting(own, clock, http, vault)
                return await asyncio.gather(*(taking.take(*answer) for answer in answers))
        finally:
            await own.stop()

    return asyncio.run(go())


def test_it_is_answered_once(database: Database, clock: FakeClock, amo: AmoStandin) -> None:
    asked = ask(database, clock, amo)
    answers = [(asked.state, amo.access.code(KEYS.client_id), "") for _time in range(3)]
    assert sorted(answer.given for answer in take(database, clock, *answers)) == [False, False, True]
    assert amo.access.pairs == 1
    told = database.read_now(lambda connection: consents.answer_to(connection, asked.state))
    assert told is not None
    assert told.given
    assert database.read_now(lambda connection: tokens.kept(connection, VAULT)) is not None


@pytest.mark.parametrize(("minutes", "given"), [(19, True), (20, False)])
def test_it_is_good_for_twenty_minutes(
    database: Database, clock: FakeClock, amo: AmoStandin, minutes: int, given: bool
) -> None:
    asked = ask(database, clock, amo)
    clock.advance(minutes * 60)
    (answer,) = take(database, clock, (asked.state, amo.access.code(KEYS.client_id), ""))
    assert answer.given is given
    assert amo.access.pairs == given


@pytest.mark.parametrize("referer", ["other.amocrm.ru", "https://other.amocrm.ru", "[", "user@other.amocrm.ru"])
def test_it_is_for_the_account_that_was_asked(
    database: Database, clock: FakeClock, amo: AmoStandin, referer: str
) -> None:
    asked = ask(database, clock, amo)
    (answer,) = take(database, clock, (asked.state, amo.access.code(KEYS.client_id), referer))
    assert not answer.given
    assert amo.access.pairs == 0
    assert "/oauth2/access_token" not in [entry["path"] for entry in amo.log]


def test_the_table_does_not_help_to_answer(database: Database, clock: FakeClock, amo: AmoStandin) -> None:
    asked = ask(database, clock, amo)
    rows = database.read_now(lambda connection: repr(connection.execute(sa.select(consents.consents)).all()))
    assert asked.state not in rows
    assert KEYS.client_secret not in rows
    assert asked.state in asked.url


def told(database: Database, asked: Asked) -> Answer:
    answer = database.read_now(lambda connection: consents.answer_to(connection, asked.state))
    assert answer is not None
    return answer


def test_a_server_with_another_key_says_so_to_who_waits(database: Database, clock: FakeClock, amo: AmoStandin) -> None:
    asked = ask(database, clock, amo)
    other = Vault("another key " * 3)
    (answer,) = take(database, clock, (asked.state, amo.access.code(KEYS.client_id), ""), vault=lambda: other)
    assert not answer.given
    assert "different keys" in answer.sentence
    assert told(database, asked) == answer
    assert amo.access.pairs == 0


def test_a_key_file_that_cannot_be_used_is_said_to_who_waits(
    database: Database, clock: FakeClock, amo: AmoStandin
) -> None:
    def unusable() -> Vault:
        raise SettingsError("the key file cannot be used")

    asked = ask(database, clock, amo)
    take(database, clock, (asked.state, amo.access.code(KEYS.client_id), ""), vault=unusable)
    assert told(database, asked) == Answer(False, "the key file cannot be used")


def test_a_pair_waits_for_a_database_that_is_away(
    database: Database, clock: FakeClock, amo: AmoStandin, monkeypatch: pytest.MonkeyPatch
) -> None:
    away, keep = [3], tokens.keep_consent

    def keep_later(connection: Connection, *pair: Any) -> None:
        away[0] -= 1
        if away[0] >= 0:
            raise StorageError("the disk is full")
        keep(connection, *pair)

    monkeypatch.setattr(tokens, "keep_consent", keep_later)
    asked = ask(database, clock, amo)
    (answer,) = take(database, clock, (asked.state, amo.access.code(KEYS.client_id), ""))
    assert answer.given
    assert amo.access.pairs == 1
    assert database.read_now(lambda connection: tokens.kept(connection, VAULT)) is not None


def test_a_pair_that_cannot_be_kept_is_said_to_who_waits(
    database: Database, clock: FakeClock, amo: AmoStandin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_connection: Connection, *_pair: Any) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(tokens, "keep_consent", refuse)
    asked, begun = ask(database, clock, amo), clock.monotonic()
    take(database, clock, (asked.state, amo.access.code(KEYS.client_id), ""))
    answer = told(database, asked)
    assert (answer.given, "the disk is full" in answer.sentence) == (False, True)
    assert clock.monotonic() - begun < 120


def test_old_ones_are_forgotten(database: Database, clock: FakeClock, amo: AmoStandin) -> None:
    ask(database, clock, amo)
    clock.advance(2 * 86_400)
    ask(database, clock, amo)
    count = sa.select(sa.func.count()).select_from(consents.consents)
    assert database.read_now(lambda connection: connection.scalar(count)) == 1


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("example", "https://example.amocrm.ru"),
        (" Example.amocrm.ru/ ", "https://example.amocrm.ru"),
        ("http://example.kommo.com/leads/detail/1?x=y", "https://example.kommo.com"),
        ("https://my-shop.amocrm.com", "https://my-shop.amocrm.com"),
        ("http://127.0.0.1:9001", "http://127.0.0.1:9001"),
    ],
)
def test_addresses_as_people_type_them(typed: str, address: str) -> None:
    assert account_address(typed) == address


@pytest.mark.parametrize(
    "typed", ["", "a.b.amocrm.ru", "amocrm.ru", "example.amocrm.ru.evil.com", "https://evil.com/example.amocrm.ru", "["]
)
def test_addresses_that_the_token_must_not_go_to(typed: str) -> None:
    with pytest.raises(UsageError):
        account_address(typed)


@pytest.mark.parametrize(
    ("url", "exposed"),
    [
        ("https://example.amocrm.ru", False),
        ("http://example.amocrm.ru", True),
        ("http://127.0.0.1:9001", False),
        ("http://[::1]:9001", False),
    ],
)
def test_what_crosses_a_network_unencrypted(url: str, exposed: bool) -> None:
    assert is_exposed(url) == exposed


def test_the_page_of_the_consent_is_of_the_accounts_zone() -> None:
    assert consent_page("https://example.amocrm.ru", "id", "s").startswith("https://www.amocrm.ru/oauth?client_id=id&")
    assert consent_page("https://example.kommo.com", "id", "s").startswith("https://www.kommo.com/oauth?")
