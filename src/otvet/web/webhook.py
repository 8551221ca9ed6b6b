"""The webhook: takes amoCRM's deliveries and answers 200 when they are stored. Nothing heavy happens here.

It is plain ASGI in front of the application: routing, middleware and parameter parsing took more than half of its time
and do nothing for it.
"""

import hmac
from functools import lru_cache

import structlog
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from otvet.errors import StorageError
from otvet.intake import trial
from otvet.intake.inbox import Inbox
from otvet.web.metrics import DELIVERIES, DELIVERY_SECONDS

log = structlog.get_logger(__name__)

LARGEST_BODY = 4 * 1024 * 1024
QUARANTINED_PREFIX = 64 * 1024


class Webhook:
    """Answers requests below ``path``; all others go to ``application``."""

    def __init__(self, application: ASGIApp, path: str, secret: str, inbox: Inbox) -> None:
        self._application = application
        self._prefix = f"{path}/"
        self._secret = secret.encode()
        self._inbox = inbox

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(self._prefix):
            await self._application(scope, receive, send)
            return
        answer = await self._answer(scope, receive)
        await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        # Deliveries are not signed: the secret is all that tells amoCRM from a stranger.
        given = scope["path"].removeprefix(self._prefix).rstrip("/")
        if not hmac.compare_digest(given.encode(), self._secret):
            return JSONResponse({"detail": "Not Found"}, 404)
        if scope["method"] in ("GET", "HEAD"):
            return PlainTextResponse("OK")  # amoCRM may test whether the address exists
        if scope["method"] != "POST":
            return JSONResponse({"detail": "Method Not Allowed"}, 405, {"Allow": "GET, POST"})
        with DELIVERY_SECONDS.time():
            return await self._take(receive)

    async def _take(self, receive: Receive) -> Response:
        try:
            body, whole = await _read(receive)
            if not whole:
                reason = f"larger than {LARGEST_BODY} bytes; its beginning"
                await self._inbox.quarantine(body[:QUARANTINED_PREFIX], reason)
                return _stored(0, 0)
            if nonce := trial.nonce_in(body):
                DELIVERIES.labels("trial").inc()
                return JSONResponse({trial.FIELD: trial.signature(self._secret.decode(), nonce)})
            stored = await self._inbox.receive(body)
        except BrokenOff:
            return Response(status_code=400)  # the sender has gone; amoCRM sends the delivery again
        except StorageError as error:
            # amoCRM repeats a delivery after a 5xx, so the client's message is not lost.
            DELIVERIES.labels("not_stored").inc()
            log.error("a delivery could not be stored", reason=str(error))
            return JSONResponse({"error": "not stored, send it again"}, 503, {"Retry-After": "60"})
        _STORED.inc()
        return _stored(stored.saved, stored.duplicates)


_STORED = DELIVERIES.labels("stored")


@lru_cache(maxsize=64)
def _stored(saved: int, duplicates: int) -> Response:
    """The answer to a stored delivery; nearly all deliveries share a few of them."""
    return JSONResponse({"saved": saved, "duplicates": duplicates})


class BrokenOff(Exception):
    """The sender went away before the end of the body."""


async def _read(receive: Receive) -> tuple[bytes, bool]:
    """(the body, whether it is whole); a body larger than LARGEST_BODY is cut."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BrokenOff
        chunk = message.get("body", b"")
        chunks.append(chunk)
        size += len(chunk)
        if size > LARGEST_BODY:
            return b"".join(chunks), False
        if not message.get("more_body"):
            return b"".join(chunks), True
