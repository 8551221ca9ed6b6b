"""``otvet connect``: asks what is not given, takes the steps of ``connecting``, and shows what works."""

import asyncio
import sys
import webbrowser
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from otvet import gates, installation, schema
from otvet.amocrm.addresses import account_address
from otvet.amocrm.client import AmoClient
from otvet.amocrm.token import Keys, TokenSource, ends_at
from otvet.clock import Clock, SystemClock
from otvet.commands import env_file
from otvet.config import Settings, load_settings
from otvet.connection import account, connecting, consents
from otvet.connection.connecting import Checked, Step
from otvet.connection.consenting import Consenting
from otvet.connection.renewal import Tokens
from otvet.database import Database
from otvet.errors import UsageError
from otvet.i18n import N_, _
from otvet.limits import SharedLimit

SIGNS = {"good": "[green]✓[/]", "warning": "[yellow]–[/]", "bad": "[red]✗[/]"}
LOOK_SECONDS = 0.5

WAYS = N_(
    "How is Otvet to be let in?\n"
    "  1  with a long-lived token: amoMarket, the three dots, Create integration, then the tab Keys and scopes, "
    "Generate long-lived token\n"
    "  2  with the ID and the secret key of that integration; an administrator then gives the consent in the browser"
)
PUBLIC = N_("The public https address of this server, such as https://otvet.example.com (empty: not yet)")


@dataclass(frozen=True, slots=True)
class Answers:
    """What was given on the command line; None is asked for, unless ``unattended``."""

    account: str | None = None
    token: str | None = field(default=None, repr=False)
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    code: str | None = field(default=None, repr=False)
    public_url: str | None = None
    unattended: bool = False
    browser: bool = True


def connect(settings: Settings, answers: Answers) -> bool:
    """Lead through it; False when something is left that does not work."""
    return asyncio.run(Dialogue(settings, answers, SystemClock()).run())


class Dialogue:
    """One run of the command. What works is written to ``.env``; running it again changes nothing that is right."""

    def __init__(self, settings: Settings, answers: Answers, clock: Clock) -> None:
        self._settings = settings
        self._answers = answers
        self._clock = clock
        self._console = Console(highlight=False)
        self._learnt: dict[str, str] = {}
        self._changed: list[str] = []
        self._same_account = True
        self._steps: list[Step] = []

    async def run(self) -> bool:
        before = self._settings.amocrm_base_url
        self._learn(amocrm_base_url=account_address(self._account()))
        # What lets into one account is never shown to another.
        self._same_account = before in (None, self._base_url)
        self._learn_way()
        self._learn_public_url()
        database = Database(self._settings.database_url)
        schema.prepare(database, datetime.now(UTC))
        database.start()
        try:
            async with httpx2.AsyncClient(timeout=15, trust_env=True) as http:
                await self._go(database, http)
        finally:
            await database.stop()
        self._show()
        return connecting.worst(self._steps) != "bad"

    async def _go(self, database: Database, http: httpx2.AsyncClient) -> None:
        gate = await database.read(lambda connection: gates.closed(connection, gates.AMOCRM))
        if gate is not None and gate.reason == "banned":  # every further call would make it last longer
            when = gate.look_again_at.astimezone().strftime("%H:%M")
            next_ = _("Otvet tries again by itself at {moment}; then start this once more.").format(moment=when)
            self._steps.append(Step(_("amoCRM"), "bad", gate.sentence, next_))
            return
        checked = await self._let_in(database, http)
        if checked is None or not checked.works:
            return
        await database.write(lambda connection: gates.open_again(connection, gates.AMOCRM))
        self._write_down()
        secret = await self._webhook_secret(database)
        if self._settings.public_url is None:
            next_ = _("Give this server a public https address, then: otvet connect --public-url https://...")
            self._steps.append(Step(_("Webhook"), "bad", _("amoCRM cannot reach this server"), next_))
            return
        if wrong := connecting.name_of_server(self._settings.public_url):
            self._steps.append(wrong)
        destination = self._settings.webhook_url(secret)
        self._steps.append(await connecting.try_delivery(http, destination, secret, self._clock))
        client = self._client(http, database, self._source(http, database))
        self._steps.append(await connecting.subscribe_webhook(database, client, destination))
        self._steps.append(await self._server(http))

    # What is asked

    def _account(self) -> str:
        known = self._answers.account or self._settings.amocrm_base_url
        return known or self._ask(_("The account's address, such as example.amocrm.ru"), "--account")

    def _learn_way(self) -> None:
        answers, settings = self._answers, self._settings
        if answers.token:
            return self._learn_token(sys.stdin.readline() if answers.token == "-" else answers.token)  # noqa: S105 - no token
        if answers.client_id or answers.client_secret or answers.code:
            return self._learn_keys()
        if self._same_account and (settings.amocrm_token or account.keys_of(settings)):
            return None
        if answers.unattended:
            raise UsageError(_("give --token, or --client-id and --client-secret"), exit_code=2)
        self._console.print(_(WAYS))
        if typer.prompt(_("1 or 2"), default="1").strip() == "2":
            return self._learn_keys()
        return self._learn_token(self._ask(_("The long-lived token (it is not shown)"), "--token", hidden=True))

    def _learn_token(self, token: str) -> None:
        self._learn(amocrm_token=token.strip().removeprefix("Bearer "))

    def _learn_keys(self) -> None:
        present = account.keys_of(self._settings) if self._same_account else None
        client_id = self._answers.client_id or (present.client_id if present else None)
        secret = self._answers.client_secret or (present.client_secret if present else None)
        self._learn(
            amocrm_client_id=client_id or self._ask(_("The integration's ID"), "--client-id"),
            amocrm_client_secret=secret or self._ask(_("Its secret key (not shown)"), "--client-secret", hidden=True),
            amocrm_token="",
        )

    def _learn_public_url(self) -> None:
        given = self._answers.public_url
        if given is None and self._settings.public_url is None and not self._answers.unattended:
            given = typer.prompt(_(PUBLIC), default="", show_default=False).strip() or None
        if given:
            self._learn(public_url=given.strip().rstrip("/"))

    def _ask(self, question: str, option: str, *, hidden: bool = False) -> str:
        if self._answers.unattended:
            raise UsageError(_("give {option}").format(option=option), exit_code=2)
        return str(typer.prompt(question, hide_input=hidden)).strip()

    def _learn(self, **values: str) -> None:
        """Settings as if they stood in ``.env`` already; checked as those are."""
        self._learnt |= values
        self._settings = load_settings(**{**_given(self._settings), **self._learnt})

    # What is done

    async def _let_in(self, database: Database, http: httpx2.AsyncClient) -> Checked | None:
        source = self._source(http, database)
        if isinstance(source, Tokens) and not await self._consented(source, database, http):
            return None
        renewed = isinstance(source, Tokens)
        pair = await source.look() if isinstance(source, Tokens) else None
        ends = pair.consent_ends_at if pair else ends_at(await source.token())
        checked = await connecting.check_token(
            database, self._client(http, database, source), self._base_url, ends, self._clock, renewed=renewed
        )
        self._steps += checked.steps
        return checked

    async def _consented(self, source: Tokens, database: Database, http: httpx2.AsyncClient) -> bool:
        """Whether there are tokens; a consent is asked for where there are none, or amoCRM gives no new ones."""
        pair = await source.look()
        if pair is not None and pair.refusal is None and not self._answers.code:
            return True
        keys = account.keys_of(self._settings)
        assert keys is not None
        if self._settings.public_url is None:
            next_ = _("The integration's redirect address must lead here: otvet connect --public-url https://...")
            self._steps.append(Step(_("Consent"), "bad", _("there is no public address"), next_))
            return False
        vault = account.vault_of(self._settings)
        taking = Consenting(database, self._clock, http, lambda: vault)
        if self._answers.code:
            answer = await taking.exchange(self._base_url, keys, self._answers.code)
        else:
            now = self._clock.now()
            base_url = self._base_url
            asked = await database.write(lambda connection: consents.ask(connection, vault, base_url, keys, now))
            answer = await self._wait_for(asked, keys, taking, database, http)
        if not answer.given:
            self._steps.append(Step(_("Consent"), "bad", answer.sentence))
        return answer.given

    async def _wait_for(
        self,
        asked: consents.Asked,
        keys: Keys,
        taking: Consenting,
        database: Database,
        http: httpx2.AsyncClient,
    ) -> consents.Answer:
        self._console.print(_("The integration's redirect address in amoCRM must be:"))
        self._console.print(f"  {keys.redirect_url}", soft_wrap=True)
        self._console.print(_("Give the consent as an administrator here, within 20 minutes:"))
        self._console.print(f"  {asked.url}", soft_wrap=True)
        sys.stdout.flush()
        if self._answers.browser and not self._answers.unattended:
            webbrowser.open(asked.url)
        if await self._is_up(http):
            return await self._heard(asked, database)
        if self._answers.unattended:
            sentence = _("this server does not answer at {url}").format(url=self._settings.public_url)
            return consents.Answer(False, sentence)
        self._console.print(
            _("This server does not answer there, so the browser will show an error after the consent.")
        )
        pasted = self._ask(_("Copy the address of that page, or the code, and paste it here"), "--code")
        return await _take_pasted(taking, asked, pasted)

    async def _is_up(self, http: httpx2.AsyncClient) -> bool:
        try:
            answer = await http.get(f"{self._settings.public_url}/health")
            return bool(answer.status_code == 200 and answer.json()["status"] == "ok")
        except (httpx2.RequestError, ValueError, KeyError, TypeError):
            return False

    async def _heard(self, asked: consents.Asked, database: Database) -> consents.Answer:
        """The running server takes amoCRM's answer; it is looked for in the database."""
        ends = self._clock.monotonic() + consents.GOOD_FOR.total_seconds()
        with self._console.status(_("waiting for the consent...")):
            while self._clock.monotonic() < ends:
                answer = await database.read(lambda connection: consents.answer_to(connection, asked.state))
                if answer is not None:
                    return answer
                await self._clock.sleep(LOOK_SECONDS)
        return consents.Answer(False, _("no consent came within 20 minutes"))

    def _write_down(self) -> None:
        """Only what was seen to work gets there."""
        changed = env_file.update(Path(".env"), self._learnt)
        told = _(".env: {names}").format(names=", ".join(changed)) if changed else _(".env is as it must be")
        if others := env_file.shadowed(self._learnt):
            sentence = _("the environment sets {names} otherwise, and wins over .env").format(names=", ".join(others))
            self._steps.append(Step(_("Settings"), "bad", sentence, _("Remove them from the environment.")))
        else:
            self._steps.append(Step(_("Settings"), "good", told))
        self._changed = changed

    async def _webhook_secret(self, database: Database) -> str:
        if self._settings.webhook_secret:
            return self._settings.webhook_secret.get_secret_value()
        return await database.write(
            lambda connection: installation.recall_or_make(connection, "webhook_secret", bytes_of_chance=24)
        )

    async def _server(self, http: httpx2.AsyncClient) -> Step:
        """Whether the server that runs knows the account."""
        name = _("Server")
        try:
            ready = (await http.get(f"{self._settings.public_url}/ready")).json()
            knows = ready.get("amocrm") not in (None, "not connected")
        except (httpx2.RequestError, ValueError, AttributeError):
            return Step(name, "warning", _("it does not answer"), _("Start it: make run"))
        if self._changed or not knows:
            return Step(name, "warning", _("it runs with the settings of before"), _("Stop it and start it again."))
        return Step(name, "good", _("it runs and knows the account"))

    # What it is done with

    @property
    def _base_url(self) -> str:
        assert self._settings.amocrm_base_url is not None
        return self._settings.amocrm_base_url

    def _source(self, http: httpx2.AsyncClient, database: Database) -> TokenSource:
        source = account.token_source(self._settings, self._clock, http, database)
        assert source is not None
        return source

    def _client(self, http: httpx2.AsyncClient, database: Database, source: TokenSource) -> AmoClient:
        """Without the gate: this is how it comes to be opened."""
        limit = SharedLimit(database, self._clock, "amocrm", 1, seconds=1 / self._settings.amocrm_calls_a_second)
        return AmoClient(http, self._base_url, source, limit)

    def _show(self) -> None:
        table = Table(show_header=False, box=None, padding=(0, 1))
        for step in self._steps:
            told = Text(step.sentence)
            if step.next:
                told.append(f"\n→ {step.next}", "bold")
            table.add_row(SIGNS[step.state], step.name, told)
        self._console.print(table)
        endings = {
            "good": N_("Connected. Write to one of the account's channels, and the reply will be in the deal."),
            "warning": N_("Connected; see the lines marked with –."),
            "bad": N_("Not everything works yet; see the lines marked with ✗, then start otvet connect again."),
        }
        self._console.print(_(endings[connecting.worst(self._steps)]))


def _given(settings: Settings) -> dict[str, object]:
    """What differs from the defaults, so that it can be checked again together with what is new."""
    return {name: getattr(settings, name) for name in settings.model_fields_set}


async def _take_pasted(taking: Consenting, asked: consents.Asked, pasted: str) -> consents.Answer:
    """A code by itself, or the address that the browser was sent to."""
    if "code=" not in pasted:
        return await taking.take(asked.state, pasted, "")
    query = {name: values[0] for name, values in parse_qs(urlsplit(pasted).query).items()}
    state = query.get("state", asked.state)
    return await taking.take(state, query.get("code", ""), query.get("referer", ""), query.get("error", ""))
