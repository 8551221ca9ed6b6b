"""What managers do in a chat: write, take over and give back, answer, approve, correct, rate."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from fastapi import APIRouter, Request
from sqlalchemy.engine import Connection
from starlette.responses import RedirectResponse, Response

from otvet.conversations.conversation import set_mode
from otvet.conversations.pauses import pause_end, set_pause
from otvet.conversations.tables import MODES
from otvet.errors import UsageError
from otvet.i18n import N_, _
from otvet.screens import chat, inbox
from otvet.staff import teaching
from otvet.turns import drafts, handoffs, own_words, staff
from otvet.users import audit, ratings
from otvet.web.pages.chat import NO_CHAT, Id, again, why_not_say
from otvet.web.pages.signed import Manager, Refused, Who, change, service_of

router = APIRouter()

MOST_CHARACTERS = 10_000

NO_DEAL = N_("the deal of this chat is not known yet")
SENT_BY = N_("{name} has sent this draft already")
REJECTED_BY = N_("{name} has rejected this draft already")
NOT_AGAIN = N_("the question {turn} cannot be tried again")
WAITS_NO_MORE = N_("the question {turn} waits no more")
NOTHING_TYPED = N_("nothing was written")
TOO_LONG = N_("a message has at most {most} characters")
NEITHER = N_("choose what to do with the corrected reply: send it, keep it, or both")


def back(request: Request, conversation_id: int, done: str = "") -> Response:
    """To the chat again. done: a word of chat.DONE, where the page would not show by itself what has happened."""
    box = request.query_params.get("box", "")
    query = "&".join(filter(None, (f"box={box}" if box.isalpha() else "", f"done={done}" if done else "")))
    return RedirectResponse(f"/chats/{conversation_id}" + (f"?{query}" if query else ""), 303)


@router.post("/chats/{conversation_id}/say")
async def say(request: Request, who: Manager, conversation_id: Id) -> Response:
    """Write to the client, which takes the chat over."""
    text = who.text("text").strip()
    why_not = await _say(request, who, conversation_id, who.text("chat"), text)
    if why_not is not None:
        return await again(request, who, conversation_id, why_not, say=text)
    return back(request, conversation_id)


async def _say(request: Request, who: Who, conversation_id: int, chat_ref: str, text: str) -> str | None:
    """Have a text sent to the client as the user's own words; a sentence if that cannot be."""
    service = service_of(request)
    settings, now = service.settings, service.clock.now()
    if not text:
        return _(NOTHING_TYPED)
    if len(text) > MOST_CHARACTERS:
        return _(TOO_LONG).format(most=MOST_CHARACTERS)

    def run(connection: Connection) -> int | str:
        one = chat.get(connection, conversation_id, now)
        if one is None:
            raise Refused(404, _(NO_CHAT))
        known = [place.chat_ref for place in one.places]
        ref = chat_ref if chat_ref in known else next(iter(known), "")
        why_not = why_not_say(settings, one, ref)
        if why_not is not None:
            return why_not
        pause = timedelta(minutes=settings.manager_pause_minutes)
        return own_words.say(connection, conversation_id, ref, text, who=who.user.name, pause=pause, now=now)

    turn_id = await change(request, who, "say", f"chat {conversation_id}", run)
    if isinstance(turn_id, str):
        return turn_id
    service.worker.put([turn_id])
    return None


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
    """Take the deal over: for the minutes of the form, or until it is given back. What is being written is not sent."""
    lead_id = await _lead(request, conversation_id)
    try:
        minutes = float(who.text("minutes")) if who.text("minutes") else None
        until = pause_end(service_of(request).clock.now(), minutes)
    except ValueError as error:
        raise Refused(422, _("give a number of minutes")) from error
    except UsageError as error:
        raise Refused(422, str(error)) from error
    now = service_of(request).clock.now()

    def run(connection: Connection) -> bool:
        staff.stop(connection, conversation_id, now)
        return set_pause(connection, lead_id, until)

    await change(request, who, "pause", f"deal {lead_id}", run)
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
    now = service_of(request).clock.now()
    id_ = await _chat_of(request, turn_id)
    await change(
        request, who, "done", f"turn {turn_id}", lambda connection: handoffs.mark_done(connection, turn_id, now)
    )
    return back(request, id_)


@router.post("/turns/{turn_id}/retry")
async def retry(request: Request, who: Manager, turn_id: Id) -> Response:
    """Answer a question that ended without a reply."""
    return await _asked_anew(
        request, who, turn_id, "retry", lambda connection, now: staff.retry(connection, turn_id, now)
    )


@router.post("/turns/{turn_id}/suggest")
async def suggest(request: Request, who: Manager, turn_id: Id) -> Response:
    """Have a reply written that waits for approval, whatever the mode."""
    return await _asked_anew(
        request, who, turn_id, "suggest", lambda connection, now: staff.retry(connection, turn_id, now, as_draft=True)
    )


@router.post("/turns/{turn_id}/anew")
async def anew(request: Request, who: Manager, turn_id: Id) -> Response:
    """Have another draft written in place of the one that waits."""
    return await _asked_anew(
        request, who, turn_id, "anew", lambda connection, now: staff.write_anew(connection, turn_id, now)
    )


@router.post("/turns/{turn_id}/now")
async def answer_now(request: Request, who: Manager, turn_id: Id) -> Response:
    """Answer a waiting question without waiting for more words of the client."""
    id_ = await _chat_of(request, turn_id)
    hurried = await change(request, who, "now", f"turn {turn_id}", lambda connection: staff.hurry(connection, turn_id))
    if not hurried:
        return await again(request, who, id_, _(WAITS_NO_MORE).format(turn=turn_id))
    service_of(request).worker.put([turn_id])
    return back(request, id_)


async def _asked_anew(
    request: Request, who: Who, turn_id: int, did: str, ask: Callable[[Connection, datetime], int | None]
) -> Response:
    """Have a question answered, or say why not. ask: returns the turn that will be answered."""
    service = service_of(request)
    now = service.clock.now()
    connected = service.settings.amocrm_connected
    id_ = await _chat_of(request, turn_id)
    why_not = await service.database.read(lambda connection: staff.still_kept(connection, turn_id, connected=connected))
    if why_not is None:
        answers = await change(request, who, did, f"turn {turn_id}", lambda connection: ask(connection, now))
        if answers is not None:
            service.worker.put([answers])
            return back(request, id_)
        why_not = _(NOT_AGAIN).format(turn=turn_id)
    return await again(request, who, id_, why_not)


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
    typed = {"draft": text} if text and text != await _written(request, turn_id) else {}
    return await again(request, who, id_, why_not, **typed)


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
    if why_not is not None:
        return await again(request, who, id_, why_not)
    return await _next_draft(request, turn_id, id_)


async def _written(request: Request, turn_id: int) -> str | None:
    """The reply of a question as it stands now."""
    made = await service_of(request).database.read(lambda connection: chat.made(connection, turn_id))
    return made.turn.reply if made else None


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
    return back(request, id_, "rated")


@router.post("/turns/{turn_id}/correct")
async def correct(request: Request, who: Manager, turn_id: Id) -> Response:
    """Send a better reply than the one that went out, or keep it as knowledge, or both."""
    service = service_of(request)
    id_ = await _chat_of(request, turn_id)
    text, question = who.text("text").strip(), who.text("question")
    keep, send = bool(who.text("keep")), bool(who.text("send"))
    why_not = None if keep or send else _(NEITHER)
    if why_not is None and keep:
        try:
            await asyncio.to_thread(teaching.add_entry, service.settings.knowledge_dir, question, text)
        except UsageError as error:
            why_not = str(error)
        else:
            await change(request, who, "teach", f"turn {turn_id}", lambda _connection: True)
    if why_not is None and send:
        made = await service.database.read(lambda connection: chat.made(connection, turn_id))
        why_not = await _say(request, who, id_, made.turn.chat_ref if made else "", text)
    if why_not is not None:
        return await again(request, who, id_, why_not, say=text)
    return back(request, id_, "kept" if keep else "sent")


async def _chat_of(request: Request, turn_id: int) -> int:
    """The chat of a question."""
    found = await service_of(request).database.read(lambda connection: chat.of_turn(connection, turn_id))
    if found is None:
        raise Refused(404, _("there is no question {turn}").format(turn=turn_id))
    return found
