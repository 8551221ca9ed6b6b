"""Replies by any model with chat completions: one call with the whole conversation for each reply."""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from otvet.clock import Clock
from otvet.i18n import _
from otvet.responders.base import Attempt, Context, Declined, Line, Reply, ResponderError, Unavailable, Unclean
from otvet.responders.chat.completion import Busy, Completion, TooLong, cut_off, read_completion, too_late
from otvet.responders.chat.messages import (
    SUMMARY_TOKENS,
    TOKENIZER,
    Conversation,
    Message,
    compose,
    compose_summary,
)
from otvet.responders.cleaning.clean import clean, summary_in

RETRY_SECONDS = 1.0
"""The pause before the second and last call, after a temporary failure of the first one."""

WAITING_SHARE = 0.5
"""The share of the time left that may pass in waiting for a service that asks to be left alone."""

SHORTER = 0.4
"""How much of a prompt is left that the service has refused as too long."""


class Model(Protocol):
    """A model behind one client library."""

    async def complete(self, messages: Sequence[Message], *, max_tokens: int, seconds: float) -> object:
        """Make one call and return the JSON of its answer unchanged; ResponderError if there is none."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


Reader = Callable[[Completion], str]
"""What becomes of a model's text; ResponderError if it cannot be used."""


class ChatResponder:
    """A Responder, and a Summariser, that asks a Model.

    budget_seconds: the time for one reply, or for one summary.
    max_tokens: the most tokens of an answer, a model's thoughts included.
    context_tokens: the most tokens of prompt and answer together.

    The attempt remembers nothing: a question that a crash interrupted is asked again.
    """

    name = "openai"
    outside = True

    def __init__(
        self,
        model: Model,
        clock: Clock,
        *,
        budget_seconds: float = 30,
        max_tokens: int = 1000,
        context_tokens: int = 8000,
    ) -> None:
        self._model = model
        self._clock = clock
        self._budget = budget_seconds
        self._max_tokens = max_tokens
        self._context_tokens = context_tokens
        self._free_at = 0.0  # by the monotonic clock: the service wants to be left alone until then

    async def reply(self, context: Context, attempt: Attempt) -> Reply:
        """See Responder."""
        begun = self._clock.monotonic()
        told, completion = await self._replied(context, attempt.started_at)
        details = {
            **completion.tokens,
            "seconds": round(self._clock.monotonic() - begun, 1),
            "passages": [{"file": passage.file, "heading": passage.heading} for passage in told.passages],
        }
        return Reply(completion.text, self.name, completion.model, details)

    async def summarise(self, lines: Sequence[Line], before: str, language: str) -> Reply:
        """See Summariser."""
        messages = compose_summary(lines, before, language, self._context_tokens - SUMMARY_TOKENS)
        # The thoughts of a model that thinks aloud count too.
        max_tokens = max(SUMMARY_TOKENS, self._max_tokens)
        completion = await self._ask(messages, max_tokens, self._clock.now(), _summary)
        return Reply(completion.text, self.name, completion.model, completion.tokens)

    async def aclose(self) -> None:
        """Close the connections; no call may be in flight."""
        await self._model.aclose()

    async def _replied(self, context: Context, since: datetime) -> tuple[Conversation, Completion]:
        """Ask for a reply, and once more with a shorter prompt if this one is too long for the service."""
        room = self._context_tokens - self._max_tokens

        def cleaned(completion: Completion) -> str:
            return _cleaned(completion, context)

        told = compose(context, room)
        try:
            return told, await self._ask(told.messages, self._max_tokens, since, cleaned)
        except TooLong:
            told = compose(context, room * SHORTER)
            return told, await self._ask(told.messages, self._max_tokens, since, cleaned)

    async def _ask(self, messages: Sequence[Message], max_tokens: int, since: datetime, read: Reader) -> Completion:
        """Make one call, and one more after a temporary failure if there is time; the tokens of both are added."""
        try:
            return await self._call(messages, max_tokens, since, read)
        except ResponderError as error:
            if error.permanent or isinstance(error, Declined | Unavailable) or self._left(since) <= RETRY_SECONDS:
                raise
            spent = error.spent
        await self._clock.sleep(RETRY_SECONDS)
        try:
            return (await self._call(messages, max_tokens, since, read)).after(spent)
        except ResponderError as error:
            error.spent += spent
            raise

    async def _call(self, messages: Sequence[Message], max_tokens: int, since: datetime, read: Reader) -> Completion:
        await self._wait_until_free(since)
        left = self._left(since)
        if left <= 0:
            raise too_late(self._budget)
        prompt_tokens = sum(TOKENIZER.count(message["content"]) for message in messages)
        try:
            # The client's own time-outs are for each read, and an answer can come in many small reads.
            async with asyncio.timeout(left):
                body = await self._model.complete(messages, max_tokens=max_tokens, seconds=left)
        except (TimeoutError, ResponderError) as failure:
            error = failure if isinstance(failure, ResponderError) else too_late(self._budget)
            error.spent = math.ceil(prompt_tokens) if error.ambiguous else 0
            if isinstance(error, Busy) and error.wait:
                self._free_at = self._clock.monotonic() + error.wait
            raise error from None
        completion = read_completion(body, prompt_tokens)
        try:
            return replace(completion, text=read(completion))
        except ResponderError as error:
            error.spent = completion.tokens.get("tokens", 0)
            raise

    async def _wait_until_free(self, since: datetime) -> None:
        """Wait as long as the service has asked for; Unavailable if that takes too much of the time left."""
        wait = self._free_at - self._clock.monotonic()
        if wait <= 0:
            return
        if wait > self._left(since) * WAITING_SHARE:
            text = _("The model's service asks to be left alone for {seconds} seconds.")
            raise Unavailable(text.format(seconds=math.ceil(wait)), seconds=wait)
        await self._clock.sleep(wait)

    def _left(self, since: datetime) -> float:
        return self._budget - (self._clock.now() - since).total_seconds()


def _cleaned(completion: Completion, context: Context) -> str:
    try:
        return clean(completion.text, context, finish=completion.finish)
    except Unclean as error:
        if completion.finish == "length" and error.kind in ("cut", "thoughts"):
            raise cut_off() from None
        raise


def _summary(completion: Completion) -> str:
    text = summary_in(completion.text)
    if completion.finish == "length" or not text:
        raise cut_off()
    return text
