"""A reply into the client's chat, part by part. No part is given to amoCRM twice unless it surely did not take it."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection, Row

from otvet import gates, turns
from otvet.amocrm.client import AmoClient, AmoError
from otvet.amocrm.ways import sent_since
from otvet.clock import Clock
from otvet.conversations import conversations, messages
from otvet.database import Database
from otvet.deliver import parts
from otvet.deliver.last_look import look_again
from otvet.deliver.on_their_way import OnTheirWay
from otvet.deliver.verdicts import NOT_OURS, SURE_FOR_SECONDS
from otvet.deliver.ways import SETTLE_SECONDS, Way
from otvet.i18n import N_, _
from otvet.settings.working_hours import Hours

log = structlog.get_logger(__name__)

ECHO_SECONDS = 60.0  # so long an outgoing message is waited for that tells what became of a part
LOOK_SECONDS = 2.0
CLOCKS_DIFFER = timedelta(seconds=5)  # amoCRM's and ours, where its events are asked for what came after a moment
UNCONFIRMED_FOR = timedelta(minutes=10)  # a part that was sent longer ago than that has come back or never will
COME_BACK_WITHIN = timedelta(days=7)
"""Where no part has come back for so long, the account does not report what robots send: theirs and ours look alike."""

CANNOT_TELL = N_(
    "It cannot be told whether the client got this. Look into the chat; if it is not there, send it by hand or with: "
    "otvet retry {turn}"
)
NOT_CONFIGURED = N_("The way {way} is not set up any more (OTVET_REPLY_VIA).")

_OF_LEAD = sa.select(turns.turns.c.id).join(conversations)


class Chat:
    """Brings the parts of replies to clients, as the process ``me``; ``mode`` is of conversations without their own."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        amocrm: AmoClient,
        ways: Mapping[str, Way],
        me: str,
        mode: str,
        on_their_way: OnTheirWay,
        *,
        hours: Hours | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._amocrm = amocrm
        self._ways = ways
        self._me = me
        self._mode = mode
        self._hours = hours
        self._on_their_way = on_their_way

    async def send(self, turn: Row[Any]) -> str | None:
        """Give what is still to be given. None when every part has ended, well or not; otherwise how it is left."""
        way = self._ways.get(turn.way)
        if way is None:
            await self._refuse_all(turn, _(NOT_CONFIGURED).format(way=turn.way))
            return None
        while True:
            found = await self._database.read(lambda connection: parts.of_turn(connection, turn.id))
            given = [part for part in found if part.state == parts.GIVEN]
            todo = [part for part in found if part.state == parts.TO_SEND]
            if given:
                if not await self._see_whether_it_came(turn, given):
                    return NOT_OURS
            elif not todo or any(part.state in (parts.REFUSED, parts.UNKNOWN) for part in found):
                return None
            else:
                verdict = await self._give(turn, todo if way.at_once else todo[:1], way)
                if verdict is not None:
                    return verdict

    async def _give(self, turn: Row[Any], batch: Sequence[Row[Any]], way: Way) -> str | None:
        ids = [part.id for part in batch]
        talk_id = await self._database.read(lambda connection: talk_of(connection, turn.id))
        try:
            if way.settles:
                await self._let_the_last_one_be_read(turn)
            if not await way.prepare(turn, batch):
                return NOT_OURS
        except AmoError as error:
            if not error.permanent:
                raise
            await self._refuse(turn, ids, str(error))
            return None
        await self._amocrm.place()  # before the last look: in a backlog this may take a while
        return await self._hand_in(turn, batch, way, talk_id)

    async def _hand_in(self, turn: Row[Any], batch: Sequence[Row[Any]], way: Way, talk_id: str) -> str | None:
        ids = [part.id for part in batch]
        with self._on_their_way.one():
            now, at = self._clock.now(), self._clock.monotonic()
            verdict = await self._database.write(lambda connection: self._last_look(connection, turn.id, ids, now))
            if verdict is not None:
                return verdict
            hung = self._clock.monotonic() - at > SURE_FOR_SECONDS
            if hung and not await self._ours(turn.id):
                return NOT_OURS
            await self._call(turn, batch, way, talk_id, now)
        return None

    def _last_look(self, connection: Connection, turn_id: int, ids: Sequence[int], now: datetime) -> str | None:
        """All that decides whether it is sent now, in one commit right before it is. None: it is."""
        verdict = look_again(connection, turn_id, self._me, now, self._mode, self._hours)
        if verdict is not None:
            log.info("a reply to the client's chat goes no further", turn=turn_id, verdict=verdict)
            return verdict
        return None if parts.give(connection, ids, now) else NOT_OURS

    async def _call(
        self, turn: Row[Any], batch: Sequence[Row[Any]], way: Way, talk_id: str, given_at: datetime
    ) -> None:
        """The call that cannot be taken back, and what is known of it then."""
        ids = [part.id for part in batch]
        try:
            outside_id = await way.give(turn, batch, talk_id)
        except AmoError as error:
            log.warning("a part was not taken", turn=turn.id, reason=str(error), final=error.permanent)
            if error.ambiguous:
                return  # it stays given: the next look waits for it to come back
            if not error.permanent:
                await self._end(turn.id, ids, given_at, parts.TO_SEND)
                raise
            await self._end(turn.id, ids, given_at, parts.REFUSED, reason=str(error))
            return
        await self._end(turn.id, ids, given_at, parts.SENT, outside_id=outside_id)

    async def _end(
        self,
        turn_id: int,
        ids: Collection[int],
        given_at: datetime,
        state: str,
        *,
        reason: str | None = None,
        outside_id: str | None = None,
    ) -> None:
        def write(connection: Connection) -> None:
            if parts.end(connection, ids, given_at, state, outside_id) and reason is not None:
                turns.note_down(connection, turn_id, self._me, reason=reason)

        await self._database.write(write)

    async def _see_whether_it_came(self, turn: Row[Any], given: Sequence[Row[Any]]) -> bool:
        """What a crash or a lost answer left open: wait for it to come back; False when the turn is not ours."""
        waited = 0.0
        ids = {part.id for part in given}
        given_at = given[0].given_at
        passed = (self._clock.now() - given_at).total_seconds()
        patience = ECHO_SECONDS - max(0.0, passed)  # no longer, also with a clock that was set back
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
            await self._end(turn.id, ids, given_at, parts.UNKNOWN, reason=reason)
        else:
            await self._end(turn.id, ids, given_at, parts.SENT)
        return True

    async def _events_tell(self, turn: Row[Any], missing: Sequence[Row[Any]]) -> bool:
        """Whether amoCRM's events have an outgoing message for each of these, and none that may be another robot's.

        An event does not say what was written. So it proves something only where other robots' messages are known here.
        """
        since = min(part.given_at for part in missing)
        now = self._clock.now()
        if not await self._database.read(partial(parts.have_come_back, since=now - COME_BACK_WITHIN)):
            return False
        ours = await self._database.read(lambda connection: self._unconfirmed(connection, turn.amocrm_lead_id, since))
        try:
            sent = await sent_since(self._amocrm, turn.amocrm_lead_id, since - CLOCKS_DIFFER)
        except AmoError as error:
            if gates.stops_all(error):
                raise
            log.info("amoCRM's events do not tell what was sent", turn=turn.id, reason=str(error))
            return False
        others = await self._database.read(lambda connection: _known(connection, sent))
        return len(sent - others) == len(ours)

    def _unconfirmed(self, connection: Connection, lead_id: int, since: datetime) -> Sequence[datetime]:
        here = _OF_LEAD.where(conversations.c.amocrm_lead_id == lead_id)
        return parts.unconfirmed(connection, here, since - UNCONFIRMED_FOR)

    async def _let_the_last_one_be_read(self, turn: Row[Any]) -> None:
        """The bot may not have read the last text of this deal yet."""
        waited = 0.0
        while waited < SETTLE_SECONDS:
            now = self._clock.now()
            since = now - timedelta(seconds=SETTLE_SECONDS)
            here = _OF_LEAD.where(conversations.c.amocrm_lead_id == turn.amocrm_lead_id)
            if not await self._database.read(partial(parts.unconfirmed, turn_ids=here, since=since)):
                return
            await self._clock.sleep(1)
            waited += 1

    async def _refuse(self, turn: Row[Any], ids: Sequence[int], reason: str) -> None:
        log.warning("a reply cannot go to the client's chat", turn=turn.id, reason=reason)

        def write(connection: Connection) -> None:
            if turns.note_down(connection, turn.id, self._me, reason=reason):
                parts.refuse(connection, ids)

        await self._database.write(write)

    async def _refuse_all(self, turn: Row[Any], reason: str) -> None:
        found = await self._database.read(lambda connection: parts.of_turn(connection, turn.id))
        await self._refuse(turn, [part.id for part in found if part.state == parts.TO_SEND], reason)

    async def _ours(self, turn_id: int) -> bool:
        return await self._database.read(lambda connection: turns.owns(connection, turn_id, self._me))


_ASKED_IN = (
    sa.select(messages.c.amocrm_talk_id, messages.c.metadata)
    .where(messages.c.turn_id == sa.bindparam("turn"), messages.c.sender_type == "client")
    .order_by(messages.c.timestamp.desc(), messages.c.id.desc())
    .limit(1)
)


def talk_of(connection: Connection, turn_id: int) -> str:
    """The talk in which the client asked last; empty when it is not known."""
    row = connection.execute(_ASKED_IN, {"turn": turn_id}).one_or_none()
    return (row.amocrm_talk_id or "") if row else ""


def origin_of(connection: Connection, turn_id: int) -> str:
    """The channel in which the client asked last, as amoCRM calls it; empty when it is not known."""
    row = connection.execute(_ASKED_IN, {"turn": turn_id}).one_or_none()
    raw = row.metadata.get("raw") if row else None
    origin = raw.get("origin") if isinstance(raw, dict) else None
    return origin if isinstance(origin, str) else ""


def _known(connection: Connection, ids: set[str]) -> set[str]:
    """Messages that a manager wrote, and parts that are known to have come."""
    said = connection.scalars(sa.select(messages.c.amocrm_message_id).where(messages.c.amocrm_message_id.in_(ids)))
    return set(said) | parts.known_echoes(connection, ids)
