"""The webhook's subscription: nothing that is right is changed, nothing of a person's is lost, nothing stays behind."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import timedelta

import httpx2
import pytest

from otvet.account.health import Step
from otvet.account.subscribing import ASK_AGAIN, recall, subscribe_webhook
from otvet.amocrm.answers import AmoError
from otvet.amocrm.client import AmoClient, Hook
from otvet.amocrm.hooks import NEEDED, WANTED, Subscription, subscribe
from otvet.storage.database import Database
from tests.clocks import FakeClock
from tests.standins.amocrm import AmoStandin, amocrm_standin

HOOK = "https://otvet.example.com/webhook/amocrm/secret-of-the-webhook"
NEXT = "https://otvet.example.com/webhook/amocrm/the-secret-that-came-after"
FEW = ("add_message", "add_talk")


@pytest.fixture
def amo() -> Iterator[AmoStandin]:
    with amocrm_standin() as standin:
        standin.rate = 1000
        yield standin


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def take(amo: AmoStandin, database: Database, clock: FakeClock, destination: str = HOOK, **how: bool) -> list[Step]:
    """The step as a command takes it."""

    async def go() -> list[Step]:
        own = Database(database.url)
        own.start()
        try:
            async with httpx2.AsyncClient(trust_env=False) as http:
                client = AmoClient(http, amo.url, amo.token, None)
                here = {"reached": True, **how}
                return await subscribe_webhook(own, client, amo.url, destination, clock.now(), **here)
        finally:
            await own.stop()

    return asyncio.run(go())


def posts(amo: AmoStandin) -> int:
    return sum((entry["method"], entry["path"]) == ("POST", "/api/v4/webhooks") for entry in amo.log)


def events(amo: AmoStandin, destination: str = HOOK) -> set[str]:
    return set(amo.access.hooks[destination]["settings"])


def ticked(amo: AmoStandin, *names: str, destination: str = HOOK) -> None:
    """A webhook that a person has made."""
    amo.access.events += tuple(name for name in names if name not in amo.access.events)
    amo.access.hooks[destination] = {"id": 1, "destination": destination, "settings": [*names], "disabled": False}


class Fragile(AmoClient):
    """Breaks off: ``fails_after`` so many subscriptions amoCRM is called too often."""

    fails_after = 1000

    async def subscribe(self, destination: str, events: Sequence[str]) -> Hook:
        self.fails_after -= 1
        if self.fails_after < 0:
            raise AmoError("too often", reason="rate_limited", status=429)
        return await super().subscribe(destination, events)


def subscribed(amo: AmoStandin, fails_after: int = 1000) -> Subscription:
    async def go() -> Subscription:
        async with httpx2.AsyncClient(trust_env=False) as http:
            client = Fragile(http, amo.url, amo.token, None)
            client.fails_after = fails_after
            return await subscribe(client, HOOK)

    return asyncio.run(go())


@pytest.mark.parametrize("fails_after", range(1, 9))
def test_a_failure_in_between_takes_no_tick_away(amo: AmoStandin, fails_after: int) -> None:
    amo.access.events = FEW
    ticked(amo, "add_lead")
    with pytest.raises(AmoError):
        subscribed(amo, fails_after)
    assert "add_lead" in events(amo)
    subscribed(amo)
    assert events(amo) == {"add_lead", *FEW}


@pytest.mark.parametrize("fails_after", range(1, 7))
def test_a_hook_that_works_never_has_less_than_it_had(amo: AmoStandin, fails_after: int) -> None:
    amo.access.events = FEW
    ticked(amo, "add_lead", *FEW)
    with pytest.raises(AmoError):
        subscribed(amo, fails_after)
    assert events(amo) == {"add_lead", *FEW}
    made = subscribed(amo)
    assert not made.changed
    assert set(made.refused) == set(WANTED) - set(FEW)


def test_amocrms_complaint_does_not_repeat_the_address(amo: AmoStandin) -> None:
    amo.fault(path="/api/v4/webhooks", status=400, body=f'{{"detail": "no hook at {HOOK} here"}}', times=None)

    with pytest.raises(AmoError) as refused:
        subscribed(amo)
    assert "secret-of-the-webhook" not in str(refused.value)


def test_refused_events_are_asked_for_again_after_a_day(database: Database, amo: AmoStandin, clock: FakeClock) -> None:
    amo.access.events = FEW
    (step,) = take(amo, database, clock)
    assert (step.state, "add_outgoing_message" in step.sentence) == ("warning", True)
    asked = posts(amo)
    clock.advance(ASK_AGAIN.total_seconds() - 1)
    take(amo, database, clock)
    assert posts(amo) == asked
    clock.advance(1)
    amo.access.events = WANTED
    (step,) = take(amo, database, clock)
    assert step.state == "good"
    assert events(amo) == set(WANTED)


def test_a_clock_that_was_set_back_does_not_keep_them_refused(
    database: Database, amo: AmoStandin, clock: FakeClock
) -> None:
    amo.access.events = FEW
    take(amo, database, clock)
    amo.access.events = WANTED
    clock.jump(-timedelta(days=30).total_seconds())
    take(amo, database, clock)
    assert events(amo) == set(WANTED)


def test_what_one_account_refuses_another_is_asked_for(database: Database, amo: AmoStandin, clock: FakeClock) -> None:
    amo.access.events = FEW
    take(amo, database, clock)
    with amocrm_standin() as other:
        other.rate = 1000
        (step,) = take(other, database, clock)
        assert step.state == "good"
        assert events(other) == set(WANTED)


def test_the_webhook_of_a_former_secret_is_removed(database: Database, amo: AmoStandin, clock: FakeClock) -> None:
    ticked(amo, NEEDED, destination="https://somebody.example.com/else")
    take(amo, database, clock)
    steps = take(amo, database, clock, NEXT)
    assert [step.state for step in steps] == ["good", "good"]
    assert set(amo.access.hooks) == {NEXT, "https://somebody.example.com/else"}
    assert [one.destination for one in database.read_now(recall)] == [NEXT]
    assert [step.state for step in take(amo, database, clock, NEXT)] == ["good"]


def test_it_stays_until_the_new_address_was_reached(database: Database, amo: AmoStandin, clock: FakeClock) -> None:
    take(amo, database, clock)
    take(amo, database, clock, NEXT, reached=False)
    assert set(amo.access.hooks) == {HOOK, NEXT}
    take(amo, database, clock, NEXT)
    assert set(amo.access.hooks) == {NEXT}


def test_it_stays_while_the_new_one_is_switched_off(database: Database, amo: AmoStandin, clock: FakeClock) -> None:
    take(amo, database, clock)
    amo.access.born_disabled = True
    assert [step.state for step in take(amo, database, clock, NEXT)] == ["bad"]
    assert set(amo.access.hooks) == {HOOK, NEXT}


@pytest.mark.parametrize(("status", "state", "left"), [(404, "good", 0), (403, "warning", 1)])
def test_a_former_one_that_cannot_be_removed_is_named(
    database: Database, amo: AmoStandin, clock: FakeClock, status: int, state: str, left: int
) -> None:
    take(amo, database, clock)
    amo.fault(method="DELETE", path="/api/v4/webhooks", status=status)
    _hook, former = take(amo, database, clock, NEXT)
    assert (former.state, former.copied) == (state, HOOK if left else "")
    assert len(database.read_now(recall)) == 1 + left
    take(amo, database, clock, NEXT)
    assert len(database.read_now(recall)) == 1


def test_another_accounts_webhook_is_left_alone(database: Database, amo: AmoStandin, clock: FakeClock) -> None:
    take(amo, database, clock)
    with amocrm_standin() as other:
        other.rate = 1000
        assert len(take(other, database, clock, NEXT)) == 1
        assert not any(entry["method"] == "DELETE" for entry in other.log)
    assert {one.base_url for one in database.read_now(recall)} == {amo.url, other.url}
