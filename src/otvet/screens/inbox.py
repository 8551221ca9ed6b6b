"""The list of chats: which need a person, which have a draft, which wait, which are answered."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.conversations.pauses import paused_until
from otvet.conversations.tables import clients, conversations, is_trial, messages
from otvet.conversations.transcript import spoken
from otvet.i18n import interface_language
from otvet.search import find
from otvet.search.index import SEARCHED
from otvet.search.words import Piece
from otvet.turns import handoffs
from otvet.turns.handoffs import handoffs as handoffs_table
from otvet.turns.reasons import reason, why_left
from otvet.turns.turn import OPEN, State, Writer, turns

PAGE = 50
MOST_COUNTED = 1000
"""Counts are exact up to here; more is shown as "1000+"."""

COUNTED = ("person", "drafts", "waiting")
"""The boxes that are work, and have a count."""

MOST_LOOKED_AT, LOOKED_AT_ONCE = 1000, 200
"""Chats that a page with a filter looks at. It may have fewer than PAGE for it; the next one goes on from there."""

WORDS_SHOWN = 160


class Box(StrEnum):
    """Which chats the list shows."""

    PERSON = "person"  # staff have to answer
    DRAFTS = "drafts"  # a draft waits for a manager
    WAITING = "waiting"  # a reply is owed or is being written
    ANSWERED = "answered"  # nobody waits
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Row:
    """One chat in the list.

    since: since when the client waits; None if nobody waits. why: why a person is needed, as a sentence.
    state: the newest question's; None without a question. found: the words around what was searched for, in the message
    ``message_id``; both are empty if nothing was searched for, or if it stands in the chat's number or name.
    """

    conversation_id: int
    lead_id: int | None
    client: str | None
    contact_id: int | None
    channel: str
    words: str
    sender: str | None
    last_activity: datetime
    state: State | None
    draft_id: int | None
    since: datetime | None
    why: str | None
    paused: bool
    found: Sequence[Piece] = ()
    message_id: int | None = None


Cursor = tuple[datetime, int]

_here = conversations.c.id
_ASKED = turns.c.responder.is_distinct_from(Writer.PERSON)  # a manager's own words are no question
_real = ~is_trial(conversations)


def _needing(now: datetime) -> sa.Select[tuple[int]]:
    return sa.select(handoffs_table.c.conversation_id).where(
        handoffs_table.c.closed_at.is_(None), handoffs_table.c.due_at <= now, ~is_trial(handoffs_table)
    )


def _with_turns(*states: State) -> sa.Select[tuple[int]]:
    return sa.select(turns.c.conversation_id).where(turns.c.state.in_(states), _ASKED, ~is_trial(turns))


def _in(box: Box, now: datetime) -> sa.ColumnElement[bool]:
    match box:
        case Box.PERSON:
            return _here.in_(_needing(now))
        case Box.DRAFTS:
            return _here.in_(_with_turns(State.DRAFT))
        case Box.WAITING:
            return _here.in_(_with_turns(*OPEN))
        case Box.ANSWERED:
            return sa.and_(_here.not_in(_needing(now)), _here.not_in(_with_turns(*OPEN, State.DRAFT)), _real)
        case Box.ALL:
            return _real


def counts(connection: Connection, now: datetime) -> Mapping[Box, int]:
    """How many chats are in each of the boxes that are COUNTED; MOST_COUNTED at most."""
    return {
        box: connection.scalar(
            sa.select(sa.func.count()).select_from(sa.select(_here).where(_in(box, now)).limit(MOST_COUNTED).subquery())
        )
        or 0
        for box in map(Box, COUNTED)
    }


_LISTED = sa.select(
    conversations.c.id,
    conversations.c.amocrm_lead_id,
    conversations.c.last_activity,
    clients.c.name,
    clients.c.amocrm_contact_id,
).join(clients)


def page(
    connection: Connection, box: Box, now: datetime, *, channel: str = "", before: Cursor | None = None
) -> tuple[list[Row], Cursor | None]:
    """A page of the list, and where the next one begins; the latest activity first. channel: only chats of it."""
    order = (conversations.c.last_activity, conversations.c.id)
    query = _LISTED.where(_in(box, now)).order_by(*(column.desc() for column in order))
    at_once, looked_at = LOOKED_AT_ONCE if channel else PAGE, 0
    shown: list[Any] = []
    while True:
        here = query if before is None else query.where(sa.tuple_(*order) < sa.tuple_(*before))
        found = connection.execute(here.limit(at_once + 1)).all()
        channels = _channels(connection, [one.id for one in found]) if channel else {}
        for one in found[:at_once]:
            if channels.get(one.id, "") == channel:
                shown.append(one)
            before = (one.last_activity, one.id)
            if len(shown) == PAGE and one is not found[-1]:
                return _rows(connection, shown, now), before
        looked_at += at_once
        if len(found) <= at_once or looked_at >= MOST_LOOKED_AT:
            return _rows(connection, shown, now), before if len(found) > at_once else None


def search(
    connection: Connection, text: str, box: Box, now: datetime, *, channel: str = "", before: int | None = None
) -> tuple[list[Row], int | None]:
    """A page of the chats in which these words are, and where the next one begins; the newest message first."""
    while True:
        hits, before = find.page(connection, text, before)
        found = {hit.conversation_id: hit for hit in hits}
        query = _LISTED.where(_here.in_(found), _in(box, now))
        rows = {row.conversation_id: row for row in _rows(connection, connection.execute(query).all(), now)}
        shown = [
            replace(row, found=hit.words, message_id=hit.message_id)
            for id_, hit in found.items()
            if (row := rows.get(id_)) is not None and channel in ("", row.channel)
        ]
        if shown or before is None:
            return shown, before


def _rows(connection: Connection, shown: Sequence[Any], now: datetime) -> list[Row]:
    ids = [one.id for one in shown]
    last, newest = _last_messages(connection, ids), _newest_turns(connection, ids)
    channels = _channels(connection, ids)
    open_, pauses = _open_handoffs(connection, ids, now), paused_until(connection, ids)
    return [
        _row(one, channels, last.get(one.id), newest.get(one.id, {}), open_.get(one.id), pauses.get(one.id), now)
        for one in shown
    ]


def _row(
    one: Any,
    channels: Mapping[int, str],
    last: Any,
    newest: Mapping[str, Any],
    handoff: Any,
    pause: tuple[datetime, str] | None,
    now: datetime,
) -> Row:
    state, draft = newest.get("state"), newest.get("draft")
    why, since = None, None
    if handoff is not None:
        why, since = (
            why_left(State(handoff.state), handoff.reason, handoff.summary, handoff.left_because),
            handoff.opened_at,
        )
    elif draft is not None:
        why, since = reason("draft"), draft.last_message_at
    elif state is not None and state.state in OPEN:
        since = state.first_message_at
    return Row(
        conversation_id=one.id,
        lead_id=one.amocrm_lead_id,
        client=one.name,
        contact_id=one.amocrm_contact_id,
        channel=channels.get(one.id, ""),
        words=_shortened(spoken(last.content, last.message_type, last.about or {}, interface_language()))
        if last
        else "",
        sender=last.sender_type if last else None,
        last_activity=one.last_activity,
        state=State(state.state) if state else None,
        draft_id=draft.id if draft else None,
        since=since,
        why=why,
        paused=pause is not None and pause[0] > now,
    )


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= WORDS_SHOWN else line[: WORDS_SHOWN - 1] + "…"


def _newest(ids: Collection[int], sender: str | None = None) -> sa.Select[tuple[int]]:
    """The id of the newest message of each conversation, or of this sender in it: a few steps into the index each."""
    here = [messages.c.conversation_id == conversations.c.id]
    if sender is not None:
        here.append(messages.c.sender_type == sender)
    newest = sa.select(messages.c.id).where(*here).order_by(messages.c.timestamp.desc(), messages.c.id.desc()).limit(1)
    return sa.select(newest.correlate(conversations).scalar_subquery()).where(conversations.c.id.in_(ids))


def _last_messages(connection: Connection, ids: Collection[int]) -> dict[int, Any]:
    """The newest message of each conversation."""
    columns = (messages.c.conversation_id, messages.c.sender_type, messages.c.message_type, *SEARCHED)
    rows = connection.execute(sa.select(*columns).where(messages.c.id.in_(_newest(ids))))
    return {row.conversation_id: row for row in rows}


def _channels(connection: Connection, ids: Collection[int]) -> dict[int, str]:
    """amoCRM's name of the channel of each conversation, from the newest message of its client."""
    origin = messages.c.metadata["raw"]["origin"].as_string()
    query = sa.select(messages.c.conversation_id, origin).where(messages.c.id.in_(_newest(ids, "client")))
    return {id_: name or "" for id_, name in connection.execute(query)}


def _newest_turns(connection: Connection, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """{conversation: {"state": its newest question, "draft": its oldest draft}}."""
    columns = (
        turns.c.id,
        turns.c.conversation_id,
        turns.c.state,
        turns.c.reason,
        turns.c.first_message_at,
        turns.c.last_message_at,
    )
    newest = (
        sa.select(sa.func.max(turns.c.id))
        .where(turns.c.conversation_id.in_(ids), _ASKED)
        .group_by(turns.c.conversation_id)
    )
    drafts = sa.select(turns.c.id).where(turns.c.conversation_id.in_(ids), turns.c.state == State.DRAFT)
    rows = connection.execute(
        sa.select(*columns).where(turns.c.id.in_(newest.union(drafts))).order_by(turns.c.id.desc())
    )
    found: dict[int, dict[str, Any]] = {}
    for row in rows:
        here = found.setdefault(row.conversation_id, {})
        here.setdefault("state", row)
        if row.state == State.DRAFT:
            here["draft"] = row
    return found


def _open_handoffs(connection: Connection, ids: Sequence[int], now: datetime) -> dict[int, Any]:
    """{conversation: the newest question of a hand-off that is on the list, with its reason}."""
    listed = handoffs.listed_turns(now).where(handoffs_table.c.conversation_id.in_(ids))
    query = (
        sa.select(
            turns.c.conversation_id,
            turns.c.state,
            turns.c.reason,
            turns.c.summary,
            turns.c.left_because,
            handoffs_table.c.opened_at,
        )
        .join(handoffs_table, handoffs_table.c.id == turns.c.handoff_id)
        .where(turns.c.id.in_(listed))
        .order_by(handoffs_table.c.opened_at.desc())
    )
    return {row.conversation_id: row for row in connection.execute(query)}


def next_needing(connection: Connection, now: datetime, after: int | None) -> int | None:
    """The chat in which somebody has waited longest, another one than ``after`` if there is one."""
    query = (
        sa.select(handoffs_table.c.conversation_id)
        .where(handoffs_table.c.conversation_id.in_(_needing(now)), handoffs_table.c.closed_at.is_(None))
        .order_by(handoffs_table.c.opened_at)
    )
    waiting = list(dict.fromkeys(connection.scalars(query)))
    others = [one for one in waiting if one != after]
    return others[0] if others else next(iter(waiting), None)


def next_draft(connection: Connection, after: int) -> tuple[int, int] | None:
    """(chat, question) of the oldest draft that waits, another question than ``after``."""
    query = sa.select(turns.c.conversation_id, turns.c.id).where(
        turns.c.state == State.DRAFT, turns.c.id != after, ~is_trial(turns)
    )
    row = connection.execute(query.order_by(turns.c.id).limit(1)).one_or_none()
    return None if row is None else (row.conversation_id, row.id)
