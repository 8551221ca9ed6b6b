"""Who is signed in, what that user may do, and whether a change was really asked for on one of our own pages."""

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

from fastapi import Depends, Request
from starlette.datastructures import FormData

from otvet.app.service import Service
from otvet.i18n import N_, _
from otvet.users import audit, sessions, users
from otvet.users.sessions import SEEN_EVERY, Session
from otvet.users.users import Role, User

COOKIE = "otvet_session"
SIGN_IN, SET_UP = "/sign-in", "/set-up"
FORM_FIELD = "csrf"
LARGEST_FORM = 4 * 1024 * 1024  # bytes; an upload has a limit of its own below it

NOT_ALLOWED = N_("your role does not allow this; ask an owner")
TOO_LARGE = N_("this is too large to be taken")
FOREIGN = N_("this was not sent from a page of Otvet, or the page is old: open it anew and try again")


class GoTo(Exception):
    """The browser is sent to another page."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address


class Refused(Exception):
    """The page says why not, with this status."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class Who:
    """The user of a request. ``form`` holds what was sent with a change; it is empty otherwise."""

    session: Session
    form: FormData

    @property
    def user(self) -> User:
        return self.session.user

    @property
    def csrf(self) -> str:
        return self.session.csrf

    def may(self, role: Role) -> bool:
        return self.user.role.covers(role)

    def text(self, name: str) -> str:
        """A field of the form."""
        value = self.form.get(name, "")
        return value if isinstance(value, str) else ""


def service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def address_of(request: Request) -> str:
    return request.client.host if request.client else ""


async def session_of(request: Request) -> Session | None:
    """The session of the browser's cookie, if it lives."""
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    service = service_of(request)
    now = service.clock.now()
    session = await service.database.read(lambda connection: sessions.find(connection, token, now))
    if session is not None and now - session.seen_at > SEEN_EVERY:
        await service.database.write(lambda connection: sessions.seen(connection, session.id, now))
    return session


def from_our_page(request: Request) -> bool:
    """Whether the browser says that a change comes from our own page. A request that says nothing is refused."""
    origin = request.headers.get("origin")
    if origin is None or origin == "null":
        return request.headers.get("sec-fetch-site") == "same-origin"
    public = service_of(request).settings.public_url
    hosts = {request.headers.get("host", ""), urlsplit(public).netloc if public else ""} - {""}
    return urlsplit(origin).netloc in hosts


async def form_of(request: Request) -> FormData:
    """What was sent with a change; nothing larger than LARGEST_FORM is read."""
    length = request.headers.get("content-length", "")
    if not (length.isdecimal() and len(length) < 12 and int(length) <= LARGEST_FORM):
        raise Refused(413, _(TOO_LARGE))
    return await request.form(max_files=1, max_fields=100, max_part_size=LARGEST_FORM)


def needs(role: Role) -> Callable[[Request], Awaitable[Who]]:
    """A dependency: the signed-in user, who has at least this role; a change carries its session's token too."""

    async def signed(request: Request) -> Who:
        session = await session_of(request)
        if session is None:
            raise await _to_sign_in(request)
        if not session.user.role.covers(role):
            raise Refused(403, _(NOT_ALLOWED))
        if request.method in ("GET", "HEAD"):
            return Who(session, FormData())
        if not from_our_page(request):
            raise Refused(403, _(FOREIGN))
        form = await form_of(request)
        given = form.get(FORM_FIELD)
        if not isinstance(given, str) or not hmac.compare_digest(given, session.csrf):
            raise Refused(403, _(FOREIGN))
        return Who(session, form)

    return signed


async def _to_sign_in(request: Request) -> Exception:
    if "text/event-stream" in request.headers.get("accept", "") or request.headers.get("hx-request"):
        return Refused(401, _("you are signed out; sign in again"))
    if not await service_of(request).database.read(users.any_yet):
        return GoTo(SET_UP)
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return GoTo(f"{SIGN_IN}?next={quote(here)}" if request.method == "GET" and here != "/" else SIGN_IN)


Viewer = Annotated[Who, Depends(needs(Role.VIEWER))]
Manager = Annotated[Who, Depends(needs(Role.MANAGER))]
Owner = Annotated[Who, Depends(needs(Role.OWNER))]


async def change(
    request: Request, who: Who, did: str, what: str, function: Callable[[Any], Any], **details: Any
) -> Any:
    """Run a change in a transaction that also notes who made it; not noted if it returns None, False or a sentence."""
    service = service_of(request)
    now = service.clock.now()

    def run(connection: Any) -> Any:
        result = function(connection)
        if result is not None and result is not False and not isinstance(result, str):
            audit.note(connection, who.user.name, did, what, now, **details)
        return result

    return await service.database.write(run)
