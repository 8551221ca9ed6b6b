"""Conversations: a deal's row, its card, its summary, its mode and its pause; every write to the table."""

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
    erased_ref,
    may_yield_to_manager,
)
from otvet.storage.engines import UtcDateTime
from otvet.storage.prepared import Prepared, among

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def set_mode(connection: Connection, lead_id: int, mode: str | None) -> bool:
    """Set the assistant's mode in a deal; None: the mode of the settings. False if there is no conversation."""
    here = (conversations.c.amocrm_lead_id == lead_id, conversations.c.status == "active")
    return connection.execute(conversations.update().where(*here).values(mode=mode)).rowcount > 0


def touch(connection: Connection, conversation_id: int, now: datetime) -> None:
    """Note that something was said in the conversation now."""
    connection.execute(_TOUCH, {"conversation": conversation_id, "at": now})


def save_summary(
    connection: Connection, conversation_id: int, summary: str, until: datetime, until_before: datetime | None
) -> bool:
    """Store the summary of the messages until ``until``, unless another one was stored since ``until_before``."""
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
_TELL_CHAT = Prepared(  # only where the chat has changed: writing the column also writes its indexes
    conversations.update()
    .where(conversations.c.id == sa.bindparam("conversation"))
    .values(chat_ref=sa.bindparam("ref"))
)


def touch_many(connection: Connection, last: Mapping[int, datetime], moved: Mapping[int, str | None]) -> None:
    """Note when something was last said in conversations, and the chat that wrote last where it has changed.

    In the order of their ids, so that two processes never deadlock.
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
    """Delete a conversation that was merged into another one, so that nothing refers to it any more."""
    connection.execute(conversations.delete().where(conversations.c.id == conversation_id))


def pause_deal_for_manager(connection: Connection, conversation_id: int, until: datetime, now: datetime) -> None:
    """Pause a deal in which a manager wrote, in an unknown chat."""
    here = (conversations.c.id == conversation_id, may_yield_to_manager(conversations, until, now))
    connection.execute(conversations.update().where(*here).values(paused_until=until, paused_by=BY_MANAGER))


def pause_deal(connection: Connection, here: sa.ColumnElement[bool], until: datetime | None, by: str | None) -> bool:
    """Pause the conversations that match ``here``, or resume them (until: None); False if there are none."""
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
        deal=sa.bindparam("deal", type_=_CARD_OR_NULL),
        deal_read_at=sa.bindparam("at"),
        deal_due_at=None,
    )
)
_DEALS_CHANGED = Prepared(
    conversations.update()
    .where(
        among(conversations.c.amocrm_lead_id, "leads"),
        # Read before, or being read now, and not erased since.
        sa.or_(conversations.c.deal_read_at.is_not(None), conversations.c.deal_due_at < FOR_GOOD),
    )
    .values(deal_due_at=sa.bindparam("now"))
)


def claim_deal_card(connection: Connection, conversation_id: int, seen: datetime | None, token: datetime) -> bool:
    """Claim the card for one reader until ``token``; False if its due moment is not ``seen`` any more."""
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
    """Store the card, unless it has changed or was erased since its reader claimed it. deal: None: none in amoCRM."""
    values = {"of": conversation_id, "lead": lead_id, "token": token, "deal": deal, "at": at}
    return connection.execute(_SAVE_DEAL, values).rowcount == 1


def deal_cards_changed(connection: Connection, leads: Collection[int], now: datetime) -> None:
    """Have the cards of these deals read again, if they were read before or are being read."""
    if leads:
        _DEALS_CHANGED.run(connection, [{"leads": leads, "now": now}])


# The search for the deal of a conversation whose messages name none.

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
    """Claim the search for one process until ``until``. moments: ``now``; ``never``: later than any search is due."""
    return connection.execute(_CLAIM_SEARCH, {"of": conversation_id, "until": until, **moments}).rowcount == 1


def note_search(connection: Connection, conversation_id: int, searches: int, again_at: datetime | None) -> None:
    """Store how many searches for the deal were in vain, and when to search again; None: at once."""
    here = sa.and_(conversations.c.id == conversation_id, WITHOUT_DEAL)
    connection.execute(conversations.update().where(here).values(searches=searches, search_at=again_at))


def erase_conversations(
    connection: Connection, whole: Collection[int], shared: Collection[int], refs: Collection[str], now: datetime
) -> None:
    """Erase the conversations ``whole``, and the summaries of ``shared``, which others share. refs: erased chats."""
    here = conversations.c.id.in_(whole)
    connection.execute(
        conversations.update()
        .where(here)
        .values(
            chat_ref=erased_ref(conversations, None),
            summary=None,
            summarised_until=now,  # also prevents the storing of a summary that is being written now
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
