"""A webhook's body, as text, to nested mappings: PHP's bracket form, and JSON as a courtesy. No I/O."""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import count
from typing import Any
from urllib.parse import unquote_plus, urlencode

MOST_FIELDS = 50_000
DEEPEST = 16
LONGEST_REMEMBERED = 200


class Unreadable(ValueError):
    """The body is not what amoCRM sends; the message says why."""


def parse(body: bytes) -> Mapping[str, Any]:
    """``message[add][0][text]=hi`` becomes {"message": {"add": {"0": {"text": "hi"}}}}; values are strings.

    The content type is not asked: relays set it wrongly. Lists of a JSON body become mappings by index, so that both
    forms read alike. What no database can hold (NUL, lone surrogates) is replaced.
    """
    text = body.decode("utf-8-sig", errors="replace").replace("\x00", "\ufffd").strip()
    if text.startswith(("{", "[")):
        return _parse_json(text)
    fields = text.split("&", MOST_FIELDS)
    if len(fields) > MOST_FIELDS:
        raise Unreadable(f"more than {MOST_FIELDS} fields")
    root: dict[str, Any] = {}
    for field in fields:
        key, _equals, value = field.partition("=")
        if key:
            path = _remembered_path(key) if len(key) <= LONGEST_REMEMBERED else _path(key)
            _put(root, path, _decoded(value))
    return root


def _decoded(text: str) -> str:
    if "%" not in text and "+" not in text:
        return text
    return unquote_plus(text, errors="replace").replace("\x00", "\ufffd")


def _path(encoded_key: str) -> tuple[str, ...]:
    key = _decoded(encoded_key)
    head, bracket, rest = key.partition("[")
    if not bracket or not rest.endswith("]"):
        return (key,)
    return (head, *rest[:-1].split("][", DEEPEST))


# The same few keys come with every delivery: decoding them is most of the work.
_remembered_path = lru_cache(maxsize=8192)(_path)


def _put(root: dict[str, Any], path: tuple[str, ...], value: str) -> None:
    node = root
    for part in path[:-1]:
        child = node.get(part)
        if not isinstance(child, dict):  # a scalar in the way of an object gives way: messages are objects
            child = node[part] = {}
        node = child
    last = path[-1] or str(len(node))  # PHP's "a[]=1&a[]=2"
    if not isinstance(node.get(last), dict):
        node[last] = value


def _parse_json(text: str) -> Mapping[str, Any]:
    try:
        read = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"not JSON: {type(error).__name__}") from error
    value = _plain(read, DEEPEST, count())
    if not isinstance(value, dict):
        raise Unreadable("the body is neither a form nor a JSON object")
    return value


def _plain(value: Any, depth: int, fields: Iterator[int]) -> Any:
    """Text and mappings of it, as a form would give them; ``fields`` counts the values, and what holds them."""
    if depth < 0:
        raise Unreadable("nested too deeply")
    if next(fields) > MOST_FIELDS:
        raise Unreadable(f"more than {MOST_FIELDS} fields")
    if isinstance(value, list):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        return {_storable(str(key)): _plain(item, depth - 1, fields) for key, item in value.items()}
    if isinstance(value, bool):
        return "1" if value else "0"
    return "" if value is None else _storable(str(value))


def _storable(text: str) -> str:
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def build(data: Mapping[str, Any]) -> bytes:
    """The inverse of ``parse``: a body as amoCRM posts it, brackets and all percent-encoded. Lists count from 0."""
    return urlencode(list(_flat("", data))).encode()


def _flat(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        value = dict(enumerate(value))
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _flat(f"{key}[{name}]" if key else str(name), item)
    else:
        yield key, value
