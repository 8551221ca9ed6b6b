"""The answer to one turn, from the quiet period to its closing: the heart of the program.

Every step can be cut off by a crash at any point and is then carried out again: what it does is decided by the
turn's state in the database, and each change of state is made by one call only, of the process that owns the turn.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta, tzinfo
from typing import Any

import structlog
from sqlalchemy.engine import Connection, Row

from otvet import context, handover, summaries, tries, turns
from otvet.clock import Clock
from otvet.conversations import OFF
from otvet.deals.admission import Admission
from otvet.deals.reading import Deals
from otvet.deliver.delivery import Delivery
from otvet.deliver.verdicts import AGAIN, LATER, NOT_OURS
from otvet.errors import StorageError
from otvet.i18n import language_of
from otvet.instructions import Instructions
from otvet.responders.base import Context, Reply
from otvet.responders.knowledge.responder import Knowledge
from otvet.storage.database import Database
from otvet.voice import Voice
from otvet.writing import Writing, Written

log = structlog.get_logger(__name__)

FIRST_WAIT_SECONDS = 5.0
LONGEST_WAIT_SECONDS = 900.0
LOOK_AGAIN_SECONDS = 5.0  # for a turn that another one of its conversation keeps waiting
A_DAY = timedelta(days=1)
ANSWERED = (turns.SENT, turns.KEPT, turns.DRAFT)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the user set of when to answer.

    quiet, quiet_max: a reply is written after such a silence, but no later than that after the first message.
    stale: what the client said longer ago than that is left to a person.
    replies_a_day: the ceiling for one conversation, so that two bots do not talk to each other for ever.
    history_messages: so many of the newest a responder is told; a summary stands for what was before.
    ceilings: by responder, what may be spent in a day, in its own unit; see spending.UNITS.
    zone: the company's, in which it is today; None is the machine's.
    admission: which turns are answered at all.
    """

    quiet: timedelta = timedelta(seconds=3)
    quiet_max: timedelta = timedelta(seconds=15)
    stale: timedelta = timedelta(minutes=60)
    replies_a_day: int = 50
    history_messages: int = 60
    off: bool = False  # whether nothing is answered where the conversation has no mode of its own
    person_phrases: str = handover.PHRASES
    instructions: Instructions = field(default_factory=Instructions)
    ceilings: Mapping[str, int] = field(default_factory=dict)
    zone: tzinfo | None = None
    admission: Admission = field(default_factory=Admission)


class Answering:
    """Answers turns, as the process ``me``."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        writing: Writing,
        knowledge: Knowledge,
        delivery: Delivery,
        rules: Rules,
        me: str,
        deals: Deals | None = None,
        voice: Voice | None = None,
    ) -> None:
        self._deals = deals
        self._database = database
        self._clock = clock
        self._writing = writing
        self._knowledge = knowledge
        self._delivery = delivery
        self._rules = rules
        self._me = me
        self._voice = voice
        self._closed: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self.active: set[int] = set()

    async def answer(self, turn_id: int) -> str:
        """The workflow: the life of one turn. Gives the state it ended in."""
        if turn_id in self.active:
            return NOT_OURS
        self.active.add(turn_id)
        try:
            turn = await self._claim(turn_id)
            if turn is None:
                return NOT_OURS
            self._begin_to_know_the_deal(turn)
            state = AGAIN
            while state == AGAIN:
                turn = await self._wait_until_due(turn)
                await self._know_the_deal(turn)
                long = await self._write(turn_id)
                state = await self._deliver_in_time(turn_id)
            self._let_the_next_one_in(turn.conversation_id)
            await self._delivery.release_bot(turn.conversation_id)
            if long:
                await self._summarise(turn_id)
            return state
        finally:
            self.active.discard(turn_id)

    async def _claim(self, turn_id: int) -> Row[Any] | None:
        now = self._clock.now()

        def claim(connection: Connection) -> Row[Any] | None:
            return turns.get(connection, turn_id) if turns.claim(connection, turn_id, self._me, now) else None

        return await self._database.write(claim)

    def _begin_to_know_the_deal(self, turn: Row[Any]) -> None:
        """Have amoCRM's cards read if they are old, while the client may still be writing."""
        if self._deals is not None and turn.reply is None:
            self._deals.begin(turn.conversation_id)

    async def _know_the_deal(self, turn: Row[Any]) -> None:
        """The same, and wait for them, but only a moment."""
        if self._deals is not None and turn.reply is None:
            await self._deals.fresh(turn.conversation_id)

    async def _wait_until_due(self, turn: Row[Any]) -> Row[Any]:
        """Until the client is silent and it is this turn's place; gives the turn as it is then."""
        while True:
            await self._wait_for_quiet(turn)
            turn = await self._wait_for_place(turn)
            if self._seconds_left(turn) <= 0:
                return turn  # else the client wrote on

    async def _wait_for_quiet(self, turn: Row[Any]) -> None:
        """Until the client has been silent for a while, or has waited long enough. What counts is in the database."""
        now: Row[Any] | None = turn
        while now is not None and (seconds := self._seconds_left(now)) > 0:
            await self._clock.sleep(seconds)
            now = await self._database.read(lambda connection: turns.get(connection, turn.id))

    def _seconds_left(self, turn: Row[Any]) -> float:
        if turn.reply is not None or turn.state not in (turns.WAITING, turns.ANSWERING):
            return 0
        due = min(turn.last_message_at + self._rules.quiet, turn.first_message_at + self._rules.quiet_max)
        # The clock may have been set back since: no turn waits longer than the longest quiet period.
        return float(min(due - self._clock.now(), self._rules.quiet_max).total_seconds())

    async def _wait_for_place(self, turn: Row[Any]) -> Row[Any]:
        """Until no other turn of the conversation is in hand. Then it is ours to answer, or is left to a person.

        Gives the turn as it is then; as it was where it is gone, because it was joined to the one in hand.
        """
        while True:
            taken, now = await self._database.write(lambda connection: self._take(connection, turn.id))
            if taken or now is None:
                return now or turn
            with contextlib.suppress(TimeoutError):  # another process may have closed it
                await asyncio.wait_for(self._closed[now.conversation_id].wait(), LOOK_AGAIN_SECONDS)

    def _take(self, connection: Connection, turn_id: int) -> tuple[bool, Row[Any] | None]:
        taken = turns.take(connection, turn_id, self._me)
        turn = turns.get(connection, turn_id)
        if turn is not None and turns.join_newer(connection, turn, self._me):
            turn = turns.get(connection, turn_id)
        if taken and turn is not None:
            self._leave_alone_or_to_person(connection, turn)
        return taken, turn

    def _leave_alone_or_to_person(self, connection: Connection, turn: Row[Any]) -> None:
        now = self._clock.now()
        if self._is_off(turn) and turns.leave_alone(connection, turn.id, self._me, turns.OFF, now):
            return
        reason = self._for_a_person(connection, turn)
        if reason and turns.hand_to_person(connection, turn.id, self._me, reason, now):
            log.info("left to a person", turn=turn.id, reason=reason)

    def _is_off(self, turn: Row[Any]) -> bool:
        return not turn.forced and self._switched_off(turn)

    def _switched_off(self, turn: Row[Any]) -> bool:
        return bool(turn.mode == OFF if turn.mode else self._rules.off)

    def _for_a_person(self, connection: Connection, turn: Row[Any]) -> str | None:
        """The reason why nothing is answered here, if there is one."""
        now = self._clock.now()
        if turn.state != turns.ANSWERING or turn.reply is not None or turn.forced:
            return None
        if turn.paused_until is not None and turn.paused_until > now:
            return turns.PAUSED
        if turns.too_old(turns.said_at(connection, turn.id), now, self._rules.stale):
            return turns.STALE
        if turns.replies_since(connection, turn.conversation_id, now - A_DAY) >= self._rules.replies_a_day:
            return turns.CEILING
        return None

    def _let_the_next_one_in(self, conversation_id: int) -> None:
        if closed := self._closed.pop(conversation_id, None):
            closed.set()

    async def _summarise(self, turn_id: int) -> None:
        """Bring the conversation's summary up to date; no step of the turn, for what a crash cuts off is due again."""
        try:
            due = await self._database.read(lambda connection: self._due(connection, turn_id))
            if due is not None:
                await self._write_summary(*due)
        except StorageError as error:
            log.warning("no summary is kept", turn=turn_id, reason=str(error))  # the turn has ended well all the same

    async def _write_summary(self, due: summaries.Due, notes: tries.Notes) -> None:
        language = language_of("\n".join(row.content for row in due.rows))
        lines = [context.as_line(row, language) for row in due.rows]
        text = await self._writing.summarise(lines, due.before, language, notes)

        def write(connection: Connection) -> None:
            notes.save(connection)  # in any case: it was paid for
            summaries.keep(connection, due, text)

        await self._database.write(write)

    def _due(self, connection: Connection, turn_id: int) -> tuple[summaries.Due, tries.Notes] | None:
        """Only where the assistant answers: who is not to be told a client's words is not told them for a summary."""
        turn = turns.get(connection, turn_id)
        if turn is None or turn.state not in ANSWERED or self._switched_off(turn):
            return None
        if turn.paused_until is not None and turn.paused_until > self._clock.now():
            return None
        if self._rules.admission.leaves_out(connection, turn_id):
            return None
        due = summaries.due(connection, turn, self._rules.history_messages)
        return (due, self._notes(connection, turn, tries.SUMMARY)) if due is not None else None

    async def _write(self, turn_id: int) -> bool:
        """Have the reply written, and keep it with the turn; gives whether the talk may be long enough to sum it up."""
        gathered = await self._database.read(lambda connection: self._gather(connection, turn_id))
        if gathered is not None and self._voice is not None and await self._voice.listen(turn_id):
            gathered = await self._database.read(lambda connection: self._gather(connection, turn_id))
        if gathered is None:
            await self._leave_out(turn_id)
            return True
        told, notes = gathered
        if handover.asks_for_person(told.question, self._rules.person_phrases):
            return summaries.may_be_due(told, await self._pass_on(told), self._rules.history_messages)
        told, known = await context.with_knowledge(told, self._knowledge)
        written = await self._writing.write(told, notes)
        gap = not known or written.reply.responder == self._writing.last.name
        await self._write_down(told, notes, written, gap=gap and not told.nothing_to_read)
        return summaries.may_be_due(told, written.reply, self._rules.history_messages)

    async def _leave_out(self, turn_id: int) -> None:
        """End the turn here, or have its text, if the settings say so."""
        reason = await self._database.write(lambda connection: self._decide(connection, turn_id))
        if reason:
            log.info("not answered, by the settings", turn=turn_id, reason=reason)

    def _decide(self, connection: Connection, turn_id: int) -> str | None:
        turn = self._to_write(connection, turn_id)
        if turn is None or turn.forced:
            return None
        return self._rules.admission.decide(connection, turn, self._me, self._clock.now())

    def _to_write(self, connection: Connection, turn_id: int) -> Row[Any] | None:
        """The turn, if there is a reply for us to write."""
        turn = turns.get(connection, turn_id)
        if turn is None or turn.state != turns.ANSWERING or turn.owner != self._me or turn.reply is not None:
            return None
        return turn

    def _gather(self, connection: Connection, turn_id: int) -> tuple[Context, tries.Notes] | None:
        """What the responders are told, and what is kept of asking them; None when nothing is to be asked of them."""
        turn = self._to_write(connection, turn_id)
        if turn is None:
            return None
        if not turn.forced and self._rules.admission.refuses(connection, turn, self._clock.now()):
            return None
        rules = self._rules
        told = context.build(
            connection, turn, rules.history_messages, rules.instructions, self._clock.now(), rules.zone
        )
        return told, self._notes(connection, turn, turn.redrafts * tries.WRITINGS)

    def _notes(self, connection: Connection, turn: Row[Any], draft: int) -> tries.Notes:
        ceilings = self._rules.ceilings
        return tries.Notes(connection, self._database, self._clock, turn.id, draft, turn.conversation_id, ceilings)

    async def _pass_on(self, told: Context) -> Reply:
        """The client wants a person: say so, keep why, and keep still from now on."""
        reply, summary = handover.reply(told), handover.summary(told)

        def write(connection: Connection) -> None:
            if turns.write_down(connection, told.turn_id, self._me, reply):
                turns.ask_for_person(connection, told.turn_id, turns.ASKED, summary or turns.ASKED)

        await self._database.write(write)
        return reply

    async def _write_down(self, told: Context, notes: tries.Notes, written: Written, *, gap: bool) -> None:
        def write(connection: Connection) -> None:
            notes.save(connection)  # in any case: it was paid for
            if not turns.write_down(connection, told.turn_id, self._me, written.reply, gap=gap):
                return
            if written.doubts:
                turns.ask_for_person(
                    connection,
                    told.turn_id,
                    turns.DOUBTED,
                    handover.doubts(told, written.draft, [one.text for one in written.doubts]),
                )

        await self._database.write(write)

    async def _deliver_in_time(self, turn_id: int) -> str:
        """Deliver, now or as soon as amoCRM takes it; AGAIN when the client wrote on before anything was sent."""
        wait = FIRST_WAIT_SECONDS
        while (state := await self._delivery.deliver(turn_id)) == LATER:
            await self._delivery.wait(turn_id, wait)
            wait = min(wait * 2, LONGEST_WAIT_SECONDS)
        return state
