"""The calls that bring a reply into the client's chat: by a Salesbot, or by Kommo's own call for talks.

Most of them are documented by Kommo or seen in public integrations, not documented by amoCRM: see docs/delivery.md.
Every function raises AmoError, or the error of the client's gate.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from otvet.amocrm.answers import AmoError
from otvet.amocrm.cards import text_of_field
from otvet.amocrm.client import AmoClient, Slot
from otvet.i18n import N_, _

FIELD_CODE = "OTVET_REPLY"
FIELD_NAME = N_("Reply of the assistant (Otvet)")
FIELDS_ON_A_PAGE = 250
PAGES = 20
EVENTS = 100
SHORT_FIELD = 256  # characters that amoCRM takes in a text field which is no text area
OUTGOING = "outgoing_chat_message"
ROBOT = 0  # the author of an event that no user caused
CONTACT, LEAD = 1, 2  # the entity that a bot is run for, as amoCRM numbers them

_FIELD_GONE = N_(
    "amoCRM does not take the reply into the deal's field {field} ({detail}). See that the field is there and is a "
    "text area; docs/delivery.md says how to make a new one and to tell the bot."
)
_NO_FIELD = N_(
    "amoCRM did not make the field that the Salesbot reads. Make a text area in the deal's settings, with this name: "
    "{name}"
)
_BOT_GONE = N_(
    "amoCRM does not run the Salesbot {bot} ({detail}). See that it is there, is switched on and has no trigger, that "
    "OTVET_SALESBOT_ID is its number, and that the token's owner may run it."
)
_NOT_V4 = N_("amoCRM does not run the Salesbot by the newer address; the older one is tried next.")
_TALK_REFUSED: Mapping[int, str] = {
    402: N_(
        "Kommo's limit of messages through the Chats API is used up for this month. Until the next one answer by "
        "hand, take a larger package, or set OTVET_REPLY_VIA to another way."
    ),
    403: N_(
        "The token may not send messages into talks. In Kommo give the integration the right to the Chats API, make "
        "a new token, or set OTVET_REPLY_VIA to another way."
    ),
    404: N_("Kommo has no such talk, or this account cannot send messages through the API. Answer by hand."),
    422: N_("The talk is closed, so Kommo takes no message for it. Open it in Kommo and answer by hand."),
}
_NOT_ADMIN = N_(
    "The token may not let a Salesbot go on: amoCRM allows that to administrators only. Make a token whose owner is"
    " one."
)
_NOT_WAITING = N_("The Salesbot does not wait for the reply any more: its time was over, or somebody stopped it.")


async def find_or_make_field(amocrm: AmoClient) -> int:
    """The id of the deals' text area for replies; it is made if no field has Otvet's code or name.

    Source: https://www.amocrm.ru/developers/content/crm_platform/custom-fields
    """
    found = await _find_field(amocrm)
    if found is None:
        wanted = {"type": "textarea", "name": _(FIELD_NAME), "code": FIELD_CODE}
        async with amocrm.slot() as slot:
            await slot.call("POST", "/api/v4/leads/custom_fields", body=[wanted])
        found = await _find_field(amocrm)  # another process may have made one too; all processes take the first
    if found is None:
        raise AmoError(_(_NO_FIELD).format(name=_(FIELD_NAME)), reason="unavailable")
    return found


async def _find_field(amocrm: AmoClient) -> int | None:
    with_code: list[int] = []
    with_name: list[int] = []  # made by a person: the API alone gives codes
    for page in range(1, PAGES + 1):
        query = {"limit": FIELDS_ON_A_PAGE, "page": page}
        found = (await amocrm.get("/api/v4/leads/custom_fields", query) or {}).get("_embedded", {})
        fields = found.get("custom_fields", [])
        with_code += [int(field["id"]) for field in fields if field.get("code") == FIELD_CODE]
        with_name += [int(field["id"]) for field in fields if _is_named_so(field)]
        if len(fields) < FIELDS_ON_A_PAGE:
            break
    return min(with_code or with_name, default=None)


def _is_named_so(field: Mapping[str, Any]) -> bool:
    return field.get("type") == "textarea" and str(field.get("name")).strip() in (FIELD_NAME, _(FIELD_NAME))


async def write_field(slot: Slot, lead_id: int, field_id: int, text: str) -> None:
    """Write the text into the field that the bot reads; a second time changes nothing.

    Source: https://www.amocrm.ru/developers/content/crm_platform/leads-api
    """
    body = {"custom_fields_values": [{"field_id": field_id, "values": [{"value": text}]}]}
    try:
        await slot.call("PATCH", f"/api/v4/leads/{lead_id:d}", body=body, private=text)
    except AmoError as error:
        if not error.permanent or error.reason == "not_found":  # the deal is missing, not the field
            raise
        raise _refused(_FIELD_GONE, error, field=field_id) from error


async def read_field(amocrm: AmoClient, lead_id: int, field_id: int) -> str:
    """The text that amoCRM keeps in the field of a deal; empty if there is none.

    Source: https://www.amocrm.ru/developers/content/crm_platform/leads-api
    """
    return text_of_field(await amocrm.lead(lead_id) or {}, field_id)


class Bots:
    """Runs a Salesbot at the newer or the older of two addresses. A run cannot be undone.

    has_v4: whether the account has the newer address; None while that is unknown. The older address may accept a bot
    that does not exist.
    """

    def __init__(self) -> None:
        self.has_v4: bool | None = None

    async def run(self, slot: Slot, bot_id: int, lead_id: int, contact_id: int | None = None) -> None:
        """Start the bot for a deal, or for one of the deal's contacts.

        For a deal the bot writes into the chat that was active last (unverified). So in a deal with several contacts
        it is run for the contact who asked.
        Sources: https://developers.kommo.com/reference/launch-a-salesbot and, for the older address,
        https://developers.kommo.com/reference/launch-salesbot (that amoCRM has both is not verified)
        """
        known = self.has_v4  # another call may change it during this one
        try:
            if known is False:
                kind = CONTACT if contact_id else LEAD
                old = [{"bot_id": bot_id, "entity_id": contact_id or lead_id, "entity_type": kind}]
                await slot.call("POST", "/api/v2/salesbot/run", body=old)
            else:
                body = {"entity_id": contact_id or lead_id, "entity_type": "contacts" if contact_id else "leads"}
                await slot.call("POST", f"/api/v4/bots/{bot_id:d}/run", body=body)
        except AmoError as error:
            if known is None and error.status in (404, 405):
                self.has_v4 = False
                raise AmoError(_(_NOT_V4), reason="unavailable", status=error.status) from error
            refused = _not_run(bot_id, error)
            if known is False and refused.permanent:
                self.has_v4 = None  # neither address takes it
            raise refused from error
        self.has_v4 = known is not False


def _not_run(bot_id: int, error: AmoError) -> AmoError:
    if error.status == 409:  # another bot is at work in the deal: it passes by itself
        return AmoError(str(_refused(_BOT_GONE, error, bot=bot_id)), reason="unavailable", status=409)
    return _refused(_BOT_GONE, error, bot=bot_id) if error.permanent else error


async def send_message(slot: Slot, talk_id: str, text: str) -> str | None:
    """Send a message into a talk by Kommo's call; returns its id. It cannot be undone.

    Source: https://developers.kommo.com/changelog (2026-07-08; that amoCRM has it too is not verified)
    """
    if not talk_id.isdecimal():
        raise AmoError(_(_TALK_REFUSED[404]), reason="not_found", permanent=True)
    path = f"/api/v4/talks/{talk_id}/send_message"
    try:
        data = await slot.call("POST", path, body={"text": text}, private=text)
    except AmoError as error:
        sentence = _TALK_REFUSED.get(error.status or 0)
        if not (error.permanent or error.reason == "scope") or sentence is None:  # talks have a scope of their own
            raise
        raise AmoError(_(sentence), reason="validation", permanent=True, status=error.status) from error
    named = (data or {}).get("id")
    return str(named) if isinstance(named, str | int) else None


async def go_on(slot: Slot, return_url: str, data: Mapping[str, Any], shown: Sequence[str]) -> None:
    """Let a bot that waits for a reply go on. It cannot be undone.

    return_url: checked to be the account's own; only its path and query are used.
    shown: texts of at most 80 characters that the bot sends at once.
    Source: https://developers.kommo.com/reference/salesbot-widget-block-execution-confirmation
    """
    body: dict[str, Any] = {"data": dict(data)}
    if shown:  # an empty list is refused
        show = [{"handler": "show", "params": {"type": "text", "value": text}} for text in shown]
        body["execute_handlers"] = show
    try:
        await slot.call("POST", _below_the_address(return_url), body=body, private=str(data.get("reply", "")))
    except AmoError as error:
        sentence = {403: _NOT_ADMIN, 404: _NOT_WAITING}.get(error.status or 0)
        if not error.permanent or sentence is None:
            raise
        raise AmoError(_(sentence), reason="validation", permanent=True, status=error.status) from error


def _below_the_address(url: str) -> str:
    return urlsplit(url)._replace(scheme="", netloc="", fragment="").geturl()


async def sent_since(amocrm: AmoClient, lead_id: int, since: datetime) -> set[str]:
    """The ids of the chat messages that robots sent in a deal since a moment, by the deal's events.

    Source: https://www.amocrm.ru/developers/content/crm_platform/events-and-notes
    """
    query: dict[str, str | int] = {
        "filter[type]": OUTGOING,
        "filter[entity]": "lead",
        "filter[entity_id]": lead_id,
        "filter[created_at][from]": int(since.timestamp()),
        "limit": EVENTS,
    }
    found = await amocrm.get("/api/v4/events", query) or {}
    try:
        events = list(found.get("_embedded", {}).get("events", ()))
    except (AttributeError, TypeError):
        return set()
    return {id_ for event in events if (id_ := _message_in(event, lead_id, since))}


def _message_in(event: Any, lead_id: int, since: datetime) -> str | None:
    """The id of the event's message; None for an event not asked for, because some accounts ignore the filters."""
    try:
        asked_for = (
            event["type"] == OUTGOING
            and (event["entity_type"], event["entity_id"]) == ("lead", lead_id)
            and event["created_at"] >= int(since.timestamp())
            and event["created_by"] == ROBOT
        )
        return str(event["value_after"][0]["message"]["id"]) if asked_for else None
    except (IndexError, KeyError, TypeError):
        return None


def _refused(sentence: str, error: AmoError, **named: int) -> AmoError:
    detail = f"HTTP {error.status}"
    return AmoError(
        _(sentence).format(detail=detail, **named), reason="validation", permanent=True, status=error.status
    )
