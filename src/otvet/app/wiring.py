"""Makes the parts from the settings and hands them to each other: the one file that knows all packages."""

import os
import socket
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from ssl import SSLContext
from typing import IO
from uuid import uuid4

import httpx2
from pydantic import SecretStr

from otvet.account import account
from otvet.account.consenting import Consenting
from otvet.account.outage_probe import OutageProbe
from otvet.account.watch import Watch, watched
from otvet.amocrm.client import AmoClient
from otvet.amocrm.files import Files
from otvet.answering.answering import Answering
from otvet.answering.engine import Engine
from otvet.answering.voice import Voice
from otvet.answering.worker import Worker
from otvet.answering.writer import Checks, ReplyWriter
from otvet.app import in_force, manus
from otvet.app.in_force import InForce
from otvet.app.policies import answer_policy, delivery_options, notice_options, writing_options
from otvet.app.pulse import Pulse
from otvet.app.service import Service
from otvet.clock import Clock, SystemClock
from otvet.deals import known
from otvet.deals.background import LowPriorityLimiter
from otvet.deals.reading import Deals
from otvet.delivery.arrivals import Arrivals
from otvet.delivery.delivery import Delivery
from otvet.delivery.methods import DeliveryMethod, DeliveryOptions, build_methods
from otvet.delivery.staff_task import StaffTasks
from otvet.guard.masking import Masker
from otvet.intake.deal_finder import Finder
from otvet.intake.inbox import Inbox
from otvet.notices.apprise import ByApprise
from otvet.notices.notices import Notices
from otvet.responders.base import Responder
from otvet.responders.chat import models
from otvet.responders.chat.responder import ChatResponder
from otvet.responders.chat.transcription import Transcription
from otvet.responders.circuit import Circuit
from otvet.responders.knowledge.responder import Knowledge, KnowledgeResponder
from otvet.responders.template import TemplateResponder
from otvet.schema import upgrade
from otvet.settings import checks, working_hours
from otvet.settings.by_channel import WIDGET
from otvet.settings.settings import Settings
from otvet.storage import keyvalue, single_instance
from otvet.storage.database import Database
from otvet.users import first_code
from otvet.users.token_file import TokenFile
from otvet.widget import told_twice
from otvet.widget.method import Widget

CONNECTIONS = 20  # httpx searches all connections at every call: many more would hold up the webhook
AMOCRM_CONNECTIONS = 8  # a separate pool, so that no note waits behind a slow AI
JUST_READ = timedelta(minutes=5)
"""The oldest card from which it may be decided whether a deal is answered."""


def wire(settings: Settings, clock: Clock | None = None) -> Service:
    """Prepare the database and make the service. Raises DatabaseUnfit or SettingsError, each with a sentence.

    settings: those of the environment; what is kept on the pages is read from the database.
    """
    clock = clock or SystemClock()
    models.from_settings(settings, clock)  # what is wrong here is said before anything is made
    delivery_options(settings)
    lock = single_instance.lock(settings.sqlite_path) if settings.is_sqlite else None
    database = Database(settings.database_url)
    upgrade.prepare(database, clock.now())
    found = database.read_now(lambda connection: in_force.read(connection, settings))
    return parts(found, clock, database, lock)


def parts(found: InForce, clock: Clock, database: Database, lock: IO[bytes] | None) -> Service:
    """The service with these settings, around a database that is ready."""
    in_force.say_what_is_left_out(found)
    settings = found.settings
    model = models.from_settings(settings, clock)
    options, policy = delivery_options(settings), answer_policy(settings)
    # The mode kept on the pages is read at every decision.
    policy = replace(policy, mode=found.given.mode, mode_is_fixed=found.is_fixed("mode"))
    name, secret = _name_and_secret(settings, database)
    token_file = TokenFile(settings.token_file)
    token_file.renew()
    certificates = httpx2.create_ssl_context()  # reads the certificates once for both clients
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
    responders = writers(settings, clock, http, database, model)
    background = _background_client(settings, clock, database, amocrm)
    zone = working_hours.zone_of(settings.timezone)
    max_age = JUST_READ if policy.selection.looks_at_the_deal else known.OLD
    deals = Deals(database, clock, background, settings.context_fields, zone, max_age) if background else None
    voice = _voice(settings, http, database)
    worker = Worker(database, clock, engine, installation_name=name, me=me)
    answering = Answering(
        database,
        clock,
        responders.writer,
        responders.knowledge,
        delivery,
        policy,
        writing_options(settings),
        me,
        deals,
        voice,
        worker,
    )
    outage_probe = OutageProbe(database, clock, amocrm, answering.amocrm_is_back) if amocrm else None
    finder = Finder(database, clock, background, worker.put)
    pause = timedelta(minutes=settings.manager_pause_minutes)
    adopt = told_twice.adopt if settings.amocrm_client_secret else None
    inbox = Inbox(database, clock, partial(worker.put, new=True), pause, adopt)
    watch = Watch(database, clock, amocrm, source, inbox, watched(settings, secret)) if amocrm and source else None
    return Service(
        me=me,
        in_force=found,
        settings=settings,
        clock=clock,
        database=database,
        engine=engine,
        inbox=inbox,
        worker=worker,
        http=http,
        amocrm_http=amocrm_http,
        answering=answering,
        writer=responders.writer,
        knowledge=responders.knowledge,
        delivery=delivery,
        staff_tasks=StaffTasks(database, clock, amocrm, installation_name=name, policy=policy, begin=worker.put),
        arrivals=Arrivals(database, clock, timedelta(minutes=settings.arrival_minutes)),
        outage_probe=outage_probe,
        watch=watch,
        source=source,
        consenting=Consenting(database, clock, amocrm_http, partial(account.vault_of, settings)),
        finder=finder,
        deals=deals,
        webhook_secret=secret,
        model=model,
        voice=voice,
        token_file=token_file,
        lock=lock,
        pulse=Pulse(database, clock),
        notices=_notices(settings, clock, database),
    )


def _notices(settings: Settings, clock: Clock, database: Database) -> Notices | None:
    addresses = checks.addresses(settings.notify)
    return Notices(database, clock, ByApprise(addresses), notice_options(settings)) if addresses else None


def _name_and_secret(settings: Settings, database: Database) -> tuple[str, str]:
    """The installation's name, and the secret in the webhook's address."""
    with database.writes.begin() as connection:
        first_code.make(connection)
        name = keyvalue.recall_or_make(connection, "name", entropy_bytes=6)
        if settings.webhook_secret:
            return name, settings.webhook_secret.get_secret_value()
        return name, keyvalue.recall_or_make(connection, "webhook_secret", entropy_bytes=24)


def _http(certificates: SSLContext, connections: int) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        verify=certificates,
        timeout=httpx2.Timeout(20, connect=5),  # after a time-out the call may have been carried out all the same
        limits=httpx2.Limits(max_connections=connections, max_keepalive_connections=connections),
    )


def _voice(settings: Settings, http: httpx2.AsyncClient, database: Database) -> Voice | None:
    if settings.transcribe_base_url is None or settings.transcribe_model is None:
        return None
    key = settings.transcribe_api_key.get_secret_value() if settings.transcribe_api_key else None
    transcription = Transcription(settings.transcribe_base_url, settings.transcribe_model, key)
    return Voice(database, Files(http), transcription)


def delivery_methods(
    database: Database, clock: Clock, amocrm: AmoClient, options: DeliveryOptions
) -> dict[str, DeliveryMethod]:
    """The methods into the client's chat that are set for any channel, by name."""
    made = build_methods(database, clock, amocrm, options)
    if WIDGET in options.via.values():
        made[WIDGET] = Widget(database, clock, amocrm, show=options.show)
    return made


@dataclass
class Writers:
    """The writer with its responders, and the knowledge folder that they share."""

    writer: ReplyWriter
    knowledge: Knowledge


def writers(
    settings: Settings, clock: Clock, http: httpx2.AsyncClient, database: Database, model: ChatResponder | None
) -> Writers:
    """Make the responders in the order of the settings; one without a key or an address is left out."""
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
    writer = ReplyWriter(
        [responder for name in order if (responder := connected[name])],
        TemplateResponder(),
        summariser=by_model if "openai" in order else None,
        masker=_masker(database) if settings.mask_personal_data else None,
        checks=Checks(settings.number_guard, _keys(settings)),
    )
    return Writers(writer, knowledge)


def _masker(database: Database) -> Masker:
    with database.writes.begin() as connection:
        return Masker(keyvalue.recall_or_make(connection, "mask_key", entropy_bytes=24).encode())


def _keys(settings: Settings) -> tuple[str, ...]:
    """The secrets of the settings, which must never stand in a reply."""
    held = (value for _name, value in settings if isinstance(value, SecretStr))
    return tuple(filter(None, (value.get_secret_value() for value in held)))


def _background_client(
    settings: Settings, clock: Clock, database: Database, amocrm: AmoClient | None
) -> AmoClient | None:
    """A client for background calls to the account, which lets replies go first."""
    limit = LowPriorityLimiter(
        account.limit(settings, clock, database), clock, patience=1 / settings.amocrm_calls_a_second
    )
    return amocrm.with_limiter(limit) if amocrm else None
