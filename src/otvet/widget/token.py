"""The token in a Salesbot's request: a JWT that amoCRM signed with the integration's secret key. No I/O.

Source: https://www.amocrm.ru/developers/content/digital_pipeline/salesbot
"""

import base64
import binascii
import hashlib
import hmac
import json
import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

HASHES = {"HS256": hashlib.sha256, "HS512": hashlib.sha512}  # the documented method, and one that was seen live
CLOCKS_DIFFER = timedelta(minutes=1)
LONGEST = 8192  # characters


class NotGenuine(ValueError):
    """amoCRM did not sign the token, or it is not valid now; the message says why and quotes nothing."""


def claims(token: str, secret: str, now: datetime) -> Mapping[str, Any]:
    """The claims of a genuine token. Raises NotGenuine."""
    head, _dot, signature = token[: LONGEST + 1].rpartition(".")
    header_part, dot, payload_part = head.partition(".")
    if not dot or len(token) > LONGEST:
        raise NotGenuine("no token")
    header, payload = _object(header_part), _object(payload_part)
    hashed = HASHES.get(str(header.get("alg")))  # never "none", and no other method that the token names
    if hashed is None:
        raise NotGenuine("signed by another method than HS256 or HS512")
    expected = hmac.digest(secret.encode(), head.encode(), hashed)
    if not hmac.compare_digest(expected, _bytes(signature)):
        raise NotGenuine("a wrong signature")
    moment = now.timestamp()
    leeway = CLOCKS_DIFFER.total_seconds()
    if _seconds(payload, "exp") < moment - leeway:
        raise NotGenuine("a token that has ended")
    if "nbf" in payload and _seconds(payload, "nbf") > moment + leeway:
        raise NotGenuine("a token that has not begun")
    return payload


def _seconds(payload: Mapping[str, Any], name: str) -> float:
    try:
        seconds = float(payload[name])
    except (KeyError, TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not math.isfinite(seconds):  # a token that never ends is not accepted
        raise NotGenuine(f"a token whose {name} is no time")
    return seconds


def _object(part: str) -> Mapping[str, Any]:
    try:
        found = json.loads(_bytes(part))
    except (ValueError, RecursionError):
        raise NotGenuine("no token") from None
    if not isinstance(found, dict):
        raise NotGenuine("no token")
    return found


def _bytes(part: str) -> bytes:
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise NotGenuine("no token") from None
