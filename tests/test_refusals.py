"""What amoCRM refuses: everything, so that all calls stop and replies wait; or one deal, so that the others go on."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import httpx2
import pytest

from otvet.account import tokens
from otvet.account.renewal import Tokens
from otvet.amocrm import oauth
from otvet.amocrm.client import AmoClient
from otvet.answering.answering import Answering
from otvet.delivery.methods import DeliveryOptions
from otvet.storage import outages
from otvet.storage.database import Database
from otvet.turns import turn as turn_
from otvet.turns.policy import Policy
from otvet.turns.turn import Reason, State, turns
from otvet.widget import waiting as bot_waits
from tests.clocks import FakeClock
from tests.standins.amocrm import BLOCKED, AmoStandin
from tests.standins.sender import incoming
from tests.test_answer import LEAD, Stage, gate_of
from tests.test_deliver import BOT, RUN, account, lost_run
from tests.test_tokens import DAY, KEYS, VAULT

OTHER = LEAD + 1
NOTES = "/api/v4/leads/*/notes"
BLOCK: dict[str, Any] = {"status": 403, "body": BLOCKED, "content_type": "text/html"}
AN_HOUR = outages.RETRY_AFTER["banned"].total_seconds()


@pytest.fixture
def amo() -> Iterator[AmoStandin]:
    with account() as amo:
        amo.add_lead(OTHER)
        yield amo


NEVER_STALE = Policy(stale=timedelta(days=365))  # the clock goes on while somebody waits for a real answer


class Common(FakeClock):
    """A clock that goes on for all who sleep at the same time."""

    async def sleep(self, seconds: float) -> None:
        end = self.monotonic() + seconds
        while self.monotonic() < end:
            await asyncio.sleep(0)

    async def until(self, look: Callable[[], bool]) -> None:
        deadline = self.monotonic() + DAY
        while not look():
            assert self.monotonic() < deadline, "waited for a day in vain"
            self.advance(0.5)
            await asyncio.sleep(0)

    async def ends_of(self, *under_way: Awaitable[str]) -> list[str]:
        ended = asyncio.gather(*under_way)
        await self.until(ended.done)
        return ended.result()


# One deal


def play_two_deals(database: Database, amo: AmoStandin, text: str = "hello") -> tuple[list[str], Stage]:
    """A reply in one deal, then in the other, while the outage probe is at work: how both end."""
    stage = Stage(database, amo=amo)
    stage.policy = NEVER_STALE
    stage.clock = clock = Common()
    (first,), (other,) = stage.client_writes(text), stage.client_writes(lead_id=OTHER)
    ended: list[str] = []

    async def play(answering: Answering) -> None:
        looking = asyncio.create_task(stage.look_out())
        for turn in (first, other):
            ended.extend(await clock.ends_of(answering.answer(turn)))
        looking.cancel()

    stage.run(play)
    return ended, stage


@pytest.mark.parametrize("status", [402, 403])
def test_a_deal_that_the_token_may_not_touch_stops_no_other(database: Database, amo: AmoStandin, status: int) -> None:
    amo.fault(path=f"/api/v4/leads/{LEAD}/notes", status=status, times=None)
    ended, _stage = play_two_deals(database, amo)
    assert ended == [State.FAILED, State.SENT]
    (failed,) = database.read_now(lambda connection: turn_.listed(connection, (State.FAILED,), 10))
    assert "takes other calls, but not this one" in failed.reason
    assert [one["path"].rsplit("/", 1)[1] for one in amo.log] == ["notes", "account", "notes"]


def test_a_task_that_may_not_be_made_does_not_keep_the_reply(database: Database, amo: AmoStandin) -> None:
    amo.fault(path="/api/v4/tasks", method="POST", status=403)
    ended, _stage = play_two_deals(database, amo, "operator")
    assert ended == [State.SENT, State.SENT]
    assert len(amo.notes(LEAD)) == 1


@pytest.mark.parametrize("status", [402, 403])
def test_an_account_that_is_refused_everything_waits(database: Database, amo: AmoStandin, status: int) -> None:
    amo.fault(path="/api/*", status=status, times=2)
    ended, stage = play_two_deals(database, amo)
    assert ended == [State.SENT, State.SENT]
    assert stage.clock.monotonic() >= outages.RETRY_AFTER["forbidden"].total_seconds()
    assert [one["path"].rsplit("/", 1)[1] for one in amo.log[:3]] == ["notes", "account", "account"]


# A block, whatever was called when it was seen


class Renewing(Stage):
    """A token of a consent, which is renewed when a quarter of its life is left."""

    def client(self, http: httpx2.AsyncClient) -> AmoClient:
        assert self._amo is not None
        source = Tokens(self.database, self.clock, http, VAULT, self._amo.url, KEYS)
        gate = partial(outages.check, self.database)
        return AmoClient(http, self._amo.url, source, None, gate)


def by_note(database: Database, amo: AmoStandin) -> Stage:
    return Stage(database, amo=amo)


def by_salesbot(database: Database, amo: AmoStandin) -> Stage:
    stage = Stage(database, amo=amo)
    stage.delivery_options = DeliveryOptions(
        via={"*": "salesbot"}, note=False, salesbot_id=BOT, field_id=amo.chats.add_bot(BOT)
    )
    return stage


def by_widget(database: Database, amo: AmoStandin) -> Stage:
    stage = Stage(database, amo=amo)
    stage.delivery_options = DeliveryOptions(via={"*": "widget"}, note=False)
    for lead_id in (LEAD, OTHER):
        with database.writes.begin() as connection:
            bot_waits.save(connection, lead_id, amo.chats.wait(lead_id), None, stage.clock.now())
    return stage


def by_talk(database: Database, amo: AmoStandin) -> Stage:
    stage = Stage(database, amo=amo)
    stage.delivery_options = DeliveryOptions(via={"*": "talk"}, note=False)
    amo.chats.talks |= {100: LEAD, 101: OTHER}
    return stage


def by_consent(database: Database, amo: AmoStandin) -> Stage:
    stage = Renewing(database, amo=amo)
    amo.access.integration(KEYS.client_id, KEYS.client_secret, KEYS.redirect_url)
    amo.access.life = 10 * DAY

    async def consent() -> oauth.Pair:
        async with httpx2.AsyncClient(trust_env=False) as http:
            return await oauth.exchange_code(http, amo.url, KEYS, amo.access.code(KEYS.client_id))

    pair = asyncio.run(consent())
    with database.writes.begin() as connection:
        tokens.keep_consent(connection, VAULT, amo.url, KEYS, pair, stage.clock.now())
    stage.clock.advance(8 * DAY)
    return stage


Staging = Callable[[Database, AmoStandin], Stage]
BLOCKED_AT: dict[str, tuple[Staging, str, str]] = {
    "note": (by_note, "POST", NOTES),
    "field": (by_salesbot, "PATCH", "/api/v4/leads/*"),
    "run": (by_salesbot, "POST", RUN),
    "continue": (by_widget, "POST", "/api/v4/salesbot/*"),
    "talk": (by_talk, "POST", "/api/v4/talks/*"),
    "refresh": (by_consent, "POST", "/oauth2/access_token"),
}


@pytest.mark.parametrize(("stage_of", "method", "path"), BLOCKED_AT.values(), ids=BLOCKED_AT)
def test_a_block_stops_all_calls_at_once_and_what_waits_goes_out_after_it(
    database: Database, amo: AmoStandin, stage_of: Staging, method: str, path: str
) -> None:
    stage = stage_of(database, amo)
    stage.policy = NEVER_STALE
    stage.clock = clock = Common(stage.clock.now())
    (first,) = stage.client_writes()
    (other,) = stage.receive(incoming("hello", **{**stage._new(OTHER), "talk_id": 101}))
    amo.fault(method=method, path=path, **BLOCK)

    async def play(answering: Answering) -> None:
        under_way = [asyncio.create_task(answering.answer(first))]
        await clock.until(lambda: gate_of(database) is not None)
        blocked_at, calls = clock.monotonic(), len(amo.log)
        assert fnmatchcase(amo.log[-1]["path"], path)  # nobody asks back
        under_way.append(asyncio.create_task(answering.answer(other)))
        looking = asyncio.create_task(stage.look_out())
        await clock.until(lambda: len(amo.log) > calls)
        assert clock.monotonic() - blocked_at >= AN_HOUR
        assert not any(task.done() for task in under_way)
        assert await clock.ends_of(*under_way) == [State.SENT, State.SENT]
        looking.cancel()

    stage.run(play)
    assert gate_of(database) is None
    for lead_id in (LEAD, OTHER):
        assert len(amo.notes(lead_id)) + len(amo.chats.told(lead_id)) == 1


def test_a_block_that_is_met_while_amocrm_is_asked_what_came(database: Database, amo: AmoStandin) -> None:
    stage = by_salesbot(database, amo)
    stage.policy = NEVER_STALE
    turn = lost_run(stage, amo, "after")
    stage.clock = clock = Common(stage.clock.now())
    amo.fault(path="/api/v4/events", **BLOCK)

    async def play(answering: Answering) -> None:
        looking = asyncio.create_task(stage.look_out())
        assert await clock.ends_of(answering.answer(turn)) == [State.SENT]
        looking.cancel()

    stage.run(play)
    assert [one["path"] for one in amo.log][-3:] == ["/api/v4/events", "/api/v4/account", "/api/v4/events"]
    assert len(amo.chats.runs) == 1


def test_a_block_that_is_met_at_the_start_is_heeded(database: Database, amo: AmoStandin) -> None:
    stage = by_salesbot(database, amo)
    stage.delivery_options = DeliveryOptions(via=stage.delivery_options.via, salesbot_id=BOT)
    amo.fault(path="/api/v4/leads/custom_fields", **BLOCK)

    async def play(_answering: Answering) -> None:
        await stage.delivery.prepare()

    stage.run(play)
    assert gate_of(database) is not None


def test_a_block_that_is_met_when_a_bot_is_released_is_heeded(database: Database, amo: AmoStandin) -> None:
    stage = by_widget(database, amo)
    amo.fault(path="/api/v4/salesbot/*", **BLOCK)
    first, other = (stage.client_writes("hello", lead_id)[0] for lead_id in (LEAD, OTHER))
    with database.writes.begin() as connection:
        connection.execute(turns.update().values(state=State.HANDED, reason=Reason.STALE))

    async def play(_answering: Answering) -> None:
        for turn in (first, other):
            await stage.delivery.release(stage.turn(turn))

    stage.run(play)
    assert gate_of(database) is not None
    assert len(amo.log) == 1
