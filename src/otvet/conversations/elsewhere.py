"""One client's messages in other deals, and the replies to them; nothing of other clients."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from otvet.conversations.messages import NEVER_SAID
from otvet.conversations.tables import FOR_GOOD, clients, conversations, messages
from otvet.storage.engines import UtcDateTime


@dataclass(frozen=True, slots=True)
class Asker:
    """The one client who asks in a turn. contact_id: NOBODY if amoCRM names none; then ``chats`` are the client's."""

    client_id: int
    contact_id: int
    chats: Sequence[str]


NOBODY = 0
_WHO_ASKED = (
    sa.select(messages.c.amocrm_contact_id.label("contact"), messages.c.amocrm_chat_id.label("chat"))
    .where(messages.c.turn_id == sa.bindparam("turn"), messages.c.sender_type == "client")
    .distinct()
)
_OF_CONTACT = sa.select(clients.c.id).where(clients.c.amocrm_contact_id == sa.bindparam("contact"))
_WITHOUT_CONTACT = sa.select(clients.c.id).where(
    clients.c.id == sa.bindparam("client"), clients.c.amocrm_contact_id.is_(None)
)


def asker(connection: Connection, turn_id: int, client_id: int) -> Asker | None:
    """The client who asks in a turn; None if several clients ask, or if it is not certain which one.

    client_id: the conversation's client, for a question that names no contact. Otherwise it is not used, because it is
    the client who wrote last in the deal.
    """
    said = connection.execute(_WHO_ASKED, {"turn": turn_id}).all()
    contacts: set[int] = {row.contact for row in said if row.contact}
    chats: set[str] = {row.chat for row in said if row.chat and (row.contact or not contacts)}
    if len(contacts or chats) > 1 or any(row.contact is None and row.chat not in chats for row in said):
        return None
    contact = next(iter(contacts), NOBODY)
    who = {"contact": contact} if contact else {"client": client_id}
    found = connection.scalar(_OF_CONTACT if contact else _WITHOUT_CONTACT, who)
    return Asker(found, contact, sorted(chats)) if found is not None else None


def _is_of(said: Any) -> sa.ColumnElement[bool]:
    """Whether a message names the asker's contact or one of the asker's chats."""
    of_contact = said.c.amocrm_contact_id == sa.bindparam("contact", type_=sa.BigInteger)
    in_chat = said.c.amocrm_chat_id.in_(sa.bindparam("chats", expanding=True))
    return sa.func.coalesce(sa.or_(of_contact, in_chat), sa.false())


def _names_nobody(said: Any) -> sa.ColumnElement[bool]:
    return sa.and_(said.c.amocrm_contact_id.is_(None), said.c.amocrm_chat_id.is_(None))


_other = conversations.alias("other")
_there = messages.alias("there")
_somebody_else = sa.exists().where(_there.c.conversation_id == _other.c.id, ~_names_nobody(_there), ~_is_of(_there))
_OTHER_DEALS = (
    sa.select(_other.c.id, _other.c.summary, _somebody_else.label("shared"))
    .where(
        _other.c.client_id == sa.bindparam("client"),
        _other.c.id != sa.bindparam("conversation"),
        sa.or_(_other.c.amocrm_lead_id.is_(None), _other.c.amocrm_lead_id != sa.bindparam("lead")),
    )
    .order_by(_other.c.last_activity.desc(), _other.c.id.desc())
)
_asked = messages.alias("asked")
_own = messages.alias("own")
_deals: Any = sa.bindparam("deals", expanding=True)
_ASKED_IN_THEM = sa.select(_asked.c.turn_id).where(
    _asked.c.conversation_id.in_(_deals), _asked.c.sender_type == "client"
)
_ASKED_BY_NOBODY_ELSE = _ASKED_IN_THEM.group_by(_asked.c.turn_id).having(
    sa.func.sum(sa.case((_is_of(_asked), 0), else_=1)) == 0
)
_IN_THEIR_CHAT = _ASKED_IN_THEM.where(_asked.c.amocrm_chat_id.in_(sa.bindparam("chats", expanding=True)))
_ELSEWHERE = (
    sa.select(messages)
    .where(
        messages.c.conversation_id.in_(_deals),
        sa.or_(
            _is_of(messages),
            sa.and_(messages.c.sender_type == "assistant", messages.c.turn_id.in_(_ASKED_BY_NOBODY_ELSE)),
            # Messages of a first version or from a bot name nobody: the rest of the conversation shows whose they are.
            sa.and_(_names_nobody(messages), messages.c.conversation_id.in_(sa.bindparam("alone", expanding=True))),
        ),
        ~NEVER_SAID,
        messages.c.timestamp < sa.bindparam("until", type_=UtcDateTime),
        sa.or_(
            # From before this deal, or of the same chat: not what is said in another channel at the same time.
            messages.c.timestamp
            < sa.select(sa.func.min(_own.c.timestamp))
            .where(_own.c.conversation_id == sa.bindparam("conversation"))
            .scalar_subquery(),
            messages.c.amocrm_chat_id.in_(sa.bindparam("chats", expanding=True)),
            messages.c.turn_id.in_(_IN_THEIR_CHAT),
        ),
    )
    .order_by(messages.c.timestamp.desc(), messages.c.id.desc())
    .limit(sa.bindparam("most"))
)


def elsewhere(
    connection: Connection,
    conversation_id: int,
    lead_id: int,
    who: Asker,
    limit: int,
    until: datetime | None = None,
) -> tuple[Sequence[Row[Any]], str]:
    """The asker's messages in other deals and the replies to them: (the newest ``limit``, oldest first; a summary).

    conversation_id, lead_id: where the question was asked. The messages are from before this deal, or of the same chat.
    Other clients' messages are left out, and so is a deal in which another client wrote last. The summary is that of
    the most recent deal in which nobody else wrote, because a summary does not show whose words it covers.
    """
    deals = _other_deals(connection, conversation_id, lead_id, who)
    if not deals:
        return (), ""
    values = {
        "contact": who.contact_id,
        "chats": who.chats,
        "deals": [deal.id for deal in deals],
        "alone": [deal.id for deal in deals if who.contact_id and not deal.shared],
        "conversation": conversation_id,
        "until": until or FOR_GOOD,
        "most": limit,
    }
    rows: Sequence[Any] = connection.execute(_ELSEWHERE, values).all()
    summaries = (deal.summary for deal in deals if who.contact_id and deal.summary and not deal.shared)
    return rows[::-1], next(summaries, "")


def _other_deals(connection: Connection, conversation_id: int, lead_id: int, who: Asker) -> Sequence[Row[Any]]:
    """The other deals in which the asker wrote last."""
    values = {
        "client": who.client_id,
        "contact": who.contact_id,
        "chats": who.chats,
        "conversation": conversation_id,
        "lead": lead_id,
    }
    rows: Sequence[Any] = connection.execute(_OTHER_DEALS, values).all()
    return rows
