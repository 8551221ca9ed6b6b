"""The program put together: the one place that knows all parts."""

import asyncio
import contextlib
import os
import socket
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from ssl import SSLContext
from typing import IO
from uuid import uuid4

import httpx2
import structlog
from pydantic import SecretStr
from sqlalchemy.engine import Connection

from otvet.account import account, tokens
from otvet.account.consenting import Consenting
from otvet.account.outage_probe import Lookout
from otvet.account.renewal import Tokens
from otvet.account.watch import Watch, Watched
from otvet.amocrm.client import AmoClient
from otvet.amocrm.files import Files
from otvet.amocrm.token import TokenSource
from otvet.answering.answering import Answering, WritingOptions
from otvet.answering.engine import Engine
from otvet.answering.in_every_process import repeat
from otvet.answering.instructions import Instructions
from otvet.answering.voice import Voice
from otvet.answering.worker import Worker
from otvet.app import manus
from otvet.clock import Clock, SystemClock
from otvet.deals import known
from otvet.deals.background import Yielding
from otvet.deals.reading import Deals
from otvet.deals.selection import Selection
from otvet.delivery.delivery import Delivery
from otvet.delivery.methods import FIELD, DeliveryMethod, DeliveryOptions, build_methods
from otvet.errors import SettingsError, StorageError
from otvet.guard.masking import Masker
from otvet.i18n import _
from otvet.intake import own_account
from otvet.intake.deal_finder import Finder
from otvet.intake.inbox import Inbox
from otvet.responders.base import Responder
from otvet.responders.chat import models
from otvet.responders.chat.responder import ChatResponder
from otvet.responders.chat.transcription import Transcription
from otvet.responders.circuit import Circuit
from otvet.responders.knowledge.responder import Knowledge, KnowledgeResponder
from otvet.responders.template import TemplateResponder
from otvet.schema import upgrade
from otvet.settings import old_names, working_hours
from otvet.settings.by_channel import SALESBOT, WIDGET, ways_in
from otvet.settings.checks import AS_ALWAYS, SILENT
from otvet.settings.settings import Settings
from otvet.staff import stats
from otvet.storage import heartbeats, keyvalue, outages, single_instance
from otvet.storage.database import Database
from otvet.turns import human_request, queue
from otvet.turns.policy import Policy
from otvet.widget import told_twice
from otvet.widget.method import Widget
from otvet.writing import Checks, Writing

log = structlog.get_logger(__name__)

IN_STEP_SECONDS = 15.0
FINISH_SECONDS = 16.0  # from the word to stop until what is on its way is waited for no longer

CONNECTIONS = 20  # a call looks through all of its client's: a crowd of answers at one moment would hold up the webhook
AMOCRM_CONNECTIONS = 8  # of its own, so that no note waits for one behind a slow AI

JUST_READ = timedelta(minutes=5)
"""What decides whether a deal is answered is not taken from an older reading."""


@dataclass
class Service:
    """A running Otvet; ``start`` and ``stop`` it on one event loop. ``me`` names this process among others."""

    me: str
    settings: Settings
    clock: Clock
    database: Database
    engine: Engine
    inbox: Inbox
    worker: Worker
    http: httpx2.AsyncClient
    amocrm_http: httpx2.AsyncClient
    answering: Answering
    delivery: Delivery
    lookout: Lookout | None  # none while amoCRM is not connected
    watch: Watch | None  # as this one
    source: TokenSource | None
    consenting: Consenting
    finder: Finder
    deals: Deals | None
    webhook_secret: str
    model: ChatResponder | None
    lock: IO[bytes] | None  # held as long as it is open
    voice: Voice | None
    tasks: "list[asyncio.Task[None]]" = field(default_factory=list)
    told_to_stop_at: float | None = None  # by the monotonic clock; none: when it stops

    async def start(self) -> None:
        self.database.start()
        await self.database.write(self._arrive)
        self._register_jobs()
        await self.engine.start(self.answering.answer, wake=lambda turn_id: self.worker.put([turn_id]))
        self.worker.start()
        self.tasks.append(asyncio.create_task(self.delivery.prepare()))
        in_step = repeat(self.clock, IN_STEP_SECONDS, self._keep_in_step, "this process is not in step with the others")
        self.tasks.append(asyncio.create_task(in_step))

    def _register_jobs(self) -> None:
        """What one process does for all: the name, the seconds, the work."""
        every = self.engine.every
        every("find-deals", 3, self.finder.look)
        every("forget-finished", 600, self.worker.forget_finished)
        every("report", 600, self._report)
        if self.deals:
            every("read-deals", 5, self.deals.look)
        if self.lookout:
            every("look-out", 15, self.lookout.look)
        if self.watch:
            every("watch", 600, self.watch.look)

    async def _keep_in_step(self) -> None:
        """What every process has to tell the others and to learn from them."""
        if self.lookout:
            await self.lookout.notice()
        if self.watch:
            await self.watch.exchange()

    async def stop(self) -> None:
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
        with contextlib.suppress(StorageError):  # without it the others take the turns over a little later
            await self.database.write(self._leave)
        await self.database.stop()
        if self.model:
            await self.model.aclose()
        if self.voice:
            await self.voice.aclose()
        await self.http.aclose()
        await self.amocrm_http.aclose()
        if self.lock:
            self.lock.close()

    def _arrive(self, connection: Connection) -> None:
        heartbeats.beat(connection, self.me, self.clock.now())
        if field_id := old_names.salesbot_field(old_names.given()):
            keyvalue.note(connection, FIELD, str(field_id))
        self.inbox.account = own_account.expected(connection, self.settings.amocrm_base_url)
        if self.settings.amocrm_connected:
            outages.forget_refused_token(connection, outages.AMOCRM)
            tokens.forget_refusal(connection)
        else:
            outages.open_again(connection, outages.AMOCRM)  # what an account that is not connected any more refused
        if self.settings.is_sqlite:
            heartbeats.forget_others(connection, self.me)

    def _leave(self, connection: Connection) -> None:
        queue.release_all(connection, self.me)
        heartbeats.leave(connection, self.me)

    async def _report(self) -> None:
        log.info("stats", **await self.database.read(stats.read), uptime_seconds=stats.uptime_seconds())


def wire(settings: Settings, clock: Clock | None = None) -> Service:
    """Make the service's parts and its database ready. Raises DatabaseUnfit or SettingsError, each with a sentence."""
    clock = clock or SystemClock()
    model = models.from_settings(settings, clock)
    options, policy = delivery_options(settings), answer_policy(settings)
    lock = single_instance.hold(settings.sqlite_path) if settings.is_sqlite else None
    database = Database(settings.database_url)
    upgrade.prepare(database, clock.now())
    with database.writes.begin() as connection:
        name = keyvalue.recall_or_make(connection, "name", bytes_of_chance=6)
        secret = (
            settings.webhook_secret.get_secret_value()
            if settings.webhook_secret
            else keyvalue.recall_or_make(connection, "webhook_secret", bytes_of_chance=24)
        )
    certificates = httpx2.create_ssl_context()  # read once
    http, amocrm_http = _http(certificates, CONNECTIONS), _http(certificates, AMOCRM_CONNECTIONS)
    me = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"
    engine = Engine(settings.workflow_url, me)
    source = account.token_source(settings, clock, amocrm_http, database)
    amocrm = account.client(settings, clock, amocrm_http, database, source)
    delivery = Delivery(
        database,
        clock,
        amocrm,
        installation_name=name,
        me=me,
        policy=policy,
        options=options,
        methods=delivery_methods(database, clock, amocrm, options) if amocrm else {},
    )
    who = writers(settings, clock, http, database, model)
    lookout = Lookout(database, clock, amocrm, delivery.hurry) if amocrm else None
    patient = _in_the_background(settings, clock, database, amocrm)
    zone = working_hours.zone_of(settings.timezone)
    max_age = JUST_READ if policy.selection.looks_at_the_deal else known.OLD
    deals = Deals(database, clock, patient, settings.context_fields, zone, max_age) if patient else None
    voice = _voice(settings, http, database)
    answering = Answering(
        database, clock, who.writing, who.knowledge, delivery, policy, _writing_options(settings), me, deals, voice
    )
    worker = Worker(database, clock, engine, installation_name=name, me=me)
    finder = Finder(database, clock, patient, worker.put)
    pause = timedelta(minutes=settings.manager_pause_minutes)
    adopt = told_twice.adopt if settings.amocrm_client_secret else None
    inbox = Inbox(database, clock, partial(worker.put, new=True), pause, adopt)
    watch = None
    if amocrm and source and settings.amocrm_base_url:
        destination = settings.webhook_url(secret) if settings.public_url else None
        silence = None if settings.silence_hours is None else timedelta(hours=settings.silence_hours)
        over = Watched(
            settings.amocrm_base_url, destination, silence, working_hours.read(settings.working_hours, zone), zone
        )
        watch = Watch(database, clock, amocrm, source, inbox, over)
    return Service(
        me=me,
        settings=settings,
        clock=clock,
        database=database,
        engine=engine,
        inbox=inbox,
        worker=worker,
        http=http,
        amocrm_http=amocrm_http,
        answering=answering,
        delivery=delivery,
        lookout=lookout,
        watch=watch,
        source=source,
        consenting=Consenting(database, clock, amocrm_http, partial(account.vault_of, settings)),
        finder=finder,
        deals=deals,
        webhook_secret=secret,
        model=model,
        voice=voice,
        lock=lock,
    )


def _http(certificates: SSLContext, connections: int) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        verify=certificates,
        timeout=httpx2.Timeout(20, connect=5),  # a call whose answer is lost may have been carried out all the same
        limits=httpx2.Limits(max_connections=connections, max_keepalive_connections=connections),
    )


def _voice(settings: Settings, http: httpx2.AsyncClient, database: Database) -> Voice | None:
    if settings.transcribe_base_url is None or settings.transcribe_model is None:
        return None
    key = settings.transcribe_api_key.get_secret_value() if settings.transcribe_api_key else None
    transcription = Transcription(settings.transcribe_base_url, settings.transcribe_model, key)
    return Voice(database, Files(http), transcription)


def delivery_options(settings: Settings) -> DeliveryOptions:
    """How replies are delivered. Raises SettingsError where a method lacks what it needs."""
    via = ways_in(settings.reply_via)
    if SALESBOT in via.values() and settings.salesbot_id is None:
        raise SettingsError(_("OTVET_SALESBOT_ID: give the number of the Salesbot that sends the replies"))
    if WIDGET in via.values() and settings.amocrm_client_secret is None:
        raise SettingsError(_("OTVET_AMOCRM_CLIENT_SECRET: give the integration's secret key for the way widget"))
    return DeliveryOptions(
        via=via,
        note=settings.reply_note,
        salesbot_id=settings.salesbot_id,
        show=settings.widget_show,
    )


def delivery_methods(
    database: Database, clock: Clock, amocrm: AmoClient, options: DeliveryOptions
) -> dict[str, DeliveryMethod]:
    """The methods into the client's chat that are set for any channel, by name."""
    made = build_methods(database, amocrm, options)
    if WIDGET in options.via.values():
        made[WIDGET] = Widget(database, clock, amocrm, show=options.show)
    return made


def answer_policy(settings: Settings) -> Policy:
    """Which questions the assistant answers, and when."""
    return Policy(
        quiet=timedelta(seconds=settings.quiet_seconds),
        quiet_max=timedelta(seconds=settings.quiet_max_seconds),
        stale=timedelta(minutes=settings.stale_minutes),
        replies_a_day=settings.replies_a_day,
        mode=settings.mode,
        hours=working_hours.read(settings.working_hours, working_hours.zone_of(settings.timezone)),
        answers_out_of_hours=settings.out_of_hours == AS_ALWAYS,
        hours_text="" if settings.out_of_hours in (AS_ALWAYS, SILENT) else settings.out_of_hours,
        selection=Selection.of(settings.answer_only, settings.answer_except),
    )


def _writing_options(settings: Settings) -> WritingOptions:
    ceilings = {"manus": settings.manus_credits_per_day, "openai": settings.openai_tokens_per_day}
    return WritingOptions(
        history_messages=settings.history_messages,
        person_phrases=settings.person_phrases or human_request.PHRASES,
        instructions=Instructions(settings.instructions_file),
        zone=working_hours.zone_of(settings.timezone),
        ceilings={name: ceiling for name, ceiling in ceilings.items() if ceiling is not None},
    )


@dataclass
class Writers:
    """The responders, ready to be asked, and the knowledge that they share."""

    writing: Writing
    knowledge: Knowledge


def writers(
    settings: Settings, clock: Clock, http: httpx2.AsyncClient, database: Database, model: ChatResponder | None
) -> Writers:
    """The responders in the order in which they are asked; those without a key or an address are left out."""
    # The starter folder's shop is made up: real clients are never told its prices.
    knowledge = Knowledge(settings.knowledge_dir, clock, with_examples=not settings.amocrm_connected)
    by_manus = manus.responder(settings, clock, http, database)
    by_model = Circuit(model, clock, summariser=model) if model else None
    connected: dict[str, Responder | None] = {
        "manus": Circuit(by_manus, clock) if by_manus else None,
        "openai": by_model,
        "knowledge": KnowledgeResponder(knowledge),
    }
    order = settings.responder_order
    writing = Writing(
        [responder for name in order if (responder := connected[name])],
        TemplateResponder(),
        summariser=by_model if "openai" in order else None,
        masker=_masker(database) if settings.mask_personal_data else None,
        checks=Checks(settings.number_guard, _keys(settings)),
    )
    return Writers(writing, knowledge)


def _masker(database: Database) -> Masker:
    with database.writes.begin() as connection:
        return Masker(keyvalue.recall_or_make(connection, "mask_key", bytes_of_chance=24).encode())


def _keys(settings: Settings) -> tuple[str, ...]:
    """What must never stand in a reply."""
    held = (value for _name, value in settings if isinstance(value, SecretStr))
    return tuple(filter(None, (value.get_secret_value() for value in held)))


def _in_the_background(
    settings: Settings, clock: Clock, database: Database, amocrm: AmoClient | None
) -> AmoClient | None:
    """The same account for what nobody waits for: its calls let the replies go first."""
    limit = Yielding(account.limit(settings, clock, database), clock, patience=1 / settings.amocrm_calls_a_second)
    return amocrm.with_limiter(limit) if amocrm else None
