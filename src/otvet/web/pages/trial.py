"""The trial chat: be the client, and watch what is stored, found, written, checked, and what would be sent."""

import asyncio
from typing import Any, cast

from fastapi import APIRouter, Request
from sqlalchemy.engine import Connection
from starlette.responses import HTMLResponse, RedirectResponse, Response

from otvet.app import manus
from otvet.responders.base import Line
from otvet.screens import chat
from otvet.screens import trial as screen
from otvet.staff import erasure, trial
from otvet.staff.trial import Trial
from otvet.web.pages.live import stream
from otvet.web.pages.rendering import HEADERS, fragment, page
from otvet.web.pages.signed import Manager, Viewer, Who, change, service_of

router = APIRouter()

TRY_IT = "/try"
NEAREST = 3


async def shown(request: Request, who: Who) -> dict[str, Any]:
    """What both sides of the page show."""
    service = service_of(request)

    def read(connection: Connection) -> dict[str, Any]:
        mine = trial.of_user(connection, who.user.id)
        if mine is None:
            return {"bubbles": [], "steps": []}
        bubbles, _older = chat.bubbles(connection, mine.conversation_id)
        return {"bubbles": bubbles, "steps": screen.steps(connection, mine.conversation_id)}

    values = await service.database.read(read)
    found = await asyncio.to_thread(_found, request, values["bubbles"], values["steps"])
    suggested = [] if values["bubbles"] else await asyncio.to_thread(_suggested, request)
    costs = [one.name for one in service.writer.responders if one.outside]
    return {**values, "found": found, "suggested": suggested, "costs": costs, "who": who}


def _found(request: Request, bubbles: list[chat.Bubble], steps: list[screen.Step]) -> dict[int, list[dict[str, Any]]]:
    """The passages of each question: those that its reply names, else those that the folder has for it now."""
    knowledge, found = service_of(request).knowledge, {}
    for step in steps:
        stored = (step.turn.details or {}).get("passages")
        if stored is not None or not step.text.strip():
            found[step.turn.id] = stored or []
            continue
        question = [Line("client", text, at) for text, at in step.asked]
        before = [Line(cast(Any, one.sender), one.text, one.at) for one in bubbles if (one.turn_id or 0) < step.turn.id]
        hits = knowledge.passages(question, before, NEAREST)
        found[step.turn.id] = [{"file": hit.passage.file, "heading": hit.passage.heading} for hit in hits]
    return found


def _suggested(request: Request) -> list[str]:
    service = service_of(request)
    knowledge, now = service.knowledge, service.clock.now()
    return trial.suggested(knowledge.entries, lambda text: knowledge.answer([Line("client", text, now)]) is not None)


@router.get(TRY_IT)
async def trying(request: Request, who: Viewer) -> Response:
    return page(request, "trial.html", **await shown(request, who))


@router.get("/live/try")
async def live(request: Request, who: Viewer) -> Response:
    async def parts() -> dict[str, str]:
        return _parts(request, await shown(request, who))

    return stream(request, service_of(request).pulse, parts)


def _parts(request: Request, values: dict[str, Any]) -> dict[str, str]:
    return {
        "log": fragment(request, "_trial_log.html", **values),
        "steps": fragment(request, "_trial_steps.html", **values),
    }


@router.post(TRY_IT)
async def say(request: Request, who: Manager) -> Response:
    """Write a message as the client; it takes the way that amoCRM's messages take, from the inbox on."""
    service = service_of(request)
    text, now = who.text("text").strip(), service.clock.now()
    if text:
        mine = await _mine(request, who)
        lead_id = mine.lead_id if mine else trial.new_deal(who.user.id, now)
        await service.inbox.receive(trial.delivery(who.user.id, who.user.name, lead_id, text, now))
    if not request.headers.get("hx-request"):
        return RedirectResponse(TRY_IT, 303)
    values = await shown(request, who)
    partials = "".join(
        f'<hx-partial hx-target="#{name}" hx-swap="innerMorph">{html}</hx-partial>'
        for name, html in _parts(request, values).items()
    )
    return HTMLResponse(fragment(request, "_trial_form.html", **values) + partials, headers=HEADERS)


@router.post("/try/anew")
async def anew(request: Request, who: Manager) -> Response:
    """Erase what was said, here and at Manus, and begin anew."""
    service = service_of(request)
    mine = await _mine(request, who)
    if mine is not None:
        api = manus.api_of(service.settings, service.http)
        await erasure.forget(service.database, service.clock, api, lead_id=mine.lead_id)
        await change(request, who, "erase", "trial chat", lambda _connection: True)
    return RedirectResponse(TRY_IT, 303)


async def _mine(request: Request, who: Who) -> Trial | None:
    return await service_of(request).database.read(lambda connection: trial.of_user(connection, who.user.id))
