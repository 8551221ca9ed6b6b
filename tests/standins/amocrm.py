"""amoCRM's REST API as far as Otvet uses it: shapes, codes, content types, limits, and faults on command.

    python -m tests.standins.amocrm --port 9001

The shapes are those of https://www.amocrm.ru/developers/content/crm_platform/api-reference. Not documented
there and so unverified: 404 for a note to a deal that does not exist, that refused requests do not count
against the rate, and the codes of mistakes besides NotSupportedChoice.
"""

import argparse
import itertools
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from operator import itemgetter
from typing import Any
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tests.standins.amocrm_access import Access
from tests.standins.chats import Chats
from tests.standins.faults import Faults
from tests.standins.hal import Hal, Problem
from tests.standins.server import serving

ACCOUNT_ID = 29085955
USER_ID = 940088
CREATED_AT = 1767603600
PIPELINE, STAGE = 3177727, 32392159
ENDS = {142: "Won", 143: "Lost"}
TEXT_NOTES = (
    "common",
    "service_message",
    "extended_service_message",
    "sms_in",
    "sms_out",
    "message_cashier",
    "geolocation",
)
NOTE_TYPES = (*TEXT_NOTES, "call_in", "call_out", "attachment")
MAX_LIMIT = 250
BLOCKED = (
    "<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body>\r\n"
    "<center><h1>403 Forbidden</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)

Json = dict[str, Any]

ACCOUNT: Json = {
    "id": ACCOUNT_ID,
    "name": "Example",
    "subdomain": "example",
    "current_user_id": USER_ID,
    "country": "RU",
    "customers_mode": "segments",
    "is_unsorted_on": True,
    "is_loss_reason_enabled": True,
    "is_helpbot_enabled": False,
    "is_technical_account": False,
    "contact_name_display_order": 1,
}
CONTACT: Json = {
    "first_name": "",
    "last_name": "",
    "responsible_user_id": USER_ID,
    "group_id": 0,
    "created_by": 0,
    "updated_by": 0,
    "created_at": CREATED_AT,
    "updated_at": CREATED_AT,
    "closest_task_at": None,
    "is_deleted": False,
    "is_unsorted": False,
    "custom_fields_values": None,
    "account_id": ACCOUNT_ID,
}
LEAD: Json = {
    "price": 0,
    "responsible_user_id": USER_ID,
    "group_id": 0,
    "status_id": STAGE,
    "pipeline_id": PIPELINE,
    "loss_reason_id": None,
    "created_by": 0,
    "updated_by": 0,
    "created_at": CREATED_AT,
    "updated_at": CREATED_AT,
    "closed_at": None,
    "closest_task_at": None,
    "is_deleted": False,
    "custom_fields_values": None,
    "score": None,
    "account_id": ACCOUNT_ID,
}
TALK: Json = {
    "created_at": CREATED_AT,
    "updated_at": CREATED_AT,
    "rate": 0,
    "chat_id": "88278e98-2b8d-4ae2-a5f0-bfab511cd621",
    "is_in_work": True,
    "is_read": True,
    "origin": "telegram",
    "missed_at": None,
    "account_id": ACCOUNT_ID,
}


class AmoStandin:
    """One account, and what the test knows of it. The public attributes may be set at any time.

    access: integrations, tokens, rights and webhooks of the account.
    any_lead: every deal exists, not only those of ``add_lead``.
    filters: whether lists and events are filtered as asked; an account without API filters gives all, newest first.
    rate: how many requests within a second are answered before it is 429.
    shows: what is shown of the text of a note or a task.
    ban_after: after so many 429 everything is the HTML 403 of a blocked address; None is never.
    pipelines: {id: (name, {stage's id: name})}. users: {id: name}; asking for another one is forbidden.
    log: the requests, as in Faults.
    """

    def __init__(self, token: str, monotonic: Callable[[], float]) -> None:
        self.url = ""
        self.token = token
        self.access = Access()
        self.any_lead = False
        self.filters = True
        self.rate = 7
        self.shows: Callable[[str], str] = lambda text: text
        self.ban_after: int | None = None
        self.pipelines: dict[int, tuple[str, dict[int, str]]] = {PIPELINE: ("Sales", {STAGE: "First contact", **ENDS})}
        self.users: dict[int, str] = {}
        self._monotonic = monotonic
        self._leads: dict[int, Json] = {}
        self._contacts: dict[int, Json] = {}
        self._talks: dict[int, Json] = {}
        self._notes: dict[int, list[Json]] = {}
        self._tasks: dict[int, list[Json]] = {}
        self._note_ids = itertools.count(76787983)
        self._accepted: deque[float] = deque()
        self._refused = 0
        self.chats = Chats(self)
        self.app = Faults(self._gate)
        self.fault = self.app.plan
        self.log = self.app.log
        self._starlette = Starlette(
            routes=[*self.chats.routes(), *self._routes(), *self.app.routes()],
            exception_handlers={HTTPException: _problem},
        )

    def add_lead(self, lead_id: int, contact_id: int | None = None, tags: Sequence[str] = (), **fields: Any) -> None:
        """A deal and its main contact; an open one in the first stage, if the fields do not say otherwise."""
        self._leads[lead_id] = {"contact_id": contact_id, "tags": tags, "fields": fields}

    def add_contact(self, contact_id: int, **fields: Any) -> None:
        """A contact; its deals are those that were added with it."""
        self._contacts[contact_id] = fields

    def add_talk(self, talk_id: int, contact_id: int, lead_id: int | None = None, **fields: Any) -> None:
        """A conversation with a contact, about a deal or not yet."""
        self._talks[talk_id] = {"contact_id": contact_id, "lead_id": lead_id, "fields": fields}

    def notes(self, lead_id: int) -> list[Json]:
        """What was written into a deal, oldest first, as the API would give it."""
        return list(self._notes.get(lead_id, ()))

    def tasks(self, lead_id: int) -> list[Json]:
        """What was given people to do in a deal."""
        return list(self._tasks.get(lead_id, ()))

    async def _gate(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(Request(scope)) if scope["path"].startswith("/api/") else None
        await (refusal or self._starlette)(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        if self.ban_after is not None and self._refused >= self.ban_after:
            return HTMLResponse(BLOCKED, 403)
        now = self._monotonic()
        while self._accepted and now - self._accepted[0] >= 1:
            self._accepted.popleft()
        if len(self._accepted) >= self.rate:
            self._refused += 1
            return Problem(429, "Too Many Requests", "Too many requests per second")
        self._accepted.append(now)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token != self.token and not self.access.admits(token):
            return Problem(401, "Unauthorized", "Invalid or expired access token")
        return None

    def _routes(self) -> list[Route]:
        return [
            Route("/api/v4/account", self._get_account),
            Route("/api/v4/leads", self._get_leads),
            Route("/api/v4/leads/pipelines", self._get_pipelines),
            Route("/api/v4/users/{user_id:int}", self._get_user),
            Route("/api/v4/leads/{lead_id:int}", self._get_lead),
            Route("/api/v4/leads/{lead_id:int}/notes", self._get_notes),
            Route("/api/v4/leads/{lead_id:int}/notes", self._post_notes, methods=["POST"]),
            Route("/api/v4/leads/{lead_id:int}/notes/{note_id:int}", self._get_note),
            Route("/api/v4/leads/{lead_id:int}/notes/{note_id:int}", self._patch_note, methods=["PATCH"]),
            Route("/api/v4/contacts", self._get_contacts),
            Route("/api/v4/contacts/{contact_id:int}", self._get_contact),
            Route("/api/v4/talks/{talk_id:int}", self._get_talk),
            Route("/api/v4/tasks", self._get_tasks),
            Route("/api/v4/tasks", self._post_tasks, methods=["POST"]),
            Route("/api/v4/tasks/{task_id:int}", self._patch_task, methods=["PATCH"]),
            *self.access.routes(Problem),
        ]

    async def _get_account(self, request: Request) -> Response:
        return Hal({**ACCOUNT, **self._links("/account")})

    async def _get_lead(self, request: Request) -> Response:
        lead_id = request.path_params["lead_id"]
        lead = self._lead(lead_id)
        if lead is None:
            return Response(status_code=204)
        return Hal(self._lead_card(lead_id, lead, with_contacts="contacts" in _with(request)))

    async def _get_leads(self, request: Request) -> Response:
        found = [(id_, lead) for id_ in self._listed(request, self._leads) if (lead := self._lead(id_))]
        if not found:
            return Response(status_code=204)
        cards = [self._lead_card(id_, lead, with_contacts="contacts" in _with(request)) for id_, lead in found]
        return Hal({"_page": 1, **self._links("/leads"), "_embedded": {"leads": cards}})

    def _listed(self, request: Request, all_of_them: Mapping[int, Json]) -> list[int]:
        limit = _number(request.query_params.get("limit"), 50)
        return (_wanted(request) if self.filters else sorted(all_of_them, reverse=True))[:limit]

    def _lead_card(self, lead_id: int, lead: Json, *, with_contacts: bool) -> Json:
        tags = [{"id": 1000 + at, "name": name, "color": None} for at, name in enumerate(lead["tags"])]
        embedded: Json = {"tags": tags, "companies": []}
        if with_contacts:
            ids = [] if lead["contact_id"] is None else [lead["contact_id"]]
            embedded["contacts"] = [{"id": id_, "is_main": True, **self._links(f"/contacts/{id_}")} for id_ in ids]
        about = {"id": lead_id, "name": f"Deal {lead_id}", **LEAD, **lead["fields"]}
        filled = [*(about["custom_fields_values"] or ()), *(self.chats.custom_fields(lead_id) or ())]
        about["custom_fields_values"] = filled or None
        return {**about, **self._links(f"/leads/{lead_id}"), "_embedded": embedded}

    async def _get_pipelines(self, _: Request) -> Response:
        shown = [
            {
                "id": pipeline_id,
                "name": name,
                "sort": 1,
                "is_main": True,
                "is_unsorted_on": True,
                "is_archive": False,
                "account_id": ACCOUNT_ID,
                **self._links(f"/leads/pipelines/{pipeline_id}"),
                "_embedded": {
                    "statuses": [
                        {"id": id_, "name": stage, "pipeline_id": pipeline_id} for id_, stage in stages.items()
                    ]
                },
            }
            for pipeline_id, (name, stages) in self.pipelines.items()
        ]
        return Hal({"_total_items": len(shown), **self._links("/leads/pipelines"), "_embedded": {"pipelines": shown}})

    async def _get_user(self, request: Request) -> Response:
        user_id = request.path_params["user_id"]
        if user_id in self.users:
            return Hal({"id": user_id, "name": self.users[user_id], "lang": "ru"})
        if user_id == USER_ID and self.access.rights is not None:
            return Hal({"id": user_id, "name": "Admin", "lang": "ru", "rights": self.access.rights})
        return Problem(403, "Forbidden", "Only an administrator may")

    async def _get_contact(self, request: Request) -> Response:
        contact_id = request.path_params["contact_id"]
        if contact_id not in self._contacts:
            return Response(status_code=204)
        return Hal(self._contact_card(contact_id, with_leads="leads" in _with(request)))

    async def _get_contacts(self, request: Request) -> Response:
        found = [id_ for id_ in self._listed(request, self._contacts) if id_ in self._contacts]
        if not found:
            return Response(status_code=204)
        cards = [self._contact_card(id_, with_leads="leads" in _with(request)) for id_ in found]
        return Hal({"_page": 1, **self._links("/contacts"), "_embedded": {"contacts": cards}})

    def _contact_card(self, contact_id: int, *, with_leads: bool) -> Json:
        embedded: Json = {"tags": [], "companies": []}
        if with_leads:
            ids = [lead_id for lead_id, lead in self._leads.items() if lead["contact_id"] == contact_id]
            embedded["leads"] = [{"id": id_, **self._links(f"/leads/{id_}")} for id_ in ids]
        return {
            "id": contact_id,
            "name": f"Client {contact_id}",
            **CONTACT,
            **self._contacts[contact_id],
            **self._links(f"/contacts/{contact_id}"),
            "_embedded": embedded,
        }

    async def _get_talk(self, request: Request) -> Response:
        talk_id = request.path_params["talk_id"]
        talk = self._talks.get(talk_id)
        if talk is None:
            return Problem(404, "Not Found", "Talk not found")
        contact_id, lead_id = talk["contact_id"], talk["lead_id"]
        leads = [] if lead_id is None else [{"id": lead_id, **self._links(f"/leads/{lead_id}")}]
        return Hal(
            {
                "talk_id": talk_id,
                **TALK,
                "contact_id": contact_id,
                "entity_id": lead_id,
                "entity_type": None if lead_id is None else "lead",
                **talk["fields"],
                **self._links(f"/talks/{talk_id}"),
                "_embedded": {
                    "contacts": [{"id": contact_id, **self._links(f"/contacts/{contact_id}")}],
                    "leads": leads,
                    "customers": [],
                },
            }
        )

    async def _get_notes(self, request: Request) -> Response:
        lead_id, query = request.path_params["lead_id"], request.query_params
        types = [value for key, value in query.multi_items() if re.fullmatch(r"filter\[note_type\](\[\d*\])?", key)]
        found = [note for note in self.notes(lead_id) if not types or note["note_type"] in types]
        for field in ("id", "updated_at"):
            if order := query.get(f"order[{field}]"):
                found.sort(key=itemgetter(field), reverse=order == "desc")
        limit, page = min(_number(query.get("limit"), 50), MAX_LIMIT), _number(query.get("page"), 1)
        shown = [self._shown(note) for note in found[(page - 1) * limit : page * limit]]
        if not shown:
            return Response(status_code=204)
        links = self._links(f"/leads/{lead_id}/notes?{urlencode({**query, 'page': page, 'limit': limit})}")
        if len(found) > page * limit:
            following = urlencode({**query, "page": page + 1, "limit": limit})
            links["_links"] |= self._links(f"/leads/{lead_id}/notes?{following}", "next")["_links"]
        return Hal({"_page": page, **links, "_embedded": {"notes": shown}})

    def _shown(self, note: Json) -> Json:
        params = note["params"]
        return {**note, "params": {**params, "text": self.shows(params["text"])}} if "text" in params else note

    async def _post_notes(self, request: Request) -> Response:
        lead_id = request.path_params["lead_id"]
        items = await _json(request)
        if not isinstance(items, list) or not items:
            return Problem(400, "Bad Request", "Request validation failed")
        if mistakes := [
            {"request_id": _request_id(index, item), "errors": errors}
            for index, item in enumerate(items)
            if (errors := _mistakes(item))
        ]:
            return Problem(400, "Bad Request", "Request validation failed", **{"validation-errors": mistakes})
        if self._lead(lead_id) is None:
            return Problem(404, "Not Found", "Entity not found")
        answers = []
        for index, item in enumerate(items):
            note = self._add_note(lead_id, item)
            answer = {key: note[key] for key in ("id", "entity_id", "_links")}
            answers.append({**answer, "request_id": _request_id(index, item)})
        return Hal({**self._links("/leads/notes"), "_embedded": {"notes": answers}})

    async def _get_tasks(self, request: Request) -> Response:
        lead_id = _number(request.query_params.get("filter[entity_id]"), 0)
        every = [task for tasks in self._tasks.values() for task in tasks]
        ids = {int(value) for name, value in request.query_params.items() if name.startswith("filter[id]")}
        found = [task for task in every if task["id"] in ids] if ids else every
        if self.filters and not ids:
            found = [task for task in self.tasks(lead_id) if not task["is_completed"]]
        found = [{**task, "text": self.shows(task["text"])} for task in found]
        return Hal({**self._links("/tasks"), "_embedded": {"tasks": found}}) if found else Response(status_code=204)

    async def _post_tasks(self, request: Request) -> Response:
        items = await _json(request)
        wanted = ("text", "complete_till", "entity_id")
        if not isinstance(items, list) or not items or any(not item.get(name) for item in items for name in wanted):
            return Problem(400, "Bad Request", "Request validation failed")
        for item in items:
            task = {"id": next(self._note_ids), "is_completed": False, "responsible_user_id": USER_ID, **item}
            self._tasks.setdefault(item["entity_id"], []).append(task)
        made = [{"id": self._tasks[item["entity_id"]][-1]["id"]} for item in items]
        return Hal({**self._links("/tasks"), "_embedded": {"tasks": made}})

    async def _patch_task(self, request: Request) -> Response:
        for task in (task for tasks in self._tasks.values() for task in tasks):
            if task["id"] == request.path_params["task_id"]:
                task |= await _json(request)
                return Hal({"id": task["id"], **self._links(f"/tasks/{task['id']}")})
        return Problem(404, "Not Found", "Task not found")

    async def _get_note(self, request: Request) -> Response:
        note = self._note(request)
        return Response(status_code=204) if note is None else Hal(note)

    async def _patch_note(self, request: Request) -> Response:
        note, change = self._note(request), await _json(request)
        if note is None:
            return Problem(404, "Not Found", "Note not found")
        if mistakes := _mistakes(change):
            errors = [{"request_id": "0", "errors": mistakes}]
            return Problem(400, "Bad Request", "Request validation failed", **{"validation-errors": errors})
        note |= {"note_type": change["note_type"], "params": change["params"], "updated_at": int(time.time())}
        return Hal({key: note[key] for key in ("id", "entity_id", "updated_at", "_links")})

    def _lead(self, lead_id: int) -> Json | None:
        if self.any_lead and lead_id not in self._leads:
            self.add_lead(lead_id)
        return self._leads.get(lead_id)

    def _note(self, request: Request) -> Json | None:
        notes = self.notes(request.path_params["lead_id"])
        return next((note for note in notes if note["id"] == request.path_params["note_id"]), None)

    def _add_note(self, lead_id: int, item: Json) -> Json:
        note_id = next(self._note_ids)
        note = {
            "id": note_id,
            "entity_id": lead_id,
            "created_by": item.get("created_by", USER_ID),
            "updated_by": USER_ID,
            "created_at": int(time.time()),
            "updated_at": int(time.time()),
            "responsible_user_id": item.get("responsible_user_id", USER_ID),
            "group_id": 0,
            "note_type": item["note_type"],
            "params": item["params"],
            "account_id": ACCOUNT_ID,
            **self._links(f"/leads/{lead_id}/notes/{note_id}"),
        }
        self._notes.setdefault(lead_id, []).append(note)
        return note

    def _links(self, path: str, name: str = "self") -> Json:
        return {"_links": {name: {"href": f"{self.url}/api/v4{path}"}}}


def _wanted(request: Request) -> list[int]:
    """The ids that a list is filtered by."""
    return [
        int(value)
        for key, value in request.query_params.multi_items()
        if re.fullmatch(r"filter\[id\](\[\d*\])?", key) and value.isdecimal()
    ]


def _with(request: Request) -> list[str]:
    return request.query_params.get("with", "").split(",")


def _number(value: str | None, otherwise: int) -> int:
    return int(value) if value and value.isdecimal() and int(value) > 0 else otherwise


async def _json(request: Request) -> Any:
    try:
        return await request.json()
    except ValueError:
        return None


def _request_id(index: int, item: Any) -> str:
    return str(item.get("request_id", index)) if isinstance(item, dict) else str(index)


def _mistakes(item: Any) -> list[Json]:
    if not isinstance(item, dict):
        return [{"code": "InvalidType", "path": "", "detail": "This value should be of type object."}]
    if "note_type" not in item:
        return [{"code": "FieldMissing", "path": "note_type", "detail": "This field is missing."}]
    if item["note_type"] not in NOTE_TYPES:
        detail = "The value you selected is not a valid choice."
        return [{"code": "NotSupportedChoice", "path": "note_type", "detail": detail}]
    params = item.get("params")
    if not isinstance(params, dict):
        return [{"code": "FieldMissing", "path": "params", "detail": "This field is missing."}]
    if item["note_type"] in TEXT_NOTES and not params.get("text"):
        return [{"code": "NotBlank", "path": "params.text", "detail": "This value should not be blank."}]
    return []


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return Problem(error.status_code, error.detail, error.detail)


@contextmanager
def amocrm_standin(
    port: int = 0, token: str = "stand-in-token", monotonic: Callable[[], float] = time.monotonic
) -> Iterator[AmoStandin]:
    """An account that answers at ``.url`` to ``.token`` until the block ends.

    monotonic: the clock of the limit; one that stands still makes one second of the whole test.
    """
    standin = AmoStandin(token, monotonic)
    with serving(standin.app, port) as standin.url:
        standin.access.url = standin.url
        yield standin


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="A stand-in for amoCRM's REST API.")
    parser.add_argument("--port", type=int, default=9001)
    parser.add_argument("--token", default="stand-in-token")
    parser.add_argument("--lead", type=int, action="append", help="a deal that exists (repeatable); default: every")
    parser.add_argument("--rate", type=int, default=7, help="requests a second before 429")
    parser.add_argument("--ban-after", type=int, help="so many 429 before this address is blocked")
    options = parser.parse_args()
    with amocrm_standin(options.port, options.token) as server:
        server.rate, server.ban_after, server.any_lead = options.rate, options.ban_after, not options.lead
        for lead_id in options.lead or ():
            server.add_lead(lead_id)
        print(f"{server.url}  token: {server.token}", flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
