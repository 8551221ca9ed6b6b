"""One chat as a page shows it: who said what and when, how each reply came about, and what is still owed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.conversations.messages import origin_of
from otvet.conversations.pauses import paused_until
from otvet.conversations.tables import clients, conversations, messages
from otvet.conversations.transcript import spoken
from otvet.i18n import interface_language
from otvet.turns import attempts, handoffs, parts
from otvet.turns.reasons import reason, why_left
from otvet.turns.turn import DELIVERY, IN_HAND, OPEN, State, Turn, delivery_of, listed_in, turns
from otvet.turns.turn import get as get_turn
from otvet.users import ratings

SHOWN_AT_FIRST = 60
SHOWN_BEFORE = 20
"""How many messages stand before one that was searched for."""


@dataclass(frozen=True, slots=True)
class Bubble:
    """One message. links: its media. delivery: how a reply went out, as turn.delivery_of. good: what staff think."""

    id: int
    sender: str
    text: str
    kind: str
    links: Sequence[tuple[str, str]]
    at: datetime
    turn_id: int | None
    delivery: Mapping[str, Any]
    responder: str | None
    good: bool | None


@dataclass(frozen=True, slots=True)
class Draft:
    """A reply that waits for a manager. findings: what the checks doubt, as (kind, words)."""

    turn_id: int
    text: str
    responder: str | None
    findings: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Left:
    """What a person has to see to: which question, since when, why, and the summary for whoever takes over."""

    turn_id: int
    since: datetime
    why: str | None
    summary: str | None
    task_id: int | None


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat's state, without its bubbles. being_written: the questions for which a reply is being written or sent."""

    id: int
    lead_id: int | None
    client: str | None
    phone: str | None
    email: str | None
    contact_id: int | None
    channel: str
    mode: str | None
    paused_until: datetime | None
    paused_by: str | None
    deal: Mapping[str, Any] | None
    summary: str | None
    left: Left | None
    drafts: Sequence[Draft]
    being_written: Sequence[int]
    waiting: Sequence[int]


def get(connection: Connection, conversation_id: int, now: datetime) -> Chat | None:
    """The chat as it stands now."""
    query = sa.select(
        conversations, clients.c.name, clients.c.phone, clients.c.email, clients.c.amocrm_contact_id
    ).join(clients)
    row = connection.execute(query.where(conversations.c.id == conversation_id)).one_or_none()
    if row is None:
        return None
    open_ = listed_in(connection, conversation_id, (*OPEN, State.DRAFT))
    pause = paused_until(connection, [conversation_id]).get(conversation_id)
    until, by = pause if pause and pause[0] > now else (None, None)
    return Chat(
        id=row.id,
        lead_id=row.amocrm_lead_id,
        client=row.name,
        phone=row.phone,
        email=row.email,
        contact_id=row.amocrm_contact_id,
        channel=_channel(connection, conversation_id),
        mode=row.mode,
        paused_until=until,
        paused_by=by,
        deal=row.deal,
        summary=row.summary,
        left=_left(connection, conversation_id, now),
        drafts=[_draft(turn) for turn in open_ if turn.state == State.DRAFT],
        being_written=[turn.id for turn in open_ if turn.state in IN_HAND],
        waiting=[turn.id for turn in open_ if turn.state == State.WAITING],
    )


def _draft(turn: Turn) -> Draft:
    findings = [(str(kind), str(text)) for kind, text in (turn.details or {}).get("findings") or ()]
    return Draft(turn.id, turn.reply or "", turn.responder, findings)


def draft(connection: Connection, turn_id: int) -> Draft | None:
    """The draft of a question, if one waits for a manager."""
    turn = get_turn(connection, turn_id)
    return _draft(turn) if turn is not None and turn.state == State.DRAFT else None


def of_turn(connection: Connection, turn_id: int) -> int | None:
    """The conversation of a question."""
    return connection.scalar(sa.select(turns.c.conversation_id).where(turns.c.id == turn_id))


def _channel(connection: Connection, conversation_id: int) -> str:
    last = sa.select(messages.c.metadata).where(
        messages.c.conversation_id == conversation_id, messages.c.sender_type == "client"
    )
    return origin_of(connection.scalar(last.order_by(messages.c.timestamp.desc(), messages.c.id.desc()).limit(1)))


def _left(connection: Connection, conversation_id: int, now: datetime) -> Left | None:
    query = (
        sa.select(turns.c.id, turns.c.state, turns.c.reason, turns.c.summary, handoffs.handoffs)
        .join(handoffs.handoffs, handoffs.handoffs.c.id == turns.c.handoff_id)
        .where(
            turns.c.id.in_(handoffs.listed_turns(now).where(handoffs.handoffs.c.conversation_id == conversation_id)),
        )
        .order_by(handoffs.handoffs.c.opened_at)
    )
    row = connection.execute(query.limit(1)).first()
    if row is None:
        return None
    why = why_left(State(row.state), row.reason, row.summary)
    return Left(row[0], row.opened_at, why, row.summary, row.task_id)


def bubbles(
    connection: Connection, conversation_id: int, *, since: int | None = None, before: int | None = None
) -> tuple[list[Bubble], int | None]:
    """Messages in their order, and the id before which older ones begin (None: there are none).

    since: all from this message on, so that a page that is open goes on where it began. before: a page of older ones.
    Without both, the newest ones.
    """
    order = (messages.c.timestamp, messages.c.id)
    query = sa.select(messages, *DELIVERY, turns.c.responder.label("turn_responder")).outerjoin(
        turns, turns.c.id == messages.c.turn_id
    )
    query = query.where(messages.c.conversation_id == conversation_id)
    edge = since if since is not None else before
    if edge is not None:
        at = connection.execute(sa.select(*order).where(messages.c.id == edge)).one_or_none()
        if at is not None:
            here = sa.tuple_(*order)
            query = query.where(here >= sa.tuple_(*at) if since is not None else here < sa.tuple_(*at))
    query = query.order_by(*(column.desc() for column in order))
    found = connection.execute(query if since is not None else query.limit(SHOWN_AT_FIRST + 1)).all()
    shown = found if since is not None else found[:SHOWN_AT_FIRST]
    good = ratings.of_turns(
        connection, [row.turn_id for row in shown if row.sender_type == "assistant" and row.turn_id]
    )
    made = [_bubble(row, good) for row in reversed(shown)]
    more = len(found) > len(shown) or (since is not None and _any_before(connection, conversation_id, since))
    return made, made[0].id if made and more else None


def _before(conversation_id: int, message_id: int) -> sa.Select[tuple[int]]:
    """The ids of the messages of a chat before one of them, the newest first."""
    order = (messages.c.timestamp, messages.c.id)
    edge = messages.alias("edge")
    at = sa.select(edge.c.timestamp, edge.c.id).where(edge.c.id == message_id).subquery()
    here = sa.tuple_(*order) < sa.tuple_(at.c.timestamp, at.c.id)
    query = sa.select(messages.c.id).select_from(messages.join(at, sa.true()))
    query = query.where(messages.c.conversation_id == conversation_id, here)
    return query.order_by(*(column.desc() for column in order))


def _any_before(connection: Connection, conversation_id: int, message_id: int) -> bool:
    return connection.scalar(_before(conversation_id, message_id).limit(1)) is not None


def begin_at(connection: Connection, conversation_id: int, message_id: int) -> int | None:
    """The message at which a chat begins that shows this one with some before it; None: the newest ones show it."""
    newest = sa.select(messages.c.id).where(messages.c.conversation_id == conversation_id)
    newest = newest.order_by(messages.c.timestamp.desc(), messages.c.id.desc()).limit(SHOWN_AT_FIRST)
    if message_id in connection.scalars(newest).all():
        return None
    before: Sequence[Any] = connection.scalars(_before(conversation_id, message_id).limit(SHOWN_BEFORE)).all()
    return before[-1] if before else message_id


def _bubble(row: Any, good: Mapping[int, bool]) -> Bubble:
    raw = row.metadata.get("raw") if isinstance(row.metadata, dict) else None
    attachment = raw.get("attachment") if isinstance(raw, dict) else None
    links = []
    if isinstance(attachment, dict) and attachment.get("link"):
        links.append((str(attachment.get("file_name") or attachment["link"]), str(attachment["link"])))
    mine = row.sender_type == "assistant"
    return Bubble(
        id=row.id,
        sender=row.sender_type,
        text=spoken(row.content, row.message_type, row.metadata if not links else {}, interface_language()),
        kind=row.message_type,
        links=links,
        at=row.timestamp,
        turn_id=row.turn_id,
        delivery=delivery_of(row),
        responder=row.turn_responder if mine else None,
        good=good.get(row.turn_id) if mine else None,
    )


@dataclass(frozen=True, slots=True)
class Made:
    """How a reply came about. arrived: whether all of it came back as outgoing messages; None: that cannot be seen."""

    turn: Turn
    attempts: Sequence[Any]
    arrived: bool | None
    why: str | None


def made(connection: Connection, turn_id: int) -> Made | None:
    """How the reply of a question came about: attempts, checks, delivery."""
    turn = get_turn(connection, turn_id)
    if turn is None:
        return None
    given = parts.of_turn(connection, turn_id)
    back = [part.echo_id is not None for part in given]
    arrived = all(back) if any(back) else None
    return Made(turn, attempts.of_turn(connection, turn_id), arrived, reason(turn.reason))


def other_deals(connection: Connection, conversation_id: int) -> Sequence[tuple[int, int | None, datetime]]:
    """The client's other conversations: (chat, deal, last activity), the newest first."""
    of_client = sa.select(conversations.c.client_id).where(conversations.c.id == conversation_id).scalar_subquery()
    query = sa.select(conversations.c.id, conversations.c.amocrm_lead_id, conversations.c.last_activity).where(
        conversations.c.client_id == of_client, conversations.c.id != conversation_id
    )
    return [tuple(row) for row in connection.execute(query.order_by(conversations.c.last_activity.desc()).limit(20))]
