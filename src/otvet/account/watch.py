"""The watch over the account: every ten minutes one process checks that messages still come in and replies go out.

Most integrations die quietly: a token expires, a webhook is switched off. The findings are stored in ``watched``, where
``otvet check``, ``GET /ready`` and the metrics read them.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

import structlog
from sqlalchemy.engine import Connection

from otvet.account import health
from otvet.account.health import DELIVERIES, LAST_DELIVERY, SINCE, TOKEN, TOKEN_ENDS, WEBHOOK, State
from otvet.account.renewal import Tokens
from otvet.amocrm.addresses import is_exposed
from otvet.amocrm.answers import AmoError
from otvet.amocrm.client import AmoClient
from otvet.amocrm.hooks import NEEDED, Subscription, subscribe
from otvet.amocrm.token import TokenSource, ends_at
from otvet.clock import Clock
from otvet.errors import OtvetError, ServiceError
from otvet.i18n import N_, _
from otvet.intake import own_account
from otvet.intake.inbox import Inbox
from otvet.settings import working_hours
from otvet.settings.settings import Settings
from otvet.settings.working_hours import Hours
from otvet.storage import outages
from otvet.storage.database import Database

log = structlog.get_logger(__name__)

WARN_BEFORE = timedelta(days=30)
WARN_BEFORE_CONSENT_ENDS = timedelta(days=14)  # a pair that is renewed every day never gets that old
SILENCE = timedelta(hours=24)
SILENCE_IN_WORKING_HOURS = timedelta(hours=8)

VALID = N_("the token works")
VALID_UNTIL = N_("the token works until {day}")
CONSENT_ENDS_SOON = N_("amoCRM gives no new token, and the consent ends on {day}: give it anew with otvet connect")
ENDS_SOON = N_("the token ends on {day}: make a new one in the integration's settings, then: otvet connect")
EXPOSED = N_(
    "the token crosses the network unencrypted: let OTVET_AMOCRM_BASE_URL begin with https, and make a new token"
)
HOOKED = N_("amoCRM sends the messages to this server")
MENDED = N_(
    "amoCRM had switched the webhook off, and it was switched on again at {moment}. amoCRM does that after more than a "
    "hundred failures in two hours: see whether the server was away"
)
STAYS_OFF = N_(
    "amoCRM has switched the webhook off, and it cannot be switched on from here: in amoMarket, WebHooks, press Enable "
    "and save"
)
WAS_MISSING = N_("the webhook was missing in amoCRM, and was subscribed again at {moment}")
BY_HAND = N_("whether the webhook is there cannot be seen from here ({reason})")
NO_ADDRESS = N_("amoCRM cannot reach this server: set OTVET_PUBLIC_URL, then: otvet connect")
HEARD = N_("the last delivery came at {moment}")
SILENT = N_(
    "nothing has come from amoCRM since {moment}: write to one of the connected channels, and see whether it arrives"
)
NOTHING_YET = N_("nothing has come from amoCRM yet: write to one of the connected channels to try it")


@dataclass(frozen=True, slots=True)
class Watched:
    """What the watch checks.

    destination: the address that amoCRM should post to; None if there is none.
    silence: how long nothing may come before a warning; None: the usual time; zero: never warn.
    hours: when clients write; None: always.
    zone: the time zone of moments in sentences; None: the machine's.
    """

    base_url: str
    destination: str | None
    silence: timedelta | None = None
    hours: Hours | None = None
    zone: tzinfo | None = None

    def shown(self, moment: datetime) -> str:
        return moment.astimezone(self.zone).strftime("%d.%m.%Y %H:%M")

    def is_silent(self, since: datetime, now: datetime) -> bool:
        """Whether the silence is longer than allowed."""
        usual, lasted = SILENCE, now - since
        if self.hours:
            usual, lasted = SILENCE_IN_WORKING_HOURS, self.hours.open_for(since, now)
        allowed = usual if self.silence is None else self.silence
        return bool(allowed) and lasted > allowed


def watched(settings: Settings, secret: str) -> Watched:
    """What the watch checks, by the settings. secret: of the webhook's address."""
    zone = working_hours.zone_of(settings.timezone)
    return Watched(
        settings.amocrm_base_url or "",
        settings.webhook_url(secret) if settings.public_url else None,
        None if settings.silence_hours is None else timedelta(hours=settings.silence_hours),
        working_hours.read(settings.working_hours, zone),
        zone,
    )


class Watch:
    """Watches one account."""

    def __init__(
        self, database: Database, clock: Clock, amocrm: AmoClient, source: TokenSource, inbox: Inbox, over: Watched
    ) -> None:
        self._database = database
        self._clock = clock
        self._amocrm = amocrm
        self._source = source
        self._inbox = inbox
        self._over = over

    async def exchange(self) -> None:
        """Store when this process's inbox last got a delivery, and tell the inbox what is known of the account.

        Every process runs this: its inbox is in its own memory.
        """
        heard, base_url = self._inbox.last_delivery_at, self._over.base_url
        if heard is not None:
            await self._database.write(lambda connection: _note_heard(connection, heard))
        self._inbox.account = await self._database.read(lambda connection: own_account.expected(connection, base_url))

    async def look(self) -> None:
        """Check all subjects, repair what can be repaired, store the findings. One process runs this for all."""
        await self.exchange()
        token, ends = await self._token()
        found = {TOKEN: token}
        if token[0] != "bad":
            found[WEBHOOK] = await self._webhook()
        now, over = self._clock.now(), self._over
        await self._database.write(lambda connection: _begin_watching(connection, now))
        found[DELIVERIES] = await self._database.read(lambda connection: deliveries(connection, over, now))
        before = await self._database.read(health.seen)
        for subject, (state, sentence) in found.items():
            if state != "good" or (subject in before and before[subject].state != "good"):
                tell = log.info if state == "good" else log.warning if state == "warning" else log.error
                tell("the watch over amoCRM", subject=subject, state=state, told=sentence)

        def keep(connection: Connection) -> None:
            health.keep(connection, found, now)
            health.note_moment(connection, TOKEN_ENDS, ends)

        await self._database.write(keep)
        await self.exchange()

    async def _token(self) -> tuple[tuple[State, str], datetime | None]:
        """How the token is, and when a person has to bring another one, where that is known."""
        outage = await self._database.read(lambda connection: outages.current(connection))
        ends = await self._ends()
        if outage is not None:  # only the outage probe calls in it, which keeps to the pauses
            return ("bad", outage.sentence), ends
        try:
            account = await self._amocrm.account()
        except AmoError as error:
            await outages.heed(self._database, error, self._clock.now())
            return ("bad" if error.reason in outages.RETRY_AFTER else "warning", str(error)), ends
        base_url = self._over.base_url
        await self._database.write(
            lambda connection: own_account.learn(connection, base_url, account.id, account.subdomain)
        )
        found = await self._lasting()
        return ("warning", _(EXPOSED)) if found[0] == "good" and is_exposed(base_url) else found, ends

    async def _ends(self) -> datetime | None:
        try:
            if isinstance(self._source, Tokens):
                pair = await self._source.look()
                return None if pair is None else pair.expires_at if pair.refusal else pair.consent_ends_at
            return ends_at(await self._source.token())
        except OtvetError:
            return None

    async def _lasting(self) -> tuple[State, str]:
        """The state of a token that works, by how long it still lasts."""
        pair = await self._source.look() if isinstance(self._source, Tokens) else None
        if pair is not None and pair.refusal is not None:
            return "bad", pair.refusal
        return lasting(await self._ends(), self._clock.now(), renewed=pair is not None)

    async def _webhook(self) -> tuple[State, str]:
        if self._over.destination is None:
            return "warning", _(NO_ADDRESS)
        try:
            hook = await self._amocrm.hook(self._over.destination)
            if hook is not None and not hook.disabled and NEEDED in hook.events:
                return "good", _(HOOKED)
            was_disabled = hook is not None and hook.disabled
            subscription = await subscribe(self._amocrm, self._over.destination)
        except AmoError as error:
            if error.reason == "banned":
                await outages.heed(self._database, error, self._clock.now())
            # A token without an administrator's rights may serve well; the hook was made by hand then.
            return "warning", _(BY_HAND).format(reason=error)
        except ServiceError as error:
            return "warning", _(BY_HAND).format(reason=error)
        return self._mended(subscription, was_disabled=was_disabled)

    def _mended(self, subscription: Subscription, *, was_disabled: bool) -> tuple[State, str]:
        if subscription.hook.disabled:
            return "bad", _(STAYS_OFF)
        told = _(MENDED if was_disabled else WAS_MISSING).format(moment=self._over.shown(self._clock.now()))
        return "warning", told


def lasting(ends: datetime | None, now: datetime, *, renewed: bool) -> tuple[State, str]:
    """The state of a token that works, by when it ends. renewed: Otvet renews it long before by itself."""
    if ends is None:
        return "good", _(VALID)
    if ends - now < (WARN_BEFORE_CONSENT_ENDS if renewed else WARN_BEFORE):
        return "warning", _(CONSENT_ENDS_SOON if renewed else ENDS_SOON).format(
            day=ends.astimezone().strftime("%d.%m.%Y")
        )
    return "good", _(VALID) if renewed else _(VALID_UNTIL).format(day=ends.astimezone().strftime("%d.%m.%Y"))


def _note_heard(connection: Connection, heard: datetime) -> None:
    before = health.moment(connection, LAST_DELIVERY)
    if before is None or before < heard:
        health.note_moment(connection, LAST_DELIVERY, heard)


def _begin_watching(connection: Connection, now: datetime) -> None:
    if health.moment(connection, SINCE) is None:
        health.note_moment(connection, SINCE, now)


def deliveries(connection: Connection, over: Watched, now: datetime) -> tuple[State, str]:
    """Whether amoCRM still posts messages here, by the last delivery that any process has stored."""
    last = health.moment(connection, LAST_DELIVERY)
    since = last or health.moment(connection, SINCE) or now
    if over.is_silent(since, now):
        return "warning", _(SILENT).format(moment=over.shown(since))
    return "good", _(HEARD).format(moment=over.shown(last)) if last else _(NOTHING_YET)
