"""The amoCRM account put together: where its token comes from, and the client behind the limit and the outage."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import httpx2

from otvet.account import consents
from otvet.account.renewal import Tokens
from otvet.account.vault import Vault, key_in
from otvet.amocrm.client import AmoClient
from otvet.amocrm.token import FixedToken, Keys, TokenSource
from otvet.clock import Clock
from otvet.settings.settings import Settings
from otvet.storage import outages
from otvet.storage.database import Database
from otvet.storage.rate_limits import SharedLimit


def vault_of(settings: Settings) -> Vault:
    """The vault that encrypts the secrets in the database; SettingsError if its key file cannot be used."""
    if settings.secret_key:
        return Vault(settings.secret_key.get_secret_value())
    return Vault(key_in(settings.key_file))


def keys_of(settings: Settings) -> Keys | None:
    """The keys of the company's own integration, if they are set."""
    if settings.amocrm_client_id is None or settings.amocrm_client_secret is None:
        return None
    secret = settings.amocrm_client_secret.get_secret_value()
    return Keys(settings.amocrm_client_id, secret, redirect_url(settings.public_url or ""))


def redirect_url(public_url: str) -> str:
    """The address that must stand in the integration's settings."""
    return f"{public_url}{consents.PATH}"


def token_source(settings: Settings, clock: Clock, http: httpx2.AsyncClient, database: Database) -> TokenSource | None:
    """The long-lived token if one is set, else the tokens of the consent; None if amoCRM is not connected."""
    if settings.amocrm_base_url is None:
        return None
    if settings.amocrm_token is not None:
        return FixedToken(settings.amocrm_token.get_secret_value())
    keys = keys_of(settings)
    if keys is None:
        return None
    vault, calls = vault_of(settings), limit(settings, clock, database)
    return Tokens(database, clock, http, vault, settings.amocrm_base_url, keys, calls)


RENEWED_WITHIN_SECONDS = 20.0
"""How long an interrupted command waits for a renewal in flight."""


@asynccontextmanager
async def tokens(
    settings: Settings, clock: Clock, http: httpx2.AsyncClient, database: Database
) -> AsyncIterator[TokenSource | None]:
    """Like token_source(), for a command: on exit, also when interrupted, it waits for a renewal in flight."""
    source = token_source(settings, clock, http, database)
    try:
        yield source
    finally:
        if isinstance(source, Tokens):
            await source.finish(clock.monotonic() + RENEWED_WITHIN_SECONDS)


def client(
    settings: Settings, clock: Clock, http: httpx2.AsyncClient, database: Database, source: TokenSource | None
) -> AmoClient | None:
    """The account's client with its rate limit and its gate; None without a token source."""
    if settings.amocrm_base_url is None or source is None:
        return None
    outage = partial(outages.check, database)
    return AmoClient(http, settings.amocrm_base_url, source, limit(settings, clock, database), outage)


def limit(settings: Settings, clock: Clock, database: Database) -> SharedLimit:
    """The rate limit of the account's calls, shared by all processes."""
    # Spread over the second: a burst may be delayed on its way and meet the calls of the next second.
    return SharedLimit(database, clock, "amocrm", 1, seconds=1 / settings.amocrm_calls_a_second)
