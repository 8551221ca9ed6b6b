"""Set-up with the one-time code, sign-in, invitation, sign-out."""

import asyncio
import hmac
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from sqlalchemy.engine import Connection
from starlette.datastructures import FormData
from starlette.responses import RedirectResponse, Response

from otvet.errors import UsageError
from otvet.i18n import N_, _
from otvet.users import audit, first_code, invitations, sessions, tries, users
from otvet.users.users import Role
from otvet.web.pages.rendering import page
from otvet.web.pages.signed import (
    COOKIE,
    FOREIGN,
    SET_UP,
    SIGN_IN,
    GoTo,
    Refused,
    Viewer,
    address_of,
    form_of,
    from_our_page,
    service_of,
    session_of,
)

router = APIRouter()

WRONG = N_("the name or the password is wrong")
WRONG_CODE = N_("this is not the code; it stands in the log of the start, and otvet password prints it")
TRY_LATER = N_("too many tries: try again in {seconds} s")
NO_INVITATION = N_("this invitation is used or too old; ask for a new one")
TRY_IT = "/try"


@router.get(SIGN_IN)
async def sign_in(request: Request) -> Response:
    if await session_of(request):
        return RedirectResponse("/", 303)
    if not await service_of(request).database.read(users.any_yet):
        return RedirectResponse(SET_UP, 303)
    return page(request, "sign_in.html", name="", why=None)


@router.post(SIGN_IN)
async def signed_in(request: Request) -> Response:
    form = await _form(request)
    name, password = _text(form, "name"), _text(form, "password")
    service, address = service_of(request), address_of(request)
    now = service.clock.now()

    def count(connection: Connection) -> timedelta:
        wait = tries.wait(connection, name, address, now)
        if not wait:
            tries.failed(connection, name, address, now)  # taken back if the password is right
        return wait

    if wait := await service.database.write(count):
        seconds = max(1, round(wait.total_seconds()))
        return page(request, "sign_in.html", 429, name=name, why=_(TRY_LATER).format(seconds=seconds))
    found = await service.database.read(lambda connection: users.password_of(connection, name))
    if not await asyncio.to_thread(users.fits, found[1] if found else None, password) or found is None:
        return page(request, "sign_in.html", 401, name=name, why=_(WRONG))
    user = found[0]

    def begin(connection: Connection) -> str:
        tries.succeeded(connection, name, address)
        audit.note(connection, user.name, "sign-in", "", now)
        return sessions.begin(connection, user.id, address, request.headers.get("user-agent", ""), now)

    token = await service.database.write(begin)
    return _let_in(request, token, _inside(request.query_params.get("next")))


@router.get(SET_UP)
async def set_up(request: Request) -> Response:
    if await service_of(request).database.read(users.any_yet):
        return RedirectResponse(SIGN_IN, 303)
    return page(request, "set_up.html", code=request.query_params.get("code", ""), name="", why=None)


@router.post(SET_UP)
async def first_user(request: Request) -> Response:
    form = await _form(request)
    code, name = _text(form, "code"), _text(form, "name")
    service, address = service_of(request), address_of(request)
    now = service.clock.now()
    wait = await service.database.read(lambda connection: tries.wait(connection, "", address, now))
    if wait:
        why = _(TRY_LATER).format(seconds=max(1, round(wait.total_seconds())))
        return page(request, "set_up.html", 429, code=code, name=name, why=why)
    try:
        password = await asyncio.to_thread(users.hashed, _text(form, "password"))
    except UsageError as error:
        return page(request, "set_up.html", 422, code=code, name=name, why=str(error))

    def make(connection: Connection) -> int | None:
        if users.any_yet(connection):
            raise GoTo(SIGN_IN)
        known = first_code.waiting(connection)
        if not known or not hmac.compare_digest(first_code.spelled(code), known):
            tries.failed(connection, "", address, now)
            return None
        user_id = users.add(connection, name, password, Role.OWNER, now)
        first_code.forget(connection)
        audit.note(connection, name, "set-up", "", now)
        return user_id

    try:
        user_id = await service.database.write(make)
    except UsageError as error:
        return page(request, "set_up.html", 422, code=code, name=name, why=str(error))
    if user_id is None:
        return page(request, "set_up.html", 401, code="", name=name, why=_(WRONG_CODE))
    return _let_in(request, await _begin(request, user_id), TRY_IT)


@router.get("/invitation/{token}")
async def invited(request: Request, token: str) -> Response:
    service = service_of(request)
    now = service.clock.now()
    role = await service.database.read(lambda connection: invitations.role_of(connection, token, now))
    if role is None:
        raise Refused(404, _(NO_INVITATION))
    return page(request, "invitation.html", role=role, name="", why=None)


@router.post("/invitation/{token}")
async def accept(request: Request, token: str) -> Response:
    form = await _form(request)
    name = _text(form, "name")
    service = service_of(request)
    now = service.clock.now()
    role = await service.database.read(lambda connection: invitations.role_of(connection, token, now))
    if role is None:
        raise Refused(404, _(NO_INVITATION))
    try:
        password = await asyncio.to_thread(users.hashed, _text(form, "password"))

        def make(connection: Connection) -> int:
            user_id = users.add(connection, name, password, role, now)
            if invitations.use(connection, token, now) is None:
                raise Refused(404, _(NO_INVITATION))
            audit.note(connection, name, "join", "", now, role=role)
            return user_id

        user_id = await service.database.write(make)
    except UsageError as error:
        return page(request, "invitation.html", 422, role=role, name=name, why=str(error))
    return _let_in(request, await _begin(request, user_id), "/")


@router.post("/sign-out")
async def sign_out(request: Request, who: Viewer) -> Response:
    session = who.session
    await service_of(request).database.write(lambda connection: sessions.end(connection, session.id, who.user.id))
    answer = RedirectResponse(SIGN_IN, 303)
    answer.delete_cookie(COOKIE)
    return answer


async def _form(request: Request) -> FormData:
    """The form of somebody who is not signed in yet: it must come from our own page."""
    if not from_our_page(request):
        raise Refused(403, _(FOREIGN))
    return await form_of(request)


def _text(form: FormData, name: str) -> str:
    value: Any = form.get(name, "")
    return value if isinstance(value, str) else ""


async def _begin(request: Request, user_id: int) -> str:
    service = service_of(request)
    now = service.clock.now()
    browser, address = request.headers.get("user-agent", ""), address_of(request)
    return await service.database.write(lambda connection: sessions.begin(connection, user_id, address, browser, now))


def _let_in(request: Request, token: str, where: str) -> Response:
    public = service_of(request).settings.public_url or ""
    behind_tls = request.url.scheme == "https" or (
        public.startswith("https://") and urlsplit(public).netloc == request.headers.get("host")
    )
    answer = RedirectResponse(where, 303)
    longest = int(sessions.LONGEST.total_seconds())
    answer.set_cookie(COOKIE, token, max_age=longest, httponly=True, samesite="lax", secure=behind_tls, path="/")
    return answer


def _inside(where: str | None) -> str:
    """An address of our own pages; anything else leads to the first page."""
    if not where or not where.startswith("/") or where.startswith(("//", "/\\")) or "\n" in where or "\r" in where:
        return "/"
    return where
