"""A model's service that counts, answers or fails in its own way: no question is lost or paid twice by it."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from otvet.errors import SettingsError
from otvet.responders.base import Declined, Reply, ResponderError, Unavailable
from otvet.responders.chat.body import read_body
from otvet.responders.chat.completion import LONGEST_WAIT_SECONDS, read_completion, retry_after
from otvet.responders.chat.models import from_settings
from otvet.responders.chat.responder import ChatResponder
from otvet.settings.loading import load_settings
from otvet.storage.storable import LARGEST, storable
from tests.clocks import FakeClock
from tests.running import otvet, wait_for
from tests.standins.amocrm import AmoStandin, amocrm_standin
from tests.standins.openai import ANSWER, KEY, OpenAiStandin
from tests.standins.sender import incoming
from tests.standins.socks import socks_standin
from tests.test_chat import Attempt, Shop, asked
from tests.test_end_to_end import connected

LEAD = 27754599
PIECES = ["Да, ", "доставляем", "."]


@pytest.fixture
def shop(service: OpenAiStandin) -> Shop:
    return Shop(service, FakeClock())


def completion(text: str = ANSWER, **more: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], **more}


def chunks(*, done: str = "data: [DONE]\n\n", before: str = "") -> str:
    told = [{"model": "m", "choices": [{"delta": {"role": "assistant", "content": piece}}]} for piece in PIECES]
    told.append({"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": {"total_tokens": 9}})
    return "".join(f"{before}data: {json.dumps(one)}\n\n" for one in told) + done


# What it counts and names


@pytest.mark.parametrize("count", [2**63, 10**400, -33_849, -1, True, 1e30, "9"])
def test_a_count_that_cannot_be_right_is_estimated(shop: Shop, service: OpenAiStandin, count: Any) -> None:
    body = completion(usage={"total_tokens": count, "prompt_tokens": count, "completion_tokens": 5})
    service.app.plan(status=200, body=json.dumps(body))
    if count == 10**400:
        assert 0 < read_completion(body, 10).tokens["tokens"] < 1000  # JSON as it is read holds no such number
        return
    details = shop.ask().details
    assert details["estimated"] is True
    assert 0 < details["tokens"] < 10_000
    assert all(0 <= number <= LARGEST for name, number in details.items() if name.endswith("tokens"))


@pytest.mark.parametrize("name", ["m\ud83d", "m\x00", "m" * 5000, ["m"], {"m": "\udc00"}, 7])
def test_whatever_it_calls_itself_can_be_stored(shop: Shop, service: OpenAiStandin, name: Any) -> None:
    service.app.plan(status=200, body=json.dumps(completion(model=name)))
    model = shop.ask().model
    assert model
    assert len(model) <= 200
    assert "\x00" not in model
    model.encode()


def test_what_cannot_be_stored_is_taken_out() -> None:
    told = storable({"a\ud83d": ["x\x00y", 2**70, -(2**70), float("inf"), None, True, 1.5, {"b": (1,)}], "c": object})
    json.dumps(told).encode()
    assert told["a"] == ["xy", LARGEST, -LARGEST, None, None, True, 1.5, {"b": [1]}]


@pytest.mark.slow
def test_a_turn_ends_though_everything_in_the_answer_is_odd(tmp_path: Path, service: OpenAiStandin) -> None:
    body = completion(f"{ANSWER}\ud83d\x00", model="m\ud83d", usage={"total_tokens": 2**64})
    service.app.plan(status=200, body=json.dumps(body), times=None)
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        settings = connected(amo) | {
            "OTVET_RESPONDERS": "openai",
            "OTVET_OPENAI_BASE_URL": f"{service.url}/v1",
            "OTVET_OPENAI_MODEL": "m",
        }
        with otvet(tmp_path, **settings) as server:
            server.deliver(incoming("Есть ли доставка?"))
            wait_for(lambda: note_of(amo), "a note")
            wait_for(server.settled, "the turn closed")
            turn = server.get("/api/turns/1")
    assert note_of(amo).startswith(ANSWER)
    assert (turn["state"], turn["responder"]) == ("sent", "openai")
    assert len(service.app.log) == 1


def note_of(amo: AmoStandin) -> str:
    return "".join(note["params"]["text"] for note in amo.notes(LEAD))


# How it answers


@pytest.mark.parametrize(
    "body",
    [
        chunks(),
        chunks(done=""),
        chunks(done="data:[DONE]"),
        chunks(before=": keep-alive\n"),
        chunks(before="event: message\n"),
        chunks().replace("\n\n", "\r\n\r\n"),
        chunks(done="[DONE]"),
        f"data: {json.dumps(completion())}\n\ndata: [DONE]\n\n",
        f"{json.dumps(completion())}data: [DONE]",
        f"{json.dumps(completion())}\n[DONE]\n",
        f"\ufeff{json.dumps(completion())}",
    ],
)
def test_a_stream_that_nobody_asked_for_is_read(shop: Shop, service: OpenAiStandin, body: str) -> None:
    service.app.plan(status=200, body=body.encode(), content_type="text/event-stream")
    assert shop.ask().text == ANSWER


@pytest.mark.parametrize("body", ["data: [DONE]", "data: nothing", "{} and more", ": only a comment", "data: [1]"])
def test_a_stream_without_an_answer_is_a_fault(body: str) -> None:
    with pytest.raises((ValueError, ResponderError)):
        read_completion(read_body(body.encode()))


def test_a_stream_that_breaks_off_is_half_an_answer(shop: Shop, service: OpenAiStandin) -> None:
    half = "".join(f"data: {json.dumps({'choices': [{'delta': {'content': piece}}]})}\n\n" for piece in PIECES[:2])
    for _ in range(2):
        service.app.plan(status=200, body=half.encode(), content_type="text/event-stream")
    assert "breaks off" in str(shop.fails())


@pytest.mark.parametrize(
    ("error", "status", "permanent"),
    [
        ({"code": "402", "message": "x"}, 402, True),
        ({"code": 402}, 402, True),
        ({"code": "429"}, 429, False),
        ({"code": "rate_limited", "status": 429}, 429, False),
        ({"code": "insufficient_quota"}, 402, True),
        ({"type": "insufficient_balance"}, 402, True),
        ({"code": "invalid_api_key", "status": "401"}, 401, True),
        ({"message": "overloaded"}, 500, False),
        ("overloaded", 500, False),
        ({"code": 999_999}, 500, False),
        ({"code": None}, 500, False),
    ],
)
def test_an_error_in_a_success_is_what_it_says(error: object, status: int, permanent: bool) -> None:
    with pytest.raises(ResponderError) as caught:
        read_completion({"error": error})
    assert caught.value.permanent is permanent
    assert str(status) in str(caught.value) or caught.value.status in (status, 500)
    assert ("out of credit" in str(caught.value)) is (status == 402)


def test_a_filter_that_is_told_as_an_error() -> None:
    with pytest.raises(Declined):
        read_completion({"error": {"code": "content_filter", "message": "x"}})


@pytest.mark.parametrize("finish", [["stop"], {"a": 1}, 7])
def test_a_reason_that_is_no_word(shop: Shop, service: OpenAiStandin, finish: Any) -> None:
    service.say(ANSWER, finish_reason=finish)
    assert shop.ask().text == ANSWER


# How it fails


def test_it_is_asked_again_when_it_wants_to_be(shop: Shop, service: OpenAiStandin) -> None:
    service.app.plan(status=429, headers={"retry-after": "3"})
    assert shop.ask().text == ANSWER
    assert 3 <= shop.clock.monotonic() <= 4


def test_what_takes_too_long_is_not_waited_for_nor_by_the_next_question(service: OpenAiStandin) -> None:
    clock = FakeClock()
    responder = ChatResponder(Shop(service, clock).model(), clock)
    service.app.plan(status=503, headers={"retry-after": "60"})

    async def run() -> Reply:
        for _ in range(2):
            with pytest.raises(Unavailable) as caught:
                await responder.reply(asked(), Attempt(clock))
            assert 50 < caught.value.seconds <= 60
        assert len(service.app.log) == 1
        clock.advance(60)
        reply = await responder.reply(asked(), Attempt(clock))
        await responder.aclose()
        return reply

    assert asyncio.run(run()).text == ANSWER


def test_a_wish_to_be_left_alone_may_be_a_date() -> None:
    later = datetime.now(UTC) + timedelta(seconds=20)
    assert 15 < (retry_after(format_datetime(later, usegmt=True)) or 0) <= 20
    assert [retry_after(text) for text in ("2.5", "0", "-4", "999999999", "soon", "nan", "", None)] == [
        2.5,
        0,
        0,
        LONGEST_WAIT_SECONDS,
        None,
        None,
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, {"code": "context_length_exceeded"}),
        (400, {"message": "This model's maximum context length is 4096 tokens."}),
        (413, {"message": "prompt is too long"}),
        (500, {"message": "the request exceeds the available context size"}),
    ],
)
def test_a_prompt_that_is_too_long_is_sent_once_more_shorter(
    shop: Shop, service: OpenAiStandin, status: int, error: dict[str, Any]
) -> None:
    service.app.plan(status=status, body=json.dumps({"error": error}))
    told = asked(history=asked(*(f"Вопрос {number}: {'слово ' * 60}" for number in range(60))).question)
    assert shop.ask(told).text == ANSWER
    assert len(service.app.log) == 2
    shorter = sum(len(message["content"]) for message in service.body["messages"])
    assert shorter < 7000  # of more than 12,000


def test_one_that_stays_too_long_is_a_fault(shop: Shop, service: OpenAiStandin) -> None:
    service.app.plan(status=400, body=json.dumps({"error": {"code": "context_length_exceeded"}}), times=2)
    assert shop.fails().permanent
    assert len(service.app.log) == 2


# How it is reached


def test_a_proxy_of_the_environment_may_be_socks(
    shop: Shop, service: OpenAiStandin, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socks_standin() as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert shop.ask().text == ANSWER
        assert proxy.asked == [("127.0.0.1", int(service.url.rpartition(":")[2]))]


def test_the_model_alone_may_have_a_proxy(service: OpenAiStandin, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    with socks_standin() as proxy:
        settings = {
            "openai_base_url": f"{service.url}/v1",
            "openai_model": "m",
            "openai_api_key": f" {KEY}\n",
            "openai_proxy": f" {proxy.url} ",
        }
        responder = from_settings(load_settings(**settings), FakeClock())
        assert responder

        async def run() -> Reply:
            reply = await responder.reply(asked(), Attempt(FakeClock()))
            await responder.aclose()
            return reply

        assert asyncio.run(run()).text == ANSWER
        assert len(proxy.asked) == 1
    assert service.requests[0]["headers"]["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("address", ["127.0.0.1:1080", "ftp://host", "socks5://", "http://host:0", "http://h/path"])
def test_what_is_no_proxy_is_refused_in_one_line(address: str) -> None:
    with pytest.raises(SettingsError, match=r"^OTVET_OPENAI_PROXY: give an address .*$"):
        load_settings(openai_proxy=address)


def test_gigachat_s_client_takes_no_proxy_of_its_own() -> None:
    settings = load_settings(
        openai_client="gigachat", openai_model="GigaChat-2", openai_api_key=KEY, openai_proxy="socks5://127.0.0.1:1"
    )
    with pytest.raises(SettingsError, match="HTTPS_PROXY"):
        from_settings(settings, FakeClock())


@pytest.mark.parametrize("name", ["openai_api_key", "manus_api_key", "transcribe_api_key"])
def test_blanks_around_a_key_are_not_part_of_it(name: str) -> None:
    held = getattr(load_settings(**{name: f"\t {KEY} \r\n"}), name)
    assert held.get_secret_value() == KEY
    assert getattr(load_settings(**{name: "  "}), name) is None
