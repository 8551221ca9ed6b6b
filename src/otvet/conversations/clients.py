"""Clients: who they are and what amoCRM's card says of them; every write of the table."""

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
    """The contact or the name of a client has become known."""
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
        # Was read, or is being read, and was not erased since.
        sa.or_(clients.c.card_read_at.is_not(None), clients.c.card_due_at < FOR_GOOD),
    )
    .values(card_due_at=sa.bindparam("now"))
)


def claim_contact_card(connection: Connection, client_id: int, seen: datetime | None, token: datetime) -> bool:
    """Reserve the card for one reader until ``token``; False where it is not due as it was ``seen`` any more."""
    return connection.execute(_CLAIM_CARD, {"of": client_id, "seen": seen, "token": token}).rowcount == 1


def save_contact_card(
    connection: Connection,
    client_id: int,
    contact_id: int,
    token: datetime,
    contact: Mapping[str, Any] | None,
    at: datetime,
) -> bool:
    """Store what its reader has read, unless the card has changed, or was erased, since the reader claimed it.

    contact: see amocrm.cards.contact; None: there is none in amoCRM, and what is known of it stays.
    """
    here = sa.and_(clients.c.id == client_id, clients.c.amocrm_contact_id == contact_id, clients.c.card_due_at == token)
    values: dict[str, Any] = {"card_read_at": at, "card_due_at": None}
    if contact is not None:
        values |= {name: contact[name] for name in ("phone", "email", "card")}
        if contact["name"]:  # a card without one says less than the name in the messenger
            values["name"] = contact["name"]
    return connection.execute(clients.update().where(here).values(**values)).rowcount == 1


def contact_cards_changed(connection: Connection, contacts: Collection[int], now: datetime) -> None:
    """The cards of these contacts that were read, or are being read, are read again."""
    if contacts:
        _CARDS_CHANGED.run(connection, [{"contacts": contacts, "now": now}])


def erase_clients(connection: Connection, client_ids: Collection[int]) -> None:
    """Forget who these clients are; their rows stay."""
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
