"""The webhook: amoCRM's deliveries in, 200 when they are stored. Nothing heavy happens here.

A plain Starlette route: FastAPI's parsing of parameters has nothing to do here and would cost a third of the rate.
"""

import hmac

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from otvet.errors import StorageError
from otvet.inbox import Inbox
from otvet.web.metrics import DELIVERIES, DELIVERY_SECONDS

log = structlog.get_logger(__name__)

LARGEST_BODY = 4 * 1024 * 1024
KEPT_OF_A_LARGER = 64 * 1024


def routes(path: str, secret: str, inbox: Inbox) -> list[Route]:
    """``{path}/{secret}``, which amoCRM is given, and nothing for any other secret."""

    async def webhook(request: Request) -> Response:
        # Deliveries are not signed: the secret is all that tells amoCRM from a stranger.
        if not hmac.compare_digest(request.path_params["secret"].encode(), secret.encode()):
            raise HTTPException(404)
        if request.method != "POST":
            return PlainTextResponse("OK")  # amoCRM may look whether the address is there
        with DELIVERY_SECONDS.time():
            return await _receive(request, inbox)

    return [Route(f"{path}/{{secret}}", webhook, methods=["GET", "HEAD", "POST"], include_in_schema=False)]


async def _receive(request: Request, inbox: Inbox) -> Response:
    try:
        body, whole = await _read(request)
        if not whole:
            await inbox.set_aside(body[:KEPT_OF_A_LARGER], f"larger than {LARGEST_BODY} bytes; its beginning")
            return JSONResponse({"saved": 0, "duplicates": 0})
        stored = await inbox.receive(body)
    except ClientDisconnect:
        return Response(status_code=400)  # the sender broke off in the middle and sends it again
    except StorageError as error:
        # amoCRM repeats what was answered with 5xx; the client's message must not be lost.
        DELIVERIES.labels("not_stored").inc()
        log.error("a delivery could not be stored", reason=str(error))
        return JSONResponse({"error": "not stored, send it again"}, 503, {"Retry-After": "60"})
    DELIVERIES.labels("stored").inc()
    return JSONResponse({"saved": stored.saved, "duplicates": stored.duplicates})


async def _read(request: Request) -> tuple[bytes, bool]:
    """(body, whether it is whole)"""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        chunks.append(chunk)
        size += len(chunk)
        if size > LARGEST_BODY:
            return b"".join(chunks), False
    return b"".join(chunks), True
