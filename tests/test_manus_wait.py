"""How often a task is polled, within Manus's rate limits, and which of its events are the answer."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from otvet.errors import OtvetError
from otvet.responders.base import NoVerdict, ResponderError
from otvet.responders.manus.api import ManusApi
from otvet.responders.manus.polling import GRACE_SECONDS, Answer, Asked, Budget, Poller, RateLimit
from otvet.storage.database import Database
from otvet.storage.rate_limits import SharedLimit
from tests.clocks import FakeClock
from tests.databases import put_prepared
from tests.standins.manus import ManusStandin, digest, manus_standin


@pytest.fixture(scope="module")
def running() -> Iterator[ManusStandin]:
    with manus_standin() as standin:
        yield standin


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def manus(running: ManusStandin, clock: FakeClock) -> ManusStandin:
    running.reset()
    running.now = clock.monotonic
    return running


class Scene:
    """A task that shows its answer at poll number ``reads``, and one Poller."""

    def __init__(self, manus: ManusStandin, clock: FakeClock, reads: int, budget: float = 600) -> None:
        self.manus = manus
        self.clock = clock
        self.reads = reads
        self.budget = budget
        self.task = ""

    def play(
        self,
        limits: dict[str, RateLimit] | None = None,
        database: Database | None = None,
        poll_seconds: float = 2.0,
    ) -> Answer:
        async def run() -> Answer:
            if database:
                database.start()
            async with httpx2.AsyncClient(timeout=5) as http:
                api = ManusApi(http, self.manus.url, self.manus.key)
                self.manus.hidden_reads = 0
                self.task = await api.create_task("?", profile="lite", locale="ru", title="?")
                self.manus.tasks[self.task].steps.extendleft([] for _ in range(self.reads - 3))
                poller = Poller(api, self.clock, poll_seconds, limits or {})
                try:
                    budget = Budget(self.clock, self.clock.now(), self.budget)
                    return await poller.answer(Asked(self.task), budget, at_once=False)
                finally:
                    if database:
                        await database.writer.stop()

        return asyncio.run(run())

    @property
    def polls(self) -> int:
        return self.manus.requests.count("task.listMessages")


class Closed:
    """A rate limit that allows no call before a moment."""

    def __init__(self, clock: FakeClock, until: float) -> None:
        self.clock = clock
        self.until = until
        self.asked: list[float | None] = []

    async def acquire(self, patience: float | None = None) -> bool:
        self.asked.append(patience)
        wait = max(self.until - self.clock.monotonic(), 0)
        if patience is not None and wait > patience:
            return False
        await self.clock.sleep(wait)
        return True


@pytest.mark.parametrize("call", ["task.listMessages", "task.detail"])
def test_a_poll_waits_for_the_rate_limit(manus: ManusStandin, clock: FakeClock, call: str) -> None:
    scene = Scene(manus, clock, reads=3)
    assert scene.play({call: Closed(clock, until=100)}).text.startswith("Answer ")
    assert clock.monotonic() >= 100
    assert scene.polls == 4  # after the third the state is read, and what was written meanwhile


@pytest.mark.parametrize("call", ["task.listMessages", "task.detail"])
def test_a_rate_limit_that_allows_nothing_before_the_end_uses_up_the_budget(
    manus: ManusStandin, clock: FakeClock, call: str
) -> None:
    limit = Closed(clock, until=100)
    with pytest.raises(ResponderError, match="40"):
        Scene(manus, clock, reads=3, budget=40).play({call: limit})
    assert 36 <= clock.monotonic() <= 40
    assert all(patience is not None and patience <= 40 for patience in limit.asked)


def test_polls_never_exceed_the_rate_limit_of_manus(manus: ManusStandin, clock: FakeClock, tmp_path: Path) -> None:
    """Polls twenty times a second, and a limit of two in six seconds that all processes share."""
    database = Database(put_prepared(tmp_path))
    limit = SharedLimit(database, clock, "manus.task.listMessages", 2, seconds=6)
    manus._limits = {"task.listMessages": 20}
    try:
        scene = Scene(manus, clock, reads=60)
        assert scene.play({"task.listMessages": limit}, database=database, poll_seconds=0.05).text
        assert scene.polls == 61
        assert clock.monotonic() >= 59 / 2 * 6
        assert {entry["status"] for entry in manus.app.log if "listMessages" in entry["path"]} == {200}
    finally:
        manus._limits = {}
        database.close()


def test_a_task_that_is_never_found_is_given_up(manus: ManusStandin, clock: FakeClock) -> None:
    manus.scenario("ghost")
    with pytest.raises(OtvetError, match="ghost"):
        Scene(manus, clock, reads=3).play()
    assert GRACE_SECONDS <= clock.monotonic() < GRACE_SECONDS + 10


class Following:
    """A question put to a task that has answered before."""

    def __init__(self, manus: ManusStandin, clock: FakeClock, *scenarios: Any) -> None:
        self.manus = manus
        self.clock = clock
        self.scenarios = scenarios

    def play(self, *, arrived: bool = True, budget: float = 600, **changes: Any) -> Answer:
        """arrived: else it is not known whether it was sent, and it was not. The rest is for the stand-in."""

        async def run() -> Answer:
            async with httpx2.AsyncClient(timeout=5) as http:
                api = ManusApi(http, self.manus.url, self.manus.key)
                task = await api.create_task("?", profile="lite", locale="ru", title="?")
                self.manus.finish(task)
                before = frozenset(event["id"] for event in self.manus.tasks[task].events)
                self.manus.scenario(*self.scenarios)
                for name, value in changes.items():
                    setattr(self.manus, name, value)
                if arrived:
                    await api.send_message(task, QUESTION)
                asked = Asked(task, before, surely=arrived)
                return await Poller(api, self.clock, 2.0, {}).answer(
                    asked, Budget(self.clock, self.clock.now(), budget), at_once=False
                )

        return asyncio.run(run())


QUESTION = "How much is it?"
RIGHT = f"Answer {digest(QUESTION)}."


def test_what_an_earlier_question_still_had_to_come_is_no_answer(manus: ManusStandin, clock: FakeClock) -> None:
    assert Following(manus, clock, "leftover").play().text == RIGHT


def test_what_the_last_job_wrote_after_the_events_were_read_is_the_answer(
    manus: ManusStandin, clock: FakeClock
) -> None:
    assert Following(manus, clock, "late_result").play().text == RIGHT


@pytest.mark.parametrize("marks_delivery", [True, False])
def test_a_state_that_comes_before_its_message_is_looked_at_once_more(
    manus: ManusStandin, clock: FakeClock, marks_delivery: bool
) -> None:
    assert Following(manus, clock, "state_first").play(marks_delivery=marks_delivery).text == RIGHT


def test_once_more_is_enough(manus: ManusStandin, clock: FakeClock) -> None:
    """So Manus may mark nothing, and may not show what it was asked."""
    answer = Following(manus, clock).play(marks_delivery=False, lists_questions=False)
    assert answer.text == RIGHT


def test_an_end_without_an_answer_is_looked_at_once_more_too(manus: ManusStandin, clock: FakeClock) -> None:
    with pytest.raises(NoVerdict, match="without an answer"):
        Following(manus, clock, "empty").play()
    assert clock.monotonic() == pytest.approx(2 + 2 + 2.8 + 2)


def test_at_the_end_of_the_budget_what_there_is_has_to_do(manus: ManusStandin, clock: FakeClock) -> None:
    looks: list[float] = []
    clock.on_sleep = lambda: looks.append(clock.monotonic())
    assert Following(manus, clock).play(marks_delivery=False, budget=6.9).text == RIGHT
    assert looks == pytest.approx([2, 4, 6.555])  # no look once more: the answer came with the last one


def test_where_nobody_knows_whether_it_was_asked_nothing_new_but_the_question_tells(
    manus: ManusStandin, clock: FakeClock
) -> None:
    following = Following(manus, clock)

    def late() -> None:
        (task,) = manus.tasks.values()
        task.happen([_says("What the question before still had to come.")])

    clock.on_sleep = late
    with pytest.raises(ResponderError) as caught:
        following.play(arrived=False)
    assert caught.value.ambiguous
    assert clock.monotonic() >= GRACE_SECONDS


def _says(text: str) -> dict[str, Any]:
    return {"type": "assistant_message", "assistant_message": {"content": text, "delivery_kind": "result"}}


@pytest.mark.parametrize("budget", [10, 40, 90])
def test_the_last_look_begins_before_the_budgets_end(manus: ManusStandin, clock: FakeClock, budget: float) -> None:
    with pytest.raises(ResponderError, match=str(budget)):
        Scene(manus, clock, reads=1000, budget=budget).play()
    assert budget - 2 <= clock.monotonic() < budget
