"""The answer to one turn, with a clock that the test moves, on both databases."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx2
import sqlalchemy as sa

from otvet import answer as module
from otvet import gates, processes, turns
from otvet.amocrm.client import AmoClient
from otvet.amocrm.events import read_delivery
from otvet.answer import Answering, Rules
from otvet.conversations import FOR_GOOD, messages, set_pause
from otvet.database import Database
from otvet.deliver import Delivery
from otvet.inbox import Received, store
from otvet.responders.base import Context, Journal, Reply, ResponderError
from otvet.tries import tries
from tests.clocks import FakeClock
from tests.standins.amocrm import AmoStandin, amocrm_standin
from tests.standins.sender import incoming, outgoing

LEAD = 27754599
WRITTEN_ALREADY = Reply("Written already.", "template")


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
        self.rules = Rules()
        self.pause_minutes = 30.0
        self.me = "this process"
        self._amo = amo
        self._count = 0

    def receive(self, body: bytes) -> list[int]:
        now = self.clock.now()
        received = Received(body, read_delivery(body, now), now)
        with self.database.writes.begin() as connection:
            (stored,) = store(connection, [received], timedelta(minutes=self.pause_minutes))
        return stored.to_answer

    def client_writes(self, text: str = "hello", lead_id: int = LEAD) -> list[int]:
        return self.receive(incoming(text, **self._new(lead_id)))

    def manager_writes(self, text: str = "I am here", lead_id: int = LEAD, **more: Any) -> None:
        self.receive(outgoing(text, **{**self._new(lead_id), **more}))

    def _new(self, lead_id: int) -> dict[str, Any]:
        self._count += 1
        said_at = int(self.clock.now().timestamp())
        return {
            "message_id": f"m-{self._count}",
            "lead_id": lead_id,
            "chat_id": f"chat-{lead_id}",
            "created_at": said_at,
        }

    def run(self, *plays: Callable[[Answering], Awaitable[None]]) -> None:
        """Play, one after the other, on one event loop."""

        async def whole() -> None:
            self.database.start()
            async with httpx2.AsyncClient() as http:
                client = AmoClient(http, self._amo.url, self._amo.token, None) if self._amo else None
                answering = self.answering(client)
                for play in plays:
                    await play(answering)
            await self.database.writer.stop()

        asyncio.run(whole())

    def answering(self, client: AmoClient | None) -> Answering:
        return Answering(
            self.database,
            self.clock,
            Inline(),  # type: ignore[arg-type]
            self.responders,
            Delivery(self.database, self.clock, client, installation_name="test", me=self.me),
            self.rules,
            self.me,
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
    query = sa.select(tries.c.responder, tries.c.outcome).order_by(tries.c.responder)
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

    async def play(answering: Answering) -> None:
        await database.write(lambda connection: turns.claim(connection, first, stage.me, stage.clock.now()))
        assert await database.write(lambda connection: turns.take(connection, first, stage.me))
        (second,) = stage.client_writes("second")
        waiting = asyncio.create_task(answering.answer(second))
        while stage.clock.monotonic() < 3:  # the quiet period of the second one has passed
            await asyncio.sleep(0)
        assert not waiting.done()
        await database.write(lambda connection: turns.write_down(connection, first, stage.me, WRITTEN_ALREADY))
        await database.write(lambda connection: turns.keep(connection, first, stage.me, stage.clock.now()))
        await waiting

    stage.run(play)
    assert stage.said() == [WRITTEN_ALREADY.text, "A manager will answer."]


def test_other_conversations_do_not_wait(database: Database) -> None:
    stage = Stage(database)
    (first,) = stage.client_writes("first", lead_id=1)
    (other,) = stage.client_writes("other", lead_id=2)

    async def play(answering: Answering) -> None:
        await database.write(lambda connection: turns.claim(connection, first, stage.me, stage.clock.now()))
        assert await database.write(lambda connection: turns.take(connection, first, stage.me))
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


# The client writes on


def test_newer_words_are_answered_with_the_older_ones_as_long_as_nothing_was_sent(database: Database) -> None:
    class Interrupted(Writer):
        async def reply(self, context: Context, journal: Journal) -> Reply:
            if not self.asked:
                stage.client_writes("and in red?")
            return await super().reply(context, journal)

    stage = Stage(database, Interrupted("template", "A manager will answer."))
    (turn,) = stage.client_writes("how much?")

    async def play(answering: Answering) -> None:
        assert await answering.answer(turn) == turns.KEPT

    stage.run(play)
    asked = [context.question_text for context in stage.responders[0].asked]
    assert asked == ["how much?", "how much?\nand in red?"]
    assert stage.said() == ["A manager will answer."]
    assert stage.turn(turn).redrafts == 1


def test_a_draft_is_dropped_twice_at_most(database: Database) -> None:
    class Interrupted(Writer):
        async def reply(self, context: Context, journal: Journal) -> Reply:
            stage.client_writes("and another thing")
            return await super().reply(context, journal)

    stage = Stage(database, Interrupted("template", "A manager will answer."))
    (turn,) = stage.client_writes("how much?")

    async def play(answering: Answering) -> None:
        assert await answering.answer(turn) == turns.KEPT

    stage.run(play)
    assert len(stage.responders[0].asked) == 1 + turns.MOST_REDRAFTS
    waiting = database.look(lambda connection: turns.listed(connection, (turns.WAITING,), 10))
    assert len(waiting) == 1  # the last words open the next turn


# People come first


def test_a_manager_who_writes_first_is_not_talked_over(database: Database) -> None:
    stage = Stage(database)
    (turn,) = stage.client_writes()
    stage.manager_writes()

    async def play(answering: Answering) -> None:
        assert await answering.answer(turn) == module.NOT_OURS

    stage.run(play)
    assert stage.turn(turn).state == turns.CANCELLED
    assert stage.turn(turn).reason == turns.MANAGER
    assert stage.said() == []


def test_a_manager_who_writes_while_the_reply_is_written_is_not_talked_over(database: Database) -> None:
    class Interrupted(Writer):
        async def reply(self, context: Context, journal: Journal) -> Reply:
            stage.manager_writes()
            return await super().reply(context, journal)

    stage = Stage(database, Interrupted("template", "A manager will answer."))
    (turn,) = stage.client_writes()

    async def play(answering: Answering) -> None:
        assert await answering.answer(turn) == turns.CANCELLED

    stage.run(play)
    assert stage.said() == []


def test_after_a_manager_the_assistant_keeps_still_for_the_pause(database: Database) -> None:
    stage = Stage(database)
    stage.manager_writes()
    stage.clock.advance(20 * 60)
    (during,) = stage.client_writes("thanks")

    async def while_paused(answering: Answering) -> None:
        assert await answering.answer(during) == turns.HANDED

    stage.run(while_paused)
    assert stage.turn(during).reason == turns.PAUSED


def test_after_the_pause_it_answers_again(database: Database) -> None:
    stage = Stage(database)
    stage.manager_writes()
    stage.clock.advance(31 * 60)
    (after,) = stage.client_writes("one more question")

    async def play(answering: Answering) -> None:
        assert await answering.answer(after) == turns.KEPT

    stage.run(play)


def test_with_no_pause_only_the_present_turn_is_left_to_the_manager(database: Database) -> None:
    stage = Stage(database)
    stage.pause_minutes = 0
    (turn,) = stage.client_writes()
    stage.manager_writes()
    stage.clock.advance(1)
    (next_turn,) = stage.client_writes("thanks, and how much?")

    async def play(answering: Answering) -> None:
        assert await answering.answer(next_turn) == turns.KEPT

    stage.run(play)
    assert stage.turn(turn).state == turns.CANCELLED


def test_a_manager_ends_the_pause_of_a_client_who_asked_for_a_person(database: Database) -> None:
    stage = Stage(database)
    stage.pause_minutes = 0
    (turn,) = stage.client_writes("human please")

    async def play(answering: Answering) -> None:
        assert await answering.answer(turn) == turns.KEPT
        assert stage.turn(turn).paused_until == FOR_GOOD
        stage.manager_writes()
        stage.clock.advance(1)
        (later,) = stage.client_writes("thanks, and how much is it?")
        assert await answering.answer(later) == turns.KEPT

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
        assert await answering.answer(later) == turns.HANDED

    stage.run(play)


def test_a_reply_that_a_manager_stopped_on_its_way_is_sent_once_when_somebody_says_so(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        amo.fault(path="/api/*", method="POST", status=503, times=1)
        stage = Stage(database, amo=amo)
        (turn,) = stage.client_writes()

        def takes_over() -> None:
            if stage.turn(turn).state == turns.SENDING and stage.turn(turn).paused_until is None:
                stage.manager_writes()

        stage.clock.on_sleep = takes_over

        async def play(answering: Answering) -> None:
            assert await answering.answer(turn) == turns.CANCELLED
            assert await database.write(lambda connection: turns.retry(connection, turn, stage.clock.now()))
            assert await answering.answer(turn) == turns.SENT

        stage.run(play)
        assert len(amo.notes(LEAD)) == 1
    assert len(stage.said()) == 1


def test_a_written_draft_that_a_manager_cancelled_is_written_anew_when_somebody_says_so(database: Database) -> None:
    class Interrupted(Writer):
        async def reply(self, context: Context, journal: Journal) -> Reply:
            if not self.asked:
                stage.manager_writes()
            return await super().reply(context, journal)

    stage = Stage(database, Interrupted("template", "A manager will answer."))
    (turn,) = stage.client_writes()

    async def play(answering: Answering) -> None:
        assert await answering.answer(turn) == turns.CANCELLED
        assert await database.write(lambda connection: turns.retry(connection, turn, stage.clock.now()))
        assert await answering.answer(turn) == turns.KEPT

    stage.run(play)
    assert stage.said() == ["A manager will answer."]


def test_a_client_who_asks_for_a_person_gets_one(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        stage = Stage(database, amo=amo)
        (turn,) = stage.client_writes("Позовите, пожалуйста, менеджера!")

        async def play(answering: Answering) -> None:
            assert await answering.answer(turn) == turns.SENT

        stage.run(play)
        (task,) = amo.tasks(LEAD)
        assert "Позовите" in task["text"]
        assert len(amo.notes(LEAD)) == 1
    assert stage.turn(turn).responder == "handover"
    assert stage.turn(turn).reason == turns.ASKED
    assert stage.turn(turn).paused_until == FOR_GOOD
    assert stage.responders[0].asked == []


def test_what_is_too_old_is_left_to_a_person(database: Database) -> None:
    stage = Stage(database)
    (turn,) = stage.client_writes()
    stage.clock.advance(61 * 60)

    async def play(answering: Answering) -> None:
        assert await answering.answer(turn) == turns.HANDED

    stage.run(play)
    assert stage.turn(turn).reason == turns.STALE
    assert stage.said() == []


def test_two_bots_do_not_talk_for_ever(database: Database) -> None:
    stage = Stage(database)
    stage.rules = Rules(replies_a_day=2)
    ended: list[str] = []

    async def play(answering: Answering) -> None:
        (turn,) = stage.client_writes(f"beep {len(ended)}")
        ended.append(await answering.answer(turn))

    stage.run(play, play, play)
    assert ended == [turns.KEPT, turns.KEPT, turns.HANDED]
    (handed,) = database.look(lambda connection: turns.listed(connection, (turns.HANDED,), 10))
    assert handed.reason == turns.CEILING


def test_a_paused_conversation_is_left_alone_until_it_is_resumed(database: Database) -> None:
    stage = Stage(database)
    (turn,) = stage.client_writes()
    with database.writes.begin() as connection:
        assert set_pause(connection, LEAD, FOR_GOOD)

    async def play(answering: Answering) -> None:
        assert await answering.answer(turn) == turns.HANDED
        assert await database.write(lambda connection: set_pause(connection, LEAD, None))
        (later,) = stage.client_writes("hello again")
        assert await answering.answer(later) == turns.KEPT

    stage.run(play)


def test_what_was_left_to_a_person_is_answered_when_one_says_so(database: Database) -> None:
    stage = Stage(database)
    (turn,) = stage.client_writes()
    stage.clock.advance(61 * 60)

    async def play(answering: Answering) -> None:
        assert await answering.answer(turn) == turns.HANDED
        assert await database.write(lambda connection: turns.retry(connection, turn, stage.clock.now()))
        assert await answering.answer(turn) == turns.KEPT

    stage.run(play)
    assert stage.said() == ["A manager will answer."]


# Ownership


def test_a_turn_of_a_living_process_is_not_taken(database: Database) -> None:
    stage = Stage(database)
    (turn,) = stage.client_writes()
    now = stage.clock.now()
    with database.writes.begin() as connection:
        processes.beat(connection, "another", now)
        assert turns.claim(connection, turn, "another", now)

    async def play(answering: Answering) -> None:
        assert await answering.answer(turn) == module.NOT_OURS

    stage.run(play)


def test_a_turn_of_a_dead_process_is_taken_over(database: Database) -> None:
    stage = Stage(database)
    (turn,) = stage.client_writes()
    with database.writes.begin() as connection:
        assert turns.claim(connection, turn, "never heard of", stage.clock.now())

    async def play(answering: Answering) -> None:
        assert await answering.answer(turn) == turns.KEPT

    stage.run(play)


def test_a_process_that_lost_its_turn_while_it_hung_sends_nothing(database: Database) -> None:
    class Hanging(Writer):
        async def reply(self, context: Context, journal: Journal) -> Reply:
            taken = turns.turns.update().values(owner="another")
            await database.write(lambda connection: connection.execute(taken).rowcount)
            return await super().reply(context, journal)

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
        (turn,) = stage.client_writes()

        async def play(answering: Answering) -> None:
            assert await answering.answer(turn) == turns.SENT

        stage.run(play)
        assert len(amo.notes(LEAD)) == 1
        assert stage.clock.monotonic() >= gates.LOOK_AGAIN["banned"].total_seconds()
        calls = [one for one in amo.log if one["path"].startswith("/api/")]
        assert len(calls) <= 4  # the refused one; after the pause a look and the note
    assert database.look(lambda connection: gates.closed(connection, gates.AMOCRM)) is None


def test_a_manager_who_took_over_while_amocrm_was_away_is_not_talked_over(database: Database) -> None:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        amo.fault(path="/api/*", method="POST", status=503, times=1)
        stage = Stage(database, amo=amo)
        (turn,) = stage.client_writes()
        fired: list[int] = []

        def takes_over() -> None:
            if not fired and stage.turn(turn).state == turns.SENDING:
                fired.append(1)
                stage.manager_writes()

        stage.clock.on_sleep = takes_over

        async def play(answering: Answering) -> None:
            assert await answering.answer(turn) == turns.CANCELLED

        stage.run(play)
        assert amo.notes(LEAD) == []
