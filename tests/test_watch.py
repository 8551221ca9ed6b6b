"""The watch over the account: what it notices, what it mends, and that it asks no more often than it may."""

import asyncio
import base64
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from otvet import gates
from otvet.amocrm.client import AmoClient
from otvet.amocrm.token import FixedToken
from otvet.connection import known_account, watched
from otvet.connection.watch import EVERY, Watch, Watched
from otvet.connection.watched import DELIVERIES, TOKEN, WEBHOOK
from otvet.database import Database
from otvet.inbox import Inbox
from tests.clocks import FakeClock
from tests.standins.amocrm import BLOCKED, AmoStandin, amocrm_standin
from tests.standins.sender import ACCOUNT, body, incoming, message

HOOK = "https://otvet.example.com/webhook/amocrm/secret-of-the-webhook"
TEN_MINUTES = EVERY.total_seconds()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def amo() -> Iterator[AmoStandin]:
    with amocrm_standin() as standin:
        standin.rate = 1000
        yield standin


class Process:
    """A process that watches; each of its methods is a life of its own on the same database."""

    def __init__(self, database: Database, clock: FakeClock, amo: AmoStandin, destination: str | None = HOOK) -> None:
        self._url = database.url
        self._clock = clock
        self._amo = amo
        self._over = Watched(amo.url, destination, timedelta(hours=24))
        self.inbox: Inbox | None = None

    def tick(self, *deliveries: bytes) -> dict[str, Any]:
        """What was seen by subject: (state, sentence)."""
        return asyncio.run(self._tick(deliveries))

    async def _tick(self, deliveries: tuple[bytes, ...]) -> dict[str, Any]:
        database = Database(self._url)
        database.start()
        try:
            async with httpx2.AsyncClient(trust_env=False) as http:

                async def gate() -> None:
                    await gates.pass_through(database, gates.AMOCRM)

                source = FixedToken(self._amo.token)
                client = AmoClient(http, self._amo.url, source, None, gate)
                self.inbox = Inbox(database, self._clock, lambda turns: None)
                for delivery in deliveries:
                    await self.inbox.receive(delivery)
                await Watch(database, self._clock, client, source, self.inbox, self._over).tick()
                self.after = [await self.inbox.receive(delivery) for delivery in deliveries]
            found = await database.read(watched.seen)
            return {subject: (seen.state, seen.sentence) for subject, seen in found.items()}
        finally:
            await database.stop()


@pytest.fixture
def process(database: Database, clock: FakeClock, amo: AmoStandin) -> Process:
    return Process(database, clock, amo)


def posts(amo: AmoStandin) -> int:
    return sum((entry["method"], entry["path"]) == ("POST", "/api/v4/webhooks") for entry in amo.log)


def test_it_looks_once_in_ten_minutes_whichever_process_does(
    database: Database, clock: FakeClock, amo: AmoStandin, process: Process
) -> None:
    process.tick()
    asked = len(amo.log)
    assert asked
    Process(database, clock, amo).tick()
    clock.advance(TEN_MINUTES - 1)
    process.tick()
    assert len(amo.log) == asked
    clock.advance(1)
    Process(database, clock, amo).tick()
    assert len(amo.log) > asked


def test_a_clock_that_was_set_back_does_not_end_the_watch(clock: FakeClock, amo: AmoStandin, process: Process) -> None:
    process.tick()
    clock.advance(-30 * 86_400)
    asked = len(amo.log)
    process.tick()
    assert len(amo.log) > asked


def test_a_missing_webhook_is_subscribed(clock: FakeClock, amo: AmoStandin, process: Process) -> None:
    state, sentence = process.tick()[WEBHOOK]
    assert (state, "missing" in sentence) == ("warning", True)
    assert "add_message" in amo.access.hooks[HOOK]["settings"]
    clock.advance(TEN_MINUTES)
    with capture_logs() as logs:
        assert process.tick()[WEBHOOK][0] == "good"
    assert {(entry["subject"], entry["state"]) for entry in logs if "subject" in entry} == {(WEBHOOK, "good")}
    assert posts(amo) == 1


@pytest.mark.parametrize("stays", [False, True])
def test_a_disabled_webhook_is_noticed_and_mended(
    clock: FakeClock, amo: AmoStandin, process: Process, stays: bool
) -> None:
    amo.access.stays_disabled = stays
    process.tick()
    clock.advance(TEN_MINUTES)
    amo.access.disable_hooks()
    with capture_logs() as logs:
        state, sentence = process.tick()[WEBHOOK]
    assert (state, "switched the webhook off" in sentence) == ("warning", True)
    assert [entry["log_level"] for entry in logs if entry.get("subject") == WEBHOOK] == ["warning"]
    assert "secret-of-the-webhook" not in repr(logs) + sentence
    assert amo.access.hooks[HOOK]["disabled"] is False
    clock.advance(TEN_MINUTES)
    assert process.tick()[WEBHOOK][0] == "good"


def test_a_webhook_that_cannot_be_switched_on_says_where_to_click(amo: AmoStandin, process: Process) -> None:
    amo.access.born_disabled = True
    state, sentence = process.tick()[WEBHOOK]
    assert state == "bad"
    assert "amoMarket" in sentence


@pytest.mark.parametrize("status", [402, 403])
def test_what_a_token_may_not_see_is_a_warning_and_closes_nothing(
    database: Database, amo: AmoStandin, process: Process, status: int
) -> None:
    amo.fault(path="/api/v4/webhooks", status=status, times=None)
    assert process.tick()[WEBHOOK][0] == "warning"
    assert database.look(lambda connection: gates.closed(connection, gates.AMOCRM)) is None


def test_without_a_public_address_there_is_nothing_to_look_for(
    database: Database, clock: FakeClock, amo: AmoStandin
) -> None:
    state, sentence = Process(database, clock, amo, destination=None).tick()[WEBHOOK]
    assert (state, "OTVET_PUBLIC_URL" in sentence) == ("warning", True)
    assert posts(amo) == 0


def test_a_refused_token_closes_the_gate(database: Database, clock: FakeClock, amo: AmoStandin) -> None:
    process = Process(database, clock, amo)
    amo.fault(path="/api/v4/account", status=401, times=None)
    assert process.tick()[TOKEN][0] == "bad"
    closed = database.look(lambda connection: gates.closed(connection, gates.AMOCRM))
    assert closed is not None
    assert closed.reason == "unauthorized"
    asked = len(amo.log)
    clock.advance(TEN_MINUTES)
    state, sentence = process.tick()[TOKEN]  # the lookout tries, not the watch
    assert (state, sentence) == ("bad", closed.sentence)
    assert len(amo.log) == asked


def test_a_ban_is_respected(database: Database, clock: FakeClock, amo: AmoStandin, process: Process) -> None:
    amo.fault(status=403, body=BLOCKED, content_type="text/html", times=None)
    process.tick()
    asked = len(amo.log)
    assert asked == 1
    for _look in range(5):
        clock.advance(TEN_MINUTES)
        process.tick()
    assert len(amo.log) == asked


@pytest.mark.parametrize(("days", "state"), [(31, "good"), (29, "warning")])
def test_the_end_of_a_long_lived_token_is_told_30_days_ahead(
    database: Database, clock: FakeClock, amo: AmoStandin, days: int, state: str
) -> None:
    ends = clock.now() + timedelta(days=days)
    claims = base64.urlsafe_b64encode(json.dumps({"exp": int(ends.timestamp())}).encode()).rstrip(b"=").decode()
    amo.token = f"header.{claims}.signature"
    found = Process(database, clock, amo).tick()[TOKEN]
    assert (found[0], ends.astimezone().strftime("%d.%m.%Y") in found[1]) == (state, True)
    numbers = database.look(watched.for_metrics)
    assert numbers["amocrm_token_ends_timestamp_seconds"] == int(ends.timestamp())


def test_silence_is_a_warning_until_something_comes(clock: FakeClock, process: Process) -> None:
    assert process.tick()[DELIVERIES][0] == "good"
    clock.advance(24 * 3600 + 1)
    state, sentence = process.tick()[DELIVERIES]
    assert (state, "nothing has come" in sentence) == ("warning", True)
    clock.advance(TEN_MINUTES)
    assert process.tick(incoming("hello"))[DELIVERIES][0] == "good"
    clock.advance(23 * 3600)
    assert process.tick()[DELIVERIES][0] == "good"
    clock.advance(2 * 3600)
    assert process.tick()[DELIVERIES][0] == "warning"


def test_the_account_is_learnt_and_others_are_told_from_it(
    database: Database, clock: FakeClock, amo: AmoStandin, process: Process
) -> None:
    ours = body(("message", "add", [message("ours")]), account=ACCOUNT)
    renamed = body(("message", "add", [message("renamed")]), account={**ACCOUNT, "subdomain": "new-name"})
    unnamed = body(("message", "add", [message("unnamed")]), account={})
    foreign = body(("message", "add", [message("foreign")]), account={**ACCOUNT, "id": 7})
    by_name = body(("message", "add", [message("by name")]), account={"subdomain": "other"})
    process.tick(ours, renamed, unnamed, foreign, by_name)  # before the look nothing is known, all are taken
    assert [stored.duplicates for stored in process.after] == [1, 1, 1, 0, 0]
    other = database.look(lambda connection: known_account.recall(connection, "https://other.amocrm.ru"))
    assert other is None
