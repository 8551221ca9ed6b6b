"""Tokens: the source of each call's token, and when a token expires. No I/O; ``account.tokens`` stores the pairs."""

import base64
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from otvet.errors import SettingsError
from otvet.i18n import _

DATA_SCOPE = "crm"
"""The scope of deals and contacts. https://www.amocrm.ru/developers/content/oauth/scopes"""
CALL_SECONDS = 20.0
"""The time limit of a call for tokens; another process may take over after twice this time."""


class TokenSource(Protocol):
    """Gives the token of each call. Every method raises AmoError if only a person can bring a new token."""

    async def prepare(self) -> None:
        """Make sure that the token will be valid for the next call; renewing it takes a call of its own."""
        ...

    async def token(self) -> str:
        """The present token; makes no call."""
        ...

    async def renew(self, refused: str) -> bool:
        """Get another token, after amoCRM answered 401 to ``refused``; True if there is one."""
        ...


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of the company's own integration; ``redirect_url`` must equal the address in its settings."""

    client_id: str
    client_secret: str = field(repr=False)
    redirect_url: str


@dataclass(frozen=True, slots=True)
class Pair:
    """A pair of tokens. ``access`` lives for ``seconds``; ``refresh`` can be used once, within three months."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    seconds: int


class FixedToken:
    """The source of a long-lived token, which only a person can replace."""

    def __init__(self, token: str) -> None:
        self._token = usable(token)

    async def prepare(self) -> None:
        """Nothing to do."""

    async def token(self) -> str:
        return self._token

    async def renew(self, refused: str) -> bool:
        return False


def usable(token: str) -> str:
    """The token unchanged; SettingsError if no HTTP header can hold it."""
    if not re.fullmatch(r"[!-~]+", token):
        # The HTTP library's error would quote the whole header, and would be logged.
        raise SettingsError(_("OTVET_AMOCRM_TOKEN has a character that no token has; copy it again."))
    return token


def ends_at(token: str) -> datetime | None:
    """When a token expires: the claim ``exp`` of a JWT, unverified; None if there is no such claim."""
    try:
        return datetime.fromtimestamp(int(_claims(token)["exp"]), UTC)
    except (ValueError, TypeError, KeyError, OverflowError, OSError):
        return None


def lacks_deals(token: str) -> bool:
    """Whether the token's claim ``scopes``, unverified, leaves out the account's data; False if there is none."""
    scopes = _claims(token).get("scopes")
    return isinstance(scopes, list) and DATA_SCOPE not in scopes


def _claims(token: str) -> dict[str, Any]:
    """What a JWT says; empty for another token."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}
