"""A written reply brought to where it belongs: the last look, the way, and what becomes of it."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from sqlalchemy.engine import Connection, Row

from otvet import conversations, gates, handover, turns
from otvet.amocrm.client import AmoClient, AmoError
from otvet.amocrm.ways import go_on
from otvet.clock import Clock
from otvet.database import Database
from otvet.deals import admission
from otvet.deliver import bot_waits, drafts, parts
from otvet.deliver.chat import Chat, origin_of
from otvet.deliver.last_look import look_again
from otvet.deliver.on_their_way import OnTheirWay, Stopping
from otvet.deliver.verdicts import AGAIN, LATER, NOT_OURS, SURE_FOR_SECONDS, UNSURE_FOR
from otvet.deliver.ways import How, Salesbot, ready
from otvet.errors import OtvetError, ServiceError
from otvet.i18n import N_, _
from otvet.settings.by_channel import SALESBOT, WIDGET, way_for

log = structlog.get_logger(__name__)

_CLOCK_SET_BACK = "clock set back"
GIVE_UP_AFTER = timedelta(days=1)
TASK_WITHIN = timedelta(hours=1)

GAVE_UP = N_("amoCRM did not take the reply for a day: {reason}")
NOT_TOLD = N_("The client did not get this reply. {reason}\n\n{text}")
DISCONNECTED = N_("amoCRM is not connected any more; look into the deal whether the reply is there")
TASKS = {
    handover.RESPONDER: N_("The client asks for a person.\n\n{summary}"),
    admission.RESPONDER: N_("The client wrote out of working hours.\n\n{summary}"),
}
PROMISED = N_("The client was promised an answer by a manager.\n\n{summary}")


DEFAULT = How()


@dataclass(frozen=True, slots=True)
class _Begun:
    """What is on its way to amoCRM. ``verdict``: how it ended without a call; None when the call is to be made now.

    at: when that was known, by the monotonic clock.
    """

    verdict: str | None
    turn: Row[Any] | None = None
    at: float = 0.0


class Delivery:
    """Brings replies to deals and clients. ``amocrm`` is None while no account is connected: they are kept then.

    Every POST is announced in the database first, by whoever owns the turn, and its place among the calls is taken
    before that: so the last that is known before the call is that the turn is ours and nobody took over.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        amocrm: AmoClient | None,
        *,
        installation_name: str,
        me: str,
        how: How = DEFAULT,
    ) -> None:
        self._database = database
        self._clock = clock
        self._amocrm = amocrm
        self._installation_name = installation_name
        self._me = me
        self._how = how
        self._ways = ready(database, clock, amocrm, how) if amocrm else {}
        self._on_their_way = OnTheirWay(clock)
        self._taken = asyncio.Event()  # replaced whenever amoCRM takes a reply
        self._unsure: dict[int, float] = {}  # turns that amoCRM is not to be asked for yet, and for how many seconds

    async def wait(self, turn_id: int, seconds: float) -> None:
        """Until it is worth trying again: after ``seconds``, or as soon as amoCRM takes another reply.

        Where amoCRM may yet carry out what it was given, until it can be asked for it, and no longer.
        """
        unsure = self._unsure.pop(turn_id, None)
        if unsure is not None:
            await self._clock.sleep(unsure)
            return
        waits = [asyncio.ensure_future(self._clock.sleep(seconds)), asyncio.ensure_future(self._taken.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()

    def hurry(self) -> None:
        """amoCRM takes calls: whoever waits may try again."""
        self._taken.set()
        self._taken = asyncio.Event()

    async def prepare(self) -> None:
        """At a start: the field that the bot reads is made, so that its number can be told to the bot."""
        salesbot = self._ways.get(SALESBOT)
        if isinstance(salesbot, Salesbot):
            try:
                log.info("replies go to the Salesbot through a field of the deal", field=await salesbot.field())
            except OtvetError as error:  # the next reply tries again
                log.warning("the field for replies could not be made", reason=str(error))
                await self._heed(error)

    async def deliver(self, turn_id: int) -> str:
        """Gives the state that the turn is in then; LATER when it may work another time; AGAIN to write anew."""
        if self._amocrm is None:
            return await self._database.write(lambda connection: self._without_amocrm(connection, turn_id))
        verdict, turn = await self._database.read(lambda connection: self._look(connection, turn_id))
        if verdict == _CLOCK_SET_BACK:
            await self._begin_anew_to_wait(turn_id)
            return LATER
        if verdict is not None:
            return verdict
        try:
            if turn.state == turns.SENDING and turn.way is not None:
                return await self._into_chat(turn, self._amocrm)
            if turn.state == turns.SENDING:
                return await self._go_on(turn, self._amocrm)
            return await self._send(turn, self._amocrm)
        except (gates.GateClosed, Stopping):
            return LATER
        except AmoError as error:
            return await self._not_delivered(turn_id, error)

    async def release_bot(self, conversation_id: int) -> None:
        """Let a bot go on without a reply where that is left to a person: no other bot can work in the deal meanwhile.

        Tried once: a bot that is not reached waits until its own time is over.
        """
        if self._amocrm is None or WIDGET not in self._ways:
            return
        return_url = await self._database.write(
            lambda connection: self._take_bot_without_reply(connection, conversation_id)
        )
        if return_url is not None:
            try:
                await self._amocrm.place()
                await go_on(self._amocrm, return_url, {"status": "none", "reply": "", "parts": 0}, ())
            except ServiceError as error:
                why = str(error)
                log.info("a bot could not be told that there is no reply", conversation=conversation_id, reason=why)
                await self._heed(error)

    async def _heed(self, error: OtvetError) -> None:
        """What refuses everything stops everything, also where nothing is tried again."""
        if isinstance(error, AmoError):
            heed = partial(gates.heed, name=gates.AMOCRM, error=error, now=self._clock.now())
            await self._database.write(heed)

    def _take_bot_without_reply(self, connection: Connection, conversation_id: int) -> str | None:
        turn = turns.last(connection, conversation_id)
        if turn is None or turn.state not in (turns.HANDED, turns.CANCELLED, turns.FAILED):
            return None
        if turn.amocrm_lead_id is None or gates.closed(connection, gates.AMOCRM) is not None:
            return None
        waits = bot_waits.newest(connection, turn.amocrm_lead_id, self._clock.now())
        if waits is None or not bot_waits.take(connection, waits.id, turn.id):
            return None
        return str(waits.return_url)

    async def finish(self, until: float) -> None:
        """Before a stop: let what is on its way arrive and be marked as sent, and begin nothing else."""
        await self._on_their_way.finish(until)

    def _look(self, connection: Connection, turn_id: int) -> tuple[str | None, Any]:
        """Whether there is a call to make: (how it ends without one or None, the turn)."""
        turn = turns.get(connection, turn_id)
        if turn is None or turn.owner != self._me or turn.state not in (turns.ANSWERING, turns.SENDING):
            return (turn.state if turn else NOT_OURS), turn
        if turn.state == turns.ANSWERING and turn.reply is None:
            return AGAIN, turn  # there is nothing to deliver yet
        if gates.closed(connection, gates.AMOCRM) is not None:
            return LATER, turn
        if turn.tried_at is None:
            return None, turn
        passed = self._clock.now() - turn.tried_at
        if passed < timedelta(0):
            return _CLOCK_SET_BACK, turn
        if passed < UNSURE_FOR:
            self._unsure[turn_id] = (UNSURE_FOR - passed).total_seconds()
            return LATER, turn
        return None, turn

    async def _begin_anew_to_wait(self, turn_id: int) -> None:
        now = self._clock.now()

        def write(connection: Connection) -> None:
            for state in (turns.SENDING, turns.ANSWERING):
                turns.note_down(connection, turn_id, self._me, state=state, tried_at=now)

        await self._database.write(write)
        self._unsure[turn_id] = UNSURE_FOR.total_seconds()

    async def _send(self, turn: Row[Any], amocrm: AmoClient) -> str:
        """The first attempt: nothing of it can be in amoCRM, but perhaps a draft for the staff."""
        if turn.tried_at is not None:
            note_id = await amocrm.find_note(turn.amocrm_lead_id, drafts.marker(self._installation_name, turn))
            if note_id is not None:
                return await self._drafted(turn, note_id, amocrm)
        # Before the last look, which looks at the gate again: in a backlog this may take a while.
        await amocrm.place(past_gate=turn.tried_at is None)
        with self._on_their_way.one():
            begun = await self._database.write(lambda connection: self._last_look(connection, turn.id))
            if begun.turn is None:
                return begun.verdict or NOT_OURS
            if begun.turn.state == turns.ANSWERING:
                text = drafts.note(begun.turn, self._installation_name, _remarks(begun.turn))
                return await self._drafted(begun.turn, await self._write_note(begun, amocrm, text), amocrm)
            if begun.turn.way is None:
                return await self._as_note(begun, amocrm)
        return await self._into_chat(begun.turn, amocrm)

    async def _as_note(self, begun: _Begun, amocrm: AmoClient) -> str:
        assert begun.turn is not None
        note_id = await self._write_note(begun, amocrm, self._text(begun.turn))
        return await self._written(begun.turn, note_id, amocrm) if note_id is not None else NOT_OURS

    async def _drafted(self, turn: Row[Any], note_id: int | None, amocrm: AmoClient) -> str:
        """The staff have the draft. What a person has to see to does not wait until it is approved."""
        if note_id is None:
            return NOT_OURS
        if turn.summary is not None and not await self._make_task(turn, note_id, amocrm):
            return NOT_OURS

        def write(connection: Connection) -> bool:
            self._pause_if_asked(connection, turn)
            return turns.show_draft(connection, turn.id, self._me, note_id)

        shown = await self._database.write(write)
        log.info("a draft waits for a manager", turn=turn.id, lead=turn.amocrm_lead_id)
        return turns.DRAFT if shown else NOT_OURS

    async def _into_chat(self, turn: Row[Any], amocrm: AmoClient) -> str:
        how = self._how
        chat = Chat(
            self._database, self._clock, amocrm, self._ways, self._me, how.mode, self._on_their_way, hours=how.hours
        )
        verdict = await chat.send(turn)
        if verdict is not None:
            return verdict

        def read(connection: Connection) -> tuple[Any, Any]:
            return turns.get(connection, turn.id), parts.of_turn(connection, turn.id)

        now, found = await self._database.read(read)
        if now is None or now.owner != self._me or now.state != turns.SENDING:
            return now.state if now else NOT_OURS
        missing = [part.text for part in found if part.state != parts.SENT]
        return await self._after_chat(now, missing, amocrm)

    async def _after_chat(self, turn: Row[Any], missing: list[str], amocrm: AmoClient) -> str:
        """The note for the staff, which says so where the client lacks something; then the end of the turn."""
        note_id: int | None = turn.note_id
        if missing or self._how.note:
            try:
                note_id = await self._note_besides(turn, missing, amocrm)
            except AmoError as error:
                recent = turn.failing_since is None or self._clock.now() - turn.failing_since < GIVE_UP_AFTER
                if gates.stops_all(error) or (recent and not error.permanent):
                    raise
                log.error("no note could be written besides", turn=turn.id, reason=str(error))
            else:
                if note_id is None:
                    return NOT_OURS
        if not missing:
            return await self._written(turn, note_id, amocrm)
        if turn.summary is not None and not await self._make_task(turn, note_id, amocrm):
            return NOT_OURS
        reason = turn.reason or ""
        now = self._clock.now()

        def write(connection: Connection) -> None:
            turns.fail(connection, turn.id, self._me, reason, now)
            self._pause_if_asked(connection, turn)

        await self._database.write(write)
        return turns.FAILED

    async def _note_besides(self, turn: Row[Any], missing: list[str], amocrm: AmoClient) -> int | None:
        """None when the turn is not ours any more."""
        marker = f"otvet:{'not-' if missing else ''}told-{turn.id}-{self._marker(turn).rsplit('-', 1)[1]}"
        text = f"{turn.reply}{_remarks(turn)}"
        if missing:
            told = {"reason": turn.reason, "text": "\n\n".join(missing)}
            text = _(NOT_TOLD).format(**told)
        if turn.note_id is not None:
            return int(turn.note_id)
        if turn.tried_at is not None:
            found = await amocrm.find_note(turn.amocrm_lead_id, marker)
            if found is not None:
                return found
        await amocrm.place()
        with self._on_their_way.one():
            now = self._clock.now()
            if not await self._note_down(turn.id, tried_at=now):
                return None
            begun = _Begun(None, turn, self._clock.monotonic())
            return await self._write_note(begun, amocrm, f"{text}\n\n[{marker}]")

    async def _go_on(self, turn: Row[Any], amocrm: AmoClient) -> str:
        """After a crash or a time-out the note may be there already: amoCRM is asked before it is sent again."""
        note_id = turn.note_id or await amocrm.find_note(turn.amocrm_lead_id, self._marker(turn))
        if note_id is not None:
            return await self._written(turn, note_id, amocrm)
        await amocrm.place()
        with self._on_their_way.one():
            begun = await self._database.write(lambda connection: self._last_look_again(connection, turn.id))
            return begun.verdict or NOT_OURS if begun.turn is None else await self._as_note(begun, amocrm)

    def _last_look(self, connection: Connection, turn_id: int) -> _Begun:
        """All that decides whether it is sent now, in one commit right before it is."""
        now = self._clock.now()
        turn = turns.get(connection, turn_id)
        if turn is None:
            return _Begun(NOT_OURS)
        if turns.absorb_newer(connection, turn, self._me):
            log.info("the client wrote on; the reply is written anew", turn=turn_id)
            return _Begun(AGAIN)
        turn = turns.get(connection, turn_id)  # as it is now: the look for newer words may have waited for a lock
        if turn is None:
            return _Begun(NOT_OURS)
        if gates.closed(connection, gates.AMOCRM) is not None:
            return _Begun(LATER)
        if admission.is_over(turn, self._how.hours, now):
            return _Begun(AGAIN if turns.drop_reply(connection, turn_id, self._me) else NOT_OURS)
        if self._is_stale(connection, turn):
            left = turns.hand_to_person(connection, turn_id, self._me, turns.STALE, now)
            return _Begun(turns.HANDED if left else NOT_OURS)
        if (verdict := self._by_mode(connection, turn)) is not None:
            return verdict
        if (committed := self._commit(connection, turn)) is not None:
            return _Begun(None, committed, self._clock.monotonic())
        if _is_paused(turn, now):  # somebody took the conversation over
            turns.hand_to_person(connection, turn_id, self._me, turns.PAUSED, now)
        turn = turns.get(connection, turn_id)
        return _Begun(LATER if turn and turn.state == turns.SENDING else turn.state if turn else NOT_OURS)

    def _is_stale(self, connection: Connection, turn: Row[Any]) -> bool:
        """Whether it waited so long for amoCRM that an answer would surprise; not where a person comes in any case."""
        if turn.forced or turn.approved or turn.summary is not None:
            return False
        return turns.too_old(turns.said_at(connection, turn.id), self._clock.now(), self._how.stale)

    def _by_mode(self, connection: Connection, turn: Row[Any]) -> _Begun | None:
        """None where the reply goes to the client without anybody's approval, or has it."""
        mode = turn.mode or self._how.mode
        now = self._clock.now()
        if mode == conversations.OFF and not turn.forced:
            left = turns.leave_alone(connection, turn.id, self._me, turns.OFF, now)
            return _Begun(turns.CANCELLED if left else NOT_OURS)
        if mode != conversations.DRAFT or turn.approved or admission.is_own_text(turn):
            return None
        if turn.state != turns.ANSWERING or turn.reply is None or (_is_paused(turn, now) and not turn.forced):
            return None  # as it would be without drafts
        if not turns.note_down(connection, turn.id, self._me, state=turns.ANSWERING, tried_at=now):
            return _Begun(NOT_OURS)
        return _Begun(None, turns.get(connection, turn.id), self._clock.monotonic())

    def _commit(self, connection: Connection, turn: Row[Any]) -> Row[Any] | None:
        """To the client's chat, where that is set for its channel, or as a note; see turns.commit_to_send."""
        now = self._clock.now()
        origin = origin_of(connection, turn.id)
        name = way_for(self._how.via, origin)
        if not origin and WIDGET in self._ways and bot_waits.newest(connection, turn.amocrm_lead_id, now):
            name = WIDGET  # only the bot has told of the message, and not of its channel
        way = self._ways.get(name)
        if way is None or turn.reply is None:
            return turns.commit_to_send(connection, turn.id, self._me, now)
        texts = way.cut(turn.reply, origin)
        return turns.commit_to_send(connection, turn.id, self._me, now, name, texts)

    def _last_look_again(self, connection: Connection, turn_id: int) -> _Begun:
        """The same before a further attempt; the note surely is not in amoCRM."""
        now = self._clock.now()
        how = self._how
        verdict = look_again(connection, turn_id, self._me, now, how.mode, how.hours, tried_at=now)
        if verdict is not None:
            return _Begun(verdict)
        return _Begun(None, turns.get(connection, turn_id), self._clock.monotonic())

    def _without_amocrm(self, connection: Connection, turn_id: int) -> str:
        turn = turns.get(connection, turn_id)
        if turn is None:
            return NOT_OURS
        if turns.absorb_newer(connection, turn, self._me):
            log.info("the client wrote on; the reply is written anew", turn=turn_id)
            return AGAIN
        turn = turns.get(connection, turn_id)  # see _last_look
        if turn is None:
            return NOT_OURS
        now = self._clock.now()
        if turn.owner == self._me and turn.state == turns.ANSWERING and turn.reply is not None:
            mode = turn.mode or self._how.mode
            if mode == conversations.OFF and not turn.forced:
                turns.leave_alone(connection, turn_id, self._me, turns.OFF, now)
                return turns.CANCELLED
            if mode == conversations.DRAFT and not (turn.approved or admission.is_own_text(turn)):
                self._pause_if_asked(connection, turn)
                turns.show_draft(connection, turn_id, self._me, None)
                return turns.DRAFT
        if turns.keep(connection, turn_id, self._me, now):
            self._pause_if_asked(connection, turn)
        elif not turns.hand_to_person(connection, turn_id, self._me, turns.PAUSED, now):
            turns.fail(connection, turn_id, self._me, _(DISCONNECTED), now)
        turn = turns.get(connection, turn_id)
        return str(turn.state) if turn else NOT_OURS

    def _marker(self, turn: Row[Any]) -> str:
        return turns.marker(self._installation_name, turn.id)

    def _text(self, turn: Row[Any]) -> str:
        return f"{turn.reply}{_remarks(turn)}\n\n[{self._marker(turn)}]"

    async def _write_note(self, begun: _Begun, amocrm: AmoClient, text: str) -> int | None:
        """Its id; None when the turn is not ours any more."""
        turn = begun.turn
        assert turn is not None
        if self._clock.monotonic() - begun.at > SURE_FOR_SECONDS and not await self._still_ours(turn.id):
            return None
        return await amocrm.add_note(turn.amocrm_lead_id, text, has_place=True)

    async def _still_ours(self, turn_id: int) -> bool:
        return await self._database.read(lambda connection: turns.owns(connection, turn_id, self._me))

    async def _written(self, turn: Row[Any], note_id: int | None, amocrm: AmoClient) -> str:
        """The client's chat has it, or the deal as a note: what is still to be done, and the end of the turn."""
        if turn.summary is not None and not turn.approved and not await self._make_task(turn, note_id, amocrm):
            return NOT_OURS

        def write(connection: Connection) -> None:
            turns.mark_sent(connection, turn.id, self._me, note_id, self._clock.now())
            self._pause_if_asked(connection, turn)

        await self._database.write(write)
        self.hurry()
        log.info("replied", turn=turn.id, lead=turn.amocrm_lead_id, responder=turn.responder, note=note_id)
        return turns.SENT

    def _pause_if_asked(self, connection: Connection, turn: Row[Any]) -> None:
        if turn.responder == handover.RESPONDER and not turns.has_a_person(connection, turn.id):
            conversations.pause_for_client(connection, turn.conversation_id)

    async def _make_task(self, turn: Row[Any], note_id: int | None, amocrm: AmoClient) -> bool:
        """For the responsible user; False if the turn is not ours any more.

        It comes before the turn is closed, so that a crash does not lose it.
        """
        marker = self._marker(turn)
        text = f"{_(TASKS.get(turn.responder, PROMISED)).format(summary=turn.summary)}\n\n[{marker}]"
        try:
            if turn.note_id is None and not await self._note_down(turn.id, state=turn.state, note_id=note_id):
                return False
            if await amocrm.find_task(turn.amocrm_lead_id, marker) is None:
                lead = await amocrm.lead(turn.amocrm_lead_id) or {}
                await amocrm.place()
                await gates.pass_through(self._database, gates.AMOCRM)
                now = self._clock.now()
                if not await self._note_down(turn.id, state=turn.state, tried_at=now):
                    return False
                responsible = lead.get("responsible_user_id")
                due = self._how.somebody_is_there(now) + TASK_WITHIN
                await amocrm.add_task(turn.amocrm_lead_id, text, due, responsible, has_place=True)
        except AmoError as error:
            if not error.permanent:
                raise
            log.error("no task could be made for the person who is asked for", turn=turn.id, reason=str(error))
        return True

    async def _note_down(self, turn_id: int, **values: Any) -> bool:
        return await self._database.write(lambda connection: turns.note_down(connection, turn_id, self._me, **values))

    async def _not_delivered(self, turn_id: int, error: AmoError) -> str:
        now = self._clock.now()
        log.warning("not delivered", turn=turn_id, reason=str(error), final=error.permanent)

        def write(connection: Connection) -> str:
            turn = turns.get(connection, turn_id)
            if not error.ambiguous:  # whatever was given to amoCRM before, the wait for it was over
                for state in (turns.SENDING, turns.ANSWERING):
                    turns.note_down(connection, turn_id, self._me, state=state, tried_at=None)
            if gates.heed(connection, gates.AMOCRM, error, now):
                return LATER
            if turn is None:
                return NOT_OURS
            if not error.permanent and turns.still_fails(connection, turn, self._me, now) < GIVE_UP_AFTER:
                return LATER
            reason = str(error) if error.permanent else _(GAVE_UP).format(reason=error)
            if turn.state == turns.ANSWERING:  # a draft that amoCRM does not take as a note waits all the same
                turns.show_draft(connection, turn_id, self._me, None)
                return turns.DRAFT
            turns.fail(connection, turn_id, self._me, reason, now)
            return turns.FAILED

        state = await self._database.write(write)
        if state == LATER and error.ambiguous:  # a clock that jumps meanwhile does not shorten this
            self._unsure[turn_id] = UNSURE_FOR.total_seconds()
        return state


def _is_paused(turn: Row[Any], now: datetime) -> bool:
    return turn.paused_until is not None and turn.paused_until > now


def _remarks(turn: Row[Any]) -> str:
    """For staff, who see the note: what of the reply stands nowhere, where the user wants it sent all the same."""
    found = [text for _kind, text in (turn.details or {}).get("findings", ())]
    return f"\n\n{_(handover.CHECK_FIRST).format(found='; '.join(found))}" if found else ""
