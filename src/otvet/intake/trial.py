"""A trial delivery: shows that a public address leads to this installation's webhook. Nothing of it is stored.

It is a form like amoCRM's, so an obstacle to amoCRM's deliveries stops it too. The answer is a signature over a nonce,
made with the webhook's secret: a page that answers 200 to everything is not taken for Otvet.
"""

import hashlib
import hmac
import re
from urllib.parse import urlencode

FIELD = "otvet_trial"
_BODY = re.compile(rb"otvet_trial=([A-Za-z0-9_-]{16,64})")


def body(nonce: str) -> bytes:
    """The body to post to the webhook's address."""
    return urlencode({FIELD: nonce}).encode()


def nonce_in(content: bytes) -> str | None:
    """The nonce of a trial delivery; None for any other body."""
    found = _BODY.fullmatch(content)
    return found[1].decode() if found else None


def signature(secret: str, nonce: str) -> str:
    """The answer to a trial delivery. Making it takes the webhook's secret."""
    return hmac.new(secret.encode(), f"otvet trial {nonce}".encode(), hashlib.sha256).hexdigest()
