"""Polling of a Manus task until it holds the answer: the pauses grow, and every call keeps to Manus's rate limits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from otvet.clock import Clock
from otvet.i18n import _
from otvet.responders.base import NoVerdict, ResponderError
from otvet.responders.manus.api import NOT_FOUND, ManusApi, ManusError
from otvet.responders.manus.ending import Ending, ending_in, status_in
from otvet.responders.manus.events import Event, UserMessage

GRACE_SECONDS = 15
"""A new task that Manus has not shown after this time never appears (unverified; several clients saw it)."""

LIST_MESSAGES, DETAIL = "task.listMessages", "task.detail"

_LONGEST_PAUSE = 6.0
_PAUSE_GROWTH = 1.4
_DOUBT_SECONDS = 2.0
"""The pause before an ending that may not be final is polled once more (unverified: the right time is not known)."""

_LAST_POLL_SECONDS = 2.0  # before the budget's end
_LAST_POLL_SHARE = 0.05  # of a short budget


class RateLimit(Protocol):
    """How often one method of Manus may be called by all processes together."""

    async def acquire(self, patience: float | None = None) -> bool:
        """Wait until a call is allowed; False at once if that is more than ``patience`` seconds away."""
        ...


@dataclass(frozen=True, slots=True)
class Budget:
    """The time for one question: ``seconds`` from ``started_at``, also across a restart."""

    clock: Clock
    started_at: datetime
    seconds: float

    @property
    def spent(self) -> float:
        return (self.clock.now() - self.started_at).total_seconds()

    @property
    def left(self) -> float:
        return max(self.seconds - self.spent, 0)

    @property
    def until_last_poll(self) -> float:
        """Seconds until the last poll has to begin, so that it is over when the budget ends."""
        return max(round(self.left - min(_LAST_POLL_SECONDS, self.seconds * _LAST_POLL_SHARE), 3), 0)

    def over(self) -> ResponderError:
        """The error to raise when the budget is used up."""
        text = _("Manus did not write a reply within {seconds} seconds.")
        return ResponderError(text.format(seconds=round(self.seconds)))


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that was put to a task.

    before: ids of the events that the task had before the question; the answer is among the others.
    surely: False if the call that put the question may not have arrived.
    credits_before: what the task had cost before the question; None if unknown.
    """

    task: str
    before: frozenset[str] = frozenset()
    surely: bool = True
    credits_before: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What Manus wrote, in Manus's Markdown; ``task_credits`` is the task's cost so far, None if unknown."""

    text: str
    task_credits: int | None


@dataclass(frozen=True, slots=True)
class _Poll:
    """What one poll showed. found: the task holds the question."""

    found: bool
    ending: Ending | None = None
    task_credits: int | None = None


class _RateLimited(Exception):
    """Manus's rate limit allows no further call before the budget ends."""


class Poller:
    """Polls tasks until they hold the answer.

    poll_seconds: the pause before the first poll; later pauses grow to six seconds.
    limits: the rate limit of a method ("task.listMessages", "task.detail"); a method without one is not limited.
    """

    def __init__(self, api: ManusApi, clock: Clock, poll_seconds: float, limits: Mapping[str, RateLimit]) -> None:
        self._api = api
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._limits = limits

    async def answer(self, asked: Asked, budget: Budget, *, at_once: bool) -> Answer:
        """Poll until the answer is there. at_once: it may be there already, so the first poll has no pause before it.

        ResponderError when no answer will come or the budget is over, ManusError when Manus refuses the calls.
        """
        step = self._poll_seconds
        pause = 0 if at_once else step
        missing_since: datetime | None = None
        in_doubt = False
        while True:
            if pause > 0:
                await self._clock.sleep(pause)
            poll = await self._poll(asked, budget)
            is_last = budget.until_last_poll <= 0
            if poll and poll.ending and (poll.ending.sure or in_doubt or is_last):
                return _answer(poll.ending, poll.task_credits)
            in_doubt = bool(poll and poll.ending)
            if poll:
                missing_since = None if poll.found else missing_since or self._clock.now()
                if missing_since and (self._clock.now() - missing_since).total_seconds() >= GRACE_SECONDS:
                    raise _ghost() if asked.surely else maybe_asked()
            if is_last:
                raise budget.over()
            pause = min(step, _DOUBT_SECONDS if in_doubt else step, budget.until_last_poll)
            step = self.longer(step)

    async def acquire(self, method: str, patience: float) -> bool:
        """Wait until the method may be called; False if that is more than ``patience`` seconds away."""
        return method not in self._limits or await self._limits[method].acquire(patience)

    def longer(self, pause: float) -> float:
        """The pause that follows this one."""
        return max(self._poll_seconds, min(pause * _PAUSE_GROWTH, _LONGEST_PAUSE))

    async def _poll(self, asked: Asked, budget: Budget) -> _Poll | None:
        """None if the poll showed nothing: it failed temporarily, or the rate limit allows none before the end."""
        try:
            return await self._read(asked, budget)
        except _RateLimited:
            return None
        except ManusError as error:
            if error.code == NOT_FOUND:
                return _Poll(found=False)
            if error.permanent:
                raise
            return None

    async def _read(self, asked: Asked, budget: Budget) -> _Poll:
        events, is_listed = await self._since(asked, budget)
        if not (asked.surely or is_listed):
            return _Poll(found=False)
        status, task_credits = status_in(events), None
        if status is not None and status.agent_status == "stopped":
            await self._wait_for_limit(DETAIL, budget)
            detail = await self._api.task_detail(asked.task)
            if detail.has_running_background_jobs is True:
                return _Poll(found=True)
            task_credits = detail.credit_usage
            # The last job may have ended, and written the result, after the events were read.
            events, is_listed = await self._since(asked, budget)
        ending = ending_in(events)
        if ending and asked.before and not is_listed:
            ending = replace(ending, sure=False)  # it may be a late event of an earlier question
        return _Poll(found=True, ending=ending, task_credits=task_credits)

    async def _since(self, asked: Asked, budget: Budget) -> tuple[Sequence[Event], bool]:
        """The events after the question, newest first, and whether the question itself is among the task's events.

        That the question is always listed is unverified. Where it is not, every new event counts.
        """
        await self._wait_for_limit(LIST_MESSAGES, budget)
        new = [event for event in await self._api.list_messages(asked.task) if event.id not in asked.before]
        index = next((index for index, event in enumerate(new) if isinstance(event, UserMessage)), None)
        return new[:index], index is not None

    async def _wait_for_limit(self, method: str, budget: Budget) -> None:
        if not await self.acquire(method, budget.left):
            raise _RateLimited


def _answer(ending: Ending, task_credits: int | None) -> Answer:
    if not ending.text:
        raise NoVerdict(_("Manus finished without an answer."))
    return Answer(ending.text, task_credits)


def maybe_asked() -> ResponderError:
    """The error to raise when it is unknown whether Manus created the task or took the message."""
    return ResponderError(_("It is not known whether Manus was asked; it is not asked again."), ambiguous=True)


def _ghost() -> ResponderError:
    return ResponderError(_("Manus took the question, but its task does not exist (a ghost task)."))
