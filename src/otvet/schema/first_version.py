"""Takes over a ``conversations.db`` of the system's first version: no row and no value is lost.

That version had three tables. Their rows move into today's tables; each row keeps its original values in the column
``first_version``, because an id may have been text and a lead may have had several active conversations.
"""

import itertools
import json
import sqlite3
from collections.abc import Callable, Mapping, Set
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.amocrm.events import MESSAGE_KINDS
from otvet.conversations.tables import clients, conversations, messages
from otvet.storage.engines import make_private

FIRST_VERSION_TABLES = {"clients", "conversations", "messages"}
_TELLING_COLUMNS = {
    "clients": {"id", "amocrm_contact_id"},
    "conversations": {"id", "client_id", "amocrm_lead_id"},
    "messages": {"id", "conversation_id", "sender_type", "content"},
}
_LARGEST_KEPT_ID = 2**62  # the ids above are for rows without a number

Old = Mapping[str, Any]


def is_first_version(tables: Mapping[str, Set[str]]) -> bool:
    """Whether these tables and columns are the first version's; another program may have tables of the same names."""
    return tables.keys() == _TELLING_COLUMNS.keys() and all(
        tables[table] >= columns for table, columns in _TELLING_COLUMNS.items()
    )


def set_aside(path: Path, now: datetime) -> Path:
    """Copy the file and its journal into a new file beside it."""
    copy = path.with_name(f"{path.name}.before-{now:%Y%m%d-%H%M%S}")
    make_private(copy)
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy


def adopt(connection: Connection, upgrade: Callable[[Connection], None], now: datetime) -> None:
    """In the caller's transaction: rename the old tables, make today's, move every row."""
    old = {table: _rows(connection, table) for table in FIRST_VERSION_TABLES}
    _put_away(connection)
    upgrade(connection)
    client_ids = _move_clients(connection, old["clients"])
    conversation_ids = _move_conversations(connection, old["conversations"], client_ids, now)
    _move_messages(connection, old["messages"], conversation_ids, now)
    for table in ("messages", "conversations", "clients"):  # children first
        connection.exec_driver_sql(f"DROP TABLE first_version_{table}")


def _rows(connection: Connection, table: str) -> list[Old]:
    driver: Any = connection.connection.driver_connection
    driver.text_factory = _text  # another program may have written other text than UTF-8
    try:
        return [dict(row) for row in connection.exec_driver_sql(f"SELECT * FROM {table}").mappings()]  # noqa: S608
    finally:
        driver.text_factory = str


def _put_away(connection: Connection) -> None:
    indexes = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
    for (index,) in indexes.all():  # their names could be ours
        connection.exec_driver_sql(f'DROP INDEX "{index}"')
    for table in FIRST_VERSION_TABLES:
        connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO first_version_{table}")


def _move_clients(connection: Connection, rows: list[Old]) -> dict[str | None, int]:
    ids = _numbered(rows)
    taken: set[int | None] = set()
    new = []
    for id_, row in zip(ids, rows, strict=True):
        contact = _number(row.get("amocrm_contact_id"))
        new.append(
            {
                "id": id_,
                "amocrm_contact_id": None if contact in taken else contact,
                "name": _text(row.get("name")),
                "phone": _text(row.get("phone")),
                "email": _text(row.get("email")),
                "first_version": _kept(row),
            }
        )
        taken.add(contact)
    _insert(connection, clients, new)
    return _by_old_id(rows, ids)


def _move_conversations(
    connection: Connection, rows: list[Old], client_ids: dict[str | None, int], now: datetime
) -> dict[str | None, int]:
    ids = _numbered(rows)
    newest = sorted(
        zip(ids, rows, strict=True), key=lambda pair: _moment(pair[1].get("last_activity"), now), reverse=True
    )
    active_leads: set[int] = set()
    new = []
    for id_, row in newest:
        lead = _number(row.get("amocrm_lead_id"))
        active = row.get("status") != "completed" and lead not in active_leads
        if active and lead:
            active_leads.add(lead)
        new.append(
            {
                "id": id_,
                "client_id": client_ids.get(_key(row.get("client_id"))) or _unknown_client(connection),
                "amocrm_lead_id": lead,
                "status": "active" if active else "completed",
                "last_activity": _moment(row.get("last_activity"), now),
                "first_version": _kept(row),
            }
        )
    _insert(connection, conversations, new)
    return _by_old_id(rows, ids)


def _move_messages(
    connection: Connection, rows: list[Old], conversation_ids: dict[str | None, int], now: datetime
) -> None:
    homeless: int | None = None
    new = []
    for id_, row in zip(_numbered(rows), rows, strict=True):
        conversation = conversation_ids.get(_key(row.get("conversation_id")))
        if conversation is None:
            homeless = homeless or _closed_conversation(connection, now)
            conversation = homeless
        sender, kind = row.get("sender_type"), row.get("message_type")
        new.append(
            {
                "id": id_,
                "conversation_id": conversation,
                "sender_type": sender if sender in ("client", "assistant", "manager") else "manager",
                "content": _text(row.get("content")) or "",
                "message_type": kind if kind in MESSAGE_KINDS else "text",
                "metadata": _object(row.get("metadata")),
                "timestamp": _moment(row.get("timestamp"), now),
                "first_version": _kept(row),
            }
        )
    _insert(connection, messages, new)


def _insert(connection: Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(table.insert(), rows)


def _unknown_client(connection: Connection) -> int:
    return int(connection.execute(clients.insert().values(name=None)).inserted_primary_key[0])  # type: ignore[index]


def _closed_conversation(connection: Connection, now: datetime) -> int:
    """Make a conversation for messages whose own conversation the old file does not have."""
    values = {"client_id": _unknown_client(connection), "status": "completed", "last_activity": now}
    return int(connection.execute(conversations.insert().values(**values)).inserted_primary_key[0])  # type: ignore[index]


def _numbered(rows: list[Old]) -> list[int]:
    """A new id for each row: a number stays, any other id and a repeated number become a free number."""
    taken: set[int] = set()
    ids: list[int | None] = []
    for row in rows:
        number = _number(row["id"])
        if number is None or number in taken or number > _LARGEST_KEPT_ID:
            ids.append(None)
        else:
            ids.append(number)
            taken.add(number)
    free = itertools.count(max(taken, default=0) + 1)
    return [id_ or next(free) for id_ in ids]


def _by_old_id(rows: list[Old], ids: list[int]) -> dict[str | None, int]:
    pairs = zip(rows, ids, strict=True)
    return {_key(row["id"]): id_ for row, id_ in pairs if row["id"] is not None}


def _key(old_id: Any) -> str | None:
    """An old id as text, because a reference to a number may be text."""
    return None if old_id is None else str(old_id)


def _number(value: Any) -> int | None:
    try:
        number = int(str(value).strip())
    except ValueError:
        return None
    return number if 0 < number < 2**63 else None


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return None if value is None else str(value)


def _object(value: Any) -> dict[str, Any]:
    try:
        data = json.loads(value) if isinstance(value, (str, bytes)) else value
        json.dumps(data, ensure_ascii=False).encode()  # a lone surrogate can be read, but not written
    except (ValueError, RecursionError):
        data = None
    return data if isinstance(data, dict) else {}


def _moment(value: Any, otherwise: datetime) -> datetime:
    """The moment of an ISO text (UTC if it has no zone) or of unix seconds."""
    try:
        seconds = float(value)
        return datetime.fromtimestamp(seconds / 1000 if seconds > 1e11 else seconds, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        pass
    try:
        moment = datetime.fromisoformat(str(value))
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return otherwise


def _kept(row: Old) -> dict[str, Any]:
    return {name: _text(value) if isinstance(value, bytes) else value for name, value in row.items()}
