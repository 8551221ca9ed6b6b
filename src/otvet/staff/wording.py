"""Words for staff: why a turn ended as it did, who wrote a reply, and how it was delivered."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from otvet.i18n import N_, _
from otvet.settings import working_hours
from otvet.settings.settings import Settings
from otvet.turns.reasons import reason
from otvet.turns.turn import Reason

MODES = {
    "auto": N_("answers clients by itself"),
    "draft": N_("writes drafts, which a manager approves (OTVET_MODE)"),
    "off": N_("is off: messages are stored and nobody is answered (OTVET_MODE)"),
}
DELIVERIES = {
    "sent": N_("sent as note {note_id}"),
    "waiting": N_("being sent"),
    "answering": N_("being sent"),
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
    "complaint": N_("the reply to a client who complains"),
    "small_talk": N_("the reply to thanks or a greeting"),
    "hours": N_("the out-of-hours text"),
    "person": N_("a manager"),
}


def mode(settings: Settings) -> str:
    """What the assistant does in deals that have no mode of their own."""
    return _(MODES[settings.mode])


def writer(responder: str | None) -> str:
    """Who wrote a reply, in words."""
    return _(WRITERS[responder]) if responder in WRITERS else str(responder or "")


def when(moment: datetime, settings: Settings, *, seconds: bool = False) -> str:
    """A moment as text, in the company's time zone."""
    at = moment.astimezone(working_hours.zone_of(settings.timezone))
    return at.strftime("%d.%m.%Y %H:%M:%S" if seconds else "%d.%m.%Y %H:%M")


def delivery(data: Mapping[str, Any] | None) -> str:
    """How a reply was delivered, in words. data: as turn.delivery_of returns it."""
    if not data:
        return ""
    if data.get("state") == "sent" and data.get("way", "note") != "note":
        return _("sent to the client's chat ({way})").format(way=data["way"])
    if data.get("reason") == Reason.TRIAL:
        return _("a trial: not sent")
    sentence = DELIVERIES.get(str(data.get("state")))
    values = {"note_id": data.get("note_id", "?"), "reason": reason(data.get("reason")) or "?"}
    return _(sentence).format(**values) if sentence else str(data.get("state"))
