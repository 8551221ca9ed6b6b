"""The notes that staff see in a deal: the reply itself, a draft to approve, a reply that the client did not get."""

from otvet.amocrm.texts import storable
from otvet.i18n import N_, _
from otvet.turns.human_request import CHECK_FIRST
from otvet.turns.reasons import reason
from otvet.turns.sending import marker
from otvet.turns.turn import OWN_PROMISES, Turn

DRAFT = N_("DRAFT of a reply, not sent to the client yet. To send it: otvet approve {turn}")
NOT_ANSWERED = N_(
    "The assistant has not answered the client: {why}.\n\n{summary}\n\nWhat to do: answer the client in the chat."
)
NOT_TOLD = N_("The client did not get this reply. {reason}\n\n{text}")


class Notes:
    """Texts of notes; each ends with a marker by which it is found again after a crash.

    What amoCRM might not keep whole is left out, so that the marker stays.
    """

    def __init__(self, installation_name: str) -> None:
        self._installation_name = installation_name

    def marker(self, turn: Turn) -> str:
        """The marker of the reply."""
        return marker(self._installation_name, turn.id)

    def reply(self, turn: Turn) -> str:
        """The reply itself; where it says only that a person will answer, what that person has to know."""
        if turn.responder in OWN_PROMISES and turn.summary is not None:
            told = _(NOT_ANSWERED).format(why=reason(turn.left_because or turn.reason), summary=turn.summary)
        else:
            told = f"{turn.reply}{_remarks(turn)}"
        return _marked(told, self.marker(turn))

    def draft_marker(self, turn: Turn) -> str:
        """The marker of a draft: another one for each draft of a turn, and never the marker of the reply."""
        return f"otvet:draft-{turn.id}-{self._digest(turn)}-{turn.redrafts}"

    def draft(self, turn: Turn) -> str:
        return _marked(f"{_(DRAFT).format(turn=turn.id)}\n\n{turn.reply}{_remarks(turn)}", self.draft_marker(turn))

    def besides_marker(self, turn: Turn, missing: list[str]) -> str:
        return f"otvet:{'not-' if missing else ''}told-{turn.id}-{self._digest(turn)}"

    def besides(self, turn: Turn, missing: list[str]) -> str:
        """The note besides a reply in the client's chat. missing: the parts that the client does not have."""
        text = f"{turn.reply}{_remarks(turn)}"
        if missing:
            told = {"reason": turn.reason, "text": "\n\n".join(missing)}
            text = _(NOT_TOLD).format(**told)
        return _marked(text, self.besides_marker(turn, missing))

    def _digest(self, turn: Turn) -> str:
        return self.marker(turn).rsplit("-", 1)[1]


def _marked(text: str, marker: str) -> str:
    return f"{storable(text)}\n\n[{marker}]"


def _remarks(turn: Turn) -> str:
    """The findings in a reply that the settings let through, for staff to check."""
    found = [text for _kind, text in (turn.details or {}).get("findings", ())]
    return f"\n\n{_(CHECK_FIRST).format(found='; '.join(found))}" if found else ""
