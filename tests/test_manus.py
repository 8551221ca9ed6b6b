import asyncio
import re
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx2
import pytest

from otvet.responders.base import Context, Declined, Line, NoVerdict, Reply, ResponderError, Sender, Unavailable
from otvet.responders.knowledge.passages import Passage
from otvet.responders.manus import responder
from otvet.responders.manus.api import ManusApi
from otvet.responders.manus.polling import GRACE_SECONDS
from otvet.responders.manus.question import LONGEST_TASK_EVENTS, LONGEST_TASK_TOKENS
from otvet.responders.manus.responder import ManusResponder
from otvet.responders.manus.tasks import Projects
from tests.attempts import Memory
from tests.clocks import FakeClock
from tests.standins.manus import ManusStandin, digest, manus_standin

QUESTION = "Есть ли доставка в Тверь?"
INSTRUCTIONS = "\nYou answer for the shop. Never promise discounts.\n"


class MemoryAttempt:
    """An attempt whose process can be killed before any of its commits."""

    def __init__(self, clock: FakeClock, thread: str | None = None, commits_to_live: float = float("inf")) -> None:
        self.started_at = clock.now()
        self.facts: Mapping[str, Any] = {}
        self.thread = thread
        self.commits_to_live = commits_to_live

    @property
    def task(self) -> str | None:
        """The thread without what the task was told."""
        return self.thread.partition("#")[0] if self.thread else None

    async def remember(self, **facts: Any) -> None:
        self._commit()
        self.facts = {**self.facts, **facts}

    async def keep_thread(self, thread: str | None) -> None:
        self._commit()
        self.thread = thread

    def _commit(self) -> None:
        self.commits_to_live -= 1
        if self.commits_to_live < 0:
            raise Killed


class Killed(BaseException):
    """The process is gone: nothing of it catches this."""


class WatchedClock(FakeClock):
    """Keeps its sleeps, and can be where the process is killed."""

    def __init__(self) -> None:
        super().__init__()
        self.sleeps: list[float] = []
        self.sleeps_to_live = float("inf")

    async def sleep(self, seconds: float) -> None:
        if len(self.sleeps) >= self.sleeps_to_live:
            raise Killed
        self.sleeps.append(seconds)
        await super().sleep(seconds)


@pytest.fixture(scope="module")
def running() -> Iterator[ManusStandin]:
    with manus_standin() as standin:
        yield standin


@pytest.fixture
def clock() -> WatchedClock:
    return WatchedClock()


@pytest.fixture
def manus(running: ManusStandin, clock: WatchedClock) -> ManusStandin:
    running.reset()
    running.now = clock.monotonic
    return running


@pytest.fixture
def attempt(clock: WatchedClock) -> MemoryAttempt:
    return MemoryAttempt(clock)


class Shop:
    """Asks Manus for a reply; each time with a new responder, as after a restart."""

    def __init__(self, manus: ManusStandin, clock: WatchedClock) -> None:
        self.manus = manus
        self.clock = clock

    def ask(
        self,
        attempt: MemoryAttempt,
        *questions: str,
        history: tuple[Line, ...] = (),
        instructions: str = INSTRUCTIONS,
        findings: tuple[str, ...] = (),
        knowledge: tuple[Passage, ...] = (),
        base_url: str | None = None,
        kept: Memory | None = None,
        timeout: float = 0.5,
        **options: Any,
    ) -> Reply:
        """kept: with projects, whose ids are kept there."""
        asked = tuple(self.line("client", text) for text in questions or (QUESTION,))
        context = Context(1, 2, 3, history, asked, "ru", instructions, knowledge=knowledge, findings=findings)

        async def run() -> Reply:
            async with httpx2.AsyncClient(timeout=timeout) as http:
                api = ManusApi(http, base_url or self.manus.url, self.manus.key)
                projects = None if kept is None else Projects(api, self.clock, kept)
                return await ManusResponder(api, self.clock, projects=projects, **options).reply(context, attempt)

        return asyncio.run(run())

    def fails(self, attempt: MemoryAttempt, *questions: str, **how: Any) -> ResponderError:
        with pytest.raises(ResponderError) as caught:
            self.ask(attempt, *questions, **how)
        for question in questions or (QUESTION,):
            assert question not in str(caught.value)
            assert question not in repr(attempt.facts)
        return caught.value

    def line(self, sender: Sender, text: str) -> Line:
        return Line(sender, text, self.clock.now())

    def asked(self, method: str) -> int:
        return self.manus.requests.count(method)


@pytest.fixture
def shop(manus: ManusStandin, clock: WatchedClock) -> Shop:
    return Shop(manus, clock)


def content(body: dict[str, Any]) -> str:
    return str(body["message"]["content"])


class TestAnswer:
    def test_the_result_is_the_reply_and_the_acknowledgement_is_not(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt
    ) -> None:
        reply = shop.ask(attempt)
        (body,) = manus.creates
        assert reply.text == f"Answer {digest(content(body))}."
        assert (reply.responder, reply.model) == ("manus", "lite")
        (task,) = manus.tasks
        assert reply.details == {"task_id": task, "seconds": 10.7, "profile": "lite", "credits": 3}
        assert manus.stops == []

    def test_manus_is_told_who_said_what_oldest_first_and_then_the_question(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt
    ) -> None:
        history = (shop.line("client", "Добрый день"), shop.line("manager", "Слушаю вас"))
        shop.ask(attempt, "Есть столы?", "И стулья?", history=history)
        (body,) = manus.creates
        expected = [
            INSTRUCTIONS.strip(),
            '<message from="client">Добрый день</message>',
            '<message from="manager">Слушаю вас</message>',
            '<message from="client">Есть столы?</message>',
            '<message from="client">И стулья?</message>',
            "Reply only with the text for the client",
        ]
        places = [content(body).index(part) for part in expected]
        assert places == sorted(places)
        assert (body["agent_profile"], body["locale"], body["title"]) == ("lite", "ru", "amoCRM 3")

    def test_messages_without_a_delivery_kind(self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt) -> None:
        manus.marks_delivery = False
        assert shop.ask(attempt).text.startswith("Answer ")

    def test_content_as_a_list(self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt) -> None:
        manus.scenario("list_content")
        manus.answer = lambda _: "Да,\nесть."
        assert shop.ask(attempt).text == "Да,\nесть."

    def test_the_reply_is_made_for_a_messenger(self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt) -> None:
        manus.answer = lambda _: "I'm Manus. **Да**, [доставим](https://shop.ru/d).\n\n- завтра\n- в среду"
        assert shop.ask(attempt).text == "Да, доставим (https://shop.ru/d).\n\n• завтра\n• в среду"

    def test_a_reply_about_nothing_but_manus_is_none(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt
    ) -> None:
        manus.answer = lambda _: "I am Manus. See https://manus.im/app/1"
        assert isinstance(shop.fails(attempt), NoVerdict)

    def test_a_shop_may_sell_what_bears_the_name_and_a_client_may_only_ask_for_it(
        self, shop: Shop, manus: ManusStandin, clock: WatchedClock
    ) -> None:
        manus.answer = lambda _: "Перчатки Manus стоят 500 ₽."
        gloves = (Passage("gloves.md", "Перчатки Manus", "500 ₽"),)
        assert shop.ask(MemoryAttempt(clock), knowledge=gloves).text == "Перчатки Manus стоят 500 ₽."
        shop.fails(MemoryAttempt(clock), "Ты Manus?")

    def test_a_question_of_manus_is_put_to_the_client_and_the_task_goes_on(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, clock: WatchedClock
    ) -> None:
        manus.scenario("question")
        assert shop.ask(attempt).text == "Какой нужен размер?\n• S\n• M"
        assert manus.stops == []
        assert shop.ask(MemoryAttempt(clock, attempt.thread), "M").text.startswith("Answer ")
        assert (len(manus.creates), len(manus.sends)) == (1, 1)

    def test_a_task_in_a_queue_is_waited_for(self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt) -> None:
        manus.scenario("queued")
        assert shop.ask(attempt).text.startswith("Answer ")

    def test_stopped_is_not_the_end_while_jobs_run(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt
    ) -> None:
        manus.scenario("background")
        assert shop.ask(attempt).text.startswith("Answer ")

    def test_a_new_task_may_be_hidden_for_some_seconds(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt
    ) -> None:
        manus.hidden_reads = 4
        assert shop.ask(attempt).text.startswith("Answer ")


class TestNoAnswer:
    @pytest.mark.parametrize("scenario", ["confirm", "error", "empty"])
    def test_the_task_is_stopped_and_forgotten(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, scenario: Any
    ) -> None:
        manus.scenario(scenario)
        shop.fails(attempt)
        assert manus.stops == list(manus.tasks)
        assert attempt.thread is None
        assert shop.asked("task.confirmAction") == 0

    def test_neither_a_permission_nor_an_empty_answer_says_that_manus_does_not_work(
        self, shop: Shop, manus: ManusStandin, clock: WatchedClock
    ) -> None:
        manus.scenario("confirm", "empty")
        assert isinstance(shop.fails(MemoryAttempt(clock)), Declined)
        assert isinstance(shop.fails(MemoryAttempt(clock)), NoVerdict)

    def test_the_budget(self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, clock: WatchedClock) -> None:
        manus.scenario("slow")
        error = shop.fails(attempt, budget_seconds=40)
        assert "40" in str(error)
        assert 38 <= clock.monotonic() <= 40
        assert manus.stops == list(manus.tasks)
        assert attempt.thread is None

    def test_a_ghost_task(self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, clock: WatchedClock) -> None:
        manus.scenario("ghost")
        shop.fails(attempt)
        assert GRACE_SECONDS <= clock.monotonic() < GRACE_SECONDS + 10
        assert attempt.thread is None

    def test_a_task_that_cannot_be_stopped_is_still_given_up(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt
    ) -> None:
        manus.scenario("error")
        manus.fault("task.stop", code="internal")
        shop.fails(attempt)
        assert attempt.thread is None

    def test_nothing_is_asked_when_the_time_is_over_before(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, clock: WatchedClock
    ) -> None:
        clock.advance(90)
        shop.fails(attempt)
        assert manus.requests == []


class TestHanging:
    """A call that is not answered: the client's next answer comes in time all the same."""

    HANGS = 15.0  # seconds, and nobody waits for them
    SOON = 8.0

    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr(responder, "_AFTERWARDS_SECONDS", 0.2)
        began = time.monotonic()
        yield
        assert time.monotonic() - began < self.SOON

    def fails(self, shop: Shop, attempt: MemoryAttempt) -> None:
        assert "seconds" in str(shop.fails(attempt, budget_seconds=0.4, timeout=self.HANGS))

    @pytest.mark.parametrize("method", ["task.listMessages", "task.detail"])
    def test_a_look(self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, method: str) -> None:
        manus.fault(method, delay=self.HANGS)
        manus.answers_at_once = True  # so the first poll sees that it stopped
        self.fails(shop, attempt)
        assert manus.stops == list(manus.tasks)
        assert attempt.thread is None

    def test_the_stop(self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt) -> None:
        manus.scenario("error")
        manus.fault("task.stop", delay=self.HANGS)
        shop.fails(attempt, timeout=self.HANGS)
        assert attempt.thread is None

    def test_the_making_of_a_task_and_then_none_is_made_again(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt
    ) -> None:
        manus.fault("task.create", delay=self.HANGS)
        self.fails(shop, attempt)
        assert shop.fails(attempt).ambiguous
        assert len(manus.creates) == 1


class TestPolling:
    def test_the_waits_grow(self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, clock: WatchedClock) -> None:
        manus.scenario("queued")
        shop.ask(attempt)
        assert clock.sleeps == pytest.approx([2, 2, 2.8, 3.92, 5.488, 6, 6])

    def test_but_are_never_shorter_than_the_first(
        self, shop: Shop, attempt: MemoryAttempt, clock: WatchedClock
    ) -> None:
        shop.ask(attempt, poll_seconds=8)
        assert set(clock.sleeps) == {8}

    @pytest.mark.parametrize("method", ["task.listMessages", "task.detail"])
    @pytest.mark.parametrize(
        "fault",
        [
            {"code": "internal"},
            {"code": "rate_limited"},
            {"drop": "before"},
            {"status": 502, "body": "<html>"},
        ],
        ids=str,
    )
    def test_a_look_that_fails_is_repeated(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, method: str, fault: Any
    ) -> None:
        manus.fault(method, times=2, **fault)
        assert shop.ask(attempt).text.startswith("Answer ")
        assert len(manus.creates) == 1

    def test_a_look_that_is_refused_is_not(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, clock: WatchedClock
    ) -> None:
        manus.fault("task.listMessages", code="unauthenticated")
        error = shop.fails(attempt)
        assert (error.permanent, error.status) == (True, 401)
        assert clock.monotonic() == 2


class TestConversation:
    def test_the_next_question_goes_into_the_same_task_with_only_what_is_new(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, clock: WatchedClock
    ) -> None:
        first = shop.ask(attempt)
        history = (
            shop.line("client", QUESTION),
            shop.line("assistant", first.text),
            shop.line("manager", "Доставка во вторник"),
        )
        second = shop.ask(MemoryAttempt(clock, attempt.thread), "А в среду?", history=history)
        (body,) = manus.sends
        assert second.text == f"Answer {digest(content(body))}."
        assert '<message from="manager">Доставка во вторник</message>' in content(body)
        assert '<message from="client">А в среду?</message>' in content(body)
        for known in (QUESTION, first.text, INSTRUCTIONS.strip()):
            assert known not in content(body)
        assert len(manus.creates) == 1
        assert body["task_id"] == attempt.task == second.details["task_id"]

    def test_a_reply_that_was_not_of_manus_is_new_to_it(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, clock: WatchedClock
    ) -> None:
        first = shop.ask(attempt)
        history = (
            shop.line("client", QUESTION),
            shop.line("assistant", first.text),
            shop.line("client", "Сколько стоит?"),
            shop.line("assistant", "Из базы знаний: 500 ₽"),
        )
        shop.ask(MemoryAttempt(clock, attempt.thread), "Беру", history=history)
        (body,) = manus.sends
        assert '<message from="assistant">Из базы знаний: 500 ₽</message>' in content(body)
        assert "Сколько стоит?" in content(body)
        assert QUESTION not in content(body)

    def test_changed_instructions_are_new_to_it(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, clock: WatchedClock
    ) -> None:
        shop.ask(attempt)
        shop.ask(MemoryAttempt(clock, attempt.thread), instructions="We are closed today.")
        assert "We are closed today." in content(manus.sends[0])

    def test_instructions_that_are_as_they_once_were_are_told_again(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, clock: WatchedClock
    ) -> None:
        shop.ask(attempt)
        for instructions in ("We are closed today.", INSTRUCTIONS, INSTRUCTIONS):
            attempt = MemoryAttempt(clock, attempt.thread)
            shop.ask(attempt, instructions=instructions)
        assert [INSTRUCTIONS.strip() in content(body) for body in manus.sends] == [False, True, False]

    def test_a_task_of_which_it_is_not_known_what_it_was_told_is_looked_at(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, clock: WatchedClock
    ) -> None:
        shop.ask(attempt)
        shop.ask(MemoryAttempt(clock, attempt.task))
        shop.ask(MemoryAttempt(clock, attempt.task), instructions="We are closed today.")
        assert INSTRUCTIONS.strip() not in content(manus.sends[0])
        assert "We are closed today." in content(manus.sends[1])

    def test_the_earlier_answer_is_not_taken_for_the_new_one(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, clock: WatchedClock
    ) -> None:
        first = shop.ask(attempt)
        manus.lag_reads = 3  # the task looks stopped and answered, as it was
        second_attempt = MemoryAttempt(clock, attempt.thread)
        second = shop.ask(second_attempt, "Ещё вопрос")
        assert second.text != first.text
        assert digest(content(manus.sends[0])) in second.text
        assert len(second_attempt.facts["after"]) == 5

    @pytest.mark.parametrize("method", ["task.listMessages", "task.sendMessage"])
    def test_a_task_that_is_gone_is_replaced_and_told_everything(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, clock: WatchedClock, method: str
    ) -> None:
        first = shop.ask(attempt)
        manus.fault(method, code="not_found")
        manus.fault("task.create", code="rate_limited")  # what is gone is not asked again meanwhile
        history = (shop.line("client", QUESTION), shop.line("assistant", first.text))
        second_attempt = MemoryAttempt(clock, attempt.thread)
        second = shop.ask(second_attempt, "А в среду?", history=history)
        assert digest(content(manus.creates[1])) in second.text
        for told in (INSTRUCTIONS.strip(), QUESTION, first.text, "А в среду?"):
            assert told in content(manus.creates[1])
        assert second_attempt.task == second.details["task_id"] != attempt.task
        assert manus.sends == []

    @pytest.mark.parametrize("scenario", ["slow", "confirm"])
    def test_a_task_that_is_busy_is_stopped_and_replaced(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, clock: WatchedClock, scenario: Any
    ) -> None:
        shop.ask(attempt)
        manus.scenario(scenario)
        first = manus.tasks[str(attempt.task)]
        manus.send(first.id, "what another process asked and did not wait for")
        for _ in range(4):
            first.read()
        second = MemoryAttempt(clock, first.id)
        reply = shop.ask(second, "Другой вопрос")
        assert digest(content(manus.creates[1])) in reply.text
        assert manus.stops == [first.id]
        assert second.task not in (None, first.id)

    def test_a_message_that_was_taken_is_waited_for(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, clock: WatchedClock
    ) -> None:
        shop.ask(attempt)
        manus.lag_reads = 8
        reply = shop.ask(MemoryAttempt(clock, attempt.thread), "Ещё вопрос")
        assert reply.details["seconds"] > 2 * GRACE_SECONDS
        assert digest(content(manus.sends[0])) in reply.text

    def test_one_that_has_jobs_running_is_replaced(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, clock: WatchedClock
    ) -> None:
        shop.ask(attempt)
        first = manus.tasks[str(attempt.task)]
        first.jobs = True  # what they write would pass for the answer to the next question
        second = MemoryAttempt(clock, attempt.thread)
        shop.ask(second, "Другой вопрос")
        assert manus.stops == [first.id]
        assert (len(manus.creates), manus.sends) == (2, [])

    def test_one_that_has_become_too_long_is_followed_by_a_fresh_one_that_is_told_everything(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, clock: WatchedClock
    ) -> None:
        first = shop.ask(attempt)
        task = manus.tasks[str(attempt.task)]
        history = (shop.line("client", QUESTION), shop.line("assistant", first.text))
        while len(task.events) < LONGEST_TASK_EVENTS:
            shop.ask(MemoryAttempt(clock, attempt.thread), "Ещё вопрос", history=history)
            clock.advance(10)  # Manus takes ten a minute
        sent = len(manus.sends)
        assert sent == LONGEST_TASK_EVENTS / 5 - 1
        second = MemoryAttempt(clock, attempt.thread)
        shop.ask(second, "И последний", history=history)
        assert (len(manus.creates), len(manus.sends), manus.stops) == (2, sent, [])
        assert second.task not in (None, task.id)
        for told in (INSTRUCTIONS.strip(), first.text, "И последний"):
            assert told in content(manus.creates[1])

    @pytest.mark.parametrize(("share", "made"), [(0.9, 1), (1.1, 2)])
    def test_so_is_one_of_few_but_long_messages(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, clock: WatchedClock, share: float, made: int
    ) -> None:
        manus.answer = lambda _: "жэюя" * round(LONGEST_TASK_TOKENS / 8 * share)  # two tokens a letter
        shop.ask(attempt)
        shop.ask(MemoryAttempt(clock, attempt.thread), "Ещё вопрос")
        assert (len(manus.creates), len(manus.sends)) == (made, 2 - made)

    def test_a_draft_that_was_refused_is_written_once_more_in_the_same_task(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, clock: WatchedClock
    ) -> None:
        first, findings = shop.ask(attempt), ("the price is not in what is known",)
        again = MemoryAttempt(clock, attempt.thread)
        second = shop.ask(again, findings=findings)
        assert (len(manus.creates), len(manus.sends)) == (1, 1)
        assert second.text != first.text
        clock.sleeps_to_live = len(clock.sleeps)
        assert shop.ask(again, findings=findings).text == second.text  # a restart
        assert (len(manus.creates), len(manus.sends)) == (1, 1)


class TestProject:
    def test_the_role_text_is_in_the_project_and_not_in_the_task(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, clock: WatchedClock
    ) -> None:
        kept = Memory()
        shop.ask(attempt, kept=kept)
        shop.ask(MemoryAttempt(clock), kept=kept)
        shop.ask(MemoryAttempt(clock, attempt.thread), "Ещё вопрос", kept=kept)
        (project,) = manus.projects.values()
        assert project["instruction"] == INSTRUCTIONS.strip()
        assert [body["project_id"] for body in manus.creates] == [project["id"]] * 2
        for body in manus.creates + manus.sends:
            assert INSTRUCTIONS.strip() not in content(body)
            assert "Reply only with the text for the client" in content(body)

    def test_changed_instructions_get_a_project_and_go_into_running_tasks_once(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, clock: WatchedClock
    ) -> None:
        kept, new = Memory(), "We are closed today."
        shop.ask(attempt, kept=kept)
        running = MemoryAttempt(clock, attempt.thread)
        shop.ask(running, kept=kept, instructions=new)
        assert new in content(manus.sends[0])
        shop.ask(MemoryAttempt(clock, running.thread), kept=kept, instructions=new)
        assert new not in content(manus.sends[1])
        shop.ask(MemoryAttempt(clock), kept=kept, instructions=new)
        assert [one["instruction"] for one in manus.projects.values()] == [INSTRUCTIONS.strip(), new]
        assert new not in content(manus.creates[1])

    def test_without_one_the_role_text_is_in_the_task(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, clock: WatchedClock
    ) -> None:
        manus.fault("project.create", code="permission_denied")
        assert shop.ask(attempt, kept=Memory()).text.startswith("Answer ")
        (body,) = manus.creates
        assert INSTRUCTIONS.strip() in content(body)
        assert "project_id" not in body

    def test_one_that_was_deleted_is_done_without(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, clock: WatchedClock
    ) -> None:
        kept = Memory()
        shop.ask(attempt, kept=kept)
        manus.projects.clear()
        assert shop.ask(MemoryAttempt(clock), kept=kept).text.startswith("Answer ")
        assert INSTRUCTIONS.strip() in content(manus.creates[1])
        assert len(manus.creates) == 2
        assert not any(kept.values.values())

    def test_the_profiles_other_spelling_is_tried_in_it_too(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt
    ) -> None:
        manus.profiles = {"manus-1.6-lite"}
        assert shop.ask(attempt, kept=Memory()).model == "manus-1.6-lite"
        assert [body["project_id"] for body in manus.creates] == list(manus.projects)


class TestCredits:
    def test_each_reply_has_its_own_although_manus_counts_the_tasks(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, clock: WatchedClock
    ) -> None:
        assert shop.ask(attempt).details["credits"] == 3
        manus.tasks[str(attempt.task)].credits = 40
        assert shop.ask(MemoryAttempt(clock, attempt.thread), "Ещё вопрос").details["credits"] == 3

    def test_those_of_a_question_are_asked_for(self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt) -> None:
        manus.scenario("question")
        assert shop.ask(attempt).details["credits"] == 0
        assert shop.asked("task.detail") == 1

    @pytest.mark.parametrize(
        ("left", "scenario"),
        [(0, "error"), (0, "quota"), (7, "quota")],
    )
    def test_when_none_are_left_nobody_asks_for_a_while(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, left: int, scenario: Any
    ) -> None:
        manus.credits = {"total_credits": left}
        manus.scenario(scenario)
        error = shop.fails(attempt)
        assert isinstance(error, Unavailable)
        assert "credits" in str(error)
        assert error.seconds == 600
        assert manus.stops == list(manus.tasks)

    @pytest.mark.parametrize(
        ("left", "fault"),
        [
            (0, {"code": "permission_denied"}),
            (0, {"code": "whatever"}),
            (7, {"code": "insufficient_credits"}),
            (7, {"status": 402, "body": '{"ok": false}'}),
        ],
    )
    def test_the_same_when_no_task_is_taken(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, left: int, fault: Any
    ) -> None:
        manus.credits = {"total_credits": left}
        manus.fault("task.create", **fault)
        assert isinstance(shop.fails(attempt), Unavailable)

    @pytest.mark.parametrize(
        ("credits", "scenario", "fault"),
        [
            ({"total_credits": 7}, "error", {}),
            ({"data": {}}, "error", {}),
            ({"total_credits": 0}, "confirm", {}),
            ({"total_credits": 0}, "answer", {"code": "internal"}),
            ({"total_credits": 0}, "answer", {"code": "unauthenticated"}),
        ],
    )
    def test_another_reason_is_not_taken_for_that(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, credits: Any, scenario: Any, fault: Any
    ) -> None:
        manus.credits = credits
        manus.scenario(scenario)
        if fault:
            manus.fault("task.create", **fault)
        assert not isinstance(shop.fails(attempt), Unavailable)

    def test_those_of_a_question_without_a_reply_are_remembered(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt
    ) -> None:
        manus.scenario("confirm")
        shop.fails(attempt)
        assert attempt.facts["credits"] == 3  # of the stop

    @pytest.mark.parametrize(
        "detail", ['{"ok": true, "task": {"status": "stopped"}}', '{"ok": true, "task": {"credit_usage": "?"}}']
    )
    def test_they_may_be_unknown(self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, detail: str) -> None:
        manus.fault("task.detail", status=200, body=detail, times=None)
        assert "credits" not in shop.ask(attempt).details

    def test_nobody_waits_for_them(self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt) -> None:
        manus.scenario("question")
        manus.fault("task.detail", delay=300)
        assert "credits" not in shop.ask(attempt, timeout=300).details


class TestUnsent:
    def test_a_refusal_for_now_is_repeated(self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt) -> None:
        manus.fault("task.create", code="rate_limited", times=3)
        assert shop.ask(attempt).text.startswith("Answer ")
        assert len(manus.creates) == 1

    def test_so_is_one_of_a_message(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, clock: WatchedClock
    ) -> None:
        shop.ask(attempt)
        manus.fault("task.sendMessage", code="rate_limited", times=3)
        reply = shop.ask(MemoryAttempt(clock, attempt.thread), "Ещё вопрос")
        assert digest(content(manus.sends[0])) in reply.text
        assert (len(manus.creates), len(manus.sends)) == (1, 1)

    def test_after_a_refusal_of_a_message_it_is_known_that_nothing_was_asked(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, clock: WatchedClock
    ) -> None:
        shop.ask(attempt)
        manus.fault("task.sendMessage", code="rate_limited", times=None)
        second = MemoryAttempt(clock, attempt.thread)
        assert not shop.fails(second, "Ещё вопрос").ambiguous
        manus.app.clear()
        reply = shop.ask(second, "Ещё вопрос", budget_seconds=900)
        assert digest(content(manus.sends[0])) in reply.text
        assert (len(manus.creates), len(manus.sends)) == (1, 1)

    def test_the_eleventh_question_of_a_minute_waits_for_its_turn(
        self, shop: Shop, manus: ManusStandin, clock: WatchedClock
    ) -> None:
        for _ in range(10):
            shop.manus.scenario("error")
            shop.fails(MemoryAttempt(clock), poll_seconds=0.5)
        assert clock.monotonic() < 30
        assert shop.ask(MemoryAttempt(clock)).text.startswith("Answer ")
        assert clock.monotonic() > 60
        assert len(manus.creates) == 11

    def test_half_of_the_budget_is_kept_for_the_answer(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, clock: WatchedClock
    ) -> None:
        manus.fault("task.create", code="rate_limited", times=None)
        error = shop.fails(attempt, budget_seconds=40)
        assert (error.permanent, error.ambiguous, error.status) == (False, False, 429)
        assert 20 <= clock.monotonic() <= 26
        assert (attempt.facts["asking"], attempt.facts["task"]) == (None, None)

    def test_a_closed_door_is_tried_three_times_and_leaves_nothing_unknown(
        self, shop: Shop, attempt: MemoryAttempt, clock: WatchedClock
    ) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            error = shop.fails(attempt, base_url=f"http://127.0.0.1:{unused.getsockname()[1]}")
        assert (error.permanent, error.ambiguous) == (False, False)
        assert clock.sleeps == [2, 2.8]
        assert shop.ask(attempt, budget_seconds=900).text.startswith("Answer ")

    def test_a_refusal_for_good_is_not_repeated(self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt) -> None:
        manus.fault("task.create", code="unauthenticated", times=None)
        assert shop.fails(attempt).permanent
        assert shop.asked("task.create") == 0  # the fault stood before it
        assert (attempt.facts["asking"], attempt.facts["task"]) == (None, None)


class TestUnknown:
    """A call whose answer was lost is never repeated."""

    CARRIED_OUT = ({"drop": "after"}, {"delay": 30}, {"code": "internal", "carried_out": True})
    NOT_CARRIED_OUT = ({"drop": "before"}, {"code": "internal"}, {"status": 502, "body": "<html>"})

    @pytest.mark.parametrize("fault", CARRIED_OUT + NOT_CARRIED_OUT, ids=str)
    def test_a_task_whose_name_was_lost(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, fault: dict[str, Any]
    ) -> None:
        manus.fault("task.create", **fault)
        assert shop.fails(attempt).ambiguous
        assert shop.fails(attempt).ambiguous  # nor is it made later, after a restart
        assert len(manus.creates) == (fault in self.CARRIED_OUT)
        assert attempt.thread is None

    @pytest.mark.parametrize("fault", CARRIED_OUT, ids=str)
    def test_a_message_that_arrived_is_seen_in_its_task(
        self,
        shop: Shop,
        manus: ManusStandin,
        attempt: MemoryAttempt,
        clock: WatchedClock,
        fault: dict[str, Any],
    ) -> None:
        shop.ask(attempt)
        manus.lag_reads = 2
        manus.fault("task.sendMessage", **fault)
        reply = shop.ask(MemoryAttempt(clock, attempt.thread), "Ещё вопрос")
        assert digest(content(manus.sends[0])) in reply.text
        assert (len(manus.creates), len(manus.sends)) == (1, 1)

    @pytest.mark.parametrize("fault", NOT_CARRIED_OUT, ids=str)
    def test_a_message_that_is_not_seen_there_is_given_up(
        self,
        shop: Shop,
        manus: ManusStandin,
        attempt: MemoryAttempt,
        clock: WatchedClock,
        fault: dict[str, Any],
    ) -> None:
        shop.ask(attempt)
        manus.fault("task.sendMessage", **fault)
        second = MemoryAttempt(clock, attempt.thread)
        assert shop.fails(second, "Ещё вопрос").ambiguous
        spent = (clock.now() - second.started_at).total_seconds()
        assert GRACE_SECONDS <= spent < GRACE_SECONDS + 10
        assert second.thread is None
        assert (len(manus.creates), manus.sends) == (1, [])


class TestRestart:
    @pytest.mark.parametrize("commits", [0, 2])
    def test_killed_before_or_after_a_task_was_made(
        self, shop: Shop, manus: ManusStandin, clock: WatchedClock, commits: int
    ) -> None:
        attempt = MemoryAttempt(clock, commits_to_live=commits)
        with pytest.raises(Killed):
            shop.ask(attempt)
        attempt.commits_to_live = float("inf")
        reply = shop.ask(attempt)
        assert digest(content(manus.creates[0])) in reply.text
        assert list(manus.tasks) == [attempt.task]

    def test_killed_while_a_task_was_made(self, shop: Shop, manus: ManusStandin, clock: WatchedClock) -> None:
        attempt = MemoryAttempt(clock, commits_to_live=1)
        with pytest.raises(Killed):
            shop.ask(attempt)
        attempt.commits_to_live = float("inf")
        assert shop.fails(attempt).ambiguous
        assert len(manus.creates) == 1

    @pytest.mark.parametrize("commits", range(2))
    def test_killed_before_or_while_a_message_was_sent(
        self, shop: Shop, manus: ManusStandin, clock: WatchedClock, commits: int
    ) -> None:
        first = MemoryAttempt(clock)
        shop.ask(first)
        attempt = MemoryAttempt(clock, first.thread, commits_to_live=commits)
        with pytest.raises(Killed):
            shop.ask(attempt, "Ещё вопрос")
        attempt.commits_to_live = float("inf")
        reply = shop.ask(attempt, "Ещё вопрос")
        assert digest(content(manus.sends[0])) in reply.text
        assert (len(manus.creates), len(manus.sends)) == (1, 1)

    def test_killed_so_that_a_message_was_not_sent(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, clock: WatchedClock
    ) -> None:
        shop.ask(attempt)
        (task,) = manus.tasks.values()
        second = MemoryAttempt(clock, task.id)
        second.facts = {"asking": "send", "task": task.id, "after": [event["id"] for event in task.events]}
        assert shop.fails(second, "Ещё вопрос").ambiguous
        assert GRACE_SECONDS <= (clock.now() - second.started_at).total_seconds() < GRACE_SECONDS + 10
        assert (second.thread, manus.sends) == (None, [])

    @pytest.mark.parametrize("sleeps", range(5))
    def test_killed_while_it_waits(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, clock: WatchedClock, sleeps: int
    ) -> None:
        clock.sleeps_to_live = sleeps
        manus.hidden_reads = 2
        with pytest.raises(Killed):
            shop.ask(attempt)
        clock.sleeps_to_live = float("inf")
        assert digest(content(manus.creates[0])) in shop.ask(attempt).text
        assert (len(manus.creates), manus.stops) == (1, [])

    def test_an_answer_that_came_meanwhile_is_used_however_late(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, clock: WatchedClock
    ) -> None:
        clock.sleeps_to_live = 1
        with pytest.raises(Killed):
            shop.ask(attempt)
        clock.sleeps_to_live = float("inf")
        (task,) = manus.tasks.values()
        while task.steps:
            task.read()
        clock.advance(3600)
        assert digest(content(manus.creates[0])) in shop.ask(attempt).text

    def test_one_that_did_not_come_is_not_waited_for_again(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, clock: WatchedClock
    ) -> None:
        manus.scenario("slow")
        clock.sleeps_to_live = 5
        with pytest.raises(Killed):
            shop.ask(attempt)
        clock.sleeps_to_live = float("inf")
        clock.advance(3600)
        before = clock.monotonic()
        shop.fails(attempt)
        assert clock.monotonic() == before
        assert manus.stops == list(manus.tasks)


class TestProfile:
    @pytest.mark.parametrize(
        ("asked", "taken"),
        [
            ("lite", "manus-1.6-lite"),
            ("manus-1.6-lite", "lite"),
            ("standard", "manus-1.6"),
            ("manus-1.6-max", "max"),
        ],
    )
    def test_the_other_spelling_is_tried_once(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, asked: str, taken: str
    ) -> None:
        manus.profiles = {taken}
        reply = shop.ask(attempt, profile=asked)
        assert (reply.model, reply.details["profile"]) == (taken, taken)
        assert shop.asked("task.create") == 2
        assert [body["agent_profile"] for body in manus.creates] == [taken]

    def test_what_was_taken_is_used_from_then_on(self, shop: Shop, manus: ManusStandin, clock: WatchedClock) -> None:
        manus.profiles = {"manus-1.6-lite"}
        context = Context(1, 2, 3, (), (shop.line("client", QUESTION),), "ru", INSTRUCTIONS)

        async def run() -> None:
            async with httpx2.AsyncClient() as http:
                responder = ManusResponder(ManusApi(http, manus.url, manus.key), clock)
                await responder.reply(context, MemoryAttempt(clock))
                await responder.reply(context, MemoryAttempt(clock))

        asyncio.run(run())
        assert shop.asked("task.create") == 3

    @pytest.mark.parametrize(("profile", "requests"), [("lite", 2), ("manus-9", 1)])
    def test_a_profile_that_manus_does_not_know(
        self, shop: Shop, manus: ManusStandin, attempt: MemoryAttempt, profile: str, requests: int
    ) -> None:
        manus.profiles = {"other"}
        error = shop.fails(attempt, profile=profile)
        assert (error.permanent, error.status) == (True, 400)
        assert shop.asked("task.create") == requests
        assert re.search("profile|профил", str(error))
