"""New tasks: in a project that holds the role text or without one, under the spelling of the profile that Manus takes.

A project cannot be changed over the API, so each role text has a project of its own.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol

import structlog

from otvet.clock import Clock
from otvet.responders.base import Context
from otvet.responders.manus.api import INVALID_ARGUMENT, NOT_FOUND, ManusApi, ManusError
from otvet.responders.manus.polling import RateLimit
from otvet.responders.manus.question import opening

log = structlog.get_logger(__name__)

ONE_WAY_SECONDS = 3600.0
"""How long new tasks are tried in one way only, after Manus refused a text in every way.

A refusal does not say which argument is at fault. When every way was refused it was the text, and each further try
uses one of the few calls that Manus allows a minute.
"""

PROJECT_SECONDS = 5.0  # the client waits for the reply, and it can be written without a project
PROJECT_PAUSE_SECONDS = 600.0  # after Manus did not create or take a project

# The names changed in 2026, and which of them an account takes is unverified.
_OTHER_NAME = {"lite": "manus-1.6-lite", "standard": "manus-1.6", "max": "manus-1.6-max"}
_OTHER_NAME |= {new: old for old, new in _OTHER_NAME.items()}

WaitForLimit = Callable[[], Awaitable[None]]
"""Waits until a task may be created; raises ResponderError if that is too far away."""


class KeyValues(Protocol):
    """Texts by name that all processes see and that survive a restart."""

    async def recall(self, name: str) -> str | None:
        """The text under a name, or None."""
        ...

    async def save(self, name: str, value: str) -> None:
        """Store a text in place of the one before; an empty text deletes the name."""
        ...


class Projects:
    """The projects of this installation, one for each role text, created when the text is first used.

    limit: how often all processes together may create one, so that a text that changes all the time cannot fill the
    account: projects cannot be deleted over the API.
    """

    def __init__(self, api: ManusApi, clock: Clock, ids: KeyValues, limit: RateLimit | None = None) -> None:
        self._api = api
        self._clock = clock
        self._ids = ids
        self._limit = limit
        self._lock = asyncio.Lock()
        self._pause_until = 0.0

    async def with_instruction(self, text: str) -> str | None:
        """The id of the project with this instruction; None if there is none and none can be created now."""
        if not text.strip() or self._is_paused:
            return None
        async with self._lock:
            return await self._ids.recall(self._name(text)) or await self._create(text)

    async def forget(self, text: str) -> None:
        """Manus refused this project; somebody may have deleted it. After a pause another one is created."""
        self._pause()
        await self._ids.save(self._name(text), "")

    async def _create(self, text: str) -> str | None:
        if self._is_paused or (self._limit and not await self._limit.acquire(0)):
            return None
        try:
            async with asyncio.timeout(PROJECT_SECONDS):
                project = await self._api.create_project(f"Otvet {digest(text)[:6]}", text.strip())
        except (ManusError, TimeoutError) as error:
            self._pause()
            log.warning("no Manus project; the role text goes into the message", reason=str(error) or "timeout")
            return None
        await self._ids.save(self._name(text), project)
        return project

    def _name(self, text: str) -> str:
        return f"manus_project.{self._api.account}.{digest(text)}"

    @property
    def _is_paused(self) -> bool:
        return self._clock.monotonic() < self._pause_until

    def _pause(self) -> None:
        self._pause_until = self._clock.monotonic() + PROJECT_PAUSE_SECONDS


class Tasks:
    """Creates tasks.

    profile: Manus's agent profile, in the spelling that Manus took last.
    has_created: Manus took the profile before, so a refused argument is most likely the text.
    """

    def __init__(self, api: ManusApi, clock: Clock, profile: str, projects: Projects | None) -> None:
        self.profile = profile
        self.has_created = False
        self._api = api
        self._clock = clock
        self._projects = projects
        self._one_way_until = float("-inf")

    async def project_for(self, context: Context) -> str | None:
        """The id of the project that holds the turn's instructions, or None."""
        return await self._projects.with_instruction(context.instructions) if self._projects else None

    async def create(self, context: Context, project: str | None, wait_for_limit: WaitForLimit) -> str:
        """Create a task and return its id; ``wait_for_limit`` is awaited before each try but the first. ManusError."""
        try:
            if project is None or self._projects is None:
                return await self._under_either_name(context, None, wait_for_limit)
            return await self._in_or_without(context, project, self._projects, wait_for_limit)
        except ManusError as error:
            if error.code == INVALID_ARGUMENT:
                self._keep_to_one_way()
            raise

    async def _in_or_without(
        self, context: Context, project: str, projects: Projects, wait_for_limit: WaitForLimit
    ) -> str:
        """A project is forgotten only when Manus certainly refuses it: projects cannot be deleted."""
        try:
            return await self._under_either_name(replace(context, instructions=""), project, wait_for_limit)
        except ManusError as error:
            is_gone = error.code == NOT_FOUND
            if not is_gone and (error.code != INVALID_ARGUMENT or self._is_one_way):
                raise
        if is_gone:
            await projects.forget(context.instructions)
        await wait_for_limit()
        task = await self._under_either_name(context, None, wait_for_limit)
        if not is_gone:
            await projects.forget(context.instructions)
        return task

    async def _under_either_name(self, context: Context, project: str | None, wait_for_limit: WaitForLimit) -> str:
        profile = self.profile  # of this try: another question may find out the other spelling meanwhile
        other = None if self._is_one_way else _OTHER_NAME.get(profile)
        try:
            task = await self._create(profile, context, project)
        except ManusError as error:
            if error.code != INVALID_ARGUMENT or other is None:
                raise
            await wait_for_limit()
            profile, task = other, await self._create(other, context, project)
        self.profile, self.has_created = profile, True
        return task

    async def _create(self, profile: str, context: Context, project: str | None) -> str:
        title, locale = f"amoCRM {context.lead_id}", context.language
        return await self._api.create_task(
            opening(context), profile=profile, locale=locale, title=title, project_id=project
        )

    def _keep_to_one_way(self) -> None:
        if not self._is_one_way:
            self._one_way_until = self._clock.monotonic() + ONE_WAY_SECONDS
        if not self.has_created:  # it may be the spelling after all, so the next task is tried under the other one
            self.profile = _OTHER_NAME.get(self.profile, self.profile)

    @property
    def _is_one_way(self) -> bool:
        return self._clock.monotonic() < self._one_way_until


def digest(text: str) -> str:
    """A short hash that tells one role text from another."""
    return hashlib.sha256(text.strip().encode()).hexdigest()[:12]
