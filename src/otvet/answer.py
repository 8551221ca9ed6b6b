"""The answer to one turn, from the quiet period to its closing: the heart of the program.

Every step can be cut off by a crash at any point and is then carried out again: what it does is decided by the
turn's state in the database, and each change of state is made by one call only, of the process that owns the turn.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy.engine import Connection

from otvet import context, handover, tries, turns
from otvet.clock import Clock
from otvet.database import Database
from otvet.deliver import LATER, Delivery
from otvet.engine import Engine
from otvet.responders.base import Context, Reply, Responder, ResponderError

log = structlog.get_logger(__name__)

AGAIN = "again"  # the client wrote on: the reply is written anew
NOT_OURS = "not ours"
FIRST_WAIT_SECONDS = 5.0
LONGEST_WAIT_SECONDS = 900.0
LOOK_AGAIN_SECONDS = 5.0  # for a turn that another one of its conversation keeps waiting
A_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the user set of when to answer.

    quiet, quiet_max: a reply is written after such a silence, but no later than that after the first message.
    stale: what the client said longer ago than that is left to a person.
    replies_a_day: the ceiling for one conversation, so that two bots do not talk to each other for ever.
    """

    quiet: timedelta = timedelta(seconds=3)
    quiet_max: timedelta = timedelta(seconds=15)
    stale: timedelta = timedelta(minutes=60)
    replies_a_day: int = 50
    history_messages: int = 60
    person_phrases: str = handover.PHRASES


class Answering:
    """Answers turns, as the process ``me``."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        engine: Engine,
        responders: Sequence[Responder],
        delivery: Delivery,
        rules: Rules,
        me: str,
    ) -> None:
        self._database = database
        self._clock = clock
        self._engine = engine
        self._responders = responders
        self._delivery = delivery
        self._rules = rules
        self._me = me
        self._closed: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self.active: set[int] = set()

    async def answer(self, turn_id: int) -> str:
        """The workflow: the life of one turn. Gives the state it ended in."""
        if turn_id in self.active or not await self._claim(turn_id):
            return NOT_OURS
        self.active.add(turn_id)
        try:
            state = AGAIN
            while state == AGAIN:
                await self._wait_for_quiet(turn_id)
                await self._wait_for_place(turn_id)
                await self._engine.step("write", self._write, turn_id)
                state = await self._deliver_in_time(turn_id)
            await self._let_the_next_one_in(turn_id)
            return state
        finally:
            self.active.discard(turn_id)

    async def _claim(self, turn_id: int) -> bool:
        now = self._clock.now()
        return await self._database.write(lambda connection: turns.claim(connection, turn_id, self._me, now))

    async def _wait_for_quiet(self, turn_id: int) -> None:
        """Until the client has been silent for a while, or has waited long enough. What counts is in the database."""
        while (seconds := await self._database.read(lambda connection: self._seconds_left(connection, turn_id))) > 0:
            await self._clock.sleep(seconds)

    def _seconds_left(self, connection: Connection, turn_id: int) -> float:
        turn = turns.get(connection, turn_id)
        if turn is None or turn.reply is not None or turn.state not in (turns.WAITING, turns.ANSWERING):
            return 0
        due = min(turn.last_message_at + self._rules.quiet, turn.first_message_at + self._rules.quiet_max)
        # The clock may have been set back since: no turn waits longer than the longest quiet period.
        return float(min(due - self._clock.now(), self._rules.quiet_max).total_seconds())

    async def _wait_for_place(self, turn_id: int) -> None:
        """Until no other turn of the conversation is in hand."""
        while not await self._database.write(lambda connection: turns.take(connection, turn_id, self._me)):
            turn = await self._database.read(lambda connection: turns.get(connection, turn_id))
            if turn is None:
                return  # joined to the one in hand
            try:
                await asyncio.wait_for(self._closed[turn.conversation_id].wait(), LOOK_AGAIN_SECONDS)
            except TimeoutError:
                continue  # another process may have closed it

    async def _let_the_next_one_in(self, turn_id: int) -> None:
        turn = await self._database.read(lambda connection: turns.get(connection, turn_id))
        if turn is not None and turn.conversation_id in self._closed:
            self._closed.pop(turn.conversation_id).set()

    async def _write(self, turn_id: int) -> str:
        """Have the reply written, and keep it with the turn; or leave the turn to a person."""
        reason = await self._database.write(lambda connection: self._leave_to_person(connection, turn_id))
        if reason is not None:
            log.info("left to a person", turn=turn_id, reason=reason)
            return turns.HANDED
        turn = await self._database.read(lambda connection: turns.get(connection, turn_id))
        if turn is None or turn.state != turns.ANSWERING or turn.owner != self._me or turn.reply is not None:
            return turn.state if turn else "gone"
        gathered = await self._database.read(
            lambda connection: context.build(connection, turn_id, self._rules.history_messages)
        )
        if handover.asks_for_person(gathered.question, self._rules.person_phrases):
            await self._pass_on(gathered)
        else:
            await self._ask(gathered, turn.redrafts)
        return turns.ANSWERING

    def _leave_to_person(self, connection: Connection, turn_id: int) -> str | None:
        """The reason why nothing is answered here, if there is one; the turn is then on the operator's list."""
        now = self._clock.now()
        turn = turns.get(connection, turn_id)
        if turn is None or turn.state != turns.ANSWERING or turn.reply is not None or turn.forced:
            return None
        reason = None
        if turn.paused_until is not None and turn.paused_until > now:
            reason = turns.PAUSED
        elif turns.too_old(turns.said_at(connection, turn_id), now, self._rules.stale):
            reason = turns.STALE
        elif turns.replies_since(connection, turn.conversation_id, now - A_DAY) >= self._rules.replies_a_day:
            reason = turns.CEILING
        if reason is not None and turns.hand_to_person(connection, turn_id, self._me, reason, now):
            return reason
        return None

    async def _pass_on(self, gathered: Context) -> None:
        """The client wants a person: say so, keep why, and keep still from now on."""
        told = handover.reply(gathered)
        brief = handover.summary(gathered)

        def write(connection: Connection) -> None:
            if turns.write_down(connection, gathered.turn_id, self._me, told):
                turns.ask_for_person(connection, gathered.turn_id, brief)

        await self._database.write(write)

    async def _ask(self, gathered: Context, draft: int) -> None:
        """Ask one responder after the other; the last one always has a reply."""
        for responder in self._responders:
            one = await tries.begin(
                self._database,
                gathered.turn_id,
                draft,
                gathered.conversation_id,
                responder.name,
                self._clock.now(),
            )
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
            turns.write_down(connection, turn_id, self._me, reply)

        await self._database.write(write)

    async def _deliver_in_time(self, turn_id: int) -> str:
        """Deliver, now or as soon as amoCRM takes it; AGAIN when the client wrote on before anything was sent."""
        wait = FIRST_WAIT_SECONDS
        while (state := await self._engine.step("deliver", self._look_and_deliver, turn_id)) == LATER:
            await self._delivery.wait(wait)
            wait = min(wait * 2, LONGEST_WAIT_SECONDS)
        return state

    async def _look_and_deliver(self, turn_id: int) -> str:
        if await self._database.write(lambda connection: turns.absorb_newer(connection, turn_id, self._me)):
            log.info("the client wrote on; the reply is written anew", turn=turn_id)
            return AGAIN
        return await self._delivery.deliver(turn_id)
