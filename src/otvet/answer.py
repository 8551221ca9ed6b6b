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
from otvet.deliver import AGAIN, LATER, NOT_OURS, Delivery
from otvet.engine import Engine
from otvet.errors import StorageError
from otvet.responders.base import Context, Reply, Responder, ResponderError

log = structlog.get_logger(__name__)

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
        if turn_id in self.active:
            return NOT_OURS
        self.active.add(turn_id)
        try:
            if not await self._claim(turn_id):
                return NOT_OURS
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
        """Until no other turn of the conversation is in hand. Then it is ours to answer, or is left to a person."""
        while not await self._database.write(lambda connection: self._take(connection, turn_id)):
            turn = await self._database.read(lambda connection: turns.get(connection, turn_id))
            if turn is None:
                return  # joined to the one in hand
            try:
                await asyncio.wait_for(self._closed[turn.conversation_id].wait(), LOOK_AGAIN_SECONDS)
            except TimeoutError:
                continue  # another process may have closed it

    def _take(self, connection: Connection, turn_id: int) -> bool:
        if not turns.take(connection, turn_id, self._me):
            return False
        if reason := self._leave_to_person(connection, turn_id):
            log.info("left to a person", turn=turn_id, reason=reason)
        return True

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

    async def _let_the_next_one_in(self, turn_id: int) -> None:
        if not self._closed:
            return
        turn = await self._database.read(lambda connection: turns.get(connection, turn_id))
        if turn is not None and turn.conversation_id in self._closed:
            self._closed.pop(turn.conversation_id).set()

    async def _write(self, turn_id: int) -> str:
        """Have the reply written, and keep it with the turn."""
        gathered = await self._database.read(lambda connection: self._gather(connection, turn_id))
        if gathered is None:
            return NOT_OURS
        what_is_known, begun = gathered
        if handover.asks_for_person(what_is_known.question, self._rules.person_phrases):
            await self._pass_on(what_is_known)
        else:
            await self._ask(what_is_known, begun)
        return turns.ANSWERING

    def _gather(self, connection: Connection, turn_id: int) -> tuple[Context, list[tries.Try]] | None:
        """What the responders are told; None when there is nothing to write, or not by us."""
        turn = turns.get(connection, turn_id)
        if turn is None or turn.state != turns.ANSWERING or turn.owner != self._me or turn.reply is not None:
            return None
        names = [responder.name for responder in self._responders]
        begun = tries.begin(
            connection, self._database, turn_id, turn.redrafts, turn.conversation_id, names, self._clock.now()
        )
        return context.build(connection, turn, self._rules.history_messages), begun

    async def _pass_on(self, gathered: Context) -> None:
        """The client wants a person: say so, keep why, and keep still from now on."""
        told = handover.reply(gathered)
        brief = handover.summary(gathered)

        def write(connection: Connection) -> None:
            if turns.write_down(connection, gathered.turn_id, self._me, told):
                turns.ask_for_person(connection, gathered.turn_id, brief)

        await self._database.write(write)

    async def _ask(self, gathered: Context, begun: Sequence[tries.Try]) -> None:
        """Ask one responder after the other; the last one always has a reply."""
        in_vain: list[tuple[tries.Try, str]] = []
        for responder, one in zip(self._responders, begun, strict=True):
            if one.outcome is not None:  # before a crash
                continue
            one.started_at = one.started_at if one.facts else self._clock.now()
            try:
                reply = await responder.reply(gathered, one)
            except ResponderError as error:
                in_vain.append((one, str(error)))
                log.info("no reply", turn=gathered.turn_id, responder=responder.name, reason=str(error))
            except StorageError:
                raise  # not the responder's fault: the turn is begun again, and what it remembers is not lost
            except Exception as error:
                in_vain.append((one, f"unexpected: {type(error).__name__}"))
                log.exception("a responder failed", turn=gathered.turn_id, responder=responder.name)
            else:
                await self._write_down(gathered.turn_id, [*in_vain, (one, tries.REPLIED)], reply)
                return
        raise RuntimeError("no responder had a reply, although the last one always should")

    async def _write_down(self, turn_id: int, ended: Sequence[tuple[tries.Try, str]], reply: Reply) -> None:
        now = self._clock.now()

        def write(connection: Connection) -> None:
            for one, outcome in ended:
                one.end(connection, outcome, now)
            turns.write_down(connection, turn_id, self._me, reply)

        await self._database.write(write)

    async def _deliver_in_time(self, turn_id: int) -> str:
        """Deliver, now or as soon as amoCRM takes it; AGAIN when the client wrote on before anything was sent."""
        wait = FIRST_WAIT_SECONDS
        while (state := await self._engine.step("deliver", self._delivery.deliver, turn_id)) == LATER:
            await self._delivery.wait(wait)
            wait = min(wait * 2, LONGEST_WAIT_SECONDS)
        return state
