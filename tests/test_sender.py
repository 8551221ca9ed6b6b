import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from otvet.clock import SystemClock
from tests.clocks import FakeClock
from tests.standins import sender
from tests.standins.faults import Faults
from tests.standins.sender import Attempt, Sender
from tests.standins.server import serving

MINUTE = 60.0


class Receiver:
    """A webhook that answers 200, unless ``faults`` say otherwise, and keeps what it was sent."""

    def __init__(self) -> None:
        self.url = ""
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.faults = Faults(Starlette(routes=[Route("/hook", self._receive, methods=["POST"])]))

    async def _receive(self, request: Request) -> Response:
        self.headers.append(dict(request.headers))
        self.bodies.append(await request.body())
        return Response()


@contextmanager
def receiver() -> Iterator[Receiver]:
    hook = Receiver()
    with serving(hook.faults) as url:
        hook.url = f"{url}/hook"
        yield hook


def deliver(url: str, clock: FakeClock, **options: float) -> list[Attempt]:
    async def run() -> list[Attempt]:
        async with Sender(url, clock, **options) as hook:
            return await hook.deliver(sender.incoming("Hello"))

    return asyncio.run(run())


def fields(body: bytes) -> dict[str, list[str]]:
    return parse_qs(body.decode(), keep_blank_values=True)


def test_an_incoming_message_looks_as_a_captured_one() -> None:
    assert sender.incoming("f", message_id="a0ce13c7-4825-4ecc-9dc0-b35c49b86db4") == (
        b"account%5Bsubdomain%5D=example"
        b"&account%5Bid%5D=29085955"
        b"&account%5B_links%5D%5Bself%5D=https%3A%2F%2Fexample.amocrm.ru"
        b"&message%5Badd%5D%5B0%5D%5Bid%5D=a0ce13c7-4825-4ecc-9dc0-b35c49b86db4"
        b"&message%5Badd%5D%5B0%5D%5Bchat_id%5D=54caee02-e383-46d8-a9b7-1fb43f07cffe"
        b"&message%5Badd%5D%5B0%5D%5Btalk_id%5D=100"
        b"&message%5Badd%5D%5B0%5D%5Bcontact_id%5D=93589657"
        b"&message%5Badd%5D%5B0%5D%5Btext%5D=f"
        b"&message%5Badd%5D%5B0%5D%5Bcreated_at%5D=1695482791"
        b"&message%5Badd%5D%5B0%5D%5Belement_type%5D=2"
        b"&message%5Badd%5D%5B0%5D%5Bentity_type%5D=lead"
        b"&message%5Badd%5D%5B0%5D%5Belement_id%5D=27754599"
        b"&message%5Badd%5D%5B0%5D%5Bentity_id%5D=27754599"
        b"&message%5Badd%5D%5B0%5D%5Btype%5D=incoming"
        b"&message%5Badd%5D%5B0%5D%5Bauthor%5D%5Bid%5D=1db2f5cc-aea4-4f96-8d4f-a256ead5b7b0"
        b"&message%5Badd%5D%5B0%5D%5Bauthor%5D%5Btype%5D=external"
        b"&message%5Badd%5D%5B0%5D%5Bauthor%5D%5Bname%5D=Client+1"
        b"&message%5Badd%5D%5B0%5D%5Borigin%5D=telegram"
    )


def test_text_is_encoded_as_a_form() -> None:
    assert b"%5Btext%5D=1+%2B+1+%26+%D0%B4%D0%B0&" in sender.incoming("1 + 1 & да")
    assert b"%5Btext%5D=&" in sender.incoming("")


def test_equal_messages_are_the_same_and_others_are_not() -> None:
    assert sender.incoming("Hello", created_at=1) == sender.incoming("Hello", created_at=1)
    ids = {
        fields(sender.incoming(text, created_at=at))["message[add][0][id]"][0]
        for text in ("Hello", "Bye")
        for at in (1, 2)
    }
    assert len(ids) == 4


def test_a_message_without_a_deal_has_no_fields_of_one() -> None:
    sent = fields(sender.incoming("Hello", lead_id=None))
    assert not [key for key in sent if "entity" in key or "element" in key]
    assert sent["message[add][0][contact_id]"] == ["93589657"]


def test_a_field_can_be_added_changed_or_taken_out() -> None:
    attachment = {"type": "voice", "link": "https://amojo.amocrm.ru/attachments/1.ogg"}
    sent = fields(sender.incoming("", attachment=attachment, type=None, origin="waba"))
    assert sent["message[add][0][attachment][type]"] == ["voice"]
    assert sent["message[add][0][origin]"] == ["waba"]
    assert "message[add][0][type]" not in sent


def test_an_outgoing_message_comes_under_either_name() -> None:
    for event in ("message", "outgoing_message"):
        sent = fields(sender.outgoing("Good day", event=event))
        assert sent[f"{event}[add][0][type]"] == ["outgoing"]
        assert sent[f"{event}[add][0][author][type]"] == ["internal"]
        assert sent[f"{event}[add][0][author][user_id]"] == ["940088"]
        assert sent[f"{event}[add][0][text]"] == ["Good day"]


def test_a_batch_counts_its_messages() -> None:
    sent = fields(sender.batch(sender.message("one"), sender.manager_message("two"), sender.message("three")))
    assert [sent[f"message[add][{index}][text]"][0] for index in range(3)] == ["one", "two", "three"]


def test_events_mix_indices_have_gaps_and_the_account_may_come_last() -> None:
    body = sender.body(
        ("talk", "add", [sender.talk(7)]),
        ("message", "add", {3: sender.message("three"), 9: sender.message("nine")}),
        account_last=True,
    )
    keys = [key for key, _ in parse_qsl(body.decode())]
    assert keys[0] == "talk[add][0][talk_id]"
    assert keys[-3:] == ["account[subdomain]", "account[id]", "account[_links][self]"]
    assert {"message[add][3][text]", "message[add][9][text]"} < set(keys)


def test_the_request_is_one_of_amocrm() -> None:
    with receiver() as hook:
        (attempt,) = deliver(hook.url, FakeClock())
    (headers,) = hook.headers
    assert attempt.status == 200
    assert hook.bodies == [sender.incoming("Hello")]
    assert headers.pop("host") in hook.url
    assert len(headers.pop("x-amocrm-requestid")) == 36
    assert headers == {
        "user-agent": "amoCRM-Webhooks/3.0",
        "accept-encoding": "gzip",
        "content-type": "application/x-www-form-urlencoded",
        "content-length": str(len(hook.bodies[0])),
    }


def test_a_success_is_not_repeated() -> None:
    with receiver() as hook:
        hook.faults.plan(status=202)
        assert [attempt.status for attempt in deliver(hook.url, FakeClock())] == [202]


def test_a_server_error_is_repeated_four_times() -> None:
    with receiver() as hook:
        hook.faults.plan(status=503, times=None)
        attempts = deliver(hook.url, FakeClock())
    assert [attempt.number for attempt in attempts] == [1, 2, 3, 4, 5]
    assert [attempt.at / MINUTE for attempt in attempts] == [0, 5, 20, 35, 95]
    assert {attempt.status for attempt in attempts} == {503}


def test_a_refusal_and_a_redirect_are_repeated_twice() -> None:
    for status in (301, 404):
        with receiver() as hook:
            hook.faults.plan(status=status, times=None, headers={"Location": "/elsewhere"})
            attempts = deliver(hook.url, FakeClock())
        assert [(attempt.status, attempt.at / MINUTE) for attempt in attempts] == [
            (status, 0),
            (status, 5),
            (status, 20),
        ]


def test_what_the_last_answer_was_decides() -> None:
    with receiver() as hook:
        for status in (404, 404, 500):
            hook.faults.plan(status=status)
        attempts = deliver(hook.url, FakeClock())
    assert [attempt.status for attempt in attempts] == [404, 404, 500, 200]


def test_nobody_listening_and_a_dropped_connection_are_no_answer() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        attempts = deliver(f"http://127.0.0.1:{closed.getsockname()[1]}/hook", FakeClock())
    assert [attempt.status for attempt in attempts] == [0, 0, 0]
    with receiver() as hook:
        hook.faults.plan(drop="after")
        assert [attempt.status for attempt in deliver(hook.url, FakeClock())] == [0, 200]
    assert len(hook.bodies) == 2


def test_a_late_answer_is_none() -> None:
    with receiver() as hook:
        hook.faults.plan(delay=60)
        attempts = deliver(hook.url, FakeClock(), time_limit=0.1)
    assert [attempt.status for attempt in attempts] == [499, 200]


def test_the_time_limit_is_two_seconds_unless_another_is_given() -> None:
    async def run(url: str) -> Attempt:
        async with Sender(url, SystemClock(), time_limit=0.1) as hook:
            return await hook.send(b"")

    with receiver() as hook:
        hook.faults.plan(delay=60)
        attempt = asyncio.run(run(hook.url))
    assert attempt.status == 499
    assert attempt.seconds < sender.TIME_LIMIT == 2


def test_the_schedule_is_scaled() -> None:
    with receiver() as hook:
        hook.faults.plan(status=500, times=None)
        attempts = deliver(hook.url, FakeClock(), scale=1 / 60)
    assert [round(attempt.at, 6) for attempt in attempts] == [0, 5, 20, 35, 95]


def test_an_attempt_knows_how_long_it_took() -> None:
    clock = FakeClock()

    async def run(url: str) -> Attempt:
        async with Sender(url, clock) as hook:
            clock.advance(10)
            begun = asyncio.create_task(hook.send(b""))
            await asyncio.sleep(0)
            clock.advance(1.5)
            return await begun

    with receiver() as hook:
        attempt = asyncio.run(run(hook.url))
    assert (attempt.status, attempt.at, attempt.seconds) == (200, 11.5, 1.5)


def disabled_after(failures: list[float], scale: float = 1.0) -> float | None:
    """When the hook would be switched off, if its answers are invalid at these seconds."""
    clock = FakeClock()

    async def run(url: str) -> float | None:
        async with Sender(url, clock, scale) as hook:
            for at in failures:
                clock.advance(at - clock.monotonic())
                await hook.send(b"")
            return hook.disabled_at

    with receiver() as hook:
        hook.faults.plan(status=500, times=None)
        return asyncio.run(run(hook.url))


def test_more_than_a_hundred_failures_in_two_hours_disable_the_hook() -> None:
    assert disabled_after([float(at) for at in range(100)]) is None
    assert disabled_after([float(at) for at in range(103)]) == 100.0


def test_failures_of_more_than_two_hours_ago_do_not_count() -> None:
    late = [7300.0 + at for at in range(51)]
    assert disabled_after([float(at) for at in range(50)] + late) is None
    assert disabled_after([float(at) for at in range(50)] + late, scale=2) == late[-1]


def test_a_success_does_not_disable_the_hook() -> None:
    async def run(url: str) -> tuple[int, float | None]:
        async with Sender(url, FakeClock()) as hook:
            for _ in range(150):
                await hook.send(b"")
            return len(hook.attempts), hook.disabled_at

    with receiver() as hook:
        assert asyncio.run(run(hook.url)) == (150, None)
