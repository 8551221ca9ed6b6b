"""Reads a webhook delivery: bytes in, typed events out, each with its raw event. No I/O.

Source: https://www.amocrm.ru/developers/content/crm_platform/webhooks-format and captures of live deliveries.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from otvet.amocrm.form import Unreadable, parse_all, unpacked
from otvet.amocrm.moments import moment
from otvet.amocrm.words import LOST, mostly_lost, words

MEDIA_KINDS = ("contact", "file", "video", "picture", "voice", "audio", "sticker", "location")
MESSAGE_KINDS = ("text", *MEDIA_KINDS)
UNKNOWN_KIND = "unknown"

TEMPLATE_REVIEW = "chat_template_review"

# All other entities that amoCRM posts to the same address; counted and ignored.
KNOWN_ENTITIES = frozenset(
    ("leads", "contacts", "companies", "customers", "task", "talk", "unsorted", "catalogs", TEMPLATE_REVIEW)
)
ABOUT_THE_ACCOUNT = frozenset(("account", "this"))

MESSAGES = ("message", "outgoing_message")
ADD = "add"
EDITS = ("update", "edit", "edited")  # actions with new words under the id of a message

INCOMING, OUTGOING = "incoming", "outgoing"
LEAD_TYPES = ("lead", "leads", "deal", "2")  # entity_type, and element_type where there is no entity_type
CONTACT_TYPES = ("contact", "contacts", "1")
STAFF_AUTHORS = ("internal", "user", "manager", "operator", "employee", "bot", "salesbot")

LARGEST_ID = 2**63 - 1
LONGEST_NAME = 200
LONGEST_QUOTE = 40  # characters of a name from the body in a sentence or a counter
RETRY_WINDOW = timedelta(hours=2)  # amoCRM's last repetition comes 95 minutes after the event

# Names in an entry, never in a list of entries.
_OF_AN_ENTRY = frozenset(("id", "chat_id", "talk_id", "contact_id", "text", "type", "created_at", "entity_id"))


@dataclass(frozen=True, slots=True)
class MessageEvent:
    """One message of a chat.

    key: the idempotency key: amoCRM's own id, or a digest of the content if there is none.
    also_key: a second key under which this message may have been stored, or None.
    lead_id: the deal; None if the event names none. A contact's id is never taken for a deal's.
    chat_ref: the chat; if the event has no chat id, its talk or its contact.
    kind: "text", or the kind of the attachment; the text may then be empty.
    edit: amoCRM calls it the new words of a message that has this id already.
    """

    key: str
    also_key: str | None
    lead_id: int | None
    contact_id: int | None
    chat_id: str | None
    talk_id: str | None
    chat_ref: str | None
    sender: Literal["client", "manager"]
    text: str
    kind: str
    created_at: datetime | None
    author_name: str | None
    raw: Mapping[str, Any]
    edit: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """The content of one webhook call.

    ignored: counts of other events by entity and action, such as {"leads.update": 1}.
    problems: why parts of the body, or all of it, could not be read; empty if all could.
    account_id, subdomain: the account that the body names, or None.
    changed_leads, changed_contacts: the ids of the cards that have changed.
    """

    messages: tuple[MessageEvent, ...] = ()
    ignored: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    account_id: int | None = None
    subdomain: str | None = None
    changed_leads: frozenset[int] = frozenset()
    changed_contacts: frozenset[int] = frozenset()


def read_delivery(body: bytes, now: datetime) -> Delivery:
    """Read a webhook's body; never raises, because amoCRM disables a hook that answers with errors."""
    try:
        data, twice = parse_all(body)
    except Unreadable as error:
        return Delivery(problems=(str(error),))
    if not data:
        return Delivery(problems=("the body is empty",))
    messages: list[MessageEvent] = []
    ignored: Counter[str] = Counter()
    problems: list[str] = []
    seen: Counter[str] = Counter()
    changed: dict[str, set[int]] = {"leads": set(), "contacts": set()}
    for entity, action, entry in _entries(data):
        if entity in changed and isinstance(entry, dict) and (id_ := _id(entry.get("id"))):
            changed[entity].add(id_)
        if entity not in MESSAGES or (action != ADD and action not in EDITS):
            if entity in KNOWN_ENTITIES and action:
                ignored[f"{entity}.{action[:LONGEST_QUOTE]}"] += 1
            else:
                problems.append(f"{entity[:LONGEST_QUOTE]}[{action[:LONGEST_QUOTE]}] is not known")
        elif isinstance(entry, str):
            problems.append(f"{entity}[{action}] holds no message")
        else:
            event = _message(entry, entity, action, now, seen)
            if isinstance(event, str):
                problems.append(event)
            elif LOST not in event.text:
                messages.append(event)
            else:
                problems.append("words with characters that could not be read")
                messages += [] if mostly_lost(event.text) else [event]
    if twice and any(name in data for name in (*MESSAGES, ADD)):
        problems.append(_came_twice(twice))
    if not (messages or ignored or problems or data.keys() <= ABOUT_THE_ACCOUNT):
        problems.append("nothing in it is known")
    account = _object(data, "account")
    return Delivery(
        tuple(messages),
        ignored,
        tuple(dict.fromkeys(problems)),
        account_id=_id(account.get("id")),
        subdomain=_text(account, "subdomain") or None,
        changed_leads=frozenset(changed["leads"]),
        changed_contacts=frozenset(changed["contacts"]),
    )


def _came_twice(names: Sequence[str]) -> str:
    told = ", ".join(name[:LONGEST_QUOTE] for name in list(dict.fromkeys(names))[:5])
    return f"two values of one field, of which the last counts: {told}"


def _entries(data: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any] | str]]:
    """(entity, action, entry) with any names of the indices; a value that is no object comes as a string."""
    for entity, actions in data.items():
        if entity in ABOUT_THE_ACCOUNT:
            continue
        if entity in MESSAGES:
            for action, entry in _messages(unpacked(actions)):
                yield entity, action, entry
        elif entity == ADD:
            for entry in _listed(actions):
                yield _unwrapped(entry), ADD, entry
        elif isinstance(actions, dict):
            for action, entries in actions.items():
                for entry in _listed(entries):
                    yield entity, action, entry
        else:
            yield entity, "", str(actions)


def _messages(actions: Any) -> Iterator[tuple[str, Mapping[str, Any] | str]]:
    """(action, entry): entries under an action, a list of them without one, or a single message."""
    if not isinstance(actions, dict):
        yield "", str(actions)
        return
    plain: dict[str, Any] = {}
    for name, value in actions.items():
        if name == ADD or name in EDITS or (isinstance(value, dict) and name.isdigit()):
            listed = unpacked(value)
            if isinstance(listed, dict) and all(isinstance(entry, str) for entry in listed.values()):
                listed = {index: unpacked(entry) for index, entry in listed.items()} if _is_list(listed) else listed
            for entry in _listed(listed):
                yield ADD if name.isdigit() else name, entry
        else:
            plain[name] = value
    if plain and any(isinstance(plain.get(name), str) for name in _OF_AN_ENTRY):
        yield ADD, plain
    else:
        for name, value in plain.items():
            yield name, str(value)


def _unwrapped(entry: Mapping[str, Any] | str) -> str:
    """The entity of an entry that came without one; a template-review entry looks alike but names no chat."""
    if isinstance(entry, str):
        return ""
    if entry.get("chat_id") or entry.get("talk_id"):
        return "message"
    return TEMPLATE_REVIEW if entry.get("type") == "waba" else ""


def _listed(entries: Any) -> Iterator[Mapping[str, Any] | str]:
    """The entries of an action; in place of a list there may be a single entry."""
    if not isinstance(entries, dict):
        yield str(entries)
    elif not entries:
        return
    elif _is_list(entries) and any(isinstance(value, dict) for value in entries.values()):
        yield from (value if isinstance(value, dict) else str(value) for value in entries.values())
    else:
        yield entries


def _is_list(entries: Mapping[str, Any]) -> bool:
    """Whether the names are indices, and not those of an entry's fields."""
    return _OF_AN_ENTRY.isdisjoint(entries)


def _message(
    entry: Mapping[str, Any], entity: str, action: str, now: datetime, seen: Counter[str]
) -> MessageEvent | str:
    """The typed event, or the reason why it is none."""
    direction = _direction(entry, entity)
    if direction is None:
        return f"message of an unknown type: {_text(entry, 'type')[:LONGEST_QUOTE]}"
    author = _object(entry, "author")
    contact_id = _contact(entry)
    chat_id = _name(entry, "chat_id") or None
    talk_id = _name(entry, "talk_id") or None
    lead_id = _lead(entry, contact_id)
    chat_ref = chat_id or (f"talk:{talk_id}" if talk_id else f"contact:{contact_id}" if contact_id else None)
    if lead_id is None and chat_ref is None:
        return "a message that names neither a deal nor a chat"
    kind, text = content(entry)
    edit = action != ADD
    if kind == UNKNOWN_KIND and (edit or "text" not in entry):
        return f"{entity}[{action}] has no words"
    created_at = moment(entry.get("created_at"), now)
    key, also_key = _keys(entry, (lead_id, chat_ref, direction, kind, text), created_at, now, seen)
    theirs = direction == INCOMING and _named(author, "type") not in STAFF_AUTHORS
    return MessageEvent(
        key=key,
        also_key=also_key,
        lead_id=lead_id,
        contact_id=contact_id,
        chat_id=chat_id,
        talk_id=talk_id,
        chat_ref=chat_ref,
        sender="client" if theirs else "manager",
        text=text,
        kind=kind,
        created_at=created_at,
        author_name=(_text(author, "name") or None) if theirs else None,
        raw=entry,
        edit=edit,
    )


def _direction(entry: Mapping[str, Any], entity: str) -> str | None:
    if entity == "outgoing_message":
        return OUTGOING
    named = _named(entry, "type")
    if named in (INCOMING, OUTGOING):
        return named
    if named:
        return None
    return OUTGOING if _named(_object(entry, "author"), "type") in STAFF_AUTHORS else INCOMING


def _entity(entry: Mapping[str, Any]) -> tuple[str, int | None]:
    """(type, id) of the entity that an entry names; an empty type is any entity's."""
    kind = _named(entry, "entity_type") or _named(entry, "element_type")
    return kind, _id(entry.get("entity_id")) or _id(entry.get("element_id"))


def _contact(entry: Mapping[str, Any]) -> int | None:
    if (contact_id := _id(entry.get("contact_id"))) is not None:
        return contact_id
    kind, id_ = _entity(entry)
    return id_ if kind in CONTACT_TYPES else None


def _lead(entry: Mapping[str, Any], contact_id: int | None) -> int | None:
    kind, id_ = _entity(entry)
    if id_ is not None and (kind in LEAD_TYPES or (not kind and id_ != contact_id)):
        return id_
    return _id(entry.get("lead_id"))


def content(entry: Mapping[str, Any]) -> tuple[str, str]:
    """(kind, text) of a message's raw event."""
    attachment = _object(entry, "attachment")
    named = (_text(entry, "message_type"), _text(attachment, "type"))
    media = next((kind for kind in named if kind in MEDIA_KINDS), "file" if attachment else "")
    text = words(_text(entry, "text"))
    return (media or "text", text) if text else (media or UNKNOWN_KIND, "")


def _keys(
    entry: Mapping[str, Any], content: tuple[Any, ...], created_at: datetime | None, now: datetime, seen: Counter[str]
) -> tuple[str, str | None]:
    """(key, also_key) of a message: its own id if it has one.

    Else a digest of its content and time, with a count for equal messages in one body. Without a time, only amoCRM's
    retry window tells a repeated delivery from a client's repeated words: the second key is that of the window before.
    """
    if id_ := _name(entry, "id"):
        return id_, None
    when: tuple[Any, ...] = (created_at,) if created_at else ("window", _window(now))
    digest = _digest(*content, *when)
    seen[digest] += 1
    if created_at:
        return f"{digest}.{seen[digest]}", None
    before = _digest(*content, "window", _window(now) - 1)
    return f"{digest}.{seen[digest]}", f"{before}.{seen[digest]}"


def _window(now: datetime) -> int:
    return int(now.timestamp() // RETRY_WINDOW.total_seconds())


def _digest(*parts: Any) -> str:
    return "otvet:" + hashlib.blake2s(repr(parts).encode(), digest_size=16).hexdigest()


def _id(value: Any) -> int | None:
    text = str(value).strip() if value is not None else ""
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        return None
    return number if 0 < (number := int(text)) <= LARGEST_ID else None


def _text(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name, "")
    return value if isinstance(value, str) else ""


def _named(entry: Mapping[str, Any], name: str) -> str:
    """A name of amoCRM's, in small letters."""
    return _text(entry, name).strip().lower()


def _name(entry: Mapping[str, Any], name: str) -> str:
    """An id as text; its digest if it is too long for an index."""
    value = _text(entry, name)
    return value if len(value) <= LONGEST_NAME else _digest(value)


def _object(entry: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = unpacked(entry.get(name))
    return value if isinstance(value, dict) else {}
