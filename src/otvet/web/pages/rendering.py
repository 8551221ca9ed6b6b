"""Templates: how a page is made from what was read. A client's words are escaped everywhere; none is ever markup."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse, Response

from otvet import __version__
from otvet.app.service import Service
from otvet.conversations.tables import FOR_GOOD
from otvet.i18n import _, interface_language, ngettext, translations
from otvet.screens import inbox
from otvet.search.words import Piece, Wanted
from otvet.settings import working_hours
from otvet.staff import wording
from otvet.turns import parts
from otvet.turns.reasons import reason
from otvet.users.kept_settings import Switch
from otvet.users.users import Role

HERE = Path(__file__).resolve().parents[1]
TEMPLATES, STATIC = HERE / "templates", HERE / "static"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}

# Characters that turn the direction of a line or are not to be seen; written out so that a name cannot pose as another.
_HIDDEN = dict.fromkeys((*range(8234, 8239), *range(8294, 8298), 8206, 8207, 1564, 8203, 65279), "�")
_HIDDEN |= dict.fromkeys((*range(0, 9), 11, 12, *range(14, 32), 127), "�")


def plain(text: object) -> str:
    """A text of somebody else without control characters and without marks that turn the direction of a line."""
    return str(text or "").translate(_HIDDEN)


@cache
def asset(name: str) -> str:
    """The address of a file of ``static``, with a part that changes with its content, for browsers to keep."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?{digest}"


def icon(name: str) -> Markup:
    """An icon of the sprite; it says nothing that the words beside it do not say."""
    return Markup('<svg class="icon" aria-hidden="true"><use href="{}#{}"></use></svg>').format(
        asset("icons.svg"), name
    )


def link(address: str) -> str | None:
    """The address of a link that may be followed: http and https alone."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    return address if parts.scheme in ("http", "https") and parts.netloc else None


def inside(address: str | None) -> str:
    """An address of our own pages, without a host; the first page for anything that could lead elsewhere."""
    if not address or address[0] != "/" or address[1:2] in ("/", "\\") or not address.isprintable():
        return "/"
    return address


def back_to(address: str) -> str:
    """The page of ours that a browser came from, by its Referer, whichever host that names."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "/"
    return inside(parts.path + (f"?{parts.query}" if parts.query else ""))


def duration(span: timedelta) -> str:
    """How long, in one unit: "4 min", "3 h", "2 d"."""
    minutes = int(span.total_seconds() // 60)
    if minutes < 1:
        return _("now")
    if minutes < 60:
        return _("{count} min").format(count=minutes)
    if minutes < 24 * 60:
        return _("{count} h").format(count=minutes // 60)
    return _("{count} d").format(count=minutes // (24 * 60))


def query(request: Request, **changes: Any) -> str:
    """The page's own address with other values; None takes a value out."""
    values = {**dict(request.query_params), **changes}
    kept = {name: value for name, value in values.items() if value not in (None, "")}
    here = request.url.path if request.method == "GET" else "/"  # a change that was refused shows a page too
    return f"{here}?{urlencode(kept)}" if kept else here


def paragraphs(text: str, wanted: str = "") -> Markup:
    """A message as paragraphs and lines, all of it escaped. wanted: words that are marked."""
    if wanted:
        return Markup("<br>").join(marked(Wanted(wanted).pieces(line)) for line in plain(text).splitlines())
    return Markup("<br>").join(escape(line) for line in plain(text).splitlines())


def marked(pieces: Iterable[Piece]) -> Markup:
    """A text with what was found marked, all of it escaped."""
    return Markup().join(
        Markup("<mark>{}</mark>").format(plain(text)) if found else escape(plain(text)) for text, found in pieces
    )


def number(value: float) -> str:
    """A number with at most one decimal place, as people write it."""
    text = f"{value:.1f}".removesuffix(".0")
    return text.replace(".", ",") if interface_language() == "ru" else text


@cache
def environment() -> Environment:
    """The templates' environment, in the interface's language."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.install_gettext_translations(translations(interface_language()), newstyle=True)  # type: ignore[attr-defined]
    made.filters.update(
        plain=plain,
        number=number,
        duration=duration,
        paragraphs=paragraphs,
        marked=marked,
        link=link,
        reason=reason,
        back_to=back_to,
        writer=wording.writer,
    )
    made.globals.update(
        asset=asset,
        icon=icon,
        query=query,
        language=interface_language(),
        version=__version__,
        Role=Role,
        Box=inbox.Box,
        BOXES=box_names(),
        PARTS=part_names(),
        FOR_GOOD=FOR_GOOD,
        writer=wording.writer,
        delivery=wording.delivery,
        most_counted=inbox.MOST_COUNTED,
        ngettext_=ngettext,
    )
    return made


def box_names() -> Mapping[inbox.Box, str]:
    """The names of the boxes, in the interface's language."""
    return {
        inbox.Box.PERSON: _("Needs a person"),
        inbox.Box.DRAFTS: _("Drafts"),
        inbox.Box.WAITING: _("Waiting"),
        inbox.Box.ANSWERED: _("Answered"),
        inbox.Box.ALL: _("All"),
    }


def part_names() -> Mapping[str, str]:
    """The states of a reply's parts for the client's chat, in words."""
    return {
        parts.TO_SEND: _("to be sent"),
        parts.GIVEN: _("given to amoCRM"),
        parts.SENT: _("taken by amoCRM"),
        parts.REFUSED: _("refused by amoCRM"),
        parts.UNKNOWN: _("nobody can tell whether the client has it"),
    }


class Moments:
    """Moments by the company's clock, as a page shows them."""

    def __init__(self, service: Service) -> None:
        self.now = service.clock.now()
        self._zone = working_hours.zone_of(service.settings.timezone)

    def time(self, moment: datetime) -> str:
        return moment.astimezone(self._zone).strftime("%H:%M")

    def full(self, moment: datetime) -> str:
        return moment.astimezone(self._zone).strftime("%d.%m.%Y %H:%M")

    def day(self, moment: datetime) -> str:
        """Today, yesterday, or the date."""
        at, now = moment.astimezone(self._zone).date(), self.now.astimezone(self._zone).date()
        if at == now:
            return _("Today")
        return _("Yesterday") if at == now - timedelta(days=1) else at.strftime("%d.%m.%Y")

    def short(self, moment: datetime) -> str:
        """The time if it was today, else the date."""
        at, now = moment.astimezone(self._zone), self.now.astimezone(self._zone)
        if at.date() == now.date():
            return at.strftime("%H:%M")
        return at.strftime("%d.%m") if at.year == now.year else at.strftime("%d.%m.%y")

    def ago(self, moment: datetime) -> timedelta:
        return self.now - moment


def fragment(request: Request, template: str, /, **values: Any) -> str:
    """A template as text."""
    service: Service = request.app.state.service
    values.setdefault("who", None)
    values.setdefault("switch", getattr(request.state, "switch", Switch()))
    return (
        environment()
        .get_template(template)
        .render(
            request=request, moments=Moments(service), settings=service.settings, in_force=service.in_force, **values
        )
    )


def page(request: Request, template: str, status: int = 200, /, **values: Any) -> Response:
    """A template as an answer."""
    return HTMLResponse(fragment(request, template, **values), status, HEADERS)
