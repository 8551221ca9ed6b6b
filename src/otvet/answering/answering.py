"""Answers one turn, from the quiet period to its last state: the heart of the program.

A crash can cut off any step at any point, and the step is then repeated: the turn's state in the database decides what
is left to do. Each move between states is made by one call only, in the process that owns the turn.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta, tzinfo
from typing import Literal, Protocol

import structlog
from sqlalchemy.engine import Connection

from otvet.answering import context
from otvet.answering.instructions import Instructions
from otvet.answering.summaries import Summaries
from otvet.answering.voice import Voice
from otvet.answering.writer import ReplyWriter, Written
from otvet.clock import Clock
from otvet.conversations.pauses import pause_for_client
from otvet.deals.reading import Deals
from otvet.delivery.delivery import Delivery
from otvet.delivery.recheck import Outcome, check
from otvet.meaning.promises import is_only_a_promise
from otvet.meaning.small_talk import Talk
from otvet.responders.base import Context, Reply
from otvet.responders.knowledge.responder import Knowledge
from otvet.storage.database import Database
from otvet.turns import changes, drafts, facts, handoffs, human_request, policy, queue, staff
from otvet.turns import turn as turns
from otvet.turns.attempts import WRITINGS, StoredAttempts, TakenOver
from otvet.turns.policy import Go, Policy, Rewrite, Step, Verdict, Wait
from otvet.turns.turn import Reason, State, Turn, Writer

log = structlog.get_logger(__name__)

FIRST_WAIT_SECONDS = 5.0
LONGEST_WAIT_SECONDS = 900.0
SmallTalk = Literal["silent", "short", "answer"]

LOOK_AGAIN_SECONDS = 5.0  # while another turn of the chat is in hand
NOT_OURS = "not ours"


@dataclass(frozen=True, slots=True)
class WritingOptions:
    """The settings for what responders are told and may spend.

    small_talk: what thanks and greetings get: a greeting and silence, a greeting and a short word, or an answer as any
        question does.
    history_messages: how many of the newest messages a responder is told; a summary replaces the older ones.
    ceilings: the most that each responder may spend in a day, in its own unit; see spending.UNITS.
    zone: the company's time zone, for the date of today; None: the machine's.
    """

    history_messages: int = 60
    person_phrases: str = ""
    small_talk: SmallTalk = "silent"
    instructions: Instructions = field(default_factory=Instructions)
    ceilings: Mapping[str, int] = field(default_factory=dict)
    zone: tzinfo | None = None


class Delays(Protocol):
    """Where a turn rests that waits for hours, in no process's memory."""

    async def begin_later(self, turn_id: int, delay: timedelta) -> None:
        """Have a turn that no process owns begun after the delay."""
        ...

    async def end_delays(self) -> None:
        """Have all of them begun now."""
        ...


class Answering:
    """Answers turns in the process ``me``. active: the ids of the turns that it works on.

    delays: where a reply rests that amoCRM has not taken for long; None: it waits here.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        writer: ReplyWriter,
        knowledge: Knowledge,
        delivery: Delivery,
        policy: Policy,
        options: WritingOptions,
        me: str,
        deals: Deals | None = None,
        voice: Voice | None = None,
        delays: Delays | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._writer = writer
        self._knowledge = knowledge
        self._delivery = delivery
        self._policy = policy
        self._options = options
        self._me = me
        self._deals = deals
        self._voice = voice
        self._delays = delays
        self._may_rest = True  # some turn may rest, also one from before a restart
        self._summaries = Summaries(database, clock, writer, policy, options.history_messages, self._attempts)
        self._closed: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self.active: set[int] = set()

    async def answer(self, turn_id: int) -> str:
        """Run the workflow of one turn. Returns the state in which the turn ended, or NOT_OURS."""
        if turn_id in self.active:
            return NOT_OURS
        self.active.add(turn_id)
        try:
            return await self._answer(turn_id)
        except TakenOver as error:
            log.warning("a turn is left to another process", turn=turn_id, reason=str(error))
            return NOT_OURS
        finally:
            self.active.discard(turn_id)

    async def _answer(self, turn_id: int) -> str:
        turn = await self._claim(turn_id)
        outcome: Outcome = Rewrite()
        while turn is not None and isinstance(outcome, Rewrite):
            turn = await self._wait_for_place(turn)
            if turn is not None:
                await self._wait_for_cards(turn)
                await self._have_written(turn)
                outcome = await self._deliver(turn)
        if turn is None:
            return NOT_OURS
        self._wake_next_turn(turn.conversation_id)
        await self._delivery.release(turn)
        if not isinstance(outcome, State):
            return NOT_OURS
        if outcome == State.SENT:
            await self._wake_resting_turns()
        await self._summaries.bring_up_to_date(turn_id)
        return outcome

    async def amocrm_is_back(self) -> None:
        """An outage is over: replies that wait, here or in no process, are tried again."""
        self._delivery.hurry()
        await self._wake_resting_turns()

    async def _claim(self, turn_id: int) -> Turn | None:
        now = self._clock.now()
        turn = await self._database.write(lambda connection: queue.claim(connection, turn_id, self._me, now))
        if turn is not None and turn.reply is None and self._deals is not None:
            self._deals.begin(turn.conversation_id)  # old cards are read while the client may still write
        return turn

    async def _wait_for_place(self, turn: Turn) -> Turn | None:
        """Wait until the client is silent and no other turn of the chat is in hand, then take the turn in hand.

        Returns the turn as it is then; None if it is not ours any more, for instance because it was joined to the turn
        in hand.
        """
        current: Turn | None = turn
        while current is not None:
            current = await self._wait_for_quiet(current)
            if current is None:
                break
            current, verdict = await self._database.write(lambda connection: self._take(connection, turn.id))
            if not isinstance(verdict, Wait):
                return current
            if verdict.until is None:
                with contextlib.suppress(TimeoutError):  # another process may have closed it
                    await asyncio.wait_for(self._closed[turn.conversation_id].wait(), LOOK_AGAIN_SECONDS)
        return None

    async def _wait_for_quiet(self, turn: Turn) -> Turn | None:
        """Sleep through the quiet period. The turn is read again after each sleep: the client may have written on."""
        current: Turn | None = turn
        while current is not None and (left := policy.silence_left(current, self._policy, self._clock.now())):
            await self._clock.sleep(min(left.total_seconds(), LOOK_AGAIN_SECONDS))  # staff may ask for the answer now
            current = await self._database.read(lambda connection: turns.get(connection, turn.id))
        return current

    def _take(self, connection: Connection, turn_id: int) -> tuple[Turn | None, Verdict]:
        """Take a waiting turn in hand, and join the client's newer messages to it."""
        turn = turns.owned(connection, turn_id, self._me)
        if turn is not None and turn.state == State.WAITING:
            if not queue.take(connection, turn, self._me):
                return turn, Wait()
            turn = turns.get(connection, turn_id)
        if turn is not None and queue.join_newer(connection, turn, self._me):
            turn = turns.get(connection, turn_id)
        now = self._clock.now()
        if turn is not None and (left := policy.silence_left(turn, self._policy, now)):
            return turn, Wait(now + left)  # the client wrote on
        return turn, Go(Step.WRITE)

    async def _wait_for_cards(self, turn: Turn) -> None:
        """Wait for amoCRM's cards, up to deals.reading.PATIENCE_SECONDS."""
        if self._deals is not None and turn.reply is None:
            await self._deals.fresh(turn.conversation_id)

    async def _have_written(self, turn: Turn) -> None:
        """Write the reply and store it with the turn, if it is not written yet and the policy allows it."""
        match await self._database.read(lambda connection: self._decide(connection, turn.id)):
            case None:
                return
            case Go(Step.WRITE):
                await self._write(turn.id)
            case Go(Step.WRITE_HOURS_TEXT):
                await self._database.write(lambda connection: self._write_hours_text(connection, turn.id))
            case verdict:
                log.info("not answered by the assistant", turn=turn.id, verdict=str(verdict))
                now = self._clock.now()
                await self._database.write(
                    lambda connection: (
                        check(connection, turn.id, self._me, self._policy, now)
                        if self._unwritten_turn(connection, turn.id)
                        else None
                    )
                )

    def _decide(self, connection: Connection, turn_id: int) -> Verdict | None:
        turn = self._unwritten_turn(connection, turn_id)
        if turn is None:
            return None
        now = self._clock.now()
        return policy.decide(turn, facts.read(connection, turn, self._policy, now), self._policy, now)

    def _unwritten_turn(self, connection: Connection, turn_id: int) -> Turn | None:
        """The turn, if this process owns it and its reply is still to be written."""
        turn = turns.owned(connection, turn_id, self._me)
        return turn if turn is not None and turn.state == State.ANSWERING and turn.reply is None else None

    def _write_hours_text(self, connection: Connection, turn_id: int) -> None:
        turn = self._unwritten_turn(connection, turn_id)
        if turn is not None and drafts.write_down(
            connection, turn, self._me, Reply(self._policy.hours_text, Writer.HOURS)
        ):
            summary = context.summary_of_question(connection, turn_id)
            drafts.ask_for_person(connection, turn, self._me, Reason.OUT_OF_HOURS, summary)

    async def _write(self, turn_id: int) -> None:
        """Ask the responders in their order, and store the reply with the turn."""
        if self._voice is not None:
            await self._voice.listen(turn_id)
        gathered = await self._database.read(lambda connection: self._gather(connection, turn_id))
        if gathered is None:
            return
        told, attempts = gathered
        if why := human_request.why_staff(told, self._options.person_phrases):
            reply = human_request.reply(told, why)
            await self._database.write(lambda connection: self._store_promise(connection, told, reply, why))
            return
        if self._options.small_talk != "answer" and (talk := human_request.small_talk(told)) != Talk.QUESTION:
            await self._database.write(lambda connection: self._store_small_talk(connection, told, talk))
            return
        told, known = await context.with_knowledge(told, self._knowledge)
        written = await self._writer.write(told, attempts)
        gap = not (known and written.reply.responder != self._writer.last.name) and not told.nothing_to_read
        await self._database.write(lambda connection: self._store(connection, told, attempts, written, gap))

    def _gather(self, connection: Connection, turn_id: int) -> tuple[Context, StoredAttempts] | None:
        """The context for the responders and the log of their attempts; None when there is no reply to write."""
        turn = self._unwritten_turn(connection, turn_id)
        if turn is None:
            return None
        options = self._options
        told = context.build(
            connection, turn, options.history_messages, options.instructions, self._clock.now(), options.zone
        )
        return told, self._attempts(connection, turn, turn.redrafts * WRITINGS)

    def _attempts(self, connection: Connection, turn: Turn, draft: int) -> StoredAttempts:
        return StoredAttempts(connection, self._database, self._clock, turn, draft, self._options.ceilings)

    def _store_small_talk(self, connection: Connection, told: Context, talk: Talk) -> None:
        """A greeting gets a greeting; thanks get a short reply or, by the settings, none."""
        turn = self._unwritten_turn(connection, told.turn_id)
        if turn is None:
            return
        if talk == Talk.THANKS and self._options.small_talk == "silent":
            staff.leave_alone(connection, turn, self._me, Reason.SMALL_TALK, self._clock.now())
        else:
            drafts.write_down(connection, turn, self._me, human_request.small_talk_reply(told, talk))

    def _store(
        self, connection: Connection, told: Context, attempts: StoredAttempts, written: Written, gap: bool
    ) -> None:
        attempts.save(connection)  # even if the turn has changed: they were paid for
        doubts = human_request.doubts(written.draft, [one.text for one in written.doubts]) if written.doubts else ""
        if written.reply.responder == Writer.TEMPLATE:
            why = Reason.DOUBTED if doubts else Reason.MEDIA if told.nothing_to_read else Reason.NOT_KNOWN
            self._store_promise(connection, told, written.reply, why, doubts, gap=gap)
            return
        turn, now = self._unwritten_turn(connection, told.turn_id), self._clock.now()
        if turn is None or not drafts.write_down(connection, turn, self._me, written.reply, gap=gap):
            return
        if human_request.promises_person(written.reply.text):
            drafts.ask_for_person(connection, turn, self._me, Reason.PROMISED, human_request.summary(told))
            if is_only_a_promise(written.reply.text) and handoffs.client_knows(connection, turn, now):
                staff.leave_to_staff(connection, turn, self._me, Reason.PROMISED, now)

    def _store_promise(
        self, connection: Connection, told: Context, reply: Reply, why: Reason, doubts: str = "", *, gap: bool = False
    ) -> None:
        """Store a reply that says only that a person will answer; a client who knows that is not told again."""
        turn, now = self._unwritten_turn(connection, told.turn_id), self._clock.now()
        if turn is None or not drafts.write_down(connection, turn, self._me, reply, gap=gap):
            return
        drafts.ask_for_person(connection, turn, self._me, why, human_request.summary(told, doubts))
        if handoffs.client_knows(connection, turn, now):
            staff.leave_to_staff(connection, turn, self._me, why, now)
            if why in human_request.REPLIES:
                pause_for_client(connection, turn.conversation_id, turn.chat_ref)

    async def _deliver(self, turn: Turn) -> Outcome:
        """Deliver, now or as soon as amoCRM takes it. None: the turn rests, or belongs to another process."""
        seconds = FIRST_WAIT_SECONDS
        while isinstance(outcome := await self._delivery.deliver(turn.id), Wait):
            if self._delays is not None and seconds >= LONGEST_WAIT_SECONDS:
                await self._rest(turn, self._delays)
                return None
            await self._delivery.wait(outcome, seconds)
            seconds = min(seconds * 2, LONGEST_WAIT_SECONDS)
        return outcome

    async def _rest(self, turn: Turn, delays: Delays) -> None:
        """Give the turn back and have it begun again later, by any process."""
        await self._database.write(lambda connection: changes.release(connection, turn.id, self._me))
        await delays.begin_later(turn.id, timedelta(seconds=LONGEST_WAIT_SECONDS))
        self._may_rest = True

    async def _wake_resting_turns(self) -> None:
        """amoCRM took a reply: it will take those that rest."""
        if self._delays is not None and self._may_rest:
            self._may_rest = False
            await self._delays.end_delays()

    def _wake_next_turn(self, conversation_id: int) -> None:
        if closed := self._closed.pop(conversation_id, None):
            closed.set()
