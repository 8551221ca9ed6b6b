"""Who is signed in, what that user may do, and whether a change was really asked for on one of our own pages."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Annotated, Any, TypeVar
from urllib.parse import quote, urlsplit

from fastapi import Depends, Request
from sqlalchemy.engine import Connection
from starlette.datastructures import FormData

from otvet.app import first_steps
from otvet.app.service import Service
from otvet.i18n import N_, _
from otvet.users import audit, kept_settings, sessions, users
from otvet.users.kept_settings import Switch
from otvet.users.sessions import SEEN_EVERY, Session
from otvet.users.users import Role, User

COOKIE = "otvet_session"
SIGN_IN, SET_UP = "/sign-in", "/set-up"
FORM_FIELD = "csrf"
LARGEST_FORM = 4 * 1024 * 1024  # bytes; an upload has a limit of its own below it
# Where a proxy in front of Otvet may stand: on this machine, or in a network that does not belong to the internet.
NEAR = tuple(map(ip_network, ("127.0.0.0/8", "::1", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")))

Result = TypeVar("Result")

_HASHING = ThreadPoolExecutor(2, thread_name_prefix="passwords")  # each takes 64 MiB and a processor for 50 ms

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
        return value.replace("\0", "") if isinstance(value, str) else ""  # which PostgreSQL cannot store


def service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def address_of(request: Request) -> str:
    """The browser's address. A proxy in front, on this machine or in its network, names it as the last one."""
    peer = request.client.host if request.client else ""
    named = ",".join(request.headers.getlist("x-forwarded-for")).rpartition(",")[2].strip()
    try:
        near = any(ip_address(peer) in network for network in NEAR)
        return str(ip_address(named)) if near else peer
    except ValueError:
        return peer


async def hashing(function: Callable[..., Result], *arguments: Any) -> Result:
    """Hash or compare a password beside the event loop; many at once wait for each other."""
    return await asyncio.get_running_loop().run_in_executor(_HASHING, function, *arguments)


async def session_of(request: Request) -> Session | None:
    """The session of the browser's cookie, if it lives."""
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    service = service_of(request)
    now = service.clock.now()

    def read(connection: Connection) -> tuple[Session | None, Switch, bool]:
        hidden = first_steps.is_hidden(connection)
        return sessions.find(connection, token, now), kept_settings.switch(connection), hidden

    session, request.state.switch, request.state.first_steps_hidden = await service.database.read(read)
    if session is not None and now - session.seen_at > SEEN_EVERY:
        await service.database.write(lambda connection: sessions.seen(connection, session.id, now))
    return session


def from_our_page(request: Request) -> bool:
    """Whether the browser says that a change comes from our own page. A request that says nothing is refused."""
    origin = request.headers.get("origin")
    if origin is None or origin == "null":
        return request.headers.get("sec-fetch-site") == "same-origin"
    given, public = _origin(origin), _origin(service_of(request).settings.public_url or "")
    if given is None:
        return False
    if public is not None and given.place == public.place:
        return given.scheme == public.scheme
    return given.place == _place(request.headers.get("host", ""), given.scheme)


def behind_tls(request: Request) -> bool:
    """Whether the browser that sent a form speaks TLS, with us or with a proxy in front: its Origin says it."""
    origin = request.headers.get("origin", "null")
    address = service_of(request).settings.public_url or "" if origin == "null" else origin
    return request.url.scheme == "https" or address.startswith("https://")


@dataclass(frozen=True, slots=True)
class _Origin:
    scheme: str
    place: tuple[str, int]


def _origin(address: str) -> _Origin | None:
    """Where an address of http or https leads to; None if it is none."""
    scheme, separator, rest = address.partition("://")
    place = _place(rest.partition("/")[0], scheme) if separator else None
    return _Origin(scheme, place) if place else None


def _place(host: str, scheme: str) -> tuple[str, int] | None:
    """(host, port)."""
    try:
        parts = urlsplit(f"//{host}")
        port = parts.port or {"http": 80, "https": 443}[scheme]
    except (ValueError, KeyError):
        return None
    plain = parts.hostname and parts.username is None and not (parts.path or parts.query or parts.fragment)
    return (parts.hostname, port) if plain and parts.hostname else None


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
        request.state.who = Who(session, FormData())
        if not session.user.role.covers(role):
            raise Refused(403, _(NOT_ALLOWED))
        if request.method in ("GET", "HEAD"):
            return request.state.who  # type: ignore[no-any-return]
        if not from_our_page(request):
            raise Refused(403, _(FOREIGN))
        form = await form_of(request)
        given = form.get(FORM_FIELD)
        if not isinstance(given, str) or not hmac.compare_digest(given.encode(), session.csrf.encode()):
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
    return await service.database.write(audit.noted(who.user.name, did, what, service.clock.now(), function, **details))
