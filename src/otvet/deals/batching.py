"""Cards wanted at the same time come in one call: a burst of clients does not use up the calls of the replies."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

Card = Mapping[str, Any]

MOST_TOGETHER = 50
"""amoCRM takes 250 in a call; fewer keep an answer small."""


class Together:
    """One kind of card. one: reads a card, or None. many: reads those of these that there are.

    One call at a time: what is wanted meanwhile waits for the next.
    """

    def __init__(
        self,
        one: Callable[[int], Awaitable[Card | None]],
        many: Callable[[Sequence[int]], Awaitable[Sequence[Card]]],
    ) -> None:
        self._one = one
        self._many = many
        self._wanted: dict[int, asyncio.Future[Card | None]] = {}
        self._calls: asyncio.Task[None] | None = None

    async def get(self, card_id: int) -> Card | None:
        """The card, or None if there is none. Raises what the call raised."""
        if card_id not in self._wanted:
            self._wanted[card_id] = asyncio.get_running_loop().create_future()
        future = self._wanted[card_id]
        if self._calls is None or self._calls.done():
            self._calls = asyncio.create_task(self._call())
        return await asyncio.shield(future)

    async def stop(self) -> None:
        """Give up the call under way; who waits for it is told that it was cancelled."""
        if self._calls is not None:
            self._calls.cancel()
            await asyncio.gather(self._calls, return_exceptions=True)

    async def _call(self) -> None:
        while self._wanted:
            batch = {card_id: self._wanted.pop(card_id) for card_id in list(self._wanted)[:MOST_TOGETHER]}
            try:
                found = await self._read(list(batch))
            except BaseException as error:
                for future in batch.values():
                    future.cancel() if isinstance(error, asyncio.CancelledError) else future.set_exception(error)
                    future.cancelled() or future.exception()  # looked at: who waited may be gone
                if not isinstance(error, Exception):
                    raise
                continue
            for card_id, future in batch.items():
                future.set_result(found.get(card_id))

    async def _read(self, card_ids: Sequence[int]) -> dict[int, Card | None]:
        if len(card_ids) == 1:
            return {card_ids[0]: await self._one(card_ids[0])}
        return {card["id"]: card for card in await self._many(card_ids)}
