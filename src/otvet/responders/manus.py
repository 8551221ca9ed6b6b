"""Replies written by Manus: one task for each conversation, asked and then polled until it has answered."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from otvet.clock import Clock
from otvet.i18n import _
from otvet.responders.base import Context, Journal, Reply, ResponderError
from otvet.responders.manus_answer import answer_in, can_go_on, for_client, status_in
from otvet.responders.manus_api import INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, ManusApi, ManusError
from otvet.responders.manus_events import Event
from otvet.responders.manus_question import follow_up, opening

GRACE_SECONDS = 15
"""A new task that Manus does not show for so long is never shown (unverified; several clients saw it)."""

_LONGEST_WAIT = 6.0  # 100 reads a minute are shared by all tasks of the account
_WAIT_GROWTH = 1.4
_ASKING_SHARE = 0.5  # of the budget; the rest is for the answer

# The names changed in 2026, and which of them an account takes is unverified.
_OTHER_SPELLING = {"lite": "manus-1.6-lite", "standard": "manus-1.6", "max": "manus-1.6-max"}
_OTHER_SPELLING |= {new: old for old, new in _OTHER_SPELLING.items()}


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question that was put to a task.

    before: ids of the events that were there before it; the answer is among the others.
    surely: False if the call that put it may not have arrived.
    """

    task: str
    before: frozenset[str] = frozenset()
    surely: bool = True


class Places(Protocol):
    """How often Manus may be called, by all processes together."""

    async def acquire(self, patience: float | None = None) -> bool:
        """Wait for a place; False if it is further away than ``patience`` seconds."""
        ...


class ManusResponder:
    """A Responder that asks Manus.

    profile: Manus's agent profile, such as "lite"; if Manus refuses the name, its other spelling is tried.
    budget_seconds: the time for one turn, also across a restart; when it is over the task is stopped.
    poll_seconds: the first wait between two looks at a task; later ones grow to six seconds.
    places: by call ("task.create", "task.sendMessage"), who says when it may be made.

    The facts it leaves in the journal: ``asking`` ("create" or "send") while a call is under way whose loss
    would leave it unknown whether Manus was asked; ``task``; and ``after``, the ids of the events before it.
    """

    name = "manus"

    def __init__(
        self,
        api: ManusApi,
        clock: Clock,
        *,
        profile: str = "lite",
        budget_seconds: float = 90,
        poll_seconds: float = 2.0,
        places: Mapping[str, Places] | None = None,
    ) -> None:
        self._api = api
        self._clock = clock
        self._profile = profile
        self._budget = budget_seconds
        self._poll_seconds = poll_seconds
        self._places = places or {}

    async def reply(self, context: Context, journal: Journal) -> Reply:
        """Ask, or go on where a crash left off, and wait for the answer."""
        try:
            asked = await self._asked_before(journal)
            if asked is None:
                asked = await self._ask(context, journal)
                await self._clock.sleep(self._poll_seconds)
            text = await self._answer(asked, journal)
        except ManusError as error:
            raise ResponderError(
                str(error), permanent=error.permanent, ambiguous=error.ambiguous, status=error.status
            ) from error
        details = {"task_id": asked.task, "seconds": round(self._spent(journal), 1), "profile": self._profile}
        return Reply(text, responder=self.name, model=self._profile, details=details)

    async def _asked_before(self, journal: Journal) -> _Asked | None:
        task, asking = journal.facts.get("task"), journal.facts.get("asking")
        if task:
            if journal.thread != task:
                await journal.keep_thread(task)
            return _Asked(task, frozenset(journal.facts.get("after") or ()), surely=asking is None)
        if asking:
            # The task may exist and be paid for, but its id was lost; a second one would be paid for as well.
            raise _unknown()
        return None

    async def _ask(self, context: Context, journal: Journal) -> _Asked:
        wait = self._poll_seconds
        while self._spent(journal) < self._budget:
            try:
                return await self._continue(context, journal) or await self._create(context, journal)
            except ManusError as error:
                if error.permanent or error.ambiguous or self._spent(journal) >= self._budget * _ASKING_SHARE:
                    raise
            await self._clock.sleep(wait)
            wait = self._longer(wait)
        raise self._too_late()

    async def _continue(self, context: Context, journal: Journal) -> _Asked | None:
        """Put the question to the conversation's task; None if there is none that can be used."""
        task = journal.thread
        if task is None:
            return None
        before: list[str] = []
        try:
            events = await self._api.list_messages(task)
            if not can_go_on(events):
                await self._abandon(task, journal)
                return None
            before = [event.id for event in events]
            await self._take_place("task.sendMessage", journal)
            await journal.remember(asking="send", task=task, after=before)
            await self._api.send_message(task, follow_up(context, events))
        except ManusError as error:
            if error.ambiguous:
                return _Asked(task, frozenset(before), surely=False)
            await journal.remember(asking=None, task=None, after=None)
            if error.code not in (NOT_FOUND, PERMISSION_DENIED, INVALID_ARGUMENT):
                raise
            await journal.keep_thread(None)
            return None
        await journal.remember(asking=None)
        return _Asked(task, frozenset(before))

    async def _create(self, context: Context, journal: Journal) -> _Asked:
        await self._take_place("task.create", journal)
        await journal.remember(asking="create")
        try:
            task = await self._create_task(opening(context), context)
        except ManusError as error:
            if not error.ambiguous:
                await journal.remember(asking=None)
            raise
        await journal.remember(asking=None, task=task)
        await journal.keep_thread(task)
        return _Asked(task)

    async def _take_place(self, call: str, journal: Journal) -> None:
        """Manus takes few calls a minute; when ours would come too late, another responder answers at once."""
        left = self._budget * _ASKING_SHARE - self._spent(journal)
        if call in self._places and not await self._places[call].acquire(max(left, 0)):
            raise ResponderError(_("Manus is asked as often as it allows; this question would have to wait too long."))

    async def _create_task(self, content: str, context: Context) -> str:
        title, locale = f"amoCRM {context.lead_id}", context.language
        try:
            return await self._api.create_task(content, profile=self._profile, locale=locale, title=title)
        except ManusError as error:
            other = _OTHER_SPELLING.get(self._profile)
            if error.code != INVALID_ARGUMENT or other is None:
                raise
        task = await self._api.create_task(content, profile=other, locale=locale, title=title)
        self._profile = other
        return task

    async def _answer(self, asked: _Asked, journal: Journal) -> str:
        try:
            return await self._poll(asked, journal)
        except (ManusError, ResponderError):
            # A late answer would pass for the answer to the next question, so that one gets a new task.
            await self._abandon(asked.task, journal)
            raise

    async def _poll(self, asked: _Asked, journal: Journal) -> str:
        wait = self._poll_seconds
        missing_since: datetime | None = None
        while True:
            text = None
            try:
                events = [event for event in await self._api.list_messages(asked.task) if event.id not in asked.before]
                found = asked.surely or bool(events)
                if not await self._works_in_background(asked.task, events):
                    text = answer_in(events)
            except ManusError as error:
                found = error.code != NOT_FOUND
                if error.permanent and found:
                    raise
            if text is not None:
                return _sendable(text)
            missing_since = None if found else missing_since or self._clock.now()
            if missing_since and (self._clock.now() - missing_since).total_seconds() >= GRACE_SECONDS:
                raise _ghost() if asked.surely else _unknown()
            left = self._budget - self._spent(journal)
            if left <= 0:
                raise self._too_late()
            await self._clock.sleep(min(wait, max(left, self._poll_seconds)))
            wait = self._longer(wait)

    async def _works_in_background(self, task: str, events: Sequence[Event]) -> bool:
        status = status_in(events)
        if status is None or status.agent_status != "stopped":
            return False
        return (await self._api.task_detail(task)).has_running_background_jobs is True

    async def _abandon(self, task: str, journal: Journal) -> None:
        # A task that cannot be stopped costs credits until it ends; the client still needs an answer.
        with contextlib.suppress(ManusError):
            await self._api.stop_task(task)
        await journal.keep_thread(None)

    def _spent(self, journal: Journal) -> float:
        return (self._clock.now() - journal.started_at).total_seconds()

    def _longer(self, wait: float) -> float:
        return max(self._poll_seconds, min(wait * _WAIT_GROWTH, _LONGEST_WAIT))

    def _too_late(self) -> ResponderError:
        text = _("Manus did not write a reply within {seconds} seconds.")
        return ResponderError(text.format(seconds=round(self._budget)))


def _unknown() -> ResponderError:
    return ResponderError(_("It is not known whether Manus was asked; it is not asked again."), ambiguous=True)


def _ghost() -> ResponderError:
    return ResponderError(_("Manus took the question, but its task does not exist (a ghost task)."))


def _sendable(text: str) -> str:
    cleaned = for_client(text)
    if not cleaned:
        raise ResponderError(_("Manus's answer holds nothing for the client."))
    return cleaned
