"""The part of ``otvet check`` about the amoCRM account. It changes nothing."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx2
from sqlalchemy.engine import Connection

from otvet.account import account, watch
from otvet.account.health import State
from otvet.account.renewal import Tokens
from otvet.account.watch import BY_HAND, EXPOSED, HOOKED, NO_ADDRESS, lasting
from otvet.amocrm.addresses import is_exposed
from otvet.amocrm.client import AmoClient
from otvet.amocrm.hooks import NEEDED
from otvet.amocrm.token import TokenSource, ends_at
from otvet.clock import SystemClock
from otvet.errors import OtvetError, ServiceError
from otvet.i18n import N_, _
from otvet.schema import upgrade
from otvet.settings.by_channel import NOTE, ways_in
from otvet.settings.settings import Settings
from otvet.storage import keyvalue, outages
from otvet.storage.database import Database
from otvet.storage.outages import Outage
from otvet.turns import arrival

NOT_SEEN = N_(
    "whether clients get the replies cannot be seen ({ways}): none has come back from amoCRM as an outgoing message "
    "yet. Tick the event of outgoing messages in the webhook, then write to a channel to try it"
)
SWITCHED_OFF = N_(
    "amoCRM has switched the webhook off. A running Otvet switches it on again within ten minutes; if it stays off: in "
    "amoMarket, WebHooks, press Enable and save"
)
SEEN = N_("replies come back as outgoing messages; one that has not after {minutes} minutes is on the operator's list")


@dataclass(frozen=True, slots=True)
class _Stored:
    """What the database holds about the account."""

    outage: Outage | None
    secret: str | None
    deliveries: tuple[State, str]
    unseen: frozenset[str]  # the delivery methods by which no reply has come back yet


async def look(settings: Settings, http: httpx2.AsyncClient) -> AsyncIterator[tuple[str, State, str]]:
    """(subject, state, sentence) for each subject."""
    name = _("amoCRM")
    if not settings.amocrm_connected:
        yield name, *_not_connected(settings)
        return
    database = Database(settings.database_url)
    database.start()
    try:
        async for finding in _connected(settings, http, database):
            yield finding
    except OtvetError as error:
        yield name, "bad", str(error)
    finally:
        await database.stop()


def _not_connected(settings: Settings) -> tuple[State, str]:
    given: dict[str, object] = {"OTVET_AMOCRM_BASE_URL": settings.amocrm_base_url}
    if settings.amocrm_client_id or settings.amocrm_client_secret:
        given["OTVET_AMOCRM_CLIENT_ID"] = settings.amocrm_client_id
        given["OTVET_AMOCRM_CLIENT_SECRET"] = settings.amocrm_client_secret
    else:
        given["OTVET_AMOCRM_TOKEN"] = settings.amocrm_token
    missing = [variable for variable, value in given.items() if value is None]
    half = len(missing) < len(given)
    sentence = _(
        "not connected: start otvet connect, or set {missing}; until then replies stay here, no client gets them"
    )
    return "bad" if half else "warning", sentence.format(missing=", ".join(missing))


async def _connected(
    settings: Settings, http: httpx2.AsyncClient, database: Database
) -> AsyncIterator[tuple[str, State, str]]:
    stored = await _read(settings, database)
    if stored is not None and stored.outage is not None and stored.outage.reason == "banned":
        yield _("amoCRM"), "bad", stored.outage.sentence  # a call would make it last longer
        return
    async with account.tokens(settings, SystemClock(), http, database) as source:
        if stored is None and isinstance(source, Tokens):
            yield _("amoCRM"), "bad", _("there is no consent yet; start otvet connect")
            return
        assert source is not None
        assert settings.amocrm_base_url is not None
        amocrm = AmoClient(http, settings.amocrm_base_url, source, None)
        found = await amocrm.account()
        yield _("amoCRM"), "good", _("account {name} ({id})").format(name=found.name, id=found.id)
        if is_exposed(settings.amocrm_base_url):
            yield _("Token"), "warning", _(EXPOSED)
        yield _("Token"), *await _token(source)
        yield _("Webhook"), *await _webhook(settings, amocrm, stored)
    if stored is not None:
        yield _("Deliveries"), *stored.deliveries
    if _into_chat(settings):
        yield _("Arrival"), *_arrival(settings, stored)


def _into_chat(settings: Settings) -> frozenset[str]:
    """The delivery methods into the client's chat that are set for any channel."""
    return frozenset(ways_in(settings.reply_via).values()) - {NOTE}


def _arrival(settings: Settings, stored: _Stored | None) -> tuple[State, str]:
    """Whether it is seen that replies reach the client."""
    unseen = _into_chat(settings) if stored is None else stored.unseen
    if unseen:
        return "warning", _(NOT_SEEN).format(ways=", ".join(sorted(unseen)))
    if not settings.arrival_minutes:
        return "good", _("replies come back as outgoing messages; those that do not are not looked for")
    minutes = f"{settings.arrival_minutes:g}"
    return "good", _(SEEN).format(minutes=minutes)


async def _read(settings: Settings, database: Database) -> _Stored | None:
    """The stored values; None without a database of the latest schema."""
    if settings.is_sqlite and not settings.sqlite_path.exists():
        return None

    def read(connection: Connection) -> _Stored | None:
        if upgrade.version(connection) != upgrade.LATEST:
            return None
        secret = keyvalue.recall(connection, "webhook_secret")
        outage = outages.current(connection)
        unseen = frozenset(way for way in _into_chat(settings) if arrival.comes_back_as(connection, way) is None)
        deliveries = watch.deliveries(connection, watch.watched(settings, secret or ""), SystemClock().now())
        return _Stored(outage, secret, deliveries, unseen)

    return await database.read(read)


async def _token(source: TokenSource) -> tuple[State, str]:
    now = SystemClock().now()
    if not isinstance(source, Tokens):
        return lasting(ends_at(await source.token()), now, renewed=False)
    pair = await source.look()
    if pair is not None and pair.refusal is not None:
        return "bad", pair.refusal
    return lasting(pair.consent_ends_at if pair else None, now, renewed=True)


async def _webhook(settings: Settings, amocrm: AmoClient, stored: _Stored | None) -> tuple[State, str]:
    secret = settings.webhook_secret.get_secret_value() if settings.webhook_secret else stored and stored.secret
    if settings.public_url is None or not secret:
        return "warning", _(NO_ADDRESS)
    try:
        hook = await amocrm.hook(settings.webhook_url(secret))
    except ServiceError as error:
        return "warning", _(BY_HAND).format(reason=error)
    if hook is None or NEEDED not in hook.events:
        return "bad", _("amoCRM does not send the messages to this server; start otvet connect")
    return ("bad", _(SWITCHED_OFF)) if hook.disabled else ("good", _(HOOKED))
