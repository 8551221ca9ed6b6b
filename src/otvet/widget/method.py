"""The delivery method ``widget``: gives the reply to a Salesbot that waits for it, in one call with all parts."""

from collections.abc import Sequence
from datetime import timedelta

import structlog
from sqlalchemy.engine import Connection

from otvet.amocrm.answers import AmoError
from otvet.amocrm.chat_calls import go_on
from otvet.amocrm.client import AmoClient, Slot
from otvet.clock import Clock
from otvet.conversations.history import Asked
from otvet.delivery import channels
from otvet.delivery.methods import DeliveryMethod
from otvet.errors import ServiceError
from otvet.i18n import N_, _
from otvet.storage import outages
from otvet.storage.database import Database
from otvet.turns.parts import Part
from otvet.turns.turn import State, Turn, newest_of_chat
from otvet.widget import waiting

log = structlog.get_logger(__name__)

BOT_COMES_WITHIN = timedelta(seconds=60)
LOOK_SECONDS = 1.0
MOST_SHOWN = 10  # handlers that a bot takes at once

NO_BOT = N_(
    "No Salesbot of this deal asked for the reply. See that the bot is started by the client's message and has the "
    "step of docs/delivery.md, and that its address is this server's."
)


class Widget(DeliveryMethod):
    """Gives replies to waiting bots. show: the bot is told to send the text itself, in pieces of 80 characters."""

    at_once = True

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
        return super().cut(text, origin)

    def wants(self, connection: Connection, turn: Turn, asked: Asked) -> bool:
        """Whether only a bot has reported the message, so that its channel is not known, and a bot waits."""
        return not asked.origin and waiting.newest(connection, turn, self._clock.now()) is not None

    async def prepare(self, turn: Turn, asked: Asked, batch: Sequence[Part]) -> bool:
        """Wait until the bot has asked: its request and the client's message come in any order."""
        deadline = turn.last_message_at + BOT_COMES_WITHIN
        while not await self._database.write(lambda connection: self._take(connection, turn)):
            if not timedelta(0) < deadline - self._clock.now() <= BOT_COMES_WITHIN:
                raise AmoError(_(NO_BOT), reason="not_found", permanent=True)
            await self._clock.sleep(LOOK_SECONDS)
        return True

    def _take(self, connection: Connection, turn: Turn) -> bool:
        newest = waiting.newest(connection, turn, self._clock.now())
        if newest is not None:
            return waiting.take(connection, newest.id, turn.id)
        return waiting.of_turn(connection, turn.id) is not None

    async def send(self, slot: Slot, turn: Turn, asked: Asked, batch: Sequence[Part]) -> str | None:
        bot = await self._database.read(lambda connection: waiting.of_turn(connection, turn.id))
        if bot is None:
            raise AmoError(_(NO_BOT), reason="not_found", permanent=True)
        texts = [part.text for part in batch]
        shown = texts if self._show and max(map(len, texts)) <= channels.SHOWN_AT_ONCE else []
        data = {"status": "success", "reply": turn.reply, "parts": len(texts)}
        if not shown:
            data |= {f"reply_{number}": text for number, text in enumerate(texts, 1)}
        await go_on(slot, bot.return_url, data, shown)
        return None

    async def release(self, turn: Turn) -> None:
        """Let the bot go on without a reply: no other bot can work in the deal meanwhile.

        Tried once: a bot that is not reached waits until its own time is over.
        """
        return_url = await self._database.write(lambda connection: self._take_without_reply(connection, turn))
        if return_url is None:
            return
        try:
            async with self._amocrm.slot() as slot:
                await go_on(slot, return_url, {"status": "none", "reply": "", "parts": 0}, ())
        except ServiceError as error:
            log.info("a bot could not be told that there is no reply", turn=turn.id, reason=str(error))
            if isinstance(error, AmoError):
                await outages.heed(self._database, error, self._clock.now())

    def _take_without_reply(self, connection: Connection, turn: Turn) -> str | None:
        ended = newest_of_chat(connection, turn.conversation_id, turn.chat_ref)
        if ended is None or ended.state not in (State.HANDED, State.CANCELLED, State.FAILED):
            return None
        if ended.lead_id is None or outages.current(connection) is not None:
            return None
        bot = waiting.newest(connection, ended, self._clock.now())
        return str(bot.return_url) if bot is not None and waiting.take(connection, bot.id, ended.id) else None
