"""What a client attached, fetched from amoCRM's own file servers and from nowhere else.

The link comes with an unsigned webhook, so it is taken for a stranger's: no token goes with the request, the host has
to be one of amoCRM's, its addresses public, every redirect is checked anew, and what comes is cut off at a limit.
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable

import httpx2

# Where attachments were seen: amojo for chats, drive-* for files; the endings are the vendor's three zones.
HOSTS = re.compile(r"(amojo|drive-[a-z0-9-]{1,40})\.(amocrm\.ru|amocrm\.com|kommo\.com)")
MOST_REDIRECTS = 3
LARGEST = 20 * 1024 * 1024  # bytes; OpenAI's own limit is 25 MB
WITHIN_SECONDS = 30.0

Resolve = Callable[[str], Awaitable[list[str]]]


class NotFetched(Exception):
    """There is no such file for us; the message says why and quotes nothing of the link."""


async def addresses_of(host: str) -> list[str]:
    """What a name resolves to."""
    found = await asyncio.get_running_loop().getaddrinfo(host, 443, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_rest, address in found]


class Files:
    """Fetches attachments.

    is_host: whether a host may be asked. scheme, is_public: as below for the real ones; tests have a stand-in.
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
        """What is asked is what is looked at here: the same parser has read it."""
        if address.scheme != self._scheme or address.userinfo or not self._is_host(address.host):
            raise NotFetched("not an address of amoCRM's files")
        if self._scheme == "https" and address.port not in (None, 443):
            raise NotFetched("not an address of amoCRM's files")
        try:
            found = await self._resolve(address.host)
        except OSError:
            raise NotFetched("its host is not found") from None
        # A name may be made to point into our own network; TLS would fail there, but nothing is even tried.
        if not found or not all(ipaddress.ip_address(address).is_global for address in found):
            raise NotFetched("its host is not on the internet")
