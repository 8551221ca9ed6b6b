"""Parses a webhook's body into nested mappings: a form with PHP's brackets, or JSON. No I/O."""

import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import count
from typing import Any
from urllib.parse import urlencode

MOST_FIELDS = 50_000
DEEPEST = 16
LONGEST_REMEMBERED = 200

Path = tuple[str, ...]
_ENCODED = re.compile("(?:%[0-9A-Fa-f]{2})+")  # a whole run, because a letter may take several bytes


class Unreadable(ValueError):
    """The body does not have amoCRM's form; the message says why."""


def parse(body: bytes) -> Mapping[str, Any]:
    """``message[add][0][text]=hi`` becomes {"message": {"add": {"0": {"text": "hi"}}}}; values are strings.

    The content type is ignored, because relays set it wrongly. Lists of a JSON body become mappings by index, so that
    both forms read alike. Characters that no database can hold (NUL, lone surrogates) are replaced.
    """
    text = body.removeprefix(BOM_UTF8).decode(errors="replace").replace("\x00", "\ufffd").strip()
    if text.startswith(("{", "[")):
        return _parse_json(text)
    fields = text.split("&", MOST_FIELDS)
    if len(fields) > MOST_FIELDS:
        raise Unreadable(f"more than {MOST_FIELDS} fields")
    root: dict[str, Any] = {}
    holders: dict[Path, dict[str, Any]] = {(): root}
    for field in fields:
        key, _equals, value = field.partition("=")
        if key:
            holder, name = _remembered_place(key) if len(key) <= LONGEST_REMEMBERED else _place(key)
            node = holders.get(holder)
            if node is None:
                node = holders[holder] = _object_at(root, holder)
            name = name or str(len(node))  # PHP's "a[]=1&a[]=2"
            if not isinstance(node.get(name), dict):
                node[name] = _decoded(value) if "%" in value or "+" in value else value
    return root


def _decoded(text: str) -> str:
    """A percent-decoded key or value. Bytes that are no UTF-8 are replaced; a stray % stays."""
    if "%" not in text:
        return text.replace("+", " ")
    return _ENCODED.sub(_decoded_run, text.replace("+", "%20")).replace("\x00", "\ufffd")


def _decoded_run(run: re.Match[str]) -> str:
    return bytes.fromhex(run[0].replace("%", "")).decode("utf-8", "replace")


def _place(encoded_key: str) -> tuple[Path, str]:
    """The path of the object that holds a field, and the field's name in it ("" for the next free index)."""
    key = _decoded(encoded_key)
    head, bracket, rest = key.partition("[")
    if not bracket or not rest.endswith("]"):
        return (), key
    *between, name = rest[:-1].split("][", DEEPEST)
    return (head, *between), name


# Every delivery has the same few keys, and decoding them is most of the work.
_remembered_place = lru_cache(maxsize=8192)(_place)


def _object_at(root: dict[str, Any], path: Path) -> dict[str, Any]:
    node = root
    for part in path:
        child = node.get(part)
        if not isinstance(child, dict):  # an object replaces a scalar under its name: messages are objects
            child = node[part] = {}
        node = child
    return node


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
    """A JSON value as nested mappings of strings, as a form gives them; ``fields`` counts values and containers."""
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
    """The inverse of ``parse``: a body as amoCRM posts it, percent-encoded. The indices of lists begin with 0."""
    return urlencode(list(_flat("", data))).encode()


def _flat(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        value = dict(enumerate(value))
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _flat(f"{key}[{name}]" if key else str(name), item)
    else:
        yield key, value
