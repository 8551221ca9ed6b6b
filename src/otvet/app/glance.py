"""The state of things at a glance, for the page: what is stored and what lies on this machine. Nobody is called."""

import asyncio
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

import structlog
from sqlalchemy.engine import Connection

from otvet.account.health import DELIVERIES, TOKEN, WEBHOOK, Step
from otvet.app import checking
from otvet.app.checking import Finding
from otvet.app.service import Service
from otvet.errors import OtvetError
from otvet.i18n import N_, _, ngettext
from otvet.screens import health
from otvet.screens.health import Health
from otvet.settings import old_names
from otvet.settings.groups import LABELS
from otvet.settings.loading import misspelt
from otvet.settings.settings import Settings
from otvet.staff import wording
from otvet.storage import keyvalue
from otvet.storage.spending import UNITS
from otvet.users import kept_settings
from otvet.users.kept_settings import Switch

log = structlog.get_logger(__name__)

FRESH_SECONDS = 20.0
PATIENCE_SECONDS = 3.0  # for files: a disk that hangs must not hold the page up
CALLS_SECONDS = 90.0
LITTLE_SPACE, LOW_SPACE = 200 * 2**20, 2**30
LONG_WAIT = timedelta(minutes=10)
RAN_LAST = "last_check"
GIB = 2**30
SUBJECTS = {TOKEN: N_("Token"), WEBHOOK: N_("Webhook"), DELIVERIES: N_("Deliveries")}
ORDER = ("bad", "warning", "good")


@dataclass(frozen=True, slots=True)
class Glance:
    """What the page shows. todo: what there is to do, the most urgent first; fine: what works."""

    health: Health
    todo: Sequence[Step]
    fine: Sequence[Step]
    free: int | None  # bytes on the disk of the SQLite file


async def look(service: Service) -> Glance:
    """Everything that can be seen without a call."""
    now, settings = service.clock.now(), service.settings

    def read(connection: Connection) -> tuple[Health, Switch]:
        return health.read(connection, now), kept_settings.switch(connection)

    found, switch = await service.database.read(read)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            files, free = await asyncio.to_thread(_files, settings, int(service.clock.monotonic() // FRESH_SECONDS))
    except TimeoutError:
        files, free = [Step(_("Disk"), "bad", _("the files on this machine cannot be read in time"))], None
    steps = [*_assistant(service, switch), *_settings(service), *_amocrm(settings, found), *_queue(service, found, now)]
    steps += [*_responders(settings, found), *files]
    steps.sort(key=lambda step: ORDER.index(step.state))
    return Glance(
        found, [one for one in steps if one.state != "good"], [one for one in steps if one.state == "good"], free
    )


def as_step(finding: Finding) -> Step:
    """A finding of ``otvet check`` for the page."""
    return Step(finding.subject, "warning" if finding.sign == "note" else finding.sign, finding.sentence)


def _assistant(service: Service, switch: Switch) -> Iterator[Step]:
    name = _("Assistant")
    if switch.stopped:
        yield Step(name, "bad", _("{who} stopped it everywhere").format(who=switch.stopped.changed_by))
        return
    mode = service.in_force.mode(switch)
    yield Step(name, "warning" if mode == "off" else "good", _(wording.MODES[mode]))


def _settings(service: Service) -> Iterator[Step]:
    name = _("Settings")
    for setting, why in service.in_force.left_out.items():
        sentence = _("{setting} cannot be used and is left out: {why}").format(setting=_(LABELS[setting]), why=why)
        yield Step(name, "bad", sentence)
    for sentence in misspelt():
        yield Step(name, "bad", sentence)
    for sentence in old_names.hints(old_names.given()):
        yield Step(name, "warning", sentence)


def _amocrm(settings: Settings, found: Health) -> Iterator[Step]:
    name = _("amoCRM")
    if not settings.amocrm_connected:
        yield Step(name, "warning", _("not connected: replies are kept and not sent"))
        return
    if found.outage is not None:
        yield Step(name, "bad", found.outage.sentence)
    else:
        yield Step(name, "good", _("connected to {address}").format(address=settings.amocrm_base_url))
    for subject, words in SUBJECTS.items():
        if subject == WEBHOOK and settings.public_url is None:
            yield Step(_(words), "warning", _("amoCRM cannot reach this server: it has no public address"))
        elif subject in found.seen:
            yield Step(_(words), found.seen[subject].state, found.seen[subject].sentence)


def _queue(service: Service, found: Health, now: datetime) -> Iterator[Step]:
    name = _("Queue")
    if not service.works:
        yield Step(name, "bad", _("questions are stored, but nothing works on them: start Otvet again"))
        return
    late = found.oldest is not None and now - found.oldest > LONG_WAIT and found.outage is None
    told = ngettext("{count} question has no reply yet", "{count} questions have no reply yet", found.open).format(
        count=found.open
    )
    if not found.open:
        yield Step(name, "good", _("nobody waits for a reply of the assistant"))
    elif late:
        yield Step(name, "warning", _("{told}, the oldest for more than ten minutes").format(told=told))
    else:
        yield Step(name, "good", told)
    if found.quarantined:
        told = ngettext(
            "{count} delivery was not understood; a person has to look at it",
            "{count} deliveries were not understood; a person has to look at them",
            found.quarantined,
        )
        yield Step(_("Quarantine"), "warning", told.format(count=found.quarantined))


def _responders(settings: Settings, found: Health) -> Iterator[Step]:
    ceilings = {"manus": settings.manus_credits_per_day, "openai": settings.openai_tokens_per_day}
    there = {"manus": settings.manus_api_key, "openai": settings.openai_model}
    for responder, is_set in there.items():
        name = wording.writer(responder)
        if responder not in settings.responder_order or not is_set:
            continue
        spent, ceiling, asked = found.spent.get(responder, 0), ceilings[responder], found.responders.get(responder)
        if ceiling is not None and spent >= ceiling:
            sentence = _("today's ceiling of {ceiling} {unit} is reached: the next responder is asked")
            yield Step(name, "bad", sentence.format(ceiling=ceiling, unit=_(UNITS[responder])))
        elif asked is not None and asked.failed * 2 >= asked.asked:
            sentence = _("{failed} of {asked} questions of the last hour failed: {why}")
            yield Step(name, "bad", sentence.format(failed=asked.failed, asked=asked.asked, why=asked.why))
        else:
            yield Step(name, "good", _("spent today: {spent} {unit}").format(spent=spent, unit=_(UNITS[responder])))
    if not any(there.values()):
        told = _("no AI is connected: replies come from the knowledge folder")
        yield Step(_("AI"), "warning", told)


@lru_cache(maxsize=2)
def _files(settings: Settings, _moment: int) -> tuple[list[Step], int | None]:
    """The files of the settings, and the free space beside the database; read once in a moment for all pages."""
    steps = [as_step(checking.knowledge(settings)), as_step(checking.instructions(settings))]
    if not settings.is_sqlite:
        return steps, None
    free = shutil.disk_usage(settings.sqlite_path.absolute().parent or Path()).free
    state: checking.Sign = "bad" if free < LITTLE_SPACE else "note" if free < LOW_SPACE else "good"
    sentence = _("{free:.1f} GB are free where the database is").format(free=free / GIB)
    return [*steps, as_step(Finding(_("Disk"), state, sentence))], free


@dataclass(frozen=True, slots=True)
class Checked:
    """The last check that called the services. steps: None while it is under way."""

    at: datetime
    steps: Sequence[Step] | None


def last_check(connection: Connection, now: datetime) -> Checked | None:
    """What the last check found; one whose process died is as if there were none."""
    kept = json.loads(keyvalue.recall(connection, RAN_LAST) or "null")
    if kept is None:
        return None
    at, steps = datetime.fromisoformat(kept["at"]), kept["steps"]
    if steps is None and now - at > timedelta(seconds=2 * CALLS_SECONDS):
        return None
    return Checked(at, None if steps is None else [Step(**step) for step in steps])


async def check_now(service: Service) -> None:
    """What ``otvet check`` does, with its result stored for the page."""
    at, settings = service.clock.now(), service.settings
    await _note(service, Checked(at, None))
    try:
        async with asyncio.timeout(CALLS_SECONDS):
            steps = [as_step(one) for one in await checking.everything(settings)]
    except TimeoutError:
        steps = [Step(_("Check"), "bad", _("it took too long and was broken off"))]
    except OtvetError as error:
        steps = [Step(_("Check"), "bad", str(error))]
    except Exception:
        log.exception("the check ended with an error")
        steps = [Step(_("Check"), "bad", _("an error of our own; the log has more"))]
    steps.sort(key=lambda step: ORDER.index(step.state))
    await _note(service, Checked(at, steps))


async def _note(service: Service, checked: Checked) -> None:
    steps = None if checked.steps is None else [asdict(step) for step in checked.steps]
    text = json.dumps({"at": checked.at.isoformat(), "steps": steps})
    await service.database.write(lambda connection: keyvalue.note(connection, RAN_LAST, text))
