"""amoCRM refuses everything for a while: what waits is kept, and goes out in its order when that is over."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from otvet.account import tokens
from otvet.account.renewal import Tokens
from otvet.amocrm import oauth
from otvet.amocrm.client import AmoClient
from otvet.answering.answering import NOT_OURS, Answering
from otvet.app.service import Service
from otvet.app.wiring import wire
from otvet.conversations.tables import conversations
from otvet.settings.loading import load_settings
from otvet.storage import outages
from otvet.storage.database import Database
from otvet.turns import sending
from otvet.turns.turn import State, turns
from tests.clocks import HeldClock
from tests.standins.amocrm import AmoStandin, amocrm_standin
from tests.standins.sender import incoming
from tests.test_answer import Stage
from tests.test_tokens import KEYS, VAULT, exchanges

FIRST, SECOND = 1, 2  # deals
CALLS_A_SECOND = 6


class Outage(Stage):
    """Two deals whose clients write, the first one twice; time passes when the test says so."""

    clock: HeldClock

    def __init__(self, database: Database, amo: AmoStandin) -> None:
        super().__init__(database, amo=amo)
        self.clock = HeldClock()
        self.policy = replace(self.policy, stale=timedelta(days=365))
        amo.any_lead, amo.rate = True, 1000

    async def begin(self, answering: Answering) -> list[asyncio.Task[str]]:
        """Their turns, each at work."""
        (first,), (other,) = self.client_writes("one", FIRST), self.client_writes("other", SECOND)
        self.clock.advance(60)
        begun = [asyncio.create_task(answering.answer(first))]
        await until(lambda: self.turn(first).state == State.SENDING)  # before the other one closes the gate for both
        (next_one,) = self.client_writes("two", FIRST)
        self.clock.advance(60)
        begun += [asyncio.create_task(answering.answer(turn)) for turn in (other, next_one)]
        return begun

    def gate(self) -> outages.Outage | None:
        return self.database.read_now(lambda connection: outages.current(connection))

    def posts(self) -> list[str]:
        assert self._amo is not None
        return [one["path"] for one in self._amo.log if one["method"] == "POST" and one["path"].endswith("/notes")]

    def markers(self, lead: int) -> list[str]:
        """Of the notes that a deal has."""
        assert self._amo is not None
        return [note["params"]["text"].rsplit("[", 1)[1].rstrip("]") for note in self._amo.notes(lead)]

    def turns_of(self, lead: int) -> list[str]:
        """The markers that its notes should have."""
        mine = sa.select(turns.c.id).join(conversations).where(conversations.c.amocrm_lead_id == lead)
        ids = self.database.read_now(lambda connection: connection.scalars(mine.order_by(turns.c.id)).all())
        return [sending.marker("test", id_) for id_ in ids]


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.05)  # between two looks at a database: there is nothing to be told by


async def drained(stage: Outage, begun: Sequence[Awaitable[str]]) -> None:
    """All are sent, those of a deal in their order, and none twice."""
    assert await asyncio.gather(*begun) == [State.SENT] * 3
    for lead in (FIRST, SECOND):
        assert stage.markers(lead) == stage.turns_of(lead)


@pytest.mark.parametrize("status", [200, 301, 308, 402, 403])
def test_what_refuses_every_call_stops_them_at_once_and_keeps_the_queue(database: Database, status: int) -> None:
    with amocrm_standin() as amo:
        stage = Outage(database, amo)
        login = "\n<!DOCTYPE html><html><body><form>Log in</form></body></html>"
        body = login if status == 200 else f'{{"title": "Refused", "status": {status}}}'
        amo.fault(path="/api/*", method="*", status=status, body=body, times=None)

        async def play(answering: Answering) -> None:
            begun = await stage.begin(answering)
            await until(stage.gate)
            stage.clock.advance(60)  # whoever is at work looks at the gate
            await asyncio.sleep(0.05)
            before = len(amo.log)
            stage.clock.advance(600)
            await asyncio.sleep(0.05)
            assert (len(amo.log), amo.notes(FIRST), amo.notes(SECOND)) == (before, [], [])
            amo.app.clear()
            stage.clock.advance(600)
            await stage.outage_probe.look()
            await drained(stage, begun)

        stage.run(play)


JWT = ".eyJleHAiOjE4OTM0NTYwMDAsInNjb3BlcyI6WyJmaWxlcyIsIm5vdGlmaWNhdGlvbnMiXX0."  # its scopes lack "crm"


@pytest.mark.parametrize(("detail", "token"), [("Invalid scope", "stand-in-token"), ("Forbidden", f"head{JWT}sign")])
def test_a_token_without_the_needed_scope_stops_all_calls_until_it_has_it(
    database: Database, detail: str, token: str
) -> None:
    with amocrm_standin(token=token) as amo:
        stage = Outage(database, amo)
        body = f'{{"title": "Forbidden", "status": 403, "detail": "{detail}"}}'
        amo.fault(path="/api/v4/leads*", status=403, body=body, times=None)

        async def play(answering: Answering) -> None:
            begun = await stage.begin(answering)
            await until(stage.gate)
            gate = stage.gate()
            assert gate is not None
            assert "The token lacks a right that replies need" in gate.sentence
            stage.clock.advance(1000)
            await stage.outage_probe.look()  # the account alone opens
            assert stage.gate() is not None
            assert stage.gate().reason == "scope"  # type: ignore[union-attr]
            amo.app.clear()
            stage.clock.advance(1000)
            await stage.outage_probe.look()
            await drained(stage, begun)

        stage.run(play)


def test_401_renews_once_then_stops_until_a_new_consent(database: Database) -> None:
    with amocrm_standin() as amo:
        stage = Outage(database, amo)
        amo.access.integration(KEYS.client_id, KEYS.client_secret, KEYS.redirect_url)

        async def consent(http: httpx2.AsyncClient) -> None:
            pair = await oauth.exchange_code(http, amo.url, KEYS, amo.access.code(KEYS.client_id))
            with database.writes.begin() as connection:
                tokens.keep_consent(connection, VAULT, amo.url, KEYS, pair, stage.clock.now())

        def client(http: httpx2.AsyncClient) -> AmoClient:
            source = Tokens(database, stage.clock, http, VAULT, amo.url, KEYS)
            gate = partial(outages.check, database)
            return AmoClient(http, amo.url, source, None, gate)

        stage.client = client  # type: ignore[method-assign]

        async def play(answering: Answering) -> None:
            async with httpx2.AsyncClient(trust_env=False) as http:
                await consent(http)
                stage.clock.advance(3600)  # a token that was just given is not renewed
                amo.fault(path="/api/*", method="*", status=401, times=None)
                begun = await stage.begin(answering)
                await until(lambda: stage.gate() or stage.clock.advance(1))
                assert exchanges(amo) == 2  # the consent, and one renewal
                stage.clock.advance(60)
                await asyncio.sleep(0.05)
                refused = len(stage.posts())
                stage.clock.advance(600)
                await asyncio.sleep(0.05)
                assert len(stage.posts()) == refused
                amo.app.clear()
                await consent(http)
                await stage.outage_probe.look()
                stage.clock.advance(900)
                await drained(stage, begun)

        stage.run(play)


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[Service]:
    """The program put together, in this process."""
    service = wire(load_settings(**settings))
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


def connected(amo: AmoStandin, folder: Path, database_url: str) -> dict[str, Any]:
    """The settings of a program that answers from its own words."""
    return {
        "database_url": database_url,
        "amocrm_base_url": amo.url,
        "amocrm_token": amo.token,
        "amocrm_calls_a_second": 100,
        "quiet_seconds": 0.05,
        "stale_minutes": 100_000_000,
        "knowledge_dir": folder,
    }


def test_a_note_needs_none_of_the_connections_that_others_may_hold(tmp_path: Path) -> None:
    with amocrm_standin() as amo:
        amo.any_lead = True

        async def play() -> None:
            async with serving(**connected(amo, tmp_path, f"sqlite:///{tmp_path / 'conversations.db'}")) as service:
                await service.http.aclose()
                await service.inbox.receive(incoming("How much?", lead_id=1))
                await until(lambda: amo.notes(1))

        asyncio.run(play())


@pytest.mark.usefixtures("database")
def test_after_an_outage_and_a_restart_the_queue_drains_in_order_and_within_the_limit(
    tmp_path: Path, database_url: str
) -> None:
    leads = (1, 2, 3, 4)
    with amocrm_standin() as amo:
        amo.any_lead, amo.rate = True, 1000
        amo.fault(path="/api/v4/leads/*/notes", method="POST", status=429, times=None)
        settings = connected(amo, tmp_path, database_url) | {"amocrm_calls_a_second": CALLS_A_SECOND}

        async def says(service: Service, number: int) -> None:
            for lead in leads:
                about = {"message_id": f"{lead}-{number}", "lead_id": lead, "chat_id": f"chat-{lead}"}
                await service.inbox.receive(incoming(f"The question {number}", **about))

        async def play() -> None:
            async with serving(**settings) as service:
                await says(service, 1)
                await until(lambda: in_states(database_url, State.SENDING) == len(leads))
                await says(service, 2)
            amo.app.clear()
            async with serving(**settings):
                await until(lambda: in_states(database_url, State.SENT) == 2 * len(leads))

        asyncio.run(play())
        for lead in leads:
            told = [int(note["params"]["text"].rsplit("otvet:", 1)[1].split("-")[0]) for note in amo.notes(lead)]
            assert len(told) == 2
            assert told == sorted(told)
        at = [one["at"] for one in amo.log]
        assert at[-1] - at[0] > 0.8 * (len(at) - 1) / CALLS_A_SECOND


def in_states(url: str, *states: str) -> int:
    """How many turns there are."""
    database = Database(url)
    query = sa.select(sa.func.count()).select_from(turns).where(turns.c.state.in_(states))
    try:
        return database.read_now(lambda connection: connection.scalar(query)) or 0
    finally:
        database.close()


class Rests:
    """Remembers which turns rest, in place of the engine."""

    def __init__(self) -> None:
        self.resting: dict[int, timedelta] = {}

    async def begin_later(self, turn_id: int, delay: timedelta) -> None:
        self.resting[turn_id] = delay

    async def end_delays(self) -> None:
        self.resting.clear()


@pytest.mark.parametrize("how", ["reply", "outage"])
def test_a_reply_that_amocrm_does_not_take_for_long_rests_in_no_process(database: Database, how: str) -> None:
    """It is begun again after a while, or as soon as amoCRM takes another reply, or calls again."""
    with amocrm_standin() as amo:
        stage, rests = Stage(database, amo=amo), Rests()
        amo.any_lead = True
        stage.delays, stage.policy = rests, replace(stage.policy, stale=timedelta(days=365))
        amo.fault(path="/api/v4/leads/*", method="*", status=503, times=None)
        (turn,) = stage.client_writes(lead_id=FIRST)

        async def play(answering: Answering) -> None:
            await answering.amocrm_is_back()  # what rested before a restart
            assert await answering.answer(turn) == NOT_OURS
            assert rests.resting == {turn: timedelta(minutes=15)}
            resting = stage.turn(turn)
            assert (resting.state, resting.owner) == (State.SENDING, None)
            amo.app.clear()
            if how == "reply":
                (other,) = stage.client_writes(lead_id=SECOND)
                assert await answering.answer(other) == State.SENT
            else:
                await answering.amocrm_is_back()
            assert rests.resting == {}
            assert await answering.answer(turn) == State.SENT

        stage.run(play)
        assert len(amo.notes(FIRST)) == 1
