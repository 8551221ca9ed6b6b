"""GigaChat through a client of its own: signing in, tokens, answers, faults.

The package is an extra. Where it is installed every test runs with it too; the other client does over HTTP what is
used of it.
"""

import asyncio
import sys
import traceback
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from otvet.errors import SettingsError
from otvet.responders.base import Context, Declined, Line, Reply, ResponderError
from otvet.responders.chat.gigachat import Library, _load
from otvet.responders.chat.models import from_settings
from otvet.settings.loading import load_settings
from tests.certificates import make_certificates
from tests.clocks import FakeClock
from tests.standins.gigachat import load_plain_client, signing_in_at
from tests.standins.openai import ANSWER, OpenAiStandin, openai_standin
from tests.test_chat import Attempt

Loader = Callable[..., Library]
LOADERS: list[Loader] = [load_plain_client, *([_load] if find_spec("gigachat") else [])]

CLOCK = FakeClock()
CONTEXT = Context(1, 2, 3, (), (Line("client", "Есть доставка?", CLOCK.now()),), "ru", "Ты отвечаешь за магазин.")


@pytest.fixture(params=LOADERS, ids=lambda load: load.__name__)
def load(request: pytest.FixtureRequest) -> Loader:
    loader: Loader = request.param
    return loader


def settings(service: OpenAiStandin, **more: Any) -> dict[str, Any]:
    return {
        "openai_client": "gigachat",
        "openai_model": "GigaChat-2",
        "openai_api_key": service.credentials,
        "openai_base_url": f"{service.url}/api/v1",
    } | more


def ask(service: OpenAiStandin, load: Loader, *, between: Callable[[], object] | None = None, **more: Any) -> Reply:
    """Ask once; with ``between`` a second time after it."""
    responder = from_settings(load_settings(**settings(service, **more)), CLOCK, signing_in_at(service, load))
    assert responder is not None

    async def run() -> Reply:
        try:
            reply = await responder.reply(CONTEXT, Attempt(CLOCK))
            if between:
                between()
                reply = await responder.reply(CONTEXT, Attempt(CLOCK))
        finally:
            await responder.aclose()
        return reply

    return asyncio.run(run())


def fails(service: OpenAiStandin, load: Loader, **more: Any) -> ResponderError:
    with pytest.raises(ResponderError) as caught:
        ask(service, load, **more)
    told = "".join(traceback.format_exception(caught.value))
    assert service.credentials not in told
    assert "client's words" not in told
    return caught.value


def test_it_signs_in_and_asks(service: OpenAiStandin, load: Loader) -> None:
    reply = ask(service, load, openai_client="gigachat-corp", openai_extra='{"profanity_check": false}')
    assert (reply.text, reply.responder, reply.model) == (ANSWER, "openai", "GigaChat-2-0613")
    assert reply.details["tokens"] == 128
    (oauth,) = service.oauth_requests
    assert oauth["form"] == "scope=GIGACHAT_API_CORP"
    assert oauth["headers"]["authorization"] == f"Basic {service.credentials}"
    (request,) = service.requests
    assert request["path"] == "/api/v1/chat/completions"
    assert request["headers"]["authorization"] == "Bearer token-1"
    body = request["body"]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("GigaChat-2", 0.2, 1000)
    assert body["profanity_check"] is False
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert body["messages"][1]["content"] == "Есть доставка?"


def test_one_token_serves_many_questions(service: OpenAiStandin, load: Loader) -> None:
    ask(service, load, between=lambda: None)
    assert len(service.oauth_requests) == 1


def test_a_token_that_ends_soon_is_renewed(service: OpenAiStandin, load: Loader) -> None:
    service.token_seconds = 30
    assert ask(service, load, between=lambda: None).text == ANSWER
    assert service.requests[-1]["headers"]["authorization"] == "Bearer token-2"


def test_a_token_that_was_taken_back_is_renewed(service: OpenAiStandin, load: Loader) -> None:
    assert ask(service, load, between=lambda: service.tokens.append("somebody-else")).text == ANSWER
    assert len(service.oauth_requests) == 2


def test_a_key_that_is_not_accepted(service: OpenAiStandin, load: Loader) -> None:
    error = fails(service, load, openai_api_key="b3RoZXI6a2V5")
    assert (error.permanent, error.status) == (True, 401)
    assert "does not accept the API key" in str(error)
    assert service.requests == []


@pytest.mark.parametrize(
    ("status", "permanent", "words"),
    [(402, True, "out of credit"), (404, True, "no such model"), (429, False, "no more"), (500, False, "HTTP 500")],
)
def test_each_status_is_a_sentence(
    service: OpenAiStandin, load: Loader, status: int, permanent: bool, words: str
) -> None:
    for _ in range(2):
        service.fault(status)
    error = fails(service, load)
    assert (error.permanent, error.status) == (permanent, status)
    assert words in str(error)


def test_what_it_does_not_talk_about(service: OpenAiStandin, load: Loader) -> None:
    service.say("Не люблю менять тему разговора", finish_reason="blacklist")
    assert isinstance(fails(service, load), Declined)


@pytest.mark.parametrize("body", ["<html>", "[1]", '{"choices": 7}'])
def test_what_is_no_completion(service: OpenAiStandin, load: Loader, body: str) -> None:
    service.app.plan(path="*/chat/completions", status=200, body=body, times=2)
    assert "no model's service" in str(fails(service, load))


def test_an_answer_that_does_not_come(service: OpenAiStandin, load: Loader) -> None:
    service.app.plan(path="*/chat/completions", delay=30)
    assert str(fails(service, load, openai_budget_seconds=0.3)) == "The model did not answer within 0.3 seconds."


def test_a_connection_that_breaks_off(service: OpenAiStandin, load: Loader) -> None:
    service.app.plan(path="*/chat/completions", drop="before", times=2)
    assert "cannot be reached" in str(fails(service, load))


def test_a_root_that_the_system_does_not_know(load: Loader, tmp_path: Path) -> None:
    root, options = make_certificates(tmp_path)
    with openai_standin(**options) as service:
        error = fails(service, load)
        assert error.permanent
        assert "OTVET_OPENAI_CA_FILE" in str(error)
        assert ask(service, load, openai_ca_file=root).text == ANSWER


def test_without_the_extra_the_settings_are_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gigachat", None)  # how Python itself marks what cannot be imported
    given = load_settings(openai_client="gigachat", openai_model="GigaChat-2", openai_api_key="a2V5")
    with pytest.raises(SettingsError, match=r'pip install "otvet\[gigachat\]"'):
        from_settings(given, CLOCK)
