"""The official OpenAI client: loaded when it is first needed, and speaking to the one address that it was given.

It reads variables (OPENAI_ORG_ID, OPENAI_CUSTOM_HEADERS ...) that are meant for other programs, and perhaps for another
service, and it follows redirects. Both would take a key or a client's words where they do not belong.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2

if TYPE_CHECKING:
    from openai import AsyncOpenAI

POOLS = 8
"""At each call the HTTP client goes through all its connections: a thousand under way are spread over so many."""

MOST_CONNECTIONS = 2000


@dataclass(eq=False, slots=True)
class _Pool:
    client: "AsyncOpenAI"
    under_way: int = 0


class Client:
    """AsyncOpenAI, for all calls to an address.

    api_key: sent as ``Authorization: Bearer``; None where the address needs none.
    trust: whose certificates are accepted; None: those that the system accepts.
    """

    def __init__(
        self, base_url: str, api_key: str | None, *, trust: ssl.SSLContext | None = None, max_retries: int = 0
    ) -> None:
        self._base_url = base_url
        self._api_key = api_key
        self._trust = trust
        self._max_retries = max_retries
        self._pools: list[_Pool] = []
        self._opening = asyncio.Lock()

    @asynccontextmanager
    async def ready(self) -> "AsyncIterator[AsyncOpenAI]":
        """The client with open connections, for one call."""
        async with self._opening:
            if not self._pools:
                # Loading takes a third of a second, in which the webhook must go on.
                self._pools = await asyncio.to_thread(self._open)
        pool = min(self._pools, key=lambda one: one.under_way)  # mostly the first one, which has a connection already
        pool.under_way += 1
        try:
            yield pool.client
        finally:
            pool.under_way -= 1

    @property
    def headers(self) -> dict[str, Any]:
        """What each call must bring: without a key no Authorization, which the client would make up."""
        from openai import Omit

        return {} if self._api_key else {"Authorization": Omit()}

    async def aclose(self) -> None:
        """Close the connections; the next call opens them anew."""
        pools, self._pools = self._pools, []
        await asyncio.gather(*(pool.client.close() for pool in pools), return_exceptions=True)

    def _open(self) -> list[_Pool]:
        certificates = self._trust or httpx2.create_ssl_context()  # read once
        return [_Pool(self._open_one(certificates)) for _ in range(POOLS)]

    def _open_one(self, certificates: ssl.SSLContext) -> "AsyncOpenAI":
        from openai import AsyncOpenAI

        client = AsyncOpenAI(
            base_url=self._base_url,
            api_key=self._api_key or "none",
            max_retries=self._max_retries,
            http_client=httpx2.AsyncClient(
                verify=certificates,
                follow_redirects=False,
                # A question that waits for a connection spends its budget; one that waits for an answer costs little.
                limits=httpx2.Limits(max_connections=MOST_CONNECTIONS // POOLS, max_keepalive_connections=20),
            ),
        )
        client.organization = client.project = client.admin_api_key = None
        client._custom_headers = {}  # there is no public way to leave out those of the environment
        return client
