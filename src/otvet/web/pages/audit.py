"""Who did what, in words, for an owner."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from otvet.conversations.tables import MODES
from otvet.i18n import N_, _
from otvet.screens import deeds
from otvet.users.audit import Entry
from otvet.web.pages import people, tokens
from otvet.web.pages.rendering import page
from otvet.web.pages.signed import Owner, service_of

router = APIRouter()

# What stands in the column ``did``. A change that is noted under a new word gets its sentence here.
DEEDS = {
    "approve": N_("Approved a draft"),
    "check": N_("Had all services checked"),
    "disable": N_("Shut a user out"),
    "done": N_("Saw to a question"),
    "edit": N_("Changed a draft and sent it"),
    "enable": N_("Let a user in again"),
    "erase": N_("Erased a client's data"),
    "export": N_("Downloaded a chat"),
    "gap-dismiss": N_("Dismissed a gap"),
    "go on": N_("Let the assistant go on"),
    "hide": N_("Hid the first steps"),
    "instructions": N_("Changed the instructions"),
    "invite": N_("Invited somebody"),
    "join": N_("Accepted an invitation"),
    "knowledge-answer": N_("Answered a gap"),
    "knowledge-delete": N_("Deleted a knowledge file"),
    "mode": N_("Set the assistant's mode in a deal"),
    "notice-test": N_("Sent a trial notice"),
    "now": N_("Had a question answered at once"),
    "password": N_("Set a new password"),
    "pause": N_("Took a deal over"),
    "rate": N_("Rated a reply"),
    "reject": N_("Rejected a draft"),
    "resume": N_("Gave a deal back to the assistant"),
    "retry": N_("Let the assistant answer"),
    "revoke": N_("Revoked a token"),
    "role": N_("Changed a role"),
    "say": N_("Wrote to a client"),
    "set": N_("Changed settings"),
    "set-up": N_("Was the first here"),
    "sign-in": N_("Signed in"),
    "sign-out": N_("Ended sessions"),
    "stop": N_("Stopped the assistant"),
    "teach": N_("Kept an answer as knowledge"),
    "token": N_("Made a token"),
    "withdraw": N_("Withdrew an invitation"),
}
THINGS = {
    "turn": N_("question {name}"),
    "deal": N_("deal {name}"),
    "contact": N_("contact {name}"),
    "user": "{name}",
    "token": "{name}",
}
MODE_NAMES = dict(zip(MODES, (N_("answers by itself"), N_("writes drafts"), N_("is off")), strict=True))


@router.get("/settings/audit")
async def listed(request: Request, who: Owner) -> Response:
    given = request.query_params.get("before", "")
    before = int(given) if given.isdecimal() and len(given) < 19 else 0
    found, more = await service_of(request).database.read(lambda connection: deeds.page(connection, before))
    return page(request, "audit.html", who=who, deeds=found, more=more, did=did, thing=thing, note=note)


def did(entry: Entry) -> str:
    """What was done; a word that is not known stands as it is."""
    return _(DEEDS[entry.did]) if entry.did in DEEDS else entry.did


def thing(entry: Entry) -> str:
    """What it was done to."""
    kind, _space, name = entry.what.partition(" ")
    return _(THINGS[kind]).format(name=name) if kind in THINGS and name else entry.what


def note(entry: Entry) -> str:
    """What it became: a role, a mode, a scope, an opinion."""
    details = entry.details if isinstance(entry.details, dict) else {}
    if "good" in details:
        return _("good") if details["good"] else _("bad")
    to = details.get("to", details.get("role"))
    if entry.did == "mode" and not to:
        return _("as everywhere")
    names = people.roles() | tokens.scopes() | {mode: _(words) for mode, words in MODE_NAMES.items()}
    return names.get(to, to) if isinstance(to, str) else ""
