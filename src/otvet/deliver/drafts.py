"""A draft as the staff see it: a note in the deal that says what it is and how it gets to the client."""

from typing import Any

from sqlalchemy.engine import Row

from otvet import turns
from otvet.i18n import N_, _

NOTE = N_("DRAFT of a reply, not sent to the client yet. To send it: otvet approve {turn}")


def marker(installation_name: str, turn: Row[Any]) -> str:
    """What the note is found by again: another one for each draft of a turn, and never the reply's own."""
    digest = turns.marker(installation_name, turn.id).rsplit("-", 1)[1]
    return f"otvet:draft-{turn.id}-{digest}-{turn.redrafts}"


def note(turn: Row[Any], installation_name: str, remarks: str) -> str:
    """The text of the note."""
    return f"{_(NOTE).format(turn=turn.id)}\n\n{turn.reply}{remarks}\n\n[{marker(installation_name, turn)}]"
