"""Whether a manager's own words can go to a client from our pages, by the way that is set for the channel. No I/O."""

from collections.abc import Mapping

from otvet.i18n import N_, _
from otvet.settings.by_channel import SALESBOT, TALK, WIDGET, way_for

NOT_CONNECTED = N_("amoCRM is not connected, so nothing that is written here would reach the client.")
NO_DEAL = N_("The deal of this chat is not known yet, so nothing can be sent from here.")
ONLY_NOTES = N_("In this channel replies only become notes in the deal: answer the client in amoCRM.")
BOT_ASKS = N_(
    "In this channel a Salesbot fetches each reply, and only once the client has written: answer the client in amoCRM."
)


def why_not(via: Mapping[str, str], origin: str, lead_id: int | None, *, connected: bool) -> str | None:
    """A sentence why nothing can be written to the client from here; None if it can.

    via: the delivery method by channel. origin: amoCRM's name of the channel. connected: an account is connected.
    """
    if not connected:
        return _(NOT_CONNECTED)
    if lead_id is None:
        return _(NO_DEAL)
    way = way_for(via, origin)
    return None if way in (SALESBOT, TALK) else _(BOT_ASKS if way == WIDGET else ONLY_NOTES)
