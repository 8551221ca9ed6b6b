"""What is kept of who was asked for a reply and how it ended, on both databases, also across a crash."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy.engine import Row

from otvet.answering.answering import Answering, WritingOptions
from otvet.responders.base import Attempt, Context, Reply, ResponderError
from otvet.responders.template import TemplateResponder
from otvet.storage import spending
from otvet.storage.database import Database
from otvet.turns import attempts
from otvet.turns.turn import State
from tests.test_answer import Stage
from tests.test_writing import Writer

INVENTED = "The delivery costs 777 ₽."
INVENTED_AGAIN = "The delivery costs 888 ₽."


class Crash(BaseException):
    """The process ends here."""


class Slow(Writer):
    """Takes a second for each reply."""

    async def reply(self, told: Context, attempt: Attempt) -> Reply:
        stage_clock = self.details["clock"]
        stage_clock.advance(1)
        reply = await super().reply(told, attempt)
        return Reply(reply.text, self.name, details={"credits": 3})


def kept(database: Database, turn: int) -> Sequence[Row[Any]]:
    return database.read_now(lambda connection: attempts.of_turn(connection, turn))


def spent(stage: Stage) -> dict[str, int]:
    return stage.database.read_now(lambda connection: spending.on(connection, stage.clock.now().date()))


def test_refused_drafts_and_why_are_kept_in_their_order(database: Database) -> None:
    stage = Stage(database)
    slow = Slow("manus", INVENTED, INVENTED_AGAIN, clock=stage.clock)
    stage.responders = (slow, Slow("openai", ResponderError("down"), clock=stage.clock), TemplateResponder())
    (turn,) = stage.client_writes("How much?")
    begun = stage.clock.now() + stage.policy.quiet
    stage.answer(turn)
    rows = kept(database, turn)
    assert [(row.responder, row.outcome, row.refused, row.findings) for row in rows] == [
        ("manus", "refused", INVENTED, [["price", "777 ₽"]]),
        ("manus", "refused", INVENTED_AGAIN, [["price", "888 ₽"]]),
        ("openai", "down", None, None),
        ("template", "replied", None, None),
    ]
    moments = [((row.started_at - begun).total_seconds(), (row.ended_at - begun).total_seconds()) for row in rows]
    assert moments == [(0, 1), (1, 2), (2, 3), (3, 3)]


def test_what_is_written_once_more_has_what_is_left_of_the_budget(database: Database) -> None:
    """Each responder has a budget of its own, and counts it from when it was first asked; a crash changes nothing."""
    budgets: list[tuple[str, float]] = []

    class Timed(Slow):
        async def reply(self, told: Context, attempt: Attempt) -> Reply:
            budgets.append((self.name, (attempt.started_at - begun).total_seconds()))
            return await super().reply(told, attempt)

    stage = Stage(database)
    stage.responders = (
        Timed("manus", INVENTED, Crash(), INVENTED_AGAIN, clock=stage.clock),
        Timed("openai", INVENTED, "Gladly.", clock=stage.clock),
        TemplateResponder(),
    )
    (turn,) = stage.client_writes("How much?")
    begun = stage.clock.now() + stage.policy.quiet

    async def play(answering: Answering) -> None:
        with pytest.raises(Crash):
            await answering.answer(turn)
        await stage.answering(None).answer(turn)

    stage.run(play)
    assert budgets == [("manus", 0), ("manus", 0), ("manus", 0), ("openai", 3), ("openai", 3)]


def test_a_crash_between_the_two_writings_goes_on_with_the_second(database: Database) -> None:
    manus = Writer("manus", INVENTED, Crash(), INVENTED_AGAIN, credits=3)
    stage = Stage(database, manus, TemplateResponder())
    (turn,) = stage.client_writes("How much?")
    crash_and_go_on(stage, turn)
    assert [told.draft for told in manus.told] == ["", INVENTED, INVENTED]
    assert [row.refused for row in kept(database, turn) if row.refused] == [INVENTED, INVENTED_AGAIN]
    assert stage.turn(turn).responder == "template"
    assert spent(stage) == {"manus": 56}  # what the call cost that the crash cut off is not known


def test_what_was_refused_before_a_crash_calls_a_person_also_when_its_writer_has_spent_enough(
    database: Database,
) -> None:
    manus = Writer("manus", INVENTED, credits=3)
    stage = Stage(database, manus, Writer("openai", Crash(), ResponderError("down")), TemplateResponder())
    stage.options = WritingOptions(ceilings={"manus": 3})
    (turn,) = stage.client_writes("How much?")
    crash_and_go_on(stage, turn)
    assert len(manus.told) == 1
    assert INVENTED in stage.turn(turn).summary


def crash_and_go_on(stage: Stage, turn: int) -> None:
    async def play(answering: Answering) -> None:
        with pytest.raises(Crash):
            await answering.answer(turn)
        assert await stage.answering(None).answer(turn) == State.KEPT

    stage.run(play)


def test_newer_words_begin_attempts_of_their_own(database: Database) -> None:
    class Interrupted(Writer):
        async def reply(self, told: Context, attempt: Attempt) -> Reply:
            if not self.told:
                stage.client_writes("and in red?")
            return await super().reply(told, attempt)

    manus = Interrupted("manus", INVENTED, INVENTED, "Gladly.", credits=3)
    stage = Stage(database, manus, TemplateResponder())
    (turn,) = stage.client_writes("How much?")
    stage.answer(turn)
    assert [told.draft for told in manus.told] == ["", INVENTED, ""]
    assert {(row.responder, row.draft, row.outcome) for row in kept(database, turn)} == {
        ("manus", 0, "refused"),
        ("manus", 1, "refused"),
        ("template", 0, "replied"),
        ("manus", 2, "replied"),
    }
    assert spent(stage) == {"manus": 9}


# Spending


def booked(database: Database, ceiling: int | None, day: date) -> str | None:
    with database.writes.begin() as connection:
        return spending.book(connection, day, "manus", ceiling)


def test_of_many_that_book_at_once_only_those_get_through_that_the_ceiling_has_room_for(database: Database) -> None:
    today = Stage(database).clock.now().date()
    with ThreadPoolExecutor(8) as pool:
        closed = list(pool.map(lambda _: booked(database, 120, today), range(8)))
    assert sorted(filter(None, closed)) == ["today's ceiling of 120 credits is reached"] * 5
    assert database.read_now(lambda connection: spending.on(connection, today)) == {"manus": 150}
    assert booked(database, None, today) is None
    assert booked(database, 0, today + timedelta(days=1)) == "today's ceiling of 0 credits is reached"
    assert booked(database, 1, today + timedelta(days=1)) is None


def test_what_two_processes_add_counts_both(database: Database) -> None:
    today = Stage(database).clock.now().date()
    yesterday = today - timedelta(days=1)
    for amounts in (
        {(today, "manus"): 2, (today, "openai"): 100},
        {(today, "openai"): -30, (yesterday, "manus"): 5, (today, "manus"): 5},
        {},
    ):
        with database.writes.begin() as connection:
            spending.add(connection, amounts)
    assert database.read_now(lambda connection: spending.on(connection, today)) == {"manus": 7, "openai": 70}
    assert database.read_now(lambda connection: spending.on(connection, yesterday)) == {"manus": 5}


def test_of_many_questions_at_once_no_more_are_put_than_the_ceiling_has_room_for(database: Database) -> None:
    class AllAtOnce(Writer):
        async def reply(self, told: Context, attempt: Attempt) -> Reply:
            reply = await super().reply(told, attempt)
            await everybody.wait()
            return reply

    async def play(answering: Answering) -> None:
        opened = [stage.client_writes("How much?", lead_id=lead)[0] for lead in range(100, 110)]
        answers = [asyncio.create_task(answering.answer(turn)) for turn in opened]
        while sum(answer.done() for answer in answers) < 8:  # those that were not let through
            await asyncio.sleep(0)
        assert spent(stage) == {"manus": 100}
        everybody.set()
        await asyncio.gather(*answers)

    everybody = asyncio.Event()
    manus = AllAtOnce("manus", "Gladly.", credits=40)
    stage = Stage(database, manus, TemplateResponder())
    stage.options = WritingOptions(ceilings={"manus": 60})
    stage.run(play)
    assert len(manus.told) == 2
    assert spent(stage) == {"manus": 80}


def test_the_second_writing_is_within_the_ceiling_too(database: Database) -> None:
    manus = Writer("manus", INVENTED, credits=60)
    stage = Stage(database, manus, TemplateResponder())
    stage.options = WritingOptions(ceilings={"manus": 60})
    (turn,) = stage.client_writes("How much?")
    stage.answer(turn)
    assert len(manus.told) == 1
    assert {(row.draft, row.outcome) for row in kept(database, turn) if row.responder == "manus"} == {
        (0, "refused"),
        (1, "today's ceiling of 60 credits is reached"),
    }
    assert spent(stage) == {"manus": 60}


class Asked(Writer):
    """Remembers that it was asked before anything else happens."""

    async def reply(self, told: Context, attempt: Attempt) -> Reply:
        await attempt.remember(task="t-1")
        return await super().reply(told, attempt)


def test_what_goes_on_after_a_crash_is_counted_once_also_above_the_ceiling(database: Database) -> None:
    manus = Asked("manus", Crash(), "Gladly.", credits=70)
    stage = Stage(database, manus, TemplateResponder())
    stage.options = WritingOptions(ceilings={"manus": 50})
    (turn,) = stage.client_writes("How much?")
    crash_and_go_on(stage, turn)
    assert stage.turn(turn).responder == "manus"
    assert spent(stage) == {"manus": 70}


def test_a_cost_that_nobody_tells_counts_as_expected(database: Database) -> None:
    stage = Stage(
        database, Asked("manus", ResponderError("too late")), Writer("openai", "Surely."), TemplateResponder()
    )
    (turn,) = stage.client_writes("How much?")
    stage.answer(turn)
    assert spent(stage) == spending.EXPECTED


def test_a_question_counts_for_the_day_on_which_it_was_put(database: Database) -> None:
    class OverMidnight(Writer):
        async def reply(self, told: Context, attempt: Attempt) -> Reply:
            stage.clock.advance(86400)
            return await super().reply(told, attempt)

    stage = Stage(database, OverMidnight("manus", "Gladly.", credits=3), TemplateResponder())
    yesterday = stage.clock.now().date()
    (turn,) = stage.client_writes("How much?")
    stage.answer(turn)
    assert spent(stage) == {}
    assert database.read_now(lambda connection: spending.on(connection, yesterday)) == {"manus": 3}


def test_a_ceiling_closes_a_responder_for_the_day_and_the_next_one_is_asked(database: Database) -> None:
    manus, openai = Writer("manus", "Gladly.", credits=3), Writer("openai", "Surely.", tokens=100)
    stage = Stage(database, manus, openai, TemplateResponder())
    stage.options = WritingOptions(ceilings={"manus": 5, "openai": 1000})

    closed: list[str] = []

    async def responder(answering: Answering) -> str:
        (turn,) = stage.client_writes(f"Do you have number {len(closed)} at {stage.clock.now():%H:%M:%S}?")
        await answering.answer(turn)
        closed.extend(row.outcome for row in kept(database, turn) if row.responder == "manus")
        return str(stage.turn(turn).responder)

    async def play(answering: Answering) -> None:
        asked = [await responder(answering) for _ in range(4)]
        assert asked == ["manus", "manus", "openai", "openai"]  # 6 of 5: the second was begun below the ceiling
        assert closed[2:] == ["today's ceiling of 5 credits is reached"] * 2
        assert spent(stage) == {"manus": 6, "openai": 200}
        midnight = stage.clock.now().replace(hour=0, minute=0, second=0) + timedelta(days=1)
        stage.clock.advance((midnight - stage.clock.now()).total_seconds() - 10)
        assert await responder(answering) == "openai"
        stage.clock.advance(10)
        assert await responder(answering) == "manus"
        assert spent(stage) == {"manus": 3}

    stage.run(play)


def test_a_reply_that_nobody_gets_was_paid_for_all_the_same(database: Database) -> None:
    class Interrupted(Writer):
        async def reply(self, told: Context, attempt: Attempt) -> Reply:
            stage.manager_writes("I am here")
            return await super().reply(told, attempt)

    stage = Stage(database, Interrupted("manus", "Gladly.", credits=3), TemplateResponder())
    (turn,) = stage.client_writes("How much?")
    assert stage.answer(turn) == State.CANCELLED
    assert spent(stage) == {"manus": 3}


def test_what_a_failed_question_cost_counts(database: Database) -> None:
    class Failing(Writer):
        async def reply(self, told: Context, attempt: Attempt) -> Reply:
            await attempt.remember(credits=4)
            raise ResponderError("it asked for a permission")

    stage = Stage(database, Failing("manus", ""), TemplateResponder())
    (turn,) = stage.client_writes("How much?")
    stage.answer(turn)
    assert spent(stage) == {"manus": 4}
    assert len(kept(database, turn)) == 2


def test_a_process_that_seemed_dead_leaves_nothing_that_its_successor_would_go_on_with(database: Database) -> None:
    """It asked before the client's last words came; who took the turn over has joined them and asks anew."""
    stage = Stage(database)
    (turn,) = stage.client_writes("How much?")

    async def play(hung: Answering) -> None:
        claimed = await hung._claim(turn)
        assert claimed is not None
        await hung._wait_for_place(claimed)
        gathered = database.read_now(lambda connection: hung._gather(connection, turn))
        assert gathered is not None
        stage.client_writes("And when?")
        stage.me = "successor"
        taking_over = stage.answering(None)
        claimed = await taking_over._claim(turn)
        assert claimed is not None
        await taking_over._wait_for_place(claimed)
        with pytest.raises(attempts.TakenOver):
            await gathered[1].of("manus").remember(task="of the first words alone")
        gathered[1].of("manus").end("replied", 3)
        with database.writes.begin() as connection:
            gathered[1].save(connection)

    stage.run(play)
    assert kept(database, turn) == []
