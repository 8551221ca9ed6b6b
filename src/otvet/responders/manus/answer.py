"""Which of a task's events is the reply, and what of it is for the client."""

import re
from collections.abc import Sequence
from itertools import takewhile

from otvet.i18n import _
from otvet.responders.base import ResponderError
from otvet.responders.manus.events import AssistantMessage, ErrorMessage, Event, StatusUpdate
from otvet.responders.markdown import plain_text

# https://open.manus.ai/docs/v2/task-lifecycle has the first; newer clients also know the second (unverified).
_ASKS_THE_CLIENT = {"messageAskUser", "cascadeAskUser"}

_NAME = re.compile(r"\b(?:manus|манус(?:а|у|ом|е)?)\b", re.IGNORECASE)
_ADDRESS = re.compile(
    r"\s?\(?(?<![\w.+-])(?:https?://|[\w.+-]+@)?"
    r"(?:[\w-]+\.){0,3}(?:manus\.(?:im|ai|space)|manuscdn\.com)\b(?:[/?#][^\s)]*)?\)?",
    re.IGNORECASE,
)
_AFTER_SENTENCE = re.compile(r"(?<=[.!?…])\s+")


def status_in(events: Sequence[Event]) -> StatusUpdate | None:
    """The task's state by its events, newest first."""
    return next((event for event in events if isinstance(event, StatusUpdate)), None)


def can_go_on(events: Sequence[Event]) -> bool:
    """Whether a further message would find the task at rest, so that the next answer is the answer to it."""
    status = status_in(events)
    return status is None or status.agent_status == "stopped" or _is_question(status)


def answer_in(events: Sequence[Event]) -> str | None:
    """The reply among what happened since the question, newest first; None while Manus is at work.

    ResponderError when no reply will come. Progress ("I will look it up") is never a reply.
    """
    recent = list(takewhile(lambda event: not _ends_badly(event), events))
    status = status_in(recent)
    state = status.agent_status if status else None
    if state == "error" or (state is None and len(recent) < len(events)):
        raise ResponderError(_("The task in Manus failed or was stopped."))
    messages = [event for event in recent if isinstance(event, AssistantMessage)]
    if status and state == "waiting":
        return _question(status, messages)
    if state != "stopped":
        return None
    chosen = _result(messages)
    if chosen is None:
        raise ResponderError(_("Manus finished without an answer."))
    return said(chosen)


def said(message: AssistantMessage) -> str:
    """The whole of a message: a question ends with what can be chosen."""
    choices = [f"- {option}" for option in message.options if option not in message.text]
    return "\n".join([message.text, *choices])


def for_client(text: str) -> str:
    """What of a reply can be sent: plain text, without Manus's name and addresses. It may be empty."""
    lines = [_without_manus(line) for line in plain_text(text).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line for line in lines if line is not None)).strip()


def _ends_badly(event: Event) -> bool:
    return isinstance(event, ErrorMessage) or event.type == "user_stop"


def _result(messages: Sequence[AssistantMessage]) -> AssistantMessage | None:
    results = [message for message in messages if message.delivery_kind == "result" or message.is_question]
    finished = [message for message in messages if message.delivery_kind != "progress"]
    return next(iter(results + finished), None)


def _question(status: StatusUpdate, messages: Sequence[AssistantMessage]) -> str | None:
    asking = [message for message in messages if message.is_question]
    if _is_question(status) or (asking and status.waiting_for_event_type is None):
        chosen = _result(messages)
        return said(chosen) if chosen else status.waiting_description
    if status.waiting_for_event_id is None:
        return None  # it waits for nobody: the task stands in a queue
    text = _("Manus asks for a permission ({action}), and Otvet never gives one.")
    raise ResponderError(text.format(action=status.waiting_for_event_type))


def _is_question(status: StatusUpdate) -> bool:
    return status.agent_status == "waiting" and status.waiting_for_event_type in _ASKS_THE_CLIENT


def _without_manus(line: str) -> str | None:
    """The line without what is about Manus; None if that was all of it."""
    sentences = _AFTER_SENTENCE.split(line)
    kept = [_without_address(sentence) for sentence in sentences]
    kept = ["" if _NAME.search(sentence) else sentence for sentence in kept]
    if kept == sentences:
        return line
    text = " ".join(filter(None, kept))
    return text if re.search(r"\w", text) else None


def _without_address(sentence: str) -> str:
    kept = _ADDRESS.sub("", sentence)
    if kept == sentence:
        return sentence
    # "See the report:" says nothing without its address.
    return kept.rstrip(" :,;—–-") if len(re.findall(r"\w+", kept)) > 3 else ""
