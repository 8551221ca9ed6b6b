"""Whose a delivery to Manus's webhook is and what it says, with signatures of a real key; and its registration."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from otvet.clock import SystemClock
from otvet.errors import StorageError
from otvet.manus import Webhook
from otvet.responders.manus.api import ManusApi, ManusError
from otvet.responders.manus.webhook import KEY_SECONDS, WINDOW_SECONDS, Signatures, is_fresh, register, stopped_task
from otvet.task_stops import TaskStops
from otvet.web.manus import ManusWebhook
from tests.clocks import FakeClock
from tests.standins.manus import ManusStandin, manus_standin, signing_key
from tests.standins.server import serving

T = TypeVar("T")

URL = "https://otvet.example.com/webhook/manus"


@pytest.fixture(scope="module")
def running() -> Iterator[ManusStandin]:
    with manus_standin() as standin:
        yield standin


@pytest.fixture
def manus(running: ManusStandin) -> ManusStandin:
    running.reset()
    return running


def call(manus: ManusStandin, use: Callable[[ManusApi], Awaitable[T]]) -> T:
    async def run() -> T:
        async with httpx2.AsyncClient(timeout=5) as http:
            return await use(ManusApi(http, manus.url, manus.key))

    return asyncio.run(run())


class Now(FakeClock):
    """The wall clock is the machine's, as the stand-in's signatures are; only measured time is moved by hand."""

    def now(self) -> Any:
        return SystemClock().now()


def genuine(manus: ManusStandin, *deliveries: tuple[bytes, dict[str, str]], pause: float = 0) -> list[bool]:
    """What one server thinks of some deliveries, so many seconds apart."""

    async def judge(api: ManusApi) -> list[bool]:
        clock = Now()
        signatures, found = Signatures(api, clock, URL), []
        for body, headers in deliveries:
            found.append(
                await signatures.are_genuine(body, headers["X-Webhook-Signature"], headers["X-Webhook-Timestamp"])
            )
            clock.advance(pause)
        return found

    return call(manus, judge)


class TestSignature:
    @pytest.mark.parametrize("signing", ["single", "double"])
    def test_both_ways_in_which_manus_may_sign(self, manus: ManusStandin, signing: Any) -> None:
        assert genuine(manus, manus.delivery("T", URL, signing=signing)) == [True]

    @pytest.mark.parametrize("signing", ["other key", "other address", "other body"])
    def test_what_manus_did_not_sign_for_us(self, manus: ManusStandin, signing: Any) -> None:
        assert genuine(manus, manus.delivery("T", URL, signing=signing)) == [False]

    @pytest.mark.parametrize("signature", ["", "!", "ж", "AAAA", "A" * 344, "A" * 100_000])
    def test_what_is_no_signature(self, manus: ManusStandin, signature: str) -> None:
        body, headers = manus.delivery("T", URL)
        assert genuine(manus, (body, headers | {"X-Webhook-Signature": signature})) == [False]

    def test_another_time_was_not_signed(self, manus: ManusStandin) -> None:
        body, headers = manus.delivery("T", URL)
        later = str(int(headers["X-Webhook-Timestamp"]) + 1)
        assert genuine(manus, (body, headers | {"X-Webhook-Timestamp": later})) == [False]

    @pytest.mark.parametrize(("age", "taken"), [(290, True), (310, False), (-290, True), (-310, False)])
    def test_what_was_signed_more_than_five_minutes_away_is_refused(
        self, manus: ManusStandin, age: float, taken: bool
    ) -> None:
        assert genuine(manus, manus.delivery("T", URL, age=age)) == [taken]

    def test_the_window_is_exact(self) -> None:
        now = 1_800_000_000
        fresh = [is_fresh(str(now + moved), now) for moved in (-WINDOW_SECONDS - 1, -WINDOW_SECONDS, WINDOW_SECONDS)]
        assert fresh == [False, True, True]

    @pytest.mark.parametrize("timestamp", ["", "soon", "-1", "1e9", "²", "9" * 5000])
    def test_what_is_no_time(self, timestamp: str) -> None:
        assert not is_fresh(timestamp, 1_800_000_000)


class TestKey:
    def fetched(self, manus: ManusStandin) -> int:
        return manus.requests.count("webhook.publicKey")

    def test_it_is_fetched_once(self, manus: ManusStandin) -> None:
        assert genuine(manus, *[manus.delivery("T", URL)] * 3, pause=3600) == [True] * 3
        assert self.fetched(manus) == 1

    def test_a_new_one_is_fetched_when_a_check_fails(self, manus: ManusStandin) -> None:
        before = manus.delivery("T", URL)

        async def judge(api: ManusApi) -> list[bool]:
            clock = Now()
            signatures = Signatures(api, clock, URL)
            found = [await signatures.are_genuine(before[0], *before[1].values())]
            manus.signing_key = signing_key("new")
            after = manus.delivery("T", URL)
            for _ in range(2):
                found.append(await signatures.are_genuine(after[0], *after[1].values()))
                clock.advance(KEY_SECONDS)
            return found

        assert call(manus, judge) == [True, False, True]

    def test_strangers_do_not_have_it_fetched_all_the_time(self, manus: ManusStandin) -> None:
        assert not any(genuine(manus, *[manus.delivery("T", URL, signing="other key")] * 30, pause=10))
        assert self.fetched(manus) == 30 * 10 / KEY_SECONDS

    def test_nor_is_manus_asked_for_what_is_too_old(self, manus: ManusStandin) -> None:
        genuine(manus, manus.delivery("T", URL, age=400))
        assert self.fetched(manus) == 0

    @pytest.mark.parametrize(
        "fault",
        [{"code": "internal"}, {"status": 200, "body": '{"ok": true}'}, {"status": 200, "body": '{"public_key": "x"}'}],
        ids=str,
    )
    def test_without_a_key_nobody_can_say(self, manus: ManusStandin, fault: dict[str, Any]) -> None:
        manus.fault("webhook.publicKey", **fault)
        with pytest.raises(ManusError):
            genuine(manus, manus.delivery("T", URL))
        assert genuine(manus, manus.delivery("T", URL)) == [True]


class TestBody:
    def test_the_task_that_stopped(self, manus: ManusStandin) -> None:
        assert stopped_task(manus.delivery("T", URL)[0]) == "T"

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"null",
            b"[]",
            b"\xff\xfe",
            b"[" * 100_000,
            b'{"event_type": "task_stopped"}',
            b'{"event_type": "task_created", "task_detail": {"task_id": "T"}}',
            b'{"event_type": "task_stopped", "task_detail": []}',
            b'{"event_type": "task_stopped", "task_detail": {"task_id": 7}}',
            b'{"event_type": "task_stopped", "task_detail": {"task_id": ""}}',
            json.dumps({"event_type": "task_stopped", "task_detail": {"task_id": "T" * 101}}).encode(),
        ],
        ids=lambda body: repr(body[:60]),
    )
    def test_anything_else_is_about_no_task(self, body: bytes) -> None:
        assert stopped_task(body) is None


class Memory:
    """Kept, in memory."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    async def recall(self, name: str) -> str | None:
        return self.values.get(name) or None

    async def keep(self, name: str, value: str) -> None:
        self.values[name] = value


class Stops(TaskStops):
    """Keeps what it is told in memory, or cannot."""

    def __init__(self, fails: bool) -> None:
        self.fails = fails
        self.taken: list[str] = []

    async def take(self, delivery: str, task: str) -> bool:
        if self.fails:
            raise StorageError("the disk is full")
        self.taken.append(task)
        return True


class TestAnswers:
    """Over a socket; what a running Otvet makes of it is in test_manus_cases.py."""

    def post(self, manus: ManusStandin, stops: Stops, **headers: str) -> int:
        async def take(request: Request) -> Response:
            async with httpx2.AsyncClient() as http:
                signatures = Signatures(ManusApi(http, manus.url, manus.key), SystemClock(), URL)
                return await ManusWebhook(Webhook(URL, signatures, stops)).take(request)

        body, signed = manus.delivery("T", URL)
        with serving(Starlette(routes=[Route("/", take, methods=["POST"])])) as url:
            return httpx2.post(url, content=body, headers=signed | headers, trust_env=False).status_code

    def test_taken(self, manus: ManusStandin) -> None:
        stops = Stops(fails=False)
        assert (self.post(manus, stops), stops.taken) == (200, ["T"])

    def test_what_could_not_be_kept_may_come_again(self, manus: ManusStandin) -> None:
        assert self.post(manus, Stops(fails=True)) == 503

    def test_so_may_what_could_not_be_told_from_a_strangers(self, manus: ManusStandin) -> None:
        manus.fault("webhook.publicKey", code="internal")
        assert self.post(manus, Stops(fails=False)) == 503

    @pytest.mark.parametrize("header", ["X-Webhook-Signature", "X-Webhook-Timestamp"])
    def test_half_of_a_signature_is_a_wrong_one(self, manus: ManusStandin, header: str) -> None:
        stops = Stops(fails=False)
        assert (self.post(manus, stops, **{header: ""}), stops.taken) == (401, [])


class TestRegistration:
    NEW = "https://new.example.com/webhook/manus"

    @pytest.fixture(autouse=True)
    def _at_hand(self, manus: ManusStandin) -> Iterator[None]:
        """Some server that answers the test requests."""
        with serving(PlainTextResponse("OK")) as url:
            manus.reach = ("https://otvet.example.com", url)
            yield

    def urls(self, manus: ManusStandin) -> list[str]:
        return [hook["url"] for hook in manus.hooks.values()]

    def test_it_is_done_once(self, manus: ManusStandin) -> None:
        kept = Memory()
        for _ in range(2):
            call(manus, lambda api: register(api, URL, kept))
        assert self.urls(manus) == [URL]
        assert manus.requests.count("webhook.create") == 1

    def test_one_made_by_hand_is_enough(self, manus: ManusStandin) -> None:
        call(manus, lambda api: api.create_webhook(URL))
        call(manus, lambda api: register(api, URL, Memory()))
        assert self.urls(manus) == [URL]

    def test_one_that_is_switched_off_is_made_anew(self, manus: ManusStandin) -> None:
        kept = Memory()
        call(manus, lambda api: register(api, URL, kept))
        (dead,) = manus.hooks.values()
        dead["status"] = "inactive"
        call(manus, lambda api: register(api, URL, kept))
        (hook,) = manus.hooks.values()
        assert (hook["url"], hook["status"]) == (URL, "active")
        assert [hook["id"]] == list(kept.values.values()) != [dead["id"]]

    def test_an_address_that_was_ours_is_withdrawn_and_no_other(self, manus: ManusStandin) -> None:
        kept = Memory()
        call(manus, lambda api: api.create_webhook(f"{URL}/of-somebody-else"))
        call(manus, lambda api: register(api, URL, kept))
        manus.reach = ("https://new.example.com", manus.reach[1])
        call(manus, lambda api: register(api, self.NEW, kept))
        assert self.urls(manus) == [f"{URL}/of-somebody-else", self.NEW]

    def test_an_address_that_does_not_answer_is_refused(self, manus: ManusStandin) -> None:
        manus.reach = ("https://otvet.example.com", "http://127.0.0.1:9")
        kept = Memory()
        with pytest.raises(ManusError):
            call(manus, lambda api: register(api, URL, kept))
        assert (manus.hooks, kept.values) == ({}, {})
