"""Manus's webhook: a signed word that a task stopped. It wakes who waits for the task, and nothing else.

Manus's own documentation asks for a 200 within 10 seconds, and tries the address when it is registered with a request
of unknown form; so whatever bears no signature is answered with 200 too, and changes nothing.
"""

import hashlib

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from otvet.errors import ServiceError, StorageError
from otvet.manus import Webhook
from otvet.responders.manus.webhook import stopped_task
from otvet.web.metrics import MANUS_DELIVERIES

log = structlog.get_logger(__name__)

LARGEST_BODY = 1024 * 1024  # a delivery holds the task's whole answer


class ManusWebhook:
    """Answers Manus's POSTs."""

    def __init__(self, webhook: Webhook) -> None:
        self._webhook = webhook

    async def take(self, request: Request) -> Response:
        """200 unless the signature is wrong (401), the body too large (413), or it cannot be told or kept (503)."""
        try:
            result, status = await self._take(request)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        except (ServiceError, StorageError) as error:
            log.warning("a word of Manus could not be taken", reason=str(error))
            result, status = "not_taken", 503
        MANUS_DELIVERIES.labels(result).inc()
        return Response(status_code=status)

    async def _take(self, request: Request) -> tuple[str, int]:
        signature = request.headers.get("x-webhook-signature", "")
        timestamp = request.headers.get("x-webhook-timestamp", "")
        if not signature and not timestamp:
            return "unsigned", 200
        body = await _read(request)
        if body is None:
            return "too_large", 413
        if not await self._webhook.signatures.are_genuine(body, signature, timestamp):
            return "refused", 401
        task = stopped_task(body)
        if task is None:
            return "ignored", 200
        # With the time of signing: two stops of a task may read alike, and a needless look does no harm.
        delivery = hashlib.sha256(timestamp.encode() + b"." + body).hexdigest()
        new = await self._webhook.stops.take(delivery, task)
        return ("taken" if new else "repeated"), 200


async def _read(request: Request) -> bytes | None:
    """The body; None if it is larger than it may be."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > LARGEST_BODY:
            return None
        chunks.append(chunk)
    return b"".join(chunks)
