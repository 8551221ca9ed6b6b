"""A running Otvet: starts and stops its parts, and schedules the work beside answering.

When settings change, the parts are made anew around the same database, which goes on storing what comes in: first the
work of the old parts stops, then the new ones start and take open turns up, as after a restart.
"""

import asyncio
import contextlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import IO

import httpx2
import structlog
from sqlalchemy.engine import Connection

from otvet.account import tokens
from otvet.account.consenting import Consenting
from otvet.account.outage_probe import OutageProbe
from otvet.account.renewal import Tokens
from otvet.account.watch import Watch
from otvet.amocrm.token import TokenSource
from otvet.answering.answering import Answering
from otvet.answering.engine import Engine
from otvet.answering.in_every_process import repeat
from otvet.answering.voice import Voice
from otvet.answering.worker import Worker
from otvet.answering.writer import ReplyWriter
from otvet.app.in_force import InForce
from otvet.app.pulse import Pulse
from otvet.clock import Clock
from otvet.deals.reading import Deals
from otvet.delivery.arrivals import Arrivals
from otvet.delivery.delivery import Delivery
from otvet.delivery.methods import FIELD
from otvet.delivery.staff_task import StaffTasks
from otvet.errors import StorageError
from otvet.intake import own_account
from otvet.intake.deal_finder import Finder
from otvet.intake.inbox import Inbox
from otvet.notices.notices import Notices
from otvet.responders.chat.responder import ChatResponder
from otvet.responders.knowledge.responder import Knowledge
from otvet.search.index import Indexer
from otvet.settings import old_names
from otvet.settings.settings import Settings
from otvet.staff import stats
from otvet.storage import heartbeats, keyvalue, outages
from otvet.storage.database import Database
from otvet.turns import changes, staff
from otvet.users.token_file import TokenFile

log = structlog.get_logger(__name__)

EXCHANGE_SECONDS = 15.0  # between two exchanges of this process with the others
FINISH_SECONDS = 16.0  # how long after the signal to stop calls in flight are waited for


@dataclass
class Service:
    """A running Otvet; ``start`` and ``stop`` it on one event loop.

    me: the name of this process among all; another one with every set of parts.
    revision: of the kept settings, as taken up. jobs: what the pages have begun; it outlives a change of settings.
    changing_until: while the parts are made anew, how long that may take, by the monotonic clock.
    settings_changed: set by who changed settings, so that nobody waits for the next look at them.
    """

    me: str
    in_force: InForce
    settings: Settings
    clock: Clock
    database: Database
    engine: Engine
    inbox: Inbox
    worker: Worker
    http: httpx2.AsyncClient
    amocrm_http: httpx2.AsyncClient
    answering: Answering
    writer: ReplyWriter
    knowledge: Knowledge
    delivery: Delivery
    staff_tasks: StaffTasks
    arrivals: Arrivals
    outage_probe: OutageProbe | None  # none while amoCRM is not connected
    watch: Watch | None  # none while amoCRM is not connected
    source: TokenSource | None
    consenting: Consenting
    finder: Finder
    deals: Deals | None
    webhook_secret: str
    model: ChatResponder | None
    token_file: TokenFile
    lock: IO[bytes] | None  # the lock is held while the file is open
    voice: Voice | None
    pulse: Pulse
    notices: Notices | None  # none without an address to tell
    tasks: "list[asyncio.Task[None]]" = field(default_factory=list)
    revision: str = ""
    changing_until: float = 0.0
    jobs: "set[asyncio.Task[None]]" = field(default_factory=set)
    settings_changed: asyncio.Event = field(default_factory=asyncio.Event)
    told_to_stop_at: float | None = None  # by the monotonic clock; none: when stop() is called

    async def start(self) -> None:
        """Start the database too, unless it is running for the parts of before."""
        if not self.database.is_running:
            self.database.start()
        await self.database.write(self._arrive)
        self._register_jobs()
        await self.engine.start(self.answering.answer, wake=lambda turn_id: self.worker.put([turn_id]))
        self.worker.start()
        self.tasks.append(asyncio.create_task(self.delivery.prepare()))
        failed = "this process is not in step with the others"
        exchange = repeat(self.clock, EXCHANGE_SECONDS, self._exchange_with_others, failed)
        self.tasks.append(asyncio.create_task(exchange))

    def _register_jobs(self) -> None:
        """The jobs that one process does for all: name, seconds, work."""
        every = self.engine.every
        every("find-deals", 3, self.finder.look)
        every("forget-finished", 600, self.worker.forget_finished)
        every("report", 600, self._report)
        every("tell-staff", 3, self.staff_tasks.look)
        every("completed-tasks", 30, self.staff_tasks.look_at_completed)
        every("tidy-drafts", 10, self.staff_tasks.tidy_drafts)
        every("tidy-tasks", 60, self.staff_tasks.tidy_tasks)
        every("look-for-replies", 20, self.arrivals.look)
        if self.notices:
            every("notices", 30, self.notices.look)
        every("index-messages", 3, Indexer(self.database, self.clock).look)
        if self.deals:
            every("read-deals", 5, self.deals.look)
        if self.outage_probe:
            every("look-out", 15, self.outage_probe.look)
        if self.watch:
            every("watch", 600, self.watch.look)

    async def _exchange_with_others(self) -> None:
        """Tell the other processes what this one knows, and learn what they know: outages, the watch's findings."""
        if self.outage_probe:
            await self.outage_probe.notice()
        if self.watch:
            await self.watch.exchange()

    async def stop(self) -> None:
        self.pulse.end()
        for job in self.jobs:
            job.cancel()
        await asyncio.gather(*self.jobs, return_exceptions=True)
        await self.stop_work()
        await self.database.stop()
        await self.close_calls()
        if self.lock:
            self.lock.close()

    async def stop_work(self) -> None:
        """Stop all but the database: what comes in is still stored, and nothing is answered."""
        told_at = self.clock.monotonic() if self.told_to_stop_at is None else self.told_to_stop_at
        until = told_at + FINISH_SECONDS
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.engine.stop_jobs()
        if self.deals:
            await self.deals.stop()
        await self.worker.stop()
        await self.delivery.finish(until)
        await self.engine.stop()
        if isinstance(self.source, Tokens):
            await self.source.finish(until)
        with contextlib.suppress(StorageError):  # then the others take the turns over a little later
            await self.database.write(self._leave)

    async def close_calls(self) -> None:
        if self.model:
            await self.model.aclose()
        if self.voice:
            await self.voice.aclose()
        await self.http.aclose()
        await self.amocrm_http.aclose()

    @property
    def works(self) -> bool:
        """Whether questions are worked on, or will be in a moment."""
        running = self.engine.running and self.worker.running
        return running or self.clock.monotonic() < self.changing_until

    def take_over(self, other: "Service") -> None:
        """Be the other one from now on. Whoever has this object sees the parts that work."""
        kept = ("pulse", "revision", "changing_until", "jobs", "settings_changed", "told_to_stop_at")
        self.__dict__.update({name: value for name, value in other.__dict__.items() if name not in kept})

    def _arrive(self, connection: Connection) -> None:
        heartbeats.beat(connection, self.me, self.clock.now())
        if field_id := old_names.salesbot_field(old_names.given()):
            keyvalue.note(connection, FIELD, str(field_id))
        self.inbox.account = own_account.expected(connection, self.settings.amocrm_base_url)
        if self.settings.amocrm_connected:
            outages.forget_wrong_settings(connection)
            tokens.forget_refusal(connection)
            staff.release_kept(connection, timedelta(minutes=self.settings.stale_minutes), self.clock.now())
        else:
            outages.end(connection)  # what an account that is not connected any more refused
        if self.settings.is_sqlite:
            heartbeats.forget_others(connection, self.me)

    def _leave(self, connection: Connection) -> None:
        changes.release_all(connection, self.me)
        heartbeats.leave(connection, self.me)

    async def _report(self) -> None:
        now = self.clock.now()
        read = await self.database.read(lambda connection: stats.read(connection, now))
        log.info("stats", **read, uptime_seconds=stats.uptime_seconds())
