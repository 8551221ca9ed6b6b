"""Conversations: a deal's row, its card, its summary, its mode and its pause; every write of the table."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Connection

from otvet.conversations.tables import (
    BY_MANAGER,
    FOR_GOOD,
    conversations,
    may_yield_to_manager,
)
from otvet.storage.engines import UtcDateTime
from otvet.storage.prepared import Prepared, among

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def set_mode(connection: Connection, lead_id: int, mode: str | None) -> bool:
    """How the assistant works in a deal; None: as set for all. False when there is no conversation."""
    here = (conversations.c.amocrm_lead_id == lead_id, conversations.c.status == "active")
    return connection.execute(conversations.update().where(*here).values(mode=mode)).rowcount > 0


def touch(connection: Connection, conversation_id: int, now: datetime) -> None:
    """Something was said in the conversation now."""
    connection.execute(_TOUCH, {"conversation": conversation_id, "at": now})


def keep_summary(
    connection: Connection, conversation_id: int, summary: str, until: datetime, until_before: datetime | None
) -> bool:
    """Store the summary of what was said until a moment, unless another one was stored since ``until_before``."""
    before = conversations.c.summarised_until
    unchanged = before.is_(None) if until_before is None else before == until_before
    changed = connection.execute(
        conversations.update()
        .where(conversations.c.id == conversation_id, unchanged)
        .values(summary=summary, summarised_until=until)
    )
    return changed.rowcount == 1


_TOUCH = (
    conversations.update()
    .where(conversations.c.id == sa.bindparam("conversation"))
    .values(last_activity=sa.bindparam("at"))
)


_TOUCH_MANY = Prepared(_TOUCH)
_TELL_CHAT = Prepared(  # seldom: a value that is written anew is written into its indexes anew
    conversations.update()
    .where(conversations.c.id == sa.bindparam("conversation"))
    .values(chat_ref=sa.bindparam("ref"))
)


def touch_many(connection: Connection, last: Mapping[int, datetime], moved: Mapping[int, str | None]) -> None:
    """When something was said in conversations last, and the chats that wrote last where they are others than before.

    In the order of their ids, so that two processes never wait for each other in a ring.
    """
    _TOUCH_MANY.run(connection, [{"conversation": id_, "at": at} for id_, at in sorted(last.items())])
    _TELL_CHAT.run(connection, [{"conversation": id_, "ref": ref} for id_, ref in sorted(moved.items())])


def add_conversations(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> Sequence[int]:
    """Insert conversations and give their ids, in their order."""
    if not rows:
        return ()
    added = conversations.insert().returning(conversations.c.id, sort_by_parameter_order=True)
    return connection.scalars(added, rows).all()


def set_conversation(connection: Connection, conversation_id: int, **values: Any) -> None:
    """Change columns of a conversation: its deal, its client, its chat."""
    connection.execute(conversations.update().where(conversations.c.id == conversation_id).values(**values))


def remove_conversation(connection: Connection, conversation_id: int) -> None:
    """A conversation turned out to be part of another one, and nothing refers to it any more."""
    connection.execute(conversations.delete().where(conversations.c.id == conversation_id))


def pause_deal_for_manager(connection: Connection, conversation_id: int, until: datetime, now: datetime) -> None:
    """A manager wrote in the deal, and nothing tells in which chat."""
    here = (conversations.c.id == conversation_id, may_yield_to_manager(conversations, until, now))
    connection.execute(conversations.update().where(*here).values(paused_until=until, paused_by=BY_MANAGER))


def pause_deal(connection: Connection, here: sa.ColumnElement[bool], until: datetime | None, by: str | None) -> bool:
    """Pause the conversations of a condition, or resume them (None); False when there is none."""
    paused = conversations.update().where(here).values(paused_until=until, paused_by=by)
    return connection.execute(paused).rowcount > 0


# amoCRM's card of the deal. See deals/known.py for the moments.

DUE = sa.bindparam("seen", type_=UtcDateTime)
_CLAIM_DEAL = (
    conversations.update()
    .where(conversations.c.id == sa.bindparam("of"), conversations.c.deal_due_at.is_not_distinct_from(DUE))
    .values(deal_due_at=sa.bindparam("token"))
)
_CARD_OR_NULL = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
_SAVE_DEAL = (
    conversations.update()
    .where(
        conversations.c.id == sa.bindparam("of"),
        conversations.c.amocrm_lead_id == sa.bindparam("lead"),
        conversations.c.deal_due_at == sa.bindparam("token", type_=UtcDateTime),
    )
    .values(
        deal=sa.bindparam(
            "deal", type_=sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
        ),
        deal_read_at=sa.bindparam("at"),
        deal_due_at=None,
    )
)
_DEALS_CHANGED = Prepared(
    conversations.update()
    .where(
        among(conversations.c.amocrm_lead_id, "leads"),
        # Was read, or is being read, and was not erased since.
        sa.or_(conversations.c.deal_read_at.is_not(None), conversations.c.deal_due_at < FOR_GOOD),
    )
    .values(deal_due_at=sa.bindparam("now"))
)


def claim_deal_card(connection: Connection, conversation_id: int, seen: datetime | None, token: datetime) -> bool:
    """Reserve the card for one reader until ``token``; False where it is not due as it was ``seen`` any more."""
    values = {"of": conversation_id, "seen": seen, "token": token}
    return connection.execute(_CLAIM_DEAL, values).rowcount == 1


def save_deal_card(
    connection: Connection,
    conversation_id: int,
    lead_id: int,
    token: datetime,
    deal: Mapping[str, Any] | None,
    at: datetime,
) -> bool:
    """Store what its reader has read, unless the card has changed, or was erased, since the reader claimed it."""
    values = {"of": conversation_id, "lead": lead_id, "token": token, "deal": deal, "at": at}
    return connection.execute(_SAVE_DEAL, values).rowcount == 1


def deal_cards_changed(connection: Connection, leads: Collection[int], now: datetime) -> None:
    """The cards of these deals that were read, or are being read, are read again."""
    if leads:
        _DEALS_CHANGED.run(connection, [{"leads": leads, "now": now}])


# The search for the deal of a conversation that names none.

WITHOUT_DEAL = sa.and_(conversations.c.amocrm_lead_id.is_(None), conversations.c.status == "active")
SEARCH_IS_DUE = sa.or_(
    conversations.c.search_at.is_(None),
    conversations.c.search_at <= sa.bindparam("now"),
    conversations.c.search_at > sa.bindparam("never"),  # the clock was set back since
)
_CLAIM_SEARCH = (
    conversations.update()
    .where(conversations.c.id == sa.bindparam("of"), WITHOUT_DEAL, SEARCH_IS_DUE)
    .values(search_at=sa.bindparam("until"))
)


def claim_search(
    connection: Connection, conversation_id: int, until: datetime, moments: Mapping[str, datetime]
) -> bool:
    """Reserve the search for one process until then. moments: ``now`` and ``never``, later than any search is due."""
    return connection.execute(_CLAIM_SEARCH, {"of": conversation_id, "until": until, **moments}).rowcount == 1


def note_search(connection: Connection, conversation_id: int, searches: int, again_at: datetime | None) -> None:
    """How often the deal was searched in vain, and when to search again."""
    here = sa.and_(conversations.c.id == conversation_id, WITHOUT_DEAL)
    connection.execute(conversations.update().where(here).values(searches=searches, search_at=again_at))


def erase_conversations(
    connection: Connection, whole: Collection[int], shared: Collection[int], refs: Collection[str], now: datetime
) -> None:
    """Forget what was said in these conversations. shared: others wrote there too; refs: the chats that are erased."""
    here = conversations.c.id.in_(whole)
    connection.execute(
        conversations.update()
        .where(here)
        .values(
            chat_ref=None,
            summary=None,
            summarised_until=now,  # also so that a summary that is being made now is not stored
            deal=sa.null(),
            deal_read_at=None,
            deal_due_at=FOR_GOOD,
            first_version=sa.null(),
        )
    )
    without_a_deal = conversations.c.amocrm_lead_id.is_(None)
    connection.execute(conversations.update().where(here, without_a_deal).values(status="completed"))
    of_others = conversations.c.id.in_(shared)
    connection.execute(conversations.update().where(of_others).values(summary=None, summarised_until=LONG_AGO))
    connection.execute(conversations.update().where(conversations.c.chat_ref.in_(refs)).values(chat_ref=None))
