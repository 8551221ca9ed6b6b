"""``otvet check``: what is configured, whether it works, and the next step where it does not."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

import httpx2
from rich.console import Console
from rich.table import Table
from rich.text import Text

from otvet import schema
from otvet.amocrm.client import AmoClient
from otvet.config import Settings, misspelt
from otvet.database import Database
from otvet.errors import OtvetError, ServiceError
from otvet.i18n import _, ngettext
from otvet.responders.manus_api import ManusApi

SIGNS = {"good": "[green]✓[/]", "note": "[yellow]–[/]", "bad": "[red]✗[/]"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. "note" is something left out on purpose; "bad" is something to mend."""

    subject: str
    sign: Literal["good", "note", "bad"]
    sentence: str


def run(settings: Settings) -> bool:
    """Print the findings; False when something is bad."""
    console = Console()
    with console.status(_("asking the services...")):
        findings = asyncio.run(_all(settings))
    table = Table(show_header=False, box=None, padding=(0, 1))
    for finding in findings:
        table.add_row(SIGNS[finding.sign], finding.subject, Text(finding.sentence))
    console.print(table)
    return all(finding.sign != "bad" for finding in findings)


async def _all(settings: Settings) -> list[Finding]:
    findings = [Finding(_("Settings"), "bad", sentence) for sentence in misspelt()]
    findings += [_database(settings), _knowledge(settings)]
    async with httpx2.AsyncClient(timeout=15) as http:
        findings += [finding async for finding in _server(settings, http)]
        findings += [await _amocrm(settings, http), await _manus(settings, http)]
    return findings


def _database(settings: Settings) -> Finding:
    name = _("Database")
    if settings.is_sqlite and not settings.sqlite_path.exists():
        return Finding(name, "note", _("{url}: not made yet; the first start makes it").format(url=settings.shown_url))
    database = Database(settings.database_url)
    try:
        version = database.look(schema.version)
    except OtvetError as error:
        return Finding(name, "bad", str(error))
    finally:
        database.close()
    if version != schema.LATEST:
        return Finding(name, "note", _("{url}: brought up to date at the next start").format(url=settings.shown_url))
    return Finding(name, "good", settings.shown_url)


def _knowledge(settings: Settings) -> Finding:
    from otvet.responders.passages import read_folder  # the search's libraries are not needed to count

    passages, problems = read_folder(settings.knowledge_dir, with_examples=not settings.amocrm_connected)
    name = _("Knowledge")
    if problems and settings.knowledge_dir.is_dir():
        return Finding(name, "bad", "; ".join(f"{problem.file}: {problem.reason}" for problem in problems))
    if not passages:
        text = _("no answers in {folder}: every question goes to a manager").format(folder=settings.knowledge_dir)
        return Finding(name, "note", text)
    count = ngettext("{count} answer in {folder}", "{count} answers in {folder}", len(passages))
    return Finding(name, "good", count.format(count=len(passages), folder=settings.knowledge_dir))


async def _server(settings: Settings, http: httpx2.AsyncClient) -> AsyncIterator[Finding]:
    name = _("Server")
    address = settings.local_url
    try:
        answer = await http.get(f"{address}/ready")
        ready = answer.json().get("status") == "ready"
    except (httpx2.HTTPError, ValueError):
        yield Finding(name, "note", _("no Otvet answers at {address}; start it with: make run").format(address=address))
        return
    if not ready:
        yield Finding(
            name, "bad", _("{address} runs but is not ready: {body}").format(address=address, body=answer.text)
        )
        return
    yield Finding(name, "good", address)


async def _amocrm(settings: Settings, http: httpx2.AsyncClient) -> Finding:
    name = _("amoCRM")
    if settings.amocrm_base_url is None or settings.amocrm_token is None:
        unset = {"OTVET_AMOCRM_BASE_URL": settings.amocrm_base_url, "OTVET_AMOCRM_TOKEN": settings.amocrm_token}
        missing = ", ".join(variable for variable, value in unset.items() if value is None)
        sentence = _("not connected: set {missing}; until then replies are kept").format(missing=missing)
        return Finding(name, "bad" if len(missing.split()) == 1 else "note", sentence)
    client = AmoClient(http, settings.amocrm_base_url, settings.amocrm_token.get_secret_value(), None)
    try:
        account = await client.account()
    except ServiceError as error:
        return Finding(name, "bad", str(error))
    return Finding(name, "good", _("account {name} ({id})").format(name=account.name, id=account.id))


async def _manus(settings: Settings, http: httpx2.AsyncClient) -> Finding:
    name = _("Manus")
    if settings.manus_api_key is None:
        missing = _("not connected: set OTVET_MANUS_API_KEY; until then replies come from the knowledge folder")
        return Finding(name, "note", missing)
    api = ManusApi(http, settings.manus_base_url, settings.manus_api_key.get_secret_value())
    try:
        credits_left = await api.available_credits()
    except ServiceError as error:
        return Finding(name, "bad", str(error))
    if credits_left is None:
        return Finding(name, "good", _("the key works"))
    if credits_left <= 0:
        return Finding(name, "bad", _("the key works, but no credits are left"))
    return Finding(name, "good", _("the key works, {count} credits left").format(count=credits_left))
