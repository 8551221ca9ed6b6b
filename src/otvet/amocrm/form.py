"""Parses a webhook's body into nested mappings: a form with PHP's brackets, or JSON. No I/O."""

import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import count
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

from otvet.amocrm.encoding import in_utf8

MOST_FIELDS = 50_000
DEEPEST = 16
LONGEST_REMEMBERED = 200
LONGEST_INDEX = 10

Path = tuple[str, ...]
_ENCODED = re.compile("(?:%[0-9A-Fa-f]{2})+")  # a whole run, because a letter may take several bytes


class Unreadable(ValueError):
    """The body does not have amoCRM's form; the message says why."""


def parse(body: bytes) -> Mapping[str, Any]:
    """``message[add][0][text]=hi`` becomes {"message": {"add": {"0": {"text": "hi"}}}}; values are strings.

    The content type is ignored, because relays set it wrongly. Lists of a JSON body become mappings by index, so that
    both forms read alike. Characters that no database can hold (NUL, lone surrogates) are replaced, and so are bytes
    that belong to no character.
    """
    return parse_all(body)[0]


def parse_all(body: bytes) -> tuple[Mapping[str, Any], Sequence[str]]:
    """As ``parse``, with the names of fields that came with two different values: the last one is in the result."""
    try:
        return _parse(body)
    except UnicodeDecodeError:
        return _parse(in_utf8(body))


def _parse(body: bytes) -> tuple[Mapping[str, Any], Sequence[str]]:
    text = body.removeprefix(BOM_UTF8).decode().replace("\x00", "\ufffd").strip()
    if text.startswith(("{", "[", '"')):
        return _parse_json(text)
    if text.startswith(("%7B", "%7b")) and "=" not in text[:-1]:  # JSON as the only key of a form
        with suppress(Unreadable):
            return _parse_json(_decoded(text.removesuffix("=")))
    fields = text.split("&", MOST_FIELDS)
    if len(fields) > MOST_FIELDS:
        raise Unreadable(f"more than {MOST_FIELDS} fields")
    root: dict[str, Any] = {}
    holders: dict[Path, dict[str, Any]] = {(): root}
    twice: list[str] = []
    for field in fields:
        key, _equals, value = field.partition("=")
        if key:
            holder, name = _remembered_place(key) if len(key) <= LONGEST_REMEMBERED else _place(key)
            node = holders.get(holder)
            if node is None:
                if "" in holder:
                    node = _object_at(root, _counted(root, holder, name))
                else:
                    node = holders[holder] = _object_at(root, holder, twice)
            name = name or _next_index(node)
            value = _decoded(value) if "%" in value or "+" in value else value
            before = node.get(name)
            if before is None:
                node[name] = value
            elif before != value:
                twice.append(name)
                if not isinstance(before, dict):
                    node[name] = value
    return root, twice


def _decoded(text: str) -> str:
    """A percent-decoded key or value; a stray % stays. Raises UnicodeDecodeError for bytes that are no UTF-8."""
    if "%" not in text:
        return text.replace("+", " ")
    return _ENCODED.sub(_decoded_run, text.replace("+", "%20")).replace("\x00", "\ufffd")


def _decoded_run(run: re.Match[str]) -> str:
    return bytes.fromhex(run[0].replace("%", "")).decode()


def _place(encoded_key: str) -> tuple[Path, str]:
    """The path of the object that holds a field, and the field's name in it; "" stands for the next free index."""
    key = _decoded(encoded_key)
    head, bracket, rest = key.partition("[")
    if not bracket or not rest.endswith("]"):
        return (), key
    *between, name = rest[:-1].split("][", DEEPEST)
    return (head, *between), name


# Every delivery has the same few keys, and decoding them is most of the work.
_remembered_place = lru_cache(maxsize=8192)(_place)


def _counted(root: dict[str, Any], path: Path, name: str) -> Path:
    """The path with an index for each "": the list's last one, or a new one if the field is there already."""
    counted: list[str] = []
    for at, part in enumerate(path):
        if not part:
            listed = _found(root, counted)
            last = str(int(_next_index(listed)) - 1)
            within = (*filter(None, path[at + 1 :]), *filter(None, [name]))
            new = last not in listed or (within and _found(listed, (last, *within), None) is not None)
            part = _next_index(listed) if new else last
        counted.append(part)
    return tuple(counted)


def _found(node: Any, path: Sequence[str], otherwise: Any = MappingProxyType({})) -> Any:
    for part in path:
        if not isinstance(node, dict) or part not in node:
            return otherwise
        node = node[part]
    return node


def _next_index(node: Mapping[str, Any]) -> str:
    """The index that PHP gives an element without one: one more than the largest."""
    taken = (int(name) for name in node if name.isascii() and name.isdigit() and len(name) < LONGEST_INDEX)
    return str(max(taken, default=-1) + 1)


def _object_at(root: dict[str, Any], path: Path, twice: list[str] | None = None) -> dict[str, Any]:
    node = root
    for part in path:
        child = node.get(part)
        if not isinstance(child, dict):  # an object replaces a scalar under its name: messages are objects
            if child is not None and twice is not None:
                twice.append(part)
            child = node[part] = {}
        node = child
    return node


def _parse_json(text: str) -> tuple[Mapping[str, Any], Sequence[str]]:
    twice: list[str] = []
    value = _plain(_loaded(text, twice), DEEPEST, count())
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):  # encoded twice
        value = _plain(_loaded(value, twice), DEEPEST, count())
    if not isinstance(value, dict):
        raise Unreadable("the body is neither a form nor a JSON object")
    return value, twice


def _loaded(text: str, twice: list[str]) -> Any:
    def as_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            seen: dict[str, Any] = {}
            twice.extend(name for name, value in pairs if seen.setdefault(name, value) != value)
        return made

    try:
        return json.loads(text, object_pairs_hook=as_object)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"not JSON: {type(error).__name__}") from error


def unpacked(value: Any) -> Any:
    """The object in a text that is JSON, as ``parse`` gives it; else the value. Some relays pack an object twice."""
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        with suppress(Unreadable):
            return _parse_json(value.strip())[0]
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
