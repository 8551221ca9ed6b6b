"""The turn: its type, its table, its states, and the moves between them.

waiting ──> answering ──> sending ──> sent        the reply is in amoCRM
   │            │            ├──────> failed      amoCRM refused it for good, or it cannot be told whether it arrived
   │            │            ├──────> cancelled   staff took over, or the assistant was switched off, before it was sent
   │            │            └──────> answering   the reply has to be approved first, or is out of date
   │            ├───────────────────> kept        amoCRM is not connected: the reply is stored and was not sent
   │            ├──────────> draft ──> cancelled  a manager may approve it (it is ``answering`` again) or reject it
   │            └───────────────────> handed      staff have to answer; ``reason`` says why
   └────────────────────────────────> cancelled   a manager wrote first, or the settings leave this deal to staff

``MOVES`` lists all moves. Two partial unique indexes see to it that a chat has at most one waiting turn and one in
hand. A move is one UPDATE that names the state it leaves and the process that owns the turn; an UPDATE that changes no
row has lost the race.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.conversations.tables import TRIAL, chats, conversations
from otvet.storage.engines import Id, Json, UtcDateTime, metadata


class State(StrEnum):
    """Where a turn stands. The database and the API show the value."""

    WAITING = "waiting"
    ANSWERING = "answering"
    SENDING = "sending"
    DRAFT = "draft"
    SENT = "sent"
    KEPT = "kept"
    FAILED = "failed"
    CANCELLED = "cancelled"
    HANDED = "handed"


OPEN = (State.WAITING, State.ANSWERING, State.SENDING)
IN_HAND = (State.ANSWERING, State.SENDING)
NEEDS_STAFF = (State.FAILED, State.HANDED, State.DRAFT)

MOVES: Mapping[State, frozenset[State]] = {
    State.WAITING: frozenset({State.ANSWERING, State.HANDED, State.CANCELLED}),
    State.ANSWERING: frozenset({State.SENDING, State.DRAFT, State.KEPT, State.HANDED, State.CANCELLED}),
    State.SENDING: frozenset({State.SENT, State.FAILED, State.CANCELLED, State.ANSWERING}),
    State.DRAFT: frozenset({State.ANSWERING, State.CANCELLED}),
    State.SENT: frozenset({State.FAILED}),
    State.KEPT: frozenset({State.SENDING, State.HANDED}),
    State.FAILED: frozenset({State.SENT, State.SENDING, State.WAITING, State.CANCELLED}),
    State.CANCELLED: frozenset({State.SENDING, State.WAITING}),
    State.HANDED: frozenset({State.WAITING, State.CANCELLED}),
}
"""The states that may follow each state."""


class Reason(StrEnum):
    """Why a turn ended without an ordinary reply (``turns.reason``), or was left to staff (``turns.left_because``).

    ``turns.reason`` may instead hold amoCRM's refusal as a sentence.
    """

    NOT_CONNECTED = "amocrm_not_connected"
    TRIAL = "trial"  # a trial chat: nothing of it goes to amoCRM
    MANAGER = "manager"  # a manager, or another bot, wrote in the chat
    PAUSED = "paused"
    STALE = "stale"
    CEILING = "ceiling"
    ASKED = "asked"  # the client asked for a person
    ERASED = "erased"  # the client's data was erased
    NO_DEAL = "no_deal"  # the messages name no deal, and none was found
    REPEATED = "repeated_words"  # the client's words came for the third time, as an auto-reply's do
    TOO_FAST = "too_many_a_minute"  # the chat had more replies in a minute than a person would ask for
    REWORDED = "reworded"  # the client edited the question, which was asked anew
    OFF = "off"  # the assistant is switched off
    REJECTED = "rejected"  # a manager rejected the draft
    UNSEEN = "unseen"  # the reply did not come back as an outgoing message, as others do
    DOUBTED = "doubted"  # the checks refused what was written
    NOT_KNOWN = "not_known"  # neither a model nor the knowledge folder had an answer
    MEDIA = "media"  # the client sent something that nobody here can read
    PROMISED = "promised"  # the model's reply says that a person will see to it
    ANGRY = "angry"  # the client complains
    STOPPED = "stopped"  # the assistant was stopped everywhere
    SMALL_TALK = "small_talk"  # a word of thanks, which needs no answer
    DRAFT = "draft"  # a draft waits for a manager
    WAITED = "waited"  # open for longer than handoffs.WAITED_TOO_LONG
    REFUSED = "refused"  # amoCRM did not take the reply; ``reason`` is its sentence
    OUT_OF_HOURS = "out_of_hours"
    PIPELINE = "pipeline_left_out"
    STAGE = "stage_left_out"
    TAGS = "tags_left_out"
    CHANNEL = "channel_left_out"


class Writer(StrEnum):
    """Values of ``turns.responder`` for replies that no responder wrote."""

    TEMPLATE = "template"  # nothing was known: a manager will answer
    HUMAN_REQUEST = "handover"  # the answer to a client who asks for a person
    COMPLAINT = "complaint"  # the answer to a client who complains
    SMALL_TALK = "small_talk"  # the answer to thanks or a greeting
    HOURS = "hours"  # the company's out-of-hours text
    PERSON = "person"  # a manager's own words, written on our pages


OWN_PROMISES = (Writer.TEMPLATE, Writer.HUMAN_REQUEST, Writer.COMPLAINT, Writer.HOURS)
"""Replies that say only that a person will answer."""


def _state_in(*states: State) -> sa.TextClause:
    names = ", ".join(f"'{state}'" for state in states)
    return sa.text(f"state IN ({names})")


def _one_per_chat(name: str, where: sa.TextClause) -> sa.Index:
    return sa.Index(name, "conversation_id", "chat_ref", unique=True, sqlite_where=where, postgresql_where=where)


_WAITS_FOR_REPLY = sa.text("state = 'waiting' AND reply IS NULL")  # a manager's own words wait with their text
_FIELD_IN_USE = sa.text("state = 'sending' AND way = 'salesbot'")

turns = sa.Table(
    "turns",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("conversation_id", Id, sa.ForeignKey("conversations.id"), nullable=False, index=True),
    # The chat of the question and the reply, as events.MessageEvent.chat_ref; empty while no message has named it.
    sa.Column("chat_ref", sa.Text, nullable=False, server_default=sa.text("''")),
    sa.Column("state", sa.Text, nullable=False, server_default=State.WAITING, index=True),
    sa.Column("owner", sa.Text),  # the process that works on the turn; none: any process may claim it
    sa.Column("first_message_at", UtcDateTime, nullable=False),  # when we received it, by our own clock
    sa.Column("last_message_at", UtcDateTime, nullable=False),
    sa.Column("closed_at", UtcDateTime),
    sa.Column("sent_attempt_at", UtcDateTime),  # the last call to amoCRM, if it may still be carried out
    sa.Column("failing_since", UtcDateTime),  # every attempt since then has failed; outages do not count
    sa.Column("redrafts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("requested_by_staff", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("responder", sa.Text),
    sa.Column("model", sa.Text),
    sa.Column("reply", sa.Text),
    sa.Column("details", Json),  # the responder's details of its reply: passages, task, seconds
    sa.Column("way", sa.Text),  # the delivery method into the client's chat; none: a note in the deal only
    sa.Column("approved", sa.Boolean, nullable=False, server_default=sa.false()),  # a manager saw the draft
    sa.Column("note_id", sa.BigInteger),
    sa.Column("draft_note_id", sa.BigInteger),  # the note of a draft that waits no more, until the note says so
    sa.Column("reason", sa.Text),
    sa.Column("summary", sa.Text),  # for the person who takes over; set: the reply says that a person will answer
    sa.Column("handoff_id", Id, index=True),  # staff have to answer it, or had to
    sa.Column("left_because", sa.Text),  # a Reason: why staff have to; ``reason`` may change later, this stays
    sa.Column(
        "gap", sa.Boolean, nullable=False, server_default=sa.false()
    ),  # the knowledge folder does not answer the question
    sa.Column("as_draft", sa.Boolean, nullable=False, server_default=sa.false()),  # to be approved in any mode
    sa.Index(None, "first_message_at"),
    sa.Index("ix_turns_gaps", "first_message_at", sqlite_where=sa.text("gap"), postgresql_where=sa.text("gap")),
    _one_per_chat("uq_turns_waiting", _WAITS_FOR_REPLY),
    _one_per_chat("uq_turns_in_hand", _state_in(*IN_HAND)),
    # A Salesbot reads its text from a field of the deal, so only one chat of a deal may use the field at a time.
    sa.Index(
        "uq_turns_field_in_use",
        "conversation_id",
        unique=True,
        sqlite_where=_FIELD_IN_USE,
        postgresql_where=_FIELD_IN_USE,
    ),
    sqlite_autoincrement=True,  # an id names a workflow too, so a deleted turn's id must not be reused
)


@dataclass(frozen=True, slots=True)
class Turn:
    """One row of ``turns``, with columns of its conversation and chat.

    lead_id: the deal; None while it is not found yet. client_id: the client who wrote last in the deal.
    mode: the deal's own; None: the mode of the settings.
    deal_paused_until, chat_paused_until: until then staff answer in the deal, or in this chat.
    conversation_summary: the summary of the deal's messages until ``summarised_until``.
    The other fields are described at the table's columns.
    """

    id: int
    conversation_id: int
    chat_ref: str
    state: State
    owner: str | None
    first_message_at: datetime
    last_message_at: datetime
    closed_at: datetime | None
    sent_attempt_at: datetime | None
    failing_since: datetime | None
    redrafts: int
    requested_by_staff: bool
    responder: str | None
    model: str | None
    reply: str | None
    details: Mapping[str, Any] | None
    way: str | None
    approved: bool
    note_id: int | None
    draft_note_id: int | None
    reason: str | None
    summary: str | None
    handoff_id: int | None
    left_because: str | None
    gap: bool
    as_draft: bool
    lead_id: int | None
    client_id: int
    mode: str | None
    deal_paused_until: datetime | None
    chat_paused_until: datetime | None
    conversation_summary: str | None
    summarised_until: datetime | None

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> "Turn":
        """Make a turn of a row of ``SELECTED``, whose columns stand in the order of the fields."""
        turn = cls(*row)
        object.__setattr__(turn, "state", State(turn.state))
        return turn

    @property
    def deal(self) -> int:
        """The deal's id, for a turn that is worked on: its deal is known."""
        assert self.lead_id is not None
        return self.lead_id

    @property
    def is_trial(self) -> bool:
        """Whether nothing of it may go to amoCRM, because nobody but us wrote the question."""
        return self.chat_ref.startswith(TRIAL)

    @property
    def paused_until(self) -> datetime | None:
        """Until when staff answer, in the chat or in the whole deal; None: no pause."""
        return max(filter(None, (self.deal_paused_until, self.chat_paused_until)), default=None)

    def paused_at(self, now: datetime) -> bool:
        """Whether staff have taken over the chat or the whole deal."""
        return self.paused_until is not None and self.paused_until > now

    @property
    def note_of_draft(self) -> int | None:
        """The note that shows the draft, as long as it says that the draft waits."""
        return self.note_id if self.state == State.DRAFT else self.draft_note_id

    @property
    def is_of_person(self) -> bool:
        """Whether the reply is a manager's own words; such a turn has no question."""
        return self.responder == Writer.PERSON

    @property
    def is_hours_text(self) -> bool:
        """Whether the reply is the out-of-hours text: the company's own words, which nobody has to approve."""
        return self.reply is not None and self.responder == Writer.HOURS


SELECTED = (
    sa.select(
        turns,
        conversations.c.amocrm_lead_id.label("lead_id"),
        conversations.c.client_id,
        conversations.c.mode,
        conversations.c.paused_until.label("deal_paused_until"),
        chats.c.paused_until.label("chat_paused_until"),
        conversations.c.summary.label("conversation_summary"),
        conversations.c.summarised_until,
    )
    .select_from(turns)
    .join(conversations, conversations.c.id == turns.c.conversation_id)
    .outerjoin(chats, chats.c.chat_ref == turns.c.chat_ref)
)
_GET = SELECTED.where(turns.c.id == sa.bindparam("turn"))


def get(connection: Connection, turn_id: int) -> Turn | None:
    """The turn as it stands now; None if it was joined to another turn."""
    row = connection.execute(_GET, {"turn": turn_id}).one_or_none()
    return None if row is None else Turn.from_row(row)


def owned(connection: Connection, turn_id: int, me: str) -> Turn | None:
    """The turn as it stands now, if the process ``me`` owns it."""
    turn = get(connection, turn_id)
    return turn if turn is not None and turn.owner == me else None


def owns(connection: Connection, turn_id: int, me: str) -> bool:
    """Whether the process ``me`` owns the turn."""
    return bool(connection.scalar(sa.select(sa.exists().where(turns.c.id == turn_id, turns.c.owner == me))))


def listed(connection: Connection, states: Collection[str], limit: int, before: int = 0) -> list[Turn]:
    """The newest turns in these states, newest first. before: only turns with a smaller id."""
    query = SELECTED.where(turns.c.state.in_(states))
    if before:
        query = query.where(turns.c.id < before)
    return [Turn.from_row(row) for row in connection.execute(query.order_by(turns.c.id.desc()).limit(limit))]


def listed_in(connection: Connection, conversation_id: int, states: Collection[State]) -> list[Turn]:
    """The questions of a conversation in these states, the oldest first."""
    query = SELECTED.where(turns.c.conversation_id == conversation_id, turns.c.state.in_(states)).order_by(turns.c.id)
    return [Turn.from_row(row) for row in connection.execute(query)]


_LAST = (
    SELECTED.where(turns.c.conversation_id == sa.bindparam("conversation"), turns.c.chat_ref == sa.bindparam("chat"))
    .order_by(turns.c.id.desc())
    .limit(1)
)


def newest_of_chat(connection: Connection, conversation_id: int, chat_ref: str) -> Turn | None:
    """The newest turn of a chat, in whatever state."""
    row = connection.execute(_LAST, {"conversation": conversation_id, "chat": chat_ref}).one_or_none()
    return None if row is None else Turn.from_row(row)


DELIVERY = (
    turns.c.state.label("turn_state"),
    turns.c.way.label("turn_way"),
    turns.c.note_id.label("turn_note_id"),
    turns.c.reason.label("turn_reason"),
)
"""Columns to select beside a message that may be a turn's reply, or a manager's own words; see delivery_of()."""


def delivery_of(row: Any) -> dict[str, Any]:
    """A reply's way, state, note and reason, from the DELIVERY columns beside its message; empty for other messages."""
    if row.sender_type == "client" or row.turn_state is None:
        return {}
    delivery: dict[str, Any] = {"way": row.turn_way or "note", "state": row.turn_state}
    if row.turn_state == State.SENT:
        delivery["note_id"] = row.turn_note_id
    if row.turn_reason is not None:
        delivery["reason"] = row.turn_reason
    return delivery
