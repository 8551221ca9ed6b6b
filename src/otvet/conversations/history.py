"""A deal's messages before a question, for the responder that answers it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from otvet.conversations.messages import NEVER_SAID, origin_of, turn_states
from otvet.conversations.tables import FOR_GOOD, conversations, messages
from otvet.storage.engines import UtcDateTime

_ASKED_ELSEWHERE = sa.and_(
    messages.c.turn_id != sa.bindparam("turn"),
    ~sa.exists().where(turn_states.c.id == messages.c.turn_id, turn_states.c.state.in_(("waiting", "answering"))),
)
_IN_THE_DEAL = messages.c.conversation_id.in_(
    sa.select(conversations.c.id).where(conversations.c.amocrm_lead_id == sa.bindparam("lead"))
)
_WRITERS = (
    sa.select(messages.c.amocrm_contact_id, messages.c.amocrm_chat_id)
    .where(_IN_THE_DEAL, messages.c.sender_type == "client")
    .distinct()
)
Ids = frozenset[int | str]
"""The ids of one person: amoCRM's contacts (numbers) and chats (texts)."""


def ids_of(row: Any) -> Ids:
    """The contact and the chat that a message names."""
    return frozenset(filter(None, (row.amocrm_contact_id, row.amocrm_chat_id)))


def people(connection: Connection, lead_id: int) -> list[Ids]:
    """The ids of each person who has written in a deal and whose contact amoCRM named.

    A chat belongs to one person, also after its contact was merged into another.
    """
    found: list[Ids] = []
    for row in connection.execute(_WRITERS, {"lead": lead_id}):
        ids = ids_of(row)
        same = [one for one in found if one & ids]
        found = [one for one in found if not one & ids] + [ids.union(*same)]
    return [one for one in found if any(isinstance(id_, int) for id_ in one)]


_asked = messages.alias("asked")
_ASKED_THERE = (_asked.c.turn_id == messages.c.turn_id, _asked.c.sender_type == "client")


def _of_person(table: Any) -> sa.ColumnElement[bool]:
    return sa.or_(
        table.c.amocrm_contact_id.is_(None),
        table.c.amocrm_contact_id.in_(sa.bindparam("contacts", expanding=True)),
        table.c.amocrm_chat_id.in_(sa.bindparam("chats", expanding=True)),
    )


# A reply names no contact: it belongs to the people whose messages it answers. What a bot says besides names one.
_WITH_PERSON = sa.case(
    (
        sa.and_(messages.c.sender_type == "assistant", messages.c.turn_id.is_not(None)),
        sa.or_(~sa.exists().where(*_ASKED_THERE), sa.exists().where(*_ASKED_THERE, _of_person(_asked))),
    ),
    else_=_of_person(messages),
)


def _person(ids: Ids) -> dict[str, Any]:
    return {
        "contacts": [id_ for id_ in ids if isinstance(id_, int)],
        "chats": [id_ for id_ in ids if isinstance(id_, str)],
    }


_HISTORY = (
    sa.select(messages)
    .where(
        _IN_THE_DEAL,
        sa.or_(
            messages.c.turn_id.is_(None),
            messages.c.sender_type != "client",
            _ASKED_ELSEWHERE,
        ),
        ~NEVER_SAID,
        messages.c.timestamp > sa.bindparam("since", type_=UtcDateTime),
        messages.c.timestamp < sa.bindparam("until", type_=UtcDateTime),
    )
    .order_by(messages.c.timestamp.desc(), messages.c.id.desc())
    .limit(sa.bindparam("most"))
)
_HISTORY_WITH_PERSON = _HISTORY.where(_WITH_PERSON)
_EVER = datetime(1, 1, 2, tzinfo=UTC)


def history(
    connection: Connection,
    lead_id: int,
    turn_id: int,
    limit: int,
    since: datetime | None = None,
    until: datetime | None = None,
    person: Ids = frozenset(),
) -> Sequence[Row[Any]]:
    """The newest ``limit`` messages of a deal without the client's messages of the turn, oldest first.

    Replies that never reached the deal are left out, and so are questions of other turns that wait or are being
    answered, because they get their own replies. since, until: only messages between the two. person: only this
    person's messages and the replies to them; empty: all.
    """
    values = {"lead": lead_id, "turn": turn_id, "most": limit, "since": since or _EVER, "until": until or FOR_GOOD}
    statement = _HISTORY_WITH_PERSON if person else _HISTORY
    return connection.execute(statement, values | _person(person) if person else values).all()[::-1]


_QUESTION = (
    sa.select(messages)
    .where(messages.c.turn_id == sa.bindparam("turn"), messages.c.sender_type == "client")
    .order_by(messages.c.timestamp, messages.c.id)
)
_LAST_SAID = (
    sa.select(messages)
    .where(
        messages.c.conversation_id == sa.bindparam("conversation"),
        sa.or_(messages.c.chat_ref == sa.bindparam("chat"), sa.func.coalesce(messages.c.chat_ref, "") == ""),
        ~NEVER_SAID,
    )
    .order_by(messages.c.timestamp.desc(), messages.c.id.desc())
    .limit(sa.bindparam("most"))
)


def question(connection: Connection, turn_id: int) -> Sequence[Row[Any]]:
    """The client's messages of a turn, oldest first."""
    return connection.execute(_QUESTION, {"turn": turn_id}).all()


def last_said(connection: Connection, conversation_id: int, chat_ref: str, most: int) -> Sequence[Row[Any]]:
    """The newest messages of a chat, whoever wrote them, oldest first."""
    here = {"conversation": conversation_id, "chat": chat_ref, "most": most}
    return connection.execute(_LAST_SAID, here).all()[::-1]


@dataclass(frozen=True, slots=True)
class Asked:
    """The channel and the sender of the last message of a turn.

    origin: amoCRM's name of the channel. Empty texts and a missing contact: amoCRM did not name them.
    shared: several contacts write in the deal.
    """

    talk_id: str = ""
    origin: str = ""
    contact_id: int | None = None
    shared: bool = False


_LAST_OF_CLIENT = (
    sa.select(messages.c.amocrm_talk_id, messages.c.amocrm_contact_id, messages.c.metadata)
    .where(messages.c.sender_type == "client")
    .order_by(messages.c.timestamp.desc(), messages.c.id.desc())
    .limit(1)
)
_ASKED_LAST = _LAST_OF_CLIENT.where(messages.c.turn_id == sa.bindparam("turn"))
_turns = sa.table("turns", sa.column("id"), sa.column("conversation_id"), sa.column("chat_ref"))
_SAID_LAST = _LAST_OF_CLIENT.join(_turns, _turns.c.conversation_id == messages.c.conversation_id).where(
    _turns.c.id == sa.bindparam("turn"), sa.func.coalesce(messages.c.chat_ref, "") == _turns.c.chat_ref
)


def asked(connection: Connection, turn_id: int, lead_id: int) -> Asked:
    """The channel and the sender of the turn's last message from the client.

    A manager's own words answer no message: they go where the client wrote last in that chat.
    """
    row = connection.execute(_ASKED_LAST, {"turn": turn_id}).one_or_none()
    row = row or connection.execute(_SAID_LAST, {"turn": turn_id}).one_or_none()
    if row is None:
        return Asked()
    shared = len(people(connection, lead_id)) > 1
    return Asked(row.amocrm_talk_id or "", origin_of(row.metadata), row.amocrm_contact_id, shared)
