"""``otvet connect``: asks for missing values, runs the steps of ``otvet.account``, and shows what works."""

import asyncio
import logging
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx2
from rich.console import Console
from rich.table import Table
from rich.text import Text

from otvet import logs
from otvet.account import account, connecting, setup
from otvet.account.connecting import token_in
from otvet.account.health import Step, worst
from otvet.account.renewal import Tokens
from otvet.amocrm.addresses import account_address, host_of
from otvet.amocrm.client import AmoClient
from otvet.amocrm.token import TokenSource
from otvet.clock import Clock, SystemClock
from otvet.commands.asking import Asking
from otvet.commands.connect_consent import Consent
from otvet.commands.connect_replies import Replies, Wanted
from otvet.commands.terminal import whole
from otvet.errors import UsageError
from otvet.i18n import N_, _
from otvet.schema import upgrade
from otvet.settings import env_file
from otvet.settings.loading import given_of, load_settings
from otvet.settings.settings import Settings
from otvet.staff import wording
from otvet.storage import outages
from otvet.storage.database import Database
from otvet.users import kept_settings

TAKEN_UP_SECONDS = 20.0
SIGNS = {"good": "[green]✓[/]", "warning": "[yellow]–[/]", "bad": "[red]✗[/]"}

QUESTION = N_("How is Otvet to be let in?")
WITH_A_TOKEN = N_(
    "With a long-lived token, the simplest. In amoCRM: amoMarket, the three dots, Create integration; then in its "
    "window the tab Keys and scopes, Generate token."
)
WITH_KEYS = N_(
    "With the ID and the secret key of that integration. An administrator then gives the consent in the browser."
)
CAUTION = N_(
    "Before you make an integration of your own: amoCRM may ask you to do without its support for faults of this "
    "account, and that cannot be taken back. docs/connect.md shows each click."
)
REFUSED = N_(
    "amoCRM does not accept this token for {account}: it is not whole, has been withdrawn, or is of another account. "
    "Copy it once more from the integration's window, tab Keys and scopes. For another account press Ctrl-C, then: "
    "otvet connect --account"
)
PUBLIC = N_("This server's address on the internet, such as https://otvet.example.com (empty: not yet)")
IN_THE_DEAL = N_("Connected. Write to one of the account's channels, and the reply will be in the deal, as a note.")
IN_THE_CHAT = N_("Connected. Write to one of the account's channels, and the reply will come into the chat.")


@dataclass(frozen=True, slots=True)
class Answers:
    """The options of the command line; a missing value is asked for, unless ``unattended``."""

    account: str | None = None
    token: str | None = field(default=None, repr=False)
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    code: str | None = field(default=None, repr=False)
    public_url: str | None = None
    reply_via: str | None = None
    salesbot_id: int | None = None
    unattended: bool = False
    browser: bool = True


def connect(settings: Settings, answers: Answers) -> bool:
    """Run the dialogue; False if something does not work in the end."""
    logs.set_up("console", logging.ERROR)  # the dialogue itself reports everything
    return asyncio.run(Dialogue(settings, answers, SystemClock()).run())


class Dialogue:
    """One run of the command. Working settings are written to ``.env``; another run changes nothing that is right."""

    def __init__(self, settings: Settings, answers: Answers, clock: Clock) -> None:
        self._settings = settings
        self._answers = answers
        self._clock = clock
        self._console = Console(highlight=False)
        self._asking = Asking(self._console, unattended=answers.unattended)
        self._learnt: dict[str, str] = {}
        self._changed: list[str] = []
        self._same_account = True
        self._has_another_key = False
        self._ending = IN_THE_DEAL
        self._steps: list[Step] = []

    async def run(self) -> bool:
        before = self._settings.amocrm_base_url
        self._check_options()
        self._learn(amocrm_base_url=self._account())
        # The keys of one account are never sent to another.
        self._same_account = before is None or host_of(before) == host_of(self._base_url)
        self._learn_way()
        database = Database(self._settings.database_url)
        upgrade.prepare(database, datetime.now(UTC))
        database.start()
        try:
            async with httpx2.AsyncClient(timeout=15, trust_env=True) as http:
                if wait := await connecting.must_wait(database, self._settings):
                    self._steps.append(wait)
                else:
                    await self._have_token_taken(database, http)
                    self._learn_public_url()
                    async with account.tokens(self._settings, self._clock, http, database) as source:
                        assert source is not None
                        await self._go(database, http, source)
        finally:
            await database.stop()
        self._show()
        return worst(self._steps) != "bad"

    async def _go(self, database: Database, http: httpx2.AsyncClient, source: TokenSource) -> None:
        client = connecting.client_of(self._settings, self._clock, database, http, source)
        if not await self._is_let_in(database, http, source, client):
            return
        await database.write(lambda connection: outages.end(connection))
        self._write_down()  # at once: the questions that follow may be broken off
        secret = await connecting.webhook_secret(database, self._settings)
        await self._settle_replies(database, client, secret)
        self._say_what_was_written()
        if self._changed:
            await database.write(kept_settings.announce)  # a running server reads .env anew
        revision = await database.read(kept_settings.revision)
        settings, clock = self._settings, self._clock
        self._steps += await connecting.have_it_post_here(settings, clock, database, http, client, secret)
        if settings.public_url is not None:
            self._steps.append(await self._server(http, revision))
        with_ai = bool(self._settings.manus_api_key or self._settings.openai_model)
        self._steps.append(setup.answers_at_hand(self._settings.knowledge_dir, with_ai=with_ai))

    # What is asked

    def _check_options(self) -> None:
        """Report a wrong option before anything is asked or done."""
        given = {"public_url": self._answers.public_url, "reply_via": self._answers.reply_via}
        load_settings(**{name: value.strip() for name, value in given.items() if value})

    def _account(self) -> str:
        if known := self._answers.account or self._settings.amocrm_base_url:
            return account_address(known)
        question = _("The account's address, such as example.amocrm.ru")
        return self._asking.ask(question, "--account", check=account_address)

    def _learn_way(self) -> None:
        answers, settings = self._answers, self._settings
        token = settings.amocrm_token if self._same_account else None
        if answers.token:
            return self._learn_token(sys.stdin.readline() if answers.token == "-" else answers.token)  # noqa: S105 - no token
        if answers.client_id or answers.code or (answers.client_secret and not token):
            return self._learn_keys()
        if token or (self._same_account and account.keys_of(settings)):
            return self._learn_secret()
        if answers.unattended:
            raise UsageError(_("give --token, or --client-id and --client-secret"), exit_code=2)
        self._console.print(_(CAUTION))
        if self._asking.choose(_(QUESTION), (_(WITH_A_TOKEN), _(WITH_KEYS))) == 1:
            return self._learn_keys()
        return self._ask_for_token()

    def _ask_for_token(self) -> None:
        question = _("The long-lived token (it is not shown)")
        self._learn_token(self._asking.ask(question, "--token", hidden=True, check=token_in))

    async def _have_token_taken(self, database: Database, http: httpx2.AsyncClient) -> None:
        """Ask for the token again as long as amoCRM refuses it. Any other fault is told by the steps."""
        while self._settings.amocrm_token and not self._asking.unattended:
            async with account.tokens(self._settings, self._clock, http, database) as source:
                assert source is not None
                client = connecting.client_of(self._settings, self._clock, database, http, source)
                if not await setup.refuses_token(client):
                    return
            refused = _(REFUSED).format(account=host_of(self._base_url))
            self._console.print(refused, markup=False)
            self._ask_for_token()

    def _learn_token(self, given: str) -> None:
        self._learn(amocrm_token=token_in(given))
        self._learn_secret()

    def _learn_secret(self) -> None:
        """Learn the integration's secret, with which Salesbots that ask for replies sign."""
        if self._answers.client_secret:
            self._learn(amocrm_client_secret=self._answers.client_secret)

    def _learn_keys(self) -> None:
        present = account.keys_of(self._settings) if self._same_account else None
        client_id = self._answers.client_id or (present.client_id if present else None)
        secret = self._answers.client_secret or (present.client_secret if present else None)
        ask = self._asking.ask
        self._learn(
            amocrm_client_id=client_id or ask(_("The integration's ID"), "--client-id"),
            amocrm_client_secret=secret or ask(_("Its secret key (not shown)"), "--client-secret", hidden=True),
            amocrm_token="",
        )

    def _learn_public_url(self) -> None:
        given = self._answers.public_url
        if given is None and self._settings.public_url is None:
            given = self._asking.may_ask(_(PUBLIC), setup.public_address)
        if given:
            self._learn(public_url=given.strip().rstrip("/"))

    def _learn(self, **values: str) -> None:
        """Take over and check settings as if they stood in ``.env``."""
        self._learnt |= values
        self._settings = load_settings(**{**given_of(self._settings), **self._learnt})

    # What is done

    async def _is_let_in(
        self, database: Database, http: httpx2.AsyncClient, source: TokenSource, client: AmoClient
    ) -> bool:
        if isinstance(source, Tokens) and not await self._has_consent(database, http, source):
            return False
        checked = await connecting.check_access(database, self._clock, client, self._base_url, source)
        self._steps += checked.steps
        return checked.works

    async def _has_consent(self, database: Database, http: httpx2.AsyncClient, source: Tokens) -> bool:
        code, browser = self._answers.code, self._answers.browser
        consent = Consent(
            self._settings, self._clock, database, http, self._asking, self._console, code=code, browser=browser
        )
        given = await consent.is_there(source)
        self._steps += consent.steps
        self._has_another_key = consent.was_sealed_otherwise
        return given

    async def _settle_replies(self, database: Database, client: AmoClient, secret: str) -> None:
        answers = self._answers
        wanted = Wanted(answers.reply_via, answers.salesbot_id, answers.client_secret)
        replies = Replies(self._settings, wanted, self._asking, self._console)
        await replies.settle(database, client, self._base_url, secret)
        self._steps += replies.steps
        self._ending = IN_THE_CHAT if replies.reach_the_client else IN_THE_DEAL
        self._learn(**replies.learnt)
        self._write_down()

    async def _server(self, http: httpx2.AsyncClient, revision: str) -> Step:
        """Whether the running server knows the account; it takes the settings up by itself, if it is of this database.

        revision: of the settings that it has to know.
        """
        name, settings, ready = _("Server"), self._settings, None
        until = self._clock.monotonic() + TAKEN_UP_SECONDS
        while ready is None or (ready.get("settings") != revision and self._clock.monotonic() < until):
            if ready is not None:
                await self._clock.sleep(0.5)
            ready = await _ready(http, settings.public_url) or await _ready(http, settings.local_url)
            if ready is None:
                return Step(name, "warning", _("it does not answer"), _("Start it: make run"))
        knows = ready.get("amocrm") not in (None, "not connected") and ready.get("settings") == revision
        if self._has_another_key or not knows:
            return Step(name, "warning", _("it runs with the settings of before"), _("Stop it and start it again."))
        return Step(name, "good", _("it runs and knows the account"))

    # What is written and shown

    def _write_down(self) -> None:
        """Write the learnt settings to ``.env``; they are known to work."""
        changed = env_file.update(Path(".env"), self._learnt)
        self._changed += [name for name in changed if name not in self._changed]

    def _say_what_was_written(self) -> None:
        name, changed = _("Settings"), self._changed
        if others := env_file.shadowed(self._learnt):
            sentence = _("the environment sets {names} otherwise, and wins over .env").format(names=", ".join(others))
            self._steps.append(Step(name, "bad", sentence, _("Remove them from the environment.")))
            return
        told = _(".env: {names}").format(names=", ".join(changed)) if changed else _(".env is as it must be")
        self._steps.append(Step(name, "good", told))

    def _show(self) -> None:
        self._steps.append(Step(_("Assistant"), "good", wording.mode(self._settings)))
        table = Table(show_header=False, box=None, padding=(0, 1))
        for step in self._steps:
            told = Text(step.sentence)
            if step.next:
                told.append(f"\n→ {step.next}", "bold")
            table.add_row(SIGNS[step.state], step.name, told)
        self._console.print(whole(table))
        for step in self._steps:
            if step.copied:
                self._console.print(_("{name}, the address to be copied:").format(name=step.name))
                self._console.print(f"  {step.copied}", markup=False, soft_wrap=True)
        endings = {
            "good": self._ending,
            "warning": N_("Connected; see the lines marked with –."),
            "bad": N_("Not everything works yet; see the lines marked with ✗, then start otvet connect again."),
        }
        self._console.print(_(endings[worst(self._steps)]))

    @property
    def _base_url(self) -> str:
        assert self._settings.amocrm_base_url is not None
        return self._settings.amocrm_base_url


async def _ready(http: httpx2.AsyncClient, address: str | None) -> dict[str, object] | None:
    """The answer of ``GET /ready`` at the address; None without one."""
    try:
        answer = (await http.get(f"{address}/ready")).json()
    except (httpx2.RequestError, httpx2.InvalidURL, ValueError):
        return None
    return answer if isinstance(answer, dict) else None
