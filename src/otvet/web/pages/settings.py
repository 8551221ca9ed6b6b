"""Settings that a user changes, and the stop of the assistant everywhere."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from otvet.app import in_force
from otvet.app.in_force import InForce
from otvet.errors import SettingsError
from otvet.i18n import N_, _
from otvet.settings.groups import (
    ABOUT,
    CHOICES,
    GROUPS,
    LABELS,
    LONG,
    OWN,
    RARE,
    SECRET,
    TITLES,
    is_switch,
    values_of,
    written,
)
from otvet.settings.loading import Unusable
from otvet.settings.settings import PREFIX, Settings
from otvet.users import kept_settings
from otvet.users.kept_settings import Kept
from otvet.web.pages.rendering import page
from otvet.web.pages.signed import Manager, Owner, Refused, Viewer, Who, change, service_of

router = APIRouter()

NO_SUCH_GROUP = N_("there is no such group of settings")
FIXED = N_("{name} is set in the environment or in .env, which hold over what is set here")
NOTHING: Mapping[str, str] = {}
REMOVE = "remove:"  # before the name of a secret: it is taken away
CHOSEN = "chosen:"  # before the name of a setting that is chosen or else written


@dataclass(frozen=True, slots=True)
class Field:
    """A setting as the page shows it. value: as typed, or as it is; of a secret nothing.

    kept: who set it here, and when. variable: its name in the environment. fixed: it is set there. wrong: why its value
    cannot be used.
    """

    name: str
    label: str
    about: str
    value: str
    kind: str
    choices: Mapping[str, str]
    variable: str
    fixed: bool
    is_set: bool
    kept: Kept | None
    wrong: str


def field_of(found: InForce, name: str, typed: Mapping[str, str], wrong: Mapping[str, str]) -> Field:
    """A setting for the page; typed, wrong: what was sent and not taken."""
    value = getattr(found.settings, name)
    named = CHOICES.get(name, NOTHING)
    choices = {one: _(named.get(one, one)) for one in (values_of(name) or named)}
    kind = "switch" if is_switch(name) else "secret" if name in SECRET else "long" if name in LONG else "text"
    if choices:
        kind = "open" if OWN in choices else "choice"
    return Field(
        name,
        _(LABELS[name]),
        _(ABOUT.get(name) or str(Settings.model_fields[name].description)),
        typed.get(name, written(value)) if kind != "secret" else "",
        kind,
        choices,
        PREFIX + name.upper(),
        found.is_fixed(name),
        value is not None,
        found.kept.get(name),
        wrong.get(name, found.left_out.get(name, "")),
    )


@router.get("/settings")
async def shown(request: Request, who: Viewer) -> Response:
    return await _page(request, who)


async def _page(
    request: Request,
    who: Who,
    status: int = 200,
    *,
    typed: Mapping[str, str] = NOTHING,
    wrong: Mapping[str, str] = NOTHING,
) -> Response:
    found = await look(request)
    groups = {
        key: (_(TITLES[key]), [field_of(found, name, typed, wrong) for name in names]) for key, names in GROUPS.items()
    }
    contradiction = wrong.get("", "")
    return page(request, "settings.html", status, who=who, groups=groups, contradiction=contradiction, rare=RARE)


async def look(request: Request) -> InForce:
    """What is in force now, also before the parts are made anew."""
    service = service_of(request)
    given = service.in_force.given
    return await service.database.read(lambda connection: in_force.read(connection, given))


@router.post("/settings/group/{key}")
async def save(request: Request, key: str, who: Owner) -> Response:
    if key not in GROUPS:
        raise Refused(404, _(NO_SUCH_GROUP))
    found = await look(request)
    typed = {name: _typed(who, name) for name in GROUPS[key]}
    changes = dict(_changes(found, key, who))
    try:
        await keep(request, who, found, changes)
    except SettingsError as error:
        wrong = {error.name: error.reason} if isinstance(error, Unusable) else {"": str(error)}
        if not wrong.keys() <= GROUPS[key].keys():
            wrong = {"": str(error)}
        return await _page(request, who, 422, typed=typed, wrong=wrong)
    return RedirectResponse(f"/settings#{key}", 303)


def _typed(who: Who, name: str) -> str:
    return (who.text(CHOSEN + name) or who.text(name)).strip()


def _changes(found: InForce, key: str, who: Who) -> Iterator[tuple[str, str]]:
    """What of the form is another value than now; an empty one lets the default hold."""
    for name in GROUPS[key]:
        if found.is_fixed(name):
            continue
        typed = _typed(who, name)
        if is_switch(name):
            typed = "true" if typed else "false"
        if name in SECRET:
            if typed or who.text(REMOVE + name):
                yield name, "" if who.text(REMOVE + name) else typed
        elif typed != written(getattr(found.settings, name)) or name in found.left_out:
            is_default = typed == written(Settings.model_fields[name].get_default())
            yield name, "" if is_default else typed


async def keep(request: Request, who: Who, found: InForce, changes: Mapping[str, str]) -> None:
    """Keep changed settings, and have the server take them up. SettingsError if they cannot be used; then none is kept.

    The audit names the settings; of a secret it says only that it was changed.
    """
    for name in changes:
        if found.is_fixed(name):
            raise Unusable(name, _(FIXED).format(name=PREFIX + name.upper()))
    in_force.changed(found, changes)
    service = service_of(request)
    told = {name: "***" if name in SECRET and value else value for name, value in changes.items()}
    now = service.clock.now()
    await change(
        request,
        who,
        "set",
        "settings",
        lambda connection: in_force.keep(connection, found, changes, who.user.name, now),
        **told,
    )
    service.settings_changed.set()


@router.post("/assistant/stop")
async def stop(request: Request, who: Manager) -> Response:
    now = service_of(request).clock.now()
    name = who.user.name
    await change(request, who, "stop", "assistant", lambda connection: kept_settings.stop(connection, name, now))
    return RedirectResponse(_back(request), 303)


@router.post("/assistant/go-on")
async def go_on(request: Request, who: Manager) -> Response:
    await change(request, who, "go on", "assistant", kept_settings.go_on)
    return RedirectResponse(_back(request), 303)


def _back(request: Request) -> str:
    """The page that it was asked for on."""
    here = urlsplit(request.headers.get("referer", ""))
    if here.netloc != request.headers.get("host") or not here.path.startswith("/") or here.path.startswith("//"):
        return "/"
    return f"{here.path}?{here.query}" if here.query else here.path
