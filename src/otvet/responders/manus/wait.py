"""Waiting for the answer of a Manus task: looks that grow rarer and keep to Manus's limits, until it has answered.

Where Manus calls our webhook, a look comes as soon as it says that the task stopped. That word only ends a pause: what
the answer is, and whether there is one, is read in the task's own events.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from otvet.clock import Clock
from otvet.i18n import _
from otvet.responders.base import ResponderError
from otvet.responders.manus.answer import answer_in, status_in
from otvet.responders.manus.api import NOT_FOUND, ManusApi, ManusError

GRACE_SECONDS = 15
"""A new task that Manus does not show for so long is never shown (unverified; several clients saw it)."""

LIST_MESSAGES, DETAIL = "task.listMessages", "task.detail"

_LONGEST_PAUSE = 6.0
_PAUSE_GROWTH = 1.4


class Places(Protocol):
    """How often Manus may be called, by all processes together."""

    async def acquire(self, patience: float | None = None) -> bool:
        """Wait for a place; False if it is further away than ``patience`` seconds."""
        ...


class Stops(Protocol):
    """What Manus tells of its own accord."""

    async def wait(self, task: str, heard: frozenset[str], seconds: float) -> frozenset[str]:
        """Sleep, but no longer than until there is a word of Manus that the task stopped and that is not in ``heard``.

        Gives all words there are, also those that came before it was asked.
        """
        ...


@dataclass(frozen=True, slots=True)
class Budget:
    """The time for one question, in seconds from ``started_at``, also across a restart."""

    clock: Clock
    started_at: datetime
    seconds: float

    @property
    def spent(self) -> float:
        return (self.clock.now() - self.started_at).total_seconds()

    @property
    def left(self) -> float:
        return max(self.seconds - self.spent, 0)

    def over(self) -> ResponderError:
        """What to raise when nothing is left."""
        text = _("Manus did not write a reply within {seconds} seconds.")
        return ResponderError(text.format(seconds=round(self.seconds)))


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that was put to a task.

    before: ids of the events that were there before it; the answer is among the others.
    surely: False if the call that put it may not have arrived.
    credits_before: what the task had cost by then; None if that is not known.
    heard: words of Manus about earlier questions.
    """

    task: str
    before: frozenset[str] = frozenset()
    surely: bool = True
    credits_before: int | None = None
    heard: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Answer:
    """What Manus wrote, in its own Markdown; ``task_credits`` is what the task has cost so far, where that was seen."""

    text: str
    task_credits: int | None


@dataclass(frozen=True, slots=True)
class _Look:
    """found: the task, or the question in it, is there."""

    found: bool
    answer: Answer | None = None


class Watch:
    """Looks at tasks until they have answered.

    poll_seconds: the pause before the first look; later ones grow to six seconds.
    places: by call ("task.listMessages", "task.detail"), who says when it may be made.
    """

    def __init__(
        self, api: ManusApi, clock: Clock, poll_seconds: float, places: Mapping[str, Places], stops: Stops | None
    ) -> None:
        self._api = api
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._places = places
        self._stops = stops

    async def answer(self, asked: Asked, budget: Budget, *, at_once: bool) -> Answer:
        """Look until there is an answer; ``at_once`` if there may be one already.

        ResponderError when there will be none or the budget is over, ManusError when Manus refuses to be asked.
        """
        step = self._poll_seconds
        pause = 0 if at_once else step
        heard = asked.heard
        missing_since: datetime | None = None
        while True:
            before, heard = heard, await self._pause(asked.task, heard, pause)
            if heard != before:
                step = self._poll_seconds  # it stopped: what is not to be seen yet will be soon
            look = await self._look(asked, budget)
            if look and look.answer:
                return look.answer
            if look:
                missing_since = None if look.found else missing_since or self._clock.now()
            if missing_since and (self._clock.now() - missing_since).total_seconds() >= GRACE_SECONDS:
                raise _ghost() if asked.surely else unknown()
            if budget.left <= 0:
                raise budget.over()
            pause = min(step, max(budget.left, self._poll_seconds))
            step = self.longer(step)

    async def heard(self, task: str) -> frozenset[str]:
        """What Manus has said of a task so far."""
        return await self._stops.wait(task, frozenset(), 0) if self._stops else frozenset()

    async def place(self, call: str, patience: float) -> bool:
        """Wait until the call may be made; False if it may not within so many seconds."""
        return call not in self._places or await self._places[call].acquire(patience)

    def longer(self, pause: float) -> float:
        """The pause after this one."""
        return max(self._poll_seconds, min(pause * _PAUSE_GROWTH, _LONGEST_PAUSE))

    async def _pause(self, task: str, heard: frozenset[str], seconds: float) -> frozenset[str]:
        if seconds <= 0:
            return heard
        if self._stops is not None:
            return await self._stops.wait(task, heard, seconds)
        await self._clock.sleep(seconds)
        return heard

    async def _look(self, asked: Asked, budget: Budget) -> _Look | None:
        """None if there was no place for a look before the budget's end."""
        if not await self.place(LIST_MESSAGES, budget.left):
            return None
        try:
            events = [event for event in await self._api.list_messages(asked.task) if event.id not in asked.before]
            found, task_credits = asked.surely or bool(events), None
            status = status_in(events)
            if status is not None and status.agent_status == "stopped":
                if not await self.place(DETAIL, budget.left):
                    return None
                detail = await self._api.task_detail(asked.task)
                if detail.has_running_background_jobs is True:
                    return _Look(found)
                task_credits = detail.credit_usage
            text = answer_in(events)
        except ManusError as error:
            found = error.code != NOT_FOUND
            if error.permanent and found:
                raise
            return _Look(found)
        return _Look(found, Answer(text, task_credits) if text is not None else None)


def unknown() -> ResponderError:
    """Nobody can say whether a task was made or a message arrived."""
    return ResponderError(_("It is not known whether Manus was asked; it is not asked again."), ambiguous=True)


def _ghost() -> ResponderError:
    return ResponderError(_("Manus took the question, but its task does not exist (a ghost task)."))
