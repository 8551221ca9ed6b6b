"""The making of tasks: in the project or without one, and under whichever of the profile's names Manus takes."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from otvet.clock import Clock
from otvet.responders.base import Context
from otvet.responders.manus.api import INVALID_ARGUMENT, NOT_FOUND, ManusApi, ManusError
from otvet.responders.manus.project import Projects
from otvet.responders.manus.question import opening

ONE_WAY_SECONDS = 3600.0
"""A refusal does not say which argument is at fault. When Manus refused every way of asking, it was the text: for so
long the next one is asked in one way alone, because each try takes one of the few places a minute.
"""

# The names changed in 2026, and which of them an account takes is unverified.
_OTHER_NAME = {"lite": "manus-1.6-lite", "standard": "manus-1.6", "max": "manus-1.6-max"}
_OTHER_NAME |= {new: old for old, new in _OTHER_NAME.items()}

Place = Callable[[], Awaitable[None]]
"""Waits until a task may be made, and raises if that is too far away."""


class Maker:
    """Makes tasks.

    profile: Manus's agent profile, by the name that was taken last.
    has_made: Manus took the profile, so an argument that it refuses is most likely the text.
    """

    def __init__(self, api: ManusApi, clock: Clock, profile: str, projects: Projects | None) -> None:
        self.profile = profile
        self.has_made = False
        self._api = api
        self._clock = clock
        self._projects = projects
        self._one_way_until = float("-inf")

    async def project(self, context: Context) -> str | None:
        """The project with the turn's instructions, if there is one or one can be had."""
        return await self._projects.with_instruction(context.instructions) if self._projects else None

    async def make(self, context: Context, project: str | None, place: Place) -> str:
        """The id of a new task. ManusError; ``place`` is asked before each further try."""
        try:
            if project is None or self._projects is None:
                return await self._under_either_name(context, None, place)
            return await self._in_or_without(context, project, self._projects, place)
        except ManusError as error:
            if error.code == INVALID_ARGUMENT:
                self._keep_to_one_way()
            raise

    async def _in_or_without(self, context: Context, project: str, projects: Projects, place: Place) -> str:
        """A project is forgotten only when it is certain that Manus does not take it: none can be deleted."""
        try:
            return await self._under_either_name(replace(context, instructions=""), project, place)
        except ManusError as error:
            is_gone = error.code == NOT_FOUND
            if not is_gone and (error.code != INVALID_ARGUMENT or self._in_one_way):
                raise
        if is_gone:
            await projects.forget(context.instructions)
        await place()
        task = await self._under_either_name(context, None, place)
        if not is_gone:
            await projects.forget(context.instructions)
        return task

    async def _under_either_name(self, context: Context, project: str | None, place: Place) -> str:
        profile = self.profile  # of this try: another question may meanwhile find out what it is called
        other = None if self._in_one_way else _OTHER_NAME.get(profile)
        try:
            task = await self._create(profile, context, project)
        except ManusError as error:
            if error.code != INVALID_ARGUMENT or other is None:
                raise
            await place()
            profile, task = other, await self._create(other, context, project)
        self.profile, self.has_made = profile, True
        return task

    async def _create(self, profile: str, context: Context, project: str | None) -> str:
        title, locale = f"amoCRM {context.lead_id}", context.language
        return await self._api.create_task(
            opening(context), profile=profile, locale=locale, title=title, project_id=project
        )

    def _keep_to_one_way(self) -> None:
        if not self._in_one_way:
            self._one_way_until = self._clock.monotonic() + ONE_WAY_SECONDS
        if not self.has_made:  # it may be the name all the same: the next one is asked under the other
            self.profile = _OTHER_NAME.get(self.profile, self.profile)

    @property
    def _in_one_way(self) -> bool:
        return self._clock.monotonic() < self._one_way_until
