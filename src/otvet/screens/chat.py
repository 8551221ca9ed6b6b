"""One chat as a page shows it: who said what and when, how each reply came about, and what is still owed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.conversations import history
from otvet.conversations.messages import origin_of
from otvet.conversations.pauses import paused_until
from otvet.conversations.tables import ERASED, chats, clients, conversations, messages
from otvet.conversations.transcript import spoken
from otvet.i18n import interface_language
from otvet.turns import attempts, handoffs, parts
from otvet.turns.reasons import reason, why_left
from otvet.turns.turn import DELIVERY, IN_HAND, OPEN, Reason, State, Turn, Writer, delivery_of, listed_in, turns
from otvet.turns.turn import get as get_turn
from otvet.users import audit, ratings

SHOWN_AT_FIRST = 60
SHOWN_BEFORE = 20
"""How many messages stand before one that was searched for."""
MOST_PLACES = 20


@dataclass(frozen=True, slots=True)
class Bubble:
    """One message. links: its media. delivery: how a reply went out, as turn.delivery_of. good: what staff think.

    who: the user who wrote it on our pages.
    """

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
    who: str | None


@dataclass(frozen=True, slots=True)
class Place:
    """A chat of a deal, where something can be written to a client. name: the client's, as its last message has it."""

    chat_ref: str
    origin: str
    name: str | None


@dataclass(frozen=True, slots=True)
class Draft:
    """A reply that waits for a manager. findings: what the checks doubt, as (kind, words)."""

    turn_id: int
    text: str
    responder: str | None
    findings: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Left:
    """What a person has to see to: which question, since when, why, and the summary for whoever takes over.

    own_words: it is a manager's message that did not reach the client.
    """

    turn_id: int
    since: datetime
    why: str | None
    summary: str | None
    task_id: int | None
    own_words: bool


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat's state, without its bubbles.

    being_written: the questions for which a reply is being written or sent. waiting: those that nobody works on yet.
    suggest: the newest question, if it has no reply and nobody is at it: one may be suggested.
    places: where something can be written to a client, the place of the newest message first.
    """

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
    suggest: int | None
    places: Sequence[Place]


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
        being_written=[turn.id for turn in open_ if turn.state in IN_HAND and not turn.is_of_person],
        waiting=[turn.id for turn in open_ if turn.state == State.WAITING and not turn.is_of_person],
        suggest=None if open_ else _without_reply(connection, conversation_id),
        places=_places(connection, conversation_id),
    )


def _without_reply(connection: Connection, conversation_id: int) -> int | None:
    """The newest question of a conversation, if it ended without a reply and nothing was said since."""
    last = sa.select(messages.c.turn_id, messages.c.sender_type).where(messages.c.conversation_id == conversation_id)
    row = connection.execute(last.order_by(messages.c.timestamp.desc(), messages.c.id.desc()).limit(1)).first()
    if row is None or row.sender_type != "client" or row.turn_id is None:
        return None
    turn = get_turn(connection, row.turn_id)
    ended = turn is not None and turn.state in (State.HANDED, State.CANCELLED) and turn.reason != Reason.ERASED
    return row.turn_id if ended else None


def _places(connection: Connection, conversation_id: int) -> list[Place]:
    here = messages.c.conversation_id == conversation_id
    newest = sa.select(messages.c.chat_ref, messages.c.metadata, messages.c.timestamp, messages.c.id).where(
        here, messages.c.sender_type == "client", messages.c.message_type != ERASED
    )
    newest = newest.order_by(messages.c.timestamp.desc(), messages.c.id.desc()).limit(1)
    refs = connection.scalars(sa.select(chats.c.chat_ref).where(chats.c.conversation_id == conversation_id)).all()
    found = [connection.execute(newest.where(messages.c.chat_ref == ref)).first() for ref in refs[:MOST_PLACES]]
    found.append(connection.execute(newest.where(messages.c.chat_ref.is_(None))).first() if not any(found) else None)
    rows = sorted(filter(None, found), key=lambda row: (row.timestamp, row.id), reverse=True)
    return [Place(row.chat_ref or "", origin_of(row.metadata), _author(row.metadata)) for row in rows]


def _author(about: Any) -> str | None:
    author = (about.get("raw") or {}).get("author") if isinstance(about, dict) else None
    name = author.get("name") if isinstance(author, dict) else None
    return str(name) if name else None


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
        sa.select(
            turns.c.id,
            turns.c.state,
            turns.c.reason,
            turns.c.summary,
            turns.c.left_because,
            turns.c.responder,
            handoffs.handoffs,
        )
        .join(handoffs.handoffs, handoffs.handoffs.c.id == turns.c.handoff_id)
        .where(
            turns.c.id.in_(handoffs.listed_turns(now).where(handoffs.handoffs.c.conversation_id == conversation_id)),
        )
        .order_by(handoffs.handoffs.c.opened_at)
    )
    row = connection.execute(query.limit(1)).first()
    if row is None:
        return None
    why = why_left(State(row.state), row.reason, row.summary, row.left_because)
    return Left(row[0], row.opened_at, why, row.summary, row.task_id, row.responder == Writer.PERSON)


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


def _before(conversation_id: int, message_id: int) -> sa.Select[Any]:
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


def all_bubbles(connection: Connection, conversation_id: int) -> list[Bubble]:
    """All messages of a chat in their order."""
    found, older = bubbles(connection, conversation_id)
    while older is not None:
        before, older = bubbles(connection, conversation_id, before=older)
        found = before + found
    return found


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
        who=row.metadata.get("who") if isinstance(row.metadata, dict) and row.sender_type == "manager" else None,
    )


@dataclass(frozen=True, slots=True)
class Made:
    """How a reply came about. arrived: whether all of it came back as outgoing messages; None: that cannot be seen.

    question: what the client had written. parts: those for the client's chat, with their state. approved_by: who sent
    the draft. rating: what staff think of it.
    """

    turn: Turn
    question: str
    attempts: Sequence[Any]
    parts: Sequence[parts.Part]
    arrived: bool | None
    why: str | None
    approved_by: str | None
    rating: ratings.Rating | None


def made(connection: Connection, turn_id: int) -> Made | None:
    """How the reply of a question came about: attempts, checks, delivery."""
    turn = get_turn(connection, turn_id)
    if turn is None:
        return None
    given = parts.of_turn(connection, turn_id)
    back = [part.echo_id is not None for part in given]
    asked = [
        spoken(row.content, row.message_type, row.metadata, interface_language())
        for row in history.question(connection, turn_id)
    ]
    return Made(
        turn=turn,
        question="\n".join(asked),
        attempts=[one for one in attempts.of_turn(connection, turn_id) if one.draft < attempts.SUMMARY],
        parts=given,
        arrived=all(back) if any(back) else None,
        why=reason(turn.reason),
        approved_by=audit.last_who_of(connection, ("approve", "edit"), f"turn {turn_id}"),
        rating=ratings.of_turn(connection, turn_id),
    )


def other_deals(connection: Connection, conversation_id: int) -> Sequence[tuple[int, int | None, datetime]]:
    """The client's other conversations: (chat, deal, last activity), the newest first."""
    of_client = sa.select(conversations.c.client_id).where(conversations.c.id == conversation_id).scalar_subquery()
    query = sa.select(conversations.c.id, conversations.c.amocrm_lead_id, conversations.c.last_activity).where(
        conversations.c.client_id == of_client, conversations.c.id != conversation_id
    )
    return [tuple(row) for row in connection.execute(query.order_by(conversations.c.last_activity.desc()).limit(20))]
