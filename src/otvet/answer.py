"""The answer to one turn, from the quiet period to its closing: the heart of the program.

Every step can be cut off by a crash at any point and is then carried out again: what it does is decided by the
turn's state in the database, and each change of state is made by one call only.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy.engine import Connection

from otvet import context, tries, turns
from otvet.amocrm.client import AmoClient, AmoError
from otvet.clock import Clock
from otvet.database import Database
from otvet.engine import Engine
from otvet.i18n import N_
from otvet.responders.base import Context, Reply, Responder, ResponderError

log = structlog.get_logger(__name__)

LATER = "later"
FIRST_WAIT_SECONDS = 5.0
LONGEST_WAIT_SECONDS = 900.0
GIVE_UP_AFTER = timedelta(days=1)
STOP_SECONDS = 10.0
LOOK_AGAIN_SECONDS = 5.0  # for a turn that another one of its conversation keeps waiting

GAVE_UP = N_("amoCRM did not take the reply for a day: {reason}")
UNCLEAR = N_("amoCRM was disconnected while the reply was being sent; look into the deal whether it is there")


class Answering:
    """Answers turns. ``amocrm`` is None while no account is connected: replies are then kept, not sent."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        engine: Engine,
        responders: Sequence[Responder],
        amocrm: AmoClient | None,
        *,
        installation_name: str,
        quiet: timedelta,
        quiet_max: timedelta,
        history_messages: int,
    ) -> None:
        self._database = database
        self._clock = clock
        self._engine = engine
        self._responders = responders
        self._amocrm = amocrm
        self._installation_name = installation_name
        self._quiet = quiet
        self._quiet_max = quiet_max
        self._history_messages = history_messages
        self._closed: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self._sending: set[asyncio.Task[int]] = set()
        self.active: set[int] = set()

    async def answer(self, turn_id: int) -> str:
        """The workflow: the life of one turn. Gives the state it ended in."""
        self.active.add(turn_id)
        try:
            await self._wait_for_quiet(turn_id)
            await self._wait_for_place(turn_id)
            await self._engine.step("write", self._write, turn_id)
            wait = FIRST_WAIT_SECONDS
            while (state := await self._engine.step("deliver", self._deliver, turn_id)) == LATER:
                await self._clock.sleep(wait)
                wait = min(wait * 2, LONGEST_WAIT_SECONDS)
            await self._let_the_next_one_in(turn_id)
            return state
        finally:
            self.active.discard(turn_id)

    async def _wait_for_quiet(self, turn_id: int) -> None:
        """Until the client has been silent for a while, or has waited long enough. What counts is in the database."""
        while (seconds := await self._database.read(lambda connection: self._seconds_left(connection, turn_id))) > 0:
            await self._clock.sleep(seconds)

    def _seconds_left(self, connection: Connection, turn_id: int) -> float:
        turn = turns.get(connection, turn_id)
        if turn is None or turn.state != turns.WAITING:
            return 0
        due = min(turn.last_message_at + self._quiet, turn.first_message_at + self._quiet_max)
        # The clock may have been set back since: no turn waits longer than the longest quiet period.
        return float(min(due - self._clock.now(), self._quiet_max).total_seconds())

    async def _wait_for_place(self, turn_id: int) -> None:
        """Until no other turn of the conversation is in hand."""
        while not await self._database.write(lambda connection: turns.take(connection, turn_id)):
            turn = await self._database.read(lambda connection: turns.get(connection, turn_id))
            if turn is None:
                return  # joined to another one
            try:
                await asyncio.wait_for(self._closed[turn.conversation_id].wait(), LOOK_AGAIN_SECONDS)
            except TimeoutError:
                continue  # another process may have closed it

    async def _let_the_next_one_in(self, turn_id: int) -> None:
        turn = await self._database.read(lambda connection: turns.get(connection, turn_id))
        if turn is not None and turn.conversation_id in self._closed:
            self._closed.pop(turn.conversation_id).set()

    async def _write(self, turn_id: int) -> str:
        """Have the reply written, and keep it with the turn."""
        turn = await self._database.read(lambda connection: turns.get(connection, turn_id))
        if turn is None or turn.state != turns.ANSWERING or turn.reply is not None:
            return turn.state if turn else "gone"
        gathered = await self._database.read(
            lambda connection: context.build(connection, turn_id, self._history_messages)
        )
        await self._ask(gathered)
        return turns.ANSWERING

    async def _ask(self, gathered: Context) -> None:
        """Ask one responder after the other; the last one always has a reply."""
        for responder in self._responders:
            now = self._clock.now()
            one = await tries.begin(self._database, gathered.turn_id, gathered.conversation_id, responder.name, now)
            if one.ended:  # before a crash
                continue
            try:
                reply = await responder.reply(gathered, one)
            except ResponderError as error:
                outcome = str(error)
                log.info("no reply", turn=gathered.turn_id, responder=responder.name, reason=outcome)
            except Exception as error:
                outcome = f"unexpected: {type(error).__name__}"
                log.exception("a responder failed", turn=gathered.turn_id, responder=responder.name)
            else:
                await self._write_down(gathered.turn_id, one.id, reply)
                return
            await self._end_try(one.id, outcome)
        raise RuntimeError("no responder had a reply, although the last one always should")

    async def _end_try(self, try_id: int, outcome: str) -> None:
        await self._database.write(lambda connection: tries.end(connection, try_id, outcome, self._clock.now()))

    async def _write_down(self, turn_id: int, try_id: int, reply: Reply) -> None:
        def write(connection: Connection) -> None:
            tries.end(connection, try_id, tries.REPLIED, self._clock.now())
            turns.write_down(connection, turn_id, reply)

        await self._database.write(write)

    async def _deliver(self, turn_id: int) -> str:
        """Bring the reply to the deal; LATER when that may work another time."""
        now = self._clock.now()
        if self._amocrm is None:
            return await self._keep(turn_id, now)
        first_time = await self._database.write(lambda connection: turns.commit_to_send(connection, turn_id, now))
        turn = await self._database.read(lambda connection: turns.get(connection, turn_id))
        if turn is None or turn.state != turns.SENDING:
            return turn.state if turn else "gone"
        marker = turns.marker(self._installation_name, turn_id)
        try:
            # After a crash or a time-out the note may be there already: amoCRM is asked before it is sent again.
            note_id = None if first_time else await self._amocrm.find_note(turn.amocrm_lead_id, marker)
            if note_id is None:
                note_id = await self._send(turn.amocrm_lead_id, f"{turn.reply}\n\n[{marker}]")
        except AmoError as error:
            return await self._not_delivered(turn_id, error, waited=now - turn.last_message_at)
        sent = note_id
        await self._database.write(lambda connection: turns.mark_sent(connection, turn_id, sent, self._clock.now()))
        log.info("replied", turn=turn_id, lead=turn.amocrm_lead_id, responder=turn.responder, note=note_id)
        return turns.SENT

    async def _send(self, lead_id: int, text: str) -> int:
        """Write the note. What is on its way when the program is told to stop is waited for, not cut off."""
        assert self._amocrm is not None
        sending = asyncio.create_task(self._amocrm.add_note(lead_id, text))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)
        return await asyncio.shield(sending)

    async def finish_sending(self) -> None:
        """Before a stop: let the notes on their way arrive and be marked as sent."""
        deadline = self._clock.monotonic() + STOP_SECONDS
        while self._sending and self._clock.monotonic() < deadline:
            await asyncio.wait(self._sending, timeout=STOP_SECONDS)
            await self._clock.sleep(0.1)  # for the commit that follows

    async def _keep(self, turn_id: int, now: datetime) -> str:
        def write(connection: Connection) -> str:
            if turns.keep(connection, turn_id, now):
                return turns.KEPT
            turns.fail(connection, turn_id, UNCLEAR, now)
            return turns.FAILED

        return await self._database.write(write)

    async def _not_delivered(self, turn_id: int, error: AmoError, waited: timedelta) -> str:
        log.warning("not delivered", turn=turn_id, reason=str(error), final=error.permanent)
        if not error.permanent and waited < GIVE_UP_AFTER:
            return LATER
        reason = str(error) if error.permanent else GAVE_UP.format(reason=error)
        await self._database.write(lambda connection: turns.fail(connection, turn_id, reason, self._clock.now()))
        return turns.FAILED
