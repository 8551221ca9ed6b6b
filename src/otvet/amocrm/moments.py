"""The times of messages, as amoCRM and the relays before it write them. No I/O."""

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)  # a message has no moment before it ...
AHEAD = timedelta(days=1)  # ... and none that is further in the future
CLOCKS_DIFFER = timedelta(minutes=5)
STEP = timedelta(minutes=30)  # by which nearly all time zones differ

_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))  # nano-, micro- and milliseconds, each from this number on
_DOTTED = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})[,T\s]\s*(\d{1,2})(:.+)")
_ZONE = re.compile(r"(?<=:\d\d)(\.\d+)? ?(?: (?=\d\d:?\d\d$)|\+|(UTC|GMT)$)")  # a space is a form's unescaped plus


def moment(value: Any, now: datetime) -> datetime | None:
    """The moment of Unix seconds (or milliseconds), ISO 8601, ``05.01.2026 10:00`` or an e-mail's date.

    None if it is none, or if no message can have it.
    """
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        found = _written(value.strip(), now) if isinstance(value, str) else None
    else:
        found = _of_seconds(seconds)
    return found if found is not None and EARLIEST < found < now + AHEAD else None


def _of_seconds(seconds: float) -> datetime | None:
    seconds /= next((unit for least, unit in _UNITS if seconds > least), 1)
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _written(text: str, now: datetime) -> datetime | None:
    found = _parsed(text)
    with suppress(OverflowError):
        return None if found is None else found.astimezone(UTC) if found.tzinfo else _without_zone(found, now)
    return None


def _parsed(text: str) -> datetime | None:
    if dotted := _DOTTED.fullmatch(text):
        day, month, year, hour, rest = dotted.groups()
        text = f"{year}-{month:0>2}-{day:0>2}T{hour:0>2}{rest}"
    with suppress(ValueError):
        if ":" in text:  # a day alone is no moment
            return datetime.fromisoformat(_ZONE.sub(lambda zone: f"{zone[1] or ''}+{'00:00' if zone[2] else ''}", text))
    with suppress(ValueError, TypeError, IndexError):
        return parsedate_to_datetime(text)
    return None


def _without_zone(written: datetime, now: datetime) -> datetime:
    """UTC, or the next zone to the east in which the message is not of the future: amoCRM reports it soon after."""
    moment = written.replace(tzinfo=UTC)
    if moment <= now + CLOCKS_DIFFER:
        return moment
    return moment - -(-(moment - now - CLOCKS_DIFFER) // STEP) * STEP if moment < now + AHEAD else moment
