"""amoCRM's OAuth call: exchanges a code or a refresh token for a new pair of tokens. Stores nothing.

Source: https://www.amocrm.ru/developers/content/oauth/step-by-step
"""

import asyncio
from typing import Any

import httpx2

from otvet.amocrm.answers import AmoError, network_error, read_answer
from otvet.amocrm.token import CALL_SECONDS, Keys, Pair, usable
from otvet.errors import SettingsError
from otvet.i18n import N_, _

DEFAULT_LIFE_SECONDS = 86_400

CONSENT_GONE = N_(
    "amoCRM has withdrawn the consent for this integration, or its keys have changed. Give the consent anew with: "
    "otvet connect"
)
CODE_REFUSED = N_(
    "amoCRM does not take the code: it is good for 20 minutes and once. Check the integration's ID and secret key, "
    "and that its redirect address is {redirect_url}; then start otvet connect again."
)


async def exchange_code(http: httpx2.AsyncClient, base_url: str, keys: Keys, code: str) -> Pair:
    """Exchange a consent's code for the first pair; AmoError says what to do."""
    refused = _(CODE_REFUSED).format(redirect_url=keys.redirect_url)
    return await _ask(http, base_url, keys, {"grant_type": "authorization_code", "code": code}, refused)


async def refresh(http: httpx2.AsyncClient, base_url: str, keys: Keys, refresh_token: str) -> Pair:
    """Exchange the refresh token for the next pair. AmoError "unauthorized": a person has to consent again.

    After an error without an answer it is unknown whether the refresh token is used up.
    """
    given = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    return await _ask(http, base_url, keys, given, _(CONSENT_GONE))


async def _ask(http: httpx2.AsyncClient, base_url: str, keys: Keys, given: dict[str, str], refused: str) -> Pair:
    about = {
        "client_id": keys.client_id,
        "client_secret": keys.client_secret,
        "redirect_uri": keys.redirect_url,
        **given,
    }
    try:
        async with asyncio.timeout(CALL_SECONDS):
            answer = await http.post(f"{base_url}/oauth2/access_token", json=about, follow_redirects=False)
    except TimeoutError as error:
        raise network_error("POST", httpx2.ReadTimeout("no answer in time")) from error
    except httpx2.RequestError as error:
        raise network_error("POST", error) from error
    if answer.status_code in (400, 401):
        # amoCRM tells the different mistakes apart in words only.
        raise AmoError(refused, reason="unauthorized", status=answer.status_code)
    return _pair(read_answer("POST", answer.status_code, answer.content, private=repr(about)) or {})


def _pair(data: Any) -> Pair:
    try:
        seconds = int(data.get("expires_in") or DEFAULT_LIFE_SECONDS)
        return Pair(usable(str(data["access_token"])), usable(str(data["refresh_token"])), seconds)
    except (KeyError, TypeError, ValueError, SettingsError):
        detail = _("an answer without tokens")
        raise AmoError(_("amoCRM gave {detail}").format(detail=detail), reason="unavailable") from None
