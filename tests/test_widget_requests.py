"""What a Salesbot's step widget_request posts, in the shapes in which people set it up. Over HTTP."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from otvet.widget.calls import Refused, continuation, read_call
from tests.running import SECRET, Otvet, otvet
from tests.standins import bot
from tests.standins.amocrm import AmoStandin, amocrm_standin
from tests.tables import every
from tests.test_end_to_end import connected
from tests.test_heard import query

NEWEST = "SELECT (SELECT coalesce(max(id), 0) FROM messages), (SELECT coalesce(max(id), 0) FROM bot_waits), " + (
    "(SELECT coalesce(max(id), 0) FROM quarantine)"
)
SAID = """
    SELECT m.content, c.amocrm_lead_id FROM messages m JOIN conversations c ON c.id = m.conversation_id
    WHERE m.id > ? AND m.sender_type = 'client'
"""


@pytest.fixture(scope="module")
def amo() -> Iterator[AmoStandin]:
    with amocrm_standin() as amo:
        amo.any_lead = True
        yield amo


@pytest.fixture(scope="module")
def server(amo: AmoStandin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Otvet]:
    silent = {"OTVET_QUIET_SECONDS": "600", "OTVET_QUIET_MAX_SECONDS": "600"}
    own = {"OTVET_REPLY_VIA": "widget", "OTVET_AMOCRM_CLIENT_SECRET": bot.CLIENT_SECRET}
    with otvet(tmp_path_factory.mktemp("widget"), **connected(amo), **own, **silent) as running:
        yield running


def post(server: Otvet, amo: AmoStandin, body: str, claims: dict[str, Any]) -> int:
    signed = bot.token(**{"iss": amo.url, "exp": int(time.time()) + 300, **claims})
    content = body.replace("{JWT}", signed).replace("{BASE}", amo.url).encode()
    address = f"{server.url}/webhook/salesbot/{SECRET}"
    return httpx2.post(address, content=content, trust_env=False).status_code


@every("widget", "requests", "name, body, claims, status, words, lead, path, quarantined")
def test_it_is_understood_or_kept(
    server: Otvet,
    amo: AmoStandin,
    name: str,
    body: str,
    claims: dict[str, Any],
    status: int,
    words: str | None,
    lead: int | None,
    path: str | None,
    quarantined: str,
) -> None:
    ((said, waits, kept),) = query(server, NEWEST)
    logged = server.log.stat().st_size

    assert post(server, amo, body, claims) == status

    assert query(server, SAID, said) == ([(words, lead)] if words else [])
    waiting = query(server, "SELECT lead_id, return_url FROM bot_waits WHERE id > ?", waits)
    assert waiting == ([(lead, f"{amo.url}{path}")] if path else [])
    reasons = query(server, "SELECT reason, body FROM quarantine WHERE id > ?", kept)
    assert [quarantined in reason for reason, _body in reasons] == ([True] if quarantined else [])
    assert all("ey" not in aside.decode() and json.loads(aside) for _reason, aside in reasons)  # no token
    log = server.log.read_text()[logged:]
    assert "Salesbot" in log
    assert "deliver?" not in log


ZONES = ("amocrm.ru", "amocrm.com", "kommo.com")
NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize("own", ZONES)
@pytest.mark.parametrize("theirs", ZONES)
def test_an_account_is_one_in_all_zones_and_is_called_at_its_own_address(own: str, theirs: str) -> None:
    signed = bot.token(iss=f"https://example.{theirs}", entity_id=5, exp=int(NOW.timestamp()) + 60)
    url = f"https://example.{theirs}/api/v4/salesbot/84/continue/5?a=1"
    call = read_call(bot.request(url, "Hi", signed), bot.CLIENT_SECRET, f"https://example.{own}", NOW, 29085955)
    assert call.return_url == f"https://example.{own}/api/v4/salesbot/84/continue/5?a=1"
    with pytest.raises(Refused, match="another account"):
        read_call(bot.request(url, "Hi", signed), bot.CLIENT_SECRET, f"https://example.{own}", NOW, 7)
    with pytest.raises(Refused, match="another account"):
        read_call(bot.request(url, "Hi", signed), bot.CLIENT_SECRET, f"https://other.{own}", NOW, 29085955)


def test_a_port_that_every_address_has_makes_no_difference() -> None:
    url = "https://Example.amocrm.ru:443/api/v4/salesbot/84/continue/5"
    assert continuation(url, "https://example.amocrm.ru") == url.replace("Example", "example").replace(":443", "")
