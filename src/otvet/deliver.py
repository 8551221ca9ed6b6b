"""A written reply to the deal: the last look, the note, and what becomes of it. Sending cannot be undone."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy.engine import Connection, Row

from otvet import conversations, gates, turns
from otvet.amocrm.client import AmoClient, AmoError
from otvet.clock import Clock
from otvet.database import Database
from otvet.i18n import N_, _

log = structlog.get_logger(__name__)

LATER = "later"
AGAIN = "again"  # the client wrote on: the reply is written anew
NOT_OURS = "not ours"
GIVE_UP_AFTER = timedelta(days=1)
STOP_SECONDS = 10.0
SURE_FOR_SECONDS = 10.0  # a process that hung longer than that may have lost the turn to another
TASK_WITHIN = timedelta(hours=1)

GAVE_UP = N_("amoCRM did not take the reply for a day: {reason}")
DISCONNECTED = N_("amoCRM is not connected any more; look into the deal whether the reply is there")
PERSON_WANTED = N_("The client asks for a person.\n\n{summary}")


@dataclass(frozen=True, slots=True)
class _Look:
    """What the last look found. verdict: how it ends without a call; None when the turn is to be sent now."""

    verdict: str | None
    turn: Row[Any] | None = None
    first_time: bool = False
    at: float = 0.0


class Delivery:
    """Brings replies into deals as notes. ``amocrm`` is None while no account is connected: they are kept then."""

    def __init__(
        self, database: Database, clock: Clock, amocrm: AmoClient | None, *, installation_name: str, me: str
    ) -> None:
        self._database = database
        self._clock = clock
        self._amocrm = amocrm
        self._installation_name = installation_name
        self._me = me
        self._on_their_way: set[asyncio.Task[int]] = set()
        self._taken = asyncio.Event()  # replaced whenever amoCRM takes a reply

    async def wait(self, seconds: float) -> None:
        """Until it is worth trying again: after ``seconds``, or as soon as amoCRM takes another reply."""
        waits = [asyncio.ensure_future(self._clock.sleep(seconds)), asyncio.ensure_future(self._taken.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()

    async def deliver(self, turn_id: int) -> str:
        """Gives the state that the turn is in then; LATER when it may work another time; AGAIN to write anew."""
        if self._amocrm is not None:
            await self._amocrm.place()  # before the last look: in a backlog this may take a while
        look = await self._database.write(lambda connection: self._last_look(connection, turn_id))
        if look.verdict is not None:
            return look.verdict
        assert look.turn is not None and self._amocrm is not None  # noqa: PT018 - without them there is a verdict
        try:
            return await self._send(look.turn, self._amocrm, first_time=look.first_time, began=look.at)
        except AmoError as error:
            return await self._not_delivered(turn_id, error)

    async def finish(self) -> None:
        """Before a stop: let the notes on their way arrive and be marked as sent."""
        deadline = self._clock.monotonic() + STOP_SECONDS
        while self._on_their_way and self._clock.monotonic() < deadline:
            await asyncio.wait(self._on_their_way, timeout=STOP_SECONDS)
            await self._clock.sleep(0.1)  # for the commit that follows

    def _last_look(self, connection: Connection, turn_id: int) -> "_Look":
        """All that decides whether it is sent now, in one commit right before it is."""
        now = self._clock.now()
        if turns.absorb_newer(connection, turn_id, self._me):
            log.info("the client wrote on; the reply is written anew", turn=turn_id)
            return _Look(AGAIN)
        if self._amocrm is None:
            return _Look(self._keep(connection, turn_id, now))
        if not gates.may_try(connection, gates.AMOCRM, now):
            return _Look(LATER)
        first_time = turns.commit_to_send(connection, turn_id, self._me, now)
        if not first_time:  # sent before a crash perhaps; or somebody took the conversation over meanwhile
            turns.hand_to_person(connection, turn_id, self._me, turns.PAUSED, now)
        turn = turns.get(connection, turn_id)
        if turn is None or turn.state != turns.SENDING or turn.owner != self._me:
            return _Look(turn.state if turn else NOT_OURS)
        return _Look(None, turn, first_time, self._clock.monotonic())

    def _keep(self, connection: Connection, turn_id: int, now: datetime) -> str:
        if turns.keep(connection, turn_id, self._me, now):
            self._pause_if_asked(connection, turn_id)
        elif not turns.hand_to_person(connection, turn_id, self._me, turns.PAUSED, now):
            turns.fail(connection, turn_id, self._me, _(DISCONNECTED), now)
        turn = turns.get(connection, turn_id)
        return str(turn.state) if turn else NOT_OURS

    async def _send(self, turn: Row[Any], amocrm: AmoClient, *, first_time: bool, began: float) -> str:
        marker = turns.marker(self._installation_name, turn.id)
        # After a crash or a time-out the note may be there already: amoCRM is asked before it is sent again.
        note_id = None if first_time else await amocrm.find_note(turn.amocrm_lead_id, marker)
        if note_id is None:
            if not first_time and self._taken_over(turn):
                return await self._cancel(turn.id)
            if self._clock.monotonic() - began > SURE_FOR_SECONDS and not await self._still_ours(turn.id):
                return NOT_OURS
            text = f"{turn.reply}\n\n[{marker}]"
            note_id = await self._write_note(amocrm, turn.amocrm_lead_id, text, has_place=first_time)
        if turn.summary is not None:
            await self._make_task(amocrm, turn, marker)
        await self._sent(turn, note_id)
        return turns.SENT

    async def _cancel(self, turn_id: int) -> str:
        now = self._clock.now()
        await self._database.write(lambda connection: turns.cancel_unsent(connection, turn_id, self._me, now))
        return turns.CANCELLED

    def _taken_over(self, turn: Row[Any]) -> bool:
        return not turn.forced and turn.paused_until is not None and turn.paused_until > self._clock.now()

    async def _still_ours(self, turn_id: int) -> bool:
        return await self._database.read(lambda connection: turns.owns(connection, turn_id, self._me))

    async def _write_note(self, amocrm: AmoClient, lead_id: int, text: str, *, has_place: bool) -> int:
        """What is on its way when the program is told to stop is waited for, not cut off."""
        sending = asyncio.create_task(amocrm.add_note(lead_id, text, has_place=has_place))
        self._on_their_way.add(sending)
        sending.add_done_callback(self._on_their_way.discard)
        return await asyncio.shield(sending)

    async def _sent(self, turn: Row[Any], note_id: int) -> None:
        def write(connection: Connection) -> bool:
            turns.mark_sent(connection, turn.id, self._me, note_id, self._clock.now())
            self._pause_if_asked(connection, turn.id)
            return gates.open_again(connection, gates.AMOCRM)

        if await self._database.write(write):
            log.info("amoCRM takes calls again")
        self._taken.set()
        self._taken = asyncio.Event()
        log.info("replied", turn=turn.id, lead=turn.amocrm_lead_id, responder=turn.responder, note=note_id)

    def _pause_if_asked(self, connection: Connection, turn_id: int) -> None:
        turn = turns.get(connection, turn_id)
        if turn is not None and turn.summary is not None:
            conversations.pause_for_client(connection, turn.conversation_id)

    async def _make_task(self, amocrm: AmoClient, turn: Row[Any], marker: str) -> None:
        """For the responsible user. It comes before the turn is closed, so that a crash does not lose it."""
        text = f"{_(PERSON_WANTED).format(summary=turn.summary)}\n\n[{marker}]"
        try:
            if await amocrm.find_task(turn.amocrm_lead_id, marker) is None:
                lead = await amocrm.lead(turn.amocrm_lead_id) or {}
                due = self._clock.now() + TASK_WITHIN
                await amocrm.add_task(turn.amocrm_lead_id, text, due, lead.get("responsible_user_id"))
        except AmoError as error:
            if not error.permanent:
                raise
            log.error("no task could be made for the person who is asked for", turn=turn.id, reason=str(error))

    async def _not_delivered(self, turn_id: int, error: AmoError) -> str:
        now = self._clock.now()
        log.warning("not delivered", turn=turn_id, reason=str(error), final=error.permanent)

        def write(connection: Connection) -> str:
            if error.reason in gates.LOOK_AGAIN:
                gates.close(connection, gates.AMOCRM, error.reason, str(error), now)
                return LATER
            turn = turns.get(connection, turn_id)
            if turn is None:
                return NOT_OURS
            if not error.permanent and now - turn.last_message_at < GIVE_UP_AFTER:
                return LATER
            reason = str(error) if error.permanent else _(GAVE_UP).format(reason=error)
            turns.fail(connection, turn_id, self._me, reason, now)
            return turns.FAILED

        return await self._database.write(write)
