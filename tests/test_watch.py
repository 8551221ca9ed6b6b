"""The watch over the account: what it notices, what it mends, and that it asks no more often than it may."""

import asyncio
import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from otvet.account import health
from otvet.account.health import DELIVERIES, TOKEN, WEBHOOK
from otvet.account.watch import Watch, Watched
from otvet.amocrm import addresses
from otvet.amocrm.client import AmoClient
from otvet.amocrm.events import read_delivery
from otvet.amocrm.token import FixedToken
from otvet.app.wiring import wire
from otvet.intake import own_account
from otvet.intake.inbox import Inbox
from otvet.intake.own_account import Known
from otvet.settings.loading import load_settings
from otvet.settings.working_hours import Hours, read, zone_of
from otvet.storage import outages
from otvet.storage.database import Database
from tests.clocks import FakeClock
from tests.standins.amocrm import BLOCKED, AmoStandin, amocrm_standin
from tests.standins.sender import ACCOUNT, body, incoming, message

HOOK = "https://otvet.example.com/webhook/amocrm/secret-of-the-webhook"
TEN_MINUTES = 600


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

    def __init__(
        self,
        database: Database,
        clock: FakeClock,
        amo: AmoStandin,
        destination: str | None = HOOK,
        *,
        silence: timedelta | None = None,
        hours: Hours | None = None,
        zone: tzinfo | None = None,
    ) -> None:
        self._url = database.url
        self._clock = clock
        self._amo = amo
        self._over = Watched(amo.url, destination, silence, hours, zone)
        self.inbox: Inbox | None = None
        self.known = False  # whether the account is, when the deliveries come

    def look(self, *deliveries: bytes) -> dict[str, Any]:
        """What was seen by subject: (state, sentence)."""
        return asyncio.run(self._look(deliveries))

    async def _look(self, deliveries: tuple[bytes, ...]) -> dict[str, Any]:
        database = Database(self._url)
        database.start()
        try:
            async with httpx2.AsyncClient(trust_env=False) as http:

                async def gate() -> None:
                    await outages.check(database)

                source = FixedToken(self._amo.token)
                client = AmoClient(http, self._amo.url, source, None, gate)
                self.inbox = Inbox(database, self._clock, lambda turns: None)
                if self.known:
                    self.inbox.account = await database.read(
                        lambda connection: own_account.expected(connection, self._amo.url)
                    )
                for delivery in deliveries:
                    await self.inbox.receive(delivery)
                await Watch(database, self._clock, client, source, self.inbox, self._over).look()
                self.after = [await self.inbox.receive(delivery) for delivery in deliveries]
            found = await database.read(health.seen)
            return {subject: (seen.state, seen.sentence) for subject, seen in found.items()}
        finally:
            await database.stop()


@pytest.fixture
def process(database: Database, clock: FakeClock, amo: AmoStandin) -> Process:
    return Process(database, clock, amo)


def posts(amo: AmoStandin) -> int:
    return sum((entry["method"], entry["path"]) == ("POST", "/api/v4/webhooks") for entry in amo.log)


def test_a_missing_webhook_is_subscribed(clock: FakeClock, amo: AmoStandin, process: Process) -> None:
    state, sentence = process.look()[WEBHOOK]
    assert (state, "missing" in sentence) == ("warning", True)
    assert "add_message" in amo.access.hooks[HOOK]["settings"]
    clock.advance(TEN_MINUTES)
    with capture_logs() as logs:
        assert process.look()[WEBHOOK][0] == "good"
    assert {(entry["subject"], entry["state"]) for entry in logs if "subject" in entry} == {(WEBHOOK, "good")}
    assert posts(amo) == 1


@pytest.mark.parametrize("stays", [False, True])
def test_a_disabled_webhook_is_noticed_and_mended(
    clock: FakeClock, amo: AmoStandin, process: Process, stays: bool
) -> None:
    amo.access.stays_disabled = stays
    process.look()
    clock.advance(TEN_MINUTES)
    amo.access.disable_hooks()
    with capture_logs() as logs:
        state, sentence = process.look()[WEBHOOK]
    assert (state, "switched the webhook off" in sentence) == ("warning", True)
    assert [entry["log_level"] for entry in logs if entry.get("subject") == WEBHOOK] == ["warning"]
    assert "secret-of-the-webhook" not in repr(logs) + sentence
    assert amo.access.hooks[HOOK]["disabled"] is False
    clock.advance(TEN_MINUTES)
    assert process.look()[WEBHOOK][0] == "good"


def test_a_webhook_that_cannot_be_switched_on_says_where_to_click(amo: AmoStandin, process: Process) -> None:
    amo.access.born_disabled = True
    state, sentence = process.look()[WEBHOOK]
    assert state == "bad"
    assert "amoMarket" in sentence


@pytest.mark.parametrize("status", [402, 403])
def test_what_a_token_may_not_see_is_a_warning_and_closes_nothing(
    database: Database, amo: AmoStandin, process: Process, status: int
) -> None:
    amo.fault(path="/api/v4/webhooks", status=status, times=None)
    assert process.look()[WEBHOOK][0] == "warning"
    assert database.read_now(lambda connection: outages.current(connection)) is None


def test_without_a_public_address_there_is_nothing_to_look_for(
    database: Database, clock: FakeClock, amo: AmoStandin
) -> None:
    state, sentence = Process(database, clock, amo, destination=None).look()[WEBHOOK]
    assert (state, "OTVET_PUBLIC_URL" in sentence) == ("warning", True)
    assert posts(amo) == 0


def test_a_refused_token_closes_the_gate(database: Database, clock: FakeClock, amo: AmoStandin) -> None:
    process = Process(database, clock, amo)
    amo.fault(path="/api/v4/account", status=401, times=None)
    assert process.look()[TOKEN][0] == "bad"
    closed = database.read_now(lambda connection: outages.current(connection))
    assert closed is not None
    assert closed.reason == "unauthorized"
    asked = len(amo.log)
    clock.advance(TEN_MINUTES)
    state, sentence = process.look()[TOKEN]  # the outage probe tries, not the watch
    assert (state, sentence) == ("bad", closed.sentence)
    assert len(amo.log) == asked


def test_a_ban_is_respected(database: Database, clock: FakeClock, amo: AmoStandin, process: Process) -> None:
    amo.fault(status=403, body=BLOCKED, content_type="text/html", times=None)
    process.look()
    asked = len(amo.log)
    assert asked == 1
    for _look in range(5):
        clock.advance(TEN_MINUTES)
        process.look()
    assert len(amo.log) == asked


@pytest.mark.parametrize(("days", "state"), [(31, "good"), (29, "warning")])
def test_the_end_of_a_long_lived_token_is_told_30_days_ahead(
    database: Database, clock: FakeClock, amo: AmoStandin, days: int, state: str
) -> None:
    ends = clock.now() + timedelta(days=days)
    claims = base64.urlsafe_b64encode(json.dumps({"exp": int(ends.timestamp())}).encode()).rstrip(b"=").decode()
    amo.token = f"header.{claims}.signature"
    found = Process(database, clock, amo).look()[TOKEN]
    assert (found[0], ends.astimezone().strftime("%d.%m.%Y") in found[1]) == (state, True)
    numbers = database.read_now(health.for_metrics)
    assert numbers["amocrm_token_ends_timestamp_seconds"] == int(ends.timestamp())


def test_silence_is_a_warning_until_something_comes(clock: FakeClock, process: Process) -> None:
    assert process.look()[DELIVERIES][0] == "good"
    clock.advance(24 * 3600 + 1)
    state, sentence = process.look()[DELIVERIES]
    assert (state, "nothing has come" in sentence) == ("warning", True)
    clock.advance(TEN_MINUTES)
    assert process.look(incoming("hello"))[DELIVERIES][0] == "good"
    clock.advance(23 * 3600)
    assert process.look()[DELIVERIES][0] == "good"
    clock.advance(2 * 3600)
    assert process.look()[DELIVERIES][0] == "warning"


MOSCOW = zone_of("Europe/Moscow")
WEEK = read("mon-fri 09:00-18:00", MOSCOW)
FRIDAY_EVENING = datetime(2026, 1, 9, 17, 30, tzinfo=MOSCOW)


def at(clock: FakeClock, moment: datetime) -> None:
    clock.advance((moment - clock.now()).total_seconds())


def test_a_weekend_is_no_silence_and_a_working_day_is(database: Database, clock: FakeClock, amo: AmoStandin) -> None:
    process = Process(database, clock, amo, hours=WEEK)
    at(clock, FRIDAY_EVENING)
    assert process.look(incoming("hello"))[DELIVERIES][0] == "good"
    for moment in (
        datetime(2026, 1, 10, 12, tzinfo=MOSCOW),
        datetime(2026, 1, 11, 23, 50, tzinfo=MOSCOW),
        datetime(2026, 1, 12, 16, 20, tzinfo=MOSCOW),  # half an hour of Friday, and seven and a third of Monday
    ):
        at(clock, moment)
        assert process.look()[DELIVERIES][0] == "good", moment
    at(clock, datetime(2026, 1, 12, 16, 40, tzinfo=MOSCOW))
    state, sentence = process.look()[DELIVERIES]
    assert (state, "09.01.2026" in sentence) == ("warning", True)
    at(clock, datetime(2026, 1, 13, 9, 0, tzinfo=MOSCOW))
    assert process.look(incoming("good morning", message_id="next"))[DELIVERIES][0] == "good"


@pytest.mark.parametrize(
    ("silence", "moment", "state"),
    [
        (timedelta(hours=2), datetime(2026, 1, 12, 10, 20, tzinfo=MOSCOW), "good"),
        (timedelta(hours=2), datetime(2026, 1, 12, 10, 40, tzinfo=MOSCOW), "warning"),
        (timedelta(0), datetime(2026, 2, 12, 12, tzinfo=MOSCOW), "good"),
    ],
)
def test_how_long_a_silence_may_be_is_a_setting(
    database: Database, clock: FakeClock, amo: AmoStandin, silence: timedelta, moment: datetime, state: str
) -> None:
    process = Process(database, clock, amo, silence=silence, hours=WEEK)
    at(clock, FRIDAY_EVENING)
    process.look(incoming("hello"))
    at(clock, moment)
    assert process.look()[DELIVERIES][0] == state


def test_moments_are_told_by_the_companys_clock(database: Database, clock: FakeClock, amo: AmoStandin) -> None:
    at(clock, FRIDAY_EVENING)
    far_away = zone_of("Asia/Vladivostok")
    process = Process(database, clock, amo, zone=far_away)
    assert "10.01.2026 00:30" in process.look(incoming("hello"))[DELIVERIES][1]


@pytest.mark.parametrize("unheard", [body(("message", "add", [message("hi")]), account={**ACCOUNT, "id": 7}), b"x=1"])
def test_what_is_not_the_accounts_does_not_break_the_silence(
    clock: FakeClock, process: Process, unheard: bytes
) -> None:
    process.look()
    clock.advance(24 * 3600 + 1)
    process.known = True
    assert process.look(unheard)[DELIVERIES][0] == "warning"


def test_a_token_that_crosses_the_network_in_the_clear(
    database: Database, clock: FakeClock, amo: AmoStandin, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process(database, clock, amo)
    assert process.look()[TOKEN][0] == "good"
    monkeypatch.setattr(addresses, "HERE", ())  # the stand-in is somewhere else
    clock.advance(TEN_MINUTES)
    state, sentence = process.look()[TOKEN]
    assert (state, "unencrypted" in sentence) == ("warning", True)


@pytest.mark.parametrize(
    ("base_url", "account", "foreign"),
    [
        ("https://example.amocrm.ru", {"subdomain": "other"}, True),
        ("https://example.amocrm.ru", {"subdomain": "other", "id": 7}, True),
        ("https://example.amocrm.ru", ACCOUNT, False),
        ("https://example.amocrm.ru", {"id": 7}, False),  # nothing to compare it with yet
        ("http://127.0.0.1:9001", {"subdomain": "other"}, False),
    ],
)
def test_before_the_account_is_known_its_address_decides(
    database: Database, base_url: str, account: dict[str, Any], foreign: bool
) -> None:
    delivery = read_delivery(body(("message", "add", [message("hi")]), account=account), datetime.now(UTC))
    expected = database.read_now(lambda connection: own_account.expected(connection, base_url))
    assert bool(expected and expected.is_foreign(delivery)) == foreign


def test_the_account_is_recalled_with_the_first_write_of_a_start(database: Database) -> None:
    base_url = "https://example.amocrm.ru"
    with database.writes.begin() as connection:
        own_account.learn(connection, base_url, 29085955, "renamed")
    settings = load_settings(database_url=database.url, amocrm_base_url=base_url, amocrm_token="token")
    service = wire(settings)
    with service.database.writes.begin() as connection:
        service._arrive(connection)
    assert service.inbox.account == Known(base_url, 29085955, "renamed")
    asyncio.run(service.http.aclose())
    service.database.close()
    if service.lock:
        service.lock.close()


def test_the_account_is_learnt_and_others_are_told_from_it(
    database: Database, clock: FakeClock, amo: AmoStandin, process: Process
) -> None:
    ours = body(("message", "add", [message("ours")]), account=ACCOUNT)
    renamed = body(("message", "add", [message("renamed")]), account={**ACCOUNT, "subdomain": "new-name"})
    unnamed = body(("message", "add", [message("unnamed")]), account={})
    foreign = body(("message", "add", [message("foreign")]), account={**ACCOUNT, "id": 7})
    by_name = body(("message", "add", [message("by name")]), account={"subdomain": "other"})
    process.look(ours, renamed, unnamed, foreign, by_name)  # before the look nothing is known, all are taken
    assert [stored.duplicates for stored in process.after] == [1, 1, 1, 0, 0]
    other = database.read_now(lambda connection: own_account.recall(connection, "https://other.amocrm.ru"))
    assert other is None


def test_each_process_tells_what_it_heard_and_learns_what_another_one_learnt(
    database: Database, clock: FakeClock, amo: AmoStandin, process: Process
) -> None:
    process.look()
    inbox = Inbox(database, clock, lambda turns: None)
    inbox.last_delivery_at = clock.now()

    async def exchange() -> None:
        database.start()
        async with httpx2.AsyncClient(trust_env=False) as http:
            source = FixedToken(amo.token)
            client = AmoClient(http, amo.url, source, None)
            await Watch(database, clock, client, source, inbox, Watched(amo.url, HOOK)).exchange()
        await database.writer.stop()

    asyncio.run(exchange())
    assert process.inbox is not None
    assert inbox.account == process.inbox.account is not None
    assert database.read_now(lambda connection: health.moment(connection, health.LAST_DELIVERY)) == clock.now()
