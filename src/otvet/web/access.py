"""Who may use the API and the metrics: programs with a token, whose scope covers what they ask for.

Being on this machine opens nothing: a proxy beside Otvet looks just like a program here.
"""

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope as Asked

from otvet.app.service import Service
from otvet.i18n import N_, _
from otvet.users import api_tokens, audit
from otvet.users.api_tokens import PREFIX, USED_EVERY, Scope

OF_THE_SETTINGS, OF_THE_COMMANDS = "OTVET_API_TOKEN", "otvet"  # how the audit calls these two

NO_TOKEN = N_("send the header Authorization: Bearer TOKEN; an owner makes tokens under /settings/tokens")
TOO_NARROW = N_("this token has the scope {scope}, and this needs {needed}")


class ForMachines(APIRoute):
    """A route that a browser's page does not take: there the page of the same address is meant."""

    def matches(self, scope: Asked) -> tuple[Match, Asked]:
        headers = dict(scope["headers"]) if scope["type"] == "http" else {}
        return (Match.NONE, {}) if b"text/html" in headers.get(b"accept", b"") else super().matches(scope)


@dataclass(frozen=True, slots=True)
class Caller:
    """The program that asks, and what its token opens."""

    name: str
    scope: Scope


async def _caller(request: Request) -> Caller:
    """The program whose token the request carries. Tokens cannot be guessed, so wrong ones lock nobody out."""
    kind, _space, token = request.headers.get("authorization", "").partition(" ")
    found = await _known(request.app.state.service, token.strip()) if kind.lower() == "bearer" else None
    if found is None:
        raise HTTPException(401, _(NO_TOKEN), {"WWW-Authenticate": "Bearer"})
    return found


async def _known(service: Service, token: str) -> Caller | None:
    own = service.settings.api_token
    if own and hmac.compare_digest(token.encode(), own.get_secret_value().encode()):
        return Caller(OF_THE_SETTINGS, Scope.ADMIN)
    if not token.startswith(PREFIX):
        return None
    if service.token_file.holds(token):
        return Caller(OF_THE_COMMANDS, Scope.ADMIN)
    found = await service.database.read(lambda connection: api_tokens.find(connection, token))
    if found is None:
        return None
    now = service.clock.now()
    if found.used_at is None or now - found.used_at > USED_EVERY:
        await service.database.write(lambda connection: api_tokens.used(connection, found.id, now))
    return Caller(found.name, found.scope)


def needs(scope: Scope) -> Callable[[Caller], Awaitable[Caller]]:
    """A dependency: the program that asks, whose token has at least this scope."""

    async def opened(caller: Annotated[Caller, Depends(_caller)]) -> Caller:
        if not caller.scope.covers(scope):
            raise HTTPException(403, _(TOO_NARROW).format(scope=caller.scope, needed=scope))
        return caller

    return opened


Operator = Annotated[Caller, Depends(needs(Scope.OPERATE))]
Admin = Annotated[Caller, Depends(needs(Scope.ADMIN))]


async def change(
    request: Request, caller: Caller, did: str, what: str, function: Callable[[Any], Any], **details: Any
) -> Any:
    """Run a change in a transaction that also notes which token made it; not noted if it changed nothing."""
    service: Service = request.app.state.service
    return await service.database.write(audit.noted(caller.name, did, what, service.clock.now(), function, **details))
