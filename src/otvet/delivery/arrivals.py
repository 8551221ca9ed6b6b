"""Looks for replies that amoCRM took and did not report back: nobody can tell whether the client has them."""

from datetime import timedelta
from functools import partial

import structlog

from otvet.clock import Clock
from otvet.storage.database import Database
from otvet.turns import arrival

log = structlog.get_logger(__name__)

LOOKED_FOR = timedelta(days=1)  # an older reply is not looked for


class Arrivals:
    """Puts such replies on the operator's list. within: how long a reply may take to come back; zero: any time."""

    def __init__(self, database: Database, clock: Clock, within: timedelta) -> None:
        self._database = database
        self._clock = clock
        self._within = within
        self._began = clock.now()

    async def look(self) -> None:
        """Look once. One process runs this for all."""
        now = self._clock.now()
        # After a start, amoCRM first has time to repeat what it could not report.
        if not self._within or now - self._began < self._within:
            return
        unseen = partial(arrival.unseen, since=now - LOOKED_FOR, until=now - self._within)
        for turn_id in await self._database.read(unseen):
            if await self._database.write(partial(arrival.doubt, turn_id=turn_id, now=now)):
                log.warning("a reply has not come back; it cannot be told whether the client got it", turn=turn_id)
