"""What connecting an account takes once everything is known, for the command and for the pages; and its progress."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx2
from sqlalchemy.engine import Connection

from otvet.account import account, setup
from otvet.account.health import Step
from otvet.account.renewal import Tokens
from otvet.account.setup import Checked
from otvet.account.subscribing import subscribe_webhook
from otvet.amocrm.client import AmoClient
from otvet.amocrm.token import TokenSource, ends_at
from otvet.clock import Clock
from otvet.errors import UsageError
from otvet.i18n import N_, _
from otvet.settings.settings import Settings
from otvet.settings.working_hours import zone_of
from otvet.storage import keyvalue, outages
from otvet.storage.database import Database

NO_ADDRESS_YET = N_("Give this server a public https address, then: otvet connect --public-url https://...")
PROGRESS = "amocrm_connecting"
LONGEST = timedelta(minutes=25)  # a consent is waited for 20 minutes


def token_in(given: str) -> str:
    """The token without surrounding words; UsageError if it is no token."""
    token = given.strip().removeprefix("Bearer").strip()
    if not token:
        raise UsageError(_("the token is empty; give --token"), exit_code=2)
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise UsageError(_("this is no token: it is one long line of Latin letters, digits and dots"), exit_code=2)
    return token


async def must_wait(database: Database, settings: Settings) -> Step | None:
    """The step where amoCRM must not be called at all: every further call would make the ban last longer."""
    outage = await database.read(lambda connection: outages.current(connection))
    if outage is None or outage.reason != "banned":
        return None
    when = outage.look_again_at.astimezone(zone_of(settings.timezone)).strftime("%H:%M")
    next_ = _("Otvet tries again by itself at {moment}; then start this once more.").format(moment=when)
    return Step(_("amoCRM"), "bad", outage.sentence, next_)


def client_of(
    settings: Settings, clock: Clock, database: Database, http: httpx2.AsyncClient, source: TokenSource
) -> AmoClient:
    """A client that calls during an outage too: this is how it comes to be over."""
    assert settings.amocrm_base_url is not None
    return AmoClient(http, settings.amocrm_base_url, source, account.limit(settings, clock, database))


async def check_access(
    database: Database, clock: Clock, client: AmoClient, base_url: str, source: TokenSource
) -> Checked:
    """Whether the account lets this token in, and for how long."""
    pair = await source.look() if isinstance(source, Tokens) else None
    ends = pair.consent_ends_at if pair else ends_at(await source.token())
    return await setup.check_token(database, client, base_url, ends, clock, renewed=isinstance(source, Tokens))


async def webhook_secret(database: Database, settings: Settings) -> str:
    """The last part of the webhook's address."""
    if settings.webhook_secret:
        return settings.webhook_secret.get_secret_value()
    return await database.write(
        lambda connection: keyvalue.recall_or_make(connection, "webhook_secret", entropy_bytes=24)
    )


async def have_it_post_here(
    settings: Settings, clock: Clock, database: Database, http: httpx2.AsyncClient, client: AmoClient, secret: str
) -> list[Step]:
    """Have amoCRM post the messages to this server, after a trial delivery."""
    public_url = settings.public_url
    assert settings.amocrm_base_url is not None
    if public_url is None:
        return [Step(_("Webhook"), "bad", _("amoCRM cannot reach this server"), _(NO_ADDRESS_YET))]
    wrong = setup.name_of_server(public_url)
    destination, now = settings.webhook_url(secret), clock.now()
    way = await setup.try_delivery(http, destination, settings.webhook_url_here(secret), secret, clock)
    base_url, reached = settings.amocrm_base_url, way.state != "bad"
    hooks = await subscribe_webhook(database, client, base_url, destination, now, reached=reached)
    return [*([wrong] if wrong else []), way, *hooks]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the pages have come with the account. begun_at: None if nobody has tried yet.

    running: more steps come. bots: (number, name) of the account's Salesbots, where they were asked for.
    consent: amoCRM's page, while a consent is waited for.
    """

    steps: Sequence[Step] = ()
    begun_at: datetime | None = None
    running: bool = False
    bots: Sequence[tuple[int, str]] = ()
    consent: str = ""


def recall(connection: Connection, now: datetime) -> Progress:
    """What was stored last. A run whose process has died is not under way any more."""
    kept: dict[str, Any] = json.loads(keyvalue.recall(connection, PROGRESS) or "{}")
    if not kept:
        return Progress()
    begun_at = datetime.fromisoformat(kept["begun_at"])
    running = kept["running"] and now - begun_at < LONGEST
    bots = [(int(number), str(name)) for number, name in kept["bots"]]
    return Progress([Step(**step) for step in kept["steps"]], begun_at, running, bots, kept["consent"])


def note(connection: Connection, progress: Progress) -> None:
    """Store it. Steps hold no token."""
    assert progress.begun_at is not None
    kept = asdict(progress) | {"begun_at": progress.begun_at.isoformat()}
    keyvalue.note(connection, PROGRESS, json.dumps(kept))
