"""One chat: what was said, how each reply came about, and what a manager does in it."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from sqlalchemy.engine import Connection
from starlette.responses import RedirectResponse, Response

from otvet.conversations.conversation import set_mode
from otvet.conversations.pauses import pause_end, set_pause
from otvet.conversations.tables import MODES
from otvet.errors import UsageError
from otvet.i18n import N_, _
from otvet.screens import chat, inbox
from otvet.staff import links
from otvet.turns import drafts, handoffs, staff
from otvet.users import audit, ratings
from otvet.web.pages.inbox import listed, number_of, place, shared
from otvet.web.pages.live import stream
from otvet.web.pages.rendering import fragment, page
from otvet.web.pages.signed import Manager, Refused, Viewer, Who, change, service_of

router = APIRouter()

Id = Annotated[int, Path(ge=1, lt=2**63)]

NO_CHAT = N_("there is no such chat")
NO_DEAL = N_("the deal of this chat is not known yet")
SENT_BY = N_("{name} has sent this draft already")
REJECTED_BY = N_("{name} has rejected this draft already")


async def shown(request: Request, who: Who, conversation_id: int, since: int | None) -> dict[str, Any]:
    """What the chat's column shows. since: the oldest message that the open page shows.

    ``at`` in the address: a message that was searched for, and is to be shown with some before it.
    """
    service = service_of(request)
    now = service.clock.now()
    at = number_of(request, "at")

    def read(connection: Connection) -> dict[str, Any] | None:
        one = chat.get(connection, conversation_id, now)
        if one is None:
            return None
        begin = chat.begin_at(connection, conversation_id, at) if since is None and at else since
        bubbles, older = chat.bubbles(connection, conversation_id, since=begin)
        return {"chat": one, "bubbles": bubbles, "older": older, "others": chat.other_deals(connection, one.id)}

    values = await service.database.read(read)
    if values is None:
        raise Refused(404, _(NO_CHAT))
    address = links.deal(service.settings.amocrm_base_url, values["chat"].lead_id)
    return {**values, "deal_address": address, "who": who}


@router.get("/chats/{conversation_id}")
async def one(request: Request, who: Viewer, conversation_id: Id) -> Response:
    values = await listed(request, who) | await shown(request, who, conversation_id, None)
    return page(request, "inbox.html", told=request.query_params.get("told"), **values)


@router.get("/chats/{conversation_id}/info")
async def info(request: Request, who: Viewer, conversation_id: Id) -> Response:
    values = await listed(request, who) | await shown(request, who, conversation_id, None)
    return page(request, "inbox.html", at_info=True, **values)


@router.get("/chats/{conversation_id}/earlier")
async def earlier(request: Request, who: Viewer, conversation_id: Id, before: int) -> Response:
    """Older messages, to stand above those that are shown."""
    service = service_of(request)
    bubbles, older = await service.database.read(
        lambda connection: chat.bubbles(connection, conversation_id, before=before)
    )
    return page(request, "_earlier.html", bubbles=bubbles, older=older, id=conversation_id, who=who)


@router.get("/live/chat/{conversation_id}")
async def live(request: Request, who: Viewer, conversation_id: Id) -> Response:
    since = number_of(request, "since")

    async def parts() -> dict[str, str]:
        values = place(request, who) | await shown(request, who, conversation_id, since)
        return {
            **await shared(request, who, opened=conversation_id),
            "log": fragment(request, "_log.html", **values),
            "state": fragment(request, "_state.html", **values),
            "mode": fragment(request, "_mode.html", **values),
        }

    return stream(request, service_of(request).pulse, parts)


@router.get("/chats/{conversation_id}/replies/{turn_id}")
async def reply(request: Request, who: Viewer, conversation_id: Id, turn_id: Id) -> Response:
    """How a reply came about."""
    service = service_of(request)
    made = await service.database.read(lambda connection: chat.made(connection, turn_id))
    if made is None or made.turn.conversation_id != conversation_id:
        raise Refused(404, _("there is no question {turn}").format(turn=turn_id))
    name = "_made.html" if request.headers.get("hx-request") else "made.html"
    return page(request, name, made=made, id=conversation_id, who=who)


def back(request: Request, conversation_id: int, why_not: str | None = None) -> Response:
    """To the chat again; why_not: what the page says first. The page itself tells of the change that was made."""
    if why_not is not None:
        raise Refused(409, why_not)
    box = request.query_params.get("box")
    return RedirectResponse(f"/chats/{conversation_id}" + (f"?box={box}" if box and box.isalpha() else ""), 303)


async def _lead(request: Request, conversation_id: int) -> int:
    service = service_of(request)
    now = service.clock.now()
    found = await service.database.read(lambda connection: chat.get(connection, conversation_id, now))
    if found is None:
        raise Refused(404, _(NO_CHAT))
    if found.lead_id is None:
        raise Refused(409, _(NO_DEAL))
    return found.lead_id


@router.post("/chats/{conversation_id}/pause")
async def pause(request: Request, who: Manager, conversation_id: Id) -> Response:
    """Take the deal over: for the minutes of the form, or until it is given back."""
    lead_id = await _lead(request, conversation_id)
    try:
        minutes = float(who.text("minutes")) if who.text("minutes") else None
        until = pause_end(service_of(request).clock.now(), minutes)
    except ValueError as error:
        raise Refused(422, _("give a number of minutes")) from error
    except UsageError as error:
        raise Refused(422, str(error)) from error
    await change(request, who, "pause", f"deal {lead_id}", lambda connection: set_pause(connection, lead_id, until))
    return back(request, conversation_id)


@router.post("/chats/{conversation_id}/resume")
async def resume(request: Request, who: Manager, conversation_id: Id) -> Response:
    lead_id = await _lead(request, conversation_id)
    await change(request, who, "resume", f"deal {lead_id}", lambda connection: set_pause(connection, lead_id, None))
    return back(request, conversation_id)


@router.post("/chats/{conversation_id}/mode")
async def mode(request: Request, who: Manager, conversation_id: Id) -> Response:
    lead_id = await _lead(request, conversation_id)
    wanted = who.text("mode")
    if wanted and wanted not in MODES:
        raise Refused(422, _("there is no mode {mode}; the modes are: {modes}").format(mode=wanted, modes=MODES))
    await change(
        request,
        who,
        "mode",
        f"deal {lead_id}",
        lambda connection: set_mode(connection, lead_id, wanted or None),
        to=wanted,
    )
    return back(request, conversation_id)


@router.post("/turns/{turn_id}/done")
async def done(request: Request, who: Manager, turn_id: Id) -> Response:
    """A person has seen to it."""
    service = service_of(request)
    now = service.clock.now()
    id_ = await _chat_of(request, turn_id)
    await change(
        request, who, "done", f"turn {turn_id}", lambda connection: handoffs.mark_done(connection, turn_id, now)
    )
    return back(request, id_)


@router.post("/turns/{turn_id}/retry")
async def retry(request: Request, who: Manager, turn_id: Id) -> Response:
    """Answer now, or anew."""
    service = service_of(request)
    now = service.clock.now()
    connected = service.settings.amocrm_connected
    id_ = await _chat_of(request, turn_id)
    why_not = await service.database.read(lambda connection: staff.still_kept(connection, turn_id, connected=connected))
    if why_not is None:
        answers = await change(
            request, who, "retry", f"turn {turn_id}", lambda connection: staff.retry(connection, turn_id, now)
        )
        if answers is None:
            why_not = _("the question {turn} cannot be tried again").format(turn=turn_id)
        else:
            service.worker.put([answers])
    return back(request, id_, why_not)


@router.post("/turns/{turn_id}/approve")
async def approve(request: Request, who: Manager, turn_id: Id) -> Response:
    """Send a draft, perhaps with other words; the next draft opens."""
    service = service_of(request)
    now = service.clock.now()
    id_ = await _chat_of(request, turn_id)
    text = who.text("text").strip() or None

    def run(connection: Connection) -> str | None:
        turn = chat.draft(connection, turn_id)
        changed = text if turn is None or text != turn.text else None
        why_not = drafts.approve(connection, turn_id, changed)
        if why_not is None:
            did = "approve" if changed is None else "edit"
            audit.note(connection, who.user.name, did, f"turn {turn_id}", now)
        return _who_was_first(connection, turn_id) or why_not if why_not else None

    why_not = await service.database.write(run)
    if why_not is None:
        service.worker.put([turn_id])
        return await _next_draft(request, turn_id, id_)
    return back(request, id_, why_not)


@router.post("/turns/{turn_id}/reject")
async def reject(request: Request, who: Manager, turn_id: Id) -> Response:
    """Drop a draft; the next one opens."""
    service = service_of(request)
    now = service.clock.now()
    id_ = await _chat_of(request, turn_id)

    def run(connection: Connection) -> str | None:
        why_not = drafts.reject(connection, turn_id, now)
        if why_not is None:
            audit.note(connection, who.user.name, "reject", f"turn {turn_id}", now)
            return None
        return _who_was_first(connection, turn_id) or why_not

    why_not = await service.database.write(run)
    return back(request, id_, why_not) if why_not else await _next_draft(request, turn_id, id_)


def _who_was_first(connection: Connection, turn_id: int) -> str | None:
    """Who sent or rejected a draft that waits no more."""
    what = f"turn {turn_id}"
    for did, sentence in (("approve", SENT_BY), ("edit", SENT_BY), ("reject", REJECTED_BY)):
        if name := audit.last_who(connection, did, what):
            return _(sentence).format(name=name)
    return None


async def _next_draft(request: Request, turn_id: int, conversation_id: int) -> Response:
    if request.query_params.get("box") != inbox.Box.DRAFTS:
        return back(request, conversation_id)
    found = await service_of(request).database.read(lambda connection: inbox.next_draft(connection, turn_id))
    return RedirectResponse("/?box=drafts" if found is None else f"/chats/{found[0]}?box=drafts", 303)


@router.post("/turns/{turn_id}/rate")
async def rate(request: Request, who: Manager, turn_id: Id) -> Response:
    """Thumbs up or down, with a reason."""
    service = service_of(request)
    now = service.clock.now()
    id_ = await _chat_of(request, turn_id)
    good = who.text("good") == "yes"

    def run(connection: Connection) -> bool:
        ratings.rate(connection, turn_id, good=good, reason=who.text("reason"), who=who.user.name, now=now)
        return True

    await change(request, who, "rate", f"turn {turn_id}", run, good=good)
    return back(request, id_)


async def _chat_of(request: Request, turn_id: int) -> int:
    """The chat of a question."""
    found = await service_of(request).database.read(lambda connection: chat.of_turn(connection, turn_id))
    if found is None:
        raise Refused(404, _("there is no question {turn}").format(turn=turn_id))
    return found
