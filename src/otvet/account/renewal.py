"""The token for each call after an administrator's consent; one process renews it for all before it expires."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import TypeVar

import httpx2
import structlog
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from otvet.account import tokens
from otvet.account.tokens import Kept
from otvet.account.vault import Vault
from otvet.amocrm import oauth
from otvet.amocrm.answers import AmoError
from otvet.amocrm.client import Limiter
from otvet.amocrm.token import Keys, Pair
from otvet.clock import Clock
from otvet.errors import SettingsError, StorageError
from otvet.i18n import N_, _
from otvet.storage import outages
from otvet.storage.database import Database
from otvet.storage.engines import first_line

T = TypeVar("T")

log = structlog.get_logger(__name__)

NEAR_THE_END = timedelta(seconds=30)
TOO_FRESH_TO_RENEW = timedelta(minutes=10)  # amoCRM refuses it for another reason than its age
LOOK_SECONDS = 0.25
PATIENCE_SECONDS = 10.0
TRIES = 60  # of a write, one a second

NO_CONSENT = N_("There is no consent of the account {account} for this integration yet. Give it with: otvet connect")
LOST = N_("what amoCRM gave could not be stored: {reason}")
BEING_RENEWED = N_("The token for amoCRM is being renewed; this passes by itself.")


class Tokens:
    """The TokenSource of one account and one integration.

    http: calls ``base_url`` only and follows no redirect.
    limiter: the rate limit that these calls share with the account's others; None if there are no others.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        http: httpx2.AsyncClient,
        vault: Vault,
        base_url: str,
        keys: Keys,
        limiter: Limiter | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._http = http
        self._vault = vault
        self._base_url = base_url
        self._keys = keys
        self._limiter = limiter
        self._renewal: asyncio.Task[bool] | None = None

    async def look(self) -> Kept | None:
        """The stored pair of this account and integration, or None; SettingsError if it cannot be decrypted."""
        found = await self._database.read(lambda connection: tokens.kept(connection, self._vault))
        mine = found and (found.base_url, found.client_id) == (self._base_url, self._keys.client_id)
        return found if mine else None

    async def token(self) -> str:
        return (await self._kept()).access

    async def prepare(self) -> None:
        """Renew the pair if it is time to. If it has expired and another process renews it, wait for that."""
        deadline = self._clock.monotonic() + PATIENCE_SECONDS
        while True:
            pair = await self._kept()
            now = self._clock.now()
            # A pair issued later than now: the clock was set back since.
            if pair.issued_at <= now < pair.renew_at:
                return
            ended = now >= pair.expires_at - NEAR_THE_END
            if pair.refusal is not None:
                if ended:
                    raise _gone(pair.refusal)
                return
            try:
                if await self._renew_once(pair) or not ended:
                    return
            except AmoError as error:
                if ended or _refuses_all(error):
                    raise
                log.warning("amoCRM's token is not renewed yet; the present one is still good", reason=str(error))
                return
            if self._clock.monotonic() >= deadline:
                raise AmoError(_(BEING_RENEWED), reason="unavailable")
            await self._clock.sleep(LOOK_SECONDS)

    async def renew(self, refused: str) -> bool:
        """See TokenSource. amoCRM withdrew the token early, or another process has renewed it already."""
        deadline = self._clock.monotonic() + PATIENCE_SECONDS
        while True:
            pair = await self._kept()
            if pair.access != refused:
                return True
            if pair.refusal is not None:
                raise _gone(pair.refusal)
            if timedelta(0) <= self._clock.now() - pair.issued_at < TOO_FRESH_TO_RENEW:
                return False
            if await self._renew_once(pair):
                return True
            if self._clock.monotonic() >= deadline:
                raise AmoError(_(BEING_RENEWED), reason="unavailable")
            await self._clock.sleep(LOOK_SECONDS)

    async def finish(self, until: float) -> None:
        """Before a stop, wait for a renewal in flight, so that its pair is stored. until: by the monotonic clock."""
        if self._renewal is not None:
            await asyncio.wait([self._renewal], timeout=max(0, until - self._clock.monotonic()))

    async def _kept(self) -> Kept:
        try:
            pair = await self.look()
        except SettingsError as error:  # a pair without its key is useless, and only a person can bring the key
            raise _gone(str(error)) from error
        if pair is None:
            raise _gone(_(NO_CONSENT).format(account=self._base_url))
        return pair

    async def _renew_once(self, pair: Kept) -> bool:
        """False if another process has the claim. A cancelled caller does not stop the renewal halfway."""
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._renew(pair))
        return await asyncio.shield(self._renewal)

    async def _renew(self, pair: Kept) -> bool:
        if not await self._claim(pair.version):
            return False
        keys = Keys(self._keys.client_id, self._keys.client_secret, pair.redirect_url)
        try:
            new = await oauth.refresh(self._http, self._base_url, keys, pair.refresh)
        except AmoError as error:
            await self._heed(pair.version, error)
            raise
        if await self._commit(pair.version, new):
            log.info("amoCRM's token was renewed")
        return True

    async def _claim(self, version: int) -> bool:
        """Claim the renewal. The rate limit is waited for first: in a backlog the claim would lapse before the call."""
        if self._limiter is not None:
            now = self._clock.now()
            if not await self._database.read(lambda connection: tokens.is_free(connection, version, now)):
                return False
            await self._limiter.acquire()
        now = self._clock.now()
        return await self._database.write_alone(lambda connection: tokens.claim(connection, version, now))

    async def _heed(self, version: int, error: AmoError) -> None:
        log.error("amoCRM gives no new token", reason=str(error))
        now = self._clock.now()

        def keep(connection: Connection) -> None:
            if error.reason == "unauthorized":
                tokens.refuse(connection, version, str(error))
            else:
                outages.begin_if_refused(connection, error, now)

        await self._database.write(keep)

    async def _commit(self, version: int, new: Pair) -> bool:
        replace = partial(tokens.replace, vault=self._vault, version=version, new=new, now=self._clock.now())
        return await write_until_stored(self._database, self._clock, replace)


async def write_until_stored(database: Database, clock: Clock, write: Callable[[Connection], T]) -> T:
    """Commit what amoCRM has given: there is no second copy. Retries once a second for a minute; then AmoError."""
    for tries_left in reversed(range(TRIES)):
        try:
            return await database.write(write)
        except (StorageError, DBAPIError) as error:
            reason = first_line(error.orig if isinstance(error, DBAPIError) else error)
            if not tries_left:
                raise AmoError(_(LOST).format(reason=reason), reason="unavailable") from error
            log.error("what amoCRM gave is not stored yet", reason=reason)
            await clock.sleep(1)
    raise AssertionError


def _refuses_all(error: AmoError) -> bool:
    """An ``unauthorized`` is about the next pair only: the present token is good until it ends."""
    return error.reason != "unauthorized" and outages.concerns_all(error)


def _gone(sentence: str) -> AmoError:
    return AmoError(sentence, reason="unauthorized")
