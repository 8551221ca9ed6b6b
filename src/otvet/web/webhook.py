"""The webhook: amoCRM's deliveries in, 200 when they are stored. Nothing heavy happens here.

It stands in front of the application as plain ASGI: routing, middleware and parameter parsing have nothing to do for
it and took more than half of its time.
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
KEPT_OF_A_LARGER = 64 * 1024


class Webhook:
    """Answers below ``path``; everything else goes to ``application``."""

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
            return PlainTextResponse("OK")  # amoCRM may look whether the address is there
        if scope["method"] != "POST":
            return JSONResponse({"detail": "Method Not Allowed"}, 405, {"Allow": "GET, POST"})
        with DELIVERY_SECONDS.time():
            return await self._take(receive)

    async def _take(self, receive: Receive) -> Response:
        try:
            body, whole = await _read(receive)
            if not whole:
                reason = f"larger than {LARGEST_BODY} bytes; its beginning"
                await self._inbox.quarantine(body[:KEPT_OF_A_LARGER], reason)
                return _stored(0, 0)
            if nonce := trial.nonce_in(body):
                DELIVERIES.labels("trial").inc()
                return JSONResponse({trial.FIELD: trial.signature(self._secret.decode(), nonce)})
            stored = await self._inbox.receive(body)
        except BrokenOff:
            return Response(status_code=400)  # nobody is there to read it; amoCRM sends it again
        except StorageError as error:
            # amoCRM repeats what was answered with 5xx; the client's message must not be lost.
            DELIVERIES.labels("not_stored").inc()
            log.error("a delivery could not be stored", reason=str(error))
            return JSONResponse({"error": "not stored, send it again"}, 503, {"Retry-After": "60"})
        _STORED.inc()
        return _stored(stored.saved, stored.duplicates)


_STORED = DELIVERIES.labels("stored")


@lru_cache(maxsize=64)
def _stored(saved: int, duplicates: int) -> Response:
    """Nearly all deliveries get the same answer."""
    return JSONResponse({"saved": saved, "duplicates": duplicates})


class BrokenOff(Exception):
    """The sender went away in the middle of the body."""


async def _read(receive: Receive) -> tuple[bytes, bool]:
    """(body, whether it is whole)"""
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
