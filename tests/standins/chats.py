"""The client's side of the stand-in amoCRM: Salesbots, fields, talks; and what each client has seen.

Shapes: https://developers.kommo.com (bots, talks) and https://www.amocrm.ru/developers (custom fields, events). Not
documented for amoCRM.ru and so unverified: the bots' and talks' addresses, and the codes of their refusals.
"""

import itertools
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.standins.hal import Hal, Problem

if TYPE_CHECKING:
    from tests.standins.amocrm import AmoStandin

Json = dict[str, Any]
FIRST_FIELD = 701


@dataclass(frozen=True)
class Seen:
    """A message that reached a client's messenger.

    contact_id, talk_id: whose, where the call named one. return_path: where the bot waited that sent it.
    """

    lead_id: int
    text: str
    contact_id: int | None = None
    talk_id: int | None = None
    return_path: str = ""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    at: int = field(default_factory=lambda: int(time.time()))
    by_bot: bool = True


class Chats:
    """Public attributes may be set at any time.

    seen: all that reached clients, in its order. on_seen: told of each, as amoCRM's webhook would be.
    keeps: what a field keeps of what is written into it. is_silent: bots are started, and say nothing.
    has_v4: whether the account has /api/v4/bots. v2_takes_any: whether the older address accepts a bot that is gone.
    bots: the fields that they read, by number. off: those switched off.
    waiting: bots that wait at a return address, with their deal; ``continued`` is what they were given.
    """

    def __init__(self, amo: "AmoStandin") -> None:
        self.seen: list[Seen] = []
        self.on_seen: Callable[[Seen], None] = lambda seen: None
        self.has_v4 = True
        self.v2_takes_any = False
        self.bots: dict[int, int] = {}
        self.off: set[int] = set()
        self.fields: dict[int, Json] = {}
        self.values: dict[tuple[int, int], str] = {}
        self.runs: list[tuple[int, int]] = []
        self.talks: dict[int, int] = {}  # talk -> deal
        self.deals: dict[int, int] = {}  # contact -> deal
        self.waiting: dict[str, int] = {}
        self.continued: list[tuple[str, Json]] = []
        self.keeps: Callable[[str], str] = lambda text: text
        self.is_silent = False
        self.hold = False  # a bot that was started reads its field only when let
        self._held: list[tuple[int, int, int | None]] = []
        self._amo = amo
        self._ids = itertools.count(FIRST_FIELD)

    def add_bot(self, bot_id: int, field_id: int | None = None) -> int:
        """A bot that sends what stands in a field; gives the field."""
        if field_id is None:
            field_id = next(self._ids)
            self.fields[field_id] = {"id": field_id, "name": "Reply", "type": "textarea", "code": None}
        self.bots[bot_id] = field_id
        return field_id

    def wait(self, lead_id: int) -> str:
        """A bot stops at widget_request in a deal; gives its return_url."""
        path = f"/api/v4/salesbot/321/continue/{next(self._ids)}"
        self.waiting[path] = lead_id
        return f"{self._amo.url}{path}"

    def let_go(self) -> None:
        """Bots that were started read their fields now."""
        held, self._held = self._held, []
        for bot_id, lead_id, contact_id in held:
            self._send_field(bot_id, lead_id, contact_id)

    def told(self, lead_id: int) -> list[str]:
        return [one.text for one in self.seen if one.lead_id == lead_id]

    def routes(self) -> list[Route]:
        return [
            Route("/api/v4/leads/custom_fields", self._get_fields),
            Route("/api/v4/leads/custom_fields", self._post_fields, methods=["POST"]),
            Route("/api/v4/leads/custom_fields/{field_id:int}", self._get_field),
            Route("/api/v4/leads/{lead_id:int}", self._patch_lead, methods=["PATCH"]),
            Route("/api/v4/bots", self._get_bots),
            Route("/api/v4/bots/{bot_id:int}", self._get_bot),
            Route("/api/v4/bots/{bot_id:int}/run", self._run, methods=["POST"]),
            Route("/api/v2/salesbot/run", self._run_v2, methods=["POST"]),
            Route("/api/v4/talks/{talk_id:int}/send_message", self._send_message, methods=["POST"]),
            Route("/api/v4/salesbot/{bot_id:int}/continue/{continue_id:int}", self._continue, methods=["POST"]),
            Route("/api/v4/events", self._get_events),
        ]

    async def _get_fields(self, request: Request) -> Response:
        if not self.fields or int(request.query_params.get("page", 1)) > 1:
            return Response(status_code=204)
        return Hal({"_embedded": {"custom_fields": list(self.fields.values())}})

    async def _get_field(self, request: Request) -> Response:
        found = self.fields.get(request.path_params["field_id"])
        return Hal(found) if found else Problem(404, "Not Found", "Not Found")

    async def _get_bots(self, _: Request) -> Response:
        if not self.has_v4:
            return Problem(404, "Not Found", "Not Found")
        return Hal({"_page": 1, "_embedded": {"items": [self._bot(bot_id) for bot_id in self.bots]}})

    async def _get_bot(self, request: Request) -> Response:
        bot_id = request.path_params["bot_id"]
        if not self.has_v4:
            return Problem(404, "Not Found", "Not Found")
        return Hal(self._bot(bot_id)) if bot_id in self.bots else Response(status_code=204)

    def _bot(self, bot_id: int) -> Json:
        active = bot_id not in self.off
        return {"id": bot_id, "name": f"Bot {bot_id}", "type_functionality": "regular", "settings": {"active": active}}

    async def _post_fields(self, request: Request) -> Response:
        made = []
        for item in await request.json():
            made.append({"id": next(self._ids), "code": None, **item})
            self.fields[made[-1]["id"]] = made[-1]
        return Hal({"_embedded": {"custom_fields": made}})

    async def _patch_lead(self, request: Request) -> Response:
        lead_id = request.path_params["lead_id"]
        if self._amo._lead(lead_id) is None:
            return Problem(404, "Not Found", "Entity not found")
        for value in (await request.json())["custom_fields_values"]:
            if value["field_id"] not in self.fields:
                mistake = {"code": "NotSupportedChoice", "path": "custom_fields_values.0.field_id", "detail": "No."}
                errors = [{"request_id": "0", "errors": [mistake]}]
                return Problem(400, "Bad Request", "Request validation failed", **{"validation-errors": errors})
            self.values[lead_id, value["field_id"]] = self.keeps(value["values"][0]["value"])
        return Hal({"id": lead_id, "updated_at": int(time.time())})

    def custom_fields(self, lead_id: int) -> list[Json] | None:
        """The fields of a deal that are not empty, as its card shows them."""
        filled = {
            field: text
            for (lead, field), text in self.values.items()
            if lead == lead_id and text and field in self.fields
        }
        shown = [
            {
                "field_id": field_id,
                "field_name": self.fields[field_id]["name"],
                "field_code": self.fields[field_id]["code"],
                "field_type": self.fields[field_id]["type"],
                "values": [{"value": text}],
            }
            for field_id, text in filled.items()
        ]
        return shown or None

    async def _run(self, request: Request) -> Response:
        bot_id = request.path_params["bot_id"]
        body = await request.json()
        if not self.has_v4 or bot_id not in self.bots:
            return Problem(404, "Not Found", "Not Found")
        self._start(bot_id, *self._run_for(body["entity_id"], body["entity_type"] == "contacts"))
        return Response(status_code=202)

    async def _run_v2(self, request: Request) -> Response:
        (item,) = await request.json()
        assert item["entity_type"] in (1, 2)
        if item["bot_id"] not in self.bots:
            if self.v2_takes_any:
                return Response('{"success": true}', 202)
            return Problem(422, "Unprocessable Entity", "No such bot")
        self._start(item["bot_id"], *self._run_for(item["entity_id"], item["entity_type"] == 1))
        return Response('{"success": true}', 202)

    def _run_for(self, entity_id: int, contact: bool) -> tuple[int, int | None]:
        """The deal whose field the bot reads, and the contact.

        A contact's deal is the one that was named, or else the one whose field was written to last.
        """
        if not contact:
            return entity_id, None
        return self.deals.get(entity_id) or next(reversed(self.values))[0], entity_id

    def _start(self, bot_id: int, lead_id: int, contact_id: int | None) -> None:
        self.runs.append((bot_id, lead_id))
        if self.hold:
            self._held.append((bot_id, lead_id, contact_id))
        else:
            self._send_field(bot_id, lead_id, contact_id)

    def _send_field(self, bot_id: int, lead_id: int, contact_id: int | None) -> None:
        if self.is_silent:
            return
        self._reach(Seen(lead_id, self.values.get((lead_id, self.bots[bot_id]), ""), contact_id))

    async def _send_message(self, request: Request) -> Response:
        talk_id = request.path_params["talk_id"]
        lead_id = self.talks.get(talk_id)
        if lead_id is None:
            return Problem(404, "Not Found", "Talk not found")
        seen = Seen(lead_id, (await request.json())["text"], talk_id=talk_id, by_bot=False)
        self._reach(seen)
        return Hal({"id": seen.id}, 202)

    async def _continue(self, request: Request) -> Response:
        lead_id = self.waiting.pop(request.url.path, None)
        if lead_id is None:
            return Problem(404, "Not Found", "No waiting record")
        body = await request.json()
        if body.get("execute_handlers") == []:
            return Problem(400, "Bad Request", "TooFew")
        self.continued.append((request.url.path, body))
        shown = [one["params"]["value"] for one in body.get("execute_handlers", ())]
        assert all(len(text) <= 80 for text in shown)
        if body["data"]["status"] != "success":
            return Response(status_code=202)  # the bot's condition
        for text in shown or [body["data"]["reply"]]:
            self._reach(Seen(lead_id, text, return_path=request.url.path))
        return Response(status_code=202)

    async def _get_events(self, request: Request) -> Response:
        query = request.query_params
        since, lead_id = int(query["filter[created_at][from]"]), int(query["filter[entity_id]"])
        found = [one for one in self.seen if not self._amo.filters or (one.lead_id == lead_id and one.at >= since)]
        if not found:
            return Response(status_code=204)
        events = [
            {
                "type": "outgoing_chat_message",
                "entity_id": one.lead_id,
                "entity_type": "lead",
                "created_at": one.at,
                "created_by": 0 if one.by_bot else 940088,
                "value_after": [{"message": {"id": one.id, "origin": "telegram", "talk_id": 100}}],
            }
            for one in found
        ]
        return Hal({"_embedded": {"events": events}})

    def _reach(self, seen: Seen) -> None:
        self.seen.append(seen)
        self.on_seen(seen)
