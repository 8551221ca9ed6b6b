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
"""Pauses between searches: amoCRM may make the deal only after the message. After the last one, staff are told."""

CLAIM = timedelta(minutes=2)
"""The lease of one search. If its process dies, the deal is searched again after this time."""

AMOCRM_FAILED = timedelta(seconds=15)
GIVE_UP_AFTER = timedelta(days=1)
MOST_AT_ONCE = 10
MOST_LEADS = 50  # the newest deals of a contact; amoCRM advises no more in one request


class Finder:
    """Searches the deals of conversations that have none. amocrm: None while no account is connected.

    found: called with the turns that can be worked on now.
    """

    def __init__(
        self, database: Database, clock: Clock, amocrm: AmoClient | None, found: Callable[[Sequence[int]], None]
    ) -> None:
        self._database = database
        self._clock = clock
        self._amocrm = amocrm
        self._found = found

    async def look(self) -> None:
        """Search once for each conversation whose search is due. A job of one process for all."""
        now = self._clock.now()
        due = await self._database.read(lambda connection: _due(connection, now))
        await asyncio.gather(*(self._search(row) for row in due))

    async def _search(self, row: Row[Any]) -> None:
        now = self._clock.now()
        if not await self._database.write(
            lambda connection: claim_search(connection, row.id, now + CLAIM, _moments(now))
        ):
            return
        try:
            lead_id, contact_id = await self._lead_and_contact(row)
        except ServiceError as error:
            await background.heed(self._database, self._clock, error)
            log.warning("the deal of a message is not known yet", conversation=row.id, reason=str(error))
            await (
                self._count_vain_search(row) if background.about_this_only(error) else self._retry_after_failure(row)
            )
            return
        if lead_id is None:
            await self._count_vain_search(row)
            return
        found = await self._database.write(
            lambda connection: placement.place_in_lead(connection, row.id, lead_id, contact_id, self._clock.now())
        )
        log.info("the deal of a message was found", conversation=row.id, lead=lead_id)
        if found:
            self._found(found)

    async def _lead_and_contact(self, row: Row[Any]) -> tuple[int | None, int | None]:
        """(deal id, contact id): the talk's deal, else the contact's newest open deal."""
        if self._amocrm is None:
            return None, None
        talk = await self._talk(self._amocrm, row.talk_id)
        contact_id = row.contact_id or cards.contact_of_talk(talk)
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
            # Not every plan and token may read talks; the contact may still be read.
            if error.reason in ("forbidden", "payment", "validation"):
                return None
            raise

    async def _retry_after_failure(self, row: Row[Any]) -> None:
        now = self._clock.now()

        def write(connection: Connection) -> None:
            if now - row.first_message_at > GIVE_UP_AFTER:
                staff.give_up_on_deal(connection, row.id, now)
            note_search(connection, row.id, row.searches, now + AMOCRM_FAILED)

        await self._database.write(write)

    async def _count_vain_search(self, row: Row[Any]) -> None:
        now = self._clock.now()

        def write(connection: Connection) -> None:
            if row.searches < len(AGAIN_AFTER):
                note_search(connection, row.id, row.searches + 1, now + AGAIN_AFTER[row.searches])
            else:
                staff.give_up_on_deal(connection, row.id, now)
                note_search(connection, row.id, 0, None)  # the client's next message starts a new search

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
