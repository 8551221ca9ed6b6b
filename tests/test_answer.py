"""The answer to one turn, with a clock that the test moves, on both databases."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx2
import sqlalchemy as sa

from otvet import answer as module
from otvet import turns
from otvet.amocrm.client import AmoClient
from otvet.amocrm.events import read_delivery
from otvet.answer import Answering
from otvet.conversations import messages
from otvet.database import Database
from otvet.inbox import Received, store
from otvet.responders.base import Context, Journal, Reply, ResponderError
from otvet.tries import tries
from tests.clocks import FakeClock
from tests.standins.amocrm import AmoStandin, amocrm_standin
from tests.standins.sender import incoming, outgoing

LEAD = 27754599


class Inline:
    """An engine that carries out each step on the spot; that the real one continues after a kill has its own test."""

    async def step(self, _name: str, function: Callable[[int], Awaitable[Any]], turn_id: int) -> Any:
        return await function(turn_id)


class Writer:
    """A responder that says what it was told to, or refuses."""

    def __init__(self, name: str, text: str | None) -> None:
        self.name = name
        self.text = text
        self.asked: list[Context] = []

    async def reply(self, context: Context, journal: Journal) -> Reply:
        self.asked.append(context)
        if self.text is None:
            raise ResponderError("has nothing to say", permanent=True)
        await journal.remember(step="asked")
        return Reply(self.text, self.name, details={"seconds": 1})


class Stage:
    """A database, a clock and an Answering, for one test."""

    def __init__(self, database: Database, *responders: Writer, amo: AmoStandin | None = None) -> None:
        self.database = database
        self.clock = FakeClock()
        self.responders = responders or (Writer("template", "A manager will answer."),)
        self._amo = amo
        self._count = 0

    def receive(self, body: bytes) -> list[int]:
        now = self.clock.now()
        with self.database.writes.begin() as connection:
            (stored,) = store(connection, [Received(body, read_delivery(body, now), now)])
        return stored.to_answer

    def client_writes(self, text: str = "hello", lead_id: int = LEAD) -> list[int]:
        self._count += 1
        return self.receive(incoming(text, message_id=f"m-{self._count}", lead_id=lead_id, chat_id=f"chat-{lead_id}"))

    def run(self, play: Callable[[Answering], Awaitable[None]]) -> None:
        async def whole() -> None:
            self.database.start()
            async with httpx2.AsyncClient() as http:
                client = AmoClient(http, self._amo.url, self._amo.token, None) if self._amo else None
                await play(self.answering(client))
            await self.database.writer.stop()

        asyncio.run(whole())

    def answering(self, client: AmoClient | None) -> Answering:
        return Answering(
            self.database,
            self.clock,
            Inline(),  # type: ignore[arg-type]
            self.responders,
            client,
            installation_name="test",
            quiet=timedelta(seconds=3),
            quiet_max=timedelta(seconds=15),
            history_messages=50,
        )

    def turn(self, turn_id: int) -> Any:
        return self.database.look(lambda connection: turns.get(connection, turn_id))

    def said(self) -> list[str]:
        query = sa.select(messages.c.content).where(messages.c.sender_type == "assistant").order_by(messages.c.id)
        return list(self.database.look(lambda connection: connection.scalars(query).all()))


def test_the_reply_waits_until_the_client_has_been_silent(database: Database) -> None:
    stage = Stage(database)
    start = stage.clock.now()
    (turn,) = stage.client_writes("Good day")
    stage.clock.advance(2)
    assert stage.client_writes("I want to order") == []  # the same turn

    async def play(answering: Answering) -> None:
        assert await answering.answer(turn) == turns.KEPT

    stage.run(play)
    assert stage.clock.now() - start == timedelta(seconds=5)
    assert [line.text for line in stage.responders[0].asked[0].question] == ["Good day", "I want to order"]


def test_a_client_who_never_stops_is_answered_all_the_same(database: Database) -> None:
    stage = Stage(database)
    start = stage.clock.now()
    (turn,) = stage.client_writes()
    stage.clock.on_sleep = lambda: stage.client_writes()  # a new line whenever the quiet period would have ended

    async def play(answering: Answering) -> None:
        await answering.answer(turn)

    stage.run(play)
    assert stage.clock.now() - start == timedelta(seconds=15)


def test_a_clock_set_back_delays_a_reply_by_no_more_than_the_longest_wait(database: Database) -> None:
    stage = Stage(database)
    (turn,) = stage.client_writes()
    stage.clock.advance(-86400)
    start = stage.clock.now()
    slept: list[float] = []
    stage.clock.on_sleep = lambda: slept.append((stage.clock.now() - start).total_seconds())

    async def play(answering: Answering) -> None:
        waiting = asyncio.create_task(answering.answer(turn))
        while not slept:
            await asyncio.sleep(0)
        waiting.cancel()

    stage.run(play)
    assert slept[0] <= 15


def test_history_has_the_managers_words_and_not_the_question(database: Database) -> None:
    stage = Stage(database)
    stage.receive(outgoing("I am the manager", message_id="m-a", created_at=1695482000, chat_id=f"chat-{LEAD}"))
    (turn,) = stage.client_writes("How much?")

    async def play(answering: Answering) -> None:
        await answering.answer(turn)

    stage.run(play)
    (context,) = stage.responders[0].asked
    assert [(line.sender, line.text) for line in context.history] == [("manager", "I am the manager")]
    assert context.question_text == "How much?"
    assert context.language == "en"


def test_the_next_responder_is_asked_when_one_has_no_reply(database: Database) -> None:
    stage = Stage(database, Writer("manus", None), Writer("template", "A manager will answer."))
    (turn,) = stage.client_writes()

    async def play(answering: Answering) -> None:
        await answering.answer(turn)

    stage.run(play)
    query = sa.select(tries.c.responder, tries.c.outcome).order_by(tries.c.id)
    told = database.look(lambda connection: [tuple(row) for row in connection.execute(query)])
    assert told == [("manus", "has nothing to say"), ("template", "replied")]
    assert stage.turn(turn).responder == "template"
    assert stage.said() == ["A manager will answer."]


def test_a_responder_with_a_bug_costs_its_own_reply_only(database: Database) -> None:
    class Broken(Writer):
        async def reply(self, context: Context, journal: Journal) -> Reply:
            raise ZeroDivisionError

    stage = Stage(database, Broken("manus", None), Writer("template", "A manager will answer."))
    (turn,) = stage.client_writes()

    async def play(answering: Answering) -> None:
        assert await answering.answer(turn) == turns.KEPT

    stage.run(play)


def test_a_second_turn_waits_for_the_one_in_hand(database: Database) -> None:
    stage = Stage(database)
    (first,) = stage.client_writes("first")
    order: list[int] = []

    async def play(answering: Answering) -> None:
        assert await database.write(lambda connection: turns.take(connection, first))
        (second,) = stage.client_writes("second")
        waiting = asyncio.create_task(answering.answer(second))
        waiting.add_done_callback(lambda _task: order.append(second))
        while stage.clock.monotonic() < 3:  # the quiet period of the second one has passed
            await asyncio.sleep(0)
        await answering.answer(first)
        order.append(first)
        await waiting
        await asyncio.sleep(0)
        assert order == [first, second]

    stage.run(play)
    assert [context.question_text for context in stage.responders[0].asked] == ["first", "second"]


def test_other_conversations_do_not_wait(database: Database) -> None:
    stage = Stage(database)
    (first,) = stage.client_writes("first", lead_id=1)
    (other,) = stage.client_writes("other", lead_id=2)

    async def play(answering: Answering) -> None:
        assert await database.write(lambda connection: turns.take(connection, first))
        assert await answering.answer(other) == turns.KEPT

    stage.run(play)


def test_a_note_of_a_crashed_attempt_is_found_and_not_written_again(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        stage = Stage(database, amo=amo)
        (turn,) = stage.client_writes()

        async def play(answering: Answering) -> None:
            amo.fault(path="/api/v4/leads/*/notes", method="POST", drop="after", times=1)
            assert await answering.answer(turn) == turns.SENT

        stage.run(play)
        (note,) = amo.notes(LEAD)
        assert stage.turn(turn).note_id == note["id"]


def test_what_amocrm_does_not_take_now_is_sent_later(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        amo.fault(path="/api/v4/leads/*/notes", method="POST", status=503, times=3)
        stage = Stage(database, amo=amo)
        (turn,) = stage.client_writes()

        async def play(answering: Answering) -> None:
            assert await answering.answer(turn) == turns.SENT

        stage.run(play)
        assert len(amo.notes(LEAD)) == 1
        assert stage.clock.monotonic() >= 3 * module.FIRST_WAIT_SECONDS


def test_after_a_day_in_vain_the_turn_has_failed_with_the_reason(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.fault(method="*", status=503, times=None)
        stage = Stage(database, amo=amo)
        (turn,) = stage.client_writes()

        async def play(answering: Answering) -> None:
            assert await answering.answer(turn) == turns.FAILED

        stage.run(play)
    assert timedelta(days=1) < timedelta(seconds=stage.clock.monotonic()) < timedelta(days=1, hours=1)
    assert stage.turn(turn).reason
