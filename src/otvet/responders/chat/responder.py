"""Replies by any model with chat completions: one call with the whole conversation for each reply."""

import asyncio
import math
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from otvet.clock import Clock
from otvet.responders.base import Attempt, Context, Declined, Line, Reply, ResponderError
from otvet.responders.chat.completion import Completion, read_completion, too_late
from otvet.responders.chat.messages import SUMMARY_TOKENS, TOKENIZER, Message, compose, compose_summary

RETRY_SECONDS = 1.0
"""The pause before the second and last call, after a temporary failure of the first one."""


class Model(Protocol):
    """A model behind one client library."""

    async def complete(self, messages: Sequence[Message], *, max_tokens: int, seconds: float) -> object:
        """Make one call and return the JSON of its answer unchanged; ResponderError if there is none."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


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

    async def reply(self, context: Context, attempt: Attempt) -> Reply:
        """See Responder."""
        begun = self._clock.monotonic()
        told = compose(context, self._context_tokens - self._max_tokens)
        completion = await self._ask(told.messages, self._max_tokens, attempt.started_at)
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
        completion = await self._ask(messages, max_tokens, self._clock.now())
        return Reply(completion.text, self.name, completion.model, completion.tokens)

    async def aclose(self) -> None:
        """Close the connections; no call may be in flight."""
        await self._model.aclose()

    async def _ask(self, messages: Sequence[Message], max_tokens: int, since: datetime) -> Completion:
        """Make one call, and one more after a temporary failure if there is time; the tokens of both are added."""
        try:
            return await self._call(messages, max_tokens, since)
        except ResponderError as error:
            if error.permanent or isinstance(error, Declined) or self._left(since) <= RETRY_SECONDS:
                raise
            spent = error.spent
        await self._clock.sleep(RETRY_SECONDS)
        try:
            return (await self._call(messages, max_tokens, since)).after(spent)
        except ResponderError as error:
            error.spent += spent
            raise

    async def _call(self, messages: Sequence[Message], max_tokens: int, since: datetime) -> Completion:
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
            raise error from None
        return read_completion(body, prompt_tokens)

    def _left(self, since: datetime) -> float:
        return self._budget - (self._clock.now() - since).total_seconds()
