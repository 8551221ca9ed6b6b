"""The instructions: edited, kept in versions, and tried over past chats before they go live."""

import asyncio
from dataclasses import dataclass, field
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Path, Request
from sqlalchemy.engine import Connection
from starlette.responses import RedirectResponse, Response

from otvet.answering import replay
from otvet.answering.instructions import INSTRUCTIONS, Proposed
from otvet.answering.replay import Anew
from otvet.app.service import Service
from otvet.errors import OtvetError, UsageError
from otvet.i18n import N_, _, interface_language, translator
from otvet.settings import working_hours
from otvet.staff import instruction_versions as versions
from otvet.staff import knowledge_files
from otvet.users import audit
from otvet.web.pages.rendering import page
from otvet.web.pages.signed import Owner, Refused, Viewer, Who, service_of

log = structlog.get_logger(__name__)
router = APIRouter()

HOME = "/knowledge/instructions"
REPLAY = f"{HOME}/replay"
COUNTS = (3, 5, 10, 20)
"""How many past questions a try may have."""

NOTHING_ANSWERED = N_(
    "nothing was answered yet, so there is nothing to compare; write something in the trial chat first"
)
STOPPED = N_("the try was stopped: {reason}")

Id = Annotated[int, Path(ge=1, lt=2**63)]


@dataclass
class Run:
    """A try of proposed instructions over past questions, in this process. why: the sentence if it was stopped."""

    text: str
    total: int
    done: list[Anew] = field(default_factory=list)
    why: str | None = None
    task: "asyncio.Task[None] | None" = None

    @property
    def is_running(self) -> bool:
        return self.task is not None and not self.task.done()

    @property
    def counts(self) -> dict[str, int]:
        outcomes = [one.outcome for one in self.done]
        return {name: outcomes.count(name) for name in ("same", "changed", "refused")}


def _runs(request: Request) -> dict[int, Run]:
    """The tries by user: the last of each."""
    state = request.app.state
    if not hasattr(state, "runs"):
        state.runs = {}
    runs: dict[int, Run] = state.runs
    return runs


def _present(service: Service) -> tuple[str, str]:
    """The text of the file, with its comments, and its digest; the built-in text if there is no file."""
    file = service.settings.instructions_file
    try:
        content = file.read_bytes()
        return content.decode("utf-8-sig"), knowledge_files.digest(content)
    except FileNotFoundError:
        return translator(interface_language())(INSTRUCTIONS), knowledge_files.NEW
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(409, _("the instructions cannot be read: {reason}").format(reason=error)) from error


def _costs(service: Service) -> list[str]:
    """The responders that the instructions are for; each question put to them may cost money."""
    return [one.name for one in service.writer.responders if one.outside]


async def _home(request: Request, who: Who, status: int = 200, **values: Any) -> Response:
    service = service_of(request)
    text, digest = await asyncio.to_thread(_present, service)
    kept = await service.database.read(versions.listed)
    saved = request.query_params.get("saved")
    shown = {"text": text, "digest": digest, "why": None, "theirs": None, "saved": saved} | values
    return page(
        request, "instructions.html", status, who=who, versions=kept, costs=_costs(service), counts=COUNTS, **shown
    )


@router.get(HOME)
async def home(request: Request, who: Viewer) -> Response:
    return await _home(request, who)


@router.post(HOME)
async def save(request: Request, who: Owner) -> Response:
    text = who.text("text")
    try:
        await _save(request, who, text, who.text("digest"))
    except UsageError as error:
        there, digest = await asyncio.to_thread(_present, service_of(request))
        theirs = there if digest != who.text("digest") else None
        return await _home(request, who, 409, text=text, why=str(error), theirs=theirs)
    return RedirectResponse(f"{HOME}?saved=1", 303)


async def _save(request: Request, who: Who, text: str, began_from: str) -> None:
    """Save the file, and the text as a version; also the text before it, if another program wrote that."""
    service, now = service_of(request), service_of(request).clock.now()
    file = service.settings.instructions_file
    before, digest = await asyncio.to_thread(_present, service)
    content = knowledge_files.encoded(file.name, text)
    await asyncio.to_thread(knowledge_files.save, file.parent, file.name, content, began_from)

    def run(connection: Connection) -> None:
        if digest != knowledge_files.NEW:
            versions.add(connection, _lines(before), versions.IN_THE_FILE, now)
        made = versions.add(connection, _lines(text), who.user.name, now)
        audit.note(connection, who.user.name, "instructions", f"version {made}" if made else "", now)

    await service.database.write(run)


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


async def _version(request: Request, id_: int) -> versions.Version:
    found = await service_of(request).database.read(lambda connection: versions.get(connection, id_))
    if found is None:
        raise Refused(404, _("there is no such version"))
    return found


@router.get(HOME + "/versions/{id_}")
async def version(request: Request, who: Viewer, id_: Id) -> Response:
    """A version and its difference to the one before."""
    one = await _version(request, id_)
    before = await service_of(request).database.read(lambda connection: versions.before(connection, id_))
    lines = versions.difference(before.text if before else "", one.text)
    _text, digest = await asyncio.to_thread(_present, service_of(request))
    return page(request, "instructions_version.html", who=who, one=one, before=before, lines=lines, digest=digest)


@router.post(HOME + "/versions/{id_}/back")
async def back(request: Request, who: Owner, id_: Id) -> Response:
    """Let an earlier version hold again, as the newest one."""
    one = await _version(request, id_)
    try:
        await _save(request, who, one.text, who.text("digest"))
    except UsageError as error:
        return await _home(request, who, 409, why=str(error))
    return RedirectResponse(f"{HOME}?saved=1", 303)


@router.post(REPLAY)
async def try_over(request: Request, who: Owner) -> Response:
    """Have past questions answered with the text of the form, beside everything else."""
    service, text = service_of(request), who.text("text")
    if not _costs(service):
        return await _home(
            request, who, 409, text=text, why=_("no AI is connected, so instructions change nothing yet")
        )
    count = int(who.text("count")) if who.text("count") in map(str, COUNTS) else COUNTS[0]
    settings = service.settings
    found = await service.database.read(
        lambda connection: replay.past(
            connection,
            count,
            Proposed(text),
            history_messages=settings.history_messages,
            zone=working_hours.zone_of(settings.timezone),
        )
    )
    if not found:
        return await _home(request, who, 409, text=text, why=_(NOTHING_ANSWERED))
    runs = _runs(request)
    if (earlier := runs.get(who.user.id)) and earlier.task:
        earlier.task.cancel()
    run = runs[who.user.id] = Run(text, len(found))
    run.task = asyncio.create_task(_write_all(service, run, found))
    service.tasks.append(run.task)  # so that it ends with the service
    run.task.add_done_callback(service.tasks.remove)
    return RedirectResponse(REPLAY, 303)


async def _write_all(service: Service, run: Run, found: list[replay.Past]) -> None:
    phrases = service.settings.person_phrases
    try:
        for one in found:
            run.done.append(await replay.write(one, service.writer, service.knowledge, phrases, service.clock))
    except OtvetError as error:
        run.why = _(STOPPED).format(reason=error)
    except Exception as error:
        log.exception("a try of the instructions failed")
        run.why = _(STOPPED).format(reason=type(error).__name__)


@router.get(REPLAY)
async def tried(request: Request, who: Owner) -> Response:
    """What the try has written so far."""
    run = _runs(request).get(who.user.id)
    if run is None:
        return RedirectResponse(HOME, 303)
    _text, digest = await asyncio.to_thread(_present, service_of(request))
    template = "_replayed.html" if request.headers.get("hx-request") else "instructions_replay.html"
    return page(request, template, who=who, run=run, compared=replay.compared, digest=digest)


@router.post(REPLAY + "/stop")
async def stop(request: Request, who: Owner) -> Response:
    run = _runs(request).get(who.user.id)
    if run is not None and run.task:
        run.task.cancel()
    return RedirectResponse(REPLAY, 303)
