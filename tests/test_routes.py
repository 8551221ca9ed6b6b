"""Who gets in where: every route of the pages and of the API, tried by everybody. A new route needs a line here."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Mount, Route

from otvet.app.wiring import wire
from otvet.settings.loading import load_settings
from otvet.storage.database import Database
from otvet.users import api_tokens, sessions, users
from otvet.users.api_tokens import Scope
from otvet.users.users import Role
from otvet.web.application import create
from tests import databases
from tests.browsing import add_user
from tests.running import Otvet, otvet

# Who has to be there at least: EVERYBODY; a user of the pages with this role; a token of the API with this scope.
EVERYBODY = "everybody"
VIEWER, MANAGER, OWNER = Role
READ, OPERATE, ADMIN = Scope

ROUTES: dict[str, str] = {
    # Probes, and the doors of amoCRM, which have their own secrets
    "GET /health": EVERYBODY,
    "GET /ready": EVERYBODY,
    "GET /openapi.json": EVERYBODY,
    "GET /oauth/amocrm": EVERYBODY,
    "POST /webhook/salesbot/{secret}": EVERYBODY,
    # The API
    "GET /metrics": READ,
    "GET /api/stats": READ,
    "GET /api/conversations": READ,
    "GET /api/conversations/{lead_id}/messages": READ,
    "GET /api/turns": READ,
    "GET /api/turns/{turn_id}": READ,
    "GET /api/gaps": READ,
    "GET /api/search": READ,
    "POST /api/conversations/{lead_id}/pause": OPERATE,
    "POST /api/conversations/{lead_id}/resume": OPERATE,
    "POST /api/conversations/{lead_id}/mode": OPERATE,
    "POST /api/turns/{turn_id}/retry": OPERATE,
    "POST /api/turns/{turn_id}/done": OPERATE,
    "POST /api/turns/{turn_id}/approve": OPERATE,
    "POST /api/turns/{turn_id}/reject": OPERATE,
    "DELETE /api/clients": ADMIN,
    # The doors of the pages
    "GET /static": EVERYBODY,
    "GET /manifest.webmanifest": EVERYBODY,
    "GET /sign-in": EVERYBODY,
    "POST /sign-in": EVERYBODY,
    "GET /set-up": EVERYBODY,
    "POST /set-up": EVERYBODY,
    "GET /invitation/{token}": EVERYBODY,
    "POST /invitation/{token}": EVERYBODY,
    "POST /sign-out": VIEWER,
    # Chats
    "GET /": VIEWER,
    "GET /next": VIEWER,
    "GET /live/inbox": VIEWER,
    "GET /live/chat/{conversation_id}": VIEWER,
    "GET /chats/{conversation_id}": VIEWER,
    "GET /chats/{conversation_id}/info": VIEWER,
    "GET /chats/{conversation_id}/earlier": VIEWER,
    "GET /chats/{conversation_id}/replies/{turn_id}": VIEWER,
    "POST /chats/{conversation_id}/pause": MANAGER,
    "POST /chats/{conversation_id}/resume": MANAGER,
    "POST /chats/{conversation_id}/mode": MANAGER,
    "POST /turns/{turn_id}/done": MANAGER,
    "POST /turns/{turn_id}/retry": MANAGER,
    "POST /turns/{turn_id}/approve": MANAGER,
    "POST /turns/{turn_id}/reject": MANAGER,
    "POST /turns/{turn_id}/rate": MANAGER,
    "POST /turns/{turn_id}/anew": MANAGER,
    "POST /turns/{turn_id}/correct": MANAGER,
    "POST /turns/{turn_id}/now": MANAGER,
    "POST /turns/{turn_id}/suggest": MANAGER,
    "POST /chats/{conversation_id}/say": MANAGER,
    "GET /chats/{conversation_id}/export.json": VIEWER,
    "GET /chats/{conversation_id}/export.md": VIEWER,
    "GET /chats/{conversation_id}/erase": OWNER,
    "POST /chats/{conversation_id}/erase": OWNER,
    # The trial chat and the knowledge
    "GET /try": VIEWER,
    "GET /live/try": VIEWER,
    "POST /try": MANAGER,
    "POST /try/anew": MANAGER,
    "GET /knowledge": VIEWER,
    "GET /knowledge/new": MANAGER,
    "POST /knowledge/new": MANAGER,
    "GET /knowledge/files/{name:path}": VIEWER,
    "POST /knowledge/files/{name:path}": MANAGER,
    "POST /knowledge/files/{name:path}/delete": MANAGER,
    "POST /knowledge/preview": MANAGER,
    "POST /knowledge/upload": MANAGER,
    "GET /knowledge/gaps": VIEWER,
    "POST /knowledge/gaps/answer": MANAGER,
    "POST /knowledge/gaps/dismiss": MANAGER,
    "GET /knowledge/instructions": VIEWER,
    "POST /knowledge/instructions": OWNER,
    "GET /knowledge/instructions/versions/{id_}": VIEWER,
    "POST /knowledge/instructions/versions/{id_}/back": OWNER,
    "GET /knowledge/instructions/replay": OWNER,
    "POST /knowledge/instructions/replay": OWNER,
    "POST /knowledge/instructions/replay/stop": OWNER,
    # Numbers, health, settings
    "GET /numbers": VIEWER,
    "GET /numbers.csv": VIEWER,
    "GET /live/health": VIEWER,
    "POST /health/check": MANAGER,
    "GET /start": VIEWER,
    "GET /live/start": VIEWER,
    "POST /start/hide": OWNER,
    "POST /start/mode": OWNER,
    "GET /settings": VIEWER,
    "POST /settings/group/{key}": OWNER,
    "GET /settings/amocrm": VIEWER,
    "GET /live/amocrm": VIEWER,
    "POST /settings/amocrm/connect": OWNER,
    "POST /settings/amocrm/check": OWNER,
    "POST /settings/amocrm/replies": OWNER,
    "POST /settings/amocrm/disconnect": OWNER,
    "GET /settings/notices": VIEWER,
    "POST /settings/notices/test": OWNER,
    "POST /assistant/stop": MANAGER,
    "POST /assistant/go-on": MANAGER,
    # Oneself
    "GET /me": VIEWER,
    "POST /me/password": VIEWER,
    "POST /me/shortcuts": VIEWER,
    "POST /me/sign-out": VIEWER,
    "POST /me/sessions/{session_id}/end": VIEWER,
    # Users, tokens, audit
    "GET /settings/people": OWNER,
    "POST /settings/people/invitations": OWNER,
    "POST /settings/people/invitations/{invitation_id}/withdraw": OWNER,
    "GET /settings/people/{user_id}": OWNER,
    "POST /settings/people/{user_id}/role": OWNER,
    "POST /settings/people/{user_id}/disable": OWNER,
    "POST /settings/people/{user_id}/enable": OWNER,
    "POST /settings/people/{user_id}/password": OWNER,
    "POST /settings/people/{user_id}/sign-out": OWNER,
    "POST /settings/people/{user_id}/sessions/{session_id}/end": OWNER,
    "GET /settings/tokens": OWNER,
    "POST /settings/tokens": OWNER,
    "POST /settings/tokens/{token_id}/revoke": OWNER,
    "GET /settings/audit": OWNER,
}
TO_THE_DOOR = {"POST /sign-out"}  # leads to the sign-in also where it is allowed
NOWHERE = {"token": "nothing", "secret": "nothing"}  # any other part of a path is a number that nothing has
NO_NUMBER = "999999999"


def routes_of(routes: Iterable[BaseRoute]) -> Iterator[str]:
    """ "METHOD /path" of each, also of those that FastAPI keeps in the router that they were included with."""
    for route in routes:
        if isinstance(route, Mount):
            yield from routes_of(route.app.routes) if isinstance(route.app, FastAPI) else [f"GET {route.path}"]
        elif isinstance(route, Route | APIRoute):
            yield from (f"{method} {route.path}" for method in (route.methods or ()) if method != "HEAD")
        else:
            yield from routes_of(route.original_router.routes)  # type: ignore[attr-defined]


def test_each_route_has_a_line_and_each_line_a_route(tmp_path: Path) -> None:
    file = tmp_path / "conversations.db"
    file.write_bytes(databases.prepared_file().read_bytes())
    own = {"amocrm_base_url": "https://a.amocrm.ru", "amocrm_client_id": "id", "amocrm_client_secret": "key"}
    service = wire(load_settings(database_url=f"sqlite:///{file}", **own))
    webhook = create(service)
    found = set(routes_of(webhook._routes._application.routes))  # type: ignore[attr-defined]
    service.database.close()
    assert sorted(found) == sorted(ROUTES)


@dataclass
class Doors:
    """A running server with a user of each role and a token of each scope."""

    server: Otvet
    database: Database
    users: dict[str, int]
    tokens: dict[str, str]
    http: httpx2.Client
    signed_in: dict[str, dict[str, str]] = field(default_factory=dict)

    def session(self, role: str) -> dict[str, str]:
        """A new session's cookie, and the token of its forms."""
        with self.database.writes.begin() as connection:
            token = sessions.begin(connection, self.users[role], "", "", datetime.now(UTC))
            session = sessions.find(connection, token, datetime.now(UTC))
        assert session is not None
        return {"cookie": f"otvet_session={token}", "csrf": session.csrf}

    def ask(
        self, route: str, *, cookie: str = "", csrf: str = "", token: str = "", origin: str = ""
    ) -> httpx2.Response:
        """The head of what the route answers; the rest of a stream is not waited for."""
        method, path = route.split(" ")
        path = path.replace("/static", "/static/otvet.css").replace(":path}", "}")
        parts = {part: NOWHERE.get(part, NO_NUMBER) for part in path.replace("{", "}").split("}")[1::2]}
        given = {"cookie": cookie, "authorization": token and f"Bearer {token}", "origin": origin or self.server.url}
        headers = {name: value for name, value in given.items() if value}
        data = {"csrf": csrf} if method == "POST" else None
        request = self.http.build_request(method, path.format(**parts), headers=headers, data=data)
        answer = self.http.send(request, stream=True)
        answer.close()
        return answer

    def as_(self, who: str, route: str) -> httpx2.Response:
        if who in self.tokens:
            return self.ask(route, token=self.tokens[who])
        if who not in self.users:
            return self.ask(route)
        if who not in self.signed_in:
            self.signed_in[who] = self.session(who)
        return self.ask(route, **(self.session(who) if route in TO_THE_DOOR else self.signed_in[who]))


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    folder = tmp_path_factory.mktemp("doors")
    with otvet(folder) as server, httpx2.Client(base_url=server.url, trust_env=False, timeout=30) as http:
        database = Database(f"sqlite:///{folder}/conversations.db")
        for role in Role:
            add_user(server, role.title(), role)
        with database.writes.begin() as connection:
            known = {user.role.value: user.id for user in users.listed(connection)}
            now = datetime.now(UTC)
            tokens = {scope.value: api_tokens.make(connection, scope, scope, "test", now) for scope in Scope}
        yield Doors(server, database, known, tokens, http)
        database.close()


def expected(who: str, needed: str) -> str:
    """What somebody gets: "in", "sign in" (a page), "401" (the API), "403"."""
    if needed == EVERYBODY:
        return "in"
    ranks: list[str] = [str(one) for one in (Role if needed in set(Role) else Scope)]
    if who not in ranks:
        return "sign in" if needed in set(Role) else "401"
    return "in" if ranks.index(who) >= ranks.index(needed) else "403"


def got(route: str, answer: httpx2.Response) -> str:
    assert answer.status_code < 500, (route, answer.status_code)
    if answer.status_code == 403 or (answer.status_code == 401 and "www-authenticate" in answer.headers):
        return str(answer.status_code)
    led = answer.headers.get("location", "").startswith("/sign-in") and ROUTES[route] != EVERYBODY
    return "sign in" if answer.status_code == 303 and led and route not in TO_THE_DOOR else "in"


@pytest.mark.parametrize("who", ["nobody", *Role, *Scope])
def test_everybody_gets_in_where_the_table_says_and_nowhere_else(doors: Doors, who: str) -> None:
    wrong = {}
    for route, needed in ROUTES.items():
        found, right = got(route, doors.as_(who, route)), expected(who, needed)
        if found != right and not (route in TO_THE_DOOR and right == "sign in"):
            wrong[route] = f"{found}, not {right}"
    assert wrong == {}


CHANGES = [route for route, needed in ROUTES.items() if route.startswith("POST") and needed in set(Role)]


def test_no_change_is_made_for_a_form_of_another_page(doors: Doors) -> None:
    """Without the token of the session's forms, with that of another session, from another page."""
    own, other = doors.session(OWNER), doors.session(OWNER)
    forged = (
        own | {"csrf": ""},
        own | {"csrf": other["csrf"]},
        own | {"csrf": "ключ"},
        own | {"origin": "https://elsewhere.example"},
        own | {"origin": "http://[::1"},
    )
    let_in = {
        (route, at)
        for route, (at, form) in product(CHANGES, enumerate(forged))
        if doors.ask(route, **form).status_code != 403
    }
    assert let_in == set()


def test_the_forms_of_the_doors_come_from_our_own_pages(doors: Doors) -> None:
    for route in ("POST /sign-in", "POST /set-up", "POST /invitation/{token}"):
        assert doors.ask(route, origin="https://elsewhere.example").status_code == 403


@pytest.mark.slow
def test_no_answer_but_a_sign_in_sets_a_cookie(doors: Doors) -> None:
    setting = {route for route in ROUTES if "set-cookie" in doors.as_(OWNER, route).headers}
    assert setting == {"POST /sign-out"}  # which takes it away
