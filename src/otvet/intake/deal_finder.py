"""Finds the deal of a conversation whose messages name none, so that its turn can begin."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection, Row

from otvet.amocrm import cards
from otvet.amocrm.answers import AmoError
from otvet.amocrm.client import AmoClient
from otvet.clock import Clock
from otvet.conversations.conversation import SEARCH_IS_DUE, WITHOUT_DEAL, claim_search, note_search
from otvet.conversations.tables import clients, conversations, messages
from otvet.deals import background
from otvet.errors import ServiceError
from otvet.intake import placement
from otvet.storage.database import Database
from otvet.turns import staff
from otvet.turns.turn import State, turns

log = structlog.get_logger(__name__)

AGAIN_AFTER = tuple(timedelta(seconds=seconds) for seconds in (3, 10, 30, 120, 600, 1800))
"""amoCRM may make the deal only after the message. Within the hour that all of them take a person is told."""

CLAIM = timedelta(minutes=2)
"""How long a look may take; a conversation whose process died in it is looked for again after that."""

AMOCRM_FAILED = timedelta(seconds=15)
GIVE_UP_AFTER = timedelta(days=1)
MOST_AT_ONCE = 10
MOST_LEADS = 50  # of a contact, the newest; by amoCRM's advice for one request


class Finder:
    """Looks after the conversations without a deal. amocrm: None while none is connected.

    found: told which turns can be worked on from now on.
    """

    def __init__(
        self, database: Database, clock: Clock, amocrm: AmoClient | None, found: Callable[[Sequence[int]], None]
    ) -> None:
        self._database = database
        self._clock = clock
        self._amocrm = amocrm
        self._found = found

    async def look(self) -> None:
        """One look for each conversation whose time has come. A job of one process for all."""
        now = self._clock.now()
        due = await self._database.read(lambda connection: _due(connection, now))
        await asyncio.gather(*(self._look_for(one) for one in due))

    async def _look_for(self, one: Row[Any]) -> None:
        now = self._clock.now()
        if not await self._database.write(
            lambda connection: claim_search(connection, one.id, now + CLAIM, _moments(now))
        ):
            return
        try:
            lead_id, contact_id = await self._ask(one)
        except ServiceError as error:
            await background.heed(self._database, self._clock, error)
            log.warning("the deal of a message is not known yet", conversation=one.id, reason=str(error))
            await (self._in_vain(one) if background.about_this_only(error) else self._later(one))
            return
        if lead_id is None:
            await self._in_vain(one)
            return
        found = await self._database.write(
            lambda connection: placement.place_in_lead(connection, one.id, lead_id, contact_id, self._clock.now())
        )
        log.info("the deal of a message was found", conversation=one.id, lead=lead_id)
        if found:
            self._found(found)

    async def _ask(self, one: Row[Any]) -> tuple[int | None, int | None]:
        """(deal, contact): what the talk is about, else the contact's newest open deal."""
        if self._amocrm is None:
            return None, None
        talk = await self._talk(self._amocrm, one.talk_id)
        contact_id = one.contact_id or cards.contact_of_talk(talk)
        if lead_id := cards.lead_of_talk(talk):
            return lead_id, contact_id
        if contact_id is None:
            return None, None
        ids = cards.leads_of_contact(await self._amocrm.contact(contact_id))
        leads = await self._amocrm.leads(ids[:MOST_LEADS])
        return cards.newest_open(leads, contact_id), contact_id

    async def _talk(self, amocrm: AmoClient, talk_id: str | None) -> Any:
        if talk_id is None or not (talk_id.isascii() and talk_id.isdigit() and len(talk_id) < 20):
            return None
        try:
            return await amocrm.talk(int(talk_id))
        except AmoError as error:
            # Talks are not part of every plan and token; the contact may be asked for all the same.
            if error.reason in ("forbidden", "payment", "validation"):
                return None
            raise

    async def _later(self, one: Row[Any]) -> None:
        now = self._clock.now()

        def write(connection: Connection) -> None:
            if now - one.first_message_at > GIVE_UP_AFTER:
                staff.give_up_on_deal(connection, one.id, now)
            note_search(connection, one.id, one.searches, now + AMOCRM_FAILED)

        await self._database.write(write)

    async def _in_vain(self, one: Row[Any]) -> None:
        now = self._clock.now()

        def write(connection: Connection) -> None:
            if one.searches < len(AGAIN_AFTER):
                note_search(connection, one.id, one.searches + 1, now + AGAIN_AFTER[one.searches])
            else:
                staff.give_up_on_deal(connection, one.id, now)
                note_search(connection, one.id, 0, None)  # what the client says next is looked for anew

        await self._database.write(write)


_said = messages.alias("said")
_TALK = (
    sa.select(_said.c.amocrm_talk_id)
    .where(_said.c.conversation_id == conversations.c.id, _said.c.amocrm_talk_id.is_not(None))
    .order_by(_said.c.timestamp.desc(), _said.c.id.desc())
    .limit(1)
    .scalar_subquery()
)
_DUE = (
    sa.select(
        conversations.c.id,
        conversations.c.searches,
        clients.c.amocrm_contact_id.label("contact_id"),
        _TALK.label("talk_id"),
        turns.c.first_message_at,
    )
    .join(clients, clients.c.id == conversations.c.client_id)
    .join(turns, turns.c.conversation_id == conversations.c.id)
    .where(WITHOUT_DEAL, turns.c.state == State.WAITING, SEARCH_IS_DUE)
    .order_by(conversations.c.id)
    .limit(MOST_AT_ONCE)
)


def _moments(now: datetime) -> dict[str, datetime]:
    return {"now": now, "never": now + 2 * AGAIN_AFTER[-1]}


def _due(connection: Connection, now: datetime) -> Sequence[Row[Any]]:
    rows: Sequence[Any] = connection.execute(_DUE, _moments(now)).all()
    return rows
