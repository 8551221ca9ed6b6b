"""The answer to one turn, with a clock that the test moves, on both databases."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from otvet.account.outage_probe import OutageProbe
from otvet.amocrm.client import AmoClient, Limiter, Slot
from otvet.amocrm.events import read_delivery
from otvet.answering import answering as module
from otvet.answering.answering import Answering, Delays, WritingOptions
from otvet.answering.in_every_process import repeat
from otvet.answering.writer import ReplyWriter
from otvet.app.wiring import delivery_methods
from otvet.conversations.pauses import set_pause
from otvet.conversations.tables import FOR_GOOD, messages
from otvet.delivery.delivery import Delivery
from otvet.delivery.methods import DeliveryOptions
from otvet.delivery.staff_task import StaffTasks
from otvet.intake.inbox import Received, store
from otvet.responders.base import Attempt, Context, Reply, ResponderError
from otvet.responders.knowledge.responder import Knowledge
from otvet.storage import heartbeats, outages
from otvet.storage.database import Database
from otvet.storage.writer import Writer as DatabaseWriter
from otvet.turns import drafts, handoffs, queue, sending, staff
from otvet.turns import turn as turn_
from otvet.turns.attempts import attempts
from otvet.turns.handoffs import Handoff
from otvet.turns.policy import UNSURE_FOR, Policy, Wait
from otvet.turns.turn import NEEDS_STAFF, Reason, State, turns
from tests import in_hand
from tests.clocks import FakeClock
from tests.standins.amocrm import AmoStandin, amocrm_standin
from tests.standins.sender import incoming, outgoing

LEAD = 27754599


class Writer:
    """A responder that says what it was told to, or refuses."""

    def __init__(self, name: str, text: str | None) -> None:
        self.name = name
        self.outside = name not in ("template", "knowledge")
        self.text = text
        self.asked: list[Context] = []

    async def reply(self, context: Context, attempt: Attempt) -> Reply:
        self.asked.append(context)
        if self.text is None:
            raise ResponderError("has nothing to say", permanent=True)
        await attempt.remember(step="asked")
        return Reply(self.text, self.name, details={"seconds": 1})


class Stage:
    """A database, a clock and an Answering, for one test."""

    def __init__(self, database: Database, *responders: Writer, amo: AmoStandin | None = None) -> None:
        self.database = database
        self.clock = FakeClock()
        self.delays: Delays | None = None
        self.responders = responders or (Writer("knowledge", "Yes, we have it."),)
        self.policy = Policy()
        self.options = WritingOptions()
        self.delivery_options = DeliveryOptions()
        self.knowledge = Knowledge(Path("nowhere"), self.clock)
        self.pause_minutes = 30.0
        self.writing: dict[str, Any] = {}  # for ReplyWriter: checks, a masker, a summariser
        self.me = "this process"
        self.limiter: Limiter | None = None
        self.delivery: Delivery
        self.staff_tasks: StaffTasks
        self.begun: list[int] = []
        self.outage_probe: OutageProbe
        self._amo = amo
        self._count = 0

    def receive(self, body: bytes) -> list[int]:
        now = self.clock.now()
        received = Received(body, read_delivery(body, now), now)
        with self.database.writes.begin() as connection:
            (stored,) = store(connection, [received], timedelta(minutes=self.pause_minutes))
        return stored.to_answer

    def client_writes(self, text: str = "Do you have it?", lead_id: int = LEAD) -> list[int]:
        return self.receive(incoming(text, **self._new(lead_id)))

    def manager_writes(self, text: str = "I am here", lead_id: int = LEAD, **more: Any) -> None:
        self.receive(outgoing(text, **{**self._new(lead_id), **more}))

    def others_go_on(self) -> None:
        """In another deal a client asks and is answered."""
        self.clock.advance(2)
        (turn_id,) = self.client_writes(lead_id=LEAD + 1)
        answered = turns.update().where(turns.c.id == turn_id)
        reply = {"sender_type": "assistant", "content": "Yes.", "message_type": "text", "metadata": {}}
        now = self.clock.now()
        with self.database.writes.begin() as connection:
            here = turn_.get(connection, turn_id)
            assert here is not None
            connection.execute(answered.values(state=State.SENT, reply="Yes.", closed_at=now))
            told = {**reply, "conversation_id": here.conversation_id, "timestamp": now, "turn_id": turn_id}
            connection.execute(messages.insert().values(**told))

    def _new(self, lead_id: int) -> dict[str, Any]:
        self._count += 1
        said_at = int(self.clock.now().timestamp())
        return {
            "message_id": f"m-{self._count}",
            "lead_id": lead_id,
            "chat_id": f"chat-{lead_id}",
            "created_at": said_at,
        }

    def answer(self, turn_id: int) -> str:
        """Have a turn answered; gives the state it ended in."""
        states = []

        async def play(answering: Answering) -> None:
            states.append(await answering.answer(turn_id))

        self.run(play)
        return states[0]

    def run(self, *plays: Callable[[Answering], Awaitable[None]]) -> None:
        """Play, one after the other, on one event loop."""

        async def whole() -> None:
            self.database.start()
            async with httpx2.AsyncClient() as http:
                client = self.client(http) if self._amo else None
                answering = self.answering(client)
                for play in plays:
                    await play(answering)
            await self.database.writer.stop()
            self.database.writer = DatabaseWriter(self.database.writes)  # so that a test may play again

        asyncio.run(whole())

    def tell_staff(self) -> None:
        """As the engine has it done every few seconds."""

        async def look(_answering: Answering) -> None:
            await self.staff_tasks.look()

        self.run(look)

    def look_at_tasks(self) -> None:
        """As tell_staff, at the tasks that somebody has completed and the notes of drafts."""

        async def look(_answering: Answering) -> None:
            await self.staff_tasks.look_at_completed()
            await self.staff_tasks.tidy_drafts()
            await self.staff_tasks.tidy_tasks()

        self.run(look)

    def client(self, http: httpx2.AsyncClient) -> AmoClient:
        assert self._amo is not None
        gate = partial(outages.check, self.database)
        return AmoClient(http, self._amo.url, self._amo.token, self.limiter, gate)

    def answering(self, client: AmoClient | None) -> Answering:
        self.delivery = Delivery(
            self.database,
            self.clock,
            client,
            installation_name="test",
            me=self.me,
            policy=self.policy,
            options=self.delivery_options,
            methods=delivery_methods(self.database, self.clock, client, self.delivery_options) if client else {},
        )
        answering = Answering(
            self.database,
            self.clock,
            ReplyWriter(self.responders[:-1], self.responders[-1], **self.writing),
            self.knowledge,
            self.delivery,
            self.policy,
            self.options,
            self.me,
            delays=self.delays,
        )
        self.staff_tasks = StaffTasks(
            self.database,
            self.clock,
            client,
            installation_name="test",
            policy=self.policy,
            begin=self.begun.extend,
        )
        if client:
            self.outage_probe = OutageProbe(self.database, self.clock, client, answering.amocrm_is_back)
        return answering

    async def look_out(self) -> None:
        """As the engine has it done, by the stage's clock."""
        await repeat(self.clock, 15, self.outage_probe.look, "the outage probe failed")

    def turn(self, turn_id: int) -> Any:
        return self.database.read_now(lambda connection: turn_.get(connection, turn_id))

    def said(self) -> list[str]:
        query = sa.select(messages.c.content).where(messages.c.sender_type == "assistant").order_by(messages.c.id)
        return list(self.database.read_now(lambda connection: connection.scalars(query).all()))


def handoff(database: Database, turn_id: int) -> Handoff:
    found = database.read_now(lambda connection: handoffs.of_turn(connection, turn_id))
    assert found is not None
    return found


async def write(answering: Answering, turn_id: int) -> None:
    """As far as to the written reply, as if the process had died then."""
    claimed = await answering._claim(turn_id)
    assert claimed is not None
    await answering._wait_for_place(claimed)
    await answering._have_written(claimed)


def test_the_reply_waits_until_the_client_has_been_silent(database: Database) -> None:
    stage = Stage(database)
    start = stage.clock.now()
    (turn,) = stage.client_writes("Good day")
    stage.clock.advance(2)
    assert stage.client_writes("I want to order") == []  # the same turn

    async def play(answering: Answering) -> None:
        assert await answering.answer(turn) == State.KEPT

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


def test_what_the_client_adds_before_a_draft_is_written_anew_belongs_to_it(database: Database) -> None:
    class Interrupted(Writer):
        async def reply(self, context: Context, attempt: Attempt) -> Reply:
            if not self.asked:
                stage.clock.advance(60)  # the writing takes so long
                stage.client_writes("two")
                stage.clock.on_sleep = write_on
            return await super().reply(context, attempt)

    def write_on() -> None:
        stage.clock.on_sleep = lambda: None
        stage.client_writes("three")

    stage = Stage(database, Interrupted("knowledge", "A manager will answer."))
    start = stage.clock.now()
    (turn,) = stage.client_writes("one")
    assert stage.answer(turn) == State.KEPT
    asked = stage.responders[0].asked
    assert [[line.text for line in context.question] for context in asked] == [["one"], ["one", "two", "three"]]
    assert [context.history for context in asked] == [(), ()]
    assert stage.clock.now() - start == timedelta(seconds=3 + 60 + 3 + 3)  # silence after "one", "two" and "three"
    assert stage.turn(turn).redrafts == 1


def test_a_client_who_never_stops_during_a_redraft_is_answered_all_the_same(database: Database) -> None:
    class Interrupted(Writer):
        async def reply(self, context: Context, attempt: Attempt) -> Reply:
            if not self.asked:
                stage.client_writes("And in red?")
                stage.clock.on_sleep = lambda: stage.client_writes(f"And at {stage.clock.now():%H:%M:%S}?")
            else:
                stage.clock.on_sleep = lambda: None
            return await super().reply(context, attempt)

    stage = Stage(database, Interrupted("knowledge", "A manager will answer."))
    start = stage.clock.now()
    (turn,) = stage.client_writes()
    assert stage.answer(turn) == State.KEPT
    assert stage.clock.now() - start == timedelta(seconds=3 + 15)


def test_what_waits_for_its_own_answer_is_not_told_as_history(database: Database) -> None:
    stage = Stage(database)
    (turn,) = stage.client_writes("one")

    async def play(answering: Answering) -> None:
        claimed = await answering._claim(turn)
        assert claimed is not None
        await answering._wait_for_place(claimed)
        stage.client_writes("two")
        await answering._have_written(claimed)

    stage.run(play)
    (context,) = stage.responders[0].asked
    assert (context.question_text, context.history) == ("one", ())


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
    stage.manager_writes("I am the manager")
    stage.clock.advance(31 * 60)
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
    query = sa.select(attempts.c.responder, attempts.c.outcome).order_by(attempts.c.responder)
    told = database.read_now(lambda connection: [tuple(row) for row in connection.execute(query)])
    assert told == [("manus", "has nothing to say"), ("template", "replied")]
    assert stage.turn(turn).responder == "template"
    assert stage.said() == ["A manager will answer."]


def test_a_responder_with_a_bug_costs_its_own_reply_only(database: Database) -> None:
    class Broken(Writer):
        async def reply(self, context: Context, attempt: Attempt) -> Reply:
            raise ZeroDivisionError

    stage = Stage(database, Broken("manus", None), Writer("knowledge", "A manager will answer."))
    (turn,) = stage.client_writes()

    async def play(answering: Answering) -> None:
        assert await answering.answer(turn) == State.KEPT

    stage.run(play)


@pytest.mark.both
def test_a_second_turn_waits_for_the_one_in_hand(database: Database) -> None:
    stage = Stage(database)
    (first,) = stage.client_writes("first")

    async def play(answering: Answering) -> None:
        now = stage.clock.now()
        turn = await database.write(lambda connection: in_hand.written(connection, first, stage.me, now))
        (second,) = stage.client_writes("second")
        waiting = asyncio.create_task(answering.answer(second))
        while stage.clock.monotonic() < 3:  # the quiet period of the second one has passed
            await asyncio.sleep(0)
        assert not waiting.done()
        await database.write(lambda connection: sending.keep(connection, turn, stage.me, stage.clock.now()))
        await waiting

    stage.run(play)
    assert stage.said() == [in_hand.WRITTEN_ALREADY.text, "Yes, we have it."]


@pytest.mark.both
def test_other_conversations_do_not_wait(database: Database) -> None:
    stage = Stage(database)
    (first,) = stage.client_writes("first", lead_id=1)
    (other,) = stage.client_writes("other", lead_id=2)

    async def play(answering: Answering) -> None:
        now = stage.clock.now()
        await database.write(lambda connection: in_hand.taken(connection, first, stage.me, now))
        assert await answering.answer(other) == State.KEPT

    stage.run(play)


def test_a_note_of_a_crashed_attempt_is_found_and_not_written_again(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        stage = Stage(database, amo=amo)
        (turn,) = stage.client_writes()

        async def play(answering: Answering) -> None:
            amo.fault(path="/api/v4/leads/*/notes", method="POST", drop="after", times=1)
            assert await answering.answer(turn) == State.SENT

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
            assert await answering.answer(turn) == State.SENT

        stage.run(play)
        assert len(amo.notes(LEAD)) == 1
        assert stage.clock.monotonic() >= 3 * module.FIRST_WAIT_SECONDS


@pytest.fixture
def few_attempts_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otvet.answering.answering.LONGEST_WAIT_SECONDS", 3000.0)


@pytest.mark.usefixtures("few_attempts_a_day")
def test_after_a_day_in_vain_the_turn_has_failed_with_the_reason(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.fault(method="*", status=503, times=None)
        stage = Stage(database, amo=amo)
        (turn,) = stage.client_writes()

        async def play(answering: Answering) -> None:
            assert await answering.answer(turn) == State.FAILED

        stage.run(play)
    assert timedelta(days=1) < timedelta(seconds=stage.clock.monotonic()) < timedelta(days=1, hours=1)
    assert stage.turn(turn).reason


# The client writes on


@pytest.mark.both
def test_newer_words_are_answered_with_the_older_ones_as_long_as_nothing_was_sent(database: Database) -> None:
    class Interrupted(Writer):
        async def reply(self, context: Context, attempt: Attempt) -> Reply:
            if not self.asked:
                stage.client_writes("and in red?")
            return await super().reply(context, attempt)

    stage = Stage(database, Interrupted("knowledge", "A manager will answer."))
    (turn,) = stage.client_writes("how much?")

    async def play(answering: Answering) -> None:
        assert await answering.answer(turn) == State.KEPT

    stage.run(play)
    asked = [context.question_text for context in stage.responders[0].asked]
    assert asked == ["how much?", "how much?\nand in red?"]
    assert stage.said() == ["A manager will answer."]
    assert stage.turn(turn).redrafts == 1


@pytest.mark.both
def test_who_was_asked_before_a_crash_does_not_answer_what_the_client_wrote_after_it(database: Database) -> None:
    class Slow(Writer):
        async def reply(self, context: Context, attempt: Attempt) -> Reply:
            reply = await super().reply(context, attempt)
            if len(self.asked) == 1:
                asked.set()
                await asyncio.Event().wait()
            return reply

    stage = Stage(database, Slow("knowledge", "A manager will answer."))
    (turn,) = stage.client_writes("how much?")
    asked = asyncio.Event()

    async def cut_off(answering: Answering) -> None:
        answer = asyncio.create_task(answering.answer(turn))
        await asked.wait()
        answer.cancel()

    async def go_on(answering: Answering) -> None:
        assert await answering.answer(turn) == State.KEPT

    stage.run(cut_off)
    stage.client_writes("and in red?")
    stage.run(go_on)
    questions = [context.question_text for context in stage.responders[0].asked]
    assert questions == ["how much?", "how much?", "how much?\nand in red?"]


def test_a_draft_is_dropped_twice_at_most(database: Database) -> None:
    class Interrupted(Writer):
        async def reply(self, context: Context, attempt: Attempt) -> Reply:
            stage.client_writes("and another thing")
            return await super().reply(context, attempt)

    stage = Stage(database, Interrupted("knowledge", "A manager will answer."))
    (turn,) = stage.client_writes("how much?")

    async def play(answering: Answering) -> None:
        assert await answering.answer(turn) == State.KEPT

    stage.run(play)
    assert len(stage.responders[0].asked) == 1 + drafts.MOST_REDRAFTS
    waiting = database.read_now(lambda connection: turn_.listed(connection, (State.WAITING,), 10))
    assert len(waiting) == 1  # the last words open the next turn


# People come first


def test_a_manager_who_writes_first_is_not_talked_over(database: Database) -> None:
    stage = Stage(database)
    (turn,) = stage.client_writes()
    stage.manager_writes()

    async def play(answering: Answering) -> None:
        assert await answering.answer(turn) == module.NOT_OURS

    stage.run(play)
    assert stage.turn(turn).state == State.CANCELLED
    assert stage.turn(turn).reason == Reason.MANAGER
    assert stage.said() == []


@pytest.mark.both
def test_a_manager_who_writes_while_the_reply_is_written_is_not_talked_over(database: Database) -> None:
    class Interrupted(Writer):
        async def reply(self, context: Context, attempt: Attempt) -> Reply:
            stage.manager_writes()
            return await super().reply(context, attempt)

    stage = Stage(database, Interrupted("knowledge", "A manager will answer."))
    (turn,) = stage.client_writes()

    async def play(answering: Answering) -> None:
        assert await answering.answer(turn) == State.CANCELLED

    stage.run(play)
    assert stage.said() == []


def test_after_a_manager_the_assistant_keeps_still_for_the_pause(database: Database) -> None:
    stage = Stage(database)
    stage.manager_writes()
    stage.clock.advance(20 * 60)
    (during,) = stage.client_writes("thanks")

    async def while_paused(answering: Answering) -> None:
        assert await answering.answer(during) == State.HANDED

    stage.run(while_paused)
    assert stage.turn(during).reason == Reason.PAUSED


def test_after_the_pause_it_answers_again(database: Database) -> None:
    stage = Stage(database)
    stage.manager_writes()
    stage.clock.advance(31 * 60)
    (after,) = stage.client_writes("one more question")

    async def play(answering: Answering) -> None:
        assert await answering.answer(after) == State.KEPT

    stage.run(play)


def test_with_no_pause_only_the_present_turn_is_left_to_the_manager(database: Database) -> None:
    stage = Stage(database)
    stage.pause_minutes = 0
    (turn,) = stage.client_writes()
    stage.manager_writes()
    stage.clock.advance(1)
    (next_turn,) = stage.client_writes("thanks, and how much?")

    async def play(answering: Answering) -> None:
        assert await answering.answer(next_turn) == State.KEPT

    stage.run(play)
    assert stage.turn(turn).state == State.CANCELLED


def test_a_manager_ends_the_pause_of_a_client_who_asked_for_a_person(database: Database) -> None:
    stage = Stage(database)
    stage.pause_minutes = 0
    (turn,) = stage.client_writes("human please")

    async def play(answering: Answering) -> None:
        assert await answering.answer(turn) == State.KEPT
        assert stage.turn(turn).paused_until == FOR_GOOD
        stage.manager_writes()
        stage.clock.advance(1)
        (later,) = stage.client_writes("thanks, and how much is it?")
        assert await answering.answer(later) == State.KEPT

    stage.run(play)


def test_a_pause_by_hand_that_is_over_does_not_keep_a_manager_from_pausing(database: Database) -> None:
    stage = Stage(database)
    stage.client_writes()
    with database.writes.begin() as connection:
        set_pause(connection, LEAD, stage.clock.now() + timedelta(minutes=5))
    stage.clock.advance(600)
    stage.manager_writes()
    (later,) = stage.client_writes("hello again")

    async def play(answering: Answering) -> None:
        assert await answering.answer(later) == State.HANDED

    stage.run(play)


def test_a_reply_that_a_manager_stopped_on_its_way_is_sent_once_when_somebody_says_so(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        amo.fault(path="/api/*", method="POST", status=503, times=1)
        stage = Stage(database, amo=amo)
        (turn,) = stage.client_writes()

        def takes_over() -> None:
            if stage.turn(turn).state == State.SENDING and stage.turn(turn).paused_until is None:
                stage.manager_writes()

        stage.clock.on_sleep = takes_over

        async def play(answering: Answering) -> None:
            assert await answering.answer(turn) == State.CANCELLED
            assert await database.write(lambda connection: staff.retry(connection, turn, stage.clock.now()))
            assert await answering.answer(turn) == State.SENT

        stage.run(play)
        assert len(amo.notes(LEAD)) == 1
    assert len(stage.said()) == 1


@pytest.mark.both
def test_a_written_draft_that_a_manager_cancelled_is_written_anew_when_somebody_says_so(database: Database) -> None:
    class Interrupted(Writer):
        async def reply(self, context: Context, attempt: Attempt) -> Reply:
            if not self.asked:
                stage.manager_writes()
            return await super().reply(context, attempt)

    stage = Stage(database, Interrupted("knowledge", "A manager will answer."))
    (turn,) = stage.client_writes()

    async def play(answering: Answering) -> None:
        assert await answering.answer(turn) == State.CANCELLED
        assert await database.write(lambda connection: staff.retry(connection, turn, stage.clock.now()))
        assert await answering.answer(turn) == State.KEPT

    stage.run(play)
    assert stage.said() == ["A manager will answer."]


def test_a_client_who_asks_for_a_person_gets_one(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        stage = Stage(database, amo=amo)
        (turn,) = stage.client_writes("Позовите, пожалуйста, менеджера!")

        async def play(answering: Answering) -> None:
            assert await answering.answer(turn) == State.SENT

        stage.run(play)
        stage.tell_staff()
        (task,) = amo.tasks(LEAD)
        assert "Позовите" in task["text"]
        assert len(amo.notes(LEAD)) == 1
    assert stage.turn(turn).responder == "handover"
    assert stage.turn(turn).reason == Reason.ASKED
    assert stage.turn(turn).paused_until == FOR_GOOD
    assert stage.responders[0].asked == []


def test_what_is_too_old_is_left_to_a_person(database: Database) -> None:
    stage = Stage(database)
    (turn,) = stage.client_writes()
    stage.clock.advance(61 * 60)

    async def play(answering: Answering) -> None:
        assert await answering.answer(turn) == State.HANDED

    stage.run(play)
    assert stage.turn(turn).reason == Reason.STALE
    assert stage.said() == []


def test_two_bots_do_not_talk_for_ever(database: Database) -> None:
    stage = Stage(database)
    stage.policy = replace(stage.policy, replies_a_day=2)
    ended: list[str] = []

    async def play(answering: Answering) -> None:
        (turn,) = stage.client_writes(f"beep {len(ended)}")
        ended.append(await answering.answer(turn))

    stage.run(play, play, play)
    assert ended == [State.KEPT, State.KEPT, State.HANDED]
    (handed,) = database.read_now(lambda connection: turn_.listed(connection, (State.HANDED,), 10))
    assert handed.reason == Reason.CEILING


def test_a_paused_conversation_is_left_alone_until_it_is_resumed(database: Database) -> None:
    stage = Stage(database)
    (turn,) = stage.client_writes()
    with database.writes.begin() as connection:
        assert set_pause(connection, LEAD, FOR_GOOD)

    async def play(answering: Answering) -> None:
        assert await answering.answer(turn) == State.HANDED
        assert await database.write(lambda connection: set_pause(connection, LEAD, None))
        (later,) = stage.client_writes("hello again")
        assert await answering.answer(later) == State.KEPT

    stage.run(play)


def test_what_was_left_to_a_person_is_answered_when_one_says_so(database: Database) -> None:
    stage = Stage(database)
    (turn,) = stage.client_writes()
    stage.clock.advance(61 * 60)

    async def play(answering: Answering) -> None:
        assert await answering.answer(turn) == State.HANDED
        assert await database.write(lambda connection: staff.retry(connection, turn, stage.clock.now()))
        assert await answering.answer(turn) == State.KEPT

    stage.run(play)
    assert stage.said() == ["Yes, we have it."]


# Ownership


@pytest.mark.both
def test_a_turn_of_a_living_process_is_not_taken(database: Database) -> None:
    stage = Stage(database)
    (turn,) = stage.client_writes()
    now = stage.clock.now()
    with database.writes.begin() as connection:
        heartbeats.beat(connection, "another", now)
        assert queue.claim(connection, turn, "another", now)

    async def play(answering: Answering) -> None:
        assert await answering.answer(turn) == module.NOT_OURS

    stage.run(play)


@pytest.mark.both
def test_a_turn_of_a_dead_process_is_taken_over(database: Database) -> None:
    stage = Stage(database)
    (turn,) = stage.client_writes()
    with database.writes.begin() as connection:
        assert queue.claim(connection, turn, "never heard of", stage.clock.now())

    async def play(answering: Answering) -> None:
        assert await answering.answer(turn) == State.KEPT

    stage.run(play)


@pytest.mark.both
def test_a_process_that_lost_its_turn_while_it_hung_sends_nothing(database: Database) -> None:
    class Hanging(Writer):
        async def reply(self, context: Context, attempt: Attempt) -> Reply:
            taken = turns.update().values(owner="another")
            await database.write(lambda connection: connection.execute(taken).rowcount)
            return await super().reply(context, attempt)

    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        stage = Stage(database, Hanging("template", "A manager will answer."), amo=amo)
        (turn,) = stage.client_writes()

        async def play(answering: Answering) -> None:
            await answering.answer(turn)

        stage.run(play)
        assert amo.notes(LEAD) == []
    assert stage.said() == []


# amoCRM does not take it


def test_a_ban_stops_all_calls_and_keeps_the_reply(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        amo.fault(path="/api/*", method="*", status=403, body="<html>403 Forbidden</html>", times=1)
        stage = Stage(database, amo=amo)
        stage.policy = replace(
            stage.policy, stale=timedelta(days=1000)
        )  # the outage probe's sleeps move the clock as fast as they can
        (turn,) = stage.client_writes()

        async def play(answering: Answering) -> None:
            looking = asyncio.create_task(stage.look_out())
            assert await answering.answer(turn) == State.SENT
            looking.cancel()

        stage.run(play)
        assert len(amo.notes(LEAD)) == 1
        assert stage.clock.monotonic() >= outages.RETRY_AFTER["banned"].total_seconds()
        calls = [(one["method"], one["path"].rsplit("/", 1)[1]) for one in amo.log]
        assert calls == [("POST", "notes"), ("GET", "account"), ("GET", "notes"), ("POST", "notes")]
    assert database.read_now(lambda connection: outages.current(connection)) is None


def closed_gate(stage: Stage, reason: str = "payment") -> None:
    with stage.database.writes.begin() as connection:
        outages.begin(connection, reason, "closed", stage.clock.now())


def opens_after(stage: Stage, seconds: float) -> Callable[[], None]:
    def look() -> None:
        if stage.clock.monotonic() >= seconds:
            with stage.database.writes.begin() as connection:
                outages.end(connection)

    return look


def test_a_reply_that_waited_too_long_for_amocrm_is_left_to_a_person(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        stage = Stage(database, amo=amo)
        (turn,) = stage.client_writes()
        closed_gate(stage)
        stage.clock.on_sleep = opens_after(stage, 3700)
        assert stage.answer(turn) == State.HANDED
        assert stage.turn(turn).reason == Reason.STALE
        assert stage.turn(turn).reply
        assert amo.notes(LEAD) == []
        with database.writes.begin() as connection:
            assert staff.retry(connection, turn, stage.clock.now()) == turn
        assert stage.answer(turn) == State.SENT
        assert len(amo.notes(LEAD)) == 1


def test_a_reply_that_waited_for_amocrm_not_too_long_is_sent(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        stage = Stage(database, amo=amo)
        (turn,) = stage.client_writes()
        closed_gate(stage)
        stage.clock.on_sleep = opens_after(stage, 1200)
        assert stage.answer(turn) == State.SENT


def test_a_client_who_asked_for_a_person_gets_one_also_after_a_long_outage(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        stage = Stage(database, amo=amo)
        (turn,) = stage.client_writes("позовите менеджера")
        closed_gate(stage)
        stage.clock.on_sleep = opens_after(stage, 3700)
        assert stage.answer(turn) == State.SENT
        stage.tell_staff()
        assert len(amo.tasks(LEAD)) == 1


def test_the_day_of_attempts_begins_when_calls_are_taken_at_all(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        stage = Stage(database, amo=amo)
        stage.policy = replace(stage.policy, stale=timedelta(days=1000))
        (turn,) = stage.client_writes()
        amo.fault(path="/api/*", method="*", status=402, times=2)
        amo.fault(path="/api/*", method="POST", status=429, times=1)
        stage.clock.on_sleep = opens_after(stage, 2 * 24 * 3600)
        assert stage.answer(turn) == State.SENT
        assert len(amo.notes(LEAD)) == 1


@pytest.mark.usefixtures("few_attempts_a_day")
def test_a_retry_has_a_day_of_its_own(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        amo.rate = 1000  # a day of attempts passes in a moment
        stage = Stage(database, amo=amo)
        (turn,) = stage.client_writes()
        amo.fault(path="/api/*", method="POST", status=429, times=None)
        assert stage.answer(turn) == State.FAILED
        assert stage.clock.monotonic() >= 24 * 3600
        amo.app.clear()
        amo.fault(path="/api/*", method="POST", status=429, times=1)
        with database.writes.begin() as connection:
            assert staff.retry(connection, turn, stage.clock.now()) == turn
        assert stage.answer(turn) == State.SENT


def test_a_manager_who_took_over_while_amocrm_was_away_is_not_talked_over(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        amo.fault(path="/api/*", method="POST", status=503, times=1)
        stage = Stage(database, amo=amo)
        (turn,) = stage.client_writes()
        fired: list[int] = []

        def takes_over() -> None:
            if not fired and stage.turn(turn).state == State.SENDING:
                fired.append(1)
                stage.manager_writes()

        stage.clock.on_sleep = takes_over

        async def play(answering: Answering) -> None:
            assert await answering.answer(turn) == State.CANCELLED

        stage.run(play)
        assert amo.notes(LEAD) == []


class Waiting:
    """A limiter that counts its places; ``during``: what happens while a caller waits for one."""

    def __init__(self, during: Callable[[], object] = lambda: None) -> None:
        self.places = 0
        self.during = during

    async def acquire(self) -> None:
        self.places += 1
        self.during()


def being_sent(stage: Stage) -> int:
    """A turn whose reply was about to be given to amoCRM when the process that did so died."""
    (turn,) = stage.client_writes()
    with stage.database.writes.begin() as connection:
        in_hand.being_sent(connection, turn, stage.me, stage.clock.now())
    return turn


def close_gate(stage: Stage, reason: str) -> None:
    with stage.database.writes.begin() as connection:
        outages.begin(connection, reason, "amoCRM refuses.", stage.clock.now())


def gate_of(database: Database) -> outages.Outage | None:
    return database.read_now(lambda connection: outages.current(connection))


def test_amocrm_is_not_asked_too_early_for_a_note_whose_sender_died(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        stage = Stage(database, amo=amo)
        stage.limiter = limiter = Waiting()
        turn = being_sent(stage)
        stage.clock.advance(UNSURE_FOR.total_seconds() - 1)

        async def play(_answering: Answering) -> None:
            outcome = await stage.delivery.deliver(turn)
            assert isinstance(outcome, Wait)
            assert (amo.log, limiter.places) == ([], 0)
            before = stage.clock.monotonic()
            await stage.delivery.wait(outcome, 900)
            assert stage.clock.monotonic() - before == 1  # and no longer than it has to
            assert await stage.delivery.deliver(turn) == State.SENT
            assert limiter.places == len(amo.log)

        stage.run(play)
        assert [one["method"] for one in amo.log] == ["GET", "POST"]


class Ending:
    """A limiter during whose wait the program is told to stop."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def acquire(self) -> None:
        await self._stage.delivery.finish(self._stage.clock.monotonic())


def test_nothing_is_sent_that_had_not_begun_when_the_program_was_told_to_stop(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        stage = Stage(database, amo=amo)
        stage.limiter = Ending(stage)
        (turn,) = stage.client_writes()
        with database.writes.begin() as connection:
            in_hand.written(connection, turn, stage.me, stage.clock.now())

        async def play(_answering: Answering) -> None:
            assert isinstance(await stage.delivery.deliver(turn), Wait)

        stage.run(play)
        assert amo.log == []
    assert (stage.turn(turn).state, stage.turn(turn).sent_attempt_at) == (State.ANSWERING, None)


def test_what_has_begun_is_waited_for_no_longer_than_there_is_time(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        amo.fault(path="/api/v4/leads/*/notes", method="POST", delay=0.3)
        stage = Stage(database, amo=amo)
        turn = being_sent(stage)
        stage.clock.advance(60)

        async def play(_answering: Answering) -> None:
            delivering = asyncio.create_task(stage.delivery.deliver(turn))
            while not any(one["method"] == "POST" for one in amo.log):
                await asyncio.sleep(0.01)
            until = stage.clock.monotonic() + 1  # as the clock of this test goes, a moment
            await stage.delivery.finish(until)
            assert (delivering.done(), stage.clock.monotonic() >= until) == (False, True)
            stage.clock.sleep = asyncio.sleep  # type: ignore[method-assign]
            await stage.delivery.finish(stage.clock.monotonic() + 10)
            assert stage.turn(turn).state == State.SENT
            await delivering

        stage.run(play)


def test_a_note_that_amocrm_writes_late_is_not_written_again(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        amo.fault(path="/api/v4/leads/*/notes", method="POST", drop="before")
        stage = Stage(database, amo=amo)
        (turn,) = stage.client_writes()
        late: list[int] = []

        def carries_it_out() -> None:
            if amo.log and not late and stage.clock.monotonic() >= 15:
                late.append(write_as_amocrm(stage, amo, turn))

        stage.clock.on_sleep = carries_it_out

        async def play(answering: Answering) -> None:
            assert await answering.answer(turn) == State.SENT

        stage.run(play)
        assert [note["id"] for note in amo.notes(LEAD)] == late


def write_as_amocrm(stage: Stage, amo: AmoStandin, turn: int) -> int:
    """The note of a turn, carried out by amoCRM after the connection to it is gone."""
    text = f"{stage.turn(turn).reply}\n\n[{sending.marker('test', turn)}]"
    answer = httpx2.post(
        f"{amo.url}/api/v4/leads/{LEAD}/notes",
        json=[{"note_type": "common", "params": {"text": text}}],
        headers={"Authorization": f"Bearer {amo.token}"},
        trust_env=False,
    )
    return int(answer.raise_for_status().json()["_embedded"]["notes"][0]["id"])


def test_a_clock_that_was_set_back_does_not_shorten_the_wait_for_a_late_note(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        stage = Stage(database, amo=amo)
        turn = being_sent(stage)
        stage.clock.advance(-86400)

        async def play(_answering: Answering) -> None:
            outcome = await stage.delivery.deliver(turn)
            assert isinstance(outcome, Wait)
            assert amo.log == []
            before = stage.clock.monotonic()
            await stage.delivery.wait(outcome, 900)
            assert stage.clock.monotonic() - before == UNSURE_FOR.total_seconds()
            assert await stage.delivery.deliver(turn) == State.SENT

        stage.run(play)
        assert len(amo.notes(LEAD)) == 1


@pytest.mark.both
def test_who_lost_the_turn_while_it_waited_for_its_place_does_not_send(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        stage = Stage(database, amo=amo)
        turn = being_sent(stage)
        stage.clock.advance(UNSURE_FOR.total_seconds())
        limiter = Waiting()

        def lost_before_the_post() -> None:
            if limiter.places == 2:
                with database.writes.begin() as connection:
                    connection.execute(turns.update().values(owner="another"))

        limiter.during = lost_before_the_post
        stage.limiter = limiter

        async def play(_answering: Answering) -> None:
            assert await stage.delivery.deliver(turn) is None

        stage.run(play)
        assert [one["method"] for one in amo.log] == ["GET"]


def test_a_task_of_a_crashed_attempt_is_not_made_again(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        amo.fault(path="/api/v4/tasks", method="POST", drop="after")
        stage = Stage(database, amo=amo)
        (turn,) = stage.client_writes("operator")

        async def play(answering: Answering) -> None:
            assert await answering.answer(turn) == State.SENT

        stage.run(play)
        for _look in range(3):
            stage.tell_staff()  # the first call's answer is lost, and the second look comes too early
            assert (len(amo.notes(LEAD)), len(amo.tasks(LEAD))) == (1, 1)
            stage.clock.advance(UNSURE_FOR.total_seconds())
        assert handoff(database, turn).task_id == amo.tasks(LEAD)[0]["id"]


# Gates


def test_who_waits_for_a_place_when_the_gate_closes_does_not_call(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        stage = Stage(database, amo=amo)
        stage.limiter = Waiting(lambda: close_gate(stage, "banned"))
        crashed = being_sent(stage)
        stage.clock.advance(UNSURE_FOR.total_seconds())
        (fresh,) = stage.client_writes(lead_id=LEAD + 1)
        with database.writes.begin() as connection:
            in_hand.written(connection, fresh, stage.me, stage.clock.now())

        async def play(_answering: Answering) -> None:
            for turn in (crashed, fresh):
                assert isinstance(await stage.delivery.deliver(turn), Wait)
                with database.writes.begin() as connection:
                    outages.end(connection)

        stage.run(play)
        assert amo.log == []


def test_no_task_is_made_when_the_gate_closes_before_it(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        stage = Stage(database, amo=amo)
        (turn,) = stage.client_writes("operator")
        limiter = Waiting()
        limiter.during = lambda: close_gate(stage, "banned") if limiter.places == 3 else None
        stage.limiter = limiter
        assert stage.answer(turn) == State.SENT
        stage.tell_staff()
        assert amo.tasks(LEAD) == []
        stage.tell_staff()  # it is left to the end of the outage
        calls = [(one["method"], one["path"].rsplit("/", 1)[1]) for one in amo.log]
        assert calls == [("POST", "notes"), ("GET", str(LEAD))]
        with database.writes.begin() as connection:
            outages.end(connection)
        stage.clock.advance(60)
        stage.tell_staff()
        assert len(amo.tasks(LEAD)) == 1


def test_a_closed_gate_takes_no_place(database: Database) -> None:
    with amocrm_standin() as amo:
        stage = Stage(database, amo=amo)
        stage.limiter = limiter = Waiting()
        turn = being_sent(stage)
        stage.clock.advance(UNSURE_FOR.total_seconds())
        close_gate(stage, "payment")

        async def play(_answering: Answering) -> None:
            assert isinstance(await stage.delivery.deliver(turn), Wait)

        stage.run(play)
        assert (amo.log, limiter.places) == ([], 0)


def test_a_gate_is_looked_at_without_a_reply_that_is_due(database: Database) -> None:
    with amocrm_standin() as amo:
        stage = Stage(database, amo=amo)
        close_gate(stage, "payment")

        async def play(_answering: Answering) -> None:
            await stage.outage_probe.look()
            assert amo.log == []
            amo.fault(path="/api/v4/account", status=402)
            stage.clock.advance(outages.RETRY_AFTER["payment"].total_seconds())
            await stage.outage_probe.look()
            await stage.outage_probe.look()  # not again before the next pause is over
            assert len(amo.log) == 1
            assert gate_of(database) is not None
            stage.clock.advance(outages.RETRY_AFTER["payment"].total_seconds())
            await stage.outage_probe.look()

        stage.run(play)
    assert gate_of(database) is None


def test_a_clock_that_was_set_back_does_not_keep_a_gate_closed(database: Database) -> None:
    with amocrm_standin() as amo:
        stage = Stage(database, amo=amo)
        close_gate(stage, "payment")
        stage.clock.advance(-86400)

        async def play(_answering: Answering) -> None:
            await stage.outage_probe.look()

        stage.run(play)
    assert gate_of(database) is None


def test_who_looks_leaves_alone_what_another_process_has_closed_anew_since(database: Database) -> None:
    stage = Stage(database)
    looked_at_its_clock = stage.clock.now()
    stage.clock.advance(1)
    close_gate(stage, "banned")
    with database.writes.begin() as connection:
        assert not outages.claim_probe(connection, looked_at_its_clock)


def test_who_waits_tries_again_when_another_process_opened_the_gate(database: Database) -> None:
    with amocrm_standin() as amo:
        stage = Stage(database, amo=amo)
        close_gate(stage, "payment")

        async def play(_answering: Answering) -> None:
            await stage.outage_probe.notice()
            stage.clock.sleep = lambda _seconds: asyncio.Event().wait()  # type: ignore[assignment,method-assign]
            waiting = asyncio.create_task(stage.delivery.wait(Wait(), 900))
            await asyncio.sleep(0)
            with database.writes.begin() as connection:
                outages.end(connection)
            await stage.outage_probe.notice()
            await asyncio.wait_for(waiting, 10)

        stage.run(play)


# People first, also while amoCRM is down


def test_a_manager_who_wrote_while_amocrm_was_away_is_not_talked_over_after_the_pause(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        amo.fault(path="/api/*", method="*", status=503, times=None)
        stage = Stage(database, amo=amo)
        stage.pause_minutes = 1
        (turn,) = stage.client_writes()
        wrote_at: list[float] = []

        def away_for_an_hour() -> None:
            if not wrote_at and stage.turn(turn).state == State.SENDING:
                wrote_at.append(stage.clock.monotonic())
                stage.manager_writes()
                stage.others_go_on()
            if wrote_at and stage.clock.monotonic() > wrote_at[0] + 3600:
                amo.app.clear()

        stage.clock.on_sleep = away_for_an_hour

        async def play(answering: Answering) -> None:
            assert await answering.answer(turn) == State.CANCELLED

        stage.run(play)
        assert amo.notes(LEAD) == []
    assert stage.turn(turn).reason == Reason.MANAGER


def test_a_managers_older_message_that_comes_in_late_does_not_cancel_a_reply(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        stage = Stage(database, amo=amo)
        stage.pause_minutes = 0
        turn = being_sent(stage)
        stage.manager_writes(created_at=int(stage.clock.now().timestamp()) - 60)
        stage.clock.advance(UNSURE_FOR.total_seconds())

        async def play(_answering: Answering) -> None:
            assert await stage.delivery.deliver(turn) == State.SENT

        stage.run(play)


def test_a_reply_that_was_never_sent_is_not_told_as_said(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        amo.fault(path="/api/*", method="POST", status=422)
        stage = Stage(database, amo=amo)
        ended: list[str] = []

        async def play(answering: Answering) -> None:
            (turn,) = stage.client_writes(f"question {len(ended)}")
            ended.append(await answering.answer(turn))

        stage.run(play, play, play)
    assert ended == [State.FAILED, State.SENT, State.SENT]
    told = [[(line.sender, line.text) for line in context.history] for context in stage.responders[0].asked]
    first, second = (("client", f"question {number}") for number in (0, 1))
    assert told == [[], [first], [first, second, ("assistant", "Yes, we have it.")]]


def test_what_a_paused_client_says_is_one_entry_that_grows_until_a_manager_answers(database: Database) -> None:
    stage = Stage(database)
    (first,) = stage.client_writes("are you there?")
    with database.writes.begin() as connection:
        assert set_pause(connection, LEAD, FOR_GOOD)

    def handed() -> list[tuple[int, int]]:
        said = sa.select(sa.func.count()).where(messages.c.turn_id == turns.c.id).scalar_subquery()
        query = sa.select(turns.c.id, said).where(turns.c.state == State.HANDED)
        return database.read_now(lambda connection: [tuple(row) for row in connection.execute(query)])

    async def play(answering: Answering) -> None:
        await answering.answer(first)
        for count in (2, 3):
            stage.clock.advance(600)
            (later,) = stage.client_writes(f"hello? {count}")
            await answering.answer(later)
            assert handed() == [(first, count)]
        assert stage.turn(first).last_message_at == stage.turn(first).first_message_at + timedelta(seconds=1206)
        stage.manager_writes()
        assert handed() == []

    stage.run(play)
    assert (stage.turn(first).state, stage.turn(first).reason) == (State.CANCELLED, Reason.MANAGER)


def test_an_entry_of_the_list_does_not_grow_past_a_turn_that_was_answered(database: Database) -> None:
    stage = Stage(database)
    (stale,) = stage.client_writes("old")
    stage.clock.advance(61 * 60)

    async def play(answering: Answering) -> None:
        assert await answering.answer(stale) == State.HANDED
        (answered,) = stage.client_writes("new")
        assert await answering.answer(answered) == State.KEPT
        assert await database.write(lambda connection: set_pause(connection, LEAD, FOR_GOOD))
        (paused,) = stage.client_writes("newer")
        assert await answering.answer(paused) == State.HANDED

    stage.run(play)
    listed = database.read_now(lambda connection: turn_.listed(connection, NEEDS_STAFF, 10))
    assert [row.reason for row in listed] == [Reason.PAUSED, Reason.STALE]


def test_another_bot_does_not_take_the_ceiling_off_the_list(database: Database) -> None:
    stage = Stage(database)
    stage.policy = replace(stage.policy, replies_a_day=0)
    (turn,) = stage.client_writes("beep")

    async def play(answering: Answering) -> None:
        assert await answering.answer(turn) == State.HANDED

    stage.run(play)
    stage.manager_writes("boop")
    assert stage.turn(turn).state == State.HANDED


def test_a_manager_who_comes_while_the_handover_is_sent_is_the_person_that_was_asked_for(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        stage = Stage(database, amo=amo)
        (turn,) = stage.client_writes("позовите менеджера")

        async def play(answering: Answering) -> None:
            stage.clock.advance(5)
            await write(answering, turn)
            add_note = Slot.add_note

            async def manager_first(slot: Slot, *given: Any) -> int:
                stage.manager_writes()
                stage.others_go_on()
                return await add_note(slot, *given)

            monkeypatch.setattr(Slot, "add_note", manager_first)
            assert await stage.delivery.deliver(turn) == State.SENT

        stage.run(play)
        assert stage.turn(turn).paused_until != FOR_GOOD
