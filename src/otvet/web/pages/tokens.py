"""Tokens of programs that use the API, for an owner."""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from sqlalchemy.engine import Connection
from starlette.responses import RedirectResponse, Response

from otvet.i18n import N_, _
from otvet.users import api_tokens
from otvet.users.api_tokens import LONGEST_NAME, Scope
from otvet.web.pages.rendering import page
from otvet.web.pages.signed import Owner, Refused, change, service_of

router = APIRouter()

HERE = "/settings/tokens"
Id = Annotated[int, Path(ge=1, lt=2**63)]

SCOPES = {Scope.READ: N_("reads only"), Scope.OPERATE: N_("reads and operates"), Scope.ADMIN: N_("may do all")}
OPENS = {
    Scope.READ: N_("chats, questions, numbers and metrics"),
    Scope.OPERATE: N_("also approve, reject, answer anew, pause, resume and set the mode"),
    Scope.ADMIN: N_("also erase clients"),
}
NO_NAME = N_("give the token a name, such as the program that will use it")
NO_TOKEN = N_("this token is revoked already")


def scopes() -> dict[str, str]:
    """The names of the scopes, in the interface's language."""
    return {scope.value: _(name) for scope, name in SCOPES.items()}


@router.get(HERE)
async def listed(request: Request, who: Owner) -> Response:
    found = await service_of(request).database.read(api_tokens.listed)
    opens = {scope.value: _(words) for scope, words in OPENS.items()}
    return page(request, "tokens.html", who=who, tokens=found, scopes=scopes(), opens=opens)


@router.post(HERE)
async def make(request: Request, who: Owner) -> Response:
    """Make a token, which is shown once."""
    now = service_of(request).clock.now()
    name = " ".join(who.text("name").split())[:LONGEST_NAME]
    if not name or not name.isprintable():
        raise Refused(422, _(NO_NAME))
    try:
        scope = Scope(who.text("scope"))
    except ValueError as error:
        raise Refused(422, _("choose what the token opens")) from error

    def run(connection: Connection) -> tuple[str]:
        return (api_tokens.make(connection, name, scope, who.user.name, now),)

    made = await change(request, who, "token", f"token {name}", run, to=scope)
    values = {"kind": "token", "secret": made[0], "subject": name, "scope": scopes()[scope], "back": HERE}
    return page(request, "once.html", 201, who=who, **values)


@router.post(f"{HERE}/{{token_id}}/revoke")
async def revoke(request: Request, who: Owner, token_id: Id) -> Response:
    found = await service_of(request).database.read(api_tokens.listed)
    what = "token " + next((token.name for token in found if token.id == token_id), "")
    if not await change(request, who, "revoke", what, lambda connection: api_tokens.revoke(connection, token_id)):
        raise Refused(409, _(NO_TOKEN))
    return RedirectResponse(HERE, 303)
