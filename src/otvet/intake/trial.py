"""A trial delivery: shows that a public address leads to this installation's webhook. Nothing of it is stored.

It is a form as amoCRM's are, so whatever would stand in their way stands in its way too. The answer is signed with the
webhook's secret over a nonce: a page that answers 200 to everything is not taken for Otvet.
"""

import hashlib
import hmac
import re
from urllib.parse import urlencode

FIELD = "otvet_trial"
_BODY = re.compile(rb"otvet_trial=([A-Za-z0-9_-]{16,64})")


def body(nonce: str) -> bytes:
    """What is posted to the webhook's address."""
    return urlencode({FIELD: nonce}).encode()


def nonce_in(content: bytes) -> str | None:
    """The nonce, if this is a trial delivery; None for whatever else is posted."""
    found = _BODY.fullmatch(content)
    return found[1].decode() if found else None


def signature(secret: str, nonce: str) -> str:
    """What only who has the webhook's secret can answer."""
    return hmac.new(secret.encode(), f"otvet trial {nonce}".encode(), hashlib.sha256).hexdigest()
