"""Clients, conversations and messages: the tables that users know, and what is read of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from otvet.errors import UsageError
from otvet.i18n import _
from otvet.storage.engines import Id, Json, UtcDateTime, insert, metadata
from otvet.storage.prepared import Prepared, among

clients = sa.Table(
    "clients",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("amocrm_contact_id", sa.BigInteger, unique=True),
    sa.Column("name", sa.Text),
    sa.Column("phone", sa.Text),
    sa.Column("email", sa.Text),
    sa.Column("card", Json),  # what else of the contact's card is told; see amocrm.cards.contact
    sa.Column("card_read_at", UtcDateTime),
    sa.Column("card_due_at", UtcDateTime),  # see ``deal_due_at``
    sa.Column("first_version", Json),  # the row as it stood in a file of the first version
)

conversations = sa.Table(
    "conversations",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("client_id", Id, sa.ForeignKey("clients.id"), nullable=False, index=True),
    sa.Column("amocrm_lead_id", sa.BigInteger),  # none: the deal is not known yet
    sa.Column("chat_ref", sa.Text),  # the chat that last wrote here; see events.MessageEvent.chat_ref
    sa.Column("status", sa.Text, nullable=False, server_default="active"),
    sa.Column("last_activity", UtcDateTime, nullable=False),
    sa.Column("paused_until", UtcDateTime),  # until then staff answer in the whole deal; ``chats`` has each chat's own
    sa.Column("paused_by", sa.Text),  # BY_MANAGER, BY_CLIENT or BY_HAND
    sa.Column("mode", sa.Text),  # AUTO, DRAFT or OFF; none: as set for all
    sa.Column("summary", sa.Text),  # of what was said in the deal up to ...
    sa.Column("summarised_until", UtcDateTime),  # ... this moment, by amoCRM's clock
    sa.Column("deal", Json),  # what amoCRM's card of it says; see amocrm.cards.deal
    sa.Column("deal_read_at", UtcDateTime),
    sa.Column("deal_due_at", UtcDateTime),  # read it again then; whoever reads it moves this, and keeps only its own
    sa.Column("searches", sa.Integer, nullable=False, server_default="0"),  # how often the deal was searched in vain
    sa.Column("search_at", UtcDateTime),  # search for it again then
    sa.Column("first_version", Json),  # the row as it stood in a file of the first version
    sa.CheckConstraint("status IN ('active', 'completed')", name="status"),
    sa.Index(
        "uq_conversations_active_lead",
        "amocrm_lead_id",
        unique=True,
        sqlite_where=sa.text("status = 'active'"),
        postgresql_where=sa.text("status = 'active'"),
    ),
    sa.Index(
        "uq_conversations_waiting_chat",
        "chat_ref",
        unique=True,
        sqlite_where=sa.text("amocrm_lead_id IS NULL AND status = 'active'"),
        postgresql_where=sa.text("amocrm_lead_id IS NULL AND status = 'active'"),
    ),
    sa.Index(None, "amocrm_lead_id"),
    sa.Index(None, "chat_ref"),
    sa.Index(None, "last_activity", "id"),
)

chats = sa.Table(
    "chats",
    metadata,
    sa.Column("chat_ref", sa.Text, primary_key=True),  # see events.MessageEvent.chat_ref
    # Where the chat was last seen. A conversation may have several, and ``conversations.chat_ref`` is the last of them.
    sa.Column("conversation_id", Id, sa.ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("paused_until", UtcDateTime),  # until then staff answer in this chat, in whatever deal it goes on
    sa.Column("paused_by", sa.Text),  # BY_MANAGER or BY_CLIENT
)

messages = sa.Table(
    "messages",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("conversation_id", Id, sa.ForeignKey("conversations.id"), nullable=False),
    sa.Column("sender_type", sa.Text, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("message_type", sa.Text, nullable=False, server_default="text"),
    sa.Column("metadata", Json, nullable=False),
    sa.Column("timestamp", UtcDateTime, nullable=False),
    sa.Column("amocrm_message_id", sa.Text, unique=True),  # or a key of our own; see events.MessageEvent.key
    sa.Column("amocrm_contact_id", sa.BigInteger),
    sa.Column("amocrm_chat_id", sa.Text),
    sa.Column("amocrm_talk_id", sa.Text),
    sa.Column("chat_ref", sa.Text),  # the chat in which it was said, as far as it is known; see ``chats``
    sa.Column("turn_id", Id, sa.ForeignKey("turns.id"), index=True),  # the turn that answers it, or that wrote it
    sa.Column("first_version", Json),  # the row as it stood in a file of the first version
    sa.CheckConstraint("sender_type IN ('client', 'assistant', 'manager')", name="sender_type"),
    sa.Index(None, "conversation_id", "timestamp", "id"),
)


ERASED = "erased"  # the ``message_type`` of what was erased: it is not told to anybody

BY_MANAGER = "manager"  # a manager wrote
BY_CLIENT = "client"  # the client asked for a person
BY_HAND = "hand"
FOR_GOOD = datetime(9999, 1, 1, tzinfo=UTC)


AUTO, DRAFT, OFF = "auto", "draft", "off"
MODES = (AUTO, DRAFT, OFF)

MOST_PAUSE_MINUTES = 525_600.0  # a year; what is longer is for good


def pause_end(now: datetime, minutes: float | None) -> datetime:
    """When a pause by hand that begins now ends: without ``minutes`` when somebody resumes. Raises UsageError."""
    if minutes is None:
        return FOR_GOOD
    if not 0 < minutes <= MOST_PAUSE_MINUTES:  # false for "not a number" too
        raise UsageError(
            _("a pause has more than 0 and at most {most} minutes; leave them out for one without an end").format(
                most=int(MOST_PAUSE_MINUTES)
            ),
            exit_code=2,
        )
    return now + timedelta(minutes=minutes)


_CHATS = Prepared(sa.select(chats.c.chat_ref, chats.c.conversation_id).where(among(chats.c.chat_ref, "refs")))


def of_chats(connection: Connection, refs: Collection[str]) -> dict[str, int]:
    """The conversation that each of these chats was last seen in, as far as it is known."""
    return dict(map(tuple, _CHATS.rows(connection, refs=refs))) if refs else {}


def place_chats(connection: Connection, conversation_of: Mapping[str, int]) -> None:
    """From now on these chats go on in these conversations."""
    if conversation_of:
        # In one order in all processes, so that two of them do not wait for each other.
        rows = [{"chat_ref": ref, "conversation_id": id_} for ref, id_ in sorted(conversation_of.items())]
        connection.execute(_placing(connection.dialect.name), rows)


@cache  # once for each dialect: building it anew costs more than running it
def _placing(dialect: str) -> Any:
    statement = insert(dialect, chats)
    moved = {"conversation_id": statement.excluded.conversation_id}
    return statement.on_conflict_do_update(index_elements=["chat_ref"], set_=moved)


def of_lead(lead_id: int) -> sa.ColumnElement[bool]:
    """All that was said in a deal, also in conversations of it that are completed."""
    return messages.c.conversation_id.in_(
        sa.select(conversations.c.id).where(conversations.c.amocrm_lead_id == lead_id)
    )


def pause_for_manager(
    connection: Connection, conversation_id: int, chat_ref: str, until: datetime, now: datetime
) -> None:
    """A manager wrote in a chat; empty chat_ref: nobody can tell in which, so it holds for the whole deal.

    What was paused by hand stays so; a client who asked for a person has one now.
    """
    table = chats if chat_ref else conversations
    here = chats.c.chat_ref == chat_ref if chat_ref else conversations.c.id == conversation_id
    by_hand = sa.and_(table.c.paused_by == BY_HAND, table.c.paused_until > now)
    shorter = sa.or_(table.c.paused_until.is_(None), table.c.paused_until < until)
    connection.execute(
        table.update()
        .where(
            here,
            sa.or_(table.c.paused_by.is_(None), ~by_hand),
            sa.or_(table.c.paused_by == BY_CLIENT, shorter),
        )
        .values(paused_until=until, paused_by=BY_MANAGER)
    )


def pause_for_client(connection: Connection, conversation_id: int, chat_ref: str) -> None:
    """The client asked for a person: until one writes in the chat, or somebody resumes, nothing is answered there."""
    paused = {"paused_until": FOR_GOOD, "paused_by": BY_CLIENT}
    here = chats.update().where(chats.c.chat_ref == chat_ref)
    if not (chat_ref and connection.execute(here.values(**paused)).rowcount):
        connection.execute(conversations.update().where(conversations.c.id == conversation_id).values(**paused))


def set_pause(connection: Connection, lead_id: int, until: datetime | None) -> bool:
    """Pause a deal by hand, or resume it with all its chats (None); False when no conversation of it is known."""
    here = sa.and_(conversations.c.amocrm_lead_id == lead_id, conversations.c.status == "active")
    paused = {"paused_until": until, "paused_by": BY_HAND if until else None}
    if until is None:
        in_deal = chats.c.conversation_id.in_(sa.select(conversations.c.id).where(here))
        connection.execute(chats.update().where(in_deal).values(**paused))
    return connection.execute(conversations.update().where(here).values(**paused)).rowcount > 0


def paused_until(connection: Connection, conversation_ids: Collection[int]) -> dict[int, tuple[datetime, str]]:
    """The latest pause in each of these deals, of the whole deal or of a chat: {conversation: (until, by)}."""
    found: dict[int, tuple[datetime, str]] = {}
    for table, key in ((conversations, conversations.c.id), (chats, chats.c.conversation_id)):
        query = sa.select(key, table.c.paused_until, table.c.paused_by)
        for id_, until, by in connection.execute(
            query.where(key.in_(conversation_ids), table.c.paused_until.is_not(None))
        ):
            found[id_] = max(found.get(id_, (until, by)), (until, by))
    return found


def set_mode(connection: Connection, lead_id: int, mode: str | None) -> bool:
    """How the assistant works in a deal; None: as set for all. False when there is no conversation."""
    here = (conversations.c.amocrm_lead_id == lead_id, conversations.c.status == "active")
    return connection.execute(conversations.update().where(*here).values(mode=mode)).rowcount > 0


@dataclass(frozen=True, slots=True)
class Asked:
    """How and by whom a turn was asked last.

    origin: the channel, as amoCRM calls it. Empty texts and a missing contact: amoCRM did not tell.
    shared: several contacts write in the deal.
    """

    talk_id: str = ""
    origin: str = ""
    contact_id: int | None = None
    shared: bool = False


_ASKED_LAST = (
    sa.select(messages.c.amocrm_talk_id, messages.c.amocrm_contact_id, messages.c.metadata)
    .where(messages.c.turn_id == sa.bindparam("turn"), messages.c.sender_type == "client")
    .order_by(messages.c.timestamp.desc(), messages.c.id.desc())
    .limit(1)
)


def asked(connection: Connection, turn_id: int, lead_id: int) -> Asked:
    """How and by whom the turn was asked last."""
    row = connection.execute(_ASKED_LAST, {"turn": turn_id}).one_or_none()
    if row is None:
        return Asked()
    shared = len(people(connection, lead_id)) > 1
    return Asked(row.amocrm_talk_id or "", origin_of(row.metadata), row.amocrm_contact_id, shared)


def origin_of(about: Mapping[str, Any] | None) -> str:
    """The channel of a message, as amoCRM calls it, by its ``metadata``; empty when it is not known."""
    raw = (about or {}).get("raw")
    origin = raw.get("origin") if isinstance(raw, dict) else None
    return origin if isinstance(origin, str) else ""


def chats_named(connection: Connection, conversation_id: int, talk_id: str | None, contact_id: int | None) -> set[str]:
    """The chats of a conversation in which messages of this talk were said, or else of this contact."""
    for column, value in ((messages.c.amocrm_talk_id, talk_id), (messages.c.amocrm_contact_id, contact_id)):
        if value is None:
            continue
        here = (messages.c.conversation_id == conversation_id, column == value, messages.c.amocrm_chat_id.is_not(None))
        if found := set(connection.scalars(sa.select(messages.c.amocrm_chat_id).where(*here).distinct())):
            return found
    return set()


def touch(connection: Connection, conversation_id: int, now: datetime) -> None:
    """Something was said in the conversation now."""
    connection.execute(_TOUCH, {"conversation": conversation_id, "at": now})


def keep_summary(
    connection: Connection, conversation_id: int, summary: str, until: datetime, until_before: datetime | None
) -> bool:
    """Store the summary of what was said until a moment, unless another one was stored since ``until_before``."""
    before = conversations.c.summarised_until
    unchanged = before.is_(None) if until_before is None else before == until_before
    changed = connection.execute(
        conversations.update()
        .where(conversations.c.id == conversation_id, unchanged)
        .values(summary=summary, summarised_until=until)
    )
    return changed.rowcount == 1


_TOUCH = (
    conversations.update()
    .where(conversations.c.id == sa.bindparam("conversation"))
    .values(last_activity=sa.bindparam("at"))
)
_ADD_MESSAGE = messages.insert()
_REPLY = sa.and_(messages.c.turn_id == sa.bindparam("turn"), messages.c.sender_type == "assistant")
_HAS_REPLY = sa.select(messages.c.id).where(_REPLY).limit(1)
_SET_REPLY = messages.update().where(_REPLY).values(content=sa.bindparam("text"))
_REMOVE_REPLY = messages.delete().where(_REPLY)
_MOVE_MESSAGES = (
    messages.update().where(messages.c.turn_id == sa.bindparam("source")).values(turn_id=sa.bindparam("target"))
)


def add_reply(
    connection: Connection,
    conversation_id: int,
    chat_ref: str,
    turn_id: int,
    text: str,
    about: Mapping[str, Any],
    now: datetime,
) -> None:
    """Store the reply of a turn as a message. about: its ``metadata``."""
    message = {
        "conversation_id": conversation_id,
        "sender_type": "assistant",
        "content": text,
        "message_type": "text",
        "metadata": about,
        "timestamp": now,
        "chat_ref": chat_ref or None,
        "turn_id": turn_id,
    }
    connection.execute(_ADD_MESSAGE, message)


def has_reply(connection: Connection, turn_id: int) -> bool:
    """Whether a turn's reply was stored as a message: it counts as said."""
    return connection.execute(_HAS_REPLY, {"turn": turn_id}).first() is not None


def set_reply_text(connection: Connection, turn_id: int, text: str) -> None:
    """No more of a turn's reply was said than this."""
    connection.execute(_SET_REPLY, {"turn": turn_id, "text": text})


def remove_reply(connection: Connection, turn_id: int) -> None:
    """A turn's reply was never said."""
    connection.execute(_REMOVE_REPLY, {"turn": turn_id})


def know_message(
    connection: Connection,
    message_id: int,
    key: str,
    contact_id: int | None,
    chat_id: str | None,
    talk_id: str | None,
    chat_ref: str | None,
    raw: Mapping[str, Any],
) -> None:
    """What amoCRM's webhook tells of a message that was stored without its ids."""
    here = messages.c.id == message_id
    about = connection.execute(sa.select(messages.c.metadata).where(here)).scalar_one()
    values = {
        "amocrm_message_id": key,
        "amocrm_contact_id": contact_id,
        "amocrm_chat_id": chat_id,
        "amocrm_talk_id": talk_id,
        "chat_ref": chat_ref,
        "metadata": {**about, "raw": raw},
    }
    connection.execute(messages.update().where(here).values(values))


def known_messages(connection: Connection, keys: Collection[str]) -> set[str]:
    """Which of these keys of amoCRM's messages are stored."""
    return set(
        connection.scalars(sa.select(messages.c.amocrm_message_id).where(messages.c.amocrm_message_id.in_(keys)))
    )


def move_messages(connection: Connection, from_turn: int, to_turn: int) -> None:
    """What was said in one turn belongs to another one."""
    connection.execute(_MOVE_MESSAGES, {"source": from_turn, "target": to_turn})


# By name, because turns.py knows this module. A kept reply counts as said: without an account nothing else could be.
_turns = sa.table("turns", sa.column("id"), sa.column("state"))
NEVER_SAID = sa.or_(
    messages.c.message_type == ERASED,
    sa.and_(
        messages.c.sender_type == "assistant",
        sa.exists().where(_turns.c.id == messages.c.turn_id, _turns.c.state.in_(("failed", "cancelled"))),
    ),
)
_ASKED_ELSEWHERE = sa.and_(
    messages.c.turn_id != sa.bindparam("turn"),
    ~sa.exists().where(_turns.c.id == messages.c.turn_id, _turns.c.state.in_(("waiting", "answering"))),
)
_IN_THE_DEAL = messages.c.conversation_id.in_(
    sa.select(conversations.c.id).where(conversations.c.amocrm_lead_id == sa.bindparam("lead"))
)
_WRITERS = (
    sa.select(messages.c.amocrm_contact_id, messages.c.amocrm_chat_id)
    .where(_IN_THE_DEAL, messages.c.sender_type == "client")
    .distinct()
)

Ids = frozenset[int | str]
"""By what messages are told to be of one person: amoCRM's contacts, numbers, and the chats."""


def ids_of(row: Any) -> Ids:
    """What a message says of whose it is."""
    return frozenset(filter(None, (row.amocrm_contact_id, row.amocrm_chat_id)))


def people(connection: Connection, lead_id: int) -> list[Ids]:
    """Who has written in a deal, as far as amoCRM named the contact.

    A chat is one person's, also after its contact was merged into another.
    """
    found: list[Ids] = []
    for row in connection.execute(_WRITERS, {"lead": lead_id}):
        ids = ids_of(row)
        same = [one for one in found if one & ids]
        found = [one for one in found if not one & ids] + [ids.union(*same)]
    return [one for one in found if any(isinstance(id_, int) for id_ in one)]


_asked = messages.alias("asked")
_ASKED_THERE = (_asked.c.turn_id == messages.c.turn_id, _asked.c.sender_type == "client")


def _of_person(table: Any) -> sa.ColumnElement[bool]:
    return sa.or_(
        table.c.amocrm_contact_id.is_(None),
        table.c.amocrm_contact_id.in_(sa.bindparam("contacts", expanding=True)),
        table.c.amocrm_chat_id.in_(sa.bindparam("chats", expanding=True)),
    )


# A reply names no contact: it was told to those whose words it answers.
_WITH_PERSON = sa.case(
    (
        messages.c.sender_type == "assistant",
        sa.or_(~sa.exists().where(*_ASKED_THERE), sa.exists().where(*_ASKED_THERE, _of_person(_asked))),
    ),
    else_=_of_person(messages),
)


def _person(ids: Ids) -> dict[str, Any]:
    return {
        "contacts": [id_ for id_ in ids if isinstance(id_, int)],
        "chats": [id_ for id_ in ids if isinstance(id_, str)],
    }


_HISTORY = (
    sa.select(messages)
    .where(
        _IN_THE_DEAL,
        sa.or_(
            messages.c.turn_id.is_(None),
            messages.c.sender_type != "client",
            _ASKED_ELSEWHERE,
        ),
        ~NEVER_SAID,
        messages.c.timestamp > sa.bindparam("since", type_=UtcDateTime),
        messages.c.timestamp < sa.bindparam("until", type_=UtcDateTime),
    )
    .order_by(messages.c.timestamp.desc(), messages.c.id.desc())
    .limit(sa.bindparam("most"))
)
_HISTORY_WITH_PERSON = _HISTORY.where(_WITH_PERSON)
_EVER = datetime(1, 1, 2, tzinfo=UTC)


def history(
    connection: Connection,
    lead_id: int,
    turn_id: int,
    limit: int,
    since: datetime | None = None,
    until: datetime | None = None,
    person: Ids = frozenset(),
) -> Sequence[Row[Any]]:
    """The newest ``limit`` messages of a deal besides what the client said in a turn, oldest first.

    Without replies that did not reach the deal: nobody was told them. Nor with what is asked in another turn that waits
    or is being answered: it gets a reply of its own. since, until: only what was said after the one and before the
    other. person: only what was said with them.
    """
    values = {"lead": lead_id, "turn": turn_id, "most": limit, "since": since or _EVER, "until": until or FOR_GOOD}
    statement = _HISTORY_WITH_PERSON if person else _HISTORY
    return connection.execute(statement, values | _person(person) if person else values).all()[::-1]


@dataclass(frozen=True, slots=True)
class Asker:
    """The one client who asks in a turn. contact_id: NOBODY where amoCRM names none; then the chats tell who it is."""

    client_id: int
    contact_id: int
    chats: Sequence[str]


NOBODY = 0
_WHO_ASKED = (
    sa.select(messages.c.amocrm_contact_id.label("contact"), messages.c.amocrm_chat_id.label("chat"))
    .where(messages.c.turn_id == sa.bindparam("turn"), messages.c.sender_type == "client")
    .distinct()
)
_OF_CONTACT = sa.select(clients.c.id).where(clients.c.amocrm_contact_id == sa.bindparam("contact"))
_WITHOUT_CONTACT = sa.select(clients.c.id).where(
    clients.c.id == sa.bindparam("client"), clients.c.amocrm_contact_id.is_(None)
)


def asker(connection: Connection, turn_id: int, client_id: int) -> Asker | None:
    """The client who asks in a turn. None: several clients do, or it is not certain who.

    client_id: the conversation's own, for a question that names no contact.

    A conversation's own client does not tell: it is whoever wrote last in the deal.
    """
    said = connection.execute(_WHO_ASKED, {"turn": turn_id}).all()
    contacts: set[int] = {row.contact for row in said if row.contact}
    chats: set[str] = {row.chat for row in said if row.chat and (row.contact or not contacts)}
    if len(contacts or chats) > 1 or any(row.contact is None and row.chat not in chats for row in said):
        return None
    contact = next(iter(contacts), NOBODY)
    who = {"contact": contact} if contact else {"client": client_id}
    found = connection.scalar(_OF_CONTACT if contact else _WITHOUT_CONTACT, who)
    return Asker(found, contact, sorted(chats)) if found is not None else None


def _is_of(said: Any) -> sa.ColumnElement[bool]:
    """Whether a message names the asker."""
    of_contact = said.c.amocrm_contact_id == sa.bindparam("contact", type_=sa.BigInteger)
    in_chat = said.c.amocrm_chat_id.in_(sa.bindparam("chats", expanding=True))
    return sa.func.coalesce(sa.or_(of_contact, in_chat), sa.false())


def _names_nobody(said: Any) -> sa.ColumnElement[bool]:
    return sa.and_(said.c.amocrm_contact_id.is_(None), said.c.amocrm_chat_id.is_(None))


_other = conversations.alias("other")
_there = messages.alias("there")
_somebody_else = sa.exists().where(_there.c.conversation_id == _other.c.id, ~_names_nobody(_there), ~_is_of(_there))
_OTHER_DEALS = (
    sa.select(_other.c.id, _other.c.summary, _somebody_else.label("shared"))
    .where(
        _other.c.client_id == sa.bindparam("client"),
        _other.c.id != sa.bindparam("conversation"),
        sa.or_(_other.c.amocrm_lead_id.is_(None), _other.c.amocrm_lead_id != sa.bindparam("lead")),
    )
    .order_by(_other.c.last_activity.desc(), _other.c.id.desc())
)
_own = messages.alias("own")
_deals: Any = sa.bindparam("deals", expanding=True)
_ASKED_IN_THEM = sa.select(_asked.c.turn_id).where(
    _asked.c.conversation_id.in_(_deals), _asked.c.sender_type == "client"
)
_ASKED_BY_NOBODY_ELSE = _ASKED_IN_THEM.group_by(_asked.c.turn_id).having(
    sa.func.sum(sa.case((_is_of(_asked), 0), else_=1)) == 0
)
_IN_THEIR_CHAT = _ASKED_IN_THEM.where(_asked.c.amocrm_chat_id.in_(sa.bindparam("chats", expanding=True)))
_ELSEWHERE = (
    sa.select(messages)
    .where(
        messages.c.conversation_id.in_(_deals),
        sa.or_(
            _is_of(messages),
            sa.and_(messages.c.sender_type == "assistant", messages.c.turn_id.in_(_ASKED_BY_NOBODY_ELSE)),
            # Of a first version, or told by a bot: whose it is follows from the rest of the conversation.
            sa.and_(_names_nobody(messages), messages.c.conversation_id.in_(sa.bindparam("alone", expanding=True))),
        ),
        ~NEVER_SAID,
        messages.c.timestamp < sa.bindparam("until", type_=UtcDateTime),
        sa.or_(
            # What was said here first does not stand behind what another channel is about at the same time.
            messages.c.timestamp
            < sa.select(sa.func.min(_own.c.timestamp))
            .where(_own.c.conversation_id == sa.bindparam("conversation"))
            .scalar_subquery(),
            messages.c.amocrm_chat_id.in_(sa.bindparam("chats", expanding=True)),
            messages.c.turn_id.in_(_IN_THEIR_CHAT),
        ),
    )
    .order_by(messages.c.timestamp.desc(), messages.c.id.desc())
    .limit(sa.bindparam("most"))
)


def elsewhere(
    connection: Connection,
    conversation_id: int,
    lead_id: int,
    who: Asker,
    limit: int,
    until: datetime | None = None,
) -> tuple[Sequence[Row[Any]], str]:
    """What was said with the asker in other deals: (its newest ``limit`` messages, oldest first; a summary).

    conversation_id, lead_id: where the question was asked. The messages are from before this deal, or of the same chat,
    and nobody else's words, also where both wrote in one deal; of a deal in which somebody else wrote last, nothing.
    The summary is of the deal that was written in last, of those in which nobody else wrote: it does not tell whose
    words it is made of.
    """
    deals = _other_deals(connection, conversation_id, lead_id, who)
    if not deals:
        return (), ""
    values = {
        "contact": who.contact_id,
        "chats": who.chats,
        "deals": [deal.id for deal in deals],
        "alone": [deal.id for deal in deals if who.contact_id and not deal.shared],
        "conversation": conversation_id,
        "until": until or FOR_GOOD,
        "most": limit,
    }
    rows: Sequence[Any] = connection.execute(_ELSEWHERE, values).all()
    summaries = (deal.summary for deal in deals if who.contact_id and deal.summary and not deal.shared)
    return rows[::-1], next(summaries, "")


def _other_deals(connection: Connection, conversation_id: int, lead_id: int, who: Asker) -> Sequence[Row[Any]]:
    """Those in which the asker wrote last."""
    values = {
        "client": who.client_id,
        "contact": who.contact_id,
        "chats": who.chats,
        "conversation": conversation_id,
        "lead": lead_id,
    }
    rows: Sequence[Any] = connection.execute(_OTHER_DEALS, values).all()
    return rows
