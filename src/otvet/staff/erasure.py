"""Erases a client: overwrites all messages and facts; ids, times and counts stay.

The ids of messages stay so that a repeated webhook does not bring the messages back. The rows stay so that a concurrent
write cannot land in a row of another client. Data outside this database (in amoCRM, in copies of the file) cannot be
reached from here; tasks at Manus are deleted one by one.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection, Row

from otvet.amocrm import form
from otvet.clock import Clock
from otvet.conversations.chats import erase_chats
from otvet.conversations.clients import erase_clients
from otvet.conversations.conversation import erase_conversations
from otvet.conversations.messages import erase_messages
from otvet.conversations.tables import clients, conversations, messages
from otvet.intake.quarantine import quarantine, remove_quarantined
from otvet.responders.manus.api import NOT_FOUND, ManusApi, ManusError
from otvet.search import index
from otvet.storage.database import Database
from otvet.turns import attempts as attempts_
from otvet.turns import handoffs, parts
from otvet.turns.attempts import attempts, threads
from otvet.turns.changes import erase_turns
from otvet.turns.turn import State, turns
from otvet.users import ratings
from otvet.widget import waiting

log = structlog.get_logger(__name__)

NEEDLE = 6
"""The shortest text that is looked for inside a body that cannot be parsed."""


@dataclass(frozen=True, slots=True)
class ClientData:
    """The rows of a client, or of all clients of a deal.

    contacts: the clients' contact ids in amoCRM. conversations: the clients' own. shared: conversations in which
    other clients wrote too. chats: the clients' chats, as events.MessageEvent.chat_ref.
    """

    contacts: frozenset[int]
    clients: frozenset[int]
    conversations: frozenset[int]
    shared: frozenset[int]
    chats: frozenset[str]
    messages: frozenset[int]
    turns: frozenset[int]


@dataclass(slots=True)
class Erased:
    """How much was erased. tasks: the client's tasks at Manus. tasks_left: tasks that could not be deleted."""

    conversations: int = 0
    messages: int = 0
    replies: int = 0
    quarantined: int = 0
    tasks: frozenset[str] = frozenset()
    tasks_left: list[str] = field(default_factory=list)


def find(connection: Connection, *, lead_id: int | None = None, contact_id: int | None = None) -> ClientData | None:
    """All rows of a contact, or of every client who wrote in a deal, also in other deals. None: nothing is known."""
    in_deal = conversations.c.amocrm_lead_id == lead_id if lead_id is not None else sa.false()
    contacts = {contact_id} if contact_id is not None else _contacts_of(connection, in_deal)
    of_contacts = clients.c.amocrm_contact_id.in_(contacts)
    who = sa.or_(of_contacts, clients.c.id.in_(sa.select(conversations.c.client_id).where(in_deal)))
    ids = frozenset(connection.scalars(sa.select(clients.c.id).where(who)))
    alone = sa.and_(conversations.c.client_id.in_(ids), ~_somebody_else(contacts))
    whole = frozenset(connection.scalars(sa.select(conversations.c.id).where(sa.or_(in_deal, alone))))
    said = _said(connection, whole, contacts, ids)
    if not ids and not said:
        return None
    turns_ = _turns_of(connection, whole, said)
    replies = sa.select(messages.c.id).where(messages.c.turn_id.in_(turns_), messages.c.sender_type != "client")
    return ClientData(
        contacts=frozenset(contacts),
        clients=ids,
        conversations=whole,
        shared=frozenset(row.conversation_id for row in said) - whole,
        chats=frozenset(filter(None, map(_chat_ref, said))),
        messages=frozenset(row.id for row in said) | frozenset(connection.scalars(replies)),
        turns=turns_,
    )


def _contacts_of(connection: Connection, in_deal: sa.ColumnElement[bool]) -> set[int]:
    """The contacts of a deal's messages and of its client."""
    wrote = sa.select(messages.c.amocrm_contact_id).join(conversations).where(in_deal)
    last = sa.select(clients.c.amocrm_contact_id).join(conversations).where(in_deal)
    return set(connection.scalars(wrote.union(last))) - {None}


def _somebody_else(contacts: Collection[int]) -> sa.ColumnElement[bool]:
    named = (messages.c.amocrm_contact_id.is_not(None), messages.c.amocrm_contact_id.not_in(contacts))
    return sa.exists().where(messages.c.conversation_id == conversations.c.id, *named)


def _said(
    connection: Connection, whole: Collection[int], contacts: Collection[int], ids: Collection[int]
) -> Sequence[Row[Any]]:
    """The clients' messages and the replies to them.

    In shared conversations only the messages that carry the clients' ids, and those that carry none if the conversation
    has one of these clients.
    """
    contact, chat = messages.c.amocrm_contact_id, messages.c.amocrm_chat_id
    in_chats = chat.in_(sa.select(chat).where(contact.in_(contacts)))
    to_a_question = sa.and_(messages.c.sender_type == "assistant", messages.c.turn_id.is_not(None))
    names_nobody = sa.and_(chat.is_(None), ~to_a_question, conversations.c.client_id.in_(ids))
    theirs = sa.or_(
        conversations.c.id.in_(whole), contact.in_(contacts), sa.and_(contact.is_(None), sa.or_(in_chats, names_nobody))
    )
    columns = (messages.c.id, messages.c.conversation_id, messages.c.turn_id, contact, chat, messages.c.amocrm_talk_id)
    rows: Sequence[Any] = connection.execute(sa.select(*columns).join(conversations).where(theirs)).all()
    return rows


def _turns_of(connection: Connection, whole: Collection[int], said: Sequence[Row[Any]]) -> frozenset[int]:
    """The turns of these messages, without those in which another client still waits for an answer."""
    found = set(connection.scalars(sa.select(turns.c.id).where(turns.c.conversation_id.in_(whole))))
    found |= {row.turn_id for row in said if row.turn_id is not None}
    asked = (
        sa.select(messages.c.id, messages.c.turn_id)
        .join(turns, turns.c.id == messages.c.turn_id)
        .where(turns.c.id.in_(found), turns.c.state == State.WAITING, messages.c.sender_type == "client")
    )
    theirs = {row.id for row in said}
    return frozenset(found - {row.turn_id for row in connection.execute(asked) if row.id not in theirs})


def _chat_ref(row: Row[Any]) -> str | None:
    if row.amocrm_chat_id:
        return str(row.amocrm_chat_id)
    if row.amocrm_talk_id:
        return f"talk:{row.amocrm_talk_id}"
    return f"contact:{row.amocrm_contact_id}" if row.amocrm_contact_id else None


def erase(connection: Connection, whose: ClientData, now: datetime) -> Erased:
    """Overwrite all of these rows. Can be repeated for rows that were written meanwhile."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete=ON")  # what is freed is overwritten with zeros
    needles = _needles(connection, whose)
    erased = Erased(
        conversations=len(whose.conversations),
        messages=len(whose.messages),
        replies=len(whose.turns),
        quarantined=_clear_quarantine(connection, needles),
        tasks=tasks(connection, whose),
    )
    ratings.forget(connection, whose.turns)
    attempts_.erase(connection, whose.turns, whose.conversations | whose.shared)
    parts.erase(connection, whose.turns)
    erase_turns(connection, whose.turns, now)
    handoffs.close_erased(connection, whose.turns, now)
    waiting.forget_chats(connection, whose.chats, whose.conversations | whose.shared)
    erase_messages(connection, whose.messages)
    index.erase(connection, whose.messages)
    erase_chats(connection, whose.conversations, whose.chats)
    erase_conversations(connection, whose.conversations, whose.shared, whose.chats, now)
    erase_clients(connection, whose.clients)
    return erased


def tasks(connection: Connection, whose: ClientData) -> frozenset[str]:
    """The ids of the client's tasks at Manus, as far as they are stored."""
    here = threads.c.conversation_id.in_(whose.conversations | whose.shared)
    stored = connection.scalars(sa.select(threads.c.thread).where(threads.c.responder == "manus", here))
    found = {thread.partition("#")[0] for thread in stored}
    asked = sa.select(attempts.c.facts).where(attempts.c.turn_id.in_(whose.turns), attempts.c.responder == "manus")
    found |= {str(facts["task"]) for facts in connection.scalars(asked) if facts.get("task")}
    details = sa.select(turns.c.details).where(turns.c.id.in_(whose.turns), turns.c.responder == "manus")
    found |= {str(one["task_id"]) for one in connection.scalars(details) if one and one.get("task_id")}
    return frozenset(filter(None, found))


async def forget(
    database: Database,
    clock: Clock,
    manus: ManusApi | None,
    *,
    lead_id: int | None = None,
    contact_id: int | None = None,
) -> Erased | None:
    """Erase a client here and at Manus; None if nothing is known of the client. manus: None without a key.

    Manus comes first, because the ids of its tasks are erased here. ``tasks_left`` names tasks that remain there.
    """
    whose = await database.read(lambda connection: find(connection, lead_id=lead_id, contact_id=contact_id))
    if whose is None:
        return None
    known = await database.read(lambda connection: tasks(connection, whose))
    left = await _delete_tasks(manus, known)

    def write(connection: Connection) -> Erased | None:
        now_theirs = find(connection, lead_id=lead_id, contact_id=contact_id)
        return erase(connection, now_theirs, clock.now()) if now_theirs else None

    erased = await database.write(write)
    if erased is not None:
        await index.purge(database)
        erased.tasks_left = left + await _delete_tasks(manus, erased.tasks - known)
        log.info("a client was erased", messages=erased.messages, conversations=erased.conversations)
    return erased


async def _delete_tasks(manus: ManusApi | None, ids: Collection[str]) -> list[str]:
    left = []
    for task in sorted(ids):
        try:
            if manus is None:
                left.append(task)
            else:
                await manus.delete_task(task)
        except ManusError as error:
            if error.code != NOT_FOUND:
                log.warning("a task at Manus could not be deleted", task=task, reason=str(error))
                left.append(task)
    return left


def _needles(connection: Connection, whose: ClientData) -> frozenset[str]:
    """The texts by which the client can be found in a body that was not understood."""
    said = sa.select(
        messages.c.content,
        messages.c.amocrm_message_id,
        messages.c.amocrm_chat_id,
        messages.c.amocrm_contact_id,
    ).where(messages.c.id.in_(whose.messages))
    about = sa.select(clients.c.amocrm_contact_id, clients.c.name, clients.c.phone, clients.c.email).where(
        clients.c.id.in_(whose.clients)
    )
    deals = sa.select(conversations.c.amocrm_lead_id).where(conversations.c.id.in_(whose.conversations))
    found = (value for query in (said, about, deals) for row in connection.execute(query) for value in row)
    return frozenset(text for value in found if value is not None and (text := str(value).strip()))


def _clear_quarantine(connection: Connection, needles: Collection[str]) -> int:
    long = [re.escape(needle) for needle in needles if len(needle) >= NEEDLE]
    inside = re.compile("|".join(long) or r"(?!)")
    rows = connection.execute(sa.select(quarantine.c.id, quarantine.c.body)).all()
    theirs = [row.id for row in rows if _holds(row.body, frozenset(needles), inside)]
    remove_quarantined(connection, theirs)
    return len(theirs)


def _holds(body: bytes, needles: frozenset[str], inside: re.Pattern[str]) -> bool:
    text = body.decode("utf-8", errors="replace")
    try:
        if any(value.strip() in needles for value in _leaves(form.parse(body))):
            return True
    except form.Unreadable:
        pass
    return bool(inside.search(text) or inside.search(unquote_plus(text)))


def _leaves(tree: Any) -> Iterator[str]:
    if isinstance(tree, Mapping):
        for branch in tree.values():
            yield from _leaves(branch)
    elif tree is not None:
        yield str(tree)
