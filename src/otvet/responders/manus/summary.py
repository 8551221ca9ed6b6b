"""Summaries written by Manus, each in a hidden task of its own that is deleted afterwards.

The conversation's task is left alone: what was asked and answered there would pass for a part of the conversation.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from otvet.clock import Clock
from otvet.errors import ServiceError
from otvet.i18n import _
from otvet.responders.base import Journal, Line, NoVerdict, Reply, ResponderError
from otvet.responders.manus.api import ManusApi, ManusError, TaskDetail
from otvet.responders.manus.wait import DETAIL, Asked, Budget, Places, Stops, Watch
from otvet.responders.markdown import plain_text
from otvet.responders.prompt import TOKEN_LIMIT, TOKENIZER
from otvet.responders.prompt_parts import escape_for_prompt, shortened, summary_prompt

TITLE = "Otvet: summary"

_ALONE = (
    "Do not browse, search, create files, run code, use connectors or skills, ask questions or for permissions, "
    "narrate what you do, or say what tool you are."
)
_BEFORE_CHARACTERS = 700  # of the summary so far: Manus takes little more than 2,000 Cyrillic letters in all
_LINE_CHARACTERS = (1000, 400, 200, 100, 60, 40)  # the first at which all messages get in; each is cut there

_CREATE = "task.create"
_AFTERWARDS_SECONDS = 10.0  # for each call when it is over; nobody waits for the summary

T = TypeVar("T")


class ManusSummarizer:
    """A Summarizer that asks Manus.

    profile: gives Manus's agent profile, by the name that it took last.
    budget_seconds: the time for one summary.
    poll_seconds, places, stops: as for ManusResponder.

    The facts it leaves in the journal: ``asking`` while a call is under way whose loss would leave it unknown whether
    Manus was asked; ``task``, also when it is deleted; and ``credits``, what was spent without a summary.
    """

    name = "manus"

    def __init__(
        self,
        api: ManusApi,
        clock: Clock,
        *,
        profile: Callable[[], str],
        budget_seconds: float = 90,
        poll_seconds: float = 2.0,
        places: Mapping[str, Places] | None = None,
        stops: Stops | None = None,
    ) -> None:
        self._api = api
        self._clock = clock
        self._profile = profile
        self._budget = budget_seconds
        self._watch = Watch(api, clock, poll_seconds, places or {}, stops)

    async def summarise(self, lines: Sequence[Line], before: str, language: str, journal: Journal) -> Reply:
        """See Summarizer. Only if a task may be made at once: the places there are belong to the clients' questions."""
        if not await self._watch.place(_CREATE, 0):
            raise NoVerdict(_("Manus is asked as often as it allows; clients' questions go before summaries."))
        try:
            task = await self._create(compose(lines, before, language), language, journal)
            return await self._summary_in(task, journal)
        except ManusError as error:
            raise ResponderError(
                str(error), permanent=error.permanent, ambiguous=error.ambiguous, status=error.status
            ) from error

    async def _create(self, content: str, language: str, journal: Journal) -> str:
        await journal.remember(asking="create")
        try:
            task = await self._api.create_task(content, profile=self._profile(), locale=language, title=TITLE)
        except ManusError as error:
            if not error.ambiguous:
                await journal.remember(asking=None)
            raise
        await journal.remember(asking=None, task=task)
        return task

    async def _summary_in(self, task: str, journal: Journal) -> Reply:
        budget = Budget(self._clock, self._clock.now(), self._budget)
        text = ""
        failure: ServiceError = NoVerdict(_("Manus finished without a summary."))
        try:
            async with asyncio.timeout(budget.left):
                text = plain_text((await self._watch.answer(Asked(task), budget, at_once=False)).text).strip()
        except TimeoutError:
            failure = budget.over()
        except (ManusError, ResponderError) as error:
            failure = error
        detail = await self._be_done_with(task)
        credits = {} if detail is None or detail.credit_usage is None else {"credits": detail.credit_usage}
        if text and detail and detail.status == "stopped":  # else it may be a question of Manus's
            return Reply(text, self.name, self._profile(), {"task_id": task, **credits})
        await journal.remember(**credits)
        raise failure

    async def _be_done_with(self, task: str) -> TaskDetail | None:
        """Leave nothing of it at Manus. Gives how it ended and what it cost, if Manus says so."""
        detail = await self._at_last(self._detail(task))
        if detail is None or detail.status != "stopped":
            await self._at_last(self._api.stop_task(task))
        await self._at_last(self._api.delete_task(task))
        return detail

    async def _detail(self, task: str) -> TaskDetail | None:
        return await self._api.task_detail(task) if await self._watch.place(DETAIL, _AFTERWARDS_SECONDS) else None

    async def _at_last(self, call: Awaitable[T]) -> T | None:
        with contextlib.suppress(ManusError, TimeoutError):
            async with asyncio.timeout(_AFTERWARDS_SECONDS):
                return await call
        return None


def compose(lines: Sequence[Line], before: str, language: str) -> str:
    """The one message of the task, within what Manus takes: long messages are cut, and then the oldest left out."""
    parts = [f"{summary_prompt(language)} {_ALONE}"]
    if before.strip():
        parts.append(f"<summary>\n{escape_for_prompt(shortened(before, _BEFORE_CHARACTERS))}\n</summary>")
    frame = "\n\n".join([*parts, "<conversation>\n{record}\n</conversation>"])
    return frame.replace("{record}", _record(lines, TOKEN_LIMIT - TOKENIZER.count(frame)))


def _record(lines: Sequence[Line], room: float) -> str:
    kept: list[str] = []
    for characters in _LINE_CHARACTERS:
        told = [_told(line, characters) for line in lines]
        kept = _newest(told, room)
        if len(kept) == len(told):
            break
    return "\n".join(kept)


def _newest(told: Sequence[str], room: float) -> list[str]:
    kept: list[str] = []
    for text in reversed(told):
        room -= TOKENIZER.count(f"{text}\n")
        if room < 0:
            break
        kept.insert(0, text)
    return kept


def _told(line: Line, characters: int) -> str:
    """On one line, so that no message can look like another one's beginning."""
    return escape_for_prompt(f"{line.sender}: {shortened(line.text, characters)}")
