"""Who may read the API and the metrics, and which requests are of machines."""

import hmac
import ipaddress
from urllib.parse import urlsplit

from fastapi import HTTPException, Request
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope

from otvet.i18n import _
from otvet.settings.settings import Settings

FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


class ForMachines(APIRoute):
    """A route that a browser's page does not take: there the page of the same address is meant."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        headers = dict(scope["headers"]) if scope["type"] == "http" else {}
        return (Match.NONE, {}) if b"text/html" in headers.get(b"accept", b"") else super().matches(scope)


def require_access(request: Request) -> None:
    """With ``OTVET_API_TOKEN``: require it as bearer. Without: only this machine, and not through a proxy or tunnel."""
    settings: Settings = request.app.state.service.settings
    if settings.api_token:
        given = request.headers.get("authorization", "")
        expected = f"Bearer {settings.api_token.get_secret_value()}"
        if not hmac.compare_digest(given.encode(), expected.encode()):
            raise HTTPException(
                401, _("send the header Authorization: Bearer OTVET_API_TOKEN"), {"WWW-Authenticate": "Bearer"}
            )
    elif not _from_here(request):
        raise HTTPException(403, _("set OTVET_API_TOKEN to read this from another machine"))


def _from_here(request: Request) -> bool:
    # A tunnel on this machine connects from loopback too; its headers or the requested host show it.
    if any(name in request.headers for name in FORWARDED):
        return False
    # A page of another site in a browser on this machine too: it could post here, though it cannot read.
    origin = request.headers.get("origin")
    if origin is not None and not _is_loopback(urlsplit(origin).hostname or ""):
        return False
    return _is_loopback(request.client.host if request.client else "") and _is_loopback(request.url.hostname or "")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
