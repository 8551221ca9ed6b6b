"""Repetitions and edits: which messages of a delivery are stored already, and which of those have new words.

An id is that of one message within one chat. A message that comes again with other words was edited: the new words
replace the old ones, which stay in ``metadata``, and a question that has no reply yet is asked anew with them.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection, Row

from otvet.amocrm.events import MessageEvent, content
from otvet.amocrm.moments import moment
from otvet.amocrm.words import plain
from otvet.conversations.messages import reword
from otvet.conversations.tables import ERASED, conversations, messages
from otvet.search import index
from otvet.storage.prepared import Prepared, among
from otvet.turns import queue

log = structlog.get_logger(__name__)

EARLIER = "earlier_words"  # in ``metadata``: the words before each edit, oldest first
EDITED = "edited"  # in ``metadata``: amoCRM itself called the present words an edit

_HERE = among(messages.c.amocrm_message_id, "keys")
_KNOWN_KEYS = Prepared(sa.select(messages.c.amocrm_message_id).where(_HERE))
_STORED = (
    sa.select(
        messages.c.id,
        messages.c.amocrm_message_id,
        messages.c.chat_ref,
        messages.c.amocrm_chat_id.label("chat_id"),
        messages.c.amocrm_talk_id.label("talk_id"),
        messages.c.amocrm_contact_id.label("contact_id"),
        conversations.c.amocrm_lead_id.label("lead_id"),
        messages.c.sender_type,
        messages.c.content,
        messages.c.message_type,
        messages.c.metadata,
        messages.c.turn_id,
    )
    .join(conversations)
    .where(_HERE)
    .order_by(messages.c.id)
)


class Known:
    """The stored messages that have one of the events' keys, and the events that were found new."""

    def __init__(self, connection: Connection, events: Collection[MessageEvent]) -> None:
        keys = {key for event in events for key in (event.key, event.also_key) if key}
        found = {key for (key,) in _KNOWN_KEYS.rows(connection, keys=keys)} if keys else set()
        self._stored = _stored(connection, found) if found else {}
        self._new: defaultdict[str, list[MessageEvent]] = defaultdict(list)

    def is_new(self, event: MessageEvent) -> bool:
        """Whether neither a stored message nor an event before it is this message."""
        if any(_is_same(event, one) for one in self._of(event)):
            return False
        self._new[event.key].append(event)
        return True

    def has_other_words(self, event: MessageEvent) -> bool:
        """Whether an event that is not new says something else than the message that is known."""
        known = next(one for one in self._of(event) if _is_same(event, one))
        return _says_other(event, known.raw if isinstance(known, MessageEvent) else _raw(known))

    def _of(self, event: MessageEvent) -> list[Any]:
        of_window = self._stored.get(event.also_key, ()) if event.also_key else ()
        return [*self._stored.get(event.key, ()), *of_window, *self._new.get(event.key, ())]


def _stored(connection: Connection, keys: Collection[str]) -> Mapping[str, Sequence[Row[Any]]]:
    found: defaultdict[str, list[Any]] = defaultdict(list)
    for row in connection.execute(_STORED, {"keys": list(keys)}):
        found[row.amocrm_message_id].append(row)
    return found


def _is_same(event: MessageEvent, other: Any) -> bool:
    """Whether two messages with one id are in one chat: the first thing that both name decides.

    If they have nothing to compare, as with an erased message, they are one.
    """
    if event.chat_ref is not None and event.chat_ref == other.chat_ref:
        return True
    pairs = (
        (event.chat_id, other.chat_id),
        (event.talk_id, other.talk_id),
        (event.lead_id, other.lead_id),
        (event.contact_id, other.contact_id),
    )
    return next((ours == theirs for ours, theirs in pairs if ours is not None and theirs is not None), True)


def _raw(row: Row[Any]) -> Mapping[str, Any] | None:
    """What amoCRM reported last of a stored message: its ``content`` may be the transcript of a voice message."""
    raw = row.metadata.get("raw")
    return raw if isinstance(raw, dict) and row.message_type != ERASED else None


def _says_other(event: MessageEvent, raw: Mapping[str, Any] | None) -> bool:
    if raw is None:
        return False
    _kind, before = content(raw)
    other = bool(event.text) and plain(event.text) != plain(before)
    return other or ("attachment" in event.raw and "attachment" not in raw)


def edit(connection: Connection, event: MessageEvent, now: datetime) -> tuple[bool, int | None]:
    """Store the new words of a message: (whether they were new, the id of the turn to work on with them, if any)."""
    row = next(one for one in _stored(connection, [event.key]).get(event.key, ()) if _is_same(event, one))
    raw, about = _raw(row), row.metadata
    if raw is None or not _says_other(event, raw):
        return False, None
    earlier = about.get(EARLIER, [])
    repeated = plain(event.text) in map(plain, earlier)
    if not event.edit and (repeated or about.get(EDITED) or _changed_at(event.raw, now) < _changed_at(raw, now)):
        # The first words, which amoCRM delivers late or once more.
        before = earlier if repeated else [*earlier, event.text]
        reword(connection, row.id, row.content, row.message_type, {**about, EARLIER: before})
        return not repeated, None
    about = {**about, "raw": event.raw, EARLIER: [*earlier, row.content], EDITED: event.edit}
    reword(connection, row.id, event.text, event.kind, about)
    index.renew(connection, messages.c.id == row.id)
    turn_id = row.turn_id if row.sender_type == "client" else None
    anew = queue.ask_anew(connection, turn_id, now) if turn_id is not None else None
    log.info("a message was edited", message=row.id, turn=turn_id, asked_anew=anew)
    return True, anew


def _changed_at(raw: Mapping[str, Any], now: datetime) -> datetime:
    named = (raw.get(name) for name in ("updated_at", "edited_at", "created_at"))
    return next(filter(None, (moment(value, now) for value in named)), now)
