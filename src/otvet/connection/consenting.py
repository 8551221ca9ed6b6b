"""The answers to the consents that were asked for: checked, and their codes exchanged at once."""

from collections.abc import Callable

import httpx2
import structlog

from otvet.amocrm import oauth
from otvet.amocrm.addresses import host_of
from otvet.amocrm.client import AmoClient, AmoError
from otvet.amocrm.token import Keys
from otvet.clock import Clock
from otvet.connection import consents, known_account, tokens
from otvet.connection.consents import Answer
from otvet.connection.vault import Vault
from otvet.database import Database
from otvet.i18n import N_, _

log = structlog.get_logger(__name__)

UNKNOWN = N_("This page is not waited for, or was opened already. Start once more: otvet connect")
DENIED = N_("The access was denied in amoCRM. If that was a mistake, start once more: otvet connect")
OTHER_ACCOUNT = N_(
    "The access was given for another account ({given}), and {expected} is the one to connect. Choose that one, or "
    "start once more with the other address: otvet connect"
)
GIVEN = N_("The account {name} is connected.")


class Consenting:
    """Takes the answers to what was asked for, in whichever process they come in.

    vault: asked for only then, so that no key file is made where none is needed.
    """

    def __init__(self, database: Database, clock: Clock, http: httpx2.AsyncClient, vault: Callable[[], Vault]) -> None:
        self._database = database
        self._clock = clock
        self._http = http
        self._vault = vault

    async def take(self, state: str, code: str, referer: str, error: str = "") -> Answer:
        """amoCRM's answer, as it came with the browser: the code is exchanged at once.

        Only the account that was asked for is spoken to, whatever ``referer`` says.
        """
        now = self._clock.now()
        row = await self._database.write(lambda connection: consents.take(connection, state, now))
        if row is None:
            return Answer(False, _(UNKNOWN))
        keys = Keys(row.client_id, self._vault().open(row.client_secret), row.redirect_url)
        if error or not code:
            answer = Answer(False, _(DENIED))
        elif referer and host_of(referer) != host_of(row.base_url):
            given = host_of(referer)[:100]
            answer = Answer(False, _(OTHER_ACCOUNT).format(given=given, expected=host_of(row.base_url)))
        else:
            answer = await self.exchange(row.base_url, keys, code)
        await self._database.write(lambda connection: consents.note(connection, state, answer))
        return answer

    async def exchange(self, base_url: str, keys: Keys, code: str) -> Answer:
        """The code for the first pair; it is kept before it is used."""
        try:
            pair = await oauth.exchange_code(self._http, base_url, keys, code)
        except AmoError as error:
            log.warning("the consent came to nothing", reason=str(error))
            return Answer(False, str(error))
        vault, now = self._vault(), self._clock.now()
        await self._database.write(lambda connection: tokens.keep_consent(connection, vault, base_url, keys, pair, now))
        log.info("amoCRM gave its consent", account=base_url)
        try:
            account = await AmoClient(self._http, base_url, pair.access, None).account()
        except AmoError as error:
            return Answer(False, str(error))
        await self._database.write(
            lambda connection: known_account.learn(connection, base_url, account.id, account.subdomain)
        )
        return Answer(True, _(GIVEN).format(name=account.name))
