"""A Salesbot's request for a reply: checked, and stored in one commit.

The bot passes on the client's words. They are stored as the client's message unless the webhook has reported it
already: the two come in any order.
Source: https://www.amocrm.ru/developers/content/digital_pipeline/salesbot (the step widget_request)
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.amocrm.addresses import host_of
from otvet.amocrm.events import LARGEST_ID, LEAD_TYPES, Delivery, MessageEvent
from otvet.amocrm.form import Unreadable, parse
from otvet.conversations.tables import conversations
from otvet.intake.inbox import Received, store
from otvet.turns.turn import OPEN, turns
from otvet.widget import told_twice, waiting
from otvet.widget.token import NotGenuine, claims

_PATH = re.compile(r"/api/v4/(salesbot|marketingbot)/\d+/continue/[\w-]+")


class Refused(ValueError):
    """The request is refused; the message is for the log and quotes nothing of the request."""


class NotBelieved(Refused):
    """Nothing shows that amoCRM sent the request."""


@dataclass(frozen=True, slots=True)
class BotCall:
    """A bot's request. text: the client's words; empty if the step does not pass them on."""

    lead_id: int
    return_url: str
    text: str


def read_call(body: bytes, secret: str, base_url: str, now: datetime, account_id: int | None = None) -> BotCall:
    """Parse and check a request, JSON or form. Raises Refused.

    secret: the integration's secret key. base_url: the account's address, the only place where a reply may go.
    account_id: the account's id; None until amoCRM was asked. The claim ``aud`` is not checked: in amoCRM's other
    tokens it is the integration's address, and the secret shows already which integration signed the token.
    """
    try:
        request = parse(body)
        told = claims(_text(request, "token"), secret, now)
    except (Unreadable, NotGenuine) as error:
        raise NotBelieved(str(error)) from error
    # An integration may be installed in several accounts, which then share its secret.
    if host_of(str(told.get("iss", ""))) != host_of(base_url):
        raise Refused("a token of another account")
    if account_id is not None and _number(told.get("account_id")) != account_id:
        raise Refused("a token of another account")
    return_url = _text(request, "return_url")
    if not is_ours(return_url, base_url):
        raise Refused("a return_url that is not this account's")
    data = request.get("data")
    data = data if isinstance(data, dict) else {}
    lead_id = _number(told.get("entity_id")) if _is_lead(told) else _number(data.get("lead"))
    if lead_id is None:
        raise Refused("no deal")
    return BotCall(lead_id, return_url, _text(data, "message").strip())


def is_ours(return_url: str, base_url: str) -> bool:
    """Whether an address is one at which a bot of the account waits."""
    try:
        given, own = urlsplit(return_url), urlsplit(base_url)
        same = (given.scheme, given.hostname, given.port) == (own.scheme, own.hostname, own.port)
    except ValueError:
        return False
    named = given.username or given.password or given.query or given.fragment
    return same and not named and bool(_PATH.fullmatch(given.path))


def take(connection: Connection, call: BotCall, now: datetime) -> list[int]:
    """Store that a bot waits; returns the turns to begin: none if the deal has an open turn, whose reply it gets."""
    chat = told_twice.chat_of_words(connection, call.lead_id, call.text, now) if call.text else None
    known = waiting.words_key(call.text) if call.text and not chat else chat
    if not waiting.save(connection, call.lead_id, call.return_url, known, now):
        return []
    if not call.text or chat is not None or _is_open(connection, call.lead_id):
        return []
    event = MessageEvent(
        key=told_twice.key(call.return_url),
        also_key=None,
        lead_id=call.lead_id,
        contact_id=None,
        chat_id=None,
        talk_id=None,
        chat_ref=None,
        sender="client",
        text=call.text,
        kind="text",
        created_at=now,
        author_name=None,
        raw={"source": "salesbot"},
    )
    (stored,) = store(connection, [Received(b"", Delivery(messages=(event,)), now)])
    return stored.to_answer


def _is_open(connection: Connection, lead_id: int) -> bool:
    here = (conversations.c.amocrm_lead_id == lead_id, turns.c.state.in_(OPEN))
    joined = sa.select(turns.c.id).join(conversations).where(*here)
    return connection.scalar(joined.limit(1)) is not None


def _is_lead(told: Mapping[str, Any]) -> bool:
    return str(told.get("entity_type", "")) in LEAD_TYPES


def _number(value: Any) -> int | None:
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 and 0 < int(text) <= LARGEST_ID else None


def _text(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name, "")
    return value if isinstance(value, str) else ""
