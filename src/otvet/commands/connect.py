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
from otvet.account import account, setup
from otvet.account.health import Step, worst
from otvet.account.renewal import Tokens
from otvet.account.subscribing import subscribe_webhook
from otvet.amocrm.addresses import account_address, host_of
from otvet.amocrm.client import AmoClient
from otvet.amocrm.token import TokenSource, ends_at
from otvet.clock import Clock, SystemClock
from otvet.commands.asking import Asking
from otvet.commands.connect_consent import Consent
from otvet.commands.connect_replies import NO_ADDRESS_YET, Replies, Wanted
from otvet.commands.terminal import whole
from otvet.errors import UsageError
from otvet.i18n import N_, _
from otvet.schema import upgrade
from otvet.settings import env_file
from otvet.settings.loading import given_of, load_settings
from otvet.settings.settings import Settings
from otvet.settings.working_hours import zone_of
from otvet.staff import wording
from otvet.storage import keyvalue, outages
from otvet.storage.database import Database

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
        self._learn_public_url()
        database = Database(self._settings.database_url)
        upgrade.prepare(database, datetime.now(UTC))
        database.start()
        try:
            async with (
                httpx2.AsyncClient(timeout=15, trust_env=True) as http,
                account.tokens(self._settings, self._clock, http, database) as source,
            ):
                assert source is not None
                await self._go(database, http, source)
        finally:
            await database.stop()
        self._show()
        return worst(self._steps) != "bad"

    async def _go(self, database: Database, http: httpx2.AsyncClient, source: TokenSource) -> None:
        outage = await database.read(lambda connection: outages.current(connection))
        if outage is not None and outage.reason == "banned":  # every further call would make it last longer
            when = outage.look_again_at.astimezone(zone_of(self._settings.timezone)).strftime("%H:%M")
            next_ = _("Otvet tries again by itself at {moment}; then start this once more.").format(moment=when)
            self._steps.append(Step(_("amoCRM"), "bad", outage.sentence, next_))
            return
        # Without the outage: this is how it comes to be opened.
        client = AmoClient(http, self._base_url, source, account.limit(self._settings, self._clock, database))
        if not await self._is_let_in(database, http, source, client):
            return
        await database.write(lambda connection: outages.end(connection))
        self._write_down()  # at once: the questions that follow may be broken off
        secret = await self._webhook_secret(database)
        await self._settle_replies(database, client, secret)
        self._say_what_was_written()
        await self._have_it_post_here(database, http, client, secret)
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
        question = _("The long-lived token (it is not shown)")
        return self._learn_token(self._asking.ask(question, "--token", hidden=True, check=_token))

    def _learn_token(self, given: str) -> None:
        self._learn(amocrm_token=_token(given))
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
        pair = None
        if isinstance(source, Tokens):
            if not await self._has_consent(database, http, source):
                return False
            pair = await source.look()
        ends = pair.consent_ends_at if pair else ends_at(await source.token())
        renewed = isinstance(source, Tokens)
        checked = await setup.check_token(database, client, self._base_url, ends, self._clock, renewed=renewed)
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

    async def _webhook_secret(self, database: Database) -> str:
        if self._settings.webhook_secret:
            return self._settings.webhook_secret.get_secret_value()
        return await database.write(
            lambda connection: keyvalue.recall_or_make(connection, "webhook_secret", entropy_bytes=24)
        )

    async def _settle_replies(self, database: Database, client: AmoClient, secret: str) -> None:
        answers = self._answers
        wanted = Wanted(answers.reply_via, answers.salesbot_id, answers.client_secret)
        replies = Replies(self._settings, wanted, self._asking, self._console)
        await replies.settle(database, client, self._base_url, secret)
        self._steps += replies.steps
        self._ending = IN_THE_CHAT if replies.reach_the_client else IN_THE_DEAL
        self._learn(**replies.learnt)
        self._write_down()

    async def _have_it_post_here(
        self, database: Database, http: httpx2.AsyncClient, client: AmoClient, secret: str
    ) -> None:
        public_url = self._settings.public_url
        if public_url is None:
            step = Step(_("Webhook"), "bad", _("amoCRM cannot reach this server"), _(NO_ADDRESS_YET))
            self._steps.append(step)
            return
        if wrong := setup.name_of_server(public_url):
            self._steps.append(wrong)
        destination, now = self._settings.webhook_url(secret), self._clock.now()
        here = self._settings.webhook_url_here(secret)
        way = await setup.try_delivery(http, destination, here, secret, self._clock)
        hooks = await subscribe_webhook(database, client, self._base_url, destination, now, reached=way.state != "bad")
        self._steps += [way, *hooks, await self._server(http)]

    async def _server(self, http: httpx2.AsyncClient) -> Step:
        """Whether the running server knows the account."""
        name, settings = _("Server"), self._settings
        ready = await _ready(http, settings.public_url) or await _ready(http, settings.local_url)
        if ready is None:
            return Step(name, "warning", _("it does not answer"), _("Start it: make run"))
        knows = ready.get("amocrm") not in (None, "not connected")
        if self._changed or self._has_another_key or not knows:
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


def _token(given: str) -> str:
    """The token without surrounding words; UsageError if it is no token."""
    token = given.strip().removeprefix("Bearer").strip()
    if not token:
        raise UsageError(_("the token is empty; give --token"), exit_code=2)
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise UsageError(_("this is no token: it is one long line of Latin letters, digits and dots"), exit_code=2)
    return token
