"""A client that does over HTTP what is used of the gigachat package, for where that extra is not installed."""

import json
import time
import uuid
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import httpx2

from otvet.responders.chat.gigachat import Library
from tests.standins.openai import OpenAiStandin


class RefusalError(Exception):
    """An answer that is no success; like the package's it quotes what the service said."""

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__(response.text)
        self.status_code = response.status_code


class PlainClient:
    """The Client of ``otvet.responders.chat.responder.gigachat``."""

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._http = httpx2.AsyncClient(verify=options["ssl_context"], timeout=600)
        self._token = ("", 0.0)

    async def achat(self, payload: dict[str, Any]) -> Any:
        response = await self._ask(payload)
        if response.status_code == 401:
            self._token = ("", 0.0)
            response = await self._ask(payload)
        body = _read(response)
        if not isinstance(body, dict) or not isinstance(body.get("choices"), list):
            raise ValueError(json.dumps(body))
        return SimpleNamespace(model_dump=lambda: body)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _ask(self, payload: dict[str, Any]) -> httpx2.Response:
        if self._token[1] < time.time() + 60:
            headers = {"Authorization": f"Basic {self._options['credentials']}", "RqUID": str(uuid.uuid4())}
            form = {"scope": self._options["scope"]}
            told = _read(await self._http.post(self._options["auth_url"], headers=headers, data=form))
            self._token = (told["access_token"], told["expires_at"] / 1000)
        address = f"{self._options['base_url']}/chat/completions"
        return await self._http.post(address, headers={"Authorization": f"Bearer {self._token[0]}"}, json=payload)


def _read(response: httpx2.Response) -> Any:
    if not response.is_success:
        raise RefusalError(response)
    return response.json()


def signing_in_at(service: OpenAiStandin, load: Callable[..., Library] | None = None) -> Callable[..., Library]:
    """A client that gets its tokens from the stand-in in place of Sber."""
    return partial(load or load_plain_client, auth_url=f"{service.url}/api/v2/oauth")


def load_plain_client(**options: Any) -> Library:
    """What ``otvet.responders.chat.responder.gigachat`` takes in place of the package."""
    return Library(PlainClient(**options), RefusalError, httpx2.TimeoutException, httpx2.HTTPError)
