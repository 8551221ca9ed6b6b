"""What is configured, whether it works, and the next step where it does not: for ``otvet check`` and the page."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx2

from otvet.answering.instructions import Instructions
from otvet.app import checking_account, manus, policies
from otvet.clock import SystemClock
from otvet.errors import OtvetError, ServiceError, SettingsError, os_reason
from otvet.i18n import _, ngettext
from otvet.responders.base import Line
from otvet.responders.chat import models
from otvet.responders.knowledge.passages import contradictions, no_folder, read_folder
from otvet.responders.knowledge.reading.kinds import KINDS
from otvet.responders.prompt import TOKEN_LIMIT, TOKENIZER
from otvet.responders.prompt_parts import QUESTION_FLOOR
from otvet.schema import upgrade
from otvet.settings import old_names
from otvet.settings.loading import misspelt
from otvet.settings.settings import Settings
from otvet.staff import wording
from otvet.storage.database import Database

Sign = Literal["good", "note", "bad"]

CREDITS_A_REPLY = 50
"""The observed cost of an ordinary task; a short answer costs less, an answer in a long task more."""

MOST_NAMED = 5

LOW_CREDITS = 10 * CREDITS_A_REPLY


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. "note": something that may be left out on purpose; "bad": something to repair."""

    subject: str
    sign: Sign
    sentence: str


async def everything(settings: Settings) -> list[Finding]:
    """All findings; the services are called, and a chat model answers a short request."""
    findings = [Finding(_("Settings"), "bad", sentence) for sentence in misspelt()]
    findings += [Finding(_("Settings"), "note", sentence) for sentence in old_names.hints(old_names.given())]
    findings.append(_assistant(settings))
    findings += [_database(settings), knowledge(settings), instructions(settings), *_delivery(settings)]
    async with httpx2.AsyncClient(timeout=15) as http:
        findings += [finding async for finding in _server(settings, http)]
        findings += [finding async for finding in _amocrm(settings, http)]
        findings += [finding async for finding in _manus(settings, http)]
    findings.append(await _model(settings))
    return findings


def _assistant(settings: Settings) -> Finding:
    name, mode = _("Assistant"), wording.mode(settings)
    if not settings.amocrm_connected:
        return Finding(name, "note", _("{mode}; but amoCRM is not connected yet").format(mode=mode))
    return Finding(name, "note" if settings.mode == "off" else "good", mode)


def _database(settings: Settings) -> Finding:
    name = _("Database")
    if settings.is_sqlite and not settings.sqlite_path.parent.is_dir():
        folder = settings.sqlite_path.parent.absolute()
        return Finding(name, "bad", _("the folder {folder} does not exist").format(folder=folder))
    if settings.is_sqlite and not settings.sqlite_path.exists():
        return Finding(name, "note", _("{url}: not made yet; the first start makes it").format(url=settings.shown_url))
    database = Database(settings.database_url)
    try:
        version = database.read_now(upgrade.version)
    except OtvetError as error:
        return Finding(name, "bad", str(error))
    finally:
        database.close()
    if version != upgrade.LATEST:
        return Finding(name, "note", _("{url}: brought up to date at the next start").format(url=settings.shown_url))
    return Finding(name, "good", settings.shown_url)


def knowledge(settings: Settings) -> Finding:
    """The knowledge folder: how many answers, and which files cannot be read."""
    folder, name = settings.knowledge_dir, _("Knowledge")
    if not folder.is_dir():
        return Finding(name, "bad", no_folder(folder))
    passages, problems = read_folder(folder, with_examples=not settings.amocrm_connected)
    count = ngettext("{count} answer in {folder}", "{count} answers in {folder}", len(passages))
    said = [count.format(count=len(passages), folder=folder)] if passages else []
    said += [
        _("two prices of {thing}: {one} and {other}").format(thing=one.heading, one=one.file, other=other.file)
        for one, other in contradictions(passages)[:MOST_NAMED]
    ]
    files: dict[str, list[str]] = {}
    for problem in problems:
        files.setdefault(problem.reason, []).append(problem.file)
    said += [f"{', '.join(of_one)}: {reason}" for reason, of_one in files.items()]
    if problems or len(said) > 1:
        unread = any(Path(problem.file).suffix.lower() in KINDS for problem in problems)
        return Finding(name, "bad" if unread or not passages else "note", "; ".join(said))
    if not passages:
        text = _("no answers in {folder}: every question goes to a manager").format(folder=folder)
        return Finding(name, "note", text)
    return Finding(name, "good", said[0])


def instructions(settings: Settings) -> Finding:
    """The instructions file. A file that is set but cannot be used is bad: the assistant would work without it."""
    name, file = _("Instructions"), settings.instructions_file
    named = "instructions_file" in settings.model_fields_set
    if named and not file.exists():
        sentence = _("there is no file {file}; make it, or set OTVET_INSTRUCTIONS_FILE")
        return Finding(name, "bad", sentence.format(file=file))
    try:
        text = Instructions(file).written()
    except UnicodeDecodeError:
        return Finding(name, "bad", _("{file} is not UTF-8 text; save it in that encoding").format(file=file))
    except OSError as error:
        return Finding(name, "bad", _("{file} cannot be read: {cause}").format(file=file, cause=os_reason(error)))
    if not text:
        return Finding(name, "note", _("nothing is written in {file}: built-in words are used").format(file=file))
    tokens, most = int(TOKENIZER.count(text)), TOKEN_LIMIT - QUESTION_FLOOR
    if settings.manus_api_key and tokens > most:  # instructions are never cut, so no room is left for a question
        sentence = _(
            "{file} takes about {tokens} tokens, and Manus at most {most}: move facts into the knowledge folder"
        )
        return Finding(name, "note", sentence.format(file=file, tokens=tokens, most=most))
    return Finding(name, "good", str(file))


def _delivery(settings: Settings) -> Iterator[Finding]:
    """The settings of delivery; a line only if the service would not start with them."""
    try:
        policies.delivery_options(settings)
    except SettingsError as error:
        yield Finding(_("Replies"), "bad", str(error))


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
    yield Finding(name, "good", _("it runs at {address}").format(address=address))


async def _amocrm(settings: Settings, http: httpx2.AsyncClient) -> AsyncIterator[Finding]:
    signs: dict[str, Sign] = {"good": "good", "warning": "note", "bad": "bad"}
    async for subject, state, sentence in checking_account.look(settings, http):
        yield Finding(subject, signs[state], sentence)


async def _manus(settings: Settings, http: httpx2.AsyncClient) -> AsyncIterator[Finding]:
    name = _("Manus")
    api = manus.api_of(settings, http)
    if api is None:
        missing = _("not connected: set OTVET_MANUS_API_KEY")
        alone = _("{missing}; until then replies come from the knowledge folder").format(missing=missing)
        yield Finding(name, "note", missing if settings.openai_model else alone)
        return
    try:
        yield _credits(name, await api.available_credits())
    except ServiceError as error:
        yield Finding(name, "bad", str(error))
        return
    with contextlib.suppress(ServiceError):  # without the list there is nothing to report
        if connectors := await api.connectors():
            sentence = _(
                "the account has connectors ({names}), which a client's words might reach: use one without any"
            )
            yield Finding(_("Manus account"), "note", sentence.format(names=", ".join(connectors[:5])))


async def _model(settings: Settings) -> Finding:
    """The chat model. It gets a short request: only this shows whether the key, the name and the parameters work."""
    name, clock = _("Another model"), SystemClock()
    try:
        model = models.from_settings(settings, clock)
    except SettingsError as error:
        return Finding(name, "bad", str(error))
    if model is None:
        return Finding(name, "note", _("not connected: set OTVET_OPENAI_MODEL; docs/models.md has recipes"))
    try:
        await model.summarise([Line("client", "Здравствуйте!", clock.now())], "", "ru")
    except ServiceError as error:
        return Finding(name, "bad", str(error))
    finally:
        await model.aclose()
    return Finding(name, "good", _("{model} answers").format(model=settings.openai_model))


def _credits(name: str, left: int | None) -> Finding:
    if left is None:
        return Finding(name, "good", _("the key works"))
    if left <= 0:
        return Finding(name, "bad", _("the key works, but no credits are left; buy some in Manus"))
    if left < LOW_CREDITS:
        sentence = _("the key works, but only {count} credits are left, enough for about {replies} replies")
        return Finding(name, "note", sentence.format(count=left, replies=left // CREDITS_A_REPLY))
    return Finding(name, "good", _("the key works, {count} credits left").format(count=left))
