"""Pauses: until when staff answer in a chat or in a whole deal."""

from collections.abc import Collection
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.conversations.chats import pause_chat_for_client, pause_chat_for_manager, resume_chats
from otvet.conversations.conversation import pause_deal, pause_deal_for_manager
from otvet.conversations.tables import BY_CLIENT, BY_HAND, BY_MANAGER, FOR_GOOD, chats, conversations
from otvet.errors import UsageError
from otvet.i18n import _

MOST_PAUSE_MINUTES = 525_600.0  # a year


def pause_end(now: datetime, minutes: float | None) -> datetime:
    """The end of a pause by hand that begins now; without ``minutes``, FOR_GOOD. Raises UsageError."""
    if minutes is None:
        return FOR_GOOD
    if not 0 < minutes <= MOST_PAUSE_MINUTES:  # false for "not a number" too
        raise UsageError(
            _("a pause has more than 0 and at most {most} minutes; leave them out for one without an end").format(
                most=int(MOST_PAUSE_MINUTES)
            ),
            exit_code=2,
        )
    return now + timedelta(minutes=minutes)


def pause_for_manager(
    connection: Connection, conversation_id: int, chat_ref: str, until: datetime, now: datetime
) -> None:
    """Pause a chat in which a manager wrote; empty chat_ref: the chat is not known, so pause the whole deal.

    This replaces a pause that began when the client asked for a person, also one of the whole deal.
    """
    if chat_ref:
        pause_chat_for_manager(connection, chat_ref, until, now)
        asked = sa.and_(conversations.c.id == conversation_id, conversations.c.paused_by == BY_CLIENT)
        pause_deal(connection, asked, until, BY_MANAGER)
    else:
        pause_deal_for_manager(connection, conversation_id, until, now)


def pause_for_client(connection: Connection, conversation_id: int, chat_ref: str) -> None:
    """Pause a chat in which the client asked for a person, until a manager writes there or somebody resumes it."""
    if not (chat_ref and pause_chat_for_client(connection, chat_ref)):
        pause_deal(connection, conversations.c.id == conversation_id, FOR_GOOD, BY_CLIENT)


def set_pause(connection: Connection, lead_id: int, until: datetime | None) -> bool:
    """Pause a deal by hand, or resume it with all its chats (until: None); False if it has no conversation."""
    here = sa.and_(conversations.c.amocrm_lead_id == lead_id, conversations.c.status == "active")
    if until is None:
        resume_chats(connection, sa.select(conversations.c.id).where(here))
    return pause_deal(connection, here, until, BY_HAND if until else None)


def paused_until(connection: Connection, conversation_ids: Collection[int]) -> dict[int, tuple[datetime, str]]:
    """The latest pause in each of these deals, of the whole deal or of a chat: {conversation: (until, by)}."""
    found: dict[int, tuple[datetime, str]] = {}
    for table, key in ((conversations, conversations.c.id), (chats, chats.c.conversation_id)):
        query = sa.select(key, table.c.paused_until, table.c.paused_by)
        for id_, until, by in connection.execute(
            query.where(key.in_(conversation_ids), table.c.paused_until.is_not(None))
        ):
            found[id_] = max(found.get(id_, (until, by)), (until, by))
    return found
