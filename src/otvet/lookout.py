"""The lookout: sees by itself whether amoCRM takes calls again, so that a closed gate does not wait for a reply."""

from collections.abc import Callable
from functools import partial

import structlog
from sqlalchemy.engine import Connection

from otvet import gates
from otvet.amocrm.client import AmoClient, AmoError
from otvet.clock import Clock
from otvet.errors import OtvetError
from otvet.storage.database import Database
from otvet.turns import sending

log = structlog.get_logger(__name__)

LOOK_SECONDS = 15.0


class Lookout:
    """Looks after amoCRM's gate for this process. opened: told when the gate was opened, by whichever process."""

    def __init__(self, database: Database, clock: Clock, amocrm: AmoClient, opened: Callable[[], None]) -> None:
        self._database = database
        self._clock = clock
        self._amocrm = amocrm
        self._opened = opened
        self._was_closed = False

    async def run(self) -> None:
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except OtvetError as error:
                log.error("could not look whether amoCRM takes calls again", reason=str(error))
            except Exception:
                log.exception("looking whether amoCRM takes calls again failed; it is repeated")

    async def look(self) -> None:
        """Try a call if the gate is closed and it is time to; one process does so for all."""
        closed = await self._database.read(lambda connection: gates.closed(connection, gates.AMOCRM))
        if closed is None:
            if self._was_closed:
                self._was_closed = False
                self._opened()
            return
        self._was_closed = True
        now = self._clock.now()
        if await self._database.write(lambda connection: gates.may_look(connection, gates.AMOCRM, now)):
            await self._try()

    async def _try(self) -> None:
        try:
            await self._amocrm.account()
        except AmoError as error:
            log.warning("amoCRM does not take calls yet", reason=str(error))
            heed = partial(gates.heed, name=gates.AMOCRM, error=error, now=self._clock.now())
            await self._database.write(heed)
            return
        await self._database.write(_open_again)
        log.info("amoCRM takes calls again")
        self._was_closed = False
        self._opened()


def _open_again(connection: Connection) -> None:
    gates.open_again(connection, gates.AMOCRM)
    sending.outage_over(connection)
