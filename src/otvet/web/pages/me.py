"""One's own page: password, sessions, shortcuts."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Request
from sqlalchemy.engine import Connection
from starlette.responses import RedirectResponse, Response

from otvet.errors import UsageError
from otvet.i18n import N_, _
from otvet.users import sessions, tries, users
from otvet.web.pages import browsers
from otvet.web.pages.entrance import too_many
from otvet.web.pages.people import roles
from otvet.web.pages.rendering import page
from otvet.web.pages.signed import Viewer, Who, address_of, change, hashing, service_of

router = APIRouter()

HERE = "/me"
Id = Annotated[int, Path(ge=1, lt=2**63)]
NOT_THE_OLD = N_("this is not your present password")
DONE = {
    "password": N_("Your password is changed; all other browsers are signed out."),
    "sign-out": N_("All other browsers are signed out."),
    "shortcuts": N_("Saved."),
}


@router.get(HERE)
async def me(request: Request, who: Viewer) -> Response:
    done = DONE.get(request.query_params.get("done", ""))
    return await _shown(request, who, 200, done=_(done) if done else None)


async def _shown(
    request: Request, who: Who, status: int, *, done: str | None = None, why: str | None = None
) -> Response:
    service = service_of(request)
    now = service.clock.now()
    living = await service.database.read(lambda connection: sessions.of_user(connection, who.user.id, now))
    values = {"living": living, "address": HERE, "browser": browsers.spoken, "role": roles()[who.user.role]}
    return page(request, "me.html", status, who=who, done=done, why=why, **values)


@router.post(f"{HERE}/password")
async def password(request: Request, who: Viewer) -> Response:
    """Change the own password, with the present one; all other browsers are signed out."""
    service, address, user = service_of(request), address_of(request), who.user
    now = service.clock.now()

    def count(connection: Connection) -> timedelta:
        wait = tries.wait(connection, user.name, address, now)
        if not wait:
            tries.failed(connection, user.name, address, now)  # taken back if the password is right
        return wait

    if wait := await service.database.write(count):
        return await _shown(request, who, 429, why=too_many(wait))
    stored = await service.database.read(lambda connection: users.password_of(connection, user.name))
    if not await hashing(users.fits, stored[1] if stored else None, who.text("password")):
        return await _shown(request, who, 422, why=_(NOT_THE_OLD))
    try:
        hashed = await hashing(users.hashed, who.text("new"))
    except UsageError as error:
        return await _shown(request, who, 422, why=str(error))

    def run(connection: Connection) -> bool:
        tries.succeeded(connection, user.name, address)
        users.set_password(connection, user.id, hashed)
        sessions.end_all(connection, user.id, but=who.session.id)
        return True

    await change(request, who, "password", f"user {user.name}", run)
    return RedirectResponse(f"{HERE}?done=password", 303)


@router.post(f"{HERE}/shortcuts")
async def shortcuts(request: Request, who: Viewer) -> Response:
    on = who.text("shortcuts") == "on"
    await service_of(request).database.write(lambda connection: users.set_shortcuts(connection, who.user.id, on))
    return RedirectResponse(f"{HERE}?done=shortcuts", 303)


@router.post(f"{HERE}/sign-out")
async def sign_out_elsewhere(request: Request, who: Viewer) -> Response:
    """Sign all other browsers out."""

    def run(connection: Connection) -> bool:
        sessions.end_all(connection, who.user.id, but=who.session.id)
        return True

    await change(request, who, "sign-out", f"user {who.user.name}", run)
    return RedirectResponse(f"{HERE}?done=sign-out", 303)


@router.post(f"{HERE}/sessions/{{session_id}}/end")
async def end_session(request: Request, who: Viewer, session_id: Id) -> Response:
    def run(connection: Connection) -> None:
        sessions.end(connection, session_id, who.user.id)

    await service_of(request).database.write(run)
    return RedirectResponse(HERE, 303)
