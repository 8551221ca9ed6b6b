"""Tries whether amoCRM takes calls again, so that an outage ends without waiting for the next reply."""

from collections.abc import Awaitable, Callable
from functools import partial

import structlog
from sqlalchemy.engine import Connection

from otvet.amocrm.answers import AmoError
from otvet.amocrm.client import AmoClient
from otvet.clock import Clock
from otvet.storage import outages
from otvet.storage.database import Database
from otvet.storage.outages import Outage
from otvet.turns import changes

log = structlog.get_logger(__name__)


class OutageProbe:
    """Ends an outage. opened: called in each process after any process has ended the outage."""

    def __init__(
        self, database: Database, clock: Clock, amocrm: AmoClient, opened: Callable[[], Awaitable[None]]
    ) -> None:
        self._database = database
        self._clock = clock
        self._amocrm = amocrm
        self._opened = opened
        self._was_closed = False

    async def look(self) -> None:
        """In an outage whose pause is over, try a call. One process runs this for all."""
        await self.notice()
        now = self._clock.now()
        outage = await self._database.read(lambda connection: outages.current(connection))
        if outage is not None and await self._database.write(partial(outages.claim_probe, now=now)):
            await self._try(outage)

    async def notice(self) -> None:
        """Tell this process when the outage has ended.

        For every process: the replies that wait are in its memory.
        """
        closed = await self._database.read(lambda connection: outages.current(connection))
        was_closed, self._was_closed = self._was_closed, closed is not None
        if was_closed and closed is None:
            await self._opened()

    async def _try(self, outage: Outage) -> None:
        try:
            await self._amocrm.account()
            if outage.reason == "scope":  # such a token may well open the account
                await self._amocrm.sees_deals()
        except AmoError as error:
            log.warning("amoCRM does not take calls yet", reason=str(error))
            await outages.heed(self._database, error, self._clock.now())
            return
        await self._database.write(_open_again)
        log.info("amoCRM takes calls again")
        self._was_closed = False
        await self._opened()


def _open_again(connection: Connection) -> None:
    outages.end(connection)
    changes.outage_over(connection)
