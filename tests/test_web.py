"""Everything over HTTP besides the webhook's happy path: probes, numbers, pages of messages, who may read them."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from otvet.web.webhook import LARGEST_BODY
from tests.running import Otvet, otvet, wait_for
from tests.standins.sender import incoming

LEAD = 27754599
NO_SUCH = "/webhook/amocrm/another-secret-altogether"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Otvet]:
    one_turn = {"OTVET_QUIET_SECONDS": "1", "OTVET_QUIET_MAX_SECONDS": "20"}  # also on a machine that is busy
    with otvet(tmp_path_factory.mktemp("server"), **one_turn) as server:
        for number in range(5):
            server.deliver(incoming(f"message {number}", message_id=f"m-{number}", created_at=1758650000 + number))
        wait_for(server.settled, "the turn closed")
        yield server


def rows(server: Otvet, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(server.folder / "conversations.db")) as connection:
        return connection.execute(query).fetchall()


def test_health_and_ready(server: Otvet) -> None:
    assert server.get("/health")["status"] == "ok"
    assert server.get("/ready") == {
        "status": "ready",
        "database_writable": True,
        "workflows_running": True,
        "amocrm": "not connected",
        "quarantined": 0,
        "settings": "",
    }


def test_the_webhook_says_ok_to_a_get(server: Otvet) -> None:
    assert httpx2.get(server.webhook, trust_env=False).status_code == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_secret_is_nowhere(server: Otvet, method: str) -> None:
    before = rows(server, "SELECT count(*) FROM messages")
    answer = httpx2.request(method, server.url + NO_SUCH, content=incoming("hello") if method == "POST" else None)
    assert answer.status_code == 404
    assert rows(server, "SELECT count(*) FROM messages") == before


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff\xfe\x00", b"{", b"[1, 2]", b"hello", b"message[add]=1", b"message[add][0][text]=no+ids", b"&&=&="],
)
def test_what_is_not_understood_gets_a_200_and_is_kept_raw(server: Otvet, body: bytes) -> None:
    assert server.deliver(body).status_code == 200
    kept = rows(server, "SELECT body FROM quarantine")
    assert (body,) in kept
    assert server.get("/ready")["quarantined"] == len(kept)


def test_a_body_without_end_is_cut_and_kept(server: Otvet) -> None:
    assert server.deliver(b"message[add][0][text]=" + b"x" * LARGEST_BODY).status_code == 200
    ((size, reason),) = rows(server, "SELECT length(body), reason FROM quarantine WHERE reason LIKE 'larger%'")
    assert size == 64 * 1024
    assert str(LARGEST_BODY) in str(reason)


def test_numbers_add_up(server: Otvet) -> None:
    server.deliver(incoming("message 0", message_id="m-0", created_at=1758650000))
    numbers = server.get("/api/stats")
    assert numbers["messages_saved"] == 5
    assert numbers["messages_received"] == numbers["messages_saved"] + numbers["duplicates"]
    assert numbers["duplicates"] >= 1
    assert numbers["replies_kept"] == 1
    assert numbers["uptime_seconds"] >= 0


def test_metrics_are_prometheus_text(server: Otvet) -> None:
    text = server.api("GET", "/metrics").text
    assert "otvet_messages_saved_total 5.0" in text
    assert 'otvet_turns{state="kept"} 1.0' in text
    assert 'otvet_deliveries_total{result="stored"}' in text


def test_a_deals_messages_come_in_pages_from_the_newest(server: Otvet) -> None:
    seen: list[str] = []
    cursor = 0
    while True:
        page = server.get(f"/api/conversations/{LEAD}/messages?limit=2&before={cursor}")
        seen = [one["content"] for one in page["messages"] if one["sender_type"] == "client"] + seen
        if not page["next"]:
            break
        cursor = page["next"]
    assert seen == [f"message {number}" for number in range(5)]


def test_conversations_come_in_pages(server: Otvet) -> None:
    for lead in (1, 2, 3):
        server.deliver(incoming("hello", lead_id=lead, chat_id=f"chat-{lead}", contact_id=lead))
    wait_for(server.settled, "the turns closed")
    first = server.get("/api/conversations?limit=3")
    rest = server.get("/api/conversations", params={"limit": 3, "before": first["next"]})
    leads = [one["lead_id"] for one in (*first["conversations"], *rest["conversations"])]
    assert sorted(leads) == [1, 2, 3, LEAD]
    assert rest["next"] is None


@pytest.mark.parametrize(
    "path",
    ["/api/conversations?before=x", "/api/conversations?limit=0", f"/api/conversations/{LEAD}/messages?before=999999"],
)
def test_a_page_that_is_none_is_an_error_in_words(server: Otvet, path: str) -> None:
    answer = server.api("GET", path)
    assert answer.status_code == 422
    assert answer.json()["detail"]


def test_an_unknown_deal_is_404(server: Otvet) -> None:
    assert server.api("GET", "/api/conversations/404404/messages").status_code == 404


def test_a_locked_database_is_503_in_time_and_nothing_half_written(tmp_path: Path) -> None:
    with otvet(tmp_path) as server:
        with closing(sqlite3.connect(tmp_path / "conversations.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            refused = server.deliver(incoming("hello"))
            not_ready = httpx2.get(f"{server.url}/ready", trust_env=False)
            other.execute("ROLLBACK")
        assert refused.status_code == 503
        assert refused.elapsed.total_seconds() < 2
        assert not_ready.status_code == 503
        assert server.messages(LEAD) == []
        assert server.deliver(incoming("hello")).json() == {"saved": 1, "duplicates": 0}
