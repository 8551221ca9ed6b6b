"""GigaChat through its own client, an extra: ``pip install "otvet[gigachat]"``. It is loaded with the first question.

The client signs in at another address, for a token of 30 minutes, and renews it by itself.
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
    """What is used of ``gigachat.GigaChat``."""

    async def achat(self, payload: dict[str, Any]) -> Any:
        """The completion, as a pydantic model."""
        ...

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Library:
    """A client and what it raises.

    refusal: an answer that is no success; it has a ``status_code``.
    late, broken: of the HTTP library below it; every ``late`` is a ``broken`` too.
    """

    client: Client
    refusal: type[Exception]
    late: type[Exception]
    broken: type[Exception]


class GigaChatModel:
    """A Model that is GigaChat's.

    credentials: the authorization key of the project, not its secret.
    scope: GIGACHAT_API_PERS, GIGACHAT_API_B2B or GIGACHAT_API_CORP, as the contract is.
    base_url: None: where the client library asks.
    extra: further fields of the request; they win over ours.
    trust: whose certificates are accepted.
    load: gives the Library, from the options of ``gigachat.GigaChat``.
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
        """See Model; ``seconds`` is for the caller to keep, the client has one time-out for all calls."""
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
        except (ValueError, TypeError, KeyError):  # the client does not catch what is not the JSON it expects
            failure = not_a_model(200)
        else:
            return answer
        raise failure  # out here, so that no traceback holds what the service said

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
    # A reply waits as long as its budget says; the client would give up earlier.
    client = GigaChat(**given, timeout=600, max_retries=0)
    return Library(client, ResponseError, httpx.TimeoutException, httpx.HTTPError)
