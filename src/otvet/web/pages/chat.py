"""One chat: what was said, how each reply came about, and what is owed in it."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from sqlalchemy.engine import Connection
from starlette.responses import Response

from otvet.delivery import by_person
from otvet.i18n import N_, _
from otvet.screens import chat
from otvet.settings.by_channel import ways_in
from otvet.settings.settings import Settings
from otvet.staff import links
from otvet.web.pages.inbox import listed, number_of, place, shared
from otvet.web.pages.live import stream
from otvet.web.pages.rendering import fragment, page
from otvet.web.pages.signed import Refused, Viewer, Who, service_of

router = APIRouter()

Id = Annotated[int, Path(ge=1, lt=2**63)]

NO_CHAT = N_("there is no such chat")
DONE = {
    "kept": N_("Kept in the knowledge folder, in the file answers.md."),
    "sent": N_("On its way to the client."),
    "rated": N_("Thank you: that is noted."),
}
"""What the page may say first, by the word in its address."""


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
    say_not = why_not_say(service.settings, values["chat"])
    return {**values, "deal_address": address, "say_not": say_not, "told": None, "done": None, "typed": {}, "who": who}


def why_not_say(settings: Settings, one: chat.Chat, chat_ref: str | None = None) -> str | None:
    """Why nothing can be written to the client from here, in the chat that wrote last or in this one; None: it can."""
    origin = next((place.origin for place in one.places if chat_ref in (None, place.chat_ref)), "")
    return by_person.why_not(ways_in(settings.reply_via), origin, one.lead_id, connected=settings.amocrm_connected)


async def again(request: Request, who: Who, conversation_id: int, told: str, **typed: str) -> Response:
    """The chat with a sentence why something was not done, and with what was typed."""
    values = await listed(request, who) | await shown(request, who, conversation_id, None)
    return page(request, "inbox.html", 409, **{**values, "told": told, "typed": typed})


@router.get("/chats/{conversation_id}")
async def one(request: Request, who: Viewer, conversation_id: Id) -> Response:
    values = await listed(request, who) | await shown(request, who, conversation_id, number_of(request, "since"))
    done = DONE.get(request.query_params.get("done", ""))
    return page(request, "inbox.html", **{**values, "done": done and _(done)})


@router.get("/chats/{conversation_id}/info")
async def info(request: Request, who: Viewer, conversation_id: Id) -> Response:
    values = await listed(request, who) | await shown(request, who, conversation_id, None)
    return page(request, "inbox.html", at_info=True, **values)


@router.get("/chats/{conversation_id}/earlier")
async def earlier(request: Request, who: Viewer, conversation_id: Id, before: int) -> Response:
    """Older messages, to stand above those that are shown; without scripts, a page of their own."""
    service = service_of(request)
    bubbles, older = await service.database.read(
        lambda connection: chat.bubbles(connection, conversation_id, before=before)
    )
    name = "_earlier.html" if request.headers.get("hx-request") else "earlier.html"
    return page(request, name, bubbles=bubbles, older=older, id=conversation_id, who=who)


@router.get("/live/chat/{conversation_id}")
async def live(request: Request, who: Viewer, conversation_id: Id) -> Response:
    since = number_of(request, "since")

    async def parts() -> dict[str, str]:
        values = place(request, who) | await shown(request, who, conversation_id, since)
        return {
            **await shared(request, who, opened=conversation_id),
            "log": fragment(request, "_log.html", **values),
            "state": fragment(request, "_state.html", **values),
            "write": fragment(request, "_write.html", **values),
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
    now = service.clock.now()
    one = await service.database.read(lambda connection: chat.get(connection, conversation_id, now))
    say_not = one and why_not_say(service.settings, one, made.turn.chat_ref)
    name = "_made.html" if request.headers.get("hx-request") else "made.html"
    return page(request, name, made=made, id=conversation_id, say_not=say_not, who=who)
