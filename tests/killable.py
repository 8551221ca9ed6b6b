"""``otvet serve`` that kills or stops itself at a chosen point of its work; the product knows nothing of it.

The points, counted from a GET of the webhook's address on: before each commit of each database engine in the process,
before and after each call to another service, and before the answer to each delivery. What is on the disk after a
commit is what is there before the next point, so "after a commit" needs no points of its own.

KILL_AT: the number of the point. KILL_WHERE: only points whose name has this in it are counted.
KILL_FROM: the first point that is counted is one whose name has this in it. KILL_WITH: SIGKILL unless it says SIGSTOP.
"""

import itertools
import os
import signal
import threading
from collections.abc import Mapping
from typing import Any

import httpx2
from sqlalchemy import event
from sqlalchemy.engine import Engine
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from otvet.app.service import Service
from otvet.commands import serve
from otvet.settings.loading import load_settings
from otvet.settings.settings import SALESBOT_PATH, WEBHOOK_PATH
from otvet.web import application
from tests.forked import become


class Points:
    """Counts the points, in whatever thread they are passed, and ends the process at one of them."""

    def __init__(self, at: int, where: str, first: str, how: signal.Signals) -> None:
        self.begun = False
        self._at = at
        self._where = where
        self._first = first
        self._how = how
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def reach(self, name: str) -> None:
        if not self.begun or self._where not in name:
            return
        with self._lock:  # nobody gets further while the last words are written
            if self._first not in name:
                return
            self._first = ""
            if next(self._numbers) == self._at:
                os.write(2, f"{self._how.name} at point {self._at}: {name}\n".encode())
                os.kill(os.getpid(), self._how)


class Watched:
    """The web application with a point before each answer to a delivery."""

    def __init__(self, inner: ASGIApp, points: Points, paths: tuple[str, ...]) -> None:
        self._inner = inner
        self._points = points
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(self._paths):
            await self._inner(scope, receive, send)
            return

        async def watched(message: Message) -> None:
            if scope["method"] == "POST" and message["type"] == "http.response.start":
                self._points.reach(f"before the answer {message['status']} to a delivery")
            await send(message)
            if scope["method"] == "GET" and message["type"] == "http.response.body":
                self._points.begun = True

        await self._inner(scope, receive, watched)


def watch(points: Points) -> None:
    """Put the points into what is wired from now on."""

    @event.listens_for(Engine, "commit")
    def before_commit(connection: Any) -> None:
        points.reach(f"before a commit to {os.path.basename(connection.engine.url.database)}")  # noqa: PTH119

    async def before_call(request: httpx2.Request) -> None:
        points.reach(f"before {request.method} {request.url.path}")

    async def after_call(response: httpx2.Response) -> None:
        points.reach(f"after {response.request.method} {response.request.url.path}")

    def create(service: Service) -> ASGIApp:
        for http in (service.http, service.amocrm_http):
            http.event_hooks = {"request": [before_call], "response": [after_call]}
        return Watched(application.create(service), points, (WEBHOOK_PATH, SALESBOT_PATH))

    serve.create = create


def run(folder: str, log: str, environment: Mapping[str, str]) -> None:
    """As ``otvet serve`` would, in a process of its own."""
    become(folder, environment, os.devnull, log, log)
    how = signal.Signals[os.environ.get("KILL_WITH", "SIGKILL")]
    where, first = os.environ.get("KILL_WHERE", ""), os.environ.get("KILL_FROM", "")
    watch(Points(int(os.environ["KILL_AT"]), where, first, how))
    serve.serve(load_settings())
