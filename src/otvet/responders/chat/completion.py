"""Reads the JSON of a chat completion: the model's text and its cost, or the reason why there is none.

A reason is a sentence for the operator. The service's own message is left out on purpose: it can quote the client's
words or a part of the key.
"""

import math
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self

from otvet.i18n import N_, _
from otvet.responders.base import Declined, ResponderError
from otvet.responders.chat.messages import TOKENIZER
from otvet.responders.cleaning import ending
from otvet.storage.storable import LARGEST, storable_text

_CALLS = {"tool_calls", "function_call"}

_REFUSALS = {
    401: N_("The model's service does not accept the API key."),
    402: N_("The account at the model's service is out of credit."),
    403: N_("The model's service does not allow this: because of the key, the model or the country."),
    404: N_("The model's service knows no such model, or its address is wrong."),
}

_BUSY = N_("The model's service takes no more requests now.")
_FAULT = N_("The model's service has a fault of its own (HTTP {status}).")

LONGEST_WAIT_SECONDS = 3600.0
"""The longest time for which a service is left alone at its own wish."""

MODEL_CHARACTERS = 200
"""The longest name of a model that is kept."""

_FILTERED = re.compile(r"content.?filter|content.?polic|responsible.?ai")
_TOO_LONG = re.compile(
    r"context.?(?:length|window|size)|maximum context|too (?:long|large|many tokens)"
    r"|max(?:imum)?.{0,20}tokens.{0,40}exceed|exceed.{0,40}(?:tokens|context)"
)
_NO_CREDIT = re.compile(
    r"insufficient.?(?:quota|balance|funds|credit)|out of credit"
)  # as the type; older answers have it as the code
_ABOUT_THE_REQUEST = (400, 413, 422, 500)

_USAGE = {"prompt_tokens": "prompt_tokens", "completion_tokens": "completion_tokens", "total_tokens": "tokens"}


class Busy(ResponderError):
    """The service cannot answer now. wait: the seconds for which it asks to be left alone; None: it does not say."""

    def __init__(self, message: str, *, status: int, wait: float | None = None) -> None:
        super().__init__(message, status=status)
        self.wait = wait


class TooLong(ResponderError):
    """The service takes no prompt of this length; a shorter one may do."""


@dataclass(frozen=True, slots=True)
class Completion:
    """A model's text, as it wrote it.

    finish: the service's reason for the end of the text.
    model: the service's own name of it, which may be longer than the name in the settings.
    tokens: ``tokens``, and ``prompt_tokens`` and ``completion_tokens`` if the service gives them; ``estimated`` is set
        if the service does not count.
    """

    text: str
    finish: object
    model: str | None
    tokens: Mapping[str, int] = field(default_factory=dict)

    def after(self, tokens: int) -> Self:
        """This completion with the ``tokens`` of a failed call before it added."""
        return replace(self, tokens={**self.tokens, "tokens": self.tokens["tokens"] + tokens}) if tokens else self


def read_completion(body: object, prompt_tokens: float = 0) -> Completion:
    """Read the answer of a chat-completions endpoint; ResponderError if it has no text.

    prompt_tokens: an estimate of the prompt's tokens, for a service that does not count.
    """
    answer = _mapping(body)
    tokens = _tokens(answer, prompt_tokens)
    try:
        text, finish = _text(answer)
    except ResponderError as error:
        error.spent = tokens.get("tokens", 0)
        raise
    model = answer.get("model")
    return Completion(text, finish, storable_text(str(model))[:MODEL_CHARACTERS] if model else None, tokens)


def cut_off() -> ResponderError:
    """The error for an answer that the limit of tokens ended before anything could be used."""
    return ResponderError(
        _("The model's answer was cut off; raise OTVET_OPENAI_MAX_TOKENS, or have it think less."), permanent=True
    )


def by_status(status: int, *, out_of_credit: bool = False, wait: float | None = None) -> ResponderError:
    """The error for an HTTP status that is no success.

    out_of_credit: the service gave this as the reason; OpenAI does so with a 429.
    wait: the seconds for which the service asks to be left alone.
    """
    if out_of_credit or status in _REFUSALS:
        return ResponderError(_(_REFUSALS[402 if out_of_credit else status]), permanent=True, status=status)
    if status == 429 or status >= 500 or status in (408, 409):
        text = _BUSY if status == 429 else _FAULT
        return Busy(_(text).format(status=status), status=status, wait=wait)
    if status < 400:
        return not_a_model(status)
    text = _("The model's service refused the request (HTTP {status}): it is too long, or holds a value unknown there.")
    return ResponderError(text.format(status=status), permanent=True, status=status)


def retry_after(header: str | None) -> float | None:
    """The seconds of a Retry-After header, which is a number or a date; at most LONGEST_WAIT_SECONDS."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return min(max(seconds, 0), LONGEST_WAIT_SECONDS) if math.isfinite(seconds) else None


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


def _text(answer: Mapping[str, Any]) -> tuple[str, object]:
    """The text and the reason for its end."""
    choice = _choice(answer)
    if choice is None:
        raise _fault(answer)
    message = _mapping(choice.get("message"))
    finish = choice.get("finish_reason")
    _must_be_an_answer(finish, message)
    text = _content(message.get("content"))
    if not text.strip():
        raise cut_off() if finish == "length" else ResponderError(_("The model's answer holds nothing for the client."))
    return text, finish


def _choice(answer: Mapping[str, Any]) -> Mapping[str, Any] | None:
    choices = answer.get("choices")
    return _mapping(choices[0]) if isinstance(choices, list) and choices else None


def _must_be_an_answer(reason: object, message: Mapping[str, Any]) -> None:
    if message.get("refusal") or ending.is_refusal(reason):
        raise Declined(_("The model refused to answer this."))
    if (isinstance(reason, str) and reason in _CALLS) or message.get("tool_calls") or message.get("function_call"):
        raise ResponderError(_("The model called a tool instead of answering; it has none."))
    if reason == "error":
        raise by_status(500)


def _fault(answer: Mapping[str, Any]) -> ResponderError:
    """The error for a success without choices: some services report the model's own error so, its status inside."""
    told = answer.get("error")
    error = told if isinstance(told, dict) else answer
    if not (told or {"code", "status", "detail", "message"} & answer.keys()):
        return not_a_model(200)
    return by_words(error, 500)


def by_words(error: Mapping[str, Any], status: int, wait: float | None = None) -> ResponderError:
    """The error for a service's own description of a failure.

    status: what to go by if the description has no HTTP status of its own.
    """
    words = " ".join(str(error.get(name) or "") for name in ("code", "type", "status", "message")).casefold()
    told = next((code for name in ("code", "status") if (code := _status_in(error.get(name)))), status)
    if _FILTERED.search(words):
        return Declined(_("The model refused to answer this."), status=told)
    if told in _ABOUT_THE_REQUEST and _TOO_LONG.search(words):
        return TooLong(str(by_status(400)), permanent=True, status=told)
    return by_status(told, out_of_credit=bool(_NO_CREDIT.search(words)), wait=wait)


def _status_in(value: object) -> int | None:
    """An HTTP status, also one that is written as text."""
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        value = int(value.strip()[:4])
    return value if isinstance(value, int) and 400 <= value < 600 else None


def _content(content: object) -> str:
    """The text of a message's content: a string, or a list of parts, of which only texts are for the client."""
    if isinstance(content, list):
        return "".join(_part(part) for part in content)
    return content if isinstance(content, str) else ""


def _part(part: object) -> str:
    if isinstance(part, str):
        return part
    told = _mapping(part)
    text = told.get("text")
    is_text = told.get("type", "text") in ("text", "output_text") and not told.get("thought")
    return text if is_text and isinstance(text, str) else ""


def _tokens(answer: Mapping[str, Any], prompt_tokens: float) -> dict[str, int]:
    """The tokens of the answer, also of a useless one. A number that cannot be right counts as not told."""
    usage = _mapping(answer.get("usage"))
    counts = {ours: usage.get(theirs) for theirs, ours in _USAGE.items()}
    told = {name: count for name, count in counts.items() if type(count) is int and 0 <= count <= LARGEST}
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
