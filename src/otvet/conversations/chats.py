"""Chats: the conversation and the pause of each chat; every write to the table."""

from collections.abc import Collection, Mapping
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.conversations.tables import BY_CLIENT, BY_MANAGER, FOR_GOOD, chats, may_yield_to_manager
from otvet.storage.engines import insert
from otvet.storage.prepared import Prepared, among

_CHATS = Prepared(sa.select(chats.c.chat_ref, chats.c.conversation_id).where(among(chats.c.chat_ref, "refs")))


def of_chats(connection: Connection, refs: Collection[str]) -> dict[str, int]:
    """The conversation in which each of these chats was last seen; unknown chats are left out."""
    return dict(map(tuple, _CHATS.rows(connection, refs=refs))) if refs else {}


def place_chats(connection: Connection, conversation_of: Mapping[str, int]) -> None:
    """Store in which conversations these chats go on."""
    if conversation_of:
        # In the same order in all processes, so that no two of them deadlock.
        rows = [{"chat_ref": ref, "conversation_id": id_} for ref, id_ in sorted(conversation_of.items())]
        connection.execute(_placing(connection.dialect.name), rows)


@cache  # building a statement costs more than running it
def _placing(dialect: str) -> Any:
    statement = insert(dialect, chats)
    moved = {"conversation_id": statement.excluded.conversation_id}
    return statement.on_conflict_do_update(index_elements=["chat_ref"], set_=moved)


def pause_chat_for_manager(connection: Connection, chat_ref: str, until: datetime, now: datetime) -> None:
    """Pause a chat in which a manager wrote."""
    here = (chats.c.chat_ref == chat_ref, may_yield_to_manager(chats, until, now))
    connection.execute(chats.update().where(*here).values(paused_until=until, paused_by=BY_MANAGER))


def pause_chat_for_client(connection: Connection, chat_ref: str) -> bool:
    """Pause a chat in which the client asked for a person; False if the chat is not known."""
    here = chats.update().where(chats.c.chat_ref == chat_ref)
    return connection.execute(here.values(paused_until=FOR_GOOD, paused_by=BY_CLIENT)).rowcount > 0


def resume_chats(connection: Connection, conversation_ids: Any) -> None:
    """End the pauses of these conversations' chats. conversation_ids: numbers, or a query for them."""
    here = chats.c.conversation_id.in_(conversation_ids)
    connection.execute(chats.update().where(here).values(paused_until=None, paused_by=None))


def erase_chats(connection: Connection, conversation_ids: Collection[int], refs: Collection[str]) -> None:
    """Delete these chats, and all chats of these conversations."""
    here = sa.or_(chats.c.conversation_id.in_(conversation_ids), chats.c.chat_ref.in_(refs))
    connection.execute(chats.delete().where(here))
