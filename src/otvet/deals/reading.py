"""Reads amoCRM's cards of clients and deals in the background; a turn waits for them only for a moment."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import Any

import structlog
from sqlalchemy.engine import Connection, Row

from otvet.amocrm import cards
from otvet.amocrm.answers import AmoError
from otvet.amocrm.client import AmoClient
from otvet.clock import Clock
from otvet.deals import background, known
from otvet.deals.batching import CardBatcher
from otvet.errors import OtvetError, ServiceError
from otvet.storage.database import Database

log = structlog.get_logger(__name__)

PATIENCE_SECONDS = 2.0
"""How long a turn waits for its cards; then its reply is written with the cards that are stored."""

MOST_AT_ONCE = 5
NAMES_OLD_SECONDS = 3600.0
NAMES_AGAIN_SECONDS = 60.0


class Deals:
    """Reads the cards of one account.

    fields: the names of the custom fields to store; see cards.chosen_names. zone: the account's time zone.
    max_age: a turn has an older card of its deal read again.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        amocrm: AmoClient,
        fields: str,
        zone: tzinfo,
        max_age: timedelta = known.OLD,
    ) -> None:
        self._max_age = max_age
        self._database = database
        self._clock = clock
        self._leads = CardBatcher(amocrm.lead, amocrm.leads)
        self._contacts = CardBatcher(amocrm.contact, amocrm.contacts)
        self._fields = fields
        self._zone = zone
        self._names = Names(amocrm, clock)
        self._in_flight: dict[int, asyncio.Task[None]] = {}

    async def look(self) -> None:
        """Read the new and changed cards of lively conversations. A job of one process for all."""
        now = self._clock.now()
        rows = await self._database.read(lambda connection: known.unread(connection, now, MOST_AT_ONCE))
        for row in rows:
            await asyncio.shield(self._reading(row.id))

    def begin(self, conversation_id: int) -> None:
        """Start reading the old cards of a turn's conversation, while the client may still be writing."""
        self._reading(conversation_id)

    async def fresh(self, conversation_id: int) -> None:
        """Wait up to PATIENCE_SECONDS until the cards of the conversation are read; never raises."""
        await asyncio.wait({self._reading(conversation_id)}, timeout=PATIENCE_SECONDS)

    async def stop(self) -> None:
        for task in list(self._in_flight.values()):
            task.cancel()
        await asyncio.gather(
            *self._in_flight.values(), self._leads.stop(), self._contacts.stop(), return_exceptions=True
        )

    def _reading(self, conversation_id: int) -> "asyncio.Task[None]":
        """The task that reads a conversation's cards, started if there is none: one at a time."""
        task = self._in_flight.get(conversation_id)
        if task is None:
            task = asyncio.create_task(self._read(conversation_id))
            self._in_flight[conversation_id] = task
            task.add_done_callback(lambda _: self._in_flight.pop(conversation_id, None))
        return task

    async def _read(self, conversation_id: int) -> None:
        try:
            await self._read_what_is_due(conversation_id)
        except ServiceError as error:
            log.warning("a deal could not be read", conversation=conversation_id, reason=str(error))
            try:
                await background.heed(self._database, self._clock, error)
            except OtvetError as error:
                log.error("amoCRM's refusal could not be kept", reason=str(error))
        except OtvetError as error:
            log.error("a deal could not be kept", conversation=conversation_id, reason=str(error))
        except Exception:
            log.exception("reading a deal failed", conversation=conversation_id)

    async def _read_what_is_due(self, conversation_id: int) -> None:
        now = self._clock.now()
        token = now + known.AFTER_A_FAILURE

        def claim(connection: Connection) -> tuple[Any, bool, bool]:
            row = known.get(connection, conversation_id)
            if row is None:
                return None, False, False
            deal = known.deal_is_due(row, now, self._max_age, self._fields)
            card = known.card_is_due(row, now, self._fields)
            return row, *known.claim(connection, row, token, deal=deal, card=card)

        row, deal, card = await self._database.write(claim)
        if deal:
            await self._if_allowed(conversation_id, self._read_deal(row, token, now))
        if card:
            await self._if_allowed(conversation_id, self._read_card(row, token, now))

    async def _if_allowed(self, conversation_id: int, reading: Awaitable[None]) -> None:
        """Read a card unless amoCRM refuses this one; a refused deal must not prevent reading the contact."""
        try:
            await reading
        except AmoError as error:
            if not background.about_this_only(error):
                raise
            log.warning("a card could not be read", conversation=conversation_id, reason=str(error))

    async def _read_deal(self, row: Row[Any], token: datetime, now: datetime) -> None:
        found = await self._deal(row)
        await self._database.write(lambda connection: known.save_deal(connection, row, token, found, now))

    async def _read_card(self, row: Row[Any], token: datetime, now: datetime) -> None:
        contact = await self._contacts.get(row.contact_id)
        card = None if contact is None else cards.contact(contact, self._fields, self._zone)
        await self._database.write(lambda connection: known.save_contact(connection, row, token, card, now))

    async def _deal(self, row: Row[Any]) -> Mapping[str, Any] | None:
        lead = await self._leads.get(row.lead_id)
        if lead is None:
            return None
        pipeline, stage, responsible = (lead.get(name) for name in ("pipeline_id", "status_id", "responsible_user_id"))
        await self._names.learn(pipeline, stage)
        name = await self._names.of_user(responsible)
        names = self._names
        return cards.deal(lead, names.pipelines, names.stages, name, self._fields, self._zone)


@dataclass
class Names:
    """The names of pipelines, stages and users, read again after an hour, or when an id is not known."""

    amocrm: AmoClient
    clock: Clock
    pipelines: Mapping[int, str] = field(default_factory=dict)
    stages: Mapping[tuple[int, int], str] = field(default_factory=dict)
    _users: dict[int, str | None] = field(default_factory=dict)
    _asked_at: float | None = None
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def learn(self, pipeline: Any, stage: Any) -> None:
        """Read the names of pipelines and stages if they are old or lack these two. One call serves all callers."""
        async with self._asking:
            age = NAMES_OLD_SECONDS if self._asked_at is None else self.clock.monotonic() - self._asked_at
            if age >= (NAMES_OLD_SECONDS if (pipeline, stage) in self.stages else NAMES_AGAIN_SECONDS):
                await self._ask()

    async def _ask(self) -> None:
        try:
            self._know(await self.amocrm.pipelines())
        except AmoError as error:
            if not background.about_this_only(error):
                raise
        self._asked_at = self.clock.monotonic()
        self._users.clear()

    def _know(self, found: Sequence[Mapping[str, Any]]) -> None:
        self.pipelines = dict(cards.names(found))
        self.stages = {
            (id_, stage_id): name
            for entry in found
            for id_, _name in cards.names([entry])
            for stage_id, name in cards.names(cards.embedded(entry, "statuses"))
        }

    async def of_user(self, user_id: Any) -> str | None:
        """The user's name; None if the token may not read it."""
        if not isinstance(user_id, int):
            return None
        if user_id not in self._users:
            try:
                self._users.update(cards.names([await self.amocrm.user(user_id) or {}]))
            except AmoError as error:
                if not background.about_this_only(error):
                    raise
            self._users.setdefault(user_id, None)
        return self._users[user_id]
