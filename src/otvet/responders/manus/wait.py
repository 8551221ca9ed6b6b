"""Waiting for the answer of a Manus task: looks that grow rarer and keep to Manus's limits, until it has answered.

Where Manus calls our webhook, a look comes as soon as it says that the task stopped. That word only ends a pause: what
the answer is, and whether there is one, is read in the task's own events.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from otvet.clock import Clock
from otvet.i18n import _
from otvet.responders.base import NoVerdict, ResponderError
from otvet.responders.manus.answer import Ending, ending_in, status_in
from otvet.responders.manus.api import NOT_FOUND, ManusApi, ManusError
from otvet.responders.manus.events import Event, UserMessage

GRACE_SECONDS = 15
"""A new task that Manus does not show for so long is never shown (unverified; several clients saw it)."""

LIST_MESSAGES, DETAIL = "task.listMessages", "task.detail"

_LONGEST_PAUSE = 6.0
_PAUSE_GROWTH = 1.4
_DOUBT_SECONDS = 2.0
"""After so long an ending that may not be all is looked at once more (unverified: nobody says how long it takes)."""

_LAST_LOOK_SECONDS = 2.0  # before the budget's end
_LAST_LOOK_SHARE = 0.05  # of a short budget


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

    @property
    def until_last_look(self) -> float:
        """The last look begins before the end, so that it is over by then."""
        return max(round(self.left - min(_LAST_LOOK_SECONDS, self.seconds * _LAST_LOOK_SHARE), 3), 0)

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
    ending: Ending | None = None
    task_credits: int | None = None


class _NoPlace(Exception):
    """No further call may be made before the budget's end."""


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
        in_doubt = False
        while True:
            before, heard = heard, await self._pause(asked.task, heard, pause)
            if heard != before:
                step = self._poll_seconds  # it stopped: what is not to be seen yet will be soon
            look = await self._look(asked, budget)
            is_last = budget.until_last_look <= 0
            if look and look.ending and (look.ending.sure or in_doubt or is_last):
                return _answer(look.ending, look.task_credits)
            in_doubt = bool(look and look.ending)
            if look:
                missing_since = None if look.found else missing_since or self._clock.now()
                if missing_since and (self._clock.now() - missing_since).total_seconds() >= GRACE_SECONDS:
                    raise _ghost() if asked.surely else unknown()
            if is_last:
                raise budget.over()
            pause = min(step, _DOUBT_SECONDS if in_doubt else step, budget.until_last_look)
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
        """None if nothing was seen: there was no place for a look before the budget's end, or it failed in passing."""
        try:
            return await self._look_at(asked, budget)
        except _NoPlace:
            return None
        except ManusError as error:
            if error.code == NOT_FOUND:
                return _Look(found=False)
            if error.permanent:
                raise
            return None

    async def _look_at(self, asked: Asked, budget: Budget) -> _Look:
        events, is_listed = await self._since(asked, budget)
        if not (asked.surely or is_listed):
            return _Look(found=False)
        status, task_credits = status_in(events), None
        if status is not None and status.agent_status == "stopped":
            await self._take_place(DETAIL, budget)
            detail = await self._api.task_detail(asked.task)
            if detail.has_running_background_jobs is True:
                return _Look(found=True)
            task_credits = detail.credit_usage
            # The last job may have ended, and written the result, after the events were read.
            events, is_listed = await self._since(asked, budget)
        ending = ending_in(events)
        if ending and asked.before and not is_listed:
            ending = replace(ending, sure=False)  # perhaps it is what an earlier question still had to come
        return _Look(found=True, ending=ending, task_credits=task_credits)

    async def _since(self, asked: Asked, budget: Budget) -> tuple[Sequence[Event], bool]:
        """What came after the question, newest first, and whether the question itself is among the task's events.

        That it always is, is unverified. Where it is not, whatever is new counts.
        """
        await self._take_place(LIST_MESSAGES, budget)
        new = [event for event in await self._api.list_messages(asked.task) if event.id not in asked.before]
        place = next((place for place, event in enumerate(new) if isinstance(event, UserMessage)), None)
        return new[:place], place is not None

    async def _take_place(self, call: str, budget: Budget) -> None:
        if not await self.place(call, budget.left):
            raise _NoPlace


def _answer(ending: Ending, task_credits: int | None) -> Answer:
    if not ending.text:
        raise NoVerdict(_("Manus finished without an answer."))
    return Answer(ending.text, task_credits)


def unknown() -> ResponderError:
    """Nobody can say whether a task was made or a message arrived."""
    return ResponderError(_("It is not known whether Manus was asked; it is not asked again."), ambiguous=True)


def _ghost() -> ResponderError:
    return ResponderError(_("Manus took the question, but its task does not exist (a ghost task)."))
