"""Checks amoCRM's answer to a request for consent and exchanges its code for tokens at once."""

from collections.abc import Callable
from typing import Any

import httpx2
import structlog
from sqlalchemy.engine import Connection, Row

from otvet.account import consents, tokens
from otvet.account.consents import Answer
from otvet.account.renewal import write_until_stored
from otvet.account.vault import OtherKey, Vault
from otvet.amocrm import oauth
from otvet.amocrm.addresses import host_of
from otvet.amocrm.answers import AmoError
from otvet.amocrm.client import AmoClient
from otvet.amocrm.token import Keys
from otvet.clock import Clock
from otvet.errors import SettingsError
from otvet.i18n import N_, _
from otvet.intake import own_account
from otvet.storage.database import Database

log = structlog.get_logger(__name__)

UNKNOWN = N_("This page is not waited for, or was opened already. Start once more: otvet connect")
DENIED = N_("The access was denied in amoCRM. If that was a mistake, start once more: otvet connect")
OTHER_ACCOUNT = N_(
    "The access was given for another account ({given}), and {expected} is the one to connect. Choose that one, or "
    "start once more with the other address: otvet connect"
)
OTHER_KEYS = N_(
    "The server and otvet connect have different keys. Start otvet connect where the server runs, in its folder and "
    "with its settings, or give both the same OTVET_SECRET_KEY"
)
GIVEN = N_("The account {name} is connected.")


class Consenting:
    """Takes amoCRM's answers to requests for consent; every process can take every answer.

    vault: called only when it is needed, so that no key file is made without need.
    """

    def __init__(self, database: Database, clock: Clock, http: httpx2.AsyncClient, vault: Callable[[], Vault]) -> None:
        self._database = database
        self._clock = clock
        self._http = http
        self._vault = vault

    async def take(self, state: str, code: str, referer: str, error: str = "") -> Answer:
        """Take the answer that the browser brings from amoCRM.

        Only the account of the request is called, whatever ``referer`` says.
        """
        now = self._clock.now()
        row = await self._database.write(lambda connection: consents.take(connection, state, now))
        if row is None:
            return Answer(False, _(UNKNOWN))
        answer = await self._answer(row, code, referer, error)
        if answer.given:
            log.info("amoCRM gave its consent", account=row.base_url)
        else:
            log.warning("the consent came to nothing", reason=answer.sentence)
        await write_until_stored(
            self._database, self._clock, lambda connection: consents.note(connection, state, answer)
        )
        return answer

    async def _answer(self, row: Row[Any], code: str, referer: str, error: str) -> Answer:
        """The result for the person who waits; a failure is a result too."""
        if error or not code:
            return Answer(False, _(DENIED))
        if referer and host_of(referer) != host_of(row.base_url):
            given = host_of(referer)[:100]
            return Answer(False, _(OTHER_ACCOUNT).format(given=given, expected=host_of(row.base_url)))
        try:
            secret = self._vault().open(row.client_secret)
        except OtherKey:
            return Answer(False, _(OTHER_KEYS))
        except SettingsError as unusable:
            return Answer(False, str(unusable))
        return await self.exchange(row.base_url, Keys(row.client_id, secret, row.redirect_url), code)

    async def exchange(self, base_url: str, keys: Keys, code: str) -> Answer:
        """Exchange the code for the first pair of tokens; the pair is stored before it is used."""
        try:
            vault = self._vault()
            pair = await oauth.exchange_code(self._http, base_url, keys, code)
            now = self._clock.now()

            def keep(connection: Connection) -> None:
                tokens.keep_consent(connection, vault, base_url, keys, pair, now)
                consents.remember_code(connection, base_url, keys.client_id, code)

            await write_until_stored(self._database, self._clock, keep)
            account = await AmoClient(self._http, base_url, pair.access, None).account()
            await write_until_stored(
                self._database,
                self._clock,
                lambda connection: own_account.learn(connection, base_url, account.id, account.subdomain),
            )
        except (AmoError, SettingsError) as error:
            return Answer(False, str(error))
        return Answer(True, _(GIVEN).format(name=account.name))
