"""The events of a Manus task: parsed leniently and without I/O, Manus's own event beside the typed one.

Source: https://open.manus.ai/docs/v2/task.listMessages. Real answers also have fields that this page does not show:
content as a list of parts, ``delivery_kind`` and ``question_expectation``. None of them is always there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a task; this class itself stands for every type that is not parsed further.

    id: tells events apart; their times do not, because several events share one.
    raw: the event as Manus sent it. It and every text are left out of ``repr``, and so out of logs.
    """

    id: str
    type: str
    raw: Mapping[str, Any] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class UserMessage(Event):
    """A message that was sent into the task."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AssistantMessage(Event):
    """A message that Manus wrote.

    delivery_kind: "result" or "progress" (unverified); None if Manus does not say.
    is_question: Manus expects an answer (unverified), perhaps one of ``options``.
    """

    text: str = field(repr=False)
    delivery_kind: str | None
    is_question: bool
    options: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class StatusUpdate(Event):
    """The task changed its state to running, stopped, waiting or error.

    waiting_for_event_id: None in a waiting task means that the task stands in a queue (unverified).
    """

    agent_status: str
    waiting_for_event_id: str | None
    waiting_for_event_type: str | None
    waiting_description: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ErrorMessage(Event):
    """The task failed; ``error_type`` is Manus's word for the reason."""

    error_type: str | None


def parse_event(raw: Mapping[str, Any]) -> Event:
    """One element of ``messages`` as a typed event; never raises, even if fields are missing or of a wrong type."""
    id_, type_ = str(raw.get("id") or ""), str(raw.get("type") or "")
    body = _mapping(raw.get(type_))
    match type_:
        case "user_message":
            return UserMessage(id_, type_, raw, _text(body.get("content")))
        case "assistant_message":
            question = body.get("question_expectation")
            return AssistantMessage(
                id_,
                type_,
                raw,
                text=_text(body.get("content")),
                delivery_kind=_word(body.get("delivery_kind")),
                is_question=bool(question),
                options=_options(_mapping(question).get("options")),
            )
        case "status_update":
            detail = _mapping(body.get("status_detail"))
            return StatusUpdate(
                id_,
                type_,
                raw,
                agent_status=str(body.get("agent_status") or ""),
                waiting_for_event_id=_word(detail.get("waiting_for_event_id")),
                waiting_for_event_type=_word(detail.get("waiting_for_event_type")),
                waiting_description=_text(detail.get("waiting_description")),
            )
        case "error_message":
            return ErrorMessage(id_, type_, raw, _word(body.get("error_type")))
        case _:
            return Event(id_, type_, raw)


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        return _text(content.get("text"))
    if isinstance(content, list):
        return "\n".join(filter(None, map(_text, content)))
    return ""


def _options(options: object) -> tuple[str, ...]:
    return tuple(filter(None, map(_text, options))) if isinstance(options, list) else ()


def _word(value: object) -> str | None:
    return None if value is None or value == "" else str(value)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
