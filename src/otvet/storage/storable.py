"""Brings what an outside service said into a form that every database takes. No I/O."""

import math
from collections.abc import Mapping
from typing import Any

LARGEST = 2**31 - 1


def storable_text(text: str) -> str:
    """The text without lone surrogates and NUL, which cannot be stored."""
    return text.encode("utf-8", "ignore").decode("utf-8").replace("\x00", "")


def storable_number(value: int) -> int:
    """The number of a cost or a count, between 0 and LARGEST."""
    return max(0, min(value, LARGEST))


def storable(value: Any) -> Any:
    """A value of JSON with storable texts and numbers, whatever it consists of."""
    match value:
        case str():
            return storable_text(value)
        case bool() | None:
            return value
        case int():
            return max(-LARGEST, min(value, LARGEST))
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {storable_text(str(key)): storable(part) for key, part in value.items()}
        case list() | tuple() | set() | frozenset():
            return [storable(part) for part in value]
        case _:
            return storable_text(str(value))
