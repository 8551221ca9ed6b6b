"""Connecting the account from the pages: the steps of ``otvet connect``, in the background, told as they are done."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx2
import structlog
from sqlalchemy.engine import Connection

from otvet.account import account, connecting, consents, reply_setup, setup
from otvet.account.connecting import NO_ADDRESS_YET, Progress
from otvet.account.consenting import Consenting
from otvet.account.consents import Answer
from otvet.account.health import Step
from otvet.account.renewal import Tokens
from otvet.account.vault import OtherKey
from otvet.amocrm.answers import AmoError
from otvet.amocrm.client import AmoClient
from otvet.amocrm.token import TokenSource
from otvet.app import in_force
from otvet.app.in_force import InForce
from otvet.app.service import Service
from otvet.errors import OtvetError, UsageError
from otvet.i18n import N_, _
from otvet.settings import old_names
from otvet.settings.by_channel import NOTE, SALESBOT, TALK, WIDGET, ways_in
from otvet.settings.groups import SECRET
from otvet.settings.settings import Settings
from otvet.storage import outages
from otvet.users import audit

log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.5
BUSY = N_("something is under way with the account already; wait until it is done")
NOT_CONNECTED = N_("connect the account first")
ON_THE_PAGE = N_("Upload your files, or write your answers, on the Knowledge page.")
SECRET_NEEDED = N_("the integration's secret key is needed, from the tab Keys and scopes")
NO_CONSENT_CAME = N_("no consent came within 20 minutes")


def begin(service: Service, work: "Callable[[Run], Awaitable[None]]", who: str) -> None:
    """Begin in the background. UsageError if something is under way in this process."""
    if service.jobs:
        raise UsageError(_(BUSY))
    task = asyncio.create_task(_guarded(Run(service, who), work))
    service.jobs.add(task)
    task.add_done_callback(service.jobs.discard)


async def _guarded(run: "Run", work: "Callable[[Run], Awaitable[None]]") -> None:
    try:
        await run.note()
        await work(run)
    except OtvetError as error:
        await run.tell(Step(_("amoCRM"), "bad", str(error)))
    except Exception:
        log.exception("the account could not be seen to")
        await run.tell(Step(_("Otvet"), "bad", _("an error of our own; the log has more")))
    finally:
        await run.note(running=False, consent="")


class Run:
    """One run for one user; whatever it finds is stored at once, for the page to show."""

    def __init__(self, service: Service, who: str) -> None:
        self.service = service
        self.database = service.database
        self.clock = service.clock
        self._who = who
        self._progress = Progress(begun_at=service.clock.now(), running=True)

    async def note(self, **values: object) -> None:
        """Store how far it has come."""
        progress = self._progress = replace(self._progress, **values)  # type: ignore[arg-type]
        await self.database.write(lambda connection: connecting.note(connection, progress))

    async def tell(self, *steps: Step) -> None:
        """Store steps that are done."""
        await self.note(steps=[*self._progress.steps, *steps])

    async def in_force(self) -> InForce:
        """The settings in force now."""
        given = self.service.in_force.given
        return await self.database.read(lambda connection: in_force.read(connection, given))

    async def keep(self, did: str, changes: Mapping[str, str]) -> None:
        """Keep settings that are known to work, and have the servers take them up."""
        found, now, who = await self.in_force(), self.clock.now(), self._who
        in_force.changed(found, changes)
        told = {name: "***" if name in SECRET and value else value for name, value in changes.items()}

        def write(connection: Connection) -> None:
            if in_force.keep(connection, found, changes, who, now):
                audit.note(connection, who, did, "amocrm", now, **told)

        await self.database.write(write)
        self.service.settings_changed.set()

    @asynccontextmanager
    async def calls(self, settings: Settings) -> "AsyncIterator[tuple[httpx2.AsyncClient, TokenSource, AmoClient]]":
        """What calls the account with these settings. UsageError if they name none."""
        async with (
            httpx2.AsyncClient(timeout=15, trust_env=True) as http,
            account.tokens(settings, self.clock, http, self.database) as source,
        ):
            if source is None:
                raise UsageError(_(NOT_CONNECTED))
            yield http, source, connecting.client_of(settings, self.clock, self.database, http, source)


async def connect(run: Run, changes: Mapping[str, str], code: str = "") -> None:
    """Connect the account that the changes name; without any, check the one that is connected. code: of a consent."""
    settings = in_force.changed(await run.in_force(), changes)
    if wait := await connecting.must_wait(run.database, settings):
        return await run.tell(wait)
    async with run.calls(settings) as (http, source, client):
        if isinstance(source, Tokens) and not await _is_consented(run, settings, http, source, code):
            return None
        assert settings.amocrm_base_url is not None
        checked = await connecting.check_access(run.database, run.clock, client, settings.amocrm_base_url, source)
        await run.tell(*checked.steps)
        if not checked.works:
            return None
        await run.database.write(outages.end)
        await run.keep("connect", changes)
        secret = await connecting.webhook_secret(run.database, settings)
        told = await connecting.have_it_post_here(settings, run.clock, run.database, http, client, secret)
        await run.tell(*told)
    with_ai = bool(settings.manus_api_key or settings.openai_model)
    answers = setup.answers_at_hand(settings.knowledge_dir, with_ai=with_ai)
    return await run.tell(replace(answers, next=_(ON_THE_PAGE)) if answers.next else answers)


async def _is_consented(run: Run, settings: Settings, http: httpx2.AsyncClient, source: Tokens, code: str) -> bool:
    """Whether there are tokens; without any, a consent is asked for and waited for."""
    pair = None
    with contextlib.suppress(OtherKey):
        pair = await source.look()
    good = pair is not None and pair.refusal is None
    if good and not code:
        return True
    if settings.public_url is None:
        await run.tell(Step(_("Consent"), "bad", _("there is no public address"), _(NO_ADDRESS_YET)))
        return False
    answer = await _asked(run, settings, http, code)
    await run.tell(Step(_("Consent"), "good" if answer.given else "warning" if good else "bad", answer.sentence))
    return answer.given or good


async def _asked(run: Run, settings: Settings, http: httpx2.AsyncClient, code: str) -> Answer:
    keys, vault, base_url = account.keys_of(settings), account.vault_of(settings), settings.amocrm_base_url
    assert keys is not None
    assert base_url is not None
    if code:
        return await Consenting(run.database, run.clock, http, lambda: vault).exchange(base_url, keys, code)
    now = run.clock.now()
    asked = await run.database.write(lambda connection: consents.ask(connection, vault, base_url, keys, now))
    await run.note(consent=asked.url)
    ends = run.clock.monotonic() + consents.GOOD_FOR.total_seconds()
    while run.clock.monotonic() < ends:
        answer = await run.database.read(lambda connection: consents.answer_to(connection, asked.state))
        if answer is not None:
            await run.note(consent="")
            return answer
        await run.clock.sleep(LOOK_SECONDS)
    return Answer(False, _(NO_CONSENT_CAME))


async def settle_replies(run: Run, via: str, salesbot_id: str, client_secret: str) -> None:
    """Set up a way for the replies, and keep it if it works. via: as in OTVET_REPLY_VIA."""
    settings = (await run.in_force()).settings
    ways, ready, changes = set(ways_in(via).values()), True, {"reply_via": via}
    if client_secret:
        changes["amocrm_client_secret"] = client_secret
    if SALESBOT in ways:
        number = salesbot_id or str(settings.salesbot_id or "")
        ready = await _salesbot(run, settings, int(number) if number else None)
        changes["salesbot_id"] = number
    if WIDGET in ways:
        wrong = _no_widget(settings, client_secret)
        ready = ready and wrong is None
        await run.tell(wrong or reply_setup.by_widget())
    if TALK in ways:
        await run.tell(reply_setup.by_talk(settings.amocrm_base_url or ""))
    if ways == {NOTE}:
        await run.tell(reply_setup.as_notes())
    if ready:
        await run.keep("replies", changes)


async def _salesbot(run: Run, settings: Settings, bot_id: int | None) -> bool:
    async with run.calls(settings) as (_http, _source, client):
        try:
            field_id = await reply_setup.find_field(run.database, client, old_names.salesbot_field(old_names.given()))
        except AmoError as error:
            await run.tell(Step(_(reply_setup.NAME), "bad", str(error)))
            return False
        if bot_id is None:
            found = await reply_setup.bots(client)
            await run.note(bots=[(bot.id, bot.name) for bot in found])
            await run.tell(reply_setup.no_bot_yet(field_id))
            return False
        step = await reply_setup.check_bot(client, bot_id, field_id)
        await run.tell(step)
        return step.state != "bad"


def _no_widget(settings: Settings, client_secret: str) -> Step | None:
    """Why a bot cannot ask for replies; None if it can."""
    if settings.public_url is None:
        return Step(_(reply_setup.NAME), "bad", _("amoCRM cannot reach this server"), _(NO_ADDRESS_YET))
    if not (client_secret or settings.amocrm_client_secret):
        return Step(_(reply_setup.NAME), "bad", _(SECRET_NEEDED))
    return None
