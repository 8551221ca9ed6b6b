"""The token of each call, where an administrator has given the consent: renewed before it ends, by one of all."""

import asyncio
from datetime import timedelta
from functools import partial

import httpx2
import structlog
from sqlalchemy.exc import DBAPIError

from otvet.amocrm import oauth
from otvet.amocrm.client import AmoError
from otvet.amocrm.token import Keys, Pair
from otvet.clock import Clock
from otvet.connection import tokens
from otvet.connection.tokens import Kept
from otvet.connection.vault import Vault
from otvet.database import Database, first_line
from otvet.errors import StorageError
from otvet.i18n import N_, _

log = structlog.get_logger(__name__)

NEAR_THE_END = timedelta(seconds=30)
TOO_FRESH_TO_RENEW = timedelta(minutes=10)  # amoCRM refuses it for another reason than its age
COMMIT_TRIES = 60
LOOK_SECONDS = 0.25
PATIENCE_SECONDS = 10.0

NO_CONSENT = N_("There is no consent of the account {account} for this integration yet. Give it with: otvet connect")
BEING_RENEWED = N_("The token for amoCRM is being renewed; this passes by itself.")
LOST = N_("amoCRM's new tokens could not be stored: {reason}")


class Tokens:
    """The TokenSource of one account and one integration. For the event loop of the service or of a command.

    http: asked for ``base_url`` only; no redirect is followed.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        http: httpx2.AsyncClient,
        vault: Vault,
        base_url: str,
        keys: Keys,
    ) -> None:
        self._database = database
        self._clock = clock
        self._http = http
        self._vault = vault
        self._base_url = base_url
        self._keys = keys
        self._renewal: asyncio.Task[bool] | None = None

    async def look(self) -> Kept | None:
        """The kept pair of this account and integration, or None."""
        found = await self._database.read(lambda connection: tokens.kept(connection, self._vault))
        mine = found and (found.base_url, found.client_id) == (self._base_url, self._keys.client_id)
        return found if mine else None

    async def token(self) -> str:
        return (await self._kept()).access

    async def prepare(self) -> None:
        """Renew the pair if it is time to, and wait for whoever does so if it has ended."""
        deadline = self._clock.monotonic() + PATIENCE_SECONDS
        while True:
            pair = await self._kept()
            now = self._clock.now()
            # Issued later than now: the clock was set back since.
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
                if ended:
                    raise
                log.warning("amoCRM's token is not renewed yet; the present one is still good", reason=str(error))
                return
            if self._clock.monotonic() >= deadline:
                raise AmoError(_(BEING_RENEWED), reason="unavailable")
            await self._clock.sleep(LOOK_SECONDS)

    async def renew(self, refused: str) -> bool:
        """amoCRM does not take the token before its time, or another process has brought a new one."""
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
        """Before a stop: a pair that amoCRM has given is not thrown away. until: by the monotonic clock."""
        if self._renewal is not None:
            await asyncio.wait([self._renewal], timeout=max(0, until - self._clock.monotonic()))

    async def _kept(self) -> Kept:
        pair = await self.look()
        if pair is None:
            raise _gone(_(NO_CONSENT).format(account=self._base_url))
        return pair

    async def _renew_once(self, pair: Kept) -> bool:
        """False if somebody else is at it. Goes on although the caller is cancelled: half of it must not be done."""
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._renew(pair))
        return await asyncio.shield(self._renewal)

    async def _renew(self, pair: Kept) -> bool:
        if not await self._database.write_alone(
            lambda connection: tokens.claim(connection, pair.version, self._clock.now())
        ):
            return False
        keys = Keys(self._keys.client_id, self._keys.client_secret, pair.redirect_url)
        try:
            new = await oauth.refresh(self._http, self._base_url, keys, pair.refresh)
        except AmoError as error:
            if error.reason == "unauthorized":
                log.error("amoCRM gives no new token", reason=str(error))
                refusal = str(error)
                await self._database.write(lambda connection: tokens.refuse(connection, pair.version, refusal))
            raise
        if await self._commit(pair.version, new):
            log.info("amoCRM's token was renewed")
        return True

    async def _commit(self, version: int, new: Pair) -> bool:
        """There is no second copy of these tokens anywhere, so a database that is away is waited for."""
        for tries_left in reversed(range(COMMIT_TRIES)):
            try:
                now = self._clock.now()
                return await self._database.write(
                    partial(tokens.replace, vault=self._vault, version=version, new=new, now=now)
                )
            except (StorageError, DBAPIError) as error:
                reason = first_line(error.orig if isinstance(error, DBAPIError) else error)
                if not tries_left:
                    raise AmoError(_(LOST).format(reason=reason), reason="unavailable") from error
                log.error("amoCRM's new tokens are not stored yet", reason=reason)
                await self._clock.sleep(1)
        raise AssertionError


def _gone(sentence: str) -> AmoError:
    return AmoError(sentence, reason="unauthorized")
