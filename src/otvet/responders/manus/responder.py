"""Replies written by Manus: each conversation has one task, which gets the question and is polled for the answer."""

import asyncio
import contextlib
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from functools import partial
from typing import TypeVar

from otvet.clock import Clock
from otvet.errors import ServiceError
from otvet.i18n import _
from otvet.responders.base import Attempt, Context, Declined, NoVerdict, Reply, ResponderError, Unavailable
from otvet.responders.cleaning.clean import clean, company_texts
from otvet.responders.manus.api import (
    INVALID_ARGUMENT,
    NOT_FOUND,
    PERMISSION_DENIED,
    RATE_LIMITED,
    UNAUTHENTICATED,
    ManusApi,
    ManusError,
    TaskDetail,
    is_about_credits,
    without_credits,
)
from otvet.responders.manus.ending import TaskFailed, can_go_on, names_manus, without_manus
from otvet.responders.manus.events import Event
from otvet.responders.manus.polling import DETAIL, LIST_MESSAGES, Answer, Asked, Budget, Poller, RateLimit, maybe_asked
from otvet.responders.manus.question import LONGEST_TASK_EVENTS, follow_up, is_long, was_told
from otvet.responders.manus.tasks import Projects, Tasks, digest

WITHOUT_CREDITS_SECONDS = 600.0
"""How long an account without credits is not asked."""

CREATE, SEND = "task.create", "task.sendMessage"

_ASKING_SHARE = 0.5  # of the budget, for putting the question; the rest is for the answer
_MOST_FAULTS = 3  # failed attempts to put the question
_LATE_POLL_SECONDS = 5.0  # for a question that a crash interrupted: its answer may be there, even after the budget
_AFTERWARDS_SECONDS = 1.5  # for stopping a task and reading its cost, while the client waits for the reply

T = TypeVar("T")


class ManusResponder:
    """A Responder that asks Manus.

    profile: Manus's agent profile, such as "lite"; if Manus refuses this spelling, the other one is tried.
    budget_seconds: the time for one turn, also across a restart; when it is over the task is stopped.
    poll_seconds: the first pause between two polls; later pauses grow to six seconds.
    limits: the rate limit of a method ("task.create", "task.sendMessage" and those of Poller).
    projects: hold the role text; without them it is part of a task's first message.

    The facts it remembers: ``asking`` ("create" or "send") while a call is in flight after whose loss it would be
    unknown whether Manus was asked; ``task``; ``after``, the ids of the task's events before the question; ``told``, a
    digest of the instructions that the task has; ``credits_before``; ``credits``, the cost of a question without a
    reply. The thread is the task's id and, after ``#``, ``told``.
    """

    name = "manus"
    outside = True

    def __init__(
        self,
        api: ManusApi,
        clock: Clock,
        *,
        profile: str = "lite",
        budget_seconds: float = 90,
        poll_seconds: float = 2.0,
        limits: Mapping[str, RateLimit] | None = None,
        projects: Projects | None = None,
    ) -> None:
        self._api = api
        self._clock = clock
        self._budget = budget_seconds
        self._poll_seconds = poll_seconds
        self._tasks = Tasks(api, clock, profile, projects)
        self._poller = Poller(api, clock, poll_seconds, limits or {})

    async def reply(self, context: Context, attempt: Attempt) -> Reply:
        """Put the question, or go on where a crash left off, and wait for the answer."""
        budget = Budget(self._clock, attempt.started_at, self._budget)
        try:
            # The end of the budget can interrupt any call, as a crash can: the attempt tells how far it came.
            async with asyncio.timeout(max(budget.left, _LATE_POLL_SECONDS) if attempt.facts else budget.left):
                asked, answer = await self._question(context, attempt, budget)
                text = _sendable(answer, context)
        except TimeoutError:
            await self._give_up(attempt)
            raise budget.over() from None
        except (ManusError, ResponderError) as error:
            await self._give_up(attempt)
            if await self._is_out_of_credits(error):
                raise Unavailable(without_credits(), seconds=WITHOUT_CREDITS_SECONDS) from error
            if isinstance(error, ManusError):
                raise self._as_ours(error) from error
            raise
        so_far = answer.task_credits
        if so_far is None:
            so_far = await self._at_once(self._credits_of(asked.task))
        spent = _spent(asked.credits_before, so_far)
        profile = self._tasks.profile
        details = {"task_id": asked.task, "seconds": round(budget.spent, 1), "profile": profile}
        if spent is not None:
            details["credits"] = spent
        return Reply(text, responder=self.name, model=profile, details=details)

    async def _question(self, context: Context, attempt: Attempt, budget: Budget) -> tuple[Asked, Answer]:
        before = await self._asked_before(attempt)
        asked = before or await self._ask(context, attempt, budget)
        return asked, await self._poller.answer(asked, budget, at_once=before is not None)

    async def _asked_before(self, attempt: Attempt) -> Asked | None:
        facts = attempt.facts
        task, asking = facts.get("task"), facts.get("asking")
        if task:
            if _task_and_told(attempt.thread)[0] != task:
                await attempt.keep_thread(_thread(task, str(facts.get("told") or "")))
            before = frozenset(facts.get("after") or ())
            return Asked(task, before, surely=asking is None, credits_before=facts.get("credits_before"))
        if asking:
            # The task may exist and cost credits, but its id was lost; a second task would cost credits too.
            raise maybe_asked()
        return None

    async def _ask(self, context: Context, attempt: Attempt, budget: Budget) -> Asked:
        pause, faults = self._poll_seconds, 0
        while budget.left > 0:
            try:
                return await self._continue(context, attempt, budget) or await self._create(context, attempt, budget)
            except ManusError as error:
                faults += error.code != RATE_LIMITED
                if error.permanent or error.ambiguous or faults >= _MOST_FAULTS or _to_ask(budget) <= 0:
                    raise
            await self._clock.sleep(min(pause, budget.left))
            pause = self._poller.longer(pause)
        raise budget.over()

    async def _continue(self, context: Context, attempt: Attempt, budget: Budget) -> Asked | None:
        """Put the question to the conversation's task; None if it has no task that can be used."""
        task, told = _task_and_told(attempt.thread)
        if task is None or context.shared:
            return None
        asked = Asked(task)
        try:
            events, detail = await self._before_question(task, budget)
            if not can_go_on(events) or (detail and detail.has_running_background_jobs):
                await self._at_once(self._api.stop_task(task))
                await attempt.keep_thread(None)
                return None
            if is_long(events):
                await attempt.keep_thread(None)
                return None
            asked = Asked(
                task,
                before=frozenset(event.id for event in events),
                credits_before=detail.credit_usage if detail else None,
            )
            await self._wait_for_limit(SEND, budget)
            await self._send(context, attempt, asked, events, told)
        except ManusError as error:
            if error.ambiguous:
                return replace(asked, surely=False)
            await attempt.remember(asking=None, task=None, after=None)
            if error.code not in (NOT_FOUND, PERMISSION_DENIED, INVALID_ARGUMENT):
                raise
            await attempt.keep_thread(None)
            return None
        return asked

    async def _before_question(self, task: str, budget: Budget) -> tuple[list[Event], TaskDetail | None]:
        """The task's events and detail before the question; no detail if Manus does not give it."""
        for method in (LIST_MESSAGES, DETAIL):
            await self._wait_for_limit(method, budget)
        events, detail = await asyncio.gather(
            self._api.list_messages(task, limit=LONGEST_TASK_EVENTS),
            self._api.task_detail(task),
            return_exceptions=True,
        )
        if isinstance(events, BaseException):
            raise events
        if isinstance(detail, BaseException) and not isinstance(detail, ManusError):
            raise detail
        return events, None if isinstance(detail, ManusError) else detail

    async def _send(self, context: Context, attempt: Attempt, asked: Asked, events: list[Event], told: str) -> None:
        now_told = digest(context.instructions)
        await attempt.remember(
            asking="send",
            task=asked.task,
            after=[event.id for event in events],
            told=now_told,
            credits_before=asked.credits_before,
        )
        # A task of an earlier version of Otvet has no digest.
        known = told == now_told if told else was_told(context.instructions, events)
        news = _without_instructions(context) if known else context
        await self._api.send_message(asked.task, follow_up(news, events))
        await attempt.remember(asking=None)
        if told != now_told:
            await attempt.keep_thread(_thread(asked.task, now_told))

    async def _create(self, context: Context, attempt: Attempt, budget: Budget) -> Asked:
        project = await self._tasks.project_for(context)
        wait_for_limit = partial(self._wait_for_limit, CREATE, budget)
        await wait_for_limit()
        await attempt.remember(asking="create", task=None, after=None, credits_before=0)
        try:
            task = await self._tasks.create(context, project, wait_for_limit)
        except ServiceError as error:
            if not error.ambiguous:
                await attempt.remember(asking=None)
            raise
        told = digest(context.instructions)
        await attempt.remember(asking=None, task=task, told=told)
        await attempt.keep_thread(_thread(task, told))
        return Asked(task, credits_before=0)

    async def _wait_for_limit(self, method: str, budget: Budget) -> None:
        """Manus allows few calls a minute; if ours would come too late, another responder answers at once."""
        if not await self._poller.acquire(method, _to_ask(budget)):
            raise NoVerdict(_("Manus is asked as often as it allows; this question would have to wait too long."))

    async def _give_up(self, attempt: Attempt) -> None:
        """Stop the task and forget it: a late answer in it would pass for the answer to the next question."""
        task = attempt.facts.get("task")
        if task is None:
            return
        await attempt.keep_thread(None)
        so_far = await self._at_once(self._stopped(task))
        if (spent := _spent(attempt.facts.get("credits_before"), so_far)) is not None:
            await attempt.remember(credits=spent)

    async def _stopped(self, task: str) -> int | None:
        """Stop a task, so that it costs no more, and return its cost so far."""
        with contextlib.suppress(ManusError):
            await self._api.stop_task(task)
        return await self._credits_of(task)

    async def _credits_of(self, task: str) -> int | None:
        return (await self._api.task_detail(task)).credit_usage if await self._poller.acquire(DETAIL, 0) else None

    async def _is_out_of_credits(self, error: ManusError | ResponderError) -> bool:
        """Which error Manus gives without credits is unverified, so the number of credits left is read as well."""
        if isinstance(error, TaskFailed):
            word: str | None = error.kind
        elif isinstance(error, ManusError) and error.permanent and error.code != UNAUTHENTICATED:
            word = error.code
        else:
            return False
        if is_about_credits(word):
            return True
        left = await self._at_once(self._api.available_credits())
        return left is not None and left <= 0

    async def _at_once(self, call: Awaitable[T]) -> T | None:
        """The call's result; None if it fails or takes longer than _AFTERWARDS_SECONDS: the client waits."""
        with contextlib.suppress(ManusError, TimeoutError):
            async with asyncio.timeout(_AFTERWARDS_SECONDS):
                return await call
        return None

    def _as_ours(self, error: ManusError) -> ResponderError:
        # Manus took the profile before, so it refuses this text.
        is_the_text = error.code == INVALID_ARGUMENT and self._tasks.has_created
        kind = Declined if is_the_text else ResponderError
        return kind(str(error), permanent=error.permanent, ambiguous=error.ambiguous, status=error.status)


def _to_ask(budget: Budget) -> float:
    """Seconds left for putting the question."""
    return max(budget.seconds * _ASKING_SHARE - budget.spent, 0)


def _spent(before: int | None, so_far: int | None) -> int | None:
    return None if before is None or so_far is None else max(so_far - before, 0)


def _thread(task: str, told: str) -> str:
    return f"{task}#{told}" if told else task


def _task_and_told(thread: str | None) -> tuple[str | None, str]:
    task, _sign, told = (thread or "").partition("#")
    return task or None, told


def _without_instructions(context: Context) -> Context:
    return replace(context, instructions="")


def _sendable(answer: Answer, context: Context) -> str:
    """The answer for the client. Manus's name stays in it if the company's own texts have that name."""
    cleaned = without_manus(clean(answer.text, context), may_name_manus=any(map(names_manus, company_texts(context))))
    if not cleaned:
        raise NoVerdict(_("Manus's answer holds nothing for the client."))
    return cleaned
