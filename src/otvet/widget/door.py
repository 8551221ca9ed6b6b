"""The address that a Salesbot calls for a reply. It is answered at once, and the reply goes to its return_url later.

amoCRM waits two seconds for the answer, so the request is only checked and stored.
"""

import hmac
from collections.abc import Callable, Sequence

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from otvet.clock import Clock
from otvet.errors import StorageError
from otvet.intake.inbox import Inbox
from otvet.settings.settings import SALESBOT_PATH
from otvet.storage.database import Database
from otvet.widget.calls import NotBelieved, Refused, Unusable, read_call, take

log = structlog.get_logger(__name__)

PATH = f"{SALESBOT_PATH}/{{secret}}"
LARGEST_BODY = 256 * 1024


class SalesbotWebhook:
    """Answers the step widget_request of bots."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        inbox: Inbox,
        to_answer: Callable[[Sequence[int]], None],
        webhook_secret: str,
        client_secret: str,
        base_url: str,
    ) -> None:
        self._database = database
        self._clock = clock
        self._inbox = inbox
        self._to_answer = to_answer
        self._webhook_secret = webhook_secret
        self._client_secret = client_secret
        self._base_url = base_url

    async def take(self, request: Request) -> Response:
        """200 when stored; 404, 401, 403 or 413 if the account's bot did not send it; 503 when it cannot be stored."""
        given = request.path_params["secret"]
        if not hmac.compare_digest(given.encode(), self._webhook_secret.encode()):
            return JSONResponse({"detail": "Not Found"}, 404)
        try:
            body = await _read(request)
            if body is None:
                return Response(status_code=413)
            now = self._clock.now()
            account = self._inbox.account
            call = read_call(body, self._client_secret, self._base_url, now, account.id if account else None)
            opened = await self._database.write(lambda connection: take(connection, call, now))
        except ClientDisconnect:
            return Response(status_code=400)  # the sender has gone
        except NotBelieved as error:
            log.warning("a Salesbot's request is not believed", reason=str(error))
            return JSONResponse({"detail": "Unauthorized"}, 401)
        except Unusable as error:
            log.warning("a Salesbot's request is refused and kept in quarantine", reason=str(error))
            return await self._keep(error.said, str(error)) or JSONResponse({"detail": "Forbidden"}, 403)
        except Refused as error:
            log.warning("a Salesbot's request is refused", reason=str(error))
            return JSONResponse({"detail": "Forbidden"}, 403)
        except StorageError as error:
            return _not_stored(error)
        self._to_answer(opened)
        log.info("a Salesbot waits for a reply", lead=call.lead_id, words=bool(call.text), turns=opened)
        if call.lost:
            log.warning("a Salesbot's words could not be read and are kept in quarantine", lead=call.lead_id)
            return await self._keep(call.lost, "words that could not be read") or JSONResponse({})
        return JSONResponse({})

    async def _keep(self, said: bytes, reason: str) -> Response | None:
        """Store what a bot passed on, for a person. Returns an answer if that failed."""
        try:
            await self._inbox.quarantine(said, f"a Salesbot's request: {reason}")
        except StorageError as error:
            return _not_stored(error)
        return None


def _not_stored(error: StorageError) -> Response:
    log.error("a Salesbot's request could not be stored", reason=str(error))
    return JSONResponse({"error": "not stored"}, 503)


async def _read(request: Request) -> bytes | None:
    """The body; None if it is larger than LARGEST_BODY."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > LARGEST_BODY:
            return None
        chunks.append(chunk)
    return b"".join(chunks)
