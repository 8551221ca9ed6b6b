"""Chats: where each goes on, and until when staff answer in it; every write of the table."""

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
    """The conversation that each of these chats was last seen in, as far as it is known."""
    return dict(map(tuple, _CHATS.rows(connection, refs=refs))) if refs else {}


def place_chats(connection: Connection, conversation_of: Mapping[str, int]) -> None:
    """From now on these chats go on in these conversations."""
    if conversation_of:
        # In one order in all processes, so that two of them do not wait for each other.
        rows = [{"chat_ref": ref, "conversation_id": id_} for ref, id_ in sorted(conversation_of.items())]
        connection.execute(_placing(connection.dialect.name), rows)


@cache  # once for each dialect: building it anew costs more than running it
def _placing(dialect: str) -> Any:
    statement = insert(dialect, chats)
    moved = {"conversation_id": statement.excluded.conversation_id}
    return statement.on_conflict_do_update(index_elements=["chat_ref"], set_=moved)


def pause_chat_for_manager(connection: Connection, chat_ref: str, until: datetime, now: datetime) -> None:
    """A manager wrote in the chat."""
    here = (chats.c.chat_ref == chat_ref, may_yield_to_manager(chats, until, now))
    connection.execute(chats.update().where(*here).values(paused_until=until, paused_by=BY_MANAGER))


def pause_chat_for_client(connection: Connection, chat_ref: str) -> bool:
    """The client asked for a person in the chat; False where the chat is not known."""
    here = chats.update().where(chats.c.chat_ref == chat_ref)
    return connection.execute(here.values(paused_until=FOR_GOOD, paused_by=BY_CLIENT)).rowcount > 0


def resume_chats(connection: Connection, conversation_ids: Any) -> None:
    """No chat of these conversations is paused any more. conversation_ids: numbers, or a query for them."""
    here = chats.c.conversation_id.in_(conversation_ids)
    connection.execute(chats.update().where(here).values(paused_until=None, paused_by=None))


def erase_chats(connection: Connection, conversation_ids: Collection[int], refs: Collection[str]) -> None:
    """Forget these chats, and all of these conversations."""
    here = sa.or_(chats.c.conversation_id.in_(conversation_ids), chats.c.chat_ref.in_(refs))
    connection.execute(chats.delete().where(here))
