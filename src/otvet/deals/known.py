"""The stored cards of amoCRM's clients and deals: which are due to be read, and which reader may store them.

A reader claims a card by moving its ``due`` moment from the value that it saw to a token, and stores the card only
while the token stands there. So nothing is stored that was read before the card changed or the client was erased.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from otvet.conversations.clients import claim_contact_card, contact_cards_changed, save_contact_card
from otvet.conversations.conversation import claim_deal_card, deal_cards_changed, save_deal_card
from otvet.conversations.tables import clients, conversations, is_trial
from otvet.storage.engines import UtcDateTime

AFTER_A_FAILURE = timedelta(minutes=2)
"""The lease of a reader, and so the cool-down of a card that could not be read."""

OLD = timedelta(hours=6)
LIVELY = timedelta(days=1)
"""Without a turn, cards are read only in conversations with a message within this time."""

_OF = (
    sa.select(
        conversations.c.id,
        conversations.c.amocrm_lead_id.label("lead_id"),
        conversations.c.client_id,
        conversations.c.deal,
        conversations.c.deal_read_at,
        conversations.c.deal_due_at,
        clients.c.amocrm_contact_id.label("contact_id"),
        clients.c.card,
        clients.c.card_read_at,
        clients.c.card_due_at,
    )
    .join(clients)
    .where(conversations.c.amocrm_lead_id.is_not(None), ~is_trial(conversations))
)
_GET = _OF.where(conversations.c.id == sa.bindparam("of"))
_CHANGED = (
    _OF.where(
        conversations.c.status == "active",
        conversations.c.last_activity > sa.bindparam("since", type_=UtcDateTime),
        sa.or_(
            conversations.c.deal_due_at <= sa.bindparam("now", type_=UtcDateTime),
            sa.and_(conversations.c.deal_read_at.is_(None), conversations.c.deal_due_at.is_(None)),
            clients.c.card_due_at <= sa.bindparam("now", type_=UtcDateTime),
        ),
    )
    .order_by(conversations.c.last_activity.desc())
    .limit(sa.bindparam("most"))
)


def get(connection: Connection, conversation_id: int) -> Row[Any] | None:
    """The card columns of a conversation; None while its deal is not known, and for a trial, which has none."""
    rows: Sequence[Any] = connection.execute(_GET, {"of": conversation_id}).all()
    return rows[0] if rows else None


def unread(connection: Connection, now: datetime, most: int) -> Sequence[Row[Any]]:
    """Lively conversations whose cards were never read, or have changed since; the most recent first."""
    rows: Sequence[Any] = connection.execute(_CHANGED, {"since": now - LIVELY, "now": now, "most": most}).all()
    return rows


def deal_is_due(row: Row[Any], now: datetime, max_age: timedelta, chosen: str) -> bool:
    return _due(row.deal_read_at, row.deal_due_at, now, max_age) or _has_other_fields(row.deal, row.deal_due_at, chosen)


def card_is_due(row: Row[Any], now: datetime, chosen: str) -> bool:
    if row.contact_id is None:
        return False
    return _due(row.card_read_at, row.card_due_at, now, OLD) or _has_other_fields(row.card, row.card_due_at, chosen)


def _due(read_at: datetime | None, due_at: datetime | None, now: datetime, max_age: timedelta) -> bool:
    if due_at is not None:
        # Far in the future: the card was erased and is wanted again, or the clock was set back.
        return due_at <= now or due_at - now > 2 * AFTER_A_FAILURE
    return read_at is None or not now - max_age < read_at <= now  # later than now: the clock was set back


def _has_other_fields(card: Mapping[str, Any] | None, due_at: datetime | None, chosen: str) -> bool:
    """Whether the stored card has other fields than the settings choose now."""
    return bool(card) and card["chosen"] != chosen and due_at is None  # type: ignore[index]


def claim(connection: Connection, row: Row[Any], token: datetime, *, deal: bool, card: bool) -> tuple[bool, bool]:
    """Claim the due cards for one reader; returns which of the two were claimed, (deal, card).

    A card that has changed since the reader saw it is not claimed. token: the end of the lease; the reader shows it
    when it stores the cards.
    """
    return (
        deal and claim_deal_card(connection, row.id, row.deal_due_at, token),
        card and claim_contact_card(connection, row.client_id, row.card_due_at, token),
    )


def save_deal(
    connection: Connection, row: Row[Any], token: datetime, deal: Mapping[str, Any] | None, at: datetime
) -> bool:
    """Store a deal's card; False if the claim is lost. deal: see amocrm.cards.deal; None: amoCRM has no such deal."""
    return save_deal_card(connection, row.id, row.lead_id, token, deal, at)


def save_contact(
    connection: Connection, row: Row[Any], token: datetime, contact: Mapping[str, Any] | None, at: datetime
) -> bool:
    """Store a contact's card; False if the claim is lost.

    contact: see amocrm.cards.contact; None: amoCRM has no such contact, and the stored card stays.
    """
    return save_contact_card(connection, row.client_id, row.contact_id, token, contact, at)


def changed(connection: Connection, leads: Collection[int], contacts: Collection[int], now: datetime) -> None:
    """amoCRM reports that these cards have changed: those that were read, or are being read, are read again."""
    deal_cards_changed(connection, leads, now)
    contact_cards_changed(connection, contacts, now)
