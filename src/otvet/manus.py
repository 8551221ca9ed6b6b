"""The Manus account put together: the responder, the limits all processes share, what is kept of it, its webhook."""

import asyncio
from dataclasses import dataclass, field

import httpx2
import structlog

from otvet import installation
from otvet.clock import Clock
from otvet.database import Database
from otvet.errors import OtvetError
from otvet.limits import SharedLimit
from otvet.responders.manus.api import ManusApi
from otvet.responders.manus.project import Projects
from otvet.responders.manus.responder import ManusResponder
from otvet.responders.manus.summary import ManusSummarizer
from otvet.responders.manus.wait import DETAIL, LIST_MESSAGES
from otvet.responders.manus.webhook import Signatures, register
from otvet.settings.settings import Settings
from otvet.task_stops import TaskStops

log = structlog.get_logger(__name__)

CALLS_A_MINUTE = 10  # of each kind of question: https://open.manus.ai/docs/v2/rate-limits
POLL_SECONDS = 2.0  # before the first look at a task
PROJECTS_AN_HOUR = 10  # none can be deleted over the API: a role text that keeps changing must not fill the account


@dataclass(frozen=True, slots=True)
class Webhook:
    """What is needed to take Manus's deliveries to ``url``."""

    url: str
    signatures: Signatures
    stops: TaskStops


@dataclass
class Manus:
    """One account. ``webhook`` is None where Manus cannot reach us; looking at the tasks alone is enough."""

    responder: ManusResponder
    summarizer: ManusSummarizer
    webhook: Webhook | None
    api: ManusApi
    facts: "_Facts"
    _registration: "asyncio.Task[None] | None" = field(default=None, repr=False)

    @classmethod
    def connect(cls, settings: Settings, clock: Clock, http: httpx2.AsyncClient, database: Database) -> "Manus | None":
        """None without a key."""
        if settings.manus_api_key is None:
            return None
        api = ManusApi(http, settings.manus_base_url, settings.manus_api_key.get_secret_value())
        facts, webhook = _Facts(database), None
        if url := settings.manus_webhook_url:
            webhook = Webhook(url, Signatures(api, clock, url), TaskStops(database, clock))
        place = SharedLimit(database, clock, "manus.project.create", PROJECTS_AN_HOUR, seconds=3600)
        places = _places(database, clock, CALLS_A_MINUTE)
        stops = webhook.stops if webhook else None
        responder = ManusResponder(
            api,
            clock,
            profile=settings.manus_profile,
            budget_seconds=settings.reply_budget_seconds,
            poll_seconds=POLL_SECONDS,
            places=places,
            projects=Projects(api, clock, facts, place),
            stops=stops,
        )
        summarizer = ManusSummarizer(
            api,
            clock,
            profile=lambda: responder.profile,
            budget_seconds=settings.reply_budget_seconds,
            poll_seconds=POLL_SECONDS,
            places=places,
            stops=stops,
        )
        return cls(responder, summarizer, webhook, api, facts)

    def start(self) -> None:
        """Have Manus call us; nothing waits for that."""
        if self.webhook:
            self._registration = asyncio.create_task(self._register(self.webhook))

    async def stop(self) -> None:
        if self._registration:
            self._registration.cancel()
            await asyncio.gather(self._registration, return_exceptions=True)

    async def _register(self, webhook: Webhook) -> None:
        try:
            await webhook.signatures.prepare()
            await register(self.api, webhook.url, self.facts)
        except OtvetError as error:
            log.warning("no webhook of Manus; its tasks are looked at instead", url=webhook.url, reason=str(error))
        else:
            log.info("Manus calls the webhook", url=webhook.url)


class _Facts:
    """What is kept of the account in the table ``installation``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def recall(self, name: str) -> str | None:
        return await self._database.read(lambda connection: installation.recall(connection, name)) or None

    async def keep(self, name: str, value: str) -> None:
        await self._database.write(lambda connection: installation.note(connection, name, value))


def _places(database: Database, clock: Clock, a_minute: int) -> dict[str, SharedLimit]:
    """Manus takes ``a_minute`` questions of each kind a minute and ten times as many looks.

    The looks are spread over the minute, so that no turn is without one for long.
    """
    asking = {call: SharedLimit(database, clock, f"manus.{call}", a_minute, seconds=60) for call in _ASKING}
    looking = {call: SharedLimit(database, clock, f"manus.{call}", a_minute, seconds=6) for call in _LOOKING}
    return asking | looking


_ASKING = ("task.create", "task.sendMessage")
_LOOKING = (LIST_MESSAGES, DETAIL)
