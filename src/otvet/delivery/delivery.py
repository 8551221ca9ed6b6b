"""Delivers a written reply: the last check, the call to amoCRM, and the turn's next state."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import structlog
from sqlalchemy.engine import Connection

from otvet.amocrm.answers import AmoError
from otvet.amocrm.client import AmoClient, Slot
from otvet.clock import Clock
from otvet.conversations import history
from otvet.conversations.pauses import pause_for_client
from otvet.delivery.in_flight import InFlight, Stopping
from otvet.delivery.into_chat import IntoChat
from otvet.delivery.methods import DeliveryMethod, DeliveryOptions, Salesbot
from otvet.delivery.notes import Notes
from otvet.delivery.recheck import NOT_OURS, SURE_FOR_SECONDS, Checked, Outcome, check, check_again
from otvet.errors import OtvetError
from otvet.i18n import N_, _
from otvet.settings.by_channel import SALESBOT, way_for
from otvet.storage import outages
from otvet.storage.database import Database
from otvet.turns import changes, drafts, facts, own_words, parts, policy, sending
from otvet.turns import turn as turns
from otvet.turns.policy import UNSURE_FOR, Ended, Go, Policy, Rewrite, Step, Verdict, Wait
from otvet.turns.turn import IN_HAND, OPEN, State, Turn, Writer

log = structlog.get_logger(__name__)

GIVE_UP_AFTER = timedelta(days=1)

GAVE_UP = N_("amoCRM did not take the reply for a day: {reason}")
DISCONNECTED = N_("amoCRM is not connected any more; look into the deal whether the reply is there")


@dataclass(frozen=True, slots=True)
class Begun:
    """The check right before a call. at: when it was made, by the monotonic clock."""

    checked: Checked
    at: float


class Delivery:
    """Brings replies to deals and clients. amocrm: None while no account is connected; replies are kept then.

    Before every POST, the process that owns the turn gets a slot and then announces the call in the database. So the
    last check before the call shows that the turn is ours and that staff have not taken over.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        amocrm: AmoClient | None,
        *,
        installation_name: str,
        me: str,
        policy: Policy,
        options: DeliveryOptions,
        methods: Mapping[str, DeliveryMethod],
    ) -> None:
        self._database = database
        self._clock = clock
        self._amocrm = amocrm
        self._me = me
        self._policy = policy
        self._options = options
        self._methods = methods
        self._notes = Notes(installation_name)
        self._in_flight = InFlight(clock)
        self._taken = asyncio.Event()  # replaced whenever amoCRM takes a reply

    async def prepare(self) -> None:
        """At a start: create the field that the Salesbot reads, so that staff can enter its number in the bot."""
        salesbot = self._methods.get(SALESBOT)
        if isinstance(salesbot, Salesbot):
            try:
                log.info("replies go to the Salesbot through a field of the deal", field=await salesbot.field())
            except OtvetError as error:  # the next reply tries again
                log.warning("the field for replies could not be made", reason=str(error))
                if isinstance(error, AmoError):
                    await outages.heed(self._database, error, self._clock.now())

    async def deliver(self, turn_id: int) -> Outcome:
        """Take the turn's reply as far as it goes now."""
        if self._amocrm is None:
            return await self._database.write(lambda connection: self._keep(connection, turn_id))
        turn, verdict = await self._database.read(lambda connection: self._look(connection, turn_id))
        if turn is not None and turn.is_trial:
            return await self._database.write(lambda connection: self._keep(connection, turn_id))
        if turn is None or isinstance(verdict, Ended):
            return turn.state if turn else None
        if isinstance(verdict, Wait):
            return await self._restart_unsure_time(turn) or verdict
        if turn.reply is None:
            return Rewrite()  # there is nothing to deliver yet
        try:
            if turn.state == State.ANSWERING:
                return await self._begin(turn, verdict, self._amocrm)
            if turn.way is not None:
                return await self._into_chat(turn, self._amocrm)
            return await self._note_again(turn, self._amocrm)
        except (outages.Blocked, Stopping):
            return Wait()
        except AmoError as error:
            return await self._not_delivered(turn_id, error)

    async def wait(self, wait: Wait, seconds: float) -> None:
        """Wait until ``wait.until``; if it is None, for ``seconds`` or until amoCRM takes another reply.

        After a failed attempt, wait for both.
        """
        if wait.until is not None:  # slept as seconds, so that a clock that jumps meanwhile does not shorten it
            until_moment = (wait.until - self._clock.now()).total_seconds()
            await self._clock.sleep(until_moment)
            seconds -= until_moment
            if not wait.failed or seconds <= 0:
                return
        waits = [asyncio.ensure_future(self._clock.sleep(seconds)), asyncio.ensure_future(self._taken.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waits:
                waiter.cancel()

    def hurry(self) -> None:
        """amoCRM takes calls: wake the deliveries that wait."""
        self._taken.set()
        self._taken = asyncio.Event()

    async def finish(self, until: float) -> None:
        """Before a stop: let the calls in flight end and be marked as sent, and begin no other."""
        await self._in_flight.finish(until)

    async def release(self, turn: Turn) -> None:
        """The turn has ended: release what may wait for its reply."""
        for method in () if turn.is_trial else self._methods.values():
            await method.release(turn)

    def _look(self, connection: Connection, turn_id: int) -> tuple[Turn | None, Verdict]:
        """Decide before waiting for a slot whether there is a call to make. Carries out no verdict."""
        turn = turns.get(connection, turn_id)
        if turn is None or (turn.state in OPEN and turn.owner != self._me):
            return None, Ended()
        if turn.state not in IN_HAND:
            return turn, Ended()
        if turn.state == State.ANSWERING and turn.reply is None:
            return turn, Rewrite()
        now = self._clock.now()
        return turn, policy.decide(turn, facts.read(connection, turn, self._policy, now), self._policy, now)

    async def _restart_unsure_time(self, turn: Turn) -> Wait | None:
        """If the clock was set back since the last attempt, begin anew the time in which amoCRM may carry it out."""
        now = self._clock.now()
        if turn.sent_attempt_at is None or turn.sent_attempt_at <= now:
            return None
        await self._note(turn, sent_attempt_at=now)
        return Wait(now + UNSURE_FOR)

    async def _begin(self, turn: Turn, verdict: Verdict, amocrm: AmoClient) -> Outcome:
        """The first attempt: amoCRM cannot have the reply yet, but perhaps a note with the draft."""
        if turn.sent_attempt_at is not None:
            note_id = await amocrm.find_note(turn.deal, self._notes.draft_marker(turn))
            if note_id is not None:
                return await self._drafted(turn, note_id)
        chat = await self._database.read(lambda connection: self._method_for(connection, turn)[0])
        if verdict == Go(Step.SEND) and chat is not None:
            begun = await self._check(turn.id, has_slot=False)
        else:
            # The slot comes before the check: in a backlog it may take a while.
            async with amocrm.slot(ignore_outage=turn.sent_attempt_at is None) as slot:
                with self._in_flight.track():
                    begun = await self._check(turn.id, has_slot=True)
                    now = begun.checked.turn
                    if now is not None and begun.checked.verdict == Go(Step.SHOW_DRAFT):
                        if now.as_draft:  # who asked for it reads it on our pages
                            return await self._drafted(now, None)
                        note_id = await self._write_note(begun, slot, self._notes.draft(now))
                        return None if note_id is None else await self._drafted(now, note_id)
                    if now is not None and begun.checked.verdict == Go(Step.SEND) and now.way is None:
                        return await self._as_note(begun, slot, amocrm)
        now = begun.checked.turn
        if now is None or begun.checked.verdict != Go(Step.SEND):
            return begun.checked.outcome
        return await self._into_chat(now, amocrm)

    async def _check(self, turn_id: int, *, has_slot: bool) -> Begun:
        checked = await self._database.write(lambda connection: self._commit(connection, turn_id, has_slot=has_slot))
        return Begun(checked, self._clock.monotonic())

    def _commit(self, connection: Connection, turn_id: int, *, has_slot: bool) -> Checked:
        """Decide whether the reply goes to amoCRM, and commit to it, right before the call."""
        now = self._clock.now()
        checked = check(connection, turn_id, self._me, self._policy, now)
        turn = checked.turn
        if turn is None:
            return NOT_OURS
        if checked.verdict == Rewrite(with_newer=True):
            log.info("the client wrote on; the reply is written anew", turn=turn_id)
        elif checked.verdict == Go(Step.SHOW_DRAFT):
            if not has_slot:
                return Checked(turn, Wait(now))  # draft mode was set just now: decide again
            if not changes.note(connection, turn, self._me, sent_attempt_at=now):
                return NOT_OURS
            return Checked(turns.get(connection, turn_id), checked.verdict)
        elif checked.verdict == Go(Step.SEND):
            name, texts = self._method_for(connection, turn)
            if has_slot != (name is None):  # a note needs the slot, and only a note; what was set has changed just now
                return Checked(turn, Wait(now))
            sent = sending.commit_to_send(connection, turn, self._me, now, name, texts)
            return Checked(sent, checked.verdict) if sent else Checked(turn, Wait())
        return checked

    def _method_for(self, connection: Connection, turn: Turn) -> tuple[str | None, list[str]]:
        """The method into the client's chat for the turn's channel, and the parts; (None, []): a note."""
        asked = history.asked(connection, turn.id, turn.deal)
        name = way_for(self._options.via, asked.origin)
        wanting = (name for name, method in self._methods.items() if method.wants(connection, turn, asked))
        name = next(wanting, name)
        method = self._methods.get(name)
        return (name, method.cut(turn.reply or "", asked.origin)) if method else (None, [])

    async def _as_note(self, begun: Begun, slot: Slot, amocrm: AmoClient) -> Outcome:
        turn = begun.checked.turn
        assert turn is not None
        note_id = await self._write_note(begun, slot, self._notes.reply(turn))
        return None if note_id is None else await self._sent(turn, note_id)

    async def _note_again(self, turn: Turn, amocrm: AmoClient) -> Outcome:
        """Send the note unless it is there already: after a crash or a time-out amoCRM may have it."""
        note_id = turn.note_id or await amocrm.find_note(turn.deal, self._notes.marker(turn))
        if note_id is not None:
            return await self._sent(turn, note_id)
        async with amocrm.slot() as slot:
            with self._in_flight.track():
                now = self._clock.now()
                again = partial(check_again, turn_id=turn.id, me=self._me, rules=self._policy, now=now)
                checked = await self._database.write(partial(again, sent_attempt_at=now))
                if checked.turn is None or checked.verdict != Go(Step.SEND):
                    return checked.outcome
                return await self._as_note(Begun(checked, self._clock.monotonic()), slot, amocrm)

    async def _write_note(self, begun: Begun, slot: Slot, text: str) -> int | None:
        """Write the note; returns its id, or None if the turn is not ours any more."""
        turn = begun.checked.turn
        assert turn is not None
        if self._clock.monotonic() - begun.at > SURE_FOR_SECONDS and not await self._still_ours(turn.id):
            return None
        return await slot.add_note(turn.deal, text)

    async def _drafted(self, turn: Turn, note_id: int | None) -> Outcome:
        """Staff have the draft: store that."""

        def write(connection: Connection) -> bool:
            self._pause_if_asked(connection, turn)
            return drafts.show(connection, turn, self._me, note_id, self._clock.now())

        shown = await self._database.write(write)
        log.info("a draft waits for a manager", turn=turn.id, lead=turn.lead_id)
        return State.DRAFT if shown else None

    async def _into_chat(self, turn: Turn, amocrm: AmoClient) -> Outcome:
        chat = IntoChat(self._database, self._clock, amocrm, self._me, self._policy, self._in_flight)
        outcome = await chat.send(turn, self._methods.get(turn.way or ""))
        if not isinstance(outcome, Ended):
            return outcome

        def read(connection: Connection) -> tuple[Turn | None, list[parts.Part]]:
            return turns.get(connection, turn.id), parts.of_turn(connection, turn.id)

        now, found = await self._database.read(read)
        if now is None or now.owner != self._me or now.state != State.SENDING:
            return now.state if now and now.owner == self._me else None
        missing = [part.text for part in found if part.state != parts.SENT]
        return await self._after_chat(now, missing, amocrm)

    async def _after_chat(self, turn: Turn, missing: list[str], amocrm: AmoClient) -> Outcome:
        """Write the note for staff, which names the parts that the client lacks; then end the turn."""
        note_id = turn.note_id
        if missing or self._options.note:
            try:
                note_id = await self._note_besides(turn, missing, amocrm)
            except AmoError as error:
                recent = turn.failing_since is None or self._clock.now() - turn.failing_since < GIVE_UP_AFTER
                if outages.concerns_all(error) or (recent and not error.permanent):
                    raise
                log.error("no note could be written besides", turn=turn.id, reason=str(error))
            else:
                if note_id is None:
                    return None
        if not missing:
            return await self._sent(turn, note_id)

        def write(connection: Connection) -> None:
            sending.fail(connection, turn, self._me, turn.reason or "", self._clock.now())
            self._pause_if_asked(connection, turn)

        await self._database.write(write)
        return State.FAILED

    async def _note_besides(self, turn: Turn, missing: list[str], amocrm: AmoClient) -> int | None:
        """Write the note besides, unless it is there; returns its id, or None if the turn is not ours any more."""
        if turn.note_id is not None:
            return turn.note_id
        if turn.sent_attempt_at is not None:
            found = await amocrm.find_note(turn.deal, self._notes.besides_marker(turn, missing))
            if found is not None:
                return found
        async with amocrm.slot() as slot:
            with self._in_flight.track():
                if not await self._note(turn, sent_attempt_at=self._clock.now()):
                    return None
                begun = Begun(Checked(turn, Go(Step.SEND)), self._clock.monotonic())
                return await self._write_note(begun, slot, self._notes.besides(turn, missing))

    async def _sent(self, turn: Turn, note_id: int | None) -> Outcome:
        """The client's chat or the deal has the reply: end the turn."""

        def write(connection: Connection) -> None:
            now = self._clock.now()
            if sending.mark_sent(connection, turn, self._me, note_id, now) and turn.is_of_person:
                own_words.arrived(connection, turn, now)
            self._pause_if_asked(connection, turn)

        await self._database.write(write)
        self.hurry()
        log.info("replied", turn=turn.id, lead=turn.lead_id, responder=turn.responder, note=note_id)
        return State.SENT

    def _pause_if_asked(self, connection: Connection, turn: Turn) -> None:
        if turn.responder in (Writer.HUMAN_REQUEST, Writer.COMPLAINT) and not sending.manager_wrote(
            connection, turn.id
        ):
            pause_for_client(connection, turn.conversation_id, turn.chat_ref)

    def _keep(self, connection: Connection, turn_id: int) -> Outcome:
        """Without an account, and in a trial chat, keep the reply or the draft here."""
        turn, verdict = self._look(connection, turn_id)
        if turn is None or isinstance(verdict, Ended):
            return turn.state if turn else None
        if turn.reply is None:
            return Rewrite()
        now = self._clock.now()
        checked = check(connection, turn_id, self._me, self._policy, now, connected=False)
        match checked.verdict:
            case Go(Step.SHOW_DRAFT):
                self._pause_if_asked(connection, turn)
                return State.DRAFT if drafts.show(connection, turn, self._me, None, now) else None
            case Go(Step.KEEP):
                if not sending.keep(connection, turn, self._me, now):
                    return Wait(now)
                self._pause_if_asked(connection, turn)
                return State.KEPT
            case Go(Step.FAIL):
                return State.FAILED if sending.fail(connection, turn, self._me, _(DISCONNECTED), now) else None
        return checked.outcome

    async def _still_ours(self, turn_id: int) -> bool:
        return await self._database.read(lambda connection: turns.owns(connection, turn_id, self._me))

    async def _note(self, turn: Turn, **values: Any) -> bool:
        return await self._database.write(lambda connection: changes.note(connection, turn, self._me, **values))

    async def _not_delivered(self, turn_id: int, error: AmoError) -> Outcome:
        log.warning("not delivered", turn=turn_id, reason=str(error), final=error.permanent)
        outcome = await self._database.write(lambda connection: self._after_failure(connection, turn_id, error))
        if outcome == Wait() and error.ambiguous:
            return Wait(self._clock.now() + UNSURE_FOR, failed=True)
        return outcome

    def _after_failure(self, connection: Connection, turn_id: int, error: AmoError) -> Outcome:
        now = self._clock.now()
        turn = turns.owned(connection, turn_id, self._me)
        if turn is not None and not error.ambiguous:  # this call surely failed, and UNSURE_FOR is over for earlier ones
            changes.note(connection, turn, self._me, sent_attempt_at=None)
        if outages.begin_if_refused(connection, error, now):
            return Wait()
        if turn is None:
            return None
        if not error.permanent and sending.still_fails(connection, turn, self._me, now) < GIVE_UP_AFTER:
            return Wait()
        reason = str(error) if error.permanent else _(GAVE_UP).format(reason=error)
        if turn.state == State.ANSWERING:  # a draft waits for a manager even without its note
            return State.DRAFT if drafts.show(connection, turn, self._me, None, now) else None
        return State.FAILED if sending.fail(connection, turn, self._me, reason, now) else None
