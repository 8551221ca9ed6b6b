"""The part of ``otvet connect`` that gets an administrator's consent, unless there is one that works."""

import sys
import webbrowser
from urllib.parse import parse_qs, urlsplit

import httpx2
from rich.console import Console

from otvet.account import account, consents
from otvet.account.consenting import Consenting
from otvet.account.consents import Answer, Asked
from otvet.account.health import Step
from otvet.account.renewal import Tokens
from otvet.account.tokens import Kept
from otvet.account.vault import OtherKey
from otvet.amocrm.token import Keys
from otvet.clock import Clock
from otvet.commands.asking import Asking
from otvet.i18n import N_, _
from otvet.settings.settings import Settings
from otvet.storage.database import Database

LOOK_SECONDS = 0.5
KEY_IS_GONE = N_(
    "The tokens of before were encrypted with another key than the present one, so the consent is needed anew."
)


class Consent:
    """Gets a consent.

    code: the code from the integration's window; None: the browser is used. browser: whether a page may be opened.
    steps: what it found. was_sealed_otherwise: the stored tokens cannot be decrypted with the present key.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        database: Database,
        http: httpx2.AsyncClient,
        asking: Asking,
        console: Console,
        *,
        code: str | None,
        browser: bool,
    ) -> None:
        keys = account.keys_of(settings)
        assert keys is not None
        assert settings.amocrm_base_url is not None
        self._keys: Keys = keys
        self._base_url = settings.amocrm_base_url
        self._settings = settings
        self._clock = clock
        self._database = database
        self._http = http
        self._asking = asking
        self._console = console
        self._code = code
        self._browser = browser
        self.steps: list[Step] = []
        self.was_sealed_otherwise = False

    async def is_there(self, source: Tokens) -> bool:
        """Whether there are tokens. If there are none, or amoCRM gives no new ones, a consent is asked for."""
        name, pair = _("Consent"), await self._kept(source)
        good = pair is not None and pair.refusal is None
        if good and not await self._has_a_new_code():
            return True
        if self._settings.public_url is None:
            next_ = _("The integration's redirect address must lead here: otvet connect --public-url https://...")
            self.steps.append(Step(name, "bad", _("there is no public address"), next_))
            return False
        answer = await self._ask()
        if answer.given:
            self._console.print(answer.sentence)
            return True
        if good:
            self.steps.append(Step(name, "warning", answer.sentence, _("The consent of before goes on.")))
        else:
            self.steps.append(Step(name, "bad", answer.sentence))
        return good

    async def _kept(self, source: Tokens) -> Kept | None:
        """The stored pair; None if there is none, or if it was encrypted with another key."""
        try:
            return await source.look()
        except OtherKey:
            self.was_sealed_otherwise = True
            self._console.print(_(KEY_IS_GONE))
            return None

    async def _has_a_new_code(self) -> bool:
        code, base_url, client_id = self._code, self._base_url, self._keys.client_id
        return code is not None and not await self._database.read(
            lambda connection: consents.came_from(connection, base_url, client_id, code)
        )

    async def _ask(self) -> Answer:
        vault = account.vault_of(self._settings)
        taking = Consenting(self._database, self._clock, self._http, lambda: vault)
        if self._code:
            return await taking.exchange(self._base_url, self._keys, self._code)
        now = self._clock.now()
        asked = await self._database.write(
            lambda connection: consents.ask(connection, vault, self._base_url, self._keys, now)
        )
        return await self._wait_for(asked, taking)

    async def _wait_for(self, asked: Asked, taking: Consenting) -> Answer:
        self._console.print(_("The integration's redirect address in amoCRM must be:"))
        self._console.print(f"  {self._keys.redirect_url}", soft_wrap=True)
        self._console.print(_("Give the consent as an administrator here, within 20 minutes:"))
        self._console.print(f"  {asked.url}", soft_wrap=True)
        sys.stdout.flush()
        if self._browser and not self._asking.unattended:
            webbrowser.open(asked.url)
        if await self._is_up():
            return await self._heard(asked)
        if self._asking.unattended:
            sentence = _("this server does not answer at {url}").format(url=self._settings.public_url)
            return Answer(False, sentence)
        self._console.print(
            _("This server does not answer there, so the browser will show an error after the consent.")
        )
        pasted = self._asking.ask(_("Copy the address of that page, or the code, and paste it here"), "--code")
        return await _take_pasted(taking, asked, pasted)

    async def _is_up(self) -> bool:
        try:
            answer = await self._http.get(f"{self._settings.public_url}/health")
            return bool(answer.status_code == 200 and answer.json()["status"] == "ok")
        except (httpx2.RequestError, ValueError, KeyError, TypeError):
            return False

    async def _heard(self, asked: Asked) -> Answer:
        """Wait until the running server has stored amoCRM's answer in the database."""
        ends = self._clock.monotonic() + consents.GOOD_FOR.total_seconds()
        with self._console.status(_("waiting for the consent...")):
            while self._clock.monotonic() < ends:
                answer = await self._database.read(lambda connection: consents.answer_to(connection, asked.state))
                if answer is not None:
                    return answer
                await self._clock.sleep(LOOK_SECONDS)
        return Answer(False, _("no consent came within 20 minutes"))


async def _take_pasted(taking: Consenting, asked: Asked, pasted: str) -> Answer:
    """Take a code alone, or the address to which amoCRM redirected the browser."""
    if "code=" not in pasted:
        return await taking.take(asked.state, pasted, "")
    query = {name: values[0] for name, values in parse_qs(urlsplit(pasted).query).items()}
    state = query.get("state", asked.state)
    return await taking.take(state, query.get("code", ""), query.get("referer", ""), query.get("error", ""))
