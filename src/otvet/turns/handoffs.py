"""Hand-offs: in a chat a person of the company has to answer, and is told so by one task in amoCRM.

open ──> closed   a manager wrote in the chat, somebody marked it done, or the question was answered after all

A chat has at most one open hand-off; each further question that is left to staff joins it. ``revision`` grows with each
of them, and ``told_revision`` is the one that the task tells of. From ``due_at`` on the hand-off is on the list.
The hand-off is stored in the commit that promises a person to the client, so that no crash can part the two.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.conversations.tables import conversations, erased_ref, is_trial, messages
from otvet.storage.engines import Id, UtcDateTime, insert, metadata
from otvet.turns import changes
from otvet.turns.turn import OPEN, Reason, State, Turn, get, turns

WAITED_TOO_LONG = timedelta(minutes=10)
"""How long a question may wait, for whatever reason, before it is on the list."""

STILL_KNOWN = timedelta(minutes=10)
"""How long a client who was told that a person will answer need not be told again, after staff have closed it."""

MOST_AT_ONCE = 20
FIRST_RETRY = timedelta(minutes=10)
LAST_RETRY = timedelta(hours=6)
PAUSE = timedelta(seconds=15)  # after a failure that passes by itself


class ClosedBy(StrEnum):
    """What ended a hand-off."""

    MANAGER = "manager"  # a manager wrote in the chat
    STAFF = "staff"  # somebody marked it done, here or by completing the task
    ANSWERED = "answered"  # the assistant answered after all
    ERASED = "erased"
    MERGED = "merged"  # its questions went to another hand-off, and its task says so


_OPEN = sa.text("closed_at IS NULL")

handoffs = sa.Table(
    "handoffs",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("conversation_id", Id, sa.ForeignKey("conversations.id"), nullable=False),
    sa.Column("chat_ref", sa.Text, nullable=False, server_default=sa.text("''")),  # as of the turns
    sa.Column("opened_at", UtcDateTime, nullable=False),
    sa.Column("due_at", UtcDateTime, nullable=False),  # from then on it is on the list
    sa.Column("revision", sa.Integer, nullable=False, server_default="1"),
    sa.Column("told_revision", sa.Integer, nullable=False, server_default="0"),
    sa.Column("client_told_at", UtcDateTime),  # when the client was told that a person will answer
    sa.Column("task_id", sa.BigInteger),
    sa.Column("sent_attempt_at", UtcDateTime),  # the last call for the task, if it may still be carried out
    sa.Column("retry_at", UtcDateTime),
    sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
    sa.Column("refusal", sa.Text),  # amoCRM's reason not to take the task, for people
    sa.Column("closed_at", UtcDateTime),
    sa.Column("closed_by", sa.Text),
    sa.Index(
        "uq_handoffs_open", "conversation_id", "chat_ref", unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN
    ),
    sa.Index("ix_handoffs_due", "due_at", sqlite_where=_OPEN, postgresql_where=_OPEN),
)


@dataclass(frozen=True, slots=True)
class Handoff:
    """One row of ``handoffs`` with its deal; lead_id: None while the deal is not found."""

    id: int
    conversation_id: int
    chat_ref: str
    opened_at: datetime
    due_at: datetime
    revision: int
    told_revision: int
    client_told_at: datetime | None
    task_id: int | None
    sent_attempt_at: datetime | None
    retry_at: datetime | None
    failures: int
    refusal: str | None
    closed_at: datetime | None
    closed_by: str | None
    lead_id: int | None


_SELECTED = (
    sa.select(handoffs, conversations.c.amocrm_lead_id)
    .select_from(handoffs)
    .join(conversations, conversations.c.id == handoffs.c.conversation_id)
)
_IS_OPEN = handoffs.c.closed_at.is_(None)
_OPEN_IN = _SELECTED.where(
    _IS_OPEN,
    handoffs.c.conversation_id == sa.bindparam("conversation"),
    handoffs.c.chat_ref == sa.bindparam("chat"),
).with_for_update(of=handoffs)


def open_in(connection: Connection, conversation_id: int, chat_ref: str) -> Handoff | None:
    """The open hand-off of a chat, locked."""
    row = connection.execute(_OPEN_IN, {"conversation": conversation_id, "chat": chat_ref}).one_or_none()
    return None if row is None else Handoff(*row)


_OF_TURN = _SELECTED.join(turns, turns.c.handoff_id == handoffs.c.id).where(turns.c.id == sa.bindparam("turn"))


def of_turn(connection: Connection, turn_id: int) -> Handoff | None:
    """The hand-off that a question belongs to, open or closed."""
    row = connection.execute(_OF_TURN, {"turn": turn_id}).one_or_none()
    return None if row is None else Handoff(*row)


def add(
    connection: Connection,
    turn: Turn,
    why: str,
    now: datetime,
    *,
    after: timedelta = timedelta(0),
    anew: bool = False,
) -> None:
    """Leave a question to staff: it joins the chat's open hand-off, or begins one. Once for a question.

    why: the Reason; the newest one is kept.
    anew: staff have to be told something else of it, a draft for instance.
    after: a manager is in the chat, and has this long to answer before the question is on the list.
    """
    found = open_in(connection, turn.conversation_id, turn.chat_ref)
    if found is None:
        row = {"conversation_id": turn.conversation_id, "chat_ref": turn.chat_ref, "opened_at": now}
        told = {"client_told_at": _told_lately(connection, turn, now)}
        new = insert(connection.dialect.name, handoffs).values(**row, **told, due_at=now + after)
        connection.execute(new.on_conflict_do_nothing())  # another process may have begun it meanwhile
        found = open_in(connection, turn.conversation_id, turn.chat_ref)
        assert found is not None
    elif turn.handoff_id != found.id or anew:
        later = {"revision": handoffs.c.revision + 1, "due_at": min(found.due_at, now + after)}
        connection.execute(handoffs.update().where(handoffs.c.id == found.id).values(**later))
    if why == Reason.PAUSED:  # by the client, perhaps: who asked for a person and writes on still asks for one
        why = connection.scalar(_ASKED_FOR, {"handoff": found.id}) or why
    changes.set_handoff(connection, turn.id, found.id, why)


_ASKED_FOR = (
    sa.select(turns.c.left_because)
    .where(turns.c.handoff_id == sa.bindparam("handoff"), turns.c.left_because.in_((Reason.ASKED, Reason.ANGRY)))
    .order_by(turns.c.id.desc())
    .limit(1)
)


def add_if_needed(connection: Connection, turn: Turn, now: datetime) -> None:
    """Leave a question to staff if its reply tells the client that a person will answer."""
    if turn.summary is not None and not turn.approved:
        add(connection, turn, because(turn, Reason.PROMISED), now)


def because(turn: Turn, otherwise: Reason) -> str:
    """Why a question is left to staff: the reason of its reply, or why it was left to them before."""
    of_reply = turn.reason if turn.state in OPEN and turn.reason in set(Reason) else None  # later: how the turn ended
    return of_reply or turn.left_because or otherwise


def add_waiting(connection: Connection, now: datetime) -> None:
    """Put the questions on the list that have waited for too long, whatever they wait for.

    Not those that somebody has seen to, unless the client has written on since.
    """
    seen_to = sa.or_(_IS_OPEN, handoffs.c.closed_at >= turns.c.last_message_at)
    query = sa.select(turns.c.id).where(
        turns.c.state.in_(OPEN),
        ~sa.exists().where(handoffs.c.id == turns.c.handoff_id, seen_to),
        ~turns.c.requested_by_staff,
        turns.c.first_message_at < now - WAITED_TOO_LONG,
    )
    # Turns are locked before hand-offs, as everywhere; one that is being answered right now is left out.
    waited = query.order_by(turns.c.id).limit(MOST_AT_ONCE).with_for_update(skip_locked=True)
    for id_ in connection.scalars(waited).all():
        turn = get(connection, id_)
        if turn is not None:
            add(connection, turn, because(turn, Reason.WAITED), now)


def client_knows(connection: Connection, turn: Turn, now: datetime) -> bool:
    """Whether the client was told already that a person will answer in this chat, and nobody has written since."""
    found = open_in(connection, turn.conversation_id, turn.chat_ref)
    told_at = _told_lately(connection, turn, now) if found is None else found.client_told_at
    return told_at is not None


def _told_lately(connection: Connection, turn: Turn, now: datetime) -> datetime | None:
    """When the client was told, if staff have marked it done a moment ago without a word to the client."""
    here = (handoffs.c.conversation_id == turn.conversation_id, handoffs.c.chat_ref == turn.chat_ref)
    newest = sa.select(handoffs.c.closed_by, handoffs.c.client_told_at).where(*here).order_by(handoffs.c.id.desc())
    closed_by, told_at = connection.execute(newest.limit(1)).one_or_none() or (None, None)
    recent = closed_by == ClosedBy.STAFF and told_at is not None and now - told_at < STILL_KNOWN
    return told_at if recent else None


def client_told(connection: Connection, turn: Turn, now: datetime) -> None:
    """The reply has told the client that a person will answer."""
    here = handoffs.c.id == sa.select(turns.c.handoff_id).where(turns.c.id == turn.id).scalar_subquery()
    connection.execute(handoffs.update().where(here).values(client_told_at=now))


def _close(connection: Connection, where: Sequence[sa.ColumnElement[bool]], by: ClosedBy, now: datetime) -> int:
    closed = {"closed_at": now, "closed_by": by, "sent_attempt_at": None}
    return connection.execute(handoffs.update().where(_IS_OPEN, *where).values(**closed)).rowcount


def close_for_manager(
    connection: Connection, conversation_id: int, chats_: Collection[str] | None, wrote_at: datetime, now: datetime
) -> None:
    """A manager wrote: close the hand-offs of these chats, unless the client has written in them since ``wrote_at``.

    chats_: None for all chats of the deal. A hand-off at the ceiling of replies stays: the writer may be another bot
    that talks with this one.
    """
    of_it = turns.c.handoff_id == handoffs.c.id
    at_the_ceiling = sa.exists().where(of_it, turns.c.reason == Reason.CEILING)
    from_client = (messages.c.turn_id == turns.c.id, messages.c.sender_type == "client")
    said_later = sa.exists().where(of_it, *from_client, messages.c.timestamp > wrote_at).correlate(handoffs)
    where = [handoffs.c.conversation_id == conversation_id, ~at_the_ceiling, ~said_later]
    if chats_ is not None:
        where.append(handoffs.c.chat_ref.in_(chats_))
    _close(connection, where, ClosedBy.MANAGER, now)


def mark_done(connection: Connection, turn_id: int, now: datetime) -> bool:
    """Somebody has seen to a question: close its hand-off. False if it has none that is open."""
    found = of_turn(connection, turn_id)
    return found is not None and _close(connection, [handoffs.c.id == found.id], ClosedBy.STAFF, now) == 1


def close_completed(connection: Connection, handoff_id: int, task_id: int, now: datetime) -> bool:
    """Somebody has completed the task in amoCRM. False if it does not tell of all: the rest gets a task of its own."""
    tells_all = (handoffs.c.task_id == task_id, handoffs.c.told_revision == handoffs.c.revision)
    return _close(connection, [handoffs.c.id == handoff_id, *tells_all], ClosedBy.STAFF, now) == 1


def withdraw(connection: Connection, turn: Turn, now: datetime) -> None:
    """Nobody has to answer this question any more; its hand-off closes if it was for no other."""
    found = of_turn(connection, turn.id)
    if found is None:
        return
    changes.set_handoff(connection, turn.id, None, None)
    left = open_in(connection, found.conversation_id, found.chat_ref)  # locked, so that no question joins it meanwhile
    if left is None or left.id != found.id:
        return
    if connection.scalar(sa.select(sa.exists().where(turns.c.handoff_id == left.id))):
        return
    if left.task_id is None and left.sent_attempt_at is None:
        connection.execute(handoffs.delete().where(handoffs.c.id == found.id))
    else:
        _close(connection, [handoffs.c.id == found.id], ClosedBy.ANSWERED, now)


def close_erased(connection: Connection, turn_ids: Collection[int], now: datetime) -> None:
    """The clients of these questions are erased."""
    of_them = handoffs.c.id.in_(sa.select(turns.c.handoff_id).where(turns.c.id.in_(turn_ids)))
    _close(connection, [of_them], ClosedBy.ERASED, now)
    connection.execute(handoffs.update().where(of_them).values(chat_ref=erased_ref(handoffs, "")))


def move_to(connection: Connection, from_conversation: int, to_conversation: int) -> None:
    """Move the hand-offs of a conversation to another one, of the same deal."""
    query = _SELECTED.where(handoffs.c.conversation_id == from_conversation)
    for one in [Handoff(*row) for row in connection.execute(query.with_for_update(of=handoffs)).all()]:
        _place(connection, one, to_conversation, one.chat_ref)


def follow(connection: Connection, turn_id: int) -> None:
    """The chat of a question has become known: its hand-off is of that chat too."""
    turn, one = get(connection, turn_id), of_turn(connection, turn_id)
    if turn is not None and one is not None and one.closed_at is None and one.chat_ref != turn.chat_ref:
        _place(connection, one, one.conversation_id, turn.chat_ref)


def _place(connection: Connection, one: Handoff, conversation_id: int, chat_ref: str) -> None:
    """Move a hand-off to another chat, into the open one if there is one."""
    here = handoffs.c.id == one.id
    there = None if one.closed_at else open_in(connection, conversation_id, chat_ref)
    if there is None:
        place = {"conversation_id": conversation_id, "chat_ref": chat_ref}
        connection.execute(handoffs.update().where(here).values(**place))
        return
    changes.move_handoff(connection, one.id, there.id)
    has_none = one.task_id is None and one.sent_attempt_at is None
    takes_task = there.task_id is None and there.sent_attempt_at is None
    if has_none or (takes_task and one.task_id is not None):
        connection.execute(handoffs.delete().where(here))
    else:  # its task is made, or being made, beside the other one
        ended = {"closed_by": ClosedBy.MERGED, "closed_at": max(one.opened_at, there.opened_at), "retry_at": None}
        place = {"conversation_id": conversation_id, "chat_ref": chat_ref, "revision": one.revision + 1}
        connection.execute(handoffs.update().where(here).values(**place, **ended))
    both: dict[str, Any] = {"revision": there.revision + 1, "task_id": one.task_id if takes_task else there.task_id}
    both |= {"opened_at": min(one.opened_at, there.opened_at), "due_at": min(one.due_at, there.due_at)}
    both |= {"client_told_at": there.client_told_at or one.client_told_at}
    connection.execute(handoffs.update().where(handoffs.c.id == there.id).values(**both))


# The list


def listed_turns(now: datetime) -> sa.Select[tuple[int]]:
    """The ids of the newest question of each hand-off that is on the list."""
    return (
        sa.select(sa.func.max(turns.c.id))
        .join(handoffs, handoffs.c.id == turns.c.handoff_id)
        .where(_IS_OPEN, handoffs.c.due_at <= now, ~is_trial(handoffs))
        .group_by(handoffs.c.id)
    )


def waiting(connection: Connection, now: datetime) -> int:
    """How many hand-offs are on the list."""
    listed = (_IS_OPEN, handoffs.c.due_at <= now, ~is_trial(handoffs))
    return connection.scalar(sa.select(sa.func.count()).where(*listed)) or 0


def answered_after(connection: Connection, most: int) -> list[float]:
    """After how many seconds a manager wrote, for the newest hand-offs that ended so."""
    query = sa.select(handoffs.c.opened_at, handoffs.c.closed_at).where(
        handoffs.c.closed_by == ClosedBy.MANAGER, ~is_trial(handoffs)
    )
    rows = connection.execute(query.order_by(handoffs.c.id.desc()).limit(most))
    return [(closed - opened).total_seconds() for opened, closed in rows]


# The task in amoCRM


def to_tell(connection: Connection, now: datetime) -> list[Handoff]:
    """Hand-offs of known deals of which staff have to be told something, the oldest first."""
    query = _SELECTED.where(
        _IS_OPEN,
        handoffs.c.due_at <= now,
        handoffs.c.told_revision < handoffs.c.revision,
        sa.or_(handoffs.c.retry_at.is_(None), handoffs.c.retry_at <= now),
        conversations.c.amocrm_lead_id.is_not(None),
        ~is_trial(handoffs),
    )
    return [Handoff(*row) for row in connection.execute(query.order_by(handoffs.c.due_at).limit(MOST_AT_ONCE))]


def with_spare_task(connection: Connection) -> list[Handoff]:
    """Merged hand-offs whose task does not say yet that another one has its questions."""
    spare = (handoffs.c.closed_by == ClosedBy.MERGED, handoffs.c.told_revision < handoffs.c.revision)
    query = _SELECTED.where(*spare, handoffs.c.task_id.is_not(None)).order_by(handoffs.c.id).limit(MOST_AT_ONCE)
    return [Handoff(*row) for row in connection.execute(query)]


def with_task(connection: Connection, limit: int, before: int | None) -> dict[int, int]:
    """The tasks of the newest open hand-offs: {task: hand-off}. before: only hand-offs with a smaller id."""
    query = sa.select(handoffs.c.task_id, handoffs.c.id).where(_IS_OPEN, handoffs.c.task_id.is_not(None))
    if before is not None:
        query = query.where(handoffs.c.id < before)
    rows = connection.execute(query.order_by(handoffs.c.id.desc()).limit(limit))
    return {task_id: id_ for task_id, id_ in rows}  # noqa: C416 - rows are not pairs to a type checker


def draft_of(connection: Connection, handoff_id: int) -> int | None:
    """The turn of a hand-off whose draft waits for a manager."""
    query = sa.select(turns.c.id).where(turns.c.handoff_id == handoff_id, turns.c.state == State.DRAFT)
    return connection.scalar(query.order_by(turns.c.id.desc()).limit(1))


def announce(connection: Connection, one: Handoff, now: datetime) -> bool:
    """Note that the task is about to be made or changed; False if the hand-off has changed since it was read."""
    same = (
        handoffs.c.id == one.id,
        _IS_OPEN,
        handoffs.c.revision == one.revision,
        handoffs.c.told_revision == one.told_revision,
        handoffs.c.sent_attempt_at.is_(None)
        if one.sent_attempt_at is None
        else handoffs.c.sent_attempt_at == one.sent_attempt_at,
    )
    return connection.execute(handoffs.update().where(*same).values(sent_attempt_at=now)).rowcount == 1


def told(connection: Connection, one: Handoff, task_id: int) -> None:
    """The task tells of the hand-off as it was read."""
    done = {"task_id": task_id, "told_revision": one.revision, "sent_attempt_at": None}
    again = {"retry_at": None, "failures": 0, "refusal": None}
    connection.execute(handoffs.update().where(handoffs.c.id == one.id).values(**done, **again))


def not_told(connection: Connection, one: Handoff, refusal: str | None, now: datetime, *, ambiguous: bool) -> None:
    """The task could not be made or changed; it is tried again after a pause that grows. refusal: for people.

    ambiguous: the call may have been carried out. So may an earlier one, as long as the task was not looked for.
    """
    pause = min(FIRST_RETRY * 2 ** min(one.failures, 10), LAST_RETRY) if refusal else PAUSE
    values = {"retry_at": now + pause, "failures": one.failures + bool(refusal), "refusal": refusal}
    here = handoffs.c.id == one.id
    connection.execute(handoffs.update().where(here).values(**values))
    if not ambiguous:
        this_call = handoffs.c.sent_attempt_at.is_distinct_from(one.sent_attempt_at)
        connection.execute(handoffs.update().where(here, this_call).values(sent_attempt_at=None))
