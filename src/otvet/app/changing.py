"""Has a running server take up changed settings: those kept on the pages, in whichever process, and those of ``.env``.

The database stays, and with it everything that only stores: a delivery that comes meanwhile is stored as ever. The
other parts are stopped as at the end of the process, made anew and started, and the open turns are taken up again.
"""

import asyncio
import contextlib
from collections.abc import Callable
from copy import copy

import structlog

from otvet.app import in_force
from otvet.app.in_force import InForce
from otvet.app.service import Service
from otvet.app.wiring import parts
from otvet.errors import StorageError
from otvet.users import kept_settings

log = structlog.get_logger(__name__)

LOOK_SECONDS = 2.0
AGAIN_SECONDS = 5.0
PATIENCE_SECONDS = 30.0  # calls in flight are waited for before; after this time something is wrong


class Changing:
    """Looks at the revision of the kept settings. renewed: called when the service has new parts."""

    def __init__(self, service: Service, renewed: Callable[[], None]) -> None:
        self._service = service
        self._renewed = renewed
        self._at_work = True
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End, after a change that is under way: a service is stopped whole or not at all."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            changed = self._service.settings_changed
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await changed.wait()
            changed.clear()
            work = asyncio.create_task(self._look())
            try:
                await asyncio.shield(work)
            except asyncio.CancelledError:
                await work
                raise
            except StorageError:
                pass  # the next look finds the change
            except Exception:
                log.exception("changed settings could not be taken up; this is tried again")
                await asyncio.sleep(AGAIN_SECONDS)

    async def _look(self) -> None:
        database = self._service.database
        revision = await database.read(kept_settings.revision)
        if revision == self._service.revision:  # which is empty at first, so that the first look compares
            return
        given = in_force.anew(self._service.in_force.given)
        found = await database.read(lambda connection: in_force.read(connection, given))
        await self._take_up(found)
        self._service.revision = revision

    async def _take_up(self, found: InForce) -> None:
        service = self._service
        before, now = service.settings.model_dump(), found.settings.model_dump()
        names = sorted(name for name in now if now[name] != before[name])
        was_fixed, is_fixed = service.in_force.is_fixed(kept_settings.MODE), found.is_fixed(kept_settings.MODE)
        # The mode kept in the database is asked for at every decision: for it nothing has to be made anew.
        of_mode_alone = not names or (names == [kept_settings.MODE] and not is_fixed)
        if self._at_work and of_mode_alone and was_fixed == is_fixed:
            service.in_force, service.settings = found, found.settings
            return
        log.info("settings have changed: the parts are made anew", settings=names)
        if self._at_work:
            self._at_work = False
            service.changing_until = service.clock.monotonic() + PATIENCE_SECONDS
            await service.stop_work()
        try:
            new = await asyncio.to_thread(self._make, found)
        except Exception:
            log.exception("the changed settings cannot be used; those of before hold")
            new = await asyncio.to_thread(self._make, service.in_force)
        await new.start()
        old = copy(service)
        service.take_over(new)
        self._at_work, service.changing_until = True, 0.0
        self._renewed()
        await old.close_calls()

    def _make(self, found: InForce) -> Service:
        service = self._service
        return parts(found, service.clock, service.database, service.lock)
