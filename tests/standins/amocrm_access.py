"""How integrations get into the stand-in's account, and the webhooks they subscribe: OAuth, users' rights, hooks.

Shapes: https://www.amocrm.ru/developers/content/oauth/step-by-step, .../crm_platform/webhooks-api, .../users-api.
Not documented there and so unverified: what a used refresh token is answered with besides 400 or 401, that a hook
which is subscribed once more is enabled again, and what a plan without webhooks answers.
"""

import itertools
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

Json = dict[str, Any]

DOCUMENTED = ("add_talk", "update_talk", "add_lead", "update_lead", "status_lead", "responsible_lead", "update_contact")
RIGHTS: Json = {
    "leads": {"view": "A", "edit": "A", "add": "A", "delete": "A", "export": "A"},
    "contacts": {"view": "A", "edit": "A", "add": "A", "delete": "A", "export": "A"},
    "is_admin": True,
    "is_free": False,
    "is_active": True,
}


@dataclass
class Access:
    """What a test sets and reads; at any time.

    integrations: by ID, {"secret", "redirect_url"}. consent: what the administrator presses in the browser.
    referer: the account that the browser says it was, if not this one.
    life: seconds of an access token. events: those that the account knows. hooks: by destination.
    stays_disabled: subscribing once more does not enable a hook. born_disabled: nothing does.
    rights: of the token's owner; None: not told.
    pairs: how many pairs were given; refused: how many requests for one were not.
    """

    url: str = ""
    integrations: dict[str, Json] = field(default_factory=dict)
    consent: bool = True
    referer: str | None = None
    life: int = 86_400
    events: tuple[str, ...] = ("add_message", "add_outgoing_message", *DOCUMENTED)
    hooks: dict[str, Json] = field(default_factory=dict)
    stays_disabled: bool = False
    born_disabled: bool = False
    rights: Json | None = field(default_factory=lambda: dict(RIGHTS))
    pairs: int = 0
    refused: int = 0
    given: list[str] = field(default_factory=list)  # every token that left the stand-in
    _codes: dict[str, str] = field(default_factory=dict)  # code -> integration
    _refresh: dict[str, str] = field(default_factory=dict)
    _access: set[str] = field(default_factory=set)
    _numbers: Any = field(default_factory=lambda: itertools.count(1))
    _lock: Any = field(default_factory=threading.Lock)

    def integration(self, client_id: str, secret: str, redirect_url: str) -> None:
        """An own integration of the account."""
        self.integrations[client_id] = {"secret": secret, "redirect_url": redirect_url}

    def code(self, client_id: str) -> str:
        """A code as the integration's window shows it."""
        code = f"code-{next(self._numbers)}"
        self._codes[code] = client_id
        return code

    def expire(self) -> None:
        """Every access token has come to its end."""
        self._access.clear()

    def revoke(self) -> None:
        """The administrator switches the integration off."""
        self._access.clear()
        self._refresh.clear()

    def admits(self, token: str) -> bool:
        return token in self._access

    def disable_hooks(self) -> None:
        """As amoCRM does after more than a hundred failures."""
        for hook in self.hooks.values():
            hook["disabled"] = True

    def routes(self, problem: Callable[..., Response]) -> list[Route]:
        async def consent(request: Request) -> Response:
            return self._consent(request.query_params)

        async def tokens(request: Request) -> Response:
            with self._lock:
                return self._exchange(await request.json(), problem)

        async def list_hooks(request: Request) -> Response:
            wanted = request.query_params.get("filter[destination]")
            found = [hook for url, hook in self.hooks.items() if wanted in (None, url)]
            return JSONResponse({"_total_items": len(found), "_embedded": {"webhooks": found}})

        async def subscribe(request: Request) -> Response:
            return self._subscribe(await request.json(), problem)

        async def unsubscribe(request: Request) -> Response:
            gone = self.hooks.pop((await request.json()).get("destination"), None)
            return Response(status_code=204) if gone else problem(404, "Not Found", "Not Found")

        return [
            Route("/oauth", consent),
            Route("/oauth2/access_token", tokens, methods=["POST"]),
            Route("/api/v4/webhooks", list_hooks),
            Route("/api/v4/webhooks", subscribe, methods=["POST"]),
            Route("/api/v4/webhooks", unsubscribe, methods=["DELETE"]),
        ]

    def _consent(self, query: Mapping[str, str]) -> Response:
        client_id = query["client_id"]
        back = {"state": query["state"]}
        if self.consent:
            referer = self.referer or self.url.removeprefix("http://")
            back |= {"code": self.code(client_id), "referer": referer, "platform": "1"}
        else:
            back["error"] = "access_denied"
        return RedirectResponse(f"{self.integrations[client_id]['redirect_url']}?{urlencode(back)}", 302)

    def _exchange(self, asked: Json, problem: Callable[..., Response]) -> Response:
        integration = self.integrations.get(asked.get("client_id", ""), {})
        right = (integration.get("secret"), integration.get("redirect_url"))
        kept = self._codes if asked.get("grant_type") == "authorization_code" else self._refresh
        name = "code" if kept is self._codes else "refresh_token"
        if right != (asked.get("client_secret"), asked.get("redirect_uri")) or (
            kept.pop(asked.get(name, ""), None) != asked.get("client_id")
        ):
            self.refused += 1
            return problem(400, "Некорректный запрос", "", hint="Token has been revoked")
        self.pairs += 1
        number = next(self._numbers)
        access, refresh = f"access-token-{number}", f"refresh-token-{number}"
        self._access.add(access)
        self._refresh[refresh] = asked["client_id"]
        self.given += [access, refresh]
        return JSONResponse(
            {
                "token_type": "Bearer",
                "expires_in": self.life,
                "server_time": 1751621727,
                "access_token": access,
                "refresh_token": refresh,
            }
        )

    def _subscribe(self, asked: Json, problem: Callable[..., Response]) -> Response:
        if not asked.get("settings") or not set(asked["settings"]) <= set(self.events):
            return problem(400, "Bad Request", "Request validation failed")
        hook = self.hooks.setdefault(asked["destination"], {"id": next(self._numbers), "disabled": False})
        hook |= {"destination": asked["destination"], "settings": asked["settings"], "sort": 1}
        hook["disabled"] = self.born_disabled or (hook["disabled"] and self.stays_disabled)
        return JSONResponse(hook, 201)
