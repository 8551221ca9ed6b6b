"""The task for the deal's responsible user when staff are needed besides the reply."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import structlog

from otvet.amocrm.answers import AmoError
from otvet.amocrm.client import AmoClient
from otvet.amocrm.texts import storable
from otvet.clock import Clock
from otvet.i18n import N_, _
from otvet.storage import outages
from otvet.storage.database import Database
from otvet.turns import changes
from otvet.turns.policy import Policy
from otvet.turns.turn import Turn, Writer

log = structlog.get_logger(__name__)

DUE_WITHIN = timedelta(hours=1)

TEXTS: Mapping[str, str] = {
    Writer.HUMAN_REQUEST: N_("The client asks for a person.\n\n{summary}"),
    Writer.HOURS: N_("The client wrote out of working hours.\n\n{summary}"),
}
PROMISED = N_("The client was promised an answer by a manager.\n\n{summary}")


class StaffTask:
    """Makes tasks, in the process ``me``."""

    def __init__(self, database: Database, clock: Clock, amocrm: AmoClient, me: str, policy: Policy) -> None:
        self._database = database
        self._clock = clock
        self._amocrm = amocrm
        self._me = me
        self._policy = policy

    async def make(self, turn: Turn, note_id: int | None, marker: str) -> bool:
        """Make the task unless it exists; False if the turn is not ours any more.

        Made before the turn is closed, so that a crash does not lose it. note_id: the turn's note, which is stored
        first. marker: finds the task again.
        """
        sentence = _(TEXTS.get(turn.responder or "", PROMISED))
        text = f"{storable(sentence.format(summary=turn.summary))}\n\n[{marker}]"
        try:
            if turn.note_id is None and not await self._note(turn, note_id=note_id):
                return False
            if await self._amocrm.find_task(turn.deal, marker) is not None:
                return True
            lead = await self._amocrm.lead(turn.deal) or {}
            async with self._amocrm.slot() as slot:
                await outages.check(self._database)
                now = self._clock.now()
                if not await self._note(turn, sent_attempt_at=now):
                    return False
                due = self._policy.staff_from(now) + DUE_WITHIN
                await slot.add_task(turn.deal, text, due, lead.get("responsible_user_id"))
        except AmoError as error:
            if not error.permanent:
                raise
            log.error("no task could be made for the staff", turn=turn.id, reason=str(error))
        return True

    async def _note(self, turn: Turn, **values: Any) -> bool:
        return await self._database.write(lambda connection: changes.note(connection, turn, self._me, **values))
