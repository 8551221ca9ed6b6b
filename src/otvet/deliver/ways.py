"""The ways into a client's chat. Each prepares, which may be repeated, and gives, which may not."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy.engine import Connection, Row

from otvet import gates, installation, turns
from otvet.amocrm import ways as calls
from otvet.amocrm.client import AmoClient, AmoError
from otvet.clock import Clock
from otvet.conversations import AUTO
from otvet.database import Database
from otvet.deliver import bot_waits, channels
from otvet.errors import StorageError
from otvet.i18n import N_, _
from otvet.settings.by_channel import NOTE, SALESBOT, TALK, WIDGET
from otvet.settings.working_hours import Hours

FIELD = "salesbot_field_id"
V4 = "salesbot_v4"  # the account where a bot was run by the newer address
SETTLE_SECONDS = 10.0
"""So long a bot is given to read the field before the next text goes there, unless its message was seen before.

A run is carried out some time after it was accepted; how long after is not documented.
"""
BOT_COMES_WITHIN = timedelta(seconds=60)
LOOK_SECONDS = 1.0
MOST_SHOWN = 10  # handlers that a bot takes at once

NO_BOT = N_(
    "No Salesbot of this deal asked for the reply. See that the bot is started by the client's message and has the "
    "step of docs/delivery.md, and that its address is this server's."
)


@dataclass(frozen=True, slots=True)
class How:
    """What the user set of how replies are delivered.

    via: the way by channel, see otvet.settings.by_channel. note: whether a note is written besides.
    field_id: the deal's field that the bot reads; None: one that is made.
    show: whether a waiting bot is told to send the text itself.
    mode: AUTO, DRAFT or OFF, where the conversation has none of its own.
    stale: a reply to what was said longer ago than that is not sent any more, but left to a person.
    hours: in which a person is given work; None: always.
    """

    via: Mapping[str, str] = field(default_factory=lambda: {"*": NOTE})
    note: bool = True
    salesbot_id: int | None = None
    field_id: int | None = None
    show: bool = False
    mode: str = AUTO
    stale: timedelta = timedelta(minutes=60)
    hours: Hours | None = None

    def somebody_is_there(self, now: datetime) -> datetime:
        """From when on a person can see to something."""
        return self.hours.opening(now) if self.hours else now


class Way(Protocol):
    """at_once: all parts go in one call. settles: one part must be read before the next is prepared."""

    at_once: bool
    settles: bool

    def cut(self, text: str, origin: str) -> list[str]:
        """The parts in which the text goes to a channel."""
        ...

    async def prepare(self, turn: Row[Any], batch: Sequence[Row[Any]]) -> bool:
        """All that may be done again after a crash; False when the turn is not ours any more. Raises AmoError."""
        ...

    async def give(self, turn: Row[Any], batch: Sequence[Row[Any]], talk_id: str) -> str | None:
        """Ask amoCRM, with a place already taken, to bring it to the client; gives the message's id if it is told."""
        ...


class Salesbot:
    """Into a field of the deal, from where a bot sends it. Two replies would share the field: one at a time."""

    at_once = False
    settles = True

    def __init__(self, database: Database, amocrm: AmoClient, how: How) -> None:
        assert how.salesbot_id is not None
        self._database = database
        self._amocrm = amocrm
        self._field_id = how.field_id
        self._bot_id = how.salesbot_id
        self._bots = calls.Bots(amocrm)
        self._noted_v4 = False

    def cut(self, text: str, origin: str) -> list[str]:
        return channels.split(text, channels.limit_of(origin))

    async def prepare(self, turn: Row[Any], batch: Sequence[Row[Any]]) -> bool:
        field_id = await self.field()
        await self._recall_v4()
        await self._amocrm.place()
        # After the waits: the field may hold another part by now, of whoever took the turn over.
        if not await self._database.read(lambda connection: _may_write(connection, turn)):
            return False
        await calls.write_field(self._amocrm, turn.amocrm_lead_id, field_id, batch[0].text)
        return True

    async def give(self, turn: Row[Any], batch: Sequence[Row[Any]], talk_id: str) -> str | None:
        await self._bots.run(self._bot_id, turn.amocrm_lead_id)
        await self._note_v4()
        return None

    async def _recall_v4(self) -> None:
        """Where the newer address has worked once, a 404 of it is about the bot."""
        if not self._noted_v4:
            kept = await self._database.read(lambda connection: installation.recall(connection, V4))
            self._noted_v4 = kept == self._amocrm.base_url
        if self._noted_v4:
            self._bots.has_v4 = True

    async def _note_v4(self) -> None:
        if not self._bots.has_v4 or self._noted_v4:
            return
        base_url = self._amocrm.base_url
        with suppress(StorageError):  # the bot runs all the same; the next run comes here too
            await self._database.write(lambda connection: installation.note(connection, V4, base_url))
            self._noted_v4 = True

    async def field(self) -> int:
        """The field that the bot reads; made once, then never again: the bot knows it by its number."""
        if self._field_id is None:
            kept = await self._database.read(lambda connection: installation.recall(connection, FIELD))
            self._field_id = int(kept) if kept else await self._find_or_make()
        return self._field_id

    async def _find_or_make(self) -> int:
        field_id = await calls.find_or_make_field(self._amocrm)
        await self._database.write(lambda connection: installation.note(connection, FIELD, str(field_id)))
        return field_id


class Talk:
    """Kommo's own call."""

    at_once = False
    settles = False

    def __init__(self, amocrm: AmoClient) -> None:
        self._amocrm = amocrm

    def cut(self, text: str, origin: str) -> list[str]:
        return channels.split(text, channels.limit_of(origin))

    async def prepare(self, turn: Row[Any], batch: Sequence[Row[Any]]) -> bool:
        return True

    async def give(self, turn: Row[Any], batch: Sequence[Row[Any]], talk_id: str) -> str | None:
        return await calls.send_message(self._amocrm, talk_id, batch[0].text)


class Widget:
    """To a bot that asked for the reply and waits. It goes on once, so all parts go with it."""

    at_once = True
    settles = False

    def __init__(self, database: Database, clock: Clock, amocrm: AmoClient, *, show: bool) -> None:
        self._database = database
        self._clock = clock
        self._amocrm = amocrm
        self._show = show

    def cut(self, text: str, origin: str) -> list[str]:
        if self._show:
            shown = channels.split(text, channels.SHOWN_AT_ONCE)
            if len(shown) <= MOST_SHOWN:
                return shown
        return channels.split(text, channels.limit_of(origin))

    async def prepare(self, turn: Row[Any], batch: Sequence[Row[Any]]) -> bool:
        """Until the bot has asked: its request and the client's message come in any order."""
        deadline = turn.last_message_at + BOT_COMES_WITHIN
        while not await self._database.write(lambda connection: self._take(connection, turn)):
            if not timedelta(0) < deadline - self._clock.now() <= BOT_COMES_WITHIN:
                raise AmoError(_(NO_BOT), reason="not_found", permanent=True)
            await self._clock.sleep(LOOK_SECONDS)
        return True

    def _take(self, connection: Connection, turn: Row[Any]) -> bool:
        newest = bot_waits.newest(connection, turn.amocrm_lead_id, self._clock.now())
        if newest is not None:
            return bot_waits.take(connection, newest.id, turn.id)
        return bot_waits.of_turn(connection, turn.id) is not None

    async def give(self, turn: Row[Any], batch: Sequence[Row[Any]], talk_id: str) -> str | None:
        waits = await self._database.read(lambda connection: bot_waits.of_turn(connection, turn.id))
        if waits is None:
            raise AmoError(_(NO_BOT), reason="not_found", permanent=True)
        texts = [part.text for part in batch]
        shown = texts if self._show and max(map(len, texts)) <= channels.SHOWN_AT_ONCE else []
        data = {"status": "success", "reply": turn.reply, "parts": len(texts)}
        if not shown:
            data |= {f"reply_{number}": text for number, text in enumerate(texts, 1)}
        await calls.go_on(self._amocrm, waits.return_url, data, shown)
        return None


def _may_write(connection: Connection, turn: Row[Any]) -> bool:
    if gate := gates.closed(connection, gates.AMOCRM):
        raise gates.GateClosed(gate.sentence)
    return turns.owns(connection, turn.id, turn.owner)


def ready(database: Database, clock: Clock, amocrm: AmoClient, how: How) -> dict[str, Way]:
    """The ways that are set for any channel, by name."""
    made: dict[str, Way] = {}
    wanted = set(how.via.values())
    if SALESBOT in wanted:
        made[SALESBOT] = Salesbot(database, amocrm, how)
    if TALK in wanted:
        made[TALK] = Talk(amocrm)
    if WIDGET in wanted:
        made[WIDGET] = Widget(database, clock, amocrm, show=how.show)
    return made
