"""The index of all messages: which three letters in a row stand in which message. The only file that writes it.

SQLite: FTS5 with its trigram tokenizer. PostgreSQL: the triples' checksums as an array under a GIN index, because
pg_trgm is not there everywhere. Both have one row a message, under the message's id, so a conversation that is merged
into another one changes nothing here.

New messages are added behind a stored position, some at a time, by a job that begins after their webhooks were
answered. Whoever changes a message's words calls ``renew`` in the same transaction, and ``drop`` before it goes.
"""

import zlib
from collections.abc import Collection
from functools import partial

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection

from otvet.clock import Clock
from otvet.conversations.tables import ERASED, is_trial, messages
from otvet.search.words import VERSION, indexed, searched, triples
from otvet.storage.database import Database
from otvet.storage.engines import metadata

log = structlog.get_logger(__name__)

AT_ONCE = 100
"""Messages a transaction: some 20 ms, for which a webhook may have to wait."""

LOOKED_BACK = 10_000
"""On PostgreSQL a message may be committed after one with a higher id; so the last ones are looked through again."""

PAGES_AT_ONCE = 64
LOGGED_EVERY = 50_000

search_position = sa.Table(
    "search_position",
    metadata,
    sa.Column("only", sa.Integer, primary_key=True),  # always 1
    sa.Column("last_id", sa.BigInteger, nullable=False),  # the messages up to this one are in the index
    sa.Column("version", sa.Text, nullable=False),  # search.words.VERSION
    sa.Column("to_purge", sa.Boolean, nullable=False),  # the file still holds the letters of erased messages
)

_HOW = "words, detail=none, columnsize=0, tokenize='trigram case_sensitive 1'"
IN_SQLITE = f"CREATE VIRTUAL TABLE search_index USING fts5({_HOW})"
"""As the migration makes it; PostgreSQL has a table of this name with the columns of ``entries``."""

entries = sa.table("search_index", sa.column("message_id", sa.BigInteger), sa.column("triples", ARRAY(sa.Integer)))

SEARCHED = (
    messages.c.id,
    messages.c.content,
    # To read the JSON of plain words would take longer than to index them.
    sa.case((messages.c.message_type != "text", messages.c.metadata), else_=sa.null()).label("about"),
)
"""What ``words.searched`` takes."""


class Indexer:
    """Brings the index up to date, as a job of the service."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def look(self) -> None:
        """Add what is new; a stop may cut it off anywhere."""
        behind = await self._database.read(_behind)
        if behind > LOGGED_EVERY:
            log.info("the search index is being made", messages=behind)
        done = 0
        while added := await self._database.write(add_some):
            done += added
            if done % LOGGED_EVERY < added and behind > LOGGED_EVERY:
                log.info("the search index is being made", added=done, messages=behind)
            await self._clock.sleep(0.01)  # what else waits for the writer goes first
        if behind > LOGGED_EVERY:
            log.info("the search index is complete")
        await purge(self._database)


def _behind(connection: Connection) -> int:
    """How many ids the index is behind."""
    last = connection.scalar(sa.select(search_position.c.last_id)) or 0
    return (connection.scalar(sa.select(sa.func.max(messages.c.id))) or 0) - last


def add_some(connection: Connection) -> int:
    """Add the next messages; returns how many were looked at, 0 at the end."""
    last = _position(connection)
    if connection.dialect.name == "postgresql":
        late = sa.and_(messages.c.id > last - LOOKED_BACK, messages.c.id <= last)
        _put(connection, late, ~sa.exists().where(entries.c.message_id == messages.c.id))
    next_ids = sa.select(messages.c.id).where(messages.c.id > last).order_by(messages.c.id).limit(AT_ONCE)
    ids = connection.scalars(next_ids).all()
    if ids:
        _put(connection, messages.c.id > last, messages.c.id <= ids[-1])
        connection.execute(search_position.update().values(last_id=ids[-1]))
    return len(ids)


def renew(connection: Connection, here: sa.ColumnElement[bool]) -> None:
    """Index messages anew whose words have changed; call it after the change, in its transaction."""
    last = connection.scalar(sa.select(search_position.c.last_id)) or 0
    # Messages behind the position are still to be added.
    if ids := connection.scalars(sa.select(messages.c.id).where(here, messages.c.id <= last)).all():
        _remove(connection, ids)
        _put(connection, messages.c.id.in_(ids))


def drop(connection: Connection, here: sa.ColumnElement[bool]) -> None:
    """Take messages out that are about to be deleted."""
    if ids := connection.scalars(sa.select(messages.c.id).where(here)).all():
        _remove(connection, ids)
        if connection.dialect.name == "sqlite":  # the newest one's id will be given to another message
            passed = search_position.c.last_id >= min(ids)
            connection.execute(search_position.update().where(passed).values(last_id=min(ids) - 1))


def erase(connection: Connection, message_ids: Collection[int]) -> None:
    """Take out messages that were erased; call it after that, so that none can be added meanwhile.

    On SQLite the file still holds some of their letters, until ``purge``.
    """
    if message_ids:
        _remove(connection, message_ids)
        connection.execute(search_position.update().values(to_purge=connection.dialect.name == "sqlite"))


async def purge(database: Database) -> None:
    """Write the index anew, if it holds letters of erased messages, so that the file has none of them any more.

    FTS5 only notes that a row is gone, until it happens to merge the part that holds it. Some pages a transaction,
    because all of them take seconds. https://www.sqlite.org/fts5.html#the_merge_command
    """
    if await database.read(lambda connection: connection.scalar(sa.select(search_position.c.to_purge))):
        pages = -PAGES_AT_ONCE  # negative: all parts are to become one
        while await database.write(partial(_merge, pages=pages)):
            pages = PAGES_AT_ONCE


def _merge(connection: Connection, pages: int) -> bool:
    """One step of the merging; False after the last one."""
    _overwrite(connection)
    count = sa.text("SELECT total_changes()")
    before = connection.scalar(count) or 0
    connection.execute(
        sa.text("INSERT INTO search_index(search_index, rank) VALUES ('merge', :pages)"), {"pages": pages}
    )
    if (connection.scalar(count) or 0) - before >= 2:
        return True
    connection.execute(search_position.update().values(to_purge=False))
    return False


def _position(connection: Connection) -> int:
    """The last message in the index; an index of another version is emptied first. Locked until the commit."""
    row = connection.execute(sa.select(search_position).with_for_update()).one_or_none()
    if row is not None and row.version == VERSION:
        return int(row.last_id)
    if connection.dialect.name == "sqlite":
        connection.execute(sa.text("DELETE FROM search_index"))
    else:
        connection.execute(sa.text("TRUNCATE search_index"))
    connection.execute(search_position.delete())
    connection.execute(search_position.insert().values(only=1, last_id=0, version=VERSION, to_purge=False))
    return 0


def _put(connection: Connection, *here: sa.ColumnElement[bool]) -> None:
    """Index these messages, but for erased ones and trial chats.

    Their rows are locked, because what another process changes or erases meanwhile would be indexed all the same.
    """
    query = sa.select(*SEARCHED).where(*here, messages.c.message_type != ERASED, ~is_trial(messages))
    rows = connection.execute(query.order_by(messages.c.id).with_for_update(read=True)).all()
    texts = [(row.id, indexed(searched(row.content, row.about))) for row in rows]
    if connection.dialect.name == "sqlite":
        _overwrite(connection)
        statement = "INSERT OR REPLACE INTO search_index(rowid, words) VALUES (?, ?)"
        if texts:
            connection.exec_driver_sql(statement, texts)
    elif texts:
        made = [{"message_id": id_, "triples": checksums(triples(text))} for id_, text in texts]
        connection.execute(postgresql.insert(entries).on_conflict_do_nothing(), made)


def _remove(connection: Connection, message_ids: Collection[int]) -> None:
    if connection.dialect.name == "sqlite":
        _overwrite(connection)
        ids = [(id_,) for id_ in message_ids]
        connection.exec_driver_sql("DELETE FROM search_index WHERE rowid = ?", ids)
    else:
        connection.execute(entries.delete().where(entries.c.message_id.in_(message_ids)))


def _overwrite(connection: Connection) -> None:
    """Have SQLite overwrite with zeros what the index frees: it merges its parts by itself, and old ones hold words."""
    connection.exec_driver_sql("PRAGMA secure_delete=ON")


def checksums(some: Collection[str]) -> list[int]:
    """Triples as PostgreSQL's four-byte numbers; two may share one, which costs a look at the message."""
    return [zlib.crc32(one.encode()) - 2**31 for one in sorted(some)]
