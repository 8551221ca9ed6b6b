"""Replies written by Manus: one task for each conversation, asked and then looked at until it has answered."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import replace

from otvet.clock import Clock
from otvet.i18n import _
from otvet.responders.base import Context, Journal, Reply, ResponderError
from otvet.responders.manus.answer import can_go_on, for_client
from otvet.responders.manus.api import INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, ManusApi, ManusError, TaskDetail
from otvet.responders.manus.events import Event
from otvet.responders.manus.project import Projects, digest
from otvet.responders.manus.question import follow_up, opening, was_told
from otvet.responders.manus.wait import DETAIL, LIST_MESSAGES, Answer, Asked, Budget, Places, Stops, Watch, unknown

LONGEST_TASK_EVENTS = 100
"""A task with so many events, about twenty questions, is followed by a fresh one. Manus goes through all of a task for
each further message, so a long one costs ever more credits; and of a longer one a single look no longer shows all.
"""

_ASKING_SHARE = 0.5  # of the budget; the rest is for the answer
_CREDITS_SECONDS = 2.0  # nobody waits longer than that to learn what a reply has cost

# The names changed in 2026, and which of them an account takes is unverified.
_OTHER_SPELLING = {"lite": "manus-1.6-lite", "standard": "manus-1.6", "max": "manus-1.6-max"}
_OTHER_SPELLING |= {new: old for old, new in _OTHER_SPELLING.items()}


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
    of the instructions the task has; ``round``, a digest of the findings the question was put with;
    ``credits_before``; and ``credits``, what a question has cost that got no reply.
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
        self._profile = profile
        self._budget = budget_seconds
        self._poll_seconds = poll_seconds
        self._projects = projects
        self._watch = Watch(api, clock, poll_seconds, places or {}, stops)

    async def reply(self, context: Context, journal: Journal) -> Reply:
        """Ask, or go on where a crash left off, and wait for the answer."""
        budget = Budget(self._clock, journal.started_at, self._budget)
        try:
            before = await self._asked_before(context, journal)
            asked = before or await self._ask(context, journal, budget)
            text, spent = await self._answer(asked, journal, budget, at_once=before is not None)
        except ManusError as error:
            raise ResponderError(
                str(error), permanent=error.permanent, ambiguous=error.ambiguous, status=error.status
            ) from error
        details = {"task_id": asked.task, "seconds": round(budget.spent, 1), "profile": self._profile}
        if spent is not None:
            details["credits"] = spent
        return Reply(text, responder=self.name, model=self._profile, details=details)

    async def _asked_before(self, context: Context, journal: Journal) -> Asked | None:
        facts = journal.facts
        if facts.get("round", "") != _round(context):
            return None  # that was the draft which is to be written once more
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
        pause = self._poll_seconds
        while budget.left > 0:
            try:
                return await self._continue(context, journal, budget) or await self._create(context, journal, budget)
            except ManusError as error:
                if error.permanent or error.ambiguous or _to_ask(budget) <= 0:
                    raise
            await self._clock.sleep(pause)
            pause = self._watch.longer(pause)
        raise budget.over()

    async def _continue(self, context: Context, journal: Journal, budget: Budget) -> Asked | None:
        """Put the question to the conversation's task; None if there is none that can be used."""
        task, told = _task_and_told(journal.thread)
        if task is None:
            return None
        asked = Asked(task)
        try:
            events, detail = await self._look_back(task, budget)
            if not can_go_on(events) or (detail and detail.has_running_background_jobs):
                await self._abandon(task, journal)
                return None
            if len(events) >= LONGEST_TASK_EVENTS:
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
            round=_round(context),
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
        project = await self._projects.with_instruction(context.instructions) if self._projects else None
        await self._take_place("task.create", budget)
        await journal.remember(asking="create", task=None, after=None, round=_round(context), credits_before=0)
        try:
            task = await self._create_task(context, project)
        except ManusError as error:
            if not error.ambiguous:
                await journal.remember(asking=None)
            raise
        told = digest(context.instructions)
        await journal.remember(asking=None, task=task, told=told)
        await journal.keep_thread(_thread(task, told))
        return Asked(task, credits_before=0)

    async def _create_task(self, context: Context, project: str | None) -> str:
        """In the project, or without one if Manus does not take it (any more)."""
        if project is not None and self._projects is not None:
            try:
                return await self._in_either_spelling(_without_instructions(context), project)
            except ManusError as error:
                if error.code not in (INVALID_ARGUMENT, NOT_FOUND):
                    raise
            await self._projects.forget(context.instructions)
        return await self._in_either_spelling(context, None)

    async def _in_either_spelling(self, context: Context, project: str | None) -> str:
        try:
            return await self._create_as(self._profile, context, project)
        except ManusError as error:
            other = _OTHER_SPELLING.get(self._profile)
            if error.code != INVALID_ARGUMENT or other is None:
                raise
        task = await self._create_as(other, context, project)
        self._profile = other
        return task

    async def _create_as(self, profile: str, context: Context, project: str | None) -> str:
        title, locale = f"amoCRM {context.lead_id}", context.language
        return await self._api.create_task(
            opening(context), profile=profile, locale=locale, title=title, project_id=project
        )

    async def _take_place(self, call: str, budget: Budget) -> None:
        """Manus takes few calls a minute; when ours would come too late, another responder answers at once."""
        if not await self._watch.place(call, _to_ask(budget)):
            raise ResponderError(_("Manus is asked as often as it allows; this question would have to wait too long."))

    async def _answer(self, asked: Asked, journal: Journal, budget: Budget, *, at_once: bool) -> tuple[str, int | None]:
        """The reply, and the credits it has cost where that is known."""
        try:
            answer = await self._watch.answer(asked, budget, at_once=at_once)
            text = _sendable(answer)
        except (ManusError, ResponderError):
            # A late answer would pass for the answer to the next question, so that one gets a new task.
            await self._abandon(asked.task, journal)
            if (spent := _spent(asked, await self._task_credits(asked.task))) is not None:
                await journal.remember(credits=spent)
            raise
        so_far = answer.task_credits
        return text, _spent(asked, so_far if so_far is not None else await self._task_credits(asked.task))

    async def _task_credits(self, task: str) -> int | None:
        """What a task has cost so far, if Manus says so at once."""
        with contextlib.suppress(ManusError, TimeoutError):
            async with asyncio.timeout(_CREDITS_SECONDS):
                if await self._watch.place(DETAIL, 0):
                    return (await self._api.task_detail(task)).credit_usage
        return None

    async def _abandon(self, task: str, journal: Journal) -> None:
        # A task that cannot be stopped costs credits until it ends; the client still needs an answer.
        with contextlib.suppress(ManusError):
            await self._api.stop_task(task)
        await journal.keep_thread(None)


def _to_ask(budget: Budget) -> float:
    """Seconds that are left to put the question."""
    return max(budget.seconds * _ASKING_SHARE - budget.spent, 0)


def _spent(asked: Asked, task_credits: int | None) -> int | None:
    if task_credits is None or asked.credits_before is None:
        return None
    return max(task_credits - asked.credits_before, 0)


def _round(context: Context) -> str:
    """Empty for a first draft; else what tells this rewriting of it from others."""
    return digest("\n".join((context.draft, *context.findings))) if context.findings else ""


def _thread(task: str, told: str) -> str:
    return f"{task}#{told}" if told else task


def _task_and_told(thread: str | None) -> tuple[str | None, str]:
    task, _sign, told = (thread or "").partition("#")
    return task or None, told


def _without_instructions(context: Context) -> Context:
    return replace(context, instructions="")


def _sendable(answer: Answer) -> str:
    cleaned = for_client(answer.text)
    if not cleaned:
        raise ResponderError(_("Manus's answer holds nothing for the client."))
    return cleaned
