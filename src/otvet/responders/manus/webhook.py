"""Manus's webhooks: how they are registered, whose they are, and which task one is about.

Sources: https://open.manus.ai/docs/v2/webhooks-overview and https://open.manus.ai/docs/v2/webhooks-security.
"""

import asyncio
import base64
import binascii
import hashlib
import json

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from otvet.clock import Clock
from otvet.i18n import _
from otvet.responders.manus.api import ManusApi, ManusError
from otvet.responders.manus.project import Kept

WINDOW_SECONDS = 300
KEY_SECONDS = 60.0
"""The key is not fetched again before it is so old: anyone may send what no key fits."""

LONGEST_SIGNATURE = 2048
LONGEST_TASK_ID = 100


def is_signed(key: RSAPublicKey, url: str, body: bytes, signature: str, timestamp: str) -> bool:
    """Whether the holder of the key signed this body for this address at that time.

    Manus's documentation signs ``timestamp.url.sha256(body)`` in its text and in the Go example, and the SHA-256 of
    that in its Python and Node examples. Which of them is sent is unverified, so both are taken.
    """
    signed = f"{timestamp}.{url}.{hashlib.sha256(body).hexdigest()}".encode()
    try:
        given = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return False
    return _fits(key, given, signed) or _fits(key, given, hashlib.sha256(signed).digest())


def is_fresh(timestamp: str, now: float) -> bool:
    """Whether that many seconds since 1970 are less than five minutes from ``now``; what was recorded is older."""
    return timestamp.isascii() and timestamp.isdigit() and abs(now - int(timestamp[:20])) <= WINDOW_SECONDS


def stopped_task(body: bytes) -> str | None:
    """The task that a delivery says has stopped; None if it says something else, or nothing that is understood."""
    try:
        event = json.loads(body)
        if event["event_type"] != "task_stopped":
            return None
        task = event["task_detail"]["task_id"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return task if isinstance(task, str) and 0 < len(task) <= LONGEST_TASK_ID else None


class Signatures:
    """Tells Manus's own deliveries to ``url`` from anyone else's. The public key is fetched once and kept."""

    def __init__(self, api: ManusApi, clock: Clock, url: str) -> None:
        self._api = api
        self._clock = clock
        self._url = url
        self._key: RSAPublicKey | None = None
        self._fetched_at = float("-inf")
        self._one_at_a_time = asyncio.Lock()

    async def prepare(self) -> None:
        """Fetch the key before it is needed. ManusError."""
        await self._fetch()

    async def are_genuine(self, body: bytes, signature: str, timestamp: str) -> bool:
        """Whether a delivery is of Manus and fresh. ManusError if there is no key to tell by."""
        if len(signature) > LONGEST_SIGNATURE or not is_fresh(timestamp, self._clock.now().timestamp()):
            return False
        key = self._key or await self._fetch()
        if is_signed(key, self._url, body, signature, timestamp):
            return True
        # Manus may have changed its key.
        newer = await self._fetch()
        return newer is not key and is_signed(newer, self._url, body, signature, timestamp)

    async def _fetch(self) -> RSAPublicKey:
        async with self._one_at_a_time:
            if self._clock.monotonic() - self._fetched_at >= KEY_SECONDS:
                self._fetched_at = self._clock.monotonic()
                self._key = _load(await self._api.public_key())
            if self._key is None:
                raise ManusError(_("Manus's public key could not be fetched."))
            return self._key


async def register(api: ManusApi, url: str, kept: Kept) -> None:
    """Have Manus call ``url``, once; an address that this installation had before is withdrawn. ManusError.

    A webhook that is switched off is made anew: no call of Manus's switches one on.
    """
    there = await api.list_webhooks()
    here = [hook for hook in there if hook.url == url]
    if any(hook.active for hook in here):
        return
    for hook in here:
        await api.delete_webhook(hook.id)
    name = f"manus_webhook.{api.account}"
    made = await api.create_webhook(url)
    before = await kept.recall(name)
    await kept.keep(name, made.id)
    for hook in there:
        if hook.id == before and hook not in here:
            await api.delete_webhook(hook.id)


def _load(pem: str) -> RSAPublicKey:
    try:
        key = load_pem_public_key(pem.encode())
    except ValueError:
        key = None
    if not isinstance(key, RSAPublicKey):
        raise ManusError(_("Manus's public key is not of a kind known here."), permanent=True)
    return key


def _fits(key: RSAPublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        key.verify(signature, signed, PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True
