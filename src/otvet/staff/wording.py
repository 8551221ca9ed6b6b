"""Words for staff: why a turn ended as it did, who wrote a reply, and how it was delivered."""

import unicodedata
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from otvet.i18n import N_, _
from otvet.settings import working_hours
from otvet.settings.settings import Settings

DELIVERIES = {
    "sent": N_("sent as note {note_id}"),
    "sending": N_("being sent"),
    "kept": N_("not sent: amoCRM is not connected"),
    "failed": N_("not sent: {reason}"),
    "cancelled": N_("not sent: {reason}"),
}
WRITERS = {
    "manus": "Manus",
    "openai": N_("the AI model"),
    "knowledge": N_("the knowledge folder"),
    "template": N_("the honest template"),
    "handover": N_("the reply to who asks for a person"),
    "hours": N_("the out-of-hours text"),
}
REASONS = {
    "amocrm_not_connected": N_("amoCRM is not connected"),
    "manager": N_("a manager or another bot answers here"),
    "paused": N_("the assistant is paused in this conversation"),
    "stale": N_("it came too late to be answered without a person"),
    "ceiling": N_("the conversation has had as many replies as a day allows"),
    "erased": N_("the client's data was erased"),
    "no_deal": N_("the message names no deal, and none was found in amoCRM: look for it by the client's name"),
    "pipeline_left_out": N_("by the settings, the assistant does not answer in this pipeline"),
    "stage_left_out": N_("by the settings, the assistant does not answer in this stage"),
    "tags_left_out": N_("by the settings, the assistant does not answer in deals with these tags"),
    "channel_left_out": N_("by the settings, the assistant does not answer in this channel"),
    "unseen": N_(
        "it cannot be told whether the client got this: the reply has not come back as an outgoing message, as others "
        "do. Look into the chat; if it is not there, send it by hand or with otvet retry"
    ),
    "out_of_hours": N_("it came out of working hours"),
    "asked": N_("the client asked for a person"),
    "doubted": N_("the reply that was written could not be checked, so a person has to answer"),
    "off": N_("the assistant is switched off in this conversation"),
    "rejected": N_("a manager rejected the draft"),
}


def reason(code: str | None) -> str | None:
    """The sentence for a turn's reason. amoCRM's refusals are sentences already and returned as they are."""
    return _(REASONS[code]) if code in REASONS else code


def writer(responder: str | None) -> str:
    """Who wrote a reply, in words."""
    return _(WRITERS[responder]) if responder in WRITERS else str(responder or "")


def when(moment: datetime, settings: Settings, *, seconds: bool = False) -> str:
    """A moment as text, in the company's time zone."""
    at = moment.astimezone(working_hours.zone_of(settings.timezone))
    return at.strftime("%d.%m.%Y %H:%M:%S" if seconds else "%d.%m.%Y %H:%M")


def printable(text: str) -> str:
    """A client's text without characters that could move the cursor or reverse the line; line breaks stay."""
    return "".join(
        char if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf", "Cs") else "\ufffd" for char in text
    )


def delivery(data: Mapping[str, Any] | None) -> str:
    """How a reply was delivered, in words. data: as turn.delivery_of returns it."""
    if not data:
        return ""
    if data.get("state") == "sent" and data.get("way", "note") != "note":
        return _("sent to the client's chat ({way})").format(way=data["way"])
    sentence = DELIVERIES.get(str(data.get("state")))
    values = {"note_id": data.get("note_id", "?"), "reason": reason(data.get("reason")) or "?"}
    return _(sentence).format(**values) if sentence else str(data.get("state"))
