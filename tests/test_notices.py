"""Notices to staff: once for each matter, together, not in quiet hours, and without a client's words."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx2
from fastapi import FastAPI, Request

from otvet.conversations.tables import clients, conversations, messages
from otvet.notices.apprise import ByApprise
from otvet.notices.notices import NoticeOptions, Notices
from otvet.settings import working_hours
from otvet.storage import outages
from otvet.storage.database import Database
from otvet.turns.handoffs import handoffs
from otvet.turns.turn import turns
from tests.browsing import PASSWORD, add_user
from tests.clocks import FakeClock
from tests.running import otvet, wait_for
from tests.standins.server import serving

START = datetime(2026, 5, 20, 9, 0, tzinfo=UTC)


class Told:
    """A notifier that keeps what it was given; refuses while ``down``."""

    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.down = False

    def send(self, title: str, body: str) -> bool:
        if self.down:
            return False
        self.bodies.append(body)
        return True


def options(**other: object) -> NoticeOptions:
    given = {"after": timedelta(minutes=10), "quiet": None, "words": False, "ceilings": {}, "address": None}
    return NoticeOptions(**{**given, **other})  # type: ignore[arg-type]


def left(database: Database, lead_id: int, opened_at: datetime, words: str = "a secret question") -> int:
    """A hand-off of a deal of its own; returns its id."""
    with database.writes.begin() as connection:
        client = connection.execute(clients.insert().values(name="Anna")).inserted_primary_key[0]
        about = {"client_id": client, "amocrm_lead_id": lead_id, "last_activity": opened_at}
        chat = connection.execute(conversations.insert().values(**about)).inserted_primary_key[0]
        row = {"conversation_id": chat, "opened_at": opened_at, "due_at": opened_at}
        id_: int = connection.execute(handoffs.insert().values(**row)).inserted_primary_key[0]
        asked = {"first_message_at": opened_at, "last_message_at": opened_at, "state": "handed", "handoff_id": id_}
        turn = connection.execute(turns.insert().values(conversation_id=chat, **asked)).inserted_primary_key[0]
        said = {"sender_type": "client", "content": words, "metadata": {}, "timestamp": opened_at, "turn_id": turn}
        connection.execute(messages.insert().values(conversation_id=chat, **said))
        return id_


def looking(database: Database, scene: Callable[[Callable[..., Notices], Told, FakeClock], Awaitable[None]]) -> None:
    """Play a scene with a running writer; its first argument makes the job, with other options."""

    async def play() -> None:
        clock, told = FakeClock(START), Told()
        database.start()
        try:
            await scene(lambda **other: Notices(database, clock, told, options(**other)), told, clock)
        finally:
            await database.writer.stop()

    asyncio.run(play())


def test_who_waits_too_long_is_told_once_and_together(database: Database) -> None:
    left(database, 101, START - timedelta(minutes=25))
    left(database, 102, START - timedelta(minutes=11))
    third = left(database, 103, START - timedelta(minutes=9))

    async def scene(make: Callable[..., Notices], told: Told, clock: FakeClock) -> None:
        looks = make(address="https://otvet.example/?box=person")
        await looks.look()
        await looks.look()
        (only,) = told.bodies
        assert "2 clients wait for a person, the longest for 25 min" in only
        assert "101, 102" in only
        assert "103" not in only
        assert "secret" not in only
        assert "https://otvet.example/?box=person" in only
        clock.advance(120)
        await looks.look()
        assert "1 client waits for a person, for 11 min" in told.bodies[1]
        closed = handoffs.update().where(handoffs.c.id == third).values(closed_at=clock.now())
        await database.write(lambda connection: connection.execute(closed))
        await looks.look()
        assert len(told.bodies) == 2

    looking(database, scene)


def test_quiet_hours_and_a_notifier_that_is_down_only_delay(database: Database) -> None:
    left(database, 101, START - timedelta(minutes=25))

    async def scene(make: Callable[..., Notices], told: Told, clock: FakeClock) -> None:
        quiet = working_hours.read("11:00-13:00", ZoneInfo("Europe/Moscow"))  # START is 12:00 there
        looks = make(quiet=quiet, words=True)
        await looks.look()
        assert told.bodies == []
        clock.advance(3600)
        told.down = True
        await looks.look()
        told.down = False
        await looks.look()
        (only,) = told.bodies
        assert "a secret question" in only  # because it is set so

    looking(database, scene)


def test_an_outage_is_told_again_only_after_it_was_over(database: Database) -> None:
    async def scene(make: Callable[..., Notices], told: Told, clock: FakeClock) -> None:
        looks = make()
        for times in (1, 2):
            await database.write(lambda connection: outages.begin(connection, "moved", "it has moved", clock.now()))
            await looks.look()
            await looks.look()
            assert told.bodies == ["amoCRM: it has moved"] * times
            await database.write(outages.end)
            await looks.look()

    looking(database, scene)


def test_a_notice_arrives_over_http_and_the_page_sends_a_trial(tmp_path: Path) -> None:
    taken: list[dict[str, str]] = []
    app = FastAPI()

    @app.post("/")
    async def take(request: Request) -> dict[str, str]:
        taken.append(await request.json())
        return {}

    with serving(app) as url:
        address = url.replace("http://", "json://")
        with otvet(tmp_path, OTVET_NOTIFY=address) as server:
            add_user(server)
            sent = {"name": "Olga", "password": PASSWORD}
            with httpx2.Client(base_url=server.url, trust_env=False, headers={"origin": server.url}) as browser:
                browser.post("/sign-in", data=sent)
                shown = browser.get("/settings/notices").text
                csrf = shown.partition('name="csrf" value="')[2].partition('"')[0]
                assert address not in shown
                answer = browser.post("/settings/notices/test", data={"csrf": csrf})
            assert "was sent" in answer.text
            wait_for(lambda: taken, "the trial notice")
            assert "trial notice" in taken[0]["message"]


def test_an_address_that_nobody_understands_is_not_sent() -> None:
    assert ByApprise(["nonsense://nowhere"]).send("Otvet", "text") is False
