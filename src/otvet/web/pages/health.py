"""How the assistant is: what there is to do first, and what works. Looking calls nobody; a button does."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from otvet.app import glance
from otvet.users import audit
from otvet.web.pages.live import stream
from otvet.web.pages.rendering import fragment, page
from otvet.web.pages.signed import Manager, Viewer, Who, service_of

router = APIRouter()


async def _seen(request: Request, who: Who) -> dict[str, Any]:
    service = service_of(request)
    now = service.clock.now()
    checked = await service.database.read(lambda connection: glance.last_check(connection, now))
    return {"who": who, "glance": await glance.look(service), "checked": checked}


@router.get("/health")
async def shown(request: Request, who: Viewer) -> Response:
    return page(request, "health.html", **await _seen(request, who))


@router.get("/live/health")
async def live(request: Request, who: Viewer) -> Response:
    async def parts() -> dict[str, str]:
        values = await _seen(request, who)
        return {
            "health": fragment(request, "_health.html", **values),
            "checked": fragment(request, "_checked.html", **values),
        }

    return stream(request, service_of(request).pulse, parts)


@router.post("/health/check")
async def check(request: Request, who: Manager) -> Response:
    service = service_of(request)
    now = service.clock.now()
    if not service.jobs:
        task = asyncio.create_task(glance.check_now(service))
        service.jobs.add(task)
        task.add_done_callback(service.jobs.discard)
        name = who.user.name
        await service.database.write(lambda connection: audit.note(connection, name, "check", "services", now))
    return RedirectResponse("/health#checked", 303)
