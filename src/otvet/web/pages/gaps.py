"""What clients ask and the folder does not say: a list of work, each answered, tried on the spot, or dismissed."""

import asyncio
from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Request
from sqlalchemy.engine import Connection
from starlette.responses import RedirectResponse, Response

from otvet.errors import UsageError
from otvet.staff import gaps, teaching
from otvet.web.pages.knowledge import folder_of, tried
from otvet.web.pages.rendering import page
from otvet.web.pages.signed import Manager, Viewer, Who, change, service_of

router = APIRouter()

SINCE = timedelta(days=90)
MOST_LISTED = 100


@router.get("/knowledge/gaps")
async def listed(request: Request, who: Viewer) -> Response:
    asked = request.query_params.get("question", "")[: teaching.LONGEST_QUESTION]
    return await _gaps(request, who, 200, asked=asked)


async def _gaps(request: Request, who: Who, status: int, **values: Any) -> Response:
    service = service_of(request)
    since = service.clock.now() - SINCE
    found = await service.database.read(lambda connection: gaps.listed(connection, since, MOST_LISTED))
    shown = {"asked": "", "heading": "", "answer": "", "why": None, "tried": None, "file": None} | values
    return page(request, "gaps.html", status, who=who, gaps=found, days=SINCE.days, **shown)


@router.post("/knowledge/gaps/answer")
async def answer(request: Request, who: Manager) -> Response:
    """Write an answer into the folder and try the client's question; a gap that is answered now leaves the list."""
    service, now = service_of(request), service_of(request).clock.now()
    asked, question, text = who.text("asked"), who.text("question"), who.text("answer")
    asked = asked.strip() or question
    try:
        file = await asyncio.to_thread(teaching.add_entry, folder_of(request), question, text, asked)
    except UsageError as error:
        return await _gaps(request, who, 422, asked=asked, heading=question, answer=text, why=str(error))
    service.knowledge.look_again()
    result = await tried(request, asked)

    def run(connection: Connection) -> bool:
        if result is not None and result["answer"] is not None:
            gaps.close(connection, asked, who.user.name, now, answered=True)
        return True

    await change(request, who, "knowledge-answer", file.name, run)
    return await _gaps(request, who, 200, tried=result, file=file.name)


@router.post("/knowledge/gaps/dismiss")
async def dismiss(request: Request, who: Manager) -> Response:
    """Take a gap off the list: it needs no answer of ours."""
    asked, now = who.text("asked"), service_of(request).clock.now()
    await change(
        request,
        who,
        "gap-dismiss",
        "",
        lambda connection: gaps.close(connection, asked, who.user.name, now, answered=False),
    )
    return RedirectResponse("/knowledge/gaps", 303)
