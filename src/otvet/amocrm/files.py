"""Fetches clients' attachments from amoCRM's file servers only.

The link comes with an unsigned webhook, so it is not trusted: the request has no token, the host must be amoCRM's and
its addresses public, every redirect is checked anew, and the size is limited.
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable

import httpx2

# The hosts at which attachments were seen: amojo for chats, drive-* for files, in the vendor's three domains.
HOSTS = re.compile(r"(amojo|drive-[a-z0-9-]{1,40})\.(amocrm\.ru|amocrm\.com|kommo\.com)")
MOST_REDIRECTS = 3
LARGEST = 20 * 1024 * 1024  # bytes; OpenAI's own limit is 25 MB
WITHIN_SECONDS = 30.0

Resolve = Callable[[str], Awaitable[list[str]]]


class NotFetched(Exception):
    """The file was not fetched; the message says why and quotes nothing of the link."""


async def addresses_of(host: str) -> list[str]:
    """The IP addresses of a host."""
    found = await asyncio.get_running_loop().getaddrinfo(host, 443, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_rest, address in found]


class Files:
    """Fetches attachments.

    is_host: whether a host is allowed. is_host, resolve and scheme are replaced in tests, for a stand-in.
    """

    def __init__(
        self,
        http: httpx2.AsyncClient,
        *,
        is_host: Callable[[str], bool] = lambda host: bool(HOSTS.fullmatch(host)),
        resolve: Resolve = addresses_of,
        scheme: str = "https",
        largest: int = LARGEST,
        seconds: float = WITHIN_SECONDS,
    ) -> None:
        self._http = http
        self._is_host = is_host
        self._resolve = resolve
        self._scheme = scheme
        self._largest = largest
        self._seconds = seconds

    async def fetch(self, link: str) -> bytes:
        """The whole file. Raises NotFetched."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._follow(httpx2.URL(link))
        except TimeoutError:
            raise NotFetched("it took too long") from None
        except (httpx2.InvalidURL, UnicodeError):  # the link itself, or where a redirect leads
            raise NotFetched("no address") from None
        except httpx2.HTTPError as error:
            raise NotFetched(type(error).__name__) from error

    async def _follow(self, address: httpx2.URL) -> bytes:
        for _redirect in range(MOST_REDIRECTS + 1):
            await self._check(address)
            async with self._http.stream("GET", address, follow_redirects=False) as answer:
                if answer.is_redirect:
                    address = address.join(answer.headers.get("location", ""))
                    continue
                if answer.status_code != 200:
                    raise NotFetched(f"status {answer.status_code}")
                return await self._read(answer)
        raise NotFetched("too many redirects")

    async def _read(self, answer: httpx2.Response) -> bytes:
        content = bytearray()
        async for chunk in answer.aiter_bytes():
            content += chunk
            if len(content) > self._largest:
                raise NotFetched("it is too large")
        return bytes(content)

    async def _check(self, address: httpx2.URL) -> None:
        """Raise NotFetched for an address that is not allowed; httpx requests exactly this parsed address."""
        if address.scheme != self._scheme or address.userinfo or not self._is_host(address.host):
            raise NotFetched("not an address of amoCRM's files")
        if self._scheme == "https" and address.port not in (None, 443):
            raise NotFetched("not an address of amoCRM's files")
        try:
            found = await self._resolve(address.host)
        except OSError:
            raise NotFetched("its host is not found") from None
        # A host name may point into our own network; TLS would fail there, but no connection is even tried.
        if not found or not all(ipaddress.ip_address(address).is_global for address in found):
            raise NotFetched("its host is not on the internet")
