"""Faults on command: a stand-in answers wrongly, late, or closes the connection without a word."""

import asyncio
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send


@dataclass
class Fault:
    """What goes wrong with the next ``times`` requests that match.

    path: may hold ``*``, which also matches slashes; the stand-in's own ``/_standin/`` never fails.
    status: this answer instead of the right one, with ``body`` and ``headers``.
    drop: the connection is closed without an answer, before or after the request was carried out.
    carried_out: the request is carried out although ``status`` says otherwise.
    delay: seconds before whatever is answered; a client that hangs up ends it.
    times: None is for ever.
    """

    path: str = "*"
    method: str = "*"
    status: int | None = None
    body: str = "{}"
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    drop: Literal["before", "after"] | None = None
    carried_out: bool = False
    delay: float = 0
    times: int | None = 1


class Faults:
    """An ASGI application with a log and faults put in front of it.

    log: every request but those to ``/_standin/``, as they came; ``status`` is None without an answer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.log: list[dict[str, Any]] = []
        self._app = app
        self._planned: list[Fault] = []
        self._lock = threading.Lock()  # planned by the test's thread, met by the server's

    def plan(self, **fault: Any) -> None:
        """Add a Fault; of those that match a request, the oldest happens."""
        with self._lock:
            self._planned.append(Fault(**fault))

    def clear(self) -> None:
        """Forget what has not happened yet."""
        with self._lock:
            self._planned.clear()

    def routes(self) -> list[Route]:
        """The same over HTTP: POST a Fault as JSON, DELETE all of them, GET the log."""

        async def plan(request: Request) -> Response:
            self.plan(**await request.json())
            return JSONResponse({}, 201)

        async def clear(_: Request) -> Response:
            self.clear()
            return JSONResponse({})

        async def log(_: Request) -> Response:
            return JSONResponse(self.log)

        return [
            Route("/_standin/fault", plan, methods=["POST"]),
            Route("/_standin/fault", clear, methods=["DELETE"]),
            Route("/_standin/log", log),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith("/_standin/"):
            await self._app(scope, receive, send)
            return
        entry = {"method": scope["method"], "path": scope["path"], "query": scope["query_string"].decode()}
        entry |= {"at": time.time(), "status": None}
        self.log.append(entry)

        async def logged(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry["status"] = message["status"]
            await send(message)

        fault = self._take(scope["method"], scope["path"])
        if fault is None:
            await self._app(scope, receive, logged)
            return
        answer = await self._answer(fault, scope, receive)
        if fault.delay and await _hung_up_within(fault.delay, receive):
            return
        if fault.drop:
            await _drop(receive, send)
        for message in answer:
            await logged(message)

    async def _answer(self, fault: Fault, scope: Scope, receive: Receive) -> list[Message]:
        """What to send, after carrying the request out if the fault says so."""
        answer: list[Message] = []

        async def keep(message: Message) -> None:
            answer.append(message)

        if fault.carried_out or fault.drop == "after" or (fault.drop is None and fault.status is None):
            await self._app(scope, receive, keep)
        if fault.drop:
            return []
        if fault.status:
            answer = []
            response = Response(fault.body, fault.status, dict(fault.headers), fault.content_type)
            await response(scope, receive, keep)
        return answer

    def _take(self, method: str, path: str) -> Fault | None:
        with self._lock:
            for fault in self._planned:
                if fnmatchcase(method, fault.method) and fnmatchcase(path, fault.path):
                    if fault.times is not None:
                        fault.times -= 1
                    if fault.times == 0:
                        self._planned.remove(fault)
                    return fault
        return None


async def _hung_up_within(seconds: float, receive: Receive) -> bool:
    try:
        await asyncio.wait_for(_hang_up(receive), seconds)
    except TimeoutError:
        return False
    return True


async def _drop(receive: Receive, send: Send) -> None:
    # ASGI has no word for closing a connection; uvicorn's send is a method of what holds the socket.
    send.__self__.transport.abort()  # type: ignore[attr-defined]
    await _hang_up(receive)


async def _hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
