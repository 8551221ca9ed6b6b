"""Clients: who they are, and their contact card in amoCRM; every write to the table."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.conversations.tables import (
    FOR_GOOD,
    clients,
)
from otvet.storage.engines import UtcDateTime
from otvet.storage.prepared import Prepared, among


def add_clients(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> Sequence[int]:
    """Insert clients and give their ids, in their order."""
    if not rows:
        return ()
    return connection.scalars(clients.insert().returning(clients.c.id, sort_by_parameter_order=True), rows).all()


def name_client(connection: Connection, client_id: int, contact_id: int | None, name: str | None) -> None:
    """Set the contact and the name of a client, one of which has become known."""
    values = {"amocrm_contact_id": contact_id, "name": name}
    connection.execute(clients.update().where(clients.c.id == client_id).values(**values))


# amoCRM's card of the contact. See deals/known.py for the moments.

_CLAIM_CARD = (
    clients.update()
    .where(
        clients.c.id == sa.bindparam("of"),
        clients.c.card_due_at.is_not_distinct_from(sa.bindparam("seen", type_=UtcDateTime)),
    )
    .values(card_due_at=sa.bindparam("token"))
)
_CARDS_CHANGED = Prepared(
    clients.update()
    .where(
        among(clients.c.amocrm_contact_id, "contacts"),
        # Read before, or being read now, and not erased since.
        sa.or_(clients.c.card_read_at.is_not(None), clients.c.card_due_at < FOR_GOOD),
    )
    .values(card_due_at=sa.bindparam("now"))
)


def claim_contact_card(connection: Connection, client_id: int, seen: datetime | None, token: datetime) -> bool:
    """Claim the card for one reader until ``token``; False if its due moment is not ``seen`` any more."""
    return connection.execute(_CLAIM_CARD, {"of": client_id, "seen": seen, "token": token}).rowcount == 1


def save_contact_card(
    connection: Connection,
    client_id: int,
    contact_id: int,
    token: datetime,
    contact: Mapping[str, Any] | None,
    at: datetime,
) -> bool:
    """Store the card, unless it has changed or was erased since its reader claimed it.

    contact: see amocrm.cards.contact; None: amoCRM has no such contact, and the stored card stays.
    """
    here = sa.and_(clients.c.id == client_id, clients.c.amocrm_contact_id == contact_id, clients.c.card_due_at == token)
    values: dict[str, Any] = {"card_read_at": at, "card_due_at": None}
    if contact is not None:
        values |= {name: contact[name] for name in ("phone", "email", "card")}
        if contact["name"]:  # a card without a name must not replace the name in the messenger
            values["name"] = contact["name"]
    return connection.execute(clients.update().where(here).values(**values)).rowcount == 1


def contact_cards_changed(connection: Connection, contacts: Collection[int], now: datetime) -> None:
    """Have the cards of these contacts read again, if they were read before or are being read."""
    if contacts:
        _CARDS_CHANGED.run(connection, [{"contacts": contacts, "now": now}])


def erase_clients(connection: Connection, client_ids: Collection[int]) -> None:
    """Erase who these clients are; their rows stay."""
    connection.execute(
        clients.update()
        .where(clients.c.id.in_(client_ids))
        .values(
            amocrm_contact_id=None,
            name=None,
            phone=None,
            email=None,
            card=sa.null(),
            card_read_at=None,
            card_due_at=FOR_GOOD,
            first_version=sa.null(),
        )
    )
