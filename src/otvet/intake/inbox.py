"""The inbox: stores a delivery from amoCRM, with the turn it opens, in one commit before the 200.

Deliveries that wait at the same time are stored as one batch: a few statements for all of them, one sync to the disk.
``store`` does all of it, in the writer's thread.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DataError, DBAPIError

from otvet.amocrm.events import Delivery, MessageEvent, read_delivery
from otvet.clock import Clock
from otvet.conversations.conversation import touch_many
from otvet.conversations.messages import add_messages, chats_named
from otvet.conversations.pauses import pause_for_manager
from otvet.conversations.tables import TRIAL
from otvet.deals import known
from otvet.errors import StorageError
from otvet.i18n import _
from otvet.intake import echoes, placement, repetitions
from otvet.intake.own_account import Known
from otvet.intake.placement import Conversation
from otvet.intake.quarantine import add_quarantined
from otvet.storage import counters
from otvet.storage.database import Database
from otvet.storage.engines import write_refused
from otvet.turns import queue, staff
from otvet.turns.queue import UNKNOWN, Chat

log = structlog.get_logger(__name__)

ANSWER_SECONDS = 1.8  # amoCRM waits 2 s
MOST_AT_ONCE = 10_000  # messages; PostgreSQL takes 65,535 values a statement
DEFAULT_PAUSE = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Received:
    """A delivery that was read and is not stored yet."""

    body: bytes
    delivery: Delivery
    at: datetime


@dataclass(slots=True)
class Stored:
    """The result of storing a delivery. saved: new messages and new words of known ones.

    to_answer: the turns that can be worked on now.
    """

    saved: int = 0
    duplicates: int = 0
    to_answer: list[int] = field(default_factory=list)


Adopt = Callable[[Connection, Sequence[MessageEvent], datetime], Collection[str]]
"""Returns the keys of the events whose messages are stored already, after adding the events' details to those."""


class Inbox:
    """Takes deliveries from any number of requests at once."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        to_answer: Callable[[Sequence[int]], None],
        manager_pause: timedelta = DEFAULT_PAUSE,
        adopt: Adopt | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._to_answer = to_answer
        self.account: Known | None = None  # once it is set, deliveries of other accounts go into quarantine
        self.last_delivery_at: datetime | None = None  # of this account, readable, received by this process
        # One object, because the writer batches items that wait for the same function.
        self._store = partial(store, manager_pause=manager_pause, adopt=adopt)

    async def receive(self, body: bytes) -> Stored:
        """Store a delivery; it is committed on return. Raises StorageError if the commit is not known in time."""
        now = self._clock.now()
        delivery = self._ours(read_delivery(body, now))
        real = any(not (one.chat_ref or "").startswith(TRIAL) for one in delivery.messages)
        if real or delivery.ignored:  # anything else does not show that amoCRM's messages arrive
            self.last_delivery_at = now
        received = Received(body, delivery, now)
        try:
            stored = await self._write(received)
        except StorageError:
            raise
        except Exception as error:
            if isinstance(error, DBAPIError) and not isinstance(error, DataError):
                raise write_refused(error) from error
            # A repetition would fail too, and amoCRM disables a hook that answers with errors.
            log.error(
                "a delivery could not be stored and is kept in quarantine",
                error=type(error).__name__,
                exc_info=not isinstance(error, DBAPIError),
            )
            await self.quarantine(body, f"cannot be stored: {type(error).__name__}")
            return Stored()
        if stored.to_answer:
            self._to_answer(stored.to_answer)
        return stored

    def _ours(self, delivery: Delivery) -> Delivery:
        """The delivery; if it names another account, an empty one with the reason for its quarantine."""
        if self.account is None or not self.account.is_foreign(delivery):
            return delivery
        log.warning("a delivery names another account and is kept in quarantine", account=delivery.account_id)
        return Delivery(problems=("it names another account",))

    async def quarantine(self, body: bytes, reason: str) -> None:
        """Store a body as it came, for a person."""
        await self._write(Received(body, Delivery(problems=(reason,)), self._clock.now()))

    async def _write(self, received: Received) -> Stored:
        """Wait for the commit as long as amoCRM waits. After a later commit, amoCRM's repetition is a duplicate."""
        stored: asyncio.Future[Stored] = self._database.writer.submit(self._store, received, urgent=True)
        deadline = asyncio.get_running_loop().call_later(ANSWER_SECONDS, _give_up, stored)
        try:
            return await stored
        finally:
            deadline.cancel()


def _give_up(stored: "asyncio.Future[Stored]") -> None:
    if not stored.done():
        stored.set_exception(StorageError(_("the database has not answered in time")))


def store(
    connection: Connection,
    received: Sequence[Received],
    manager_pause: timedelta = DEFAULT_PAUSE,
    adopt: Adopt | None = None,
) -> list[Stored]:
    """Store a batch of deliveries in their order; returns one result per delivery.

    manager_pause: how long the assistant is paused after a manager wrote.
    adopt: finds the messages that are stored already, because another source than the webhook reported them.
    """
    now = received[-1].at
    results = [Stored() for _one in received]
    counts: Counter[str] = Counter()
    new, edited = _sort_out(connection, received, results)
    new = _without_echoes(connection, new, now, counts)
    if adopt is not None:
        new = _without_adopted(new, adopt(connection, [one.event for one in new], now))
    for start in range(0, len(new), MOST_AT_ONCE):
        _save(connection, new[start : start + MOST_AT_ONCE], now, manager_pause)
    for one in edited:
        _edit(connection, one, now, counts)
    _mark_changed_cards(connection, received, now)
    _quarantine(connection, received, counts)
    for item, result in zip(received, results, strict=True):
        counts["duplicates"] += result.duplicates
        for name, count in item.delivery.ignored.items():
            counts[f"event.{name}"] += count
    counters.add(connection, counts)
    return results


@dataclass(frozen=True, slots=True)
class _New:
    """A message that is not stored yet. at: when it was received. result: the result of its delivery.

    of_our_bot: a bot said it after our run; nobody took over.
    """

    event: MessageEvent
    at: datetime
    result: Stored
    of_our_bot: bool = False

    @property
    def sender(self) -> str:
        return "assistant" if self.of_our_bot else self.event.sender


def _sort_out(
    connection: Connection, received: Sequence[Received], results: list[Stored]
) -> tuple[list[_New], list[_New]]:
    """(new messages, messages with new words); the others are counted as duplicates."""
    known = repetitions.Known(connection, [event for item in received for event in item.delivery.messages])
    new: list[_New] = []
    edited: list[_New] = []
    for item, result in zip(received, results, strict=True):
        for event in item.delivery.messages:
            if known.is_new(event):
                new.append(_New(event, item.at, result))
            elif known.has_other_words(event):
                edited.append(_New(event, item.at, result))
            else:
                result.duplicates += 1
    return new, edited


def _edit(connection: Connection, one: _New, now: datetime, counts: Counter[str]) -> None:
    was_new, turn_id = repetitions.edit(connection, one.event, now)
    if was_new:
        one.result.saved += 1
        counts["edited"] += 1
    else:
        one.result.duplicates += 1
    if turn_id is not None:
        one.result.to_answer.append(turn_id)


def _without_echoes(connection: Connection, new: list[_New], now: datetime, counts: Counter[str]) -> list[_New]:
    """Leave out our own replies, which come back as outgoing messages, and mark what our bot said besides."""
    outgoing = [(one.event, one.at) for one in new if one.event.sender == "manager"]
    if not outgoing:
        return new
    found = echoes.take(connection, outgoing, now)
    counts["event.own_reply"] += len(found.ours)
    return [replace(one, of_our_bot=one.event.key in found.beside) for one in new if one.event.key not in found.ours]


def _without_adopted(new: list[_New], adopted: Collection[str]) -> list[_New]:
    for one in new:
        if one.event.key in adopted:
            one.result.duplicates += 1
    return [one for one in new if one.event.key not in adopted]


def _save(connection: Connection, new: Sequence[_New], now: datetime, manager_pause: timedelta) -> None:
    """Store messages with their clients, conversations and turns. The first result gets the turns to answer."""
    conversations_of = placement.place(connection, [one.event for one in new], now)
    placed = list(zip(new, conversations_of, strict=True))
    asking = {_chat(one, conversation) for one, conversation in placed if one.event.sender == "client"}
    by_managers = [pair for pair in placed if pair[0].sender == "manager"]

    turn_of, opened = queue.open_for(connection, asking, now)
    rows = [_message_row(one, conversation, turn_of.get(_chat(one, conversation))) for one, conversation in placed]
    add_messages(connection, rows)
    _give_way(connection, by_managers, now, manager_pause)
    last = {conversation.id: one.at for one, conversation in placed}
    touch_many(connection, last, {one.id: one.chat_ref for one in conversations_of if one.has_other_chat})
    for one in new:
        one.result.saved += 1

    with_deal = {conversation.id for conversation in conversations_of if conversation.lead_id}
    ready = {id_ for (conversation, _ref), id_ in turn_of.items() if conversation in with_deal and id_ in opened}
    if by_managers:  # _give_way may have cancelled some of the turns
        ready &= queue.waiting_in(connection, {conversation for conversation, _ref in turn_of})
    unblocked = {conversation.id for conversation in conversations_of if conversation.unblocked}
    new[0].result.to_answer += sorted(ready | queue.waiting_in(connection, unblocked))


def _chat(one: _New, conversation: Conversation) -> Chat:
    return conversation.id, one.event.chat_ref or UNKNOWN


def _message_row(one: _New, conversation: Conversation, turn_id: int | None) -> dict[str, Any]:
    event = one.event
    return {
        "conversation_id": conversation.id,
        "sender_type": one.sender,
        "content": event.text,
        "message_type": event.kind,
        "metadata": {
            "amocrm_lead_id": conversation.lead_id,
            "amocrm_timestamp": int(event.created_at.timestamp()) if event.created_at else None,
            "source": "amocrm_webhook",
            "raw": event.raw,
            **({repetitions.EDITED: True} if event.edit else {}),
        },
        "timestamp": event.created_at or one.at,
        "amocrm_message_id": event.key,
        "amocrm_contact_id": event.contact_id,
        "amocrm_chat_id": event.chat_id,
        "amocrm_talk_id": event.talk_id,
        "chat_ref": event.chat_ref,
        "turn_id": turn_id if event.sender == "client" else None,
    }


def _give_way(
    connection: Connection, written: Sequence[tuple[_New, Conversation]], now: datetime, pause: timedelta
) -> None:
    """Managers, or other bots, wrote: cancel the turns of their chats, and pause the chats.

    Turns before conversations, as everywhere: two processes that lock in different orders would deadlock.
    """
    wrote = [
        (*_chat_of_manager(connection, *pair), min(pair[0].event.created_at or pair[0].at, now)) for pair in written
    ]
    for conversation_id, ref, at in wrote:
        staff.cancel_for_manager(connection, conversation_id, ref, at, now)
    for conversation_id, ref, at in wrote:
        pause_for_manager(connection, conversation_id, ref, at + pause, now)


def _chat_of_manager(connection: Connection, one: _New, conversation: Conversation) -> Chat:
    """The chat in which a manager wrote: the named one, or the only one of the talk or contact; else UNKNOWN."""
    conversation_id, ref = _chat(one, conversation)
    if one.event.chat_id is None and ref != UNKNOWN:
        known = chats_named(connection, conversation_id, one.event.talk_id, one.event.contact_id)
        ref = known.pop() if len(known) == 1 else UNKNOWN
    return conversation_id, ref


def _mark_changed_cards(connection: Connection, received: Sequence[Received], now: datetime) -> None:
    leads = {id_ for item in received for id_ in item.delivery.changed_leads}
    contacts = {id_ for item in received for id_ in item.delivery.changed_contacts}
    known.changed(connection, leads, contacts, now)


def _quarantine(connection: Connection, received: Sequence[Received], counts: Counter[str]) -> None:
    """Store the bodies that could not be understood."""
    rows = [
        {"received_at": item.at, "reason": "; ".join(item.delivery.problems), "body": item.body}
        for item in received
        if item.delivery.problems
    ]
    if rows:
        add_quarantined(connection, rows)
        counts["quarantined"] += len(rows)
