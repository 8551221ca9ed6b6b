"""The task that tells staff of a hand-off: one in amoCRM for each chat where a person has to answer."""

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy.engine import Connection, Row

from otvet.amocrm.answers import AmoError
from otvet.amocrm.client import AmoClient
from otvet.clock import Clock
from otvet.conversations import history
from otvet.conversations.transcript import SENDERS, spoken
from otvet.i18n import N_, _, interface_language
from otvet.storage import outages
from otvet.storage.database import Database
from otvet.turns import handoffs, human_request
from otvet.turns.handoffs import Handoff, Question
from otvet.turns.policy import UNSURE_FOR, Policy
from otvet.turns.reasons import reason
from otvet.turns.turn import OPEN, Reason

log = structlog.get_logger(__name__)

DUE_WITHIN = timedelta(hours=1)
MOST_LOOKED_AT = 50
LAST_LINES = 5

WAITS = N_("A client waits for a manager's answer in the chat.")
ASKED = N_("Question: {question}\nWhy you: {why}")
LAST_SAID = N_("Last messages:\n{lines}")


class StaffTasks:
    """Makes the tasks of hand-offs, and adds further questions to them. Jobs of one process for all."""

    def __init__(
        self, database: Database, clock: Clock, amocrm: AmoClient | None, *, installation_name: str, policy: Policy
    ) -> None:
        self._database = database
        self._clock = clock
        self._amocrm = amocrm
        self._installation_name = installation_name
        self._policy = policy

    async def look(self) -> None:
        """Put questions that wait for too long on the list, and tell staff of all that is due."""
        now = self._clock.now()
        await self._database.write(lambda connection: handoffs.add_waiting(connection, now))
        if self._amocrm is None:
            return
        for one in await self._database.read(lambda connection: handoffs.to_tell(connection, now)):
            try:
                await self._tell(one, self._amocrm)
            except outages.Blocked:
                return
            except AmoError as error:
                await self._failed(one, error)

    async def look_at_completed(self) -> None:
        """Close the hand-offs whose task somebody has completed in amoCRM."""
        ids = await self._database.read(lambda connection: handoffs.with_task(connection, MOST_LOOKED_AT))
        if self._amocrm is None or not ids:
            return
        try:
            await outages.check(self._database)
            completed = await self._amocrm.completed_tasks(ids)
        except outages.Blocked:
            return
        except AmoError as error:
            await outages.heed(self._database, error, self._clock.now())
            log.warning("it could not be seen which tasks are completed", reason=str(error))
            return
        now = self._clock.now()
        await self._database.write(lambda connection: handoffs.close_completed(connection, completed, now))

    async def _tell(self, one: Handoff, amocrm: AmoClient) -> None:
        assert one.lead_id is not None
        lead_id = one.lead_id
        now = self._clock.now()
        if one.sent_attempt_at is not None and timedelta(0) <= now - one.sent_attempt_at < UNSURE_FOR:
            return  # an earlier call may still be carried out
        task_id = one.task_id
        if task_id is None and one.sent_attempt_at is not None:
            task_id = await amocrm.find_task(lead_id, self._marker(one))
        elif task_id is not None and await amocrm.completed_tasks([task_id], missing=True):
            task_id = None  # of the questions before
        text = await self._database.read(lambda connection: self._text(connection, one))
        lead = await amocrm.lead(lead_id) or {} if task_id is None else {}
        async with amocrm.slot() as slot:
            await outages.check(self._database)
            now = self._clock.now()
            if not await self._database.write(lambda connection: handoffs.announce(connection, one, now)):
                return  # it is told anew by the next look
            if task_id is None:
                due = self._policy.staff_from(now) + DUE_WITHIN
                task_id = await slot.add_task(lead_id, text, due, lead.get("responsible_user_id"))
            else:
                await slot.change_task(task_id, text)
        await self._database.write(lambda connection: handoffs.told(connection, one, task_id))
        log.info("staff are told of a hand-off", handoff=one.id, lead=lead_id, task=task_id)

    async def _failed(self, one: Handoff, error: AmoError) -> None:
        log.warning("no task for a hand-off", handoff=one.id, lead=one.lead_id, reason=str(error))
        now = self._clock.now()

        def write(connection: Connection) -> None:
            outages.begin_if_refused(connection, error, now)
            refusal = str(error) if error.permanent else None
            handoffs.not_told(connection, one, refusal, now, ambiguous=error.ambiguous)

        await self._database.write(write)

    def _marker(self, one: Handoff) -> str:
        """By this a task is found again whose making nobody saw the end of."""
        name = f"{self._installation_name}:handoff-{one.id}"
        return f"otvet:handoff-{one.id}-{hashlib.blake2s(name.encode(), digest_size=5).hexdigest()}"

    def _text(self, connection: Connection, one: Handoff) -> str:
        questions = handoffs.questions(connection, one.id)
        asked = [_asked(connection, question) for question in questions]
        said = questions[-1].summary if questions else None
        if said is None:
            lines = history.last_said(connection, one.conversation_id, one.chat_ref, LAST_LINES)
            said = "\n".join(f"{_(SENDERS[line.sender_type])}: {_in_short([line])}" for line in lines)
        return "\n\n".join((_(WAITS), *asked, _(LAST_SAID).format(lines=said), f"[{self._marker(one)}]"))


def _asked(connection: Connection, one: Question) -> str:
    """A question, and why the assistant does not answer it."""
    why = reason(Reason.WAITED if one.state in OPEN and one.summary is None else one.reason)
    return _(ASKED).format(question=_in_short(history.question(connection, one.turn_id)), why=why or "")


def _in_short(rows: Sequence[Row[Any]]) -> str:
    """Messages as one line."""
    said = (spoken(row.content, row.message_type, row.metadata, interface_language()) for row in rows)
    return human_request.cut(" / ".join(said))
