"""GigaChat through its own client, an extra: ``pip install "otvet[gigachat]"``. It is loaded with the first question.

The client gets a token for 30 minutes at another address and renews it by itself.
Source: https://developers.sber.ru/docs/ru/gigachat/api/reference/rest/gigachat-api
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Protocol

from otvet.errors import SettingsError
from otvet.i18n import _
from otvet.responders.base import ResponderError
from otvet.responders.chat.completion import by_status, not_a_model, too_late, unreachable
from otvet.responders.chat.messages import Message


class Client(Protocol):
    """The part of ``gigachat.GigaChat`` that is used."""

    async def achat(self, payload: dict[str, Any]) -> Any:
        """The completion, as a pydantic model."""
        ...

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Library:
    """A client and its errors.

    refusal: for an answer that is no success; it has a ``status_code``.
    late, broken: the HTTP library's errors for a time-out and a failed connection; each ``late`` is a ``broken`` too.
    """

    client: Client
    refusal: type[Exception]
    late: type[Exception]
    broken: type[Exception]


class GigaChatModel:
    """A Model of GigaChat.

    credentials: the authorization key of the project, not its secret.
    scope: GIGACHAT_API_PERS, GIGACHAT_API_B2B or GIGACHAT_API_CORP, depending on the contract.
    base_url: None: the client library's default.
    extra: further fields of the request; they win over ours.
    trust: the certificates to accept.
    load: makes the Library from the options of ``gigachat.GigaChat``.
    """

    def __init__(
        self,
        credentials: str,
        model: str,
        *,
        scope: str,
        trust: ssl.SSLContext,
        base_url: str | None = None,
        temperature: float | None = None,
        extra: Mapping[str, Any] | None = None,
        load: Callable[..., Library] | None = None,
    ) -> None:
        if load is None and find_spec("gigachat") is None:
            raise SettingsError(_('GigaChat needs its own client; install it with: pip install "otvet[gigachat]"'))
        self._load = load or _load
        self._options: dict[str, Any] = {
            "credentials": credentials,
            "model": model,
            "scope": scope,
            "base_url": base_url,
            "ssl_context": trust,
        }
        self._request = {"model": model, **({} if temperature is None else {"temperature": temperature})}
        self._extra = dict(extra or {})
        self._library: Library | None = None
        self._opening = asyncio.Lock()

    async def complete(self, messages: Sequence[Message], *, max_tokens: int, seconds: float) -> object:
        """See Model. The caller enforces ``seconds``: the client has one time-out for all calls."""
        async with self._opening:
            if self._library is None:
                self._library = await asyncio.to_thread(self._load, **self._options)
            library = self._library
        request = {**self._request, "messages": list(messages), "max_tokens": max_tokens, **self._extra}
        failure: ResponderError
        try:
            answer: object = (await library.client.achat(request)).model_dump()
        except library.refusal as error:
            failure = by_status(getattr(error, "status_code", 500))
        except library.late:
            failure = too_late(seconds)
        except library.broken as error:
            failure = unreachable(error)
        except (ValueError, TypeError, KeyError):  # the client does not handle unexpected JSON
            failure = not_a_model(200)
        else:
            return answer
        raise failure  # outside of the except blocks, so that no traceback holds the service's words

    async def aclose(self) -> None:
        """See Model."""
        if self._library:
            await self._library.client.aclose()
            self._library = None


def _load(**options: Any) -> Library:
    import httpx
    from gigachat import GigaChat
    from gigachat.exceptions import ResponseError

    given = {name: value for name, value in options.items() if value is not None}
    # The reply's budget limits the call; the client's default time-out is shorter.
    client = GigaChat(**given, timeout=600, max_retries=0)
    return Library(client, ResponseError, httpx.TimeoutException, httpx.HTTPError)
