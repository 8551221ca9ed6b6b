"""The account's OAuth tokens: renewed once by one of all, committed before they are used, and closed to readers."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import httpx2
import pytest
import sqlalchemy as sa

from otvet.account import tokens
from otvet.account.renewal import TOO_FRESH_TO_RENEW, Tokens
from otvet.account.tokens import Kept
from otvet.account.vault import Vault, key_in
from otvet.amocrm import oauth
from otvet.amocrm.answers import AmoError
from otvet.amocrm.client import AmoClient
from otvet.amocrm.token import Keys, Pair, ends_at
from otvet.clock import Clock
from otvet.errors import ServiceError, SettingsError
from otvet.storage import outages
from otvet.storage.database import Database
from tests.clocks import FakeClock
from tests.standins.amocrm import BLOCKED, AmoStandin, amocrm_standin

T = TypeVar("T")
VAULT = Vault("key of the tests " * 3)
KEYS = Keys("client-id", "client-secret", "https://otvet.example.com/oauth/amocrm")
DAY = 86_400


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def amo(database: Database, clock: FakeClock) -> Iterator[AmoStandin]:
    """An account that has given its consent."""
    with amocrm_standin() as standin:
        standin.rate = 1000
        standin.access.integration(KEYS.client_id, KEYS.client_secret, KEYS.redirect_url)

        async def consent(http: httpx2.AsyncClient) -> Pair:
            return await oauth.exchange_code(http, standin.url, KEYS, standin.access.code(KEYS.client_id))

        pair = asyncio.run(with_http(consent))
        with database.writes.begin() as connection:
            tokens.keep_consent(connection, VAULT, standin.url, KEYS, pair, clock.now())
        standin.log.clear()
        yield standin


async def with_http(use: Callable[[httpx2.AsyncClient], Awaitable[T]]) -> T:
    async with httpx2.AsyncClient(trust_env=False) as http:
        return await use(http)


def run(
    database: Database,
    clock: Clock,
    amo: AmoStandin,
    use: Callable[[Tokens], Awaitable[T]],
    vault: Vault = VAULT,
    base_url: str = "",
) -> T:
    """As a process of its own would."""

    async def go(http: httpx2.AsyncClient) -> T:
        own = Database(database.url)
        own.start()
        try:
            return await use(Tokens(own, clock, http, vault, base_url or amo.url, KEYS))
        finally:
            await own.stop()

    return asyncio.run(with_http(go))


def now_kept(database: Database) -> Kept:
    found = database.read_now(lambda connection: tokens.kept(connection, VAULT))
    assert found is not None
    return found


def exchanges(amo: AmoStandin) -> int:
    return sum(entry["path"] == "/oauth2/access_token" for entry in amo.log)


async def prepare(source: Tokens) -> str:
    await source.prepare()
    return await source.token()


def test_it_is_left_alone_until_a_quarter_of_its_life_is_left(
    database: Database, clock: FakeClock, amo: AmoStandin
) -> None:
    first = run(database, clock, amo, prepare)
    clock.advance(0.75 * DAY - 1)
    assert run(database, clock, amo, prepare) == first
    assert exchanges(amo) == 0
    clock.advance(1)
    second = run(database, clock, amo, prepare)
    assert second != first
    assert (now_kept(database).access, now_kept(database).version) == (second, 2)
    assert now_kept(database).expires_at == clock.now() + timedelta(days=1)
    assert run(database, clock, amo, prepare) == second
    assert exchanges(amo) == 1


def test_of_two_processes_one_renews_and_the_other_waits_for_it(
    database: Database, clock: FakeClock, amo: AmoStandin
) -> None:
    amo.fault(path="/oauth2/access_token", delay=0.3, times=None)
    clock.advance(2 * DAY)

    async def both(http: httpx2.AsyncClient) -> list[str]:
        databases = [Database(database.url) for _process in range(2)]
        for one in databases:
            one.start()
        real = RealPauses(clock)
        try:
            return await asyncio.gather(
                *(prepare(Tokens(one, real, http, VAULT, amo.url, KEYS)) for one in databases for _task in range(3))
            )
        finally:
            for one in databases:
                await one.stop()

    found = asyncio.run(with_http(both))
    assert len(set(found)) == 1
    assert exchanges(amo) == 1
    assert amo.access.refused == 0


class RealPauses(FakeClock):
    """The wall clock stands; pauses are short but real, because another process is waited for."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock.now())
        self._real = asyncio.sleep

    async def sleep(self, seconds: float) -> None:
        await self._real(0.02)
        self.advance(0.02)


def test_a_process_that_died_while_renewing_is_replaced(database: Database, clock: FakeClock, amo: AmoStandin) -> None:
    clock.advance(2 * DAY)
    amo.fault(path="/oauth2/access_token", drop="before")
    with pytest.raises(AmoError) as caught:
        run(database, clock, amo, prepare)
    assert caught.value.reason == "network"
    assert exchanges(amo) == 1
    if database.is_sqlite:  # PostgreSQL's own clock says how old a claim is
        clock.advance(tokens.CLAIM.total_seconds() + 1)
    else:
        with database.writes.begin() as connection:
            earlier = tokens.tokens.c.claimed_until - sa.text("interval '61 seconds'")
            connection.execute(tokens.tokens.update().values(claimed_until=earlier))
    run(database, clock, amo, prepare)
    assert exchanges(amo) == 2
    assert now_kept(database).version == 2


def test_a_failed_renewal_leaves_the_present_token_in_use_and_amocrm_alone(
    database: Database, clock: FakeClock, amo: AmoStandin
) -> None:
    first = now_kept(database).access
    amo.fault(path="/oauth2/access_token", status=503, times=None)
    clock.advance(0.8 * DAY)
    for _call in range(5):
        assert run(database, clock, amo, prepare) == first
    assert exchanges(amo) == 1


def gate_of(database: Database) -> outages.Outage | None:
    return database.read_now(lambda connection: outages.current(connection))


async def ask_for_a_deal(source: Tokens, base_url: str, clock: FakeClock, times: int) -> set[str]:
    """As what reads deals in the background does, once a minute; gives what it was told."""
    told = set()
    gate = partial(outages.check, source._database)
    async with httpx2.AsyncClient(trust_env=False) as http:
        for _ in range(times):
            try:
                await AmoClient(http, base_url, source, None, gate).lead(1)
            except ServiceError as error:
                told.add(type(error).__name__)
            clock.advance(60)
    return told


def test_no_token_is_renewed_behind_a_closed_gate(database: Database, clock: FakeClock, amo: AmoStandin) -> None:
    clock.advance(0.9 * DAY)
    with database.writes.begin() as connection:
        outages.begin(connection, "banned", "Blocked.", clock.now())
    assert run(database, clock, amo, lambda source: ask_for_a_deal(source, amo.url, clock, 60)) == {"Blocked"}
    assert amo.log == []


@pytest.mark.parametrize("hours", [20, 25])
@pytest.mark.parametrize(
    ("status", "body", "reason"), [(403, BLOCKED, "banned"), (403, "{}", "forbidden"), (402, "{}", "payment")]
)
def test_a_renewal_that_is_refused_as_everything_is_closes_the_gate(
    database: Database, clock: FakeClock, amo: AmoStandin, status: int, body: str, reason: str, hours: float
) -> None:
    clock.advance(hours * 3600)
    amo.fault(path="/oauth2/access_token", status=status, body=body, times=None)
    told = run(database, clock, amo, lambda source: ask_for_a_deal(source, amo.url, clock, 60))
    assert told == {"AmoError", "Blocked"}
    assert [one["path"] for one in amo.log] == ["/oauth2/access_token"]
    gate = gate_of(database)
    assert gate is not None
    assert gate.reason == reason


def test_a_renewal_takes_its_place_among_the_calls(database: Database, clock: FakeClock, amo: AmoStandin) -> None:
    clock.advance(2 * DAY)
    places: list[int] = []

    class Places:
        async def acquire(self) -> None:
            places.append(exchanges(amo))

    async def limited(source: Tokens) -> None:
        source._limiter = Places()
        await source.prepare()
        with database.writes.begin() as connection:
            connection.execute(tokens.tokens.update().values(expires_at=clock.now()))
            assert tokens.claim(connection, 2, clock.now())
        with pytest.raises(AmoError):  # another process is at it: no place is taken
            await source.prepare()

    run(database, clock, amo, limited)
    assert places == [0]


def test_what_amocrm_refuses_for_good_stops_when_the_token_ends(
    database: Database, clock: FakeClock, amo: AmoStandin
) -> None:
    first = now_kept(database).access
    with database.writes.begin() as connection:  # the pair was used up by who died before the commit
        connection.execute(tokens.tokens.update().values(refresh_token=VAULT.seal("used up")))
    clock.advance(0.8 * DAY)
    assert run(database, clock, amo, prepare) == first
    refusal = now_kept(database).refusal
    assert refusal
    assert "otvet connect" in refusal
    clock.advance(0.2 * DAY)
    with pytest.raises(AmoError) as caught:
        run(database, clock, amo, prepare)
    assert (caught.value.reason, str(caught.value)) == ("unauthorized", refusal)
    assert exchanges(amo) == 1


def test_a_new_consent_takes_its_place_and_opens_the_gate(
    database: Database, clock: FakeClock, amo: AmoStandin
) -> None:
    with database.writes.begin() as connection:
        connection.execute(tokens.tokens.update().values(refusal="gone"))
        outages.begin(connection, "unauthorized", "gone", clock.now())
        tokens.keep_consent(connection, VAULT, amo.url, KEYS, Pair("new", "next", DAY), clock.now())
    assert run(database, clock, amo, prepare) == "new"
    assert (now_kept(database).version, now_kept(database).refusal) == (2, None)
    assert database.read_now(lambda connection: outages.current(connection)) is None


def test_the_new_pair_of_a_consent_in_between_is_not_overwritten(
    database: Database, clock: FakeClock, amo: AmoStandin
) -> None:
    clock.advance(2 * DAY)

    async def consented_meanwhile(source: Tokens) -> str:
        amo.fault(path="/oauth2/access_token", delay=0.3)
        renewing = asyncio.ensure_future(source.prepare())
        while not exchanges(amo):
            await asyncio.sleep(0.01)
        pair = Pair("of the consent", "next", DAY)
        with database.writes.begin() as connection:
            tokens.keep_consent(connection, VAULT, amo.url, KEYS, pair, clock.now())
        await renewing
        return await source.token()

    assert run(database, clock, amo, consented_meanwhile) == "of the consent"


def test_a_401_before_its_time_renews_once(database: Database, clock: FakeClock, amo: AmoStandin) -> None:
    amo.access.expire()
    clock.advance(TOO_FRESH_TO_RENEW.total_seconds())

    async def call(source: Tokens) -> str:
        async with httpx2.AsyncClient(trust_env=False) as http:
            return (await AmoClient(http, amo.url, source, None).account()).name

    assert run(database, clock, amo, call) == "Example"
    assert [entry["status"] for entry in amo.log] == [401, 200, 200]


def test_a_token_that_was_just_given_is_not_renewed_for_a_401(
    database: Database, clock: FakeClock, amo: AmoStandin
) -> None:
    amo.access.expire()

    async def call(source: Tokens) -> None:
        async with httpx2.AsyncClient(trust_env=False) as http:
            await AmoClient(http, amo.url, source, None).account()

    with pytest.raises(AmoError) as caught:
        run(database, clock, amo, call)
    assert caught.value.reason == "unauthorized"
    assert exchanges(amo) == 0


def test_a_note_whose_slot_was_taken_before_is_not_sent_with_the_new_token(
    database: Database, clock: FakeClock, amo: AmoStandin
) -> None:
    amo.add_lead(5)
    amo.access.expire()
    clock.advance(DAY / 2)

    async def call(source: Tokens) -> None:
        async with (
            httpx2.AsyncClient(trust_env=False) as http,
            AmoClient(http, amo.url, source, None).slot() as slot,
        ):
            await slot.add_note(5, "text")

    with pytest.raises(AmoError) as caught:
        run(database, clock, amo, call)
    assert (caught.value.reason, caught.value.permanent, caught.value.ambiguous) == ("unavailable", False, False)
    assert amo.notes(5) == []
    run(database, clock, amo, call)
    assert len(amo.notes(5)) == 1


def test_a_database_that_is_away_is_waited_for(database: Database, clock: FakeClock, amo: AmoStandin) -> None:
    clock.advance(2 * DAY)
    table = tokens.tokens

    async def through(source: Tokens) -> str:
        amo.fault(path="/oauth2/access_token", delay=0.3)
        renewing = asyncio.ensure_future(source.prepare())
        while not exchanges(amo):
            await asyncio.sleep(0.01)
        with database.writes.begin() as connection:
            connection.execute(sa.text(f"ALTER TABLE {table.name} RENAME TO elsewhere"))

        def bring_back() -> None:
            with database.writes.begin() as connection:
                if sa.inspect(connection).has_table("elsewhere"):
                    connection.execute(sa.text(f"ALTER TABLE elsewhere RENAME TO {table.name}"))

        clock.on_sleep = bring_back
        await renewing
        return await source.token()

    assert run(database, clock, amo, through) == now_kept(database).access
    assert now_kept(database).version == 2


def test_who_is_cancelled_does_not_lose_the_new_pair(database: Database, clock: FakeClock, amo: AmoStandin) -> None:
    clock.advance(2 * DAY)

    async def cancelled(source: Tokens) -> None:
        amo.fault(path="/oauth2/access_token", delay=0.3)
        renewing = asyncio.ensure_future(source.prepare())
        while not exchanges(amo):
            await asyncio.sleep(0.01)
        renewing.cancel()
        await source.finish(clock.monotonic())  # for which there is no time left
        assert now_kept(database).version == 1
        await source.finish(clock.monotonic() + 10)

    run(database, clock, amo, cancelled)
    assert now_kept(database).version == 2


def test_neither_the_database_nor_a_repr_shows_a_token(database: Database, amo: AmoStandin) -> None:
    def everything(connection: sa.Connection) -> str:
        tables = sa.inspect(connection).get_table_names()
        return repr([connection.execute(sa.text(f'SELECT * FROM "{name}"')).all() for name in tables])

    for text in (database.read_now(everything), repr(now_kept(database)), repr(KEYS), repr(Pair("access", "r", 1))):
        assert not any(secret in text for secret in (*amo.access.given, KEYS.client_secret, "'access'"))


def test_another_key_and_another_account_are_told_apart(database: Database, clock: FakeClock, amo: AmoStandin) -> None:
    with pytest.raises(AmoError, match="OTVET_SECRET_KEY") as caught:
        run(database, clock, amo, prepare, vault=Vault("another key " * 3))
    assert caught.value.reason == "unauthorized"  # so the gate closes, and replies wait
    with pytest.raises(SettingsError, match="OTVET_SECRET_KEY"):
        run(database, clock, amo, Tokens.look, vault=Vault("another key " * 3))
    with pytest.raises(AmoError, match="no consent"):
        run(database, clock, amo, prepare, base_url="https://other.amocrm.ru")


def test_the_key_file_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "conversations.key"
    key = key_in(file)
    assert key_in(file) == key
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.glob(".*")) == []
    with pytest.raises(SettingsError, match="OTVET_SECRET_KEY"):
        key_in(tmp_path / "nowhere" / "key")


@pytest.mark.parametrize("token", ["opaque", "a.b.c", "e30.e30.e30", "é.é.é", "a.W10.c", "a.eyJleHAiOiJ4In0.c"])
def test_a_token_that_says_no_end(token: str) -> None:
    assert ends_at(token) is None


def test_the_end_of_a_long_lived_token_is_read_from_it() -> None:
    end = ends_at("eyJhbGciOiJub25lIn0.eyJleHAiOjE3OTkyMDAwMDB9.x")
    assert end is not None
    assert end.timestamp() == 1799200000


def test_the_keys_follow_no_redirect(database: Database, clock: FakeClock, amo: AmoStandin) -> None:
    clock.advance(2 * DAY)
    with amocrm_standin() as elsewhere:
        headers = {"Location": f"{elsewhere.url}/oauth2/access_token"}
        amo.fault(path="/oauth2/access_token", status=307, headers=headers)
        with pytest.raises(AmoError):
            run(database, clock, amo, prepare)
        assert elsewhere.log == []


@pytest.mark.parametrize("answer", ['{"access_token": "one"}', '{"access_token": "a b", "refresh_token": "c"}', "[]"])
def test_an_answer_without_tokens_changes_nothing(
    database: Database, clock: FakeClock, amo: AmoStandin, answer: str
) -> None:
    clock.advance(2 * DAY)
    amo.fault(path="/oauth2/access_token", status=200, body=answer)
    with pytest.raises(AmoError):
        run(database, clock, amo, prepare)
    assert now_kept(database).version == 1


def test_a_claim_made_a_moment_later_by_another_process_holds(
    database: Database, clock: FakeClock, amo: AmoStandin
) -> None:
    """Who looked at its clock first may come to the row second."""
    earlier = clock.now() - timedelta(seconds=1)
    with database.writes.begin() as connection:
        version = connection.scalar(sa.select(tokens.tokens.c.version))
        assert tokens.claim(connection, version, clock.now())
        ends = connection.scalar(sa.select(tokens.tokens.c.claimed_until)) + timedelta(seconds=1)
        connection.execute(tokens.tokens.update().values(claimed_until=ends))
        assert not tokens.claim(connection, version, earlier)
