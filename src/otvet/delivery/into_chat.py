"""Sends a reply into the client's chat, part by part. A part is given again only if amoCRM surely did not take it."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from functools import partial

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection

from otvet.amocrm.answers import AmoError
from otvet.amocrm.chat_calls import sent_since
from otvet.amocrm.client import AmoClient, Slot
from otvet.clock import Clock
from otvet.conversations import history
from otvet.conversations.history import Asked
from otvet.conversations.messages import known_messages
from otvet.conversations.tables import conversations
from otvet.delivery import channels
from otvet.delivery.in_flight import InFlight
from otvet.delivery.methods import DeliveryMethod, TakesLess
from otvet.delivery.recheck import NOT_OURS, SURE_FOR_SECONDS, Checked, Outcome, check_again
from otvet.i18n import N_, _
from otvet.storage import outages
from otvet.storage.database import Database
from otvet.turns import changes, parts
from otvet.turns import turn as turns
from otvet.turns.parts import Part
from otvet.turns.policy import Ended, Go, Policy, Step
from otvet.turns.turn import Turn

log = structlog.get_logger(__name__)

SETTLE_SECONDS = 10.0
"""A bot has this time to read the field before the next text goes there, unless its message comes back earlier.

amoCRM carries out a run some time after accepting it; how long after is not documented.
"""
ECHO_SECONDS = 60.0  # how long to wait for the outgoing message as which a part comes back
LOOK_SECONDS = 2.0
CLOCKS_DIFFER = timedelta(seconds=5)  # amoCRM's clock and ours, when its events are queried
UNCONFIRMED_FOR = timedelta(minutes=10)  # after this, a part has come back or never will
COME_BACK_WITHIN = timedelta(days=7)
"""If no part has come back in this time, the account does not report robots' messages: they cannot be told apart."""

CANNOT_TELL = N_(
    "It cannot be told whether the client got this. Look into the chat; if it is not there, send it by hand or with: "
    "otvet retry {turn}"
)
NOT_CONFIGURED = N_("The way {way} is not set up any more (OTVET_REPLY_VIA).")

_OF_LEAD = sa.select(turns.turns.c.id).join(conversations)


class IntoChat:
    """Sends the parts of replies to clients, in the process ``me``."""

    def __init__(
        self, database: Database, clock: Clock, amocrm: AmoClient, me: str, policy: Policy, in_flight: InFlight
    ) -> None:
        self._database = database
        self._clock = clock
        self._amocrm = amocrm
        self._me = me
        self._policy = policy
        self._in_flight = in_flight

    async def send(self, turn: Turn, method: DeliveryMethod | None) -> Outcome | Ended:
        """Send the parts that are still to be sent. Ended when every part has ended, well or not; else the outcome."""
        if method is None:
            await self._refuse_all(turn, _(NOT_CONFIGURED).format(way=turn.way))
            return Ended()
        asked = await self._database.read(lambda connection: history.asked(connection, turn.id, turn.deal))
        while True:
            found = await self._database.read(lambda connection: parts.of_turn(connection, turn.id))
            given = [part for part in found if part.state == parts.GIVEN]
            todo = [part for part in found if part.state == parts.TO_SEND]
            if given:
                if not await self._resolve_given(turn, given):
                    return None
            elif not todo or any(part.state in (parts.REFUSED, parts.UNKNOWN) for part in found):
                return Ended()
            else:
                checked = await self._send_batch(turn, asked, todo if method.at_once else todo[:1], method)
                if checked is not None:
                    return checked.outcome

    async def _send_batch(
        self, turn: Turn, asked: Asked, batch: Sequence[Part], method: DeliveryMethod
    ) -> Checked | None:
        """Send a batch. None when it has ended or waits to come back; otherwise why it goes no further."""
        try:
            if method.settles:
                await self._wait_for_bot_to_read(turn)
            if not await method.prepare(turn, asked, batch):
                return NOT_OURS
        except AmoError as error:
            if not error.permanent:
                raise
            await self._refuse(turn, [part.id for part in batch], str(error))
            return None
        except TakesLess as less:
            log.info("a reply is cut into smaller parts", turn=turn.id, characters=less.characters)
            smaller = partial(channels.split, limit=less.characters)
            await self._database.write(
                lambda connection: (
                    parts.cut_anew(connection, turn.id, smaller) if turns.owns(connection, turn.id, self._me) else None
                )
            )
            return None
        async with self._amocrm.slot() as slot:  # before the last check: in a backlog this may take a while
            with self._in_flight.track():
                now, at = self._clock.now(), self._clock.monotonic()
                checked = await self._database.write(lambda connection: self._check(connection, turn.id, batch, now))
                if checked.turn is None or checked.verdict != Go(Step.SEND):
                    log.info("a reply to the client's chat goes no further", turn=turn.id, state=checked.state)
                    return checked
                if self._clock.monotonic() - at > SURE_FOR_SECONDS and not await self._ours(turn.id):
                    return NOT_OURS
                await self._call(slot, checked.turn, asked, batch, method, now)
        return None

    def _check(self, connection: Connection, turn_id: int, batch: Sequence[Part], now: datetime) -> Checked:
        """Decide whether the batch is sent, and commit to it, right before the call."""
        checked = check_again(connection, turn_id, self._me, self._policy, now)
        if checked.turn is None or checked.verdict != Go(Step.SEND):
            return checked
        return checked if parts.give(connection, [part.id for part in batch], now) else NOT_OURS

    async def _call(
        self,
        slot: Slot,
        turn: Turn,
        asked: Asked,
        batch: Sequence[Part],
        method: DeliveryMethod,
        given_at: datetime,
    ) -> None:
        """Make the call that cannot be undone, and store its outcome."""
        ids = [part.id for part in batch]
        try:
            outside_id = await method.send(slot, turn, asked, batch)
        except AmoError as error:
            log.warning("a part was not taken", turn=turn.id, reason=str(error), final=error.permanent)
            if error.ambiguous:
                return  # it stays given: the next round waits for it to come back
            if not error.permanent:
                await self._end(turn, ids, given_at, parts.TO_SEND)
                raise
            await self._end(turn, ids, given_at, parts.REFUSED, reason=str(error))
            return
        await self._end(turn, ids, given_at, parts.SENT, outside_id=outside_id)

    async def _end(
        self,
        turn: Turn,
        ids: Collection[int],
        given_at: datetime,
        state: str,
        *,
        reason: str | None = None,
        outside_id: str | None = None,
    ) -> None:
        def write(connection: Connection) -> None:
            if parts.end(connection, ids, given_at, state, outside_id) and reason is not None:
                changes.note(connection, turn, self._me, reason=reason)

        await self._database.write(write)

    async def _resolve_given(self, turn: Turn, given: Sequence[Part]) -> bool:
        """End given parts whose outcome a crash or a lost answer left open. False if the turn is not ours any more.

        The outcome shows when they come back as outgoing messages, or else in amoCRM's events.
        """
        waited = 0.0
        ids = {part.id for part in given}
        given_at = given[0].given_at
        assert given_at is not None
        passed = (self._clock.now() - given_at).total_seconds()
        patience = ECHO_SECONDS - max(0.0, passed)  # never longer than that, even if the clock was set back
        while waited < patience:
            found = await self._database.read(lambda connection: parts.of_turn(connection, turn.id))
            if all(part.echo_id for part in found if part.id in ids):
                break
            if not await self._ours(turn.id):
                return False
            await self._clock.sleep(LOOK_SECONDS)
            waited += LOOK_SECONDS
        found = await self._database.read(lambda connection: parts.of_turn(connection, turn.id))
        missing = [part for part in found if part.id in ids and not part.echo_id]
        if missing and not await self._events_tell(turn, missing):
            log.warning("it cannot be told whether the client got a reply", turn=turn.id)
            reason = _(CANNOT_TELL).format(turn=turn.id)
            await self._end(turn, ids, given_at, parts.UNKNOWN, reason=reason)
        else:
            await self._end(turn, ids, given_at, parts.SENT)
        return True

    async def _events_tell(self, turn: Turn, missing: Sequence[Part]) -> bool:
        """Whether amoCRM's events show one outgoing message for each missing part, and none of another robot.

        An event does not hold the text, so it proves something only if other robots' messages are known here.
        """
        since = min(part.given_at for part in missing if part.given_at)
        now = self._clock.now()
        if not await self._database.read(partial(parts.have_come_back, since=now - COME_BACK_WITHIN)):
            return False
        ours = await self._database.read(lambda connection: self._unconfirmed(connection, turn.deal, since))
        try:
            sent = await sent_since(self._amocrm, turn.deal, since - CLOCKS_DIFFER)
        except AmoError as error:
            if outages.concerns_all(error):
                raise
            log.info("amoCRM's events do not tell what was sent", turn=turn.id, reason=str(error))
            return False
        others = await self._database.read(lambda connection: _known(connection, sent))
        return len(sent - others) == len(ours)

    def _unconfirmed(self, connection: Connection, lead_id: int, since: datetime) -> Sequence[datetime]:
        here = _OF_LEAD.where(conversations.c.amocrm_lead_id == lead_id)
        return parts.unconfirmed(connection, here, since - UNCONFIRMED_FOR)

    async def _wait_for_bot_to_read(self, turn: Turn) -> None:
        """Wait until the bot has surely read the deal's last text from the field."""
        waited = 0.0
        while waited < SETTLE_SECONDS:
            now = self._clock.now()
            since = now - timedelta(seconds=SETTLE_SECONDS)
            here = _OF_LEAD.where(conversations.c.amocrm_lead_id == turn.deal)
            if not await self._database.read(partial(parts.unconfirmed, turn_ids=here, since=since)):
                return
            await self._clock.sleep(1)
            waited += 1

    async def _refuse(self, turn: Turn, ids: Sequence[int], reason: str) -> None:
        log.warning("a reply cannot go to the client's chat", turn=turn.id, reason=reason)

        def write(connection: Connection) -> None:
            if changes.note(connection, turn, self._me, reason=reason):
                parts.refuse(connection, ids)

        await self._database.write(write)

    async def _refuse_all(self, turn: Turn, reason: str) -> None:
        found = await self._database.read(lambda connection: parts.of_turn(connection, turn.id))
        await self._refuse(turn, [part.id for part in found if part.state == parts.TO_SEND], reason)

    async def _ours(self, turn_id: int) -> bool:
        return await self._database.read(lambda connection: turns.owns(connection, turn_id, self._me))


def _known(connection: Connection, ids: set[str]) -> set[str]:
    """Which of these ids are known: messages of managers, and parts that have come back."""
    return known_messages(connection, ids) | parts.known_echoes(connection, ids)
