"""The list of chats, with the next one that needs a person."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from sqlalchemy.engine import Connection
from starlette.responses import RedirectResponse, Response

from otvet.screens import inbox
from otvet.screens.inbox import Box
from otvet.web.pages.live import stream
from otvet.web.pages.rendering import fragment, page
from otvet.web.pages.signed import Viewer, Who, service_of

router = APIRouter()


def box_of(request: Request) -> Box:
    """The box of the address; an unknown one is the first."""
    try:
        return Box(request.query_params.get("box", Box.PERSON))
    except ValueError:
        return Box.PERSON


def cursor_of(request: Request) -> inbox.Cursor | None:
    """Where a page of the list begins: ``moment~id`` in the address."""
    moment, _separator, id_ = request.query_params.get("before", "").replace(" ", "+").partition("~")
    try:
        return (datetime.fromisoformat(moment), int(id_)) if id_ else None
    except ValueError:
        return None


async def listed(request: Request, who: Who) -> dict[str, Any]:
    """What the list's column shows."""
    service = service_of(request)
    now, box = service.clock.now(), box_of(request)
    wanted = request.query_params.get("q", "").strip()

    def read(connection: Connection) -> dict[str, Any]:
        rows, more = inbox.page(connection, box, now, before=cursor_of(request))
        return {"rows": rows, "more": more, "counts": inbox.counts(connection, now)}

    return {**await service.database.read(read), "box": box, "wanted": wanted, "who": who}


@router.get("/")
async def first(request: Request, who: Viewer) -> Response:
    return page(request, "inbox.html", chat=None, **await listed(request, who))


@router.get("/live/inbox")
async def live(request: Request, who: Viewer) -> Response:
    async def parts() -> dict[str, str]:
        values = await listed(request, who)
        return {
            "rows": fragment(request, "_rows.html", chat=None, **values),
            "boxes": fragment(request, "_boxes.html", **values),
        }

    return stream(request, service_of(request).pulse, parts)


@router.get("/next")
async def next_needing(request: Request, who: Viewer) -> Response:
    """The chat in which somebody has waited longest."""
    service = service_of(request)
    now = service.clock.now()
    after = request.query_params.get("after", "")
    skip = int(after) if after.isdecimal() and len(after) < 19 else None
    found = await service.database.read(lambda connection: inbox.next_needing(connection, now, skip))
    return RedirectResponse("/" if found is None else f"/chats/{found}?box=person", 303)
