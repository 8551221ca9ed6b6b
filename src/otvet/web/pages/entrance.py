"""Set-up with the one-time code, sign-in, invitation, sign-out."""

from datetime import timedelta
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from sqlalchemy.engine import Connection
from starlette.responses import RedirectResponse, Response

from otvet.errors import UsageError
from otvet.i18n import N_, _
from otvet.users import audit, first_code, invitations, sessions, tries, users
from otvet.users.users import Role
from otvet.web.pages.rendering import inside, page
from otvet.web.pages.signed import (
    COOKIE,
    FOREIGN,
    SET_UP,
    SIGN_IN,
    GoTo,
    Refused,
    Viewer,
    address_of,
    behind_tls,
    from_our_page,
    hashing,
    service_of,
    session_of,
)

router = APIRouter()

WRONG = N_("the name or the password is wrong")
WRONG_CODE = N_("this is not the code; it stands in the log of the start, and otvet password prints it")
TRY_LATER = N_("too many tries: try again in {seconds} s")
NO_INVITATION = N_("this invitation is used or too old; ask for a new one")
TOO_LARGE = N_("this is too much for a form")
TRY_IT = "/try"
LARGEST_FORM = 16 * 1024  # bytes, of somebody who is not signed in
MOST_FIELDS = 20


@router.get(SIGN_IN)
async def sign_in(request: Request) -> Response:
    if await session_of(request):
        return RedirectResponse(inside(request.query_params.get("next")), 303)
    if not await service_of(request).database.read(users.any_yet):
        return RedirectResponse(SET_UP, 303)
    return page(request, "sign_in.html", name="", why=None)


@router.post(SIGN_IN)
async def signed_in(request: Request) -> Response:
    form = await _form(request)
    name, password = form.get("name", ""), form.get("password", "")
    service, address = service_of(request), address_of(request)
    now = service.clock.now()

    def count(connection: Connection) -> timedelta:
        wait = tries.wait(connection, name, address, now)
        if not wait:
            tries.failed(connection, name, address, now)  # taken back if the password is right
        return wait

    if wait := await service.database.write(count):
        return page(request, "sign_in.html", 429, name=name, why=too_many(wait))
    found = await service.database.read(lambda connection: users.password_of(connection, name))
    if not await hashing(users.fits, found[1] if found else None, password) or found is None:
        return page(request, "sign_in.html", 401, name=name, why=_(WRONG))
    user = found[0]

    def begin(connection: Connection) -> str:
        tries.succeeded(connection, name, address)
        audit.note(connection, user.name, "sign-in", "", now)
        return _begin(request, connection, user.id)

    return _let_in(request, await service.database.write(begin), inside(request.query_params.get("next")))


def too_many(wait: timedelta) -> str:
    """Why a password is not even looked at now."""
    return _(TRY_LATER).format(seconds=max(1, round(wait.total_seconds())))


@router.get(SET_UP)
async def set_up(request: Request) -> Response:
    if await service_of(request).database.read(users.any_yet):
        return RedirectResponse(SIGN_IN, 303)
    return page(request, "set_up.html", code=request.query_params.get("code", ""), name="", why=None)


@router.post(SET_UP)
async def first_user(request: Request) -> Response:
    form = await _form(request)
    code, name = form.get("code", ""), form.get("name", "")
    service, address = service_of(request), address_of(request)
    now = service.clock.now()

    def make(connection: Connection) -> str | timedelta | None:
        if wait := tries.wait(connection, "", address, now):
            return wait
        if users.any_yet(connection):
            raise GoTo(SIGN_IN)
        if not first_code.take(connection, code):
            tries.failed(connection, "", address, now)
            return None
        user_id = users.add(connection, name, password, Role.OWNER, now)
        audit.note(connection, users.spelled(name), "set-up", "", now)
        return _begin(request, connection, user_id)

    try:
        password = await hashing(users.hashed, form.get("password", ""))
        token = await service.database.write(make)
    except UsageError as error:
        return page(request, "set_up.html", 422, code=code, name=name, why=str(error))
    if isinstance(token, timedelta):
        return page(request, "set_up.html", 429, code=code, name=name, why=too_many(token))
    if token is None:
        return page(request, "set_up.html", 401, code="", name=name, why=_(WRONG_CODE))
    return _let_in(request, token, TRY_IT)


@router.get("/invitation/{token}")
async def invited(request: Request, token: str) -> Response:
    return page(request, "invitation.html", role=await _role_of(request, token), name="", why=None)


@router.post("/invitation/{token}")
async def accept(request: Request, token: str) -> Response:
    form = await _form(request)
    name = form.get("name", "")
    service = service_of(request)
    now = service.clock.now()
    role = await _role_of(request, token)

    def make(connection: Connection) -> str:
        user_id = users.add(connection, name, password, role, now)
        if invitations.use(connection, token, now) is None:
            raise Refused(404, _(NO_INVITATION))
        audit.note(connection, users.spelled(name), "join", "", now, role=role)
        return _begin(request, connection, user_id)

    try:
        password = await hashing(users.hashed, form.get("password", ""))
        session = await service.database.write(make)
    except UsageError as error:
        return page(request, "invitation.html", 422, role=role, name=name, why=str(error))
    return _let_in(request, session, "/")


async def _role_of(request: Request, token: str) -> Role:
    service = service_of(request)
    now = service.clock.now()
    role = await service.database.read(lambda connection: invitations.role_of(connection, token, now))
    if role is None:
        raise Refused(404, _(NO_INVITATION))
    return role


@router.post("/sign-out")
async def sign_out(request: Request, who: Viewer) -> Response:
    session = who.session
    await service_of(request).database.write(lambda connection: sessions.end(connection, session.id, who.user.id))
    answer = RedirectResponse(SIGN_IN, 303)
    answer.delete_cookie(COOKIE, httponly=True, samesite="lax", secure=behind_tls(request))
    return answer


async def _form(request: Request) -> dict[str, str]:
    """The form of somebody who is not signed in yet: it must come from our own page, and be small."""
    if not from_our_page(request):
        raise Refused(403, _(FOREIGN))
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_FORM:
            raise Refused(413, _(TOO_LARGE))
    try:
        fields = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError as error:
        raise Refused(413, _(TOO_LARGE)) from error
    return {name: value.replace("\0", "") for name, value in fields}  # PostgreSQL cannot even look for a zero byte


def _begin(request: Request, connection: Connection, user_id: int) -> str:
    """Begin a session that nobody has known before; the one that this browser had so far ends."""
    if old := request.cookies.get(COOKIE):
        sessions.end_of(connection, old)
    browser, now = request.headers.get("user-agent", ""), service_of(request).clock.now()
    return sessions.begin(connection, user_id, address_of(request), browser, now)


def _let_in(request: Request, token: str, where: str) -> Response:
    answer = RedirectResponse(where, 303)
    longest, secure = int(sessions.LONGEST.total_seconds()), behind_tls(request)
    answer.set_cookie(COOKIE, token, max_age=longest, httponly=True, samesite="lax", secure=secure, path="/")
    return answer
