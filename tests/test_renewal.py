"""The renewal of the tokens between real processes: two at the same moment, and one that dies in the middle."""

import asyncio
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
import sqlalchemy as sa

from otvet.account import tokens
from otvet.account.vault import Vault
from otvet.amocrm import oauth
from otvet.amocrm.token import Keys
from otvet.schema import upgrade
from otvet.storage.database import Database
from tests.running import Otvet, command, otvet, wait_for
from tests.standins.amocrm import AmoStandin, amocrm_standin
from tests.standins.sender import incoming
from tests.test_kill_matrix import Killable
from tests.test_several_processes import processes

KEYS = Keys("client-id", "secret-of-the-integration", "https://otvet.example.com/oauth/amocrm")
SECRET_KEY = "key of the tests " * 3
LEADS = (5001, 5002)


@pytest.fixture
def amo() -> Iterator[AmoStandin]:
    with amocrm_standin() as standin:
        standin.rate = 1000
        standin.any_lead = True
        standin.access.integration(KEYS.client_id, KEYS.client_secret, KEYS.redirect_url)
        yield standin


def settings(amo: AmoStandin, url: str) -> dict[str, str]:
    return {
        "OTVET_DATABASE_URL": url,
        "OTVET_AMOCRM_BASE_URL": amo.url,
        "OTVET_AMOCRM_CLIENT_ID": KEYS.client_id,
        "OTVET_AMOCRM_CLIENT_SECRET": KEYS.client_secret,
        "OTVET_SECRET_KEY": SECRET_KEY,
    }


def consent(amo: AmoStandin, url: str) -> None:
    """Tokens as a consent of this moment gives them."""

    async def exchange() -> oauth.Pair:
        async with httpx2.AsyncClient(trust_env=False) as http:
            return await oauth.exchange_code(http, amo.url, KEYS, amo.access.code(KEYS.client_id))

    pair, now = asyncio.run(exchange()), datetime.now(UTC)
    database = Database(url)
    upgrade.prepare(database, now)
    with database.writes.begin() as connection:
        tokens.keep_consent(connection, Vault(SECRET_KEY), amo.url, KEYS, pair, now)
    database.close()


def age(amo: AmoStandin, url: str, hours: float) -> None:
    """The tokens were given that long ago, and amoCRM does not take the present one any more.

    Whoever claimed their renewal has had the time for it.
    """
    amo.access.expire()
    database = Database(url)
    with database.writes.begin() as connection:
        row = connection.execute(sa.select(tokens.tokens)).one()
        passed = timedelta(hours=hours)
        earlier = {"issued_at": row.issued_at - passed, "expires_at": row.expires_at - passed, "claimed_until": None}
        connection.execute(tokens.tokens.update().values(earlier))
    database.close()


def watched(server: Otvet) -> Mapping[str, str]:
    found: Mapping[str, str] = server.get("/ready").get("amocrm_watch", {})
    return found


@pytest.mark.parametrize("hours", [1, 25])
def test_two_processes_that_find_the_token_gone_renew_it_once(
    tmp_path: Path, amo: AmoStandin, prepared_postgres_url: str, hours: float
) -> None:
    consent(amo, prepared_postgres_url)
    servers = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        servers.append(Otvet(tmp_path / name, **settings(amo, prepared_postgres_url)))
    with processes(servers):
        wait_for(lambda: watched(servers[0]).get("token") == "good", "the first look")
        age(amo, prepared_postgres_url, hours)
        amo.fault(path="/oauth2/access_token", delay=0.5, times=None)
        with ThreadPoolExecutor(2) as threads:
            for server, lead in zip(servers, LEADS, strict=True):
                threads.submit(server.deliver, incoming("How much?", lead_id=lead, chat_id=f"chat-{lead}"))
        wait_for(lambda: all(amo.notes(lead) for lead in LEADS), "both notes")
        wait_for(servers[0].settled, "the turns closed")
    assert [len(amo.notes(lead)) for lead in LEADS] == [1, 1]
    assert (amo.access.pairs, amo.access.refused) == (2, 0)
    log = "".join(server.log.read_text() for server in servers)
    assert not any(secret in log for secret in (*amo.access.given, KEYS.client_secret, SECRET_KEY))


def test_who_dies_with_the_new_pair_asks_for_a_consent_and_loses_no_reply(tmp_path: Path, amo: AmoStandin) -> None:
    url = f"sqlite:///{tmp_path / 'conversations.db'}"
    consent(amo, url)
    server = Killable(tmp_path, **settings(amo, url), KILL_WHERE="after POST /oauth2/access_token")
    server.at = 1
    server.start()
    wait_for(lambda: watched(server).get("token") == "good", "the first look")
    httpx2.get(server.webhook, trust_env=False)
    age(amo, url, hours=1)
    server.deliver(incoming("How much?", lead_id=LEADS[0]))
    wait_for(lambda: server.dead, "the death between amoCRM's answer and the commit")
    assert amo.access.pairs == 2
    age(amo, url, hours=0.1)
    with otvet(tmp_path, **settings(amo, url)) as restarted:
        wait_for(lambda: "withdrawn" in restarted.get("/ready")["amocrm"], "the closed gate")
        assert not restarted.settled()
        assert amo.notes(LEADS[0]) == []
        given = {**settings(amo, url), "OTVET_PUBLIC_URL": "https://otvet.example.com", "OTVET_PORT": "9"}
        command(tmp_path, "connect", "--yes", "--code", amo.access.code(KEYS.client_id), **given)
        wait_for(restarted.settled, "the turn closed")
    assert len(amo.notes(LEADS[0])) == 1


@pytest.mark.quick
def test_a_lost_key_stops_the_calls_and_keeps_the_replies(tmp_path: Path, amo: AmoStandin) -> None:
    url = f"sqlite:///{tmp_path / 'conversations.db'}"
    consent(amo, url)
    with otvet(tmp_path, **{**settings(amo, url), "OTVET_SECRET_KEY": "another key " * 3}) as server:
        wait_for(lambda: watched(server).get("token") == "bad", "the first look")
        assert "encrypted with another key" in server.get("/ready")["amocrm"]
        server.deliver(incoming("How much?", lead_id=LEADS[0]))
        assert "Traceback" not in server.log.read_text()
        assert not server.settled()
    with otvet(tmp_path, **settings(amo, url)) as server:
        wait_for(server.settled, "the turn closed")
    assert len(amo.notes(LEADS[0])) == 1
