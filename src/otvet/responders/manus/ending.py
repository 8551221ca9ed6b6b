"""How a task ended by its events, and what part of Manus's answer the client gets."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from otvet.i18n import _
from otvet.responders.base import Declined, ResponderError
from otvet.responders.manus.events import AssistantMessage, ErrorMessage, Event, StatusUpdate

# https://open.manus.ai/docs/v2/task-lifecycle has the first; newer clients also know the second (unverified).
_ASKS_THE_CLIENT = {"messageAskUser", "cascadeAskUser"}

_NAME = re.compile(r"\b(?:manus(?:ai|[а-яё]{1,3})?|манус(?:а|у|ом|е)?)\b", re.IGNORECASE)
_LOOKALIKES = str.maketrans("МмАаЅѕ", "MmAaSs")
_ADDRESS = re.compile(
    r"\s?\(?(?<![\w.+-])(?:https?://|[\w.+-]+@)?(?:[\w-]+\.){0,3}"
    r"(?:manus\.(?:im|ai|space)|manuscdn\.com|manuscomputer\.ai|manus(?:vm|-asia|pre)?\.computer)"
    r"\b(?:[/?#][^\s)]*)?\)?",
    re.IGNORECASE,
)
_AFTER_SENTENCE = re.compile(r"(?<=[.!?…])\s+")
_ERROR_TYPE = re.compile(r"[A-Za-z0-9_.-]{1,40}")


class TaskFailed(ResponderError):
    """The task ended with an error, or somebody stopped it. kind: Manus's word for the error, or None."""

    def __init__(self, kind: str | None = None) -> None:
        known = kind if kind and _ERROR_TYPE.fullmatch(kind) else ""
        text = _("The task in Manus failed: {kind}.") if known else _("The task in Manus failed or was stopped.")
        super().__init__(text.format(kind=known))
        self.kind = known


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of Manus's work on a question.

    text: the reply in Manus's Markdown; empty if Manus wrote none.
    sure: False if an event that Manus shows a moment later may still change the reply.
    """

    text: str
    sure: bool


def status_in(events: Sequence[Event]) -> StatusUpdate | None:
    """The task's latest state; None if it has none yet. events: newest first."""
    return next((event for event in events if isinstance(event, StatusUpdate)), None)


def can_go_on(events: Sequence[Event]) -> bool:
    """Whether the task is at rest, so that its next answer will be the answer to a new message."""
    status = status_in(events)
    return status is None or status.agent_status == "stopped" or _is_question(status)


def ending_in(events: Sequence[Event]) -> Ending | None:
    """How the question ended; None while Manus works. events: those after the question, newest first.

    ResponderError when no reply will come. A progress message ("I will look it up") is never a reply.
    """
    recent = list(takewhile(lambda event: not _ends_badly(event), events))
    status = status_in(recent)
    state = status.agent_status if status else None
    written = [event for event in recent if isinstance(event, AssistantMessage)]
    messages = [message for message in written if message.is_question or message.delivery_kind != "progress"]
    went_on = state is not None and (state != "stopped" or messages)
    if state == "error" or (len(recent) < len(events) and not went_on):
        raise TaskFailed(next((event.error_type for event in events if isinstance(event, ErrorMessage)), None))
    if status and state == "waiting":
        return _waiting(status, messages)
    return _stopped(messages) if state == "stopped" else None


def said(message: AssistantMessage) -> str:
    """The text of a message; a question has its options at the end, one a line."""
    choices = [f"- {option}" for option in message.options if option not in message.text]
    return "\n".join([message.text, *choices])


def without_manus(text: str, *, may_name_manus: bool = False) -> str:
    """A plain text without Manus's name and addresses; it may be empty.

    may_name_manus: leave the name in, because here it means something else, such as a product of the company.
    """
    lines = [_without_manus(line, may_name_manus) for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line for line in lines if line is not None)).strip()


def names_manus(text: str) -> bool:
    """Whether the text has Manus's name, also in look-alike letters."""
    return bool(_NAME.search(text) or _NAME.search(text.translate(_LOOKALIKES)))


def _ends_badly(event: Event) -> bool:
    return isinstance(event, ErrorMessage) or event.type == "user_stop"


def _stopped(messages: Sequence[AssistantMessage]) -> Ending:
    """The last message if it is a question, else the newest result, else the last message."""
    last = next(iter(messages), None)
    result = next((message for message in messages if message.delivery_kind == "result"), None)
    chosen = last if last and last.is_question else result or last
    if chosen is None:
        return Ending("", sure=False)
    return Ending(said(chosen), sure=chosen.is_question or chosen is result)


def _waiting(status: StatusUpdate, messages: Sequence[AssistantMessage]) -> Ending | None:
    asking = next((message for message in messages if message.is_question), None)
    if asking and (_is_question(status) or status.waiting_for_event_type is None):
        return Ending(said(asking), sure=True)
    if _is_question(status):
        return Ending(_asked(status, messages), sure=False)
    if status.waiting_for_event_id is None:
        return None  # the task stands in a queue
    text = _("Manus asks for a permission ({action}), and Otvet never gives one.")
    raise Declined(text.format(action=status.waiting_for_event_type))


def _asked(status: StatusUpdate, messages: Sequence[AssistantMessage]) -> str:
    """If Manus marks no message as the question, take the last one, else the status text."""
    last, description = said(messages[0]) if messages else "", status.waiting_description
    if "?" in description and "?" not in last:
        return description
    return last or description


def _is_question(status: StatusUpdate) -> bool:
    return status.agent_status == "waiting" and status.waiting_for_event_type in _ASKS_THE_CLIENT


def _without_manus(line: str, may_name_manus: bool) -> str | None:
    """The line without the sentences that name Manus and without its addresses; None if nothing is left."""
    sentences = _AFTER_SENTENCE.split(line)
    kept = [_without_address(sentence) for sentence in sentences]
    if not may_name_manus:
        kept = ["" if names_manus(sentence) else sentence for sentence in kept]
    if kept == sentences:
        return line
    text = " ".join(filter(None, kept))
    return text if re.search(r"\w", text) else None


def _without_address(sentence: str) -> str:
    kept = _ADDRESS.sub("", sentence)
    if kept == sentence:
        return sentence
    # "See the report:" is useless without its address.
    return kept.rstrip(" :,;—–-") if len(re.findall(r"\w+", kept)) > 3 else ""
