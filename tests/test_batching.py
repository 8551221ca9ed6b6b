"""Cards that are wanted at the same time come in one call."""

import asyncio
from collections.abc import Sequence

import pytest

from otvet.amocrm.answers import AmoError
from otvet.deals.batching import MOST_TOGETHER, Card, CardBatcher

THERE = 1000


class Account:
    """Calls that were made."""

    def __init__(self, *, fails: AmoError | None = None) -> None:
        self.calls: list[list[int]] = []
        self.fails = fails

    async def one(self, card_id: int) -> Card | None:
        return next(iter(await self.answer([card_id])), None)

    async def many(self, card_ids: Sequence[int]) -> Sequence[Card]:
        return await self.answer(card_ids)

    async def answer(self, card_ids: Sequence[int]) -> list[Card]:
        self.calls.append(list(card_ids))
        await asyncio.sleep(0)
        if self.fails:
            raise self.fails
        return [{"id": card_id} for card_id in card_ids if card_id < THERE]

    def want(self, *card_ids: int) -> list[Card | BaseException | None]:
        async def all_of_them() -> list[Card | BaseException | None]:
            cards = CardBatcher(self.one, self.many)
            return await asyncio.gather(*(cards.get(card_id) for card_id in card_ids), return_exceptions=True)

        return asyncio.run(all_of_them())


def test_one_card_is_asked_for_by_its_id() -> None:
    account = Account()
    assert account.want(1) == [{"id": 1}]
    assert account.calls == [[1]]


def test_what_is_wanted_at_the_same_time_is_one_call() -> None:
    account = Account()
    assert account.want(1, THERE, 2, 1) == [{"id": 1}, None, {"id": 2}, {"id": 1}]
    assert account.calls == [[1, THERE, 2]]


def test_a_call_is_not_too_long() -> None:
    account = Account()
    wanted = range(1, MOST_TOGETHER + 3)
    assert account.want(*wanted) == [{"id": card_id} for card_id in wanted]
    assert [len(call) for call in account.calls] == [MOST_TOGETHER, 2]


def test_everybody_hears_of_a_failure_and_the_next_call_is_made() -> None:
    refused = AmoError("amoCRM is down", reason="unavailable")
    account = Account(fails=refused)

    async def twice() -> tuple[list[Card | BaseException | None], Card | None]:
        cards = CardBatcher(account.one, account.many)
        first = await asyncio.gather(cards.get(1), cards.get(2), return_exceptions=True)
        account.fails = None
        return first, await cards.get(1)

    first, second = asyncio.run(twice())
    assert first == [refused, refused]
    assert second == {"id": 1}


def test_who_waits_when_it_stops_is_let_go() -> None:
    async def stop_while_waiting() -> None:
        begun = asyncio.Event()

        async def never(_: object) -> None:
            begun.set()
            await asyncio.Event().wait()

        cards = CardBatcher(never, never)  # type: ignore[arg-type]
        waiting = asyncio.create_task(cards.get(1))
        await begun.wait()
        await cards.stop()
        await waiting

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(stop_while_waiting())
