"""Manus projects: the role text stands in a project's instruction, and is no part of every task's first message.

A project cannot be changed over the API, so each text has a project of its own.
"""

import asyncio
import hashlib
from typing import Protocol

import structlog

from otvet.clock import Clock
from otvet.responders.manus.api import ManusApi, ManusError
from otvet.responders.manus.wait import Places

log = structlog.get_logger(__name__)

PATIENCE_SECONDS = 5.0  # a client waits for the reply; without a project it is written too
PAUSE_SECONDS = 600.0  # after Manus did not make or take one


class Kept(Protocol):
    """Small facts about this installation that all its processes see and that survive a restart."""

    async def recall(self, name: str) -> str | None:
        """The value under a name, or None."""
        ...

    async def keep(self, name: str, value: str) -> None:
        """Put a value in place of the one before; an empty one stands for none."""
        ...


class Projects:
    """The projects of this installation, each made when its text is first needed.

    place: how often one may be made by all processes together, so that a text that never stays the same does not fill
    the account with projects.
    """

    def __init__(self, api: ManusApi, clock: Clock, kept: Kept, place: Places | None = None) -> None:
        self._api = api
        self._clock = clock
        self._kept = kept
        self._place = place
        self._one_at_a_time = asyncio.Lock()
        self._pause_until = 0.0

    async def with_instruction(self, text: str) -> str | None:
        """The id of the project with this instruction; None if there is none and none can be had now."""
        if not text.strip() or self._clock.monotonic() < self._pause_until:
            return None
        async with self._one_at_a_time:
            return await self._kept.recall(self._name(text)) or await self._make(text)

    async def forget(self, text: str) -> None:
        """Manus does not take this project: somebody may have deleted it. After a pause another one is made."""
        self._rest()
        await self._kept.keep(self._name(text), "")

    async def _make(self, text: str) -> str | None:
        if self._clock.monotonic() < self._pause_until or (self._place and not await self._place.acquire(0)):
            return None
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                project = await self._api.create_project(f"Otvet {digest(text)[:6]}", text.strip())
        except (ManusError, TimeoutError) as error:
            self._rest()
            log.warning("no Manus project; the role text goes into the message", reason=str(error) or "timeout")
            return None
        await self._kept.keep(self._name(text), project)
        return project

    def _name(self, text: str) -> str:
        return f"manus_project.{self._api.account}.{digest(text)}"

    def _rest(self) -> None:
        self._pause_until = self._clock.monotonic() + PAUSE_SECONDS


def digest(text: str) -> str:
    """What tells one role text from another."""
    return hashlib.sha256(text.strip().encode()).hexdigest()[:12]
