"""What is kept of amoCRM's cards of clients and deals: what is due to be read, and by whom it may be kept.

Whoever reads a card first moves its ``due`` moment from where it saw it, and keeps what was read only while it stands
there: so nothing is kept that was read before the card changed, or of a client who was erased meanwhile.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from otvet.conversations.clients import claim_contact_card, contact_cards_changed, save_contact_card
from otvet.conversations.conversation import claim_deal_card, deal_cards_changed, save_deal_card
from otvet.conversations.tables import clients, conversations
from otvet.storage.engines import UtcDateTime

AFTER_A_FAILURE = timedelta(minutes=2)
"""So long a card is left alone that could not be read; and so long a reader has it for itself."""

OLD = timedelta(hours=6)
LIVELY = timedelta(days=1)
"""Cards are read without a turn only where something was said within it."""

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
    .where(conversations.c.amocrm_lead_id.is_not(None))
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
    """What there is to know of a conversation's cards; None while its deal is not known."""
    rows: Sequence[Any] = connection.execute(_GET, {"of": conversation_id}).all()
    return rows[0] if rows else None


def unread(connection: Connection, now: datetime, most: int) -> Sequence[Row[Any]]:
    """Conversations of the last day whose cards were never read, or have changed since."""
    rows: Sequence[Any] = connection.execute(_CHANGED, {"since": now - LIVELY, "now": now, "most": most}).all()
    return rows


def deal_is_due(row: Row[Any], now: datetime, max_age: timedelta, chosen: str) -> bool:
    return _due(row.deal_read_at, row.deal_due_at, now, max_age) or _other_fields(row.deal, row.deal_due_at, chosen)


def card_is_due(row: Row[Any], now: datetime, chosen: str) -> bool:
    if row.contact_id is None:
        return False
    return _due(row.card_read_at, row.card_due_at, now, OLD) or _other_fields(row.card, row.card_due_at, chosen)


def _due(read_at: datetime | None, due_at: datetime | None, now: datetime, max_age: timedelta) -> bool:
    if due_at is not None:
        # Far away: erased, and wanted again; or the clock was set back since.
        return due_at <= now or due_at - now > 2 * AFTER_A_FAILURE
    return read_at is None or not now - max_age < read_at <= now  # later than now: the clock was set back


def _other_fields(kept: Mapping[str, Any] | None, due_at: datetime | None, chosen: str) -> bool:
    return bool(kept) and kept["chosen"] != chosen and due_at is None  # type: ignore[index]


def claim(connection: Connection, row: Row[Any], token: datetime, *, deal: bool, card: bool) -> tuple[bool, bool]:
    """Have the cards for this reader: which of the two are; another one is not as it was seen any more.

    token: what the reader must show when it keeps them; they are left alone until then.
    """
    return (
        deal and claim_deal_card(connection, row.id, row.deal_due_at, token),
        card and claim_contact_card(connection, row.client_id, row.card_due_at, token),
    )


def keep_deal(
    connection: Connection, row: Row[Any], token: datetime, deal: Mapping[str, Any] | None, at: datetime
) -> bool:
    """deal: see amocrm.cards.deal; None: there is none in amoCRM."""
    return save_deal_card(connection, row.id, row.lead_id, token, deal, at)


def keep_contact(
    connection: Connection, row: Row[Any], token: datetime, contact: Mapping[str, Any] | None, at: datetime
) -> bool:
    """contact: see amocrm.cards.contact; None: there is none in amoCRM, and what is known of it stays."""
    return save_contact_card(connection, row.client_id, row.contact_id, token, contact, at)


def changed(connection: Connection, leads: Collection[int], contacts: Collection[int], now: datetime) -> None:
    """amoCRM says that these cards have changed: those that were read, or are being read, are read again."""
    deal_cards_changed(connection, leads, now)
    contact_cards_changed(connection, contacts, now)
