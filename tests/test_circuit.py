"""The circuit around a responder: when it opens, who is let through, and what does not count."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pytest

from otvet.errors import StorageError
from otvet.responders.base import Attempt, Context, Declined, Line, NoVerdict, Reply, ResponderError, Unavailable
from otvet.responders.circuit import FAILURES, PAUSE_SECONDS, Circuit
from tests.clocks import FakeClock

REPLY = Reply("Да.", "model")


class Model:
    """A responder that does what the test says; ``asked`` counts."""

    name = "model"
    outside = True

    def __init__(self) -> None:
        self.outcome: Reply | Exception = REPLY
        self.asked = 0
        self.gate: asyncio.Event | None = None

    async def reply(self, context: Context, attempt: Attempt) -> Reply:
        self.asked += 1
        outcome = self.outcome
        if self.gate:
            await self.gate.wait()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def summarise(self, lines: Sequence[Line], before: str, language: str) -> Reply:
        return await self.reply(CONTEXT, Begun({}))


class Begun:
    """An attempt with what a crash left behind."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self.started_at = datetime(2026, 1, 5)  # noqa: DTZ001 - nobody looks at it
        self.facts = facts
        self.thread: str | None = None

    async def remember(self, **facts: Any) -> None: ...

    async def keep_thread(self, thread: str | None) -> None: ...


CONTEXT = Context(1, 2, 3, (), (Line("client", "?", datetime(2026, 1, 5)),), "ru", "")  # noqa: DTZ001


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def circuit(model: Model, clock: FakeClock) -> Circuit:
    return Circuit(model, clock, summariser=model)


def ask(circuit: Circuit, attempt: Attempt | None = None) -> Reply:
    return asyncio.run(circuit.reply(CONTEXT, attempt or Begun({})))


def fail(circuit: Circuit, model: Model, times: int, error: Exception | None = None) -> None:
    model.outcome = error or ResponderError("out of order")
    for _ in range(times):
        with pytest.raises(type(model.outcome)):
            ask(circuit)


def skipped(circuit: Circuit, model: Model) -> str:
    """Why nobody is asked."""
    before = model.asked
    with pytest.raises(ResponderError) as caught:
        ask(circuit)
    assert model.asked == before, "it was asked"
    assert not caught.value.permanent
    return str(caught.value)


def test_it_bears_the_responders_name(circuit: Circuit) -> None:
    assert circuit.name == "model"
    assert ask(circuit) is REPLY


def test_after_five_failures_in_a_row_nobody_asks_for_a_minute(
    circuit: Circuit, model: Model, clock: FakeClock
) -> None:
    fail(circuit, model, FAILURES)
    assert model.asked == FAILURES == 5
    told = skipped(circuit, model)
    assert told == "Not asked for 60 more seconds: failures in a row: 5, the last of them: out of order"
    clock.advance(PAUSE_SECONDS - 1)
    assert "for 1 more seconds" in skipped(circuit, model)


def test_a_reply_in_between_begins_the_count_anew(circuit: Circuit, model: Model) -> None:
    fail(circuit, model, FAILURES - 1)
    model.outcome = REPLY
    ask(circuit)
    fail(circuit, model, FAILURES - 1)
    model.outcome = REPLY
    assert ask(circuit) is REPLY


def test_after_the_minute_a_reply_closes_it(circuit: Circuit, model: Model, clock: FakeClock) -> None:
    fail(circuit, model, FAILURES)
    clock.advance(PAUSE_SECONDS)
    model.outcome = REPLY
    assert ask(circuit) is REPLY
    fail(circuit, model, FAILURES - 1)
    model.outcome = REPLY
    assert ask(circuit) is REPLY


def test_after_the_minute_one_failure_opens_it_again(circuit: Circuit, model: Model, clock: FakeClock) -> None:
    fail(circuit, model, FAILURES)
    clock.advance(PAUSE_SECONDS)
    fail(circuit, model, 1, ResponderError("still out of order"))
    assert "for 60 more seconds: failures in a row: 6, the last of them: still out of order" in skipped(circuit, model)


def test_only_one_is_let_through(circuit: Circuit, model: Model, clock: FakeClock) -> None:
    fail(circuit, model, FAILURES)
    clock.advance(PAUSE_SECONDS)
    model.outcome = REPLY

    async def several() -> list[object]:
        model.gate = asyncio.Event()
        first = asyncio.create_task(circuit.reply(CONTEXT, Begun({})))
        await asyncio.sleep(0)
        second = await asyncio.gather(
            asyncio.wait_for(circuit.reply(CONTEXT, Begun({})), timeout=5), return_exceptions=True
        )
        model.gate.set()
        return [await first, *second]

    reply, other = asyncio.run(several())
    assert reply is REPLY
    assert isinstance(other, ResponderError)
    assert model.asked == FAILURES + 1


def test_one_that_is_cancelled_makes_room_for_the_next(circuit: Circuit, model: Model, clock: FakeClock) -> None:
    fail(circuit, model, FAILURES)
    clock.advance(PAUSE_SECONDS)
    model.outcome = REPLY

    async def cancelled() -> None:
        model.gate = asyncio.Event()
        first = asyncio.create_task(circuit.reply(CONTEXT, Begun({})))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        model.gate = None

    asyncio.run(cancelled())
    assert ask(circuit) is REPLY


def test_those_under_way_when_it_opens_do_not_make_the_pause_longer(
    circuit: Circuit, model: Model, clock: FakeClock
) -> None:
    async def late() -> None:
        model.gate = asyncio.Event()
        model.outcome = ResponderError("late")
        requests = [asyncio.create_task(circuit.reply(CONTEXT, Begun({}))) for _ in range(FAILURES + 3)]
        await asyncio.sleep(0)
        model.gate.set()
        await asyncio.gather(*requests[:FAILURES], return_exceptions=True)
        clock.advance(10)
        await asyncio.gather(*requests, return_exceptions=True)
        model.gate = None

    asyncio.run(late())
    told = skipped(circuit, model)
    assert "failures in a row: 5" in told
    clock.advance(PAUSE_SECONDS - 10)
    model.outcome = REPLY
    assert ask(circuit) is REPLY


def summarise(circuit: Circuit) -> Reply:
    return asyncio.run(circuit.summarise((), "", "ru"))


def test_summaries_are_behind_the_same_circuit(circuit: Circuit, model: Model, clock: FakeClock) -> None:
    fail(circuit, model, FAILURES - 1)
    with pytest.raises(ResponderError, match="out of order"):
        summarise(circuit)
    asked = model.asked
    with pytest.raises(ResponderError, match="Not asked"):
        summarise(circuit)
    skipped(circuit, model)
    assert model.asked == asked
    clock.advance(PAUSE_SECONDS)
    model.outcome = REPLY
    assert summarise(circuit) is REPLY
    assert ask(circuit) is REPLY


@pytest.mark.parametrize(
    "error", [Declined("not this question"), NoVerdict("no place for it"), StorageError("the disk is full")]
)
def test_what_is_not_the_responders_fault_does_not_count(circuit: Circuit, model: Model, error: Exception) -> None:
    fail(circuit, model, FAILURES * 2, error)
    model.outcome = REPLY
    assert ask(circuit) is REPLY


def test_a_responder_that_declines_works(circuit: Circuit, model: Model) -> None:
    fail(circuit, model, FAILURES - 1)
    fail(circuit, model, 1, Declined("not this question"))
    fail(circuit, model, FAILURES - 1)
    model.outcome = REPLY
    assert ask(circuit) is REPLY


def test_an_unexpected_error_counts_and_its_words_are_not_told(circuit: Circuit, model: Model) -> None:
    fail(circuit, model, FAILURES, RuntimeError("holds a client's words"))
    assert skipped(circuit, model).endswith("the last of them: RuntimeError")


def test_what_was_begun_before_is_always_let_through(circuit: Circuit, model: Model) -> None:
    fail(circuit, model, FAILURES)
    model.outcome = REPLY
    assert ask(circuit, Begun({"task": "t-1"})) is REPLY


def test_one_from_before_that_fails_makes_the_pause_no_longer(circuit: Circuit, model: Model, clock: FakeClock) -> None:
    fail(circuit, model, FAILURES)
    clock.advance(PAUSE_SECONDS - 1)
    with pytest.raises(ResponderError):
        ask(circuit, Begun({"task": "t-1"}))
    clock.advance(1)
    model.outcome = REPLY
    assert ask(circuit) is REPLY


def test_a_question_without_a_verdict_neither_opens_nor_closes_it(
    circuit: Circuit, model: Model, clock: FakeClock
) -> None:
    fail(circuit, model, FAILURES - 1)
    fail(circuit, model, 1, NoVerdict("no place for it"))
    fail(circuit, model, 1)
    skipped(circuit, model)
    clock.advance(PAUSE_SECONDS)
    fail(circuit, model, 2, NoVerdict("no place for it"))  # it is not known yet whether the next would do
    fail(circuit, model, 1)
    assert "60 more seconds" in skipped(circuit, model)


def test_who_says_for_how_long_it_is_away_is_left_alone_for_so_long(
    circuit: Circuit, model: Model, clock: FakeClock
) -> None:
    fail(circuit, model, 1, Unavailable("no credits", seconds=600))
    clock.advance(599)
    assert skipped(circuit, model) == "Not asked for 1 more seconds: no credits"
    clock.advance(1)
    fail(circuit, model, 1)  # the one let through decides for all, as after any other pause
    assert "60 more seconds" in skipped(circuit, model)
    clock.advance(PAUSE_SECONDS)
    model.outcome = REPLY
    assert ask(circuit) is REPLY
