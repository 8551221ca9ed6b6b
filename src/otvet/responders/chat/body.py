"""Reads the body of a model's service: JSON, and what servers make of it that stream though nobody asked. No I/O."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_DONE = "[DONE]"
_JSON = json.JSONDecoder()


def read_body(content: bytes) -> object:
    """The JSON of a body; the pieces of a stream become one completion. ValueError if it is neither."""
    text = content.decode("utf-8-sig").strip()
    if text.startswith(("data:", "event:", ":", "id:")):
        return _joined(_events(text))
    told, end = _JSON.raw_decode(text)
    rest = text[end:].replace(_DONE, "").replace("data:", "").strip()
    if rest:
        raise ValueError("something stands behind the JSON")
    return told


def _events(text: str) -> Iterator[Mapping[str, Any]]:
    for line in text.splitlines():
        data = line.partition("data:")[2].strip() if line.startswith("data:") else ""
        while data and not data.startswith(_DONE):  # some servers glue several into one line
            event, end = _JSON.raw_decode(data)
            if isinstance(event, dict):
                yield event
            data = data[end:].removeprefix("data:").strip()


def _joined(events: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One completion from the pieces of a stream."""
    whole: dict[str, Any] = {}
    message: dict[str, Any] = {"role": "assistant", "content": ""}
    finish = None
    for event in events:
        whole |= {name: event[name] for name in ("model", "usage", "error") if event.get(name)}
        choices = event.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None
        if choice is None:
            continue
        whole["choices"] = []
        finish = choice.get("finish_reason") or finish
        piece = choice.get("delta") or choice.get("message")
        for name, value in piece.items() if isinstance(piece, dict) else ():
            message[name] = (message.get(name) or "") + value if isinstance(value, str) and name != "role" else value
        message["content"] = message.get("content") or ""
    if not whole:
        raise ValueError("the stream holds nothing")
    if "choices" in whole and "error" not in whole:
        whole["choices"] = [{"message": message, "finish_reason": finish}]
    return whole
