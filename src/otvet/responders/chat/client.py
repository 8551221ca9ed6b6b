"""The official OpenAI client: loaded when it is first needed, and limited to the one address that it is given.

By itself it reads variables (OPENAI_ORG_ID, OPENAI_CUSTOM_HEADERS ...) that are meant for other programs, and follows
redirects. Both could send a key or a client's words to another service.
"""

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

import httpx2

if TYPE_CHECKING:
    from openai import AsyncOpenAI

MOST_CONNECTIONS = 2000


class Client:
    """AsyncOpenAI for all calls to one address.

    api_key: sent as ``Authorization: Bearer``; None if the address needs none.
    trust: the certificates to accept; None: the system's.
    proxy: the address of a proxy (http, https or socks5) for these calls alone; None: that of the environment.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        *,
        trust: ssl.SSLContext | None = None,
        max_retries: int = 0,
        proxy: str | None = None,
    ) -> None:
        self._base_url = base_url
        self._api_key = api_key
        self._trust = trust
        self._max_retries = max_retries
        self._proxy = proxy
        self._client: AsyncOpenAI | None = None
        self._opening = asyncio.Lock()

    async def ready(self) -> "AsyncOpenAI":
        """The client, opened if it is not."""
        async with self._opening:
            if self._client is None:
                # In a thread: loading takes a third of a second and must not block the webhook.
                self._client = await asyncio.to_thread(self._open)
            return self._client

    @property
    def headers(self) -> dict[str, Any]:
        """The headers of each call: without a key they remove the Authorization that the client would make up."""
        from openai import Omit

        return {} if self._api_key else {"Authorization": Omit()}

    async def aclose(self) -> None:
        """Close the connections; the next call opens them anew."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _open(self) -> "AsyncOpenAI":
        from openai import AsyncOpenAI

        client = AsyncOpenAI(
            base_url=self._base_url,
            api_key=self._api_key or "none",
            max_retries=self._max_retries,
            http_client=httpx2.AsyncClient(
                verify=self._trust or httpx2.create_ssl_context(),
                follow_redirects=False,
                proxy=self._proxy,
                # Many connections: a question that waits for one spends its budget, while an open one costs little.
                limits=httpx2.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=20),
            ),
        )
        client.organization = client.project = client.admin_api_key = None
        client._custom_headers = {}  # there is no public way to leave out the environment's headers
        return client
