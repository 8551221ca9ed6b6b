"""The events of a Manus task: parsed leniently and without I/O, the vendor's own event beside the typed one.

Source: https://open.manus.ai/docs/v2/task.listMessages. Clients also meet what that page does not show: times
as strings of milliseconds, content as a list of parts, ``delivery_kind`` and ``question_expectation``; none
of these may be relied on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

_MILLISECONDS_FROM = 1e11  # as seconds this is the year 5138


@dataclass(frozen=True, slots=True)
class Event:
    """Anything that happened in a task; of a type unknown here, only this much is known.

    at: for people only. Several events share a time, so events are told apart by ``id``.
    raw: what Manus sent; it and every text are kept out of ``repr``, and so out of logs.
    """

    id: str
    type: str
    at: datetime | None
    raw: Mapping[str, Any] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class UserMessage(Event):
    """What was sent into the task."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AssistantMessage(Event):
    """What Manus wrote.

    delivery_kind: "result" or "progress" where Manus says so (unverified), else None.
    is_question: Manus expects an answer to it (unverified), perhaps one of ``options``.
    """

    text: str = field(repr=False)
    delivery_kind: str | None
    is_question: bool
    options: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class StatusUpdate(Event):
    """The task's state from here on: running, stopped, waiting or error.

    waiting_for_event_id: None in a waiting task means that it only stands in a queue (unverified).
    """

    agent_status: str
    waiting_for_event_id: str | None
    waiting_for_event_type: str | None
    waiting_description: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ErrorMessage(Event):
    """The task failed; ``error_type`` is Manus's word for how."""

    error_type: str | None
    text: str = field(repr=False)


def parse_event(raw: Mapping[str, Any]) -> Event:
    """One element of ``messages`` as a typed event; never raises, whatever is missing or misshapen."""
    id_, type_, at = str(raw.get("id") or ""), str(raw.get("type") or ""), _time(raw.get("timestamp"))
    body = _mapping(raw.get(type_))
    match type_:
        case "user_message":
            return UserMessage(id_, type_, at, raw, _text(body.get("content")))
        case "assistant_message":
            question = body.get("question_expectation")
            return AssistantMessage(
                id_,
                type_,
                at,
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
                at,
                raw,
                agent_status=str(body.get("agent_status") or ""),
                waiting_for_event_id=_word(detail.get("waiting_for_event_id")),
                waiting_for_event_type=_word(detail.get("waiting_for_event_type")),
                waiting_description=_text(detail.get("waiting_description")),
            )
        case "error_message":
            return ErrorMessage(id_, type_, at, raw, _word(body.get("error_type")), _text(body.get("content")))
        case _:
            return Event(id_, type_, at, raw)


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


def _time(value: object) -> datetime | None:
    try:
        seconds = float(value)  # type: ignore[arg-type] # whatever is not a number is refused below
        return datetime.fromtimestamp(seconds / 1000 if seconds > _MILLISECONDS_FROM else seconds, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _word(value: object) -> str | None:
    return None if value is None or value == "" else str(value)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
