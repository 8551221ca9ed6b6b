"""What the JSON API changes, in the name of the token that asks for it."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, HTTPException, Request

from otvet.app import manus
from otvet.app.service import Service
from otvet.conversations.conversation import set_mode
from otvet.conversations.pauses import pause_end, set_pause
from otvet.errors import UsageError
from otvet.i18n import _
from otvet.staff import erasure
from otvet.turns import drafts, handoffs, staff
from otvet.turns.turn import State
from otvet.users.api_tokens import Scope
from otvet.web.access import Admin, Operator, change, needs
from otvet.web.api import pause_shown

changes = APIRouter(tags=["api"], dependencies=[Depends(needs(Scope.OPERATE))])


@changes.post("/api/conversations/{lead_id}/pause")
async def pause(request: Request, caller: Operator, lead_id: int, minutes: float | None = None) -> dict[str, Any]:
    """Leave a deal to staff: for ``minutes``, or until it is resumed."""
    now = request.app.state.service.clock.now()
    try:
        until = pause_end(now, minutes)
    except UsageError as error:
        raise HTTPException(422, str(error)) from error
    what = f"deal {lead_id}"
    if not await change(request, caller, "pause", what, lambda connection: set_pause(connection, lead_id, until)):
        raise HTTPException(404, _("no conversation of the deal {lead} is known").format(lead=lead_id))
    return {"lead_id": lead_id, **pause_shown(until, now)}


@changes.post("/api/conversations/{lead_id}/resume")
async def resume(request: Request, caller: Operator, lead_id: int) -> dict[str, Any]:
    """Let the assistant answer in a deal again."""
    what = f"deal {lead_id}"
    if not await change(request, caller, "resume", what, lambda connection: set_pause(connection, lead_id, None)):
        raise HTTPException(404, _("no conversation of the deal {lead} is known").format(lead=lead_id))
    return {"lead_id": lead_id, "paused": False}


@changes.post("/api/conversations/{lead_id}/mode")
async def mode(
    request: Request, caller: Operator, lead_id: int, mode: Literal["auto", "draft", "off"] | None = None
) -> dict[str, Any]:
    """Set the assistant's mode in a deal; without ``mode``, the mode of the settings holds."""
    what = f"deal {lead_id}"
    if not await change(
        request, caller, "mode", what, lambda connection: set_mode(connection, lead_id, mode), to=mode or ""
    ):
        raise HTTPException(404, _("no conversation of the deal {lead} is known").format(lead=lead_id))
    return {"lead_id": lead_id, "mode": mode}


@changes.delete("/api/clients")
async def forget(
    request: Request, caller: Admin, lead_id: int | None = None, contact_id: int | None = None
) -> dict[str, Any]:
    """Erase a client, named by a deal or by amoCRM's contact. ``tasks_left``: tasks that Manus did not delete."""
    if (lead_id is None) == (contact_id is None):
        raise HTTPException(422, _("give either lead_id or contact_id"))
    service: Service = request.app.state.service
    api = manus.api_of(service.settings, service.http)
    erased = await erasure.forget(service.database, service.clock, api, lead_id=lead_id, contact_id=contact_id)
    if erased is None:
        raise HTTPException(404, _("nothing is known of this client"))
    what = f"contact {contact_id}" if lead_id is None else f"deal {lead_id}"
    await change(request, caller, "erase", what, lambda _connection: True)
    return {
        "conversations": erased.conversations,
        "messages": erased.messages,
        "replies": erased.replies,
        "quarantined": erased.quarantined,
        "tasks_left": erased.tasks_left,
    }


@changes.post("/api/turns/{turn_id}/retry")
async def retry(request: Request, caller: Operator, turn_id: int) -> dict[str, Any]:
    """Answer a turn that ended without a reply. A reply that may have been sent is looked for in amoCRM first."""
    service = request.app.state.service
    now = service.clock.now()
    connected = service.settings.amocrm_connected
    why_not = await service.database.read(lambda connection: staff.still_kept(connection, turn_id, connected=connected))
    if why_not is not None:
        raise HTTPException(409, why_not)
    what = f"turn {turn_id}"
    answers = await change(request, caller, "retry", what, lambda connection: staff.retry(connection, turn_id, now))
    if answers is None:
        raise HTTPException(409, _("the question {turn} cannot be tried again").format(turn=turn_id))
    service.worker.put([answers])
    return {"turn_id": answers, "state": "under way"}  # another turn if the client has written on meanwhile


@changes.post("/api/turns/{turn_id}/done")
async def done(request: Request, caller: Operator, turn_id: int) -> dict[str, Any]:
    """Take a question off the list of those that need a person: a person has seen to it."""
    now = request.app.state.service.clock.now()
    what = f"turn {turn_id}"
    if not await change(request, caller, "done", what, lambda connection: handoffs.mark_done(connection, turn_id, now)):
        raise HTTPException(409, _("the question {turn} is not on the list").format(turn=turn_id))
    return {"turn_id": turn_id, "state": "done"}


@changes.post("/api/turns/{turn_id}/approve")
async def approve(
    request: Request, caller: Operator, turn_id: int, text: Annotated[str | None, Body(embed=True, min_length=1)] = None
) -> dict[str, Any]:
    """Send a draft to the client. ``text``: sent in place of the draft's text."""
    if text is not None and not text.strip():
        raise HTTPException(422, _("the text is empty"))
    did = "approve" if text is None else "edit"
    why_not = await change(
        request, caller, did, f"turn {turn_id}", lambda connection: drafts.approve(connection, turn_id, text) or True
    )
    if isinstance(why_not, str):
        raise HTTPException(409, why_not)
    request.app.state.service.worker.put([turn_id])
    return {"turn_id": turn_id, "state": "under way"}


@changes.post("/api/turns/{turn_id}/reject")
async def reject(request: Request, caller: Operator, turn_id: int) -> dict[str, Any]:
    """Drop a draft; nothing is sent."""
    now = request.app.state.service.clock.now()
    why_not = await change(
        request, caller, "reject", f"turn {turn_id}", lambda connection: drafts.reject(connection, turn_id, now) or True
    )
    if isinstance(why_not, str):
        raise HTTPException(409, why_not)
    return {"turn_id": turn_id, "state": State.CANCELLED}
