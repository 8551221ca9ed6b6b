"""The list of chats, the search in all of them, and the next one that needs a person."""

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from sqlalchemy.engine import Connection
from starlette.responses import RedirectResponse, Response

from otvet.screens import inbox
from otvet.screens.inbox import Box
from otvet.web.pages.live import stream
from otvet.web.pages.rendering import fragment, page
from otvet.web.pages.signed import Viewer, Who, service_of

router = APIRouter()

LONGEST_SEARCH = 200
"""Letters; a longer one is cut."""


def box_of(request: Request) -> Box:
    """The box of the address. Without one, or with an unknown one: all chats for a search, else those that wait."""
    try:
        return Box(request.query_params["box"])
    except (KeyError, ValueError):
        return Box.ALL if wanted_of(request) else Box.PERSON


def wanted_of(request: Request) -> str:
    """What is searched for."""
    return request.query_params.get("q", "").strip()[:LONGEST_SEARCH]


def cursor_of(request: Request) -> inbox.Cursor | None:
    """Where a page of the list begins: ``moment~id`` in the address."""
    moment, _separator, id_ = request.query_params.get("before", "").replace(" ", "+").partition("~")
    try:
        return (datetime.fromisoformat(moment), int(id_)) if id_ else None
    except ValueError:
        return None


def number_of(request: Request, name: str) -> int | None:
    """The id of a message in the address; None if there is none."""
    given = request.query_params.get(name, "")
    return int(given) if given.isdecimal() and len(given) < 19 else None


def place(request: Request, who: Who) -> dict[str, Any]:
    """What of the list the address asks for. ``kept``: the part of an address that asks for the same."""
    box, channel, wanted = box_of(request), request.query_params.get("channel", ""), wanted_of(request)
    named = {"box": box.value, "channel": channel, "q": wanted}
    kept = urlencode({name: value for name, value in named.items() if value})
    before = request.query_params.get("before", "")
    return {"box": box, "channel": channel, "wanted": wanted, "before": before, "kept": kept, "who": who}


async def listed(request: Request, who: Who) -> dict[str, Any]:
    """What the list's column shows. ``older``: where its next page begins, as the address says it."""
    service = service_of(request)
    now = service.clock.now()
    asked = place(request, who)
    box, channel, wanted = asked["box"], asked["channel"], asked["wanted"]

    def read(connection: Connection) -> dict[str, Any]:
        counts = inbox.counts(connection, now)
        if wanted:
            found, at = inbox.search(connection, wanted, box, now, channel=channel, before=number_of(request, "before"))
            return {"rows": found, "older": at and str(at), "counts": counts}
        rows, more = inbox.page(connection, box, now, channel=channel, before=cursor_of(request))
        return {"rows": rows, "older": more and f"{more[0].isoformat()}~{more[1]}", "counts": counts}

    return {**await service.database.read(read), **asked}


async def shared(request: Request, who: Who, *, opened: int | None = None) -> dict[str, str]:
    """The parts of the list's column for a stream, made once for all streams that show the same list.

    opened: the chat that this page shows.
    """

    async def make() -> dict[str, str]:
        values = await listed(request, who)
        return {
            "rows": fragment(request, "_rows.html", chat=None, **values),
            "boxes": fragment(request, "_boxes.html", **values),
        }

    asked = place(request, who)
    key = (asked["kept"], asked["before"])
    parts: dict[str, str] = await service_of(request).pulse.once(key, make)
    row = f'id="row-{opened}"'
    return parts | {"rows": parts["rows"].replace(row, f'{row} aria-current="true"', 1)} if opened else parts


@router.get("/")
async def first(request: Request, who: Viewer) -> Response:
    return page(request, "inbox.html", chat=None, **await listed(request, who))


@router.get("/live/inbox")
async def live(request: Request, who: Viewer) -> Response:
    async def parts() -> dict[str, str]:
        return await shared(request, who)

    return stream(request, service_of(request).pulse, parts)


@router.get("/next")
async def next_needing(request: Request, who: Viewer) -> Response:
    """The chat in which somebody has waited longest."""
    service = service_of(request)
    now = service.clock.now()
    skip = number_of(request, "after")
    found = await service.database.read(lambda connection: inbox.next_needing(connection, now, skip))
    return RedirectResponse("/" if found is None else f"/chats/{found}?box=person", 303)
