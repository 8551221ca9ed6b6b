"""Placement: finds or makes the client and the conversation of each message.

The messages of one commit are placed in memory, in their order; then the new and changed rows are written. So the
result does not depend on which messages share a commit.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.amocrm.events import MessageEvent
from otvet.conversations.chats import of_chats, place_chats
from otvet.conversations.clients import add_clients, name_client
from otvet.conversations.conversation import add_conversations, remove_conversation, set_conversation
from otvet.conversations.messages import move_to_conversation, tell_lead
from otvet.conversations.tables import clients, conversations
from otvet.storage.prepared import Prepared, among
from otvet.turns import queue


@dataclass(slots=True, eq=False)
class Client:
    """A row of ``clients``; id is 0 until it is written."""

    contact_id: int | None
    name: str | None
    id: int = 0


@dataclass(slots=True, eq=False)
class Conversation:
    """A row of ``conversations``; id is 0 until it is written.

    chat_ref: the chat that wrote here last. has_other_chat: the stored row, if any, may name another chat.
    merged_into: the conversation into which this one was merged, because both are of the same deal.
    unblocked: its deal has become known in this commit, so its waiting turns can be answered.
    """

    client: Client
    lead_id: int | None
    chat_ref: str | None
    id: int = 0
    merged_into: "Conversation | None" = None
    unblocked: bool = False
    has_other_chat: bool = False

    def final(self) -> "Conversation":
        """The conversation itself, or the one into which it was merged in the end."""
        return self.merged_into.final() if self.merged_into else self


def place(connection: Connection, events: Sequence[MessageEvent], now: datetime) -> list[Conversation]:
    """Returns the conversation of each message, in their order. All have rows afterwards."""
    placement = _Placement(connection)
    placement.load(events)
    conversations_of = [placement.place(event) for event in events]
    placement.write(now)
    return [conversation.final() for conversation in conversations_of]


def place_in_lead(
    connection: Connection, conversation_id: int, lead_id: int, contact_id: int | None, now: datetime
) -> list[int]:
    """Give a conversation the deal that was found for it; returns the turns that can be answered now.

    Works like a further message in its chat that names the deal. Does nothing if such a message came meanwhile.
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
    (conversation,) = place(connection, [told], now)
    return sorted(queue.waiting_in(connection, {conversation.id}))


_KNOWN_CLIENTS = Prepared(
    sa.select(clients.c.id, clients.c.amocrm_contact_id, clients.c.name).where(
        among(clients.c.amocrm_contact_id, "contacts")
    )
)
_KNOWN_CONVERSATIONS = Prepared(
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
            among(conversations.c.amocrm_lead_id, "leads"),
            among(conversations.c.id, "ids"),
            among(conversations.c.chat_ref, "chats"),  # from a version without the table ``chats``
        ),
    )
    .order_by(conversations.c.last_activity)  # the last one wins its chat
)


class _Placement:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._client_of_contact: dict[int, Client] = {}
        self._of_lead: dict[int, Conversation] = {}
        self._of_chat: dict[str, Conversation] = {}
        self._chats: dict[str, int] = {}  # the rows of ``chats`` in the database: {chat_ref: conversation}
        self._last_seen: dict[str, Conversation] = {}  # where each chat of these messages wrote last
        self._new_clients: list[Client] = []
        self._new_conversations: list[Conversation] = []
        self._merged: list[Conversation] = []
        self._clients_identified: list[Client] = []  # their contact or name has become known
        self._leads_found: list[Conversation] = []  # their deal has become known
        self._clients_changed: list[Conversation] = []  # they have another client
        self._chats_left: list[Conversation] = []  # their chat goes on in another conversation

    # Reading what is known.

    def load(self, events: Sequence[MessageEvent]) -> None:
        """Read the rows that these messages may belong to."""
        leads = {event.lead_id for event in events if event.lead_id}
        refs = {event.chat_ref for event in events if event.chat_ref}
        contacts = {event.contact_id for event in events if event.contact_id}
        self._chats = of_chats(self._connection, refs)
        by_id = self._load_conversations(leads, set(self._chats.values()), refs)
        if others := contacts - self._client_of_contact.keys():
            self._load_clients(others)
        self._of_chat |= {ref: by_id[id_] for ref, id_ in self._chats.items() if id_ in by_id}

    def _load_conversations(
        self, leads: Collection[int], ids: Collection[int], refs: Collection[str]
    ) -> dict[int, Conversation]:
        rows = _KNOWN_CONVERSATIONS.rows(self._connection, leads=leads, ids=ids, chats=refs)
        found: dict[int, Conversation] = {}
        client_of_id: dict[int, Client] = {}
        for id_, client_id, lead_id, chat_ref, contact_id, name in rows:
            client = client_of_id.get(client_id)
            if client is None:
                client = client_of_id[client_id] = Client(contact_id, name, client_id)
                if contact_id:
                    self._client_of_contact[contact_id] = client
            found[id_] = Conversation(client, lead_id, chat_ref, id_)
            self._remember(found[id_])
        return found

    def _load_clients(self, contacts: Collection[int]) -> None:
        for id_, contact_id, name in _KNOWN_CLIENTS.rows(self._connection, contacts=contacts):
            self._client_of_contact[contact_id] = Client(contact_id, name, id_)

    def _remember(self, conversation: Conversation) -> None:
        if conversation.lead_id:
            self._of_lead[conversation.lead_id] = conversation
        if conversation.chat_ref:
            self._of_chat[conversation.chat_ref] = conversation

    # Placing, in memory.

    def place(self, event: MessageEvent) -> Conversation:
        """The conversation of a message; a later message may merge it into another one."""
        here = self._of_chat.get(event.chat_ref) if event.chat_ref else None
        if event.lead_id is None:
            conversation = here or self._make(event)
        else:
            waiting = here if here and here.lead_id is None else None
            conversation = self._in_lead(event.lead_id, waiting) or self._make(event)
        self._learn_client(conversation, event)
        if event.chat_ref:
            self._move_chat(event.chat_ref, here, conversation)
        return conversation

    def _in_lead(self, lead_id: int, waiting: Conversation | None) -> Conversation | None:
        """The deal's conversation; None if it has none yet.

        waiting: the chat's conversation whose deal was not known; it becomes the deal's, or is merged into that one.
        """
        known = self._of_lead.get(lead_id)
        if waiting is None:
            return known
        if known is None:
            waiting.lead_id = lead_id
            waiting.unblocked = True
            if waiting.id:
                self._leads_found.append(waiting)
            self._of_lead[lead_id] = waiting
            return waiting
        waiting.merged_into = known
        known.unblocked = True
        if waiting.id:
            self._merged.append(waiting)
        else:
            self._new_conversations.remove(waiting)
        return known

    def _make(self, event: MessageEvent) -> Conversation:
        conversation = Conversation(self._client(event), event.lead_id, event.chat_ref)
        self._new_conversations.append(conversation)
        self._remember(conversation)
        return conversation

    def _client(self, event: MessageEvent) -> Client:
        known = self._client_of_contact.get(event.contact_id) if event.contact_id else None
        if known:
            return known
        here = self._of_chat.get(event.chat_ref) if event.chat_ref else None
        if here and event.contact_id is None:
            return here.client  # a chat is one client's, whatever deal it moves to
        client = Client(event.contact_id, event.author_name)
        self._new_clients.append(client)
        if event.contact_id:
            self._client_of_contact[event.contact_id] = client
        return client

    def _learn_client(self, conversation: Conversation, event: MessageEvent) -> None:
        """Take the contact and the name from a message: they may become known later than the conversation."""
        client = conversation.client
        if event.contact_id and client.contact_id != event.contact_id:
            known = self._client_of_contact.get(event.contact_id)
            if known is None and client.contact_id is None:
                client.contact_id = event.contact_id
                self._client_of_contact[event.contact_id] = client
                self._clients_identified.append(client)
            else:
                client = conversation.client = known or self._client(event)
                if conversation.id:
                    self._clients_changed.append(conversation)
        if event.author_name and not client.name:
            client.name = event.author_name
            self._clients_identified.append(client)

    def _move_chat(self, ref: str, left: Conversation | None, conversation: Conversation) -> None:
        if left and left is not conversation and left.chat_ref == ref:
            left.chat_ref = None
            self._chats_left.append(left)
        if conversation.chat_ref != ref:
            conversation.chat_ref = ref
            conversation.has_other_chat = True
        self._of_chat[ref] = self._last_seen[ref] = conversation

    # Writing what is new.

    def write(self, now: datetime) -> None:
        """Write what is new: referenced rows first; merged conversations and found deals before new conversations."""
        self._add_clients()
        for client in self._clients_identified:
            name_client(self._connection, client.id, client.contact_id, client.name)
        for waiting in self._merged:
            self._merge(waiting, waiting.final())
        for conversation in self._leads_found:
            set_conversation(self._connection, conversation.id, amocrm_lead_id=conversation.lead_id)
            tell_lead(self._connection, conversation.id, conversation.lead_id)
            queue.deal_found(self._connection, conversation.id)
        self._add_conversations(now)
        for conversation in self._clients_changed:
            set_conversation(self._connection, conversation.id, client_id=conversation.client.id)
        for conversation in self._chats_left:
            set_conversation(self._connection, conversation.id, chat_ref=conversation.chat_ref)
        seen = {ref: conversation.final().id for ref, conversation in self._last_seen.items()}
        moved = {ref: id_ for ref, id_ in seen.items() if self._chats.get(ref) != id_}
        place_chats(self._connection, moved)

    def _add_clients(self) -> None:
        rows = [{"amocrm_contact_id": client.contact_id, "name": client.name} for client in self._new_clients]
        for client, id_ in zip(self._new_clients, add_clients(self._connection, rows), strict=True):
            client.id = id_

    def _add_conversations(self, now: datetime) -> None:
        new = self._new_conversations
        rows = [
            {"client_id": one.client.id, "amocrm_lead_id": one.lead_id, "chat_ref": one.chat_ref, "last_activity": now}
            for one in new
        ]
        for conversation, id_ in zip(new, add_conversations(self._connection, rows), strict=True):
            conversation.id = id_

    def _merge(self, waiting: Conversation, known: Conversation) -> None:
        if not known.id:  # the deal's conversation is new in this commit: it takes over the waiting row
            known.id = waiting.id
            self._new_conversations.remove(known)
            self._leads_found.append(known)
            self._clients_changed.append(known)
            return
        queue.move_turns(self._connection, waiting.id, known.id)
        tell_lead(self._connection, waiting.id, known.lead_id)
        move_to_conversation(self._connection, waiting.id, known.id)
        remove_conversation(self._connection, waiting.id)
