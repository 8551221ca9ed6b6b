"""Users, for an owner: who there is, what each may do, where each is signed in; and invitations."""

import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from sqlalchemy.engine import Connection
from starlette.responses import RedirectResponse, Response

from otvet.i18n import N_, _
from otvet.screens import people
from otvet.users import invitations, sessions, tries, users
from otvet.users.users import Role, User
from otvet.web.pages import browsers
from otvet.web.pages.rendering import page
from otvet.web.pages.signed import Owner, Refused, Who, change, hashing, service_of

router = APIRouter()

HERE = "/settings/people"
Id = Annotated[int, Path(ge=1, lt=2**63)]
ENTROPY_BYTES = 12

ROLES = {Role.VIEWER: N_("viewer"), Role.MANAGER: N_("manager"), Role.OWNER: N_("owner")}
MAY = {
    Role.VIEWER: N_("reads all chats and numbers, changes nothing"),
    Role.MANAGER: N_("also answers clients, approves drafts and teaches the assistant"),
    Role.OWNER: N_("also connects amoCRM, sets up, erases clients and invites"),
}
NO_USER = N_("there is no such user")
LAST_OWNER = N_("somebody has to stay owner: make another user owner first")
NOT_YOUR_OWN = N_("your own password is changed on your own page")
NO_INVITATION = N_("this invitation is used or withdrawn already")


def roles() -> dict[str, str]:
    """The names of the roles, in the interface's language."""
    return {role.value: _(name) for role, name in ROLES.items()}


def _may() -> dict[str, str]:
    return {role.value: _(words) for role, words in MAY.items()}


@router.get(HERE)
async def listed(request: Request, who: Owner) -> Response:
    service = service_of(request)
    now = service.clock.now()

    def read(connection: Connection) -> dict[str, Any]:
        return {"people": people.listed(connection, now), "invitations": invitations.listed(connection, now)}

    values = await service.database.read(read)
    return page(request, "people.html", who=who, roles=roles(), may=_may(), **values)


@router.post(f"{HERE}/invitations")
async def invite(request: Request, who: Owner) -> Response:
    """Make an invitation, whose link is shown once."""
    service = service_of(request)
    now, role = service.clock.now(), _role(who)
    token = await change(
        request,
        who,
        "invite",
        "",
        lambda connection: (invitations.make(connection, role, who.user.name, now),),
        to=role,
    )
    address = service.settings.public_url or request.headers.get("origin") or str(request.base_url).rstrip("/")
    values = {"kind": "invitation", "secret": f"{address}/invitation/{token[0]}", "back": HERE}
    return page(request, "once.html", 201, who=who, subject=roles()[role], days=invitations.LASTS.days, **values)


def _role(who: Who) -> Role:
    try:
        return Role(who.text("role"))
    except ValueError as error:
        raise Refused(422, _("choose a role")) from error


@router.post(f"{HERE}/invitations/{{invitation_id}}/withdraw")
async def withdraw(request: Request, who: Owner, invitation_id: Id) -> Response:
    gone = await change(
        request, who, "withdraw", "", lambda connection: invitations.withdraw(connection, invitation_id)
    )
    if not gone:
        raise Refused(409, _(NO_INVITATION))
    return RedirectResponse(HERE, 303)


async def _user(request: Request, user_id: int) -> User:
    found = await service_of(request).database.read(lambda connection: users.get(connection, user_id))
    if found is None:
        raise Refused(404, _(NO_USER))
    return found


@router.get(f"{HERE}/{{user_id}}")
async def person(request: Request, who: Owner, user_id: Id) -> Response:
    service = service_of(request)
    now = service.clock.now()
    user = await _user(request, user_id)
    living = await service.database.read(lambda connection: sessions.of_user(connection, user_id, now))
    values = {"living": living, "address": f"{HERE}/{user_id}", "browser": browsers.spoken}
    return page(request, "person.html", who=who, user=user, roles=roles(), may=_may(), **values)


def _back(user: User) -> Response:
    return RedirectResponse(f"{HERE}/{user.id}", 303)


@router.post(f"{HERE}/{{user_id}}/role")
async def give_role(request: Request, who: Owner, user_id: Id) -> Response:
    """Another role holds from the user's next request on; the links of one who may not invite any more end."""
    user, role = await _user(request, user_id), _role(who)

    def run(connection: Connection) -> bool:
        if not users.set_role(connection, user_id, role):
            return False
        if role != Role.OWNER:
            invitations.withdraw_all_of(connection, user.name)
        return True

    if not await change(request, who, "role", f"user {user.name}", run, to=role):
        raise Refused(409, _(LAST_OWNER))
    return _back(user)


@router.post(f"{HERE}/{{user_id}}/disable")
async def disable(request: Request, who: Owner, user_id: Id) -> Response:
    """Shut a user out at once."""
    user = await _user(request, user_id)
    now = service_of(request).clock.now()

    def run(connection: Connection) -> bool:
        if not users.disable(connection, user_id, now):
            return False
        invitations.withdraw_all_of(connection, user.name)
        sessions.end_all(connection, user_id)
        return True

    if not await change(request, who, "disable", f"user {user.name}", run):
        raise Refused(409, _(LAST_OWNER))
    return _back(user)


@router.post(f"{HERE}/{{user_id}}/enable")
async def enable(request: Request, who: Owner, user_id: Id) -> Response:
    user = await _user(request, user_id)
    what = f"user {user.name}"
    await change(request, who, "enable", what, lambda connection: users.disable(connection, user_id, None))
    return _back(user)


@router.post(f"{HERE}/{{user_id}}/password")
async def new_password(request: Request, who: Owner, user_id: Id) -> Response:
    """For a user who has forgotten the password: a new one, shown once."""
    user = await _user(request, user_id)
    if user.id == who.user.id:
        raise Refused(409, _(NOT_YOUR_OWN))
    password = secrets.token_urlsafe(ENTROPY_BYTES)
    hashed = await hashing(users.hashed, password)

    def run(connection: Connection) -> bool:
        users.set_password(connection, user_id, hashed)
        sessions.end_all(connection, user_id)
        tries.forget(connection, user.name)
        return True

    await change(request, who, "password", f"user {user.name}", run)
    values = {"kind": "password", "secret": password, "back": f"{HERE}/{user_id}"}
    return page(request, "once.html", 201, who=who, subject=user.name, **values)


@router.post(f"{HERE}/{{user_id}}/sign-out")
async def sign_out_everywhere(request: Request, who: Owner, user_id: Id) -> Response:
    user = await _user(request, user_id)

    def run(connection: Connection) -> bool:
        sessions.end_all(connection, user_id)
        return True

    await change(request, who, "sign-out", f"user {user.name}", run)
    return _back(user)


@router.post(f"{HERE}/{{user_id}}/sessions/{{session_id}}/end")
async def end_session(request: Request, who: Owner, user_id: Id, session_id: Id) -> Response:
    user = await _user(request, user_id)

    def run(connection: Connection) -> bool:
        sessions.end(connection, session_id, user_id)
        return True

    await change(request, who, "sign-out", f"user {user.name}", run)
    return _back(user)
