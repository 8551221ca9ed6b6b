"""A chat-completions endpoint through the official OpenAI client.

Source: https://platform.openai.com/docs/api-reference/chat/create
"""

import ssl
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from otvet.errors import SettingsError
from otvet.i18n import _
from otvet.responders.base import ResponderError
from otvet.responders.chat.body import read_body
from otvet.responders.chat.client import Client
from otvet.responders.chat.completion import by_words, not_a_model, retry_after, too_late, unreachable
from otvet.responders.chat.messages import Message

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI


class OpenAiModel:
    """A Model at an endpoint.

    api_key: sent as ``Authorization: Bearer``, unless ``headers`` have an Authorization; None: not sent.
    temperature: None: not sent. It is left out too once the model has refused it.
    extra: further fields of the request; they win over ours.
    trust: the certificates to accept; None: the system's.
    proxy: the address of a proxy for this service alone; None: that of the environment.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str | None = None,
        temperature: float | None = None,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
        trust: ssl.SSLContext | None = None,
        proxy: str | None = None,
    ) -> None:
        if api_key and not (api_key.isascii() and api_key.isprintable()):
            raise SettingsError(_("OTVET_OPENAI_API_KEY has characters that no key has; copy it anew."))
        self._client = Client(
            base_url, api_key, trust=trust, proxy=proxy
        )  # no retries: the caller knows how much time is left
        self._model = model
        self._headers = dict(headers or {})
        self._extra = dict(extra or {})
        self._optional: dict[str, Any] = {} if temperature is None else {"temperature": temperature}
        self._limit = "max_tokens"  # what most services know; OpenAI's newer models want another name

    async def complete(self, messages: Sequence[Message], *, max_tokens: int, seconds: float) -> object:
        """See Model."""
        error = None
        for _attempt in range(3):  # a model may refuse two of our parameters
            answer, error = await self._try(await self._client.ready(), messages, max_tokens, seconds)
            if error is None:
                return answer
            if not self._give_in(error):
                break
        assert error is not None
        raise _reason(error)

    async def aclose(self) -> None:
        """See Model."""
        await self._client.aclose()

    async def _try(
        self, client: "AsyncOpenAI", messages: Sequence[Message], max_tokens: int, seconds: float
    ) -> "tuple[object, APIStatusError | None]":
        """The JSON of the answer, or the error of a refusal."""
        import openai

        failure: ResponderError
        create: Any = client.chat.completions.with_raw_response.create  # the roles are plain strings here
        try:
            response = await create(
                model=self._model,
                messages=list(messages),
                extra_body={self._limit: max_tokens, **self._optional, **self._extra},
                extra_headers={**self._client.headers, **self._headers},
                timeout=seconds,
            )
            return read_body(response.http_response.content), None
        except openai.APIStatusError as error:
            return None, error
        except openai.APITimeoutError:
            failure = too_late(seconds)
        except openai.APIConnectionError as error:
            failure = unreachable(error)
        except ValueError:  # not JSON, or not even text
            failure = not_a_model(200)
        raise failure  # outside of the except blocks, so that no traceback holds the service's words

    def _give_in(self, error: "APIStatusError") -> bool:
        """From now on leave out the parameter that the model refused; False if there is none to leave out."""
        if error.status_code != 400:
            return False
        if error.param == "max_tokens" and self._limit == "max_tokens":
            self._limit = "max_completion_tokens"
            return True
        return self._optional.pop(error.param or "", None) is not None


def _reason(error: "APIStatusError") -> ResponderError:
    told = error.body if isinstance(error.body, dict) else {}
    words = {"message": error.message, **told, "code": error.code, "type": error.type, "status": None}
    return by_words(words, error.status_code, retry_after(error.response.headers.get("retry-after")))
