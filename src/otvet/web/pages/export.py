"""A chat taken out of Otvet: as a file, or for good."""

import json
from typing import Any

from fastapi import APIRouter, Request
from sqlalchemy.engine import Connection
from starlette.responses import RedirectResponse, Response

from otvet.app import manus
from otvet.i18n import N_, _
from otvet.screens import chat
from otvet.screens.chat import Bubble, Chat
from otvet.staff import erasure
from otvet.users import audit
from otvet.web.pages.chat import NO_CHAT, Id
from otvet.web.pages.rendering import HEADERS, fragment, page, plain
from otvet.web.pages.signed import Owner, Refused, Viewer, Who, service_of

router = APIRouter()

OTHER_NAME = N_("that is not the name: nothing was erased")
NOBODY = N_("neither the deal nor the contact of this chat is known, so nobody can be erased by it")


async def _whole(request: Request, who: Who, conversation_id: int) -> tuple[Chat, list[Bubble]]:
    """A chat with all of its messages; that it was taken out is noted."""
    service = service_of(request)
    now = service.clock.now()

    def read(connection: Connection) -> tuple[Chat | None, list[Bubble]]:
        return chat.get(connection, conversation_id, now), chat.all_bubbles(connection, conversation_id)

    one, bubbles = await service.database.read(read)
    if one is None:
        raise Refused(404, _(NO_CHAT))
    what = f"chat {conversation_id}"
    await service.database.write(lambda connection: audit.note(connection, who.user.name, "export", what, now))
    return one, bubbles


def _file(content: str, kind: str, name: str) -> Response:
    headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=f"{kind}; charset=utf-8", headers=headers)


@router.get("/chats/{conversation_id}/export.md")
async def as_markdown(request: Request, who: Viewer, conversation_id: Id) -> Response:
    one, bubbles = await _whole(request, who, conversation_id)
    text = fragment(request, "export.md", chat=one, bubbles=bubbles)
    return _file(text, "text/markdown", f"otvet-chat-{conversation_id}.md")


@router.get("/chats/{conversation_id}/export.json")
async def as_json(request: Request, who: Viewer, conversation_id: Id) -> Response:
    one, bubbles = await _whole(request, who, conversation_id)
    told = {
        "chat": one.id,
        "deal": one.lead_id,
        "contact": one.contact_id,
        "client": one.client,
        "phone": one.phone,
        "email": one.email,
        "channel": one.channel,
        "summary": one.summary,
        "messages": [_message(bubble) for bubble in bubbles],
    }
    return _file(
        json.dumps(told, ensure_ascii=False, indent=2), "application/json", f"otvet-chat-{conversation_id}.json"
    )


def _message(bubble: Bubble) -> dict[str, Any]:
    return {
        "at": bubble.at.isoformat(),
        "sender": bubble.sender,
        "name": bubble.who,
        "text": bubble.text,
        "kind": bubble.kind,
        "files": [{"name": name, "address": address} for name, address in bubble.links],
        "question": bubble.turn_id,
        "written_by": bubble.responder,
        "delivery": bubble.delivery or None,
        "good": bubble.good,
    }


# Erasing


def _name_of(one: Chat) -> str:
    """What is to be typed before a client is erased: the name as the pages show it, or else a number."""
    return " ".join(plain(one.client).split()) or str(one.lead_id or one.contact_id or one.id)


async def _chat(request: Request, conversation_id: int) -> Chat:
    service = service_of(request)
    now = service.clock.now()
    one = await service.database.read(lambda connection: chat.get(connection, conversation_id, now))
    if one is None:
        raise Refused(404, _(NO_CHAT))
    return one


@router.get("/chats/{conversation_id}/erase")
async def ask_to_erase(request: Request, who: Owner, conversation_id: Id) -> Response:
    """What erasing means, and the name to type."""
    one = await _chat(request, conversation_id)
    return page(request, "erase.html", chat=one, name=_name_of(one), why=None, left=(), who=who)


@router.post("/chats/{conversation_id}/erase")
async def erase(request: Request, who: Owner, conversation_id: Id) -> Response:
    """Erase the client of a chat, everywhere."""
    service = service_of(request)
    one = await _chat(request, conversation_id)
    name = _name_of(one)
    why = None
    if " ".join(who.text("name").split()).casefold() != name.casefold():
        why = _(OTHER_NAME)
    elif one.lead_id is None and one.contact_id is None:
        why = _(NOBODY)
    if why is not None:
        return page(request, "erase.html", 409, chat=one, name=name, why=why, left=(), who=who)
    whose = {"lead_id": one.lead_id} if one.lead_id is not None else {"contact_id": one.contact_id}
    api = manus.api_of(service.settings, service.http)
    erased = await erasure.forget(service.database, service.clock, api, **whose)
    what, now = f"chat {conversation_id}", service.clock.now()
    await service.database.write(lambda connection: audit.note(connection, who.user.name, "erase", what, now))
    if erased is not None and erased.tasks_left:
        return page(request, "erase.html", chat=one, name=name, why=None, left=erased.tasks_left, who=who)
    return RedirectResponse("/?box=all", 303)
