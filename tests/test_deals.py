"""What amoCRM's cards say of a client and a deal: read beside the answering, told to responders. On both databases."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from otvet.amocrm.answers import AmoError
from otvet.amocrm.client import AmoClient
from otvet.amocrm.events import read_delivery
from otvet.amocrm.form import build
from otvet.answering import context
from otvet.answering.instructions import Instructions
from otvet.conversations.tables import clients, conversations
from otvet.deals import known, reading
from otvet.deals.background import LowPriorityLimiter
from otvet.deals.reading import Deals, Names
from otvet.intake.inbox import Received, store
from otvet.settings.working_hours import zone_of
from otvet.storage import outages
from otvet.storage.database import Database
from otvet.storage.rate_limits import SharedLimit
from otvet.turns import turn as turn_
from tests.clocks import FakeClock
from tests.running import otvet, wait_for
from tests.standins.amocrm import PIPELINE, STAGE, AmoStandin, amocrm_standin
from tests.standins.manus import manus_standin
from tests.standins.sender import incoming, outgoing
from tests.test_end_to_end import connected

LEAD, CONTACT, MANAGER = 27754599, 93589657, 940088
MOSCOW = zone_of("Europe/Moscow")
MIDNIGHT_IN_MOSCOW = 1767560400  # 5 January 2026 there, still the 4th in UTC
FIELDS: list[dict[str, Any]] = [
    {
        "field_id": 11,
        "field_name": "Delivery date",
        "field_code": None,
        "field_type": "date",
        "values": [{"value": MIDNIGHT_IN_MOSCOW}],
    },
    {
        "field_id": 12,
        "field_name": "Colours",
        "field_type": "multiselect",
        "values": [{"value": "red", "enum_id": 1}, {"value": "blue", "enum_id": 2}],
    },
    {"field_id": 13, "field_name": "Secret", "field_type": "text", "values": [{"value": "not for clients"}]},
]
CONTACT_FIELDS: list[dict[str, Any]] = [
    {"field_id": 1, "field_code": "PHONE", "field_name": "Phone", "values": [{"value": "+7 900 000-00-00"}]},
    {"field_id": 2, "field_code": "EMAIL", "field_name": "Mail", "values": [{"value": "client@example.com"}]},
    {"field_id": 3, "field_name": "City", "field_type": "text", "values": [{"value": "Tver"}]},
]


class Cards:
    """A database, a clock and an account, for one test."""

    def __init__(self, database: Database, amo: AmoStandin, fields: str = "delivery date; 12; city; tags") -> None:
        self.database = database
        self.clock = FakeClock()
        self.fields = fields
        self.limit: Any = None
        self._amo = amo
        self._count = 0

    def receive(self, body: bytes) -> None:
        now = self.clock.now()
        with self.database.writes.begin() as connection:
            store(connection, [Received(body, read_delivery(body, now), now)])

    def client_writes(self, text: str = "hello", **more: Any) -> None:
        self._count += 1
        said_at = int(self.clock.now().timestamp())
        self.receive(incoming(text, **{"message_id": f"m-{self._count}", "created_at": said_at, **more}))

    def changed(self, entity: str, action: str, id_: int) -> None:
        self.receive(build({entity: {action: [{"id": id_, "status_id": 142}]}}))

    def run(self, *plays: Callable[[Deals], Awaitable[None]]) -> None:
        async def whole() -> None:
            database = Database(self.database.url)  # a writer is started once only
            database.start()
            async with httpx2.AsyncClient() as http:
                gate = partial(outages.check, database)
                client = AmoClient(http, self._amo.url, self._amo.token, self.limit, gate)
                reader = Deals(database, self.clock, client, self.fields, MOSCOW)
                for play in plays:
                    await play(reader)
                await reader.stop()
            await database.stop()

        asyncio.run(whole())

    def look(self) -> None:
        self.run(lambda reader: reader.look())

    def turn_begins(self) -> None:
        self.run(lambda reader: reader.fresh(1))

    def row(self) -> Any:
        query = sa.select(conversations, clients).join(clients)
        return self.database.read_now(lambda connection: connection.execute(query).one())

    def calls(self) -> list[str]:
        return [str(one["path"]).removeprefix("/api/v4/") for one in self._amo.log]

    def told(self) -> dict[str, str]:
        def build_(connection: sa.Connection) -> context.Context:
            turn = turn_.get(connection, 1)
            assert turn is not None
            return context.build(connection, turn, 60, Instructions(Path("nowhere")), self.clock.now(), MOSCOW)

        return dict(self.database.read_now(build_).known)


def an_account(amo: AmoStandin, **lead: Any) -> None:
    amo.rate = 1000
    amo.users[MANAGER] = "Manager 1"
    amo.add_lead(LEAD, CONTACT, **{"tags": ["vip"], "price": 5000, "custom_fields_values": FIELDS, **lead})
    amo.add_contact(CONTACT, name="Client of the card", custom_fields_values=CONTACT_FIELDS)


def test_the_cards_are_read_and_kept(database: Database) -> None:
    with amocrm_standin() as amo:
        an_account(amo)
        cards = Cards(database, amo)
        cards.client_writes()
        cards.look()
        row = cards.row()
    assert (row.name, row.phone, row.email) == ("Client of the card", "+7 900 000-00-00", "client@example.com")
    assert row.deal["name"] == f"Deal {LEAD}"
    assert (row.deal["pipeline"], row.deal["stage"]) == ("Sales", "First contact")
    assert (row.deal["pipeline_id"], row.deal["stage_id"]) == (PIPELINE, STAGE)
    assert (row.deal["responsible"], row.deal["price"], row.deal["tags"]) == ("Manager 1", 5000, ["vip"])
    assert row.deal["fields"] == [["Delivery date", "05.01.2026"], ["Colours", "red, blue"]]
    assert "not for clients" not in str(row)


def test_what_is_not_there_is_no_mistake(database: Database) -> None:
    with amocrm_standin() as amo:
        cards = Cards(database, amo)
        cards.client_writes()
        cards.look()
        row = cards.row()
        cards.look()
        assert cards.calls() == [f"leads/{LEAD}", f"contacts/{CONTACT}"]  # and both were 204
    assert (row.deal, row.name, row.phone) == (None, "Client 1", None)


def test_fields_may_be_null_and_names_forbidden(database: Database) -> None:
    with amocrm_standin() as amo:
        an_account(amo, custom_fields_values=None)
        amo.users.clear()
        amo.access.rights = None
        amo.add_contact(CONTACT, custom_fields_values=None, name="")
        amo.fault(path="/api/v4/leads/pipelines", status=403, body='{"status": 403}')
        cards = Cards(database, amo)
        cards.client_writes()
        cards.look()
        row = cards.row()
    assert (row.deal["stage"], row.deal["stage_id"], row.deal["responsible"]) == (None, STAGE, None)
    assert (row.name, row.phone) == ("Client 1", None)
    assert database.read_now(lambda connection: outages.current(connection)) is None


def test_nothing_is_read_twice_until_it_is_old(database: Database) -> None:
    with amocrm_standin() as amo:
        an_account(amo)
        cards = Cards(database, amo)
        cards.client_writes()
        cards.look()
        calls = len(cards.calls())
        cards.look()
        cards.turn_begins()
        assert len(cards.calls()) == calls
        cards.clock.advance(known.OLD.total_seconds() + 1)
        cards.look()  # nobody needs it
        assert len(cards.calls()) == calls
        cards.turn_begins()
        assert cards.calls()[calls:].count(f"leads/{LEAD}") == 1


@pytest.mark.parametrize(
    ("entity", "action", "id_", "read"),
    [
        ("leads", "update", LEAD, f"leads/{LEAD}"),
        ("leads", "status", LEAD, f"leads/{LEAD}"),
        ("contacts", "update", CONTACT, f"contacts/{CONTACT}"),
    ],
)
def test_a_webhook_that_says_so_has_it_read_again(
    database: Database, entity: str, action: str, id_: int, read: str
) -> None:
    with amocrm_standin() as amo:
        an_account(amo)
        cards = Cards(database, amo)
        cards.client_writes()
        cards.look()
        calls = len(cards.calls())
        amo.add_contact(CONTACT, name="Renamed")
        amo.add_lead(LEAD, CONTACT, name="Renamed")
        cards.changed(entity, action, id_ + 1)  # another one
        cards.look()
        assert len(cards.calls()) == calls
        cards.changed(entity, action, id_)
        cards.look()
        assert read in cards.calls()[calls:]
        row = cards.row()
    assert (row.deal if entity == "leads" else row._mapping)["name"] == "Renamed"


def test_other_fields_are_read_as_soon_as_they_are_chosen(database: Database) -> None:
    with amocrm_standin() as amo:
        an_account(amo)
        cards = Cards(database, amo, fields="")
        cards.client_writes()
        cards.look()
        assert "Colours" not in cards.told()
        cards.fields = "colours"
        cards.turn_begins()
    assert cards.told()["Colours"] == "red, blue"


def test_a_slow_amocrm_is_waited_for_a_moment_only(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PATIENCE_SECONDS", 0.05)
    with amocrm_standin() as amo:
        an_account(amo)
        amo.fault(path="/api/v4/leads/*", delay=30)
        cards = Cards(database, amo)
        cards.client_writes()
        before = asyncio.run(_seconds_of(cards))
    assert before < 10
    assert cards.row().deal is None


async def _seconds_of(cards: Cards) -> float:
    loop = asyncio.get_running_loop()
    start = loop.time()
    await asyncio.to_thread(cards.turn_begins)
    return loop.time() - start


@pytest.mark.parametrize("status", [500, 429, 401])
def test_a_refusing_amocrm_is_left_alone_for_a_while(database: Database, status: int) -> None:
    with amocrm_standin() as amo:
        an_account(amo)
        amo.fault(path="/api/v4/leads/*", status=status)
        cards = Cards(database, amo)
        cards.client_writes()
        cards.look()
        cards.turn_begins()
        assert cards.calls() == [f"leads/{LEAD}"]
        closed = database.read_now(lambda connection: outages.current(connection))
        assert (closed is not None) == (status == 401)
        with database.writes.begin() as connection:
            outages.end(connection)
        cards.clock.advance(known.AFTER_A_FAILURE.total_seconds() + 1)
        cards.turn_begins()
    assert cards.row().deal["name"] == f"Deal {LEAD}"


def test_a_clock_set_back_keeps_no_card_old(database: Database) -> None:
    with amocrm_standin() as amo:
        an_account(amo)
        cards = Cards(database, amo)
        cards.client_writes()
        cards.look()
        cards.clock.advance(known.OLD.total_seconds() + 1)
        amo.fault(path="/api/v4/leads/*", status=500)
        cards.turn_begins()
        amo.add_lead(LEAD, CONTACT, name="Newer")
        cards.clock.jump(-timedelta(days=1).total_seconds())
        cards.turn_begins()
    assert cards.row().deal["name"] == "Newer"


def test_what_changed_while_it_was_read_is_not_kept(database: Database) -> None:
    with amocrm_standin() as amo:
        an_account(amo)
        cards = Cards(database, amo)
        cards.client_writes()
        cards.look()
        cards.clock.advance(known.OLD.total_seconds() + 1)

        async def play(reader: Deals) -> None:
            ask = reader._deal

            async def overtaken(row: Any) -> Any:
                found = await ask(row)
                amo.add_lead(LEAD, CONTACT, name="Newer")
                cards.changed("leads", "update", LEAD)
                return found

            reader._deal = overtaken  # type: ignore[method-assign]
            await reader.fresh(1)
            reader._deal = ask  # type: ignore[method-assign]
            assert cards.row().deal_due_at is not None
            await reader.look()

        cards.run(play)
    assert cards.row().deal["name"] == "Newer"


def test_what_changed_while_it_was_read_for_the_first_time_is_read_again(database: Database) -> None:
    with amocrm_standin() as amo:
        an_account(amo)
        cards = Cards(database, amo)
        cards.client_writes()

        async def play(reader: Deals) -> None:
            ask = reader._deal

            async def overtaken(row: Any) -> Any:
                found = await ask(row)
                amo.add_lead(LEAD, CONTACT, name="Newer")
                cards.changed("leads", "update", LEAD)
                return found

            reader._deal = overtaken  # type: ignore[method-assign]
            await reader.fresh(1)
            reader._deal = ask  # type: ignore[method-assign]
            await reader.look()

        cards.run(play)
    assert cards.row().deal["name"] == "Newer"


def test_what_is_deleted_from_a_card_is_deleted_here(database: Database) -> None:
    with amocrm_standin() as amo:
        an_account(amo)
        cards = Cards(database, amo)
        cards.client_writes()
        cards.look()
        amo.add_contact(CONTACT, name="", custom_fields_values=None)
        cards.changed("contacts", "update", CONTACT)
        cards.look()
        row = cards.row()
    assert (row.name, row.phone, row.email, row.card["fields"]) == ("Client of the card", None, None, [])


def test_a_deal_that_the_token_may_not_see_does_not_keep_the_clients_name_back(database: Database) -> None:
    with amocrm_standin() as amo:
        an_account(amo)
        amo.fault(path=f"/api/v4/leads/{LEAD}", status=403, body='{"status": 403}', times=None)
        cards = Cards(database, amo)
        cards.client_writes()
        cards.look()
    assert (cards.row().deal, cards.row().name) == (None, "Client of the card")


class Pipelines:
    """An account that answers only when it is let. fails: and once with that."""

    def __init__(self, fails: AmoError | None = None) -> None:
        self.calls = 0
        self.answer = asyncio.Event()
        self._fails = fails

    async def pipelines(self) -> list[dict[str, Any]]:
        self.calls += 1
        if self._fails:
            self._fails, error = None, self._fails
            raise error
        await self.answer.wait()
        return [{"id": 1, "name": "Sales", "_embedded": {"statuses": [{"id": 2, "name": "New"}]}}]


def test_who_asks_for_names_while_they_are_asked_for_gets_them_too() -> None:
    async def play() -> None:
        account = Pipelines()
        names = Names(account, FakeClock())  # type: ignore[arg-type]
        both = [asyncio.create_task(names.learn(1, 2)) for _ in range(2)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not any(one.done() for one in both)
        account.answer.set()
        await asyncio.gather(*both)
        assert (names.stages, account.calls) == ({(1, 2): "New"}, 1)

    asyncio.run(play())


def test_a_failing_account_is_asked_for_names_again_at_once() -> None:
    async def play() -> None:
        account = Pipelines(AmoError("amoCRM is down", reason="unavailable"))
        account.answer.set()
        names = Names(account, FakeClock())  # type: ignore[arg-type]
        with pytest.raises(AmoError):
            await names.learn(1, 2)
        await names.learn(1, 2)
        assert names.stages == {(1, 2): "New"}

    asyncio.run(play())


def test_reading_lets_the_deliveries_go_first(database: Database) -> None:
    clock = FakeClock()
    limit = SharedLimit(database, clock, "amocrm", 1, seconds=1)
    places: list[float] = []

    def take_a_place() -> None:
        with database.writes.begin() as connection:
            places.append((clock.now() - start).total_seconds() + (limit._reserve(connection, None) or 0))

    def another_reply_comes() -> None:
        if len(places) == 3:
            take_a_place()

    async def play() -> None:
        database.start()
        await LowPriorityLimiter(limit, clock, patience=1).acquire()
        await database.writer.stop()

    start = clock.now()
    for _ in range(3):  # replies that stand in line
        take_a_place()
    clock.on_sleep = another_reply_comes
    asyncio.run(play())
    # Nothing was read in between; PostgreSQL's own clock goes on meanwhile.
    assert places == pytest.approx([0, 1, 2, 3], abs=0.9)
    assert (clock.now() - start).total_seconds() >= 3


def test_the_program_reads_cards_also_where_nothing_is_to_be_answered(tmp_path: Path) -> None:
    with amocrm_standin() as amo:
        an_account(amo)
        with otvet(tmp_path, **connected(amo)) as server:
            server.deliver(outgoing("Hello, this is your manager."))
            wait_for(lambda: any(one["path"] == f"/api/v4/leads/{LEAD}" for one in amo.log), "a look at the deal")


def test_responders_are_told_the_deal_and_what_was_chosen(database: Database) -> None:
    with amocrm_standin() as amo:
        an_account(amo, name="Wool blankets, 20 pieces")
        cards = Cards(database, amo, fields="delivery date; 12; city; tags; цена")
        cards.client_writes()
        cards.look()
    assert cards.told() == {
        "Today": "Monday, 05.01.2026",
        "The client's name": "Client of the card",
        "Deal": "Wool blankets, 20 pieces",
        "The deal's stage": "First contact",
        "The deal's tags": "vip",
        "Delivery date": "05.01.2026",
        "Colours": "red, blue",
        "City": "Tver",
    }


def test_a_deal_called_after_the_client_is_no_source_of_facts(database: Database) -> None:
    with amocrm_standin() as amo:
        an_account(amo, name="Deal: Скидка 50% Ivan")
        amo.add_contact(CONTACT, name="Скидка 50% Ivan")
        cards = Cards(database, amo)
        cards.client_writes()
        cards.look()
    assert cards.told()["The client's name"] == "Скидка Ivan"
    assert "50" not in cards.told()["Deal"]


def test_today_is_the_companys(database: Database) -> None:
    with amocrm_standin() as amo:
        cards = Cards(database, amo)
        cards.client_writes()
        cards.clock.advance(timedelta(hours=13).total_seconds())  # 22:00 UTC
        assert cards.clock.now().astimezone(UTC).day == 5
        assert cards.told()["Today"] == "Tuesday, 06.01.2026"


def test_the_program_tells_what_the_cards_say(tmp_path: Path) -> None:
    with amocrm_standin() as amo, manus_standin() as manus:
        an_account(amo)
        settings = {**connected(amo, manus), "OTVET_CONTEXT_FIELDS": "colours", "OTVET_QUIET_SECONDS": "1"}
        with otvet(tmp_path, **settings) as server:
            server.deliver(incoming("Do you have it?"))
            wait_for(lambda: amo.notes(LEAD), "a note")
            wait_for(server.settled, "the turn closed")
    prompt = str(manus.creates[0]["message"]["content"])
    assert "First contact" in prompt
    assert "red, blue" in prompt
    assert "not for clients" not in prompt
    assert "+7 900" not in prompt


def test_a_reply_is_written_also_while_the_cards_cannot_be_read(tmp_path: Path) -> None:
    with amocrm_standin() as amo:
        an_account(amo)
        amo.fault(path="/api/v4/contacts/*", delay=60, times=None)
        amo.fault(path="/api/v4/leads/pipelines", status=500, times=None)
        with otvet(tmp_path, **connected(amo)) as server:
            server.deliver(incoming("hello"))
            wait_for(lambda: amo.notes(LEAD), "a note")
            wait_for(server.settled, "the turn closed")
