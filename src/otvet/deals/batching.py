"""Batches of cards: one call reads all cards wanted at a time, so that a burst of clients leaves calls for replies."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

Card = Mapping[str, Any]

MOST_TOGETHER = 50
"""amoCRM allows 250 in a call; fewer keep the answer small."""


class CardBatcher:
    """Reads one kind of card in batches. one: reads a card, or None. many: reads the cards of these that exist.

    One call at a time: cards wanted meanwhile form the next batch.
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
        """The card, or None if there is none. Raises the error of its batch's call."""
        if card_id not in self._wanted:
            self._wanted[card_id] = asyncio.get_running_loop().create_future()
        future = self._wanted[card_id]
        if self._calls is None or self._calls.done():
            self._calls = asyncio.create_task(self._call())
        return await asyncio.shield(future)

    async def stop(self) -> None:
        """Cancel the call in flight, and with it the wait for its cards."""
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
                    future.cancelled() or future.exception()  # retrieved, because no task may wait for it any more
                if not isinstance(error, Exception):
                    raise
                continue
            for card_id, future in batch.items():
                future.set_result(found.get(card_id))

    async def _read(self, card_ids: Sequence[int]) -> dict[int, Card | None]:
        if len(card_ids) == 1:
            return {card_ids[0]: await self._one(card_ids[0])}
        return {card["id"]: card for card in await self._many(card_ids)}
