"""A Salesbot's request for a reply: checked, and stored in one commit.

The bot passes on the client's words. They are stored as the client's message unless the webhook has reported it
already: the two come in any order.
Source: https://www.amocrm.ru/developers/content/digital_pipeline/salesbot (the step widget_request)
"""

import html
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import SplitResult, urlsplit

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.amocrm.addresses import is_same_account
from otvet.amocrm.events import LARGEST_ID, LEAD_TYPES, Delivery, MessageEvent
from otvet.amocrm.form import Unreadable, parse, unpacked
from otvet.amocrm.words import LOST, words
from otvet.conversations.tables import conversations
from otvet.intake.inbox import Received, store
from otvet.turns.turn import OPEN, turns
from otvet.widget import told_twice, waiting
from otvet.widget.token import NotGenuine, claims

_PATH = re.compile(r"/api/v4/(salesbot|marketingbot)/\d+/continue/[\w-]+/?")

# As people name the fields of the bot's step, in small letters and without what parts their words.
_WORDS = (
    "message",
    "messagetext",
    "text",
    "msg",
    "body",
    "content",
    "question",
    "query",
    "comment",
    "lastmessage",
    "clientmessage",
    "usermessage",
    "incomingmessage",
    "inputmessage",
    "words",
    "сообщение",
    "текст",
    "вопрос",
)
_DEAL = ("lead", "leadid", "deal", "dealid", "entityid", "сделка")
_PARTS_OF_NAME = re.compile(r"[\W_]+")


class Refused(ValueError):
    """The request is refused; the message is for the log and quotes nothing of the request."""


class NotBelieved(Refused):
    """Nothing shows that amoCRM sent the request."""


class Unusable(Refused):
    """The account's bot sent the request, but its reply would go nowhere. said: what it passed on, as JSON."""

    def __init__(self, reason: str, said: bytes) -> None:
        super().__init__(reason)
        self.said = said


@dataclass(frozen=True, slots=True)
class BotCall:
    """A bot's request. text: the client's words; empty if the step does not pass them on.

    lost: words that could not be read, as JSON; empty if there are none.
    """

    lead_id: int
    return_url: str
    text: str
    lost: bytes = b""


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
    if not is_same_account(str(told.get("iss", "")), base_url):
        raise Refused("a token of another account")
    if account_id is not None and _number(told.get("account_id")) != account_id:
        raise Refused("a token of another account")
    data = _passed_on(request)
    said = json.dumps(data, ensure_ascii=False).encode()
    return_url = continuation(_text(request, "return_url"), base_url)
    if return_url is None:
        raise Unusable("a return_url that is not this account's", said)
    lead_id = _number(told.get("entity_id")) if _is_lead(told) else _deal(data)
    if lead_id is None:
        raise Unusable("no deal", said)
    text = html.unescape(next(filter(None, map(_words, _named(data, _WORDS))), "")).strip()
    return BotCall(lead_id, return_url, text, said if LOST in text or (not text and _has_unread(data)) else b"")


def _passed_on(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the bot's step passes on: its data, as an object, JSON text or plain words; without data, all fields."""
    data = unpacked(request.get("data"))
    if isinstance(data, str) and data:
        return {"message": {"": data} if data.lstrip().startswith("{") else data}  # an object that was cut off
    return data or {name: value for name, value in request.items() if name not in ("token", "return_url", "data")}


def _has_unread(data: Mapping[str, Any]) -> bool:
    """Whether there may be words under a name, or in a shape, that is not known."""
    known = {*_WORDS, *_DEAL}
    values = data.items()
    return any(isinstance(value, dict) for value in _named(data, _WORDS)) or any(
        isinstance(value, dict) or " " in words(value).strip() for name, value in values if _name(name) not in known
    )


def _named(data: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[Any]:
    """The values under any of these names, in the order of the names."""
    found = {_name(name): value for name, value in data.items()}
    return (found[name] for name in names if name in found)


def _name(name: str) -> str:
    return _PARTS_OF_NAME.sub("", name).lower()


def _words(value: Any) -> str:
    inner = unpacked(value)
    within = next(filter(None, map(_words, _named(inner, _WORDS))), "") if isinstance(inner, dict) else ""
    return within or (words(value) if isinstance(value, str) else "")


def _deal(data: Mapping[str, Any]) -> int | None:
    for value in _named(data, _DEAL):
        if number := _number(value.get("id") if isinstance(value, dict) else value):
            return number
    return None


def continuation(return_url: str, base_url: str) -> str | None:
    """The address at which a bot of the account waits, below ``base_url``; None if ``return_url`` is not of one.

    The same account has an address in each of amoCRM's zones; the token is sent to the configured one.
    """
    try:
        given, own = urlsplit(return_url.strip()), urlsplit(base_url)
        same = given.scheme == own.scheme and (
            (given.hostname, _port(given)) == (own.hostname, _port(own))
            or (given.port is None and is_same_account(return_url, base_url))
        )
    except ValueError:
        return None
    if not same or given.username is not None or given.password is not None or not _PATH.fullmatch(given.path):
        return None
    return f"{own.scheme}://{own.netloc}{given.path}" + (f"?{given.query}" if given.query else "")


def _port(address: SplitResult) -> int | None:
    return address.port or {"https": 443, "http": 80}.get(address.scheme)


def take(connection: Connection, call: BotCall, now: datetime) -> list[int]:
    """Store that a bot waits; returns the turns to begin: none if the deal has an open turn, whose reply it gets.

    Its words are stored too, unless they are stored already, or the webhook reports the messages of that turn.
    """
    chat = told_twice.chat_of_words(connection, call.lead_id, call.text, now) if call.text else None
    known = waiting.words_key(call.text) if call.text and not chat else chat
    if not waiting.save(connection, call.lead_id, call.return_url, known, now):
        return []
    if not call.text or chat is not None:
        return []
    if _is_open(connection, call.lead_id) and told_twice.is_told(connection, call.lead_id, call.text, now):
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
