"""A Salesbot at its step widget_request: what it posts, and the token that amoCRM signs for it.

Source: https://www.amocrm.ru/developers/content/digital_pipeline/salesbot
"""

import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlencode

from tests.standins.amocrm import ACCOUNT_ID

CLIENT_SECRET = "client-secret-of-the-tests"


def token(secret: str = CLIENT_SECRET, alg: str = "HS256", **claims: Any) -> str:
    """A JWT as amoCRM makes it."""
    told = {
        "iss": "http://127.0.0.1",
        "account_id": ACCOUNT_ID,
        "subdomain": "example",
        "entity_type": "lead",
        **claims,
    }
    head = f"{_part({'typ': 'JWT', 'alg': alg})}.{_part(told)}"
    hashed = {"HS512": hashlib.sha512, "HS256": hashlib.sha256}.get(alg)
    signature = hmac.digest(secret.encode(), head.encode(), hashed) if hashed else b""
    return f"{head}.{_encoded(signature)}"


def request(return_url: str, message: str, signed: str, *, form: bool = False, **data: Any) -> bytes:
    """The body, as JSON or as a form."""
    said = {"message": message, "from": "widget", **data}
    if not form:
        return json.dumps({"token": signed, "data": said, "return_url": return_url}).encode()
    fields = {"token": signed, "return_url": return_url} | {f"data[{name}]": value for name, value in said.items()}
    return urlencode(fields).encode()


def _part(value: Any) -> str:
    return _encoded(json.dumps(value).encode())


def _encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
