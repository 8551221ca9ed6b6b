"""The delivery methods into a client's chat. Each prepares, which may be repeated, and sends, which may not."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from sqlalchemy.engine import Connection

from otvet.amocrm import chat_calls as calls
from otvet.amocrm import texts
from otvet.amocrm.answers import AmoError
from otvet.amocrm.client import AmoClient, Slot
from otvet.clock import Clock
from otvet.conversations.history import Asked
from otvet.delivery import channels
from otvet.errors import StorageError
from otvet.i18n import N_, _
from otvet.settings.by_channel import NOTE, SALESBOT, TALK
from otvet.storage import keyvalue, outages
from otvet.storage.database import Database
from otvet.turns import turn as turns
from otvet.turns.parts import Part
from otvet.turns.turn import Turn

FIELD = "salesbot_field_id"
V4 = "salesbot_v4"  # the account in which the newer address has run a bot
KEPT_SOON_SECONDS = 1.0  # a field that does not hold what was written is read once more after this time
LEAST_LENGTH = 200  # a field that keeps fewer characters was not cut for its length

NOTHING_LEFT = N_("The reply has nothing but emoji, which amoCRM's field for replies does not take. Answer by hand.")
NOT_KEPT = N_(
    "amoCRM does not keep this reply in the deal's field {field} as it was written, so the Salesbot was not run: the "
    "client would have got something else, or nothing. Answer by hand, and see that the field is a text area."
)


class TakesLess(Exception):
    """A part is longer than amoCRM keeps; nothing was sent of it. characters: how many it keeps."""

    def __init__(self, characters: int) -> None:
        super().__init__(characters)
        self.characters = characters


@dataclass(frozen=True, slots=True)
class DeliveryOptions:
    """The settings for how replies are delivered.

    via: the method by channel, see otvet.settings.by_channel. note: a note is written besides.
    field_id: the deal's field that the bot reads; None: one is created.
    show: a waiting bot is told to send the text itself.
    """

    via: Mapping[str, str] = field(default_factory=lambda: {"*": NOTE})
    note: bool = True
    salesbot_id: int | None = None
    field_id: int | None = None
    show: bool = False


class DeliveryMethod:
    """One way into a client's chat.

    at_once: all parts go in one call. settles: the bot must read one part before the next is prepared.
    """

    at_once = False
    settles = False

    def cut(self, text: str, origin: str) -> list[str]:
        """Cut the text into parts for a channel. origin: amoCRM's name of the channel."""
        return channels.split(text, channels.limit_of(origin))

    def wants(self, connection: Connection, turn: Turn, asked: Asked) -> bool:
        """Whether the reply must go this way, whatever the settings say for its channel."""
        return False

    async def prepare(self, turn: Turn, asked: Asked, batch: Sequence[Part]) -> bool:
        """Do what may be repeated after a crash. False if the turn is not ours any more. Raises AmoError, TakesLess."""
        return True

    async def send(self, slot: Slot, turn: Turn, asked: Asked, batch: Sequence[Part]) -> str | None:
        """Ask amoCRM to bring the parts to the client; returns the message's id if amoCRM names it. Raises AmoError."""
        raise NotImplementedError

    async def release(self, turn: Turn) -> None:
        """The turn has ended; if there is no reply to the client, release what waits for one."""


class Salesbot(DeliveryMethod):
    """Writes the reply into a field of the deal, from which a bot sends it. One reply of the deal at a time.

    The bot is run only when the field holds what was written: it would send whatever is there.
    """

    settles = True

    def __init__(self, database: Database, clock: Clock, amocrm: AmoClient, options: DeliveryOptions) -> None:
        assert options.salesbot_id is not None
        self._database = database
        self._clock = clock
        self._amocrm = amocrm
        self._field_id = options.field_id
        self._bot_id = options.salesbot_id
        self._bots = calls.Bots()
        self._noted_v4 = False
        self._length: int | None = None  # the most characters that the field keeps, once it has kept fewer

    def cut(self, text: str, origin: str) -> list[str]:
        limit = channels.limit_of(origin)
        return channels.split(text, min(limit, self._length or limit))

    async def prepare(self, turn: Turn, asked: Asked, batch: Sequence[Part]) -> bool:
        field_id = await self.field()
        await self._recall_v4()
        text = texts.storable(batch[0].text).strip()
        if not text:
            raise AmoError(_(NOTHING_LEFT), reason="validation", permanent=True)
        kept = ""
        for form in (text, texts.plain(text)):
            try:
                if not await self._write(turn, field_id, form):
                    return False
            except AmoError as error:
                if error.status == 400 and len(batch[0].text) > calls.SHORT_FIELD:  # perhaps it is no text area
                    raise TakesLess(calls.SHORT_FIELD) from error
                raise
            kept = await self._kept(turn, field_id, form)
            if texts.same(kept, form):
                return True
        if LEAST_LENGTH <= len(kept) < len(batch[0].text) and texts.beginning(kept, form):
            self._length = len(kept)
            raise TakesLess(self._length)
        raise AmoError(_(NOT_KEPT).format(field=field_id), reason="validation", permanent=True)

    async def _write(self, turn: Turn, field_id: int, text: str) -> bool:
        async with self._amocrm.slot() as slot:
            # Checked after the waits: a process that took the turn over may have written its part by now.
            if not await self._database.read(lambda connection: _may_write(connection, turn)):
                return False
            await calls.write_field(slot, turn.deal, field_id, text)
        return True

    async def _kept(self, turn: Turn, field_id: int, text: str) -> str:
        """What the field holds after ``text`` was written. Read once more where that is something else."""
        kept = await calls.read_field(self._amocrm, turn.deal, field_id)
        if texts.same(kept, text):
            return kept
        await self._clock.sleep(KEPT_SOON_SECONDS)
        return await calls.read_field(self._amocrm, turn.deal, field_id)

    async def send(self, slot: Slot, turn: Turn, asked: Asked, batch: Sequence[Part]) -> str | None:
        await self._bots.run(slot, self._bot_id, turn.deal, asked.contact_id if asked.shared else None)
        await self._note_v4()
        return None

    async def _recall_v4(self) -> None:
        """If the newer address has worked in this account, a 404 from it means that the bot is missing."""
        if not self._noted_v4:
            kept = await self._database.read(lambda connection: keyvalue.recall(connection, V4))
            self._noted_v4 = kept == self._amocrm.base_url
        if self._noted_v4:
            self._bots.has_v4 = True

    async def _note_v4(self) -> None:
        if not self._bots.has_v4 or self._noted_v4:
            return
        base_url = self._amocrm.base_url
        with suppress(StorageError):  # the bot runs all the same; the next run comes here too
            await self._database.write(lambda connection: keyvalue.note(connection, V4, base_url))
            self._noted_v4 = True

    async def field(self) -> int:
        """The id of the field that the bot reads. Created only once, because the bot is set up with this id."""
        if self._field_id is None:
            kept = await self._database.read(lambda connection: keyvalue.recall(connection, FIELD))
            self._field_id = int(kept) if kept else await self._find_or_make()
        return self._field_id

    async def _find_or_make(self) -> int:
        field_id = await calls.find_or_make_field(self._amocrm)
        await self._database.write(lambda connection: keyvalue.note(connection, FIELD, str(field_id)))
        return field_id


class Talk(DeliveryMethod):
    """Kommo's own call into the talk in which the client asked."""

    async def send(self, slot: Slot, turn: Turn, asked: Asked, batch: Sequence[Part]) -> str | None:
        return await calls.send_message(slot, asked.talk_id, batch[0].text)


def _may_write(connection: Connection, turn: Turn) -> bool:
    outages.raise_if_blocked(connection)
    return turn.owner is not None and turns.owns(connection, turn.id, turn.owner)


def build_methods(
    database: Database, clock: Clock, amocrm: AmoClient, options: DeliveryOptions
) -> dict[str, DeliveryMethod]:
    """The methods that are set for any channel, by name; the waiting bots' own is added by the wiring."""
    made: dict[str, DeliveryMethod] = {}
    if SALESBOT in options.via.values():
        made[SALESBOT] = Salesbot(database, clock, amocrm, options)
    if TALK in options.via.values():
        made[TALK] = Talk()
    return made
