"""Reads the JSON of a chat completion: the text for the client and its cost, or the reason why there is none.

A reason is a sentence for the operator. The service's own message is left out on purpose: it can quote the client's
words or a part of the key.
"""

import math
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from otvet.i18n import N_, _
from otvet.responders.base import Declined, ResponderError
from otvet.responders.chat.messages import TOKENIZER
from otvet.responders.markdown import plain_text

# Thoughts of models that think aloud: between two tags, or before the closing tag if the prompt had the opening one.
_THOUGHTS = re.compile(r"\A.*</(?:think|thinking|thought)>|<(?:think|thinking|thought)>.*\Z", re.DOTALL | re.IGNORECASE)
_OUR_TAGS = re.compile(r"</?(?:manager|review|known|summary|knowledge|passage|message)\b[^<>\n]*>", re.IGNORECASE)

_REFUSED = {"content_filter", "blacklist"}  # the second is GigaChat's word for it
_CALLS = {"tool_calls", "function_call"}

_REFUSALS = {
    401: N_("The model's service does not accept the API key."),
    402: N_("The account at the model's service is out of credit."),
    403: N_("The model's service does not allow this: because of the key, the model or the country."),
    404: N_("The model's service knows no such model, or its address is wrong."),
}

_USAGE = {"prompt_tokens": "prompt_tokens", "completion_tokens": "completion_tokens", "total_tokens": "tokens"}


@dataclass(frozen=True, slots=True)
class Completion:
    """A model's text.

    model: the service's own name of it, which may be longer than the name in the settings.
    tokens: ``tokens``, and ``prompt_tokens`` and ``completion_tokens`` if the service gives them; ``estimated`` is set
        if the service does not count.
    """

    text: str
    model: str | None
    tokens: Mapping[str, int] = field(default_factory=dict)

    def after(self, tokens: int) -> Self:
        """This completion with the ``tokens`` of a failed call before it added."""
        return replace(self, tokens={**self.tokens, "tokens": self.tokens["tokens"] + tokens}) if tokens else self


def read_completion(body: object, prompt_tokens: float = 0) -> Completion:
    """Read the answer of a chat-completions endpoint; ResponderError if it has no text for a client.

    prompt_tokens: an estimate of the prompt's tokens, for a service that does not count.
    """
    answer = _mapping(body)
    tokens = _tokens(answer, prompt_tokens)
    try:
        text = _text(answer)
    except ResponderError as error:
        error.spent = tokens.get("tokens", 0)
        raise
    model = answer.get("model")
    return Completion(text, str(model) if model else None, tokens)


def for_client(text: str) -> str:
    """The text without thoughts, our tags and Markdown; it may be empty."""
    return plain_text(_OUR_TAGS.sub("", _THOUGHTS.sub("", text))).strip()


def by_status(status: int, *, out_of_credit: bool = False) -> ResponderError:
    """The error for an HTTP status that is no success.

    out_of_credit: the service gave this as the reason; OpenAI does so with a 429.
    """
    if out_of_credit or status in _REFUSALS:
        return ResponderError(_(_REFUSALS[402 if out_of_credit else status]), permanent=True, status=status)
    if status == 429:
        return ResponderError(_("The model's service takes no more requests now."), status=status)
    if status >= 500 or status in (408, 409):
        text = _("The model's service has a fault of its own (HTTP {status}).")
        return ResponderError(text.format(status=status), status=status)
    if status < 400:
        return not_a_model(status)
    text = _("The model's service refused the request (HTTP {status}): it is too long, or holds a value unknown there.")
    return ResponderError(text.format(status=status), permanent=True, status=status)


def not_a_model(status: int | None = None) -> ResponderError:
    """The error for an answer that is no chat completion, such as a proxy's page or that of a wrong address."""
    return ResponderError(_("What answered is no model's service; check its address and the proxy."), status=status)


def unreachable(error: BaseException) -> ResponderError:
    """The error for a failed connection; ``error`` is the cause."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            text = _("The certificate of the model's service is not trusted; name its root in OTVET_OPENAI_CA_FILE.")
            return ResponderError(text, permanent=True)
        cause = cause.__cause__ or cause.__context__
    return ResponderError(_("The model's service cannot be reached, or the connection broke off."))


def too_late(seconds: float) -> ResponderError:
    """The error for a used-up budget; the model may have written a part that has to be paid for."""
    text = _("The model did not answer within {seconds} seconds.")
    return ResponderError(text.format(seconds=f"{round(seconds, 1):g}"), ambiguous=True)


def _text(answer: Mapping[str, Any]) -> str:
    choice = _choice(answer)
    if choice is None:
        raise _fault(answer)
    message = _mapping(choice.get("message"))
    _must_be_finished(choice.get("finish_reason"), message)
    text = for_client(_content(message.get("content")))
    if not text:
        raise ResponderError(_("The model's answer holds nothing for the client."))
    return text


def _choice(answer: Mapping[str, Any]) -> Mapping[str, Any] | None:
    choices = answer.get("choices")
    return _mapping(choices[0]) if isinstance(choices, list) and choices else None


def _must_be_finished(reason: object, message: Mapping[str, Any]) -> None:
    if message.get("refusal") or reason in _REFUSED:
        raise Declined(_("The model refused to answer this."))
    if reason == "length":
        raise ResponderError(
            _("The model's answer was cut off; raise OTVET_OPENAI_MAX_TOKENS, or have it think less."), permanent=True
        )
    if reason in _CALLS or message.get("tool_calls") or message.get("function_call"):
        raise ResponderError(_("The model called a tool instead of answering; it has none."))
    if reason == "error":
        raise by_status(500)


def _fault(answer: Mapping[str, Any]) -> ResponderError:
    """The error for a success without choices: some services report the model's own error so, its status inside."""
    error = _mapping(answer.get("error"))
    if not error:
        return not_a_model(200)
    code = error.get("code")
    return by_status(code if isinstance(code, int) and code >= 400 else 500)


def _content(content: object) -> str:
    """The text of a message's content: a string, or a list of parts."""
    if isinstance(content, list):
        return "".join(str(_mapping(part).get("text") or "") for part in content)
    return content if isinstance(content, str) else ""


def _tokens(answer: Mapping[str, Any], prompt_tokens: float) -> dict[str, int]:
    """The tokens of the answer, also of a useless one."""
    usage = _mapping(answer.get("usage"))
    counts = {ours: usage.get(theirs) for theirs, ours in _USAGE.items()}
    told = {name: count for name, count in counts.items() if isinstance(count, int)}
    choice = _choice(answer)
    if told.get("tokens") or choice is None:
        return told
    if told.get("prompt_tokens") and "completion_tokens" in told:
        return {**told, "tokens": told["prompt_tokens"] + told["completion_tokens"]}
    message = _mapping(choice.get("message"))
    written = _content(message.get("content")) + _content(message.get("reasoning_content"))
    return {"tokens": math.ceil(prompt_tokens + TOKENIZER.count(written)), "estimated": True}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
