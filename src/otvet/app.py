"""The program put together: the one place that knows all parts."""

import asyncio
import contextlib
import fcntl
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import IO
from uuid import uuid4

import httpx2
import structlog
from sqlalchemy.engine import Connection

from otvet import gates, handover, installation, processes, schema, stats, turns
from otvet.amocrm.client import AmoClient
from otvet.answer import Answering, Rules
from otvet.clock import Clock, SystemClock
from otvet.config import Settings
from otvet.database import Database
from otvet.deliver import Delivery
from otvet.dispatcher import Dispatcher
from otvet.engine import Engine
from otvet.errors import DatabaseUnfit, StorageError
from otvet.i18n import _
from otvet.inbox import Inbox
from otvet.limits import SharedLimit
from otvet.responders.base import Responder
from otvet.responders.knowledge import KnowledgeResponder
from otvet.responders.manus import ManusResponder
from otvet.responders.manus_api import ManusApi
from otvet.responders.template import TemplateResponder

log = structlog.get_logger(__name__)

REPORT_SECONDS = 600.0


@dataclass
class Service:
    """A running Otvet; ``start`` and ``stop`` it on one event loop. ``me`` names this process among others."""

    me: str
    settings: Settings
    clock: Clock
    database: Database
    engine: Engine
    inbox: Inbox
    dispatcher: Dispatcher
    http: httpx2.AsyncClient
    answering: Answering
    delivery: Delivery
    webhook_secret: str
    lock: IO[bytes] | None  # held as long as it is open
    report: "asyncio.Task[None] | None" = None

    async def start(self) -> None:
        self.database.start()
        await self.database.write(self._arrive)
        self.engine.start(self.answering.answer)
        self.dispatcher.start()
        self.report = asyncio.create_task(self._report_now_and_then())

    async def stop(self) -> None:
        if self.report:
            self.report.cancel()
            await asyncio.gather(self.report, return_exceptions=True)
        await self.dispatcher.stop()
        await self.delivery.finish()
        await self.engine.stop()
        with contextlib.suppress(StorageError):  # without it the others take the turns over a little later
            await self.database.write(self._leave)
        await self.database.stop()
        await self.http.aclose()
        if self.lock:
            self.lock.close()

    def _arrive(self, connection: Connection) -> None:
        processes.beat(connection, self.me, self.clock.now())
        gates.forget_refused_token(connection, gates.AMOCRM)
        if self.settings.is_sqlite:
            processes.forget_others(connection, self.me)

    def _leave(self, connection: Connection) -> None:
        turns.release_all(connection, self.me)
        processes.leave(connection, self.me)

    async def _report_now_and_then(self) -> None:
        while True:
            await self.clock.sleep(REPORT_SECONDS)
            with contextlib.suppress(Exception):
                numbers = await self.database.read(stats.read)
                log.info("stats", **numbers, uptime_seconds=stats.uptime_seconds())


def wire(settings: Settings, clock: Clock | None = None) -> Service:
    """Make the service's parts and its database ready. Raises DatabaseUnfit with a sentence for the operator."""
    clock = clock or SystemClock()
    lock = _only_one(settings.sqlite_path) if settings.is_sqlite else None
    database = Database(settings.database_url)
    schema.prepare(database, clock.now())
    with database.writes.begin() as connection:
        name = installation.recall_or_make(connection, "name", bytes_of_chance=6)
        secret = (
            settings.webhook_secret.get_secret_value()
            if settings.webhook_secret
            else installation.recall_or_make(connection, "webhook_secret", bytes_of_chance=24)
        )
    http = httpx2.AsyncClient(
        timeout=httpx2.Timeout(20, connect=5),  # a call whose answer is lost may have been carried out all the same
        limits=httpx2.Limits(max_connections=100, max_keepalive_connections=20),
    )
    me = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"
    engine = Engine(settings.workflow_url, me)
    amocrm = _amocrm(settings, clock, http, database)
    delivery = Delivery(database, clock, amocrm, installation_name=name, me=me)
    responders = _responders(settings, clock, http, database)
    answering = Answering(database, clock, engine, responders, delivery, _rules(settings), me)
    dispatcher = Dispatcher(database, clock, engine, answering, installation_name=name, me=me)
    inbox = Inbox(database, clock, partial(dispatcher.put, new=True), timedelta(minutes=settings.manager_pause_minutes))
    return Service(me, settings, clock, database, engine, inbox, dispatcher, http, answering, delivery, secret, lock)


def _rules(settings: Settings) -> Rules:
    return Rules(
        quiet=timedelta(seconds=settings.quiet_seconds),
        quiet_max=timedelta(seconds=max(settings.quiet_max_seconds, settings.quiet_seconds)),
        stale=timedelta(minutes=settings.stale_minutes),
        replies_a_day=settings.replies_a_day,
        history_messages=settings.history_messages,
        person_phrases=settings.person_phrases or handover.PHRASES,
    )


def _responders(settings: Settings, clock: Clock, http: httpx2.AsyncClient, database: Database) -> Sequence[Responder]:
    """In the order in which they are asked."""
    responders: list[Responder] = []
    if settings.manus_api_key:
        api = ManusApi(http, settings.manus_base_url, settings.manus_api_key.get_secret_value())
        responders.append(
            ManusResponder(
                api,
                clock,
                profile=settings.manus_profile,
                budget_seconds=settings.reply_budget_seconds,
                poll_seconds=settings.manus_poll_seconds,
                places={
                    call: SharedLimit(database, clock, f"manus.{call}", settings.manus_calls_a_minute, seconds=60)
                    for call in ("task.create", "task.sendMessage")
                },
            )
        )
    # The starter folder's shop is made up: real clients are never told its prices.
    knowledge = KnowledgeResponder(settings.knowledge_dir, clock, with_examples=not settings.amocrm_connected)
    responders += [knowledge, TemplateResponder()]
    return responders


def _amocrm(settings: Settings, clock: Clock, http: httpx2.AsyncClient, database: Database) -> AmoClient | None:
    if settings.amocrm_base_url is None or settings.amocrm_token is None:
        return None
    # Spread over the second: calls that leave all at once may be held up and meet those of the next second.
    limit = SharedLimit(database, clock, "amocrm", 1, seconds=1 / settings.amocrm_calls_a_second)
    return AmoClient(http, settings.amocrm_base_url, settings.amocrm_token.get_secret_value(), limit)


def _only_one(path: Path) -> IO[bytes]:
    """Two servers on one SQLite file would both answer; the system drops the lock when the process ends."""
    try:
        lock = path.with_name(path.name + ".lock").open("wb")
    except OSError as error:
        raise DatabaseUnfit(_("{file} cannot be written: {cause}").format(file=path, cause=error.strerror)) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise DatabaseUnfit(
            _("another Otvet is running on {file}; stop it first, or set OTVET_DATABASE_URL").format(file=path)
        ) from error
    return lock
