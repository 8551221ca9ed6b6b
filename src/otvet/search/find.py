"""Looks for words in all messages: which chats have them, the newest message first."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection

from otvet.conversations.tables import ERASED, clients, conversations, is_trial, messages
from otvet.search.index import SEARCHED, checksums, entries
from otvet.search.words import MOST_WORDS, Piece, Wanted, folded, searched
from otvet.storage.prepared import among
from otvet.storage.storable import storable_text

PAGE = 50
MOST_LOOKED_AT = 3000
"""Messages that a page looks at. A page may have fewer chats than PAGE for it; the next one goes on from there."""

MOST_PASSED = 20_000
"""Candidates of earlier pages: a chat that has one of them is not shown again."""

MOST_NAMED = 20
LEAST_OF_A_PHONE, MOST_OF_A_PHONE = 4, 15
LONGEST_NUMBER = 19  # of eight bytes
AT_ONCE = 100
NEWEST = 20_000
"""PostgreSQL looks through the newest messages one by one, so that a frequent word needs no others."""

BEFORE_ALL = 2**62

_LOOKED_AT = (*SEARCHED, messages.c.conversation_id)


@dataclass(frozen=True, slots=True)
class Found:
    """A chat. message_id: its newest message with the words; None if the number or the name is the chat's own."""

    conversation_id: int
    message_id: int | None
    words: Sequence[Piece]


def page(connection: Connection, text: str, before: int | None = None) -> tuple[list[Found], int | None]:
    """Chats with all words in one message, and the id before which the next page begins (None: there is none).

    The chat with the newest such message comes first. A number may also be of a deal, a contact or a phone, and the
    words may be in a client's name: those chats go ahead of all.
    """
    wanted = Wanted(storable_text(text))
    named = _named(connection, wanted)
    found = [] if before else [Found(id_, None, ()) for id_ in named]
    passed, looked_at = set(named), 0
    newer = list(islice(_ids(connection, wanted, BEFORE_ALL, before), MOST_PASSED)) if before else []
    for candidates in _candidates(connection, wanted, before or BEFORE_ALL):
        hits = [row for row in candidates if row.conversation_id not in passed and wanted.found_in(_text(row))]
        passed |= _have_any(connection, wanted, {row.conversation_id for row in hits}, newer)
        for row in hits:
            if row.conversation_id in passed:
                continue
            if len(found) == PAGE:
                return found, row.id + 1
            passed.add(row.conversation_id)
            found.append(Found(row.conversation_id, row.id, wanted.snippet(_text(row))))
        looked_at += len(candidates)
        if looked_at >= MOST_LOOKED_AT:
            return found, candidates[-1].id
    return found, None


def _text(row: Any) -> str:
    return searched(row.content, row.about)


def _have_any(connection: Connection, wanted: Wanted, chats: Collection[int], newer: Sequence[int]) -> set[int]:
    """Which of these chats have one of these candidates, so that they stand on an earlier page."""
    if not (chats and newer):
        return set()
    here = (among(messages.c.id, "ids"), messages.c.conversation_id.in_(chats))
    rows = connection.execute(sa.select(*_LOOKED_AT).where(*here, messages.c.message_type != ERASED), {"ids": newer})
    return {row.conversation_id for row in rows if wanted.found_in(_text(row))}


def _candidates(connection: Connection, wanted: Wanted, before: int) -> Iterator[Sequence[Any]]:
    """Messages that may have all the words, the newest first, some at a time."""
    ids = _ids(connection, wanted, before)
    while some := list(islice(ids, AT_ONCE)):
        query = sa.select(*_LOOKED_AT).where(messages.c.id.in_(some), messages.c.message_type != ERASED)
        if rows := connection.execute(query.order_by(messages.c.id.desc())).all():
            yield rows


def _ids(connection: Connection, wanted: Wanted, before: int, since: int = 0) -> Iterator[int]:
    """The ids of the candidates, the newest first."""
    if not wanted.words:
        return iter(())
    return (_by_fts5 if connection.dialect.name == "sqlite" else _by_gin)(connection, wanted, before, since)


def _by_fts5(connection: Connection, wanted: Wanted, before: int, since: int) -> Iterator[int]:
    """The triples are letters and digits and what stands at the edge of a word: none of them is a sign of FTS5's."""
    words = (
        " OR ".join("(" + " AND ".join(f'"{three}"' for three in sorted(some)) + ")" for some in alternatives)
        for alternatives in wanted.alternatives
    )
    query = "SELECT rowid FROM search_index WHERE search_index MATCH ? AND rowid < ? AND rowid >= ? ORDER BY rowid DESC"
    match = " AND ".join(f"({word})" for word in words)
    yield from connection.exec_driver_sql(query, (match, before, since)).scalars()


def _by_gin(connection: Connection, wanted: Wanted, before: int, since: int) -> Iterator[int]:
    """Windows of the newest messages as long as they give enough; then all others by the index."""
    id_ = entries.c.message_id
    has = sa.and_(*(sa.or_(*(_has_all(some) for some in alternatives)) for alternatives in wanted.alternatives))
    query = sa.select(id_).where(has).order_by(id_.desc())
    end, enough = min(before, (connection.scalar(sa.select(sa.func.max(id_))) or 0) + 1), True
    while end > since and enough:
        begin = max(since, end - NEWEST)
        with _planned(connection, "enable_bitmapscan"):
            found = connection.scalars(query.where(id_ < end, id_ >= begin)).all()
        yield from found
        end, enough = begin, len(found) >= PAGE
    if end > since:
        with _planned(connection, "enable_indexscan", "enable_seqscan"):
            found = connection.scalars(query.where(id_ < end, id_ >= since).limit(MOST_LOOKED_AT)).all()
        yield from found


def _has_all(some: Collection[str]) -> sa.ColumnElement[bool]:
    return entries.c.triples.contains(sa.cast(checksums(some), ARRAY(sa.Integer)))


@contextmanager
def _planned(connection: Connection, *without: str) -> Iterator[None]:
    """Without these ways: the planner takes the triples of a word for independent, and expects far too few messages."""
    for value in ("off", "on"):
        for way in without:
            connection.execute(sa.select(sa.func.set_config(way, value, True)))
        if value == "off":
            yield


def _named(connection: Connection, wanted: Wanted) -> list[int]:
    """Chats whose deal, contact or phone has this number, or whose client is so called; the latest activity first."""
    digits = _digits(wanted.text)
    ways: list[sa.ColumnElement[bool]] = []
    if digits and not any(map(str.isalpha, wanted.text)):
        called = _clients_with_phone(connection, digits)
        if len(digits) < LONGEST_NUMBER:
            contact = sa.select(clients.c.id).where(clients.c.amocrm_contact_id == int(digits))
            called += connection.scalars(contact).all()
            ways.append(conversations.c.amocrm_lead_id == int(digits))
    else:
        called = _clients_called(connection, wanted.text.split()[:MOST_WORDS]) if len(wanted.text.strip()) > 1 else []
    if called:
        ways.append(conversations.c.client_id.in_(called))
    found: dict[int, datetime] = {}
    for way in ways:  # one after the other, because each has an index of its own
        query = sa.select(conversations.c.id, conversations.c.last_activity).where(way, ~is_trial(conversations))
        newest = query.order_by(conversations.c.last_activity.desc()).limit(MOST_NAMED)
        found |= {row.id: row.last_activity for row in connection.execute(newest)}
    return sorted(found, key=lambda id_: (found[id_], id_), reverse=True)[:MOST_NAMED]


def _clients_called(connection: Connection, words: Sequence[str]) -> list[int]:
    """Neither database folds Cyrillic letters under every setting: so without the first letter, small or all large."""
    holds = sa.func.instr if connection.dialect.name == "sqlite" else sa.func.strpos  # faster than LIKE
    ways = (
        sa.or_(*(holds(clients.c.name, form) > 0 for form in {word.lower()[1:], word.upper()[1:]})) for word in words
    )
    rows = connection.execute(sa.select(clients.c.id, clients.c.name).where(*ways).limit(MOST_LOOKED_AT))
    return [row.id for row in rows if all(folded(word) in folded(row.name) for word in words)][-MOST_NAMED:]


def _clients_with_phone(connection: Connection, digits: str) -> list[int]:
    """Other signs may stand between the digits."""
    if not LEAST_OF_A_PHONE <= len(digits) <= MOST_OF_A_PHONE:
        return []
    alike = clients.c.phone.like(f"%{'%'.join(digits)}%")
    rows = connection.execute(sa.select(clients.c.id, clients.c.phone).where(alike).limit(MOST_LOOKED_AT))
    return [row.id for row in rows if digits in _digits(row.phone)][-MOST_NAMED:]


def _digits(text: str) -> str:
    return "".join(filter(str.isdecimal, text))
