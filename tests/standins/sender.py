"""amoCRM's webhooks: the bodies it sends, and how it sends and repeats them.

Bodies look as those captured from live accounts: PHP's brackets, percent-encoded, every value a string, the
account first. When and how often they come is from
https://www.amocrm.ru/developers/content/crm_platform/webhooks-format.
"""

import asyncio
import uuid
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self
from urllib.parse import urlencode

import httpx2

from otvet.clock import Clock

ACCOUNT: Mapping[str, Any] = {
    "subdomain": "example",
    "id": 29085955,
    "_links": {"self": "https://example.amocrm.ru"},
}
LEAD = 27754599  # the deal in which a client writes, if a test says nothing else
TIME_LIMIT = 2.0  # seconds amoCRM waits for the answer
WINDOW = 2 * 3600  # seconds; more than MAX_INVALID invalid answers within it, the last included, disable the hook
MAX_INVALID = 100

Fields = Mapping[str, Any]
Event = tuple[str, str, Sequence[Fields] | Mapping[int, Fields]]  # entity, action, entries, which may have gaps


def message(
    text: str,
    *,
    lead_id: int | None = LEAD,
    contact_id: int = 93589657,
    talk_id: int = 100,
    chat_id: str = "54caee02-e383-46d8-a9b7-1fb43f07cffe",
    message_id: str | None = None,
    created_at: int = 1695482791,
    author_name: str = "Client 1",
    origin: str = "telegram",
    **more: Any,
) -> Fields:
    """One entry of ``message[add]``, in the order of a real one.

    message_id: made from the other values when not given, so that equal calls are the same message.
    lead_id: None leaves out what a message of a client without a deal does not have.
    more: further fields, or others for those above; None takes a field out.
    """
    made_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{chat_id}/{lead_id}/{created_at}/{text}"))
    about: Fields = {"element_type": 2, "entity_type": "lead", "element_id": lead_id, "entity_id": lead_id}
    return {
        "id": message_id or made_id,
        "chat_id": chat_id,
        "talk_id": talk_id,
        "contact_id": contact_id,
        "text": text,
        "created_at": created_at,
        **(about if lead_id is not None else {}),
        "type": "incoming",
        "author": {"id": "1db2f5cc-aea4-4f96-8d4f-a256ead5b7b0", "type": "external", "name": author_name},
        "origin": origin,
        **more,
    }


def manager_message(text: str, **fields: Any) -> Fields:
    """One message of a manager to the client; ``fields`` as for ``message``."""
    author = {
        "id": "7d0a8c8e-4f0c-4a3e-8b59-0c6a1d1c2b11",
        "type": "internal",
        "user_id": 940088,
        "name": "Manager 1",
    }
    return message(text, **{"type": "outgoing", "author": author, **fields})


def talk(talk_id: int = 100, *, lead_id: int = LEAD, contact_id: int = 93589657, **more: Any) -> Fields:
    """One entry of ``talk[add]`` or ``talk[update]``, which accompanies a message."""
    return {
        "talk_id": talk_id,
        "created_at": 1695482790,
        "updated_at": 1695482791,
        "rate": 0,
        "contact_id": contact_id,
        "chat_id": "54caee02-e383-46d8-a9b7-1fb43f07cffe",
        "entity_id": lead_id,
        "entity_type": "lead",
        "is_in_work": 1,
        "is_read": 0,
        "origin": "telegram",
        **more,
    }


def incoming(text: str, **fields: Any) -> bytes:
    """A body with one message of a client; ``fields`` as for ``message``."""
    return body(("message", "add", [message(text, **fields)]))


def outgoing(text: str, *, event: Literal["message", "outgoing_message"] = "message", **fields: Any) -> bytes:
    """A body with one message of a manager, under either of the two names that amoCRM has for it."""
    return body((event, "add", [manager_message(text, **fields)]))


def batch(*messages: Fields) -> bytes:
    """A body with several messages."""
    return body(("message", "add", messages))


def body(*events: Event, account: Fields = ACCOUNT, account_last: bool = False) -> bytes:
    """A body of any events, of one kind or mixed.

    account_last: as hooks of Digital Pipeline have it.
    """
    pairs = [pair for entity, action, entries in events for pair in _pairs(f"{entity}[{action}]", entries)]
    about = list(_pairs("account", account))
    return urlencode(pairs + about if account_last else about + pairs).encode()


def _pairs(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _pairs(f"{key}[{name}]", part)
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from _pairs(f"{key}[{index}]", part)
    elif value is not None:
        yield key, str(value)


def headers(request_id: str) -> dict[str, str]:
    """What a live hook's request has besides the host and the length."""
    return {
        "User-Agent": "amoCRM-Webhooks/3.0",
        "Accept-Encoding": "gzip",
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Amocrm-Requestid": request_id,
    }


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request of the sender.

    number: 1 for the first time that this body was sent.
    status: what was answered; 499 for nothing in time, 0 for no connection or a broken one.
    at, seconds: when it ended and how long it took, by the sender's clock.
    """

    number: int
    status: int
    at: float
    seconds: float

    @property
    def delivered(self) -> bool:
        return 100 <= self.status < 300


def seconds_to_next(attempt: Attempt) -> float | None:
    """How long amoCRM waits before it sends the body again; None is never."""
    if attempt.delivered:
        return None
    server_failed = attempt.status == 499 or 500 <= attempt.status < 600
    match attempt.number:
        case 1:
            return 5 * 60
        case 2:
            return 15 * 60
        case 3 if server_failed:
            return 15 * 60
        case 4 if server_failed:
            return 60 * 60
    return None


class Sender:
    """One hook of amoCRM's, as in ``async with Sender(url, clock) as sender``.

    scale: the waits of the schedule and the window of ``disabled_at`` are multiplied by it; with 1/300, five
        minutes are a second.
    time_limit: seconds for an answer, not scaled.
    attempts: all requests so far, in the order in which they ended.
    disabled_at: when amoCRM would have switched the hook off, until a person switches it on, by the clock's
        ``monotonic``; None while it would not. Sending goes on all the same.
    """

    def __init__(self, url: str, clock: Clock, scale: float = 1.0, time_limit: float = TIME_LIMIT) -> None:
        self.attempts: list[Attempt] = []
        self.disabled_at: float | None = None
        self._url = url
        self._clock = clock
        self._scale = scale
        self._time_limit = time_limit
        self._invalid: deque[float] = deque(maxlen=MAX_INVALID + 1)
        self._http = httpx2.AsyncClient(
            timeout=None,
            trust_env=False,
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=0),
        )
        self._http.headers.clear()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def deliver(self, content: bytes) -> list[Attempt]:
        """Send a body, and again as amoCRM does; gives its attempts. May run many times at once."""
        attempts: list[Attempt] = []
        while True:
            attempt = await self.send(content, len(attempts) + 1)
            attempts.append(attempt)
            wait = seconds_to_next(attempt)
            if wait is None:
                return attempts
            await self._clock.sleep(wait * self._scale)

    async def send(self, content: bytes, number: int = 1) -> Attempt:
        """Send a body once."""
        begun = self._clock.monotonic()
        status = await self._status(content)
        ended = self._clock.monotonic()
        attempt = Attempt(number, status, ended, ended - begun)
        self.attempts.append(attempt)
        if not attempt.delivered:
            self._count_invalid(ended)
        return attempt

    def _count_invalid(self, at: float) -> None:
        self._invalid.append(at)
        too_many = len(self._invalid) > MAX_INVALID and at - self._invalid[0] <= WINDOW * self._scale
        if too_many and self.disabled_at is None:
            self.disabled_at = at

    async def _status(self, content: bytes) -> int:
        request_id = str(uuid.uuid4())  # a new one each time: whether amoCRM keeps it for a repetition is unverified
        try:
            async with asyncio.timeout(self._time_limit):
                answer = await self._http.post(self._url, content=content, headers=headers(request_id))
        except TimeoutError:
            return 499  # unverified, but nothing else in amoCRM's table would be a 499
        except httpx2.RequestError:
            return 0
        return answer.status_code
