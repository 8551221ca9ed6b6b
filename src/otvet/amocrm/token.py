"""Where a token comes from and when it ends. No I/O: what keeps OAuth's pairs is ``otvet.account.tokens``."""

import base64
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from otvet.errors import SettingsError
from otvet.i18n import _

CALL_SECONDS = 20.0
"""For all of a call for tokens; another process takes over after twice as long."""


class TokenSource(Protocol):
    """Gives the token of each call. Every method raises AmoError where only a person can bring a new one."""

    async def prepare(self) -> None:
        """Before a call takes its place: see to it that the token will be good then. May take as long as a call."""
        ...

    async def token(self) -> str:
        """The token to send now, without a call."""
        ...

    async def renew(self, refused: str) -> bool:
        """amoCRM answered 401 to this token; True if there is another one by now."""
        ...


@dataclass(frozen=True, slots=True)
class Keys:
    """An integration of one's own: ``redirect_url`` must stand in its settings letter by letter."""

    client_id: str
    client_secret: str = field(repr=False)
    redirect_url: str


@dataclass(frozen=True, slots=True)
class Pair:
    """What amoCRM gave: ``seconds`` is how long ``access`` lives. ``refresh`` can be used once, within three months."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    seconds: int


class FixedToken:
    """A long-lived token: it can be replaced by a person only."""

    def __init__(self, token: str) -> None:
        self._token = usable(token)

    async def prepare(self) -> None:
        """Nothing to do."""

    async def token(self) -> str:
        return self._token

    async def renew(self, refused: str) -> bool:
        return False


def usable(token: str) -> str:
    """The token as it is; SettingsError if no header can bear it."""
    if not re.fullmatch(r"[!-~]+", token):
        # An HTTP library would name the whole header in its complaint, and that ends in the log.
        raise SettingsError(_("OTVET_AMOCRM_TOKEN has a character that no token has; copy it again."))
    return token


def ends_at(token: str) -> datetime | None:
    """When a token says that it ends: the claim ``exp`` of a JWT. The signature is amoCRM's to check, not ours.

    None for what is no JWT, or says nothing of it.
    """
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return datetime.fromtimestamp(int(claims["exp"]), UTC)
    except (ValueError, TypeError, KeyError, OverflowError, OSError, RecursionError):
        return None
