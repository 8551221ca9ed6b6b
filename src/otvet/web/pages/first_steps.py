"""The check-list of the first visit, which ticks by itself."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from otvet.app import first_steps
from otvet.errors import SettingsError
from otvet.i18n import N_, _
from otvet.web.pages.live import stream
from otvet.web.pages.rendering import fragment, page
from otvet.web.pages.settings import keep, look
from otvet.web.pages.signed import Owner, Refused, Viewer, Who, change, service_of

router = APIRouter()

HERE_IS = "/start"
NO_MODE = N_("choose how it is to work")


async def _seen(request: Request, who: Who) -> dict[str, Any]:
    return {"who": who, "steps": await first_steps.look(service_of(request))}


@router.get(HERE_IS)
async def shown(request: Request, who: Viewer) -> Response:
    return page(request, "start.html", **await _seen(request, who))


@router.get("/live/start")
async def live(request: Request, who: Viewer) -> Response:
    async def parts() -> dict[str, str]:
        return {"first-steps": fragment(request, "_first_steps.html", **await _seen(request, who))}

    return stream(request, service_of(request).pulse, parts)


@router.post(f"{HERE_IS}/mode")
async def switch_on(request: Request, who: Owner) -> Response:
    """Set the mode, and remember that somebody chose it, also if it is the default."""
    mode = who.text("mode")
    if mode not in ("auto", "draft", "off"):
        raise Refused(422, _(NO_MODE))
    try:
        await keep(request, who, await look(request), {"mode": mode})
    except SettingsError as error:
        raise Refused(409, str(error)) from None
    return RedirectResponse(HERE_IS, 303)


@router.post(f"{HERE_IS}/hide")
async def hide(request: Request, who: Owner) -> Response:
    name = who.user.name
    await change(request, who, "hide", "check-list", lambda connection: first_steps.hide(connection, name))
    return RedirectResponse("/", 303)
