"""The inbox: a delivery from amoCRM is stored, with the turn it opens, in one commit, before the 200.

Deliveries that wait at the same time are stored together: a handful of statements for all of them, one sync to the
disk. ``store`` is the whole of it; it runs in the writer's thread.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DataError, DBAPIError

from otvet import conversations as conversations_
from otvet import counters, turns
from otvet.amocrm.events import Delivery, MessageEvent, read_delivery
from otvet.clock import Clock
from otvet.connection.known_account import Known
from otvet.conversations import clients, conversations, messages
from otvet.deals import known as known_
from otvet.deliver import bot_words, echoes
from otvet.errors import StorageError
from otvet.i18n import _
from otvet.storage.database import Database
from otvet.storage.engines import Id, UtcDateTime, metadata, write_refused

Item = TypeVar("Item")

log = structlog.get_logger(__name__)

ANSWER_SECONDS = 1.8  # amoCRM waits 2 s
MOST_AT_ONCE = 10_000  # PostgreSQL takes 65,535 values a statement, and a message has more than one

quarantine = sa.Table(
    "quarantine",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("received_at", UtcDateTime, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),  # as it came, byte for byte
)


_QUARANTINED = sa.select(sa.func.count()).select_from(quarantine)

DEFAULT_PAUSE = timedelta(minutes=30)


def quarantined(connection: Connection) -> int:
    """How many deliveries were put aside: what a client said there is answered by nobody but a person."""
    return connection.scalar(_QUARANTINED) or 0


@dataclass(frozen=True, slots=True)
class Received:
    """A delivery as it came in, understood but not yet stored."""

    body: bytes
    delivery: Delivery
    at: datetime


@dataclass(slots=True)
class Stored:
    """What became of a delivery. ``to_answer``: turns that can be worked on from now on."""

    saved: int = 0
    duplicates: int = 0
    to_answer: list[int] = field(default_factory=list)


class Inbox:
    """Takes deliveries from any number of requests at once."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        to_answer: Callable[[Sequence[int]], None],
        manager_pause: timedelta = DEFAULT_PAUSE,
        *,
        with_bots: bool = False,
    ) -> None:
        self._database = database
        self._clock = clock
        self._to_answer = to_answer
        self.account: Known | None = None  # set by who knows it; deliveries of other accounts are put aside then
        self.last_delivery_at: datetime | None = None  # of the account's own that could be read, by this process
        # One object: what waits for it is stored together.
        self._store = partial(store, manager_pause=manager_pause, with_bots=with_bots)

    async def receive(self, body: bytes) -> Stored:
        """Store a delivery; when this returns it is committed. Raises StorageError if that is not known in time."""
        now = self._clock.now()
        delivery = self._ours(read_delivery(body, now))
        if delivery.messages or delivery.ignored:  # anything else does not show that amoCRM's messages arrive
            self.last_delivery_at = now
        received = Received(body, delivery, now)
        try:
            stored = await self._write(received)
        except StorageError:
            raise
        except Exception as error:
            if isinstance(error, DBAPIError) and not isinstance(error, DataError):
                raise write_refused(error) from error
            # Sent again it would fail again, and amoCRM disables a hook that answers with errors.
            log.error(
                "a delivery could not be stored and is kept in quarantine",
                error=type(error).__name__,
                exc_info=not isinstance(error, DBAPIError),
            )
            await self.set_aside(body, f"cannot be stored: {type(error).__name__}")
            return Stored()
        if stored.to_answer:
            self._to_answer(stored.to_answer)
        return stored

    def _ours(self, delivery: Delivery) -> Delivery:
        """The delivery, or only the reason why it is put aside."""
        if self.account is None or not self.account.is_foreign(delivery):
            return delivery
        log.warning("a delivery names another account and is kept in quarantine", account=delivery.account_id)
        return Delivery(puzzles=("it names another account",))

    async def set_aside(self, body: bytes, reason: str) -> None:
        """Keep a body as it came."""
        await self._write(Received(body, Delivery(puzzles=(reason,)), self._clock.now()))

    async def _write(self, received: Received) -> Stored:
        """In time for the answer. What takes longer stays queued: it is known when amoCRM sends it again."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                stored: Stored = await self._database.writer.submit(self._store, received, urgent=True)
        except TimeoutError as error:
            raise StorageError(_("the database has not answered in time")) from error
        return stored


def store(
    connection: Connection,
    received: Sequence[Received],
    manager_pause: timedelta = DEFAULT_PAUSE,
    *,
    with_bots: bool = False,
) -> list[Stored]:
    """Store deliveries in their order; one result each.

    with_bots: whether a Salesbot may have told of a message before.

    manager_pause: for how long the assistant keeps still in a conversation after a manager wrote there.
    """
    results = [Stored() for _ in received]
    new = _drop_duplicates(connection, received, results)
    new, own = _drop_own(connection, new, received[-1].at)
    if with_bots:
        new = _drop_told_by_bots(connection, new, received[-1].at)
    for some in _portions(new):
        _save(connection, some, received[-1].at, manager_pause)
    _mark_changed(connection, received)
    _quarantine(connection, received)
    counts: Counter[str] = Counter({"event.own_reply": own} if own else {})
    for item, result in zip(received, results, strict=True):
        counts["duplicates"] += result.duplicates
        for name, count in item.delivery.ignored.items():
            counts[f"event.{name}"] += count
    counters.add(connection, counts)
    return results


def place_in_lead(
    connection: Connection, conversation_id: int, lead_id: int, contact_id: int | None, now: datetime
) -> list[int]:
    """The deal of a conversation that waited for it was found; gives the turns that can be worked on from now on.

    What follows is what a further message in its chat would bring about that names the deal. Nothing happens if one
    did meanwhile.
    """
    waiting = sa.select(conversations.c.chat_ref).where(
        conversations.c.id == conversation_id,
        conversations.c.amocrm_lead_id.is_(None),
        conversations.c.status == "active",
    )
    chat_ref = connection.scalar(waiting.with_for_update())
    if chat_ref is None:
        return []
    told = MessageEvent("", None, lead_id, contact_id, None, None, chat_ref, "client", "", "text", None, None, {})
    placement = _Placement(connection, [told])
    conversation = placement.place(told)
    placement.write(now)
    return sorted(turns.waiting_in(connection, {conversation.final().id}))


@dataclass(slots=True, eq=False)
class _Client:
    contact_id: int | None
    name: str | None
    id: int = 0


@dataclass(slots=True, eq=False)
class _Conversation:
    client: _Client
    lead_id: int | None
    chat_ref: str | None
    id: int = 0
    became: "_Conversation | None" = None  # the one that it was joined to
    now_answerable: bool = False

    def final(self) -> "_Conversation":
        return self.became.final() if self.became else self


@dataclass(slots=True)
class _New:
    event: MessageEvent
    at: datetime
    result: Stored
    conversation: _Conversation | None = None


# Made once: under load, building a statement anew costs more than running it.
_KNOWN_KEYS = sa.select(messages.c.amocrm_message_id).where(
    messages.c.amocrm_message_id.in_(sa.bindparam("keys", expanding=True))
)
_KNOWN_CLIENTS = sa.select(clients.c.id, clients.c.amocrm_contact_id, clients.c.name).where(
    clients.c.amocrm_contact_id.in_(sa.bindparam("contacts", expanding=True))
)
_KNOWN_CONVERSATIONS = (
    sa.select(
        conversations.c.id,
        conversations.c.client_id,
        conversations.c.amocrm_lead_id,
        conversations.c.chat_ref,
        clients.c.amocrm_contact_id,
        clients.c.name,
    )
    .join(clients)
    .where(
        conversations.c.status == "active",
        sa.or_(
            conversations.c.amocrm_lead_id.in_(sa.bindparam("leads", expanding=True)),
            conversations.c.id.in_(sa.bindparam("ids", expanding=True)),
            conversations.c.chat_ref.in_(sa.bindparam("chats", expanding=True)),  # of a version without ``chats``
        ),
    )
    .order_by(conversations.c.last_activity)  # the last one wins its chat
)
_TOUCH_CONVERSATION = (
    conversations.update()
    .where(conversations.c.id == sa.bindparam("conversation"))
    .values(last_activity=sa.bindparam("at"), chat_ref=sa.bindparam("ref"))
)
_ADD_MESSAGES = messages.insert()


def _portions(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), MOST_AT_ONCE):
        yield items[start : start + MOST_AT_ONCE]


def _mark_changed(connection: Connection, received: Sequence[Received]) -> None:
    leads = {id_ for item in received for id_ in item.delivery.changed_leads}
    contacts = {id_ for item in received for id_ in item.delivery.changed_contacts}
    for some in _portions(sorted(leads)):
        known_.changed(connection, leads=some, contacts=(), now=received[-1].at)
    for some in _portions(sorted(contacts)):
        known_.changed(connection, leads=(), contacts=some, now=received[-1].at)


def _drop_duplicates(connection: Connection, received: Sequence[Received], results: list[Stored]) -> list[_New]:
    keys = {key for item in received for event in item.delivery.messages for key in (event.key, event.also_key) if key}
    known = {key for some in _portions(list(keys)) for key in connection.scalars(_KNOWN_KEYS, {"keys": some})}
    new: list[_New] = []
    for item, result in zip(received, results, strict=True):
        for event in item.delivery.messages:
            if event.key in known or event.also_key in known:
                result.duplicates += 1
            else:
                known.add(event.key)
                result.saved += 1
                new.append(_New(event, item.at, result))
    return new


def _drop_own(connection: Connection, new: list[_New], now: datetime) -> tuple[list[_New], int]:
    """Our own replies come back as outgoing messages; they are no word of a manager."""
    outgoing = [(one.event, one.at) for one in new if one.event.sender == "manager"]
    own = echoes.take(connection, outgoing, now) if outgoing else set()
    for one in new:
        one.result.saved -= one.event.key in own
    return [one for one in new if one.event.key not in own], len(own)


def _drop_told_by_bots(connection: Connection, new: list[_New], now: datetime) -> list[_New]:
    known = bot_words.adopt(connection, [one.event for one in new], now)
    for one in new:
        one.result.saved -= one.event.key in known
        one.result.duplicates += one.event.key in known
    return [one for one in new if one.event.key not in known]


def _save(connection: Connection, new: Sequence[_New], now: datetime, manager_pause: timedelta) -> None:
    placement = _Placement(connection, [one.event for one in new])
    for one in new:
        one.conversation = placement.place(one.event)
    placement.write(now)

    by_conversation: dict[int, list[_New]] = {}
    for one in new:
        by_conversation.setdefault(one.conversation.final().id, []).append(one)  # type: ignore[union-attr]
    asked = {id_ for id_, those in by_conversation.items() if any(one.event.sender == "client" for one in those)}
    turn_of, opened = turns.open_for(connection, asked, now)
    connection.execute(_ADD_MESSAGES, [_row(one, turn_of) for one in new])
    of_managers = [one for one in new if one.event.sender == "manager"]
    _give_way(connection, of_managers, now, manager_pause)
    connection.execute(
        _TOUCH_CONVERSATION,
        [
            {"conversation": id_, "at": those[-1].at, "ref": those[-1].conversation.final().chat_ref}  # type: ignore[union-attr]
            for id_, those in sorted(by_conversation.items())
        ],
    )
    answerable = {one.conversation.final().id for one in new if one.conversation.final().now_answerable}  # type: ignore[union-attr]
    known_lead = {one.conversation.final().id for one in new if one.conversation.final().lead_id}  # type: ignore[union-attr]
    to_answer = {turn_of[id_] for id_ in asked & known_lead if turn_of[id_] in opened}
    if of_managers:  # who may just have cancelled some of them
        to_answer &= turns.waiting_in(connection, asked)
    new[0].result.to_answer += sorted(to_answer | turns.waiting_in(connection, answerable))


def _give_way(connection: Connection, new: Sequence[_New], now: datetime, pause: timedelta) -> None:
    """Managers, or other bots, wrote: the assistant leaves the conversations to them for a while.

    Turns before conversations, as everywhere: two processes that lock them the other way round wait for each other.
    """
    wrote = [(one.conversation.final().id, min(one.event.created_at or one.at, now)) for one in new]  # type: ignore[union-attr]
    for conversation, at in wrote:
        turns.cancel_for_manager(connection, conversation, at, now)
    for conversation, at in wrote:
        conversations_.pause_for_manager(connection, conversation, at + pause, now)


def _row(one: _New, turn_of: dict[int, int]) -> dict[str, Any]:
    event = one.event
    assert one.conversation is not None
    conversation = one.conversation.final()
    return {
        "conversation_id": conversation.id,
        "sender_type": event.sender,
        "content": event.text,
        "message_type": event.kind,
        "metadata": {
            "amocrm_lead_id": conversation.lead_id,
            "amocrm_timestamp": int(event.created_at.timestamp()) if event.created_at else None,
            "source": "amocrm_webhook",
            "raw": event.raw,
        },
        "timestamp": event.created_at or one.at,
        "amocrm_message_id": event.key,
        "amocrm_contact_id": event.contact_id,
        "amocrm_chat_id": event.chat_id,
        "amocrm_talk_id": event.talk_id,
        "turn_id": turn_of.get(conversation.id) if event.sender == "client" else None,
    }


class _Placement:
    """Finds or makes the client and the conversation of each message, in memory, then writes what is new."""

    def __init__(self, connection: Connection, events: Sequence[MessageEvent]) -> None:
        self._connection = connection
        self._clients: dict[int, _Client] = {}
        self._by_lead: dict[int, _Conversation] = {}
        self._by_chat: dict[str, _Conversation] = {}
        self._chats: dict[str, int] = {}  # as they stand in the database
        self._seen: dict[str, _Conversation] = {}  # where each chat of these events was seen last
        self._new_clients: list[_Client] = []
        self._new_conversations: list[_Conversation] = []
        self._joined: list[tuple[_Conversation, _Conversation]] = []
        self._named: list[_Conversation] = []  # whose lead has become known
        self._moved: list[_Conversation] = []  # whose client has become known
        self._left: list[_Conversation] = []  # whose chat went on in another
        self._changed: list[_Client] = []
        self._load(events)

    def _load(self, events: Sequence[MessageEvent]) -> None:
        leads = {event.lead_id for event in events if event.lead_id}
        refs = {event.chat_ref for event in events if event.chat_ref}
        contacts = {event.contact_id for event in events if event.contact_id}
        if contacts:
            for row in self._connection.execute(_KNOWN_CLIENTS, {"contacts": list(contacts)}):
                self._clients[row.amocrm_contact_id] = _Client(row.amocrm_contact_id, row.name, row.id)
        self._chats = conversations_.of_chats(self._connection, list(refs))
        wanted = {"leads": list(leads), "chats": list(refs), "ids": list(set(self._chats.values()))}
        by_id: dict[int, _Conversation] = {}
        for one in self._connection.execute(_KNOWN_CONVERSATIONS, wanted):
            client = self._clients.get(one.amocrm_contact_id) or _Client(one.amocrm_contact_id, one.name, one.client_id)
            if client.contact_id:
                self._clients[client.contact_id] = client
            by_id[one.id] = _Conversation(client, one.amocrm_lead_id, one.chat_ref, one.id)
            self._remember(by_id[one.id])
        self._by_chat |= {ref: by_id[id_] for ref, id_ in self._chats.items() if id_ in by_id}

    def _remember(self, conversation: _Conversation) -> None:
        if conversation.lead_id:
            self._by_lead[conversation.lead_id] = conversation
        if conversation.chat_ref:
            self._by_chat[conversation.chat_ref] = conversation

    def place(self, event: MessageEvent) -> _Conversation:
        here = self._by_chat.get(event.chat_ref) if event.chat_ref else None
        if event.lead_id is None:
            conversation = here or self._make(event)
        else:
            conversation = self._of_lead(event, here if here and here.lead_id is None else None)
        self._know_client(conversation, event)
        if event.chat_ref:
            if here and here is not conversation and here.chat_ref == event.chat_ref:
                here.chat_ref = None
                self._left.append(here)
            conversation.chat_ref = event.chat_ref
            self._by_chat[event.chat_ref] = self._seen[event.chat_ref] = conversation
        return conversation

    def _of_lead(self, event: MessageEvent, waiting: _Conversation | None) -> _Conversation:
        """The lead's conversation; what waited in the same chat for its lead joins it."""
        assert event.lead_id is not None
        known = self._by_lead.get(event.lead_id)
        if waiting is None:
            return known or self._make(event)
        if known is None:
            waiting.lead_id = event.lead_id
            waiting.now_answerable = True
            if waiting.id:
                self._named.append(waiting)
            self._by_lead[event.lead_id] = waiting
            return waiting
        waiting.became = known
        known.now_answerable = True
        if waiting.id:
            self._joined.append((waiting, known))
        else:
            self._new_conversations.remove(waiting)
        return known

    def _make(self, event: MessageEvent) -> _Conversation:
        conversation = _Conversation(self._client(event), event.lead_id, event.chat_ref)
        self._new_conversations.append(conversation)
        self._remember(conversation)
        return conversation

    def _client(self, event: MessageEvent) -> _Client:
        known = self._clients.get(event.contact_id) if event.contact_id else None
        if known:
            return known
        here = self._by_chat.get(event.chat_ref) if event.chat_ref else None
        if here and event.contact_id is None:
            return here.client  # a chat is one client's, whatever deal it moves to
        client = _Client(event.contact_id, event.author_name)
        self._new_clients.append(client)
        if event.contact_id:
            self._clients[event.contact_id] = client
        return client

    def _know_client(self, conversation: _Conversation, event: MessageEvent) -> None:
        """A contact or a name may become known later than the conversation."""
        client = conversation.client
        if event.contact_id and client.contact_id != event.contact_id:
            known = self._clients.get(event.contact_id)
            if known is None and client.contact_id is None:
                client.contact_id = event.contact_id
                self._clients[event.contact_id] = client
                self._changed.append(client)
            else:
                client = conversation.client = known or self._client(event)
                if conversation.id:
                    self._moved.append(conversation)
        if event.author_name and not client.name:
            client.name = event.author_name
            self._changed.append(client)

    def write(self, now: datetime) -> None:
        execute = self._connection.execute
        self._number(
            clients, self._new_clients, [{"amocrm_contact_id": c.contact_id, "name": c.name} for c in self._new_clients]
        )
        for client in self._changed:
            values = {"amocrm_contact_id": client.contact_id, "name": client.name}
            execute(clients.update().where(clients.c.id == client.id).values(**values))
        for waiting, known in self._joined:
            self._join(waiting, known.final())
        for conversation in self._named:
            values = {"amocrm_lead_id": conversation.lead_id}
            execute(conversations.update().where(conversations.c.id == conversation.id).values(**values))
            self._tell_lead(conversation.id, conversation.lead_id)
            turns.placed(self._connection, conversation.id)
        self._number(
            conversations,
            self._new_conversations,
            [
                {"client_id": c.client.id, "amocrm_lead_id": c.lead_id, "chat_ref": c.chat_ref, "last_activity": now}
                for c in self._new_conversations
            ],
        )
        for conversation in self._moved:
            values = {"client_id": conversation.client.id}
            execute(conversations.update().where(conversations.c.id == conversation.id).values(**values))
        for conversation in self._left:
            values = {"chat_ref": conversation.chat_ref}
            execute(conversations.update().where(conversations.c.id == conversation.id).values(**values))
        seen = {ref: conversation.final().id for ref, conversation in self._seen.items()}
        conversations_.place_chats(
            self._connection, {ref: id_ for ref, id_ in seen.items() if self._chats.get(ref) != id_}
        )

    def _number(self, table: sa.Table, objects: Sequence[Any], rows: list[dict[str, Any]]) -> None:
        """Insert and learn the ids."""
        if rows:
            statement = table.insert().returning(table.c.id, sort_by_parameter_order=True)
            for one, id_ in zip(objects, self._connection.scalars(statement, rows), strict=True):
                one.id = id_

    def _join(self, waiting: _Conversation, known: _Conversation) -> None:
        execute = self._connection.execute
        if not known.id:  # the lead's conversation is of this very batch: it takes over the row that waited
            known.id = waiting.id
            self._new_conversations.remove(known)
            self._named.append(known)
            self._moved.append(known)
            return
        turns.placed(self._connection, waiting.id)
        turns.hand_over(self._connection, waiting.id, known.id)
        self._tell_lead(waiting.id, known.lead_id)
        execute(messages.update().where(messages.c.conversation_id == waiting.id).values(conversation_id=known.id))
        execute(conversations.delete().where(conversations.c.id == waiting.id))

    def _tell_lead(self, conversation_id: int, lead_id: int | None) -> None:
        """What was stored before the lead was known names it from now on."""
        here = messages.c.conversation_id == conversation_id
        for row in self._connection.execute(sa.select(messages.c.id, messages.c.metadata).where(here)).all():
            told = {**row.metadata, "amocrm_lead_id": lead_id}
            self._connection.execute(messages.update().where(messages.c.id == row.id).values(metadata=told))


def _quarantine(connection: Connection, received: Sequence[Received]) -> None:
    rows = [
        {"received_at": item.at, "reason": "; ".join(item.delivery.puzzles), "body": item.body}
        for item in received
        if item.delivery.puzzles
    ]
    if rows:
        connection.execute(quarantine.insert(), rows)
        counters.add(connection, {"quarantined": len(rows)})
