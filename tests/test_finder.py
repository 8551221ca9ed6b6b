"""The deal of a message that names none: looked for, found, joined; or left to a person. On both databases."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from otvet.amocrm.client import AmoClient
from otvet.amocrm.events import read_delivery
from otvet.conversations.tables import clients, conversations, messages
from otvet.intake.deal_finder import AGAIN_AFTER, GIVE_UP_AFTER, Finder
from otvet.intake.inbox import Received, store
from otvet.storage import outages
from otvet.storage.database import Database
from otvet.turns import staff
from otvet.turns import turn as turn_
from otvet.turns.turn import NEEDS_STAFF, Reason, State, turns
from tests.clocks import FakeClock
from tests.running import otvet, wait_for
from tests.standins.amocrm import AmoStandin, amocrm_standin
from tests.standins.sender import incoming, outgoing
from tests.test_end_to_end import connected

CONTACT, TALK, LEAD = 93589657, 100, 27754599


class Search:
    """A database, a clock and a Finder, for one test."""

    def __init__(self, database: Database, amo: AmoStandin | None) -> None:
        self.database = database
        self.clock = FakeClock()
        self.found: list[int] = []
        self._amo = amo

    def receive(self, body: bytes) -> list[int]:
        now = self.clock.now()
        with self.database.writes.begin() as connection:
            (stored,) = store(connection, [Received(body, read_delivery(body, now), now)])
        return stored.to_answer

    def client_writes(self, text: str = "hello", lead_id: int | None = None, **more: Any) -> list[int]:
        said_at = int(self.clock.now().timestamp())
        return self.receive(incoming(text, lead_id=lead_id, created_at=said_at, **more))

    def run(self, *plays: Callable[[Finder], Awaitable[None]]) -> None:
        async def whole() -> None:
            database = Database(self.database.url)  # a writer is started once only
            database.start()
            async with httpx2.AsyncClient() as http:
                gate = partial(outages.check, database)
                amo = self._amo
                client = AmoClient(http, amo.url, amo.token, None, gate) if amo else None
                finder = Finder(database, self.clock, client, self.found.extend)
                for play in plays:
                    await play(finder)
            await database.stop()

        asyncio.run(whole())

    def look(self, times: int = 1) -> None:
        """So many looks, each when it is time for the next."""

        async def play(finder: Finder) -> None:
            for _ in range(times):
                await finder.look()
                self.clock.advance(AGAIN_AFTER[-1].total_seconds())

        self.run(play)

    def turns(self) -> list[Any]:
        query = sa.select(turns, conversations.c.amocrm_lead_id).join(conversations).order_by(turns.c.id)
        return list(self.database.read_now(lambda connection: connection.execute(query).all()))

    def said(self, lead_id: int) -> list[str]:
        query = sa.select(messages.c.content).join(conversations).where(conversations.c.amocrm_lead_id == lead_id)
        ordered = query.order_by(messages.c.timestamp, messages.c.id)
        return list(self.database.read_now(lambda connection: connection.scalars(ordered).all()))

    def asked(self) -> list[str]:
        assert self._amo is not None
        return [str(one["path"]).removeprefix("/api/v4/") for one in self._amo.log]


def test_the_talk_names_the_deal(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.add_talk(TALK, CONTACT, LEAD)
        search = Search(database, amo)
        assert search.client_writes() == []
        search.look()
        (turn,) = search.turns()
    assert (turn.state, turn.amocrm_lead_id) == (State.WAITING, LEAD)
    assert search.found == [turn.id]
    assert search.asked() == [f"talks/{TALK}"]


def test_a_talk_about_nothing_leads_to_the_contacts_newest_open_deal(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.add_talk(TALK, CONTACT)
        amo.add_contact(CONTACT)
        amo.add_lead(3, CONTACT, created_at=300, status_id=143)
        amo.add_lead(1, CONTACT, created_at=100)
        amo.add_lead(2, CONTACT, created_at=200)
        amo.add_lead(4, CONTACT, created_at=400, status_id=142)
        amo.add_lead(5, CONTACT, created_at=500, is_deleted=True)
        amo.add_lead(6, CONTACT + 1, created_at=600)
        search = Search(database, amo)
        search.client_writes()
        search.look()
        (turn,) = search.turns()
    assert turn.amocrm_lead_id == 2


def test_an_account_that_ignores_filters_leads_to_no_other_clients_deal(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.rate = 1000
        amo.filters = False
        amo.add_talk(TALK, CONTACT)
        amo.add_contact(CONTACT)
        amo.add_lead(1, CONTACT, created_at=100)
        amo.add_lead(2, CONTACT, created_at=200)
        for another in range(3, 60):  # so many that the client's own are on no page
            amo.add_lead(another, CONTACT + 1, created_at=another * 100)
        search = Search(database, amo)
        search.client_writes("my secret")
        search.look()
    assert search.said(2) == ["my secret"]


def test_a_deal_that_does_not_name_the_contact_is_not_taken(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.add_contact(CONTACT)
        amo.add_lead(1, CONTACT)
        amo.fault(path="/api/v4/leads", status=200, body='{"_embedded": {"leads": [{"id": 1, "status_id": 5}]}}')
        search = Search(database, amo)
        search.client_writes()
        search.look()
        assert search.turns()[0].amocrm_lead_id is None
        search.look()
    assert search.turns()[0].amocrm_lead_id == 1


def test_a_contact_that_the_token_may_not_see_is_a_persons_matter_within_the_hour(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.rate = 1000
        amo.fault(path="/api/v4/contacts/*", status=403, body='{"title": "Forbidden", "status": 403}', times=None)
        search = Search(database, amo)
        search.client_writes()
        search.look(len(AGAIN_AFTER) + 1)
    assert search.turns()[0].reason == Reason.NO_DEAL


def test_talks_that_the_token_may_not_see_do_not_end_the_search(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.fault(path="/api/v4/talks/*", status=403, body='{"title": "Forbidden", "status": 403}')
        amo.add_contact(CONTACT)
        amo.add_lead(LEAD, CONTACT)
        search = Search(database, amo)
        search.client_writes()
        search.look()
    assert search.turns()[0].amocrm_lead_id == LEAD


def test_what_was_said_before_the_deal_was_known_keeps_its_place(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.add_talk(TALK, CONTACT, LEAD)
        search = Search(database, amo)
        search.client_writes("of old", LEAD, chat_id="another chat", message_id="m-1")
        search.clock.advance(60)
        search.client_writes("first", message_id="m-2")
        search.clock.advance(60)
        search.client_writes("second", message_id="m-3")
        search.clock.advance(60)
        search.client_writes("of the other chat", LEAD, chat_id="another chat", message_id="m-4")
        search.look()
        waiting = search.turns()  # of each chat one
    assert search.said(LEAD) == ["of old", "first", "second", "of the other chat"]
    assert [turn.chat_ref for turn in waiting] == ["another chat", waiting[1].chat_ref]
    assert search.found == [turn.id for turn in waiting]
    count = sa.select(sa.func.count()).select_from(clients)
    assert database.read_now(lambda connection: connection.scalar(count)) == 1


def test_a_deal_made_after_the_message_is_found_when_it_is_there(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.add_contact(CONTACT)
        search = Search(database, amo)
        search.client_writes()

        async def play(finder: Finder) -> None:
            await finder.look()
            await finder.look()  # too early
            assert search.asked().count(f"contacts/{CONTACT}") == 1
            amo.add_lead(LEAD, CONTACT)
            search.clock.advance(AGAIN_AFTER[0].total_seconds())
            await finder.look()

        search.run(play)
    assert search.turns()[0].amocrm_lead_id == LEAD


def test_what_cannot_be_resolved_is_on_the_operators_list(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.rate = 1000
        search = Search(database, amo)
        search.client_writes(message_id="m-1")
        search.look(len(AGAIN_AFTER))
        assert search.turns()[0].state == State.WAITING
        search.look(3)
        (turn,) = search.turns()
        assert (turn.state, turn.reason) == (State.HANDED, Reason.NO_DEAL)
        assert search.asked().count(f"talks/{TALK}") == len(AGAIN_AFTER) + 1  # and then no more
    assert turn.id in [row.id for row in database.read_now(lambda one: turn_.listed(one, NEEDS_STAFF, 9))]


def test_without_an_account_a_person_hears_of_it_too(database: Database) -> None:
    search = Search(database, None)
    search.client_writes()
    search.look(len(AGAIN_AFTER) + 1)
    assert search.turns()[0].reason == Reason.NO_DEAL


def test_a_deal_that_a_later_message_names_takes_back_what_was_left_to_a_person(database: Database) -> None:
    search = Search(database, None)
    search.client_writes("first", message_id="m-1")
    search.look(len(AGAIN_AFTER) + 1)
    answerable = search.client_writes("second", LEAD, message_id="m-2")
    (turn,) = search.turns()
    assert answerable == [turn.id]
    assert turn.state == State.WAITING
    assert search.said(LEAD) == ["first", "second"]


def test_retry_searches_anew(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.rate = 1000
        search = Search(database, amo)
        search.client_writes()
        search.look(len(AGAIN_AFTER) + 1)
        amo.add_talk(TALK, CONTACT, LEAD)
        (turn,) = search.turns()
        with database.writes.begin() as connection:
            staff.retry(connection, turn.id, search.clock.now())
        search.run(lambda finder: finder.look())
    assert search.found == [turn.id]


def test_a_failing_amocrm_does_not_use_up_the_search(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.rate = 1000
        amo.fault(status=503, times=20)
        search = Search(database, amo)
        search.client_writes()
        search.look(21)  # and one in vain
        assert search.turns()[0].state == State.WAITING
        amo.add_talk(TALK, CONTACT, LEAD)
        search.look()
    assert search.turns()[0].amocrm_lead_id == LEAD


def test_an_amocrm_that_fails_for_a_day_is_a_persons_matter(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.fault(status=503, times=None)
        search = Search(database, amo)
        search.client_writes()
        search.clock.advance(GIVE_UP_AFTER.total_seconds() + 1)
        search.look()
    assert search.turns()[0].reason == Reason.NO_DEAL


def test_a_refused_token_closes_the_gate_and_the_search_waits(database: Database) -> None:
    with amocrm_standin() as amo:
        search = Search(database, amo)
        search.client_writes()
        amo.token, right = "another", amo.token
        search._amo = AmoStandin(right, search.clock.monotonic)
        search._amo.url = amo.url
        search.look(3)
        assert len(amo.log) == 1
    closed = database.read_now(lambda connection: outages.current(connection))
    assert closed is not None
    assert closed.reason == "unauthorized"
    assert search.turns()[0].state == State.WAITING


def test_a_message_that_named_the_deal_meanwhile_wins(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.add_talk(TALK, CONTACT, LEAD + 1)
        search = Search(database, amo)
        search.client_writes("first", message_id="m-1")

        async def play(finder: Finder) -> None:
            ask = finder._lead_and_contact

            async def slowly(one: Any) -> Any:
                answer = await ask(one)
                search.client_writes("second", LEAD, message_id="m-2")
                return answer

            finder._lead_and_contact = slowly  # type: ignore[method-assign]
            await finder.look()

        search.run(play)
    assert search.said(LEAD) == ["first", "second"]
    query = sa.select(conversations.c.amocrm_lead_id)
    assert database.read_now(lambda connection: connection.scalars(query).all()) == [LEAD]


def test_closed_turns_move_with_their_conversation(database: Database) -> None:
    search = Search(database, None)
    search.client_writes("first", message_id="m-1")
    search.receive(
        outgoing("I am here", lead_id=None, message_id="m-2", created_at=int(search.clock.now().timestamp()))
    )
    search.client_writes("elsewhere", LEAD, chat_id="another chat", message_id="m-3")
    search.clock.advance(timedelta(hours=1).total_seconds())
    search.client_writes("second", LEAD, message_id="m-4")
    assert search.said(LEAD) == ["first", "I am here", "elsewhere", "second"]
    assert {turn.amocrm_lead_id for turn in search.turns()} == {LEAD}


@pytest.mark.slow
def test_the_program_finds_the_deal_and_replies_there(tmp_path: Path) -> None:
    with amocrm_standin() as amo:
        amo.add_talk(TALK, CONTACT, LEAD)
        amo.add_lead(LEAD, CONTACT)
        with otvet(tmp_path, **connected(amo)) as server:
            server.deliver(incoming("hello", lead_id=None))
            wait_for(lambda: amo.notes(LEAD), "the note in the deal that was found")
            wait_for(server.settled, "the turn closed")
            assert len(server.messages(LEAD)) == 2
