"""Replies written by Manus: one task for each conversation, asked and then looked at until it has answered."""

import asyncio
import contextlib
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from functools import partial
from typing import TypeVar

from otvet.clock import Clock
from otvet.errors import ServiceError
from otvet.i18n import _
from otvet.responders.base import Context, Declined, Journal, NoVerdict, Reply, ResponderError, Unavailable
from otvet.responders.manus.answer import TaskFailed, can_go_on, for_client, names_manus
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
from otvet.responders.manus.events import Event
from otvet.responders.manus.making import Maker
from otvet.responders.manus.project import Projects, digest
from otvet.responders.manus.question import LONGEST_TASK_EVENTS, follow_up, is_long, was_told
from otvet.responders.manus.wait import DETAIL, LIST_MESSAGES, Answer, Asked, Budget, Places, Stops, Watch, unknown

WITHOUT_CREDITS_SECONDS = 600.0
"""For so long nobody asks an account that has none left."""

_ASKING_SHARE = 0.5  # of the budget; the rest is for the answer
_FAULTS = 3  # so often Manus was not reached, or could not say what is in a task: it is given up
_LATE_LOOK_SECONDS = 5.0  # what a crash interrupted may be answered by now, however late it is
_AFTERWARDS_SECONDS = 1.5  # nobody waits longer for a task to be stopped, or to learn what it has cost

T = TypeVar("T")


class ManusResponder:
    """A Responder that asks Manus.

    profile: Manus's agent profile, such as "lite"; if Manus refuses the name, its other spelling is tried.
    budget_seconds: the time for one turn, also across a restart; when it is over the task is stopped.
    poll_seconds: the first pause before a look at a task; later ones grow to six seconds.
    places: by call ("task.create", "task.sendMessage" and those of Watch), who says when it may be made.
    projects: where the role text goes; without them it is part of a task's first message.
    stops: who hears from Manus that a task stopped.

    The facts it leaves in the journal: ``asking`` ("create" or "send") while a call is under way whose loss would
    leave it unknown whether Manus was asked; ``task``; ``after``, the ids of the events before it; ``told``, a digest
    of the instructions the task has; ``credits_before``; and ``credits``, what a question has cost that got no reply.
    The thread is the task's id and, after ``#``, ``told``.
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
        places: Mapping[str, Places] | None = None,
        projects: Projects | None = None,
        stops: Stops | None = None,
    ) -> None:
        self._api = api
        self._clock = clock
        self._budget = budget_seconds
        self._poll_seconds = poll_seconds
        self._maker = Maker(api, clock, profile, projects)
        self._watch = Watch(api, clock, poll_seconds, places or {}, stops)

    @property
    def profile(self) -> str:
        """The agent profile, by the name that Manus took last."""
        return self._maker.profile

    async def reply(self, context: Context, journal: Journal) -> Reply:
        """Ask, or go on where a crash left off, and wait for the answer."""
        budget = Budget(self._clock, journal.started_at, self._budget)
        try:
            # A crash may cut off any call, and so may the budget's end: the journal says what has to be assumed.
            async with asyncio.timeout(max(budget.left, _LATE_LOOK_SECONDS) if journal.facts else budget.left):
                asked, answer = await self._question(context, journal, budget)
                text = _sendable(answer, context)
        except TimeoutError:
            await self._give_up(journal)
            raise budget.over() from None
        except (ManusError, ResponderError) as error:
            await self._give_up(journal)
            if await self._is_out_of_credits(error):
                raise Unavailable(without_credits(), seconds=WITHOUT_CREDITS_SECONDS) from error
            if isinstance(error, ManusError):
                raise self._as_ours(error) from error
            raise
        so_far = answer.task_credits
        if so_far is None:
            so_far = await self._at_once(self._credits_of(asked.task))
        spent = _spent(asked.credits_before, so_far)
        details = {"task_id": asked.task, "seconds": round(budget.spent, 1), "profile": self.profile}
        if spent is not None:
            details["credits"] = spent
        return Reply(text, responder=self.name, model=self.profile, details=details)

    async def _question(self, context: Context, journal: Journal, budget: Budget) -> tuple[Asked, Answer]:
        before = await self._asked_before(journal)
        asked = before or await self._ask(context, journal, budget)
        return asked, await self._watch.answer(asked, budget, at_once=before is not None)

    async def _asked_before(self, journal: Journal) -> Asked | None:
        facts = journal.facts
        task, asking = facts.get("task"), facts.get("asking")
        if task:
            if _task_and_told(journal.thread)[0] != task:
                await journal.keep_thread(_thread(task, str(facts.get("told") or "")))
            before = frozenset(facts.get("after") or ())
            return Asked(task, before, surely=asking is None, credits_before=facts.get("credits_before"))
        if asking:
            # The task may exist and be paid for, but its id was lost; a second one would be paid for as well.
            raise unknown()
        return None

    async def _ask(self, context: Context, journal: Journal, budget: Budget) -> Asked:
        pause, faults = self._poll_seconds, 0
        while budget.left > 0:
            try:
                return await self._continue(context, journal, budget) or await self._create(context, journal, budget)
            except ManusError as error:
                faults += error.code != RATE_LIMITED
                if error.permanent or error.ambiguous or faults >= _FAULTS or _to_ask(budget) <= 0:
                    raise
            await self._clock.sleep(min(pause, budget.left))
            pause = self._watch.longer(pause)
        raise budget.over()

    async def _continue(self, context: Context, journal: Journal, budget: Budget) -> Asked | None:
        """Put the question to the conversation's task; None if there is none that can be used."""
        task, told = _task_and_told(journal.thread)
        if task is None or context.shared:
            return None
        asked = Asked(task)
        try:
            events, detail = await self._look_back(task, budget)
            if not can_go_on(events) or (detail and detail.has_running_background_jobs):
                await self._at_once(self._api.stop_task(task))
                await journal.keep_thread(None)
                return None
            if is_long(events):
                await journal.keep_thread(None)
                return None
            asked = Asked(
                task,
                before=frozenset(event.id for event in events),
                credits_before=detail.credit_usage if detail else None,
                heard=await self._watch.heard(task),
            )
            await self._take_place("task.sendMessage", budget)
            await self._send(context, journal, asked, events, told)
        except ManusError as error:
            if error.ambiguous:
                return replace(asked, surely=False)
            await journal.remember(asking=None, task=None, after=None)
            if error.code not in (NOT_FOUND, PERMISSION_DENIED, INVALID_ARGUMENT):
                raise
            await journal.keep_thread(None)
            return None
        return asked

    async def _look_back(self, task: str, budget: Budget) -> tuple[list[Event], TaskDetail | None]:
        """What is in the task before the question is put to it."""
        for call in (LIST_MESSAGES, DETAIL):
            await self._take_place(call, budget)
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

    async def _send(self, context: Context, journal: Journal, asked: Asked, events: list[Event], told: str) -> None:
        now_told = digest(context.instructions)
        await journal.remember(
            asking="send",
            task=asked.task,
            after=[event.id for event in events],
            told=now_told,
            credits_before=asked.credits_before,
        )
        # A task of an earlier Otvet has no digest of what it was told.
        known = told == now_told if told else was_told(context.instructions, events)
        news = _without_instructions(context) if known else context
        await self._api.send_message(asked.task, follow_up(news, events))
        await journal.remember(asking=None)
        if told != now_told:
            await journal.keep_thread(_thread(asked.task, now_told))

    async def _create(self, context: Context, journal: Journal, budget: Budget) -> Asked:
        project = await self._maker.project(context)
        place = partial(self._take_place, "task.create", budget)
        await place()
        await journal.remember(asking="create", task=None, after=None, credits_before=0)
        try:
            task = await self._maker.make(context, project, place)
        except ServiceError as error:
            if not error.ambiguous:
                await journal.remember(asking=None)
            raise
        told = digest(context.instructions)
        await journal.remember(asking=None, task=task, told=told)
        await journal.keep_thread(_thread(task, told))
        return Asked(task, credits_before=0)

    async def _take_place(self, call: str, budget: Budget) -> None:
        """Manus takes few calls a minute; when ours would come too late, another responder answers at once."""
        if not await self._watch.place(call, _to_ask(budget)):
            raise NoVerdict(_("Manus is asked as often as it allows; this question would have to wait too long."))

    async def _give_up(self, journal: Journal) -> None:
        """No reply comes of the task. A late one would pass for the next question's answer, which gets a new task."""
        task = journal.facts.get("task")
        if task is None:
            return
        await journal.keep_thread(None)
        so_far = await self._at_once(self._stopped(task))
        if (spent := _spent(journal.facts.get("credits_before"), so_far)) is not None:
            await journal.remember(credits=spent)

    async def _stopped(self, task: str) -> int | None:
        """Stop a task, so that it costs no more, and see what it has cost."""
        with contextlib.suppress(ManusError):
            await self._api.stop_task(task)
        return await self._credits_of(task)

    async def _credits_of(self, task: str) -> int | None:
        return (await self._api.task_detail(task)).credit_usage if await self._watch.place(DETAIL, 0) else None

    async def _is_out_of_credits(self, error: ManusError | ResponderError) -> bool:
        """Manus's own word for it is unverified, but it tells how many are left."""
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
        """What Manus answers, unless it fails or takes long: the client waits for the reply, not for this."""
        with contextlib.suppress(ManusError, TimeoutError):
            async with asyncio.timeout(_AFTERWARDS_SECONDS):
                return await call
        return None

    def _as_ours(self, error: ManusError) -> ResponderError:
        # Where a task was made before, it is this text that Manus refuses.
        is_the_text = error.code == INVALID_ARGUMENT and self._maker.has_made
        kind = Declined if is_the_text else ResponderError
        return kind(str(error), permanent=error.permanent, ambiguous=error.ambiguous, status=error.status)


def _to_ask(budget: Budget) -> float:
    """Seconds that are left to put the question."""
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
    """The name is left in where the company's own texts have it. A client who asks for it gets no answer about it."""
    told = [
        *(text for one in context.knowledge for text in (one.heading, one.text)),
        *(value for _name, value in context.known),
    ]
    cleaned = for_client(answer.text, may_name_manus=any(map(names_manus, told)))
    if not cleaned:
        raise NoVerdict(_("Manus's answer holds nothing for the client."))
    return cleaned
