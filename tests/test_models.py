"""The recipes of docs/models.md: each block becomes a .env as it stands, and a stand-in tells what arrived."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from dotenv import dotenv_values

from otvet.responders.base import Context, Line
from otvet.responders.chat.models import from_settings
from otvet.settings.loading import load_settings
from otvet.settings.settings import PREFIX, Settings
from tests.certificates import make_certificates
from tests.clocks import FakeClock
from tests.running import command, otvet, wait_for
from tests.standins.gigachat import signing_in_at
from tests.standins.openai import ANSWER, KEY, OpenAiStandin, openai_standin
from tests.standins.sender import incoming
from tests.test_chat import Attempt

DOCS = Path(__file__).parent.parent / "docs"
CLOCK = FakeClock()
CONTEXT = Context(1, 2, 3, (), (Line("client", "Есть доставка?", CLOCK.now()),), "ru", "Ты отвечаешь за магазин.")

THINK_LESS = {"reasoning_effort": "none"}
TEMPLATE = {"chat_template_kwargs": {"enable_thinking": False}}

# Where each recipe goes, how it signs in, what model it names, and what it adds to the request.
EXPECTED: dict[str, tuple[str, str | None, str, dict[str, Any]]] = {
    "OpenAI": ("https://api.openai.com/v1/chat/completions", "Bearer YOUR_KEY", "gpt-5.4-mini", THINK_LESS),
    "DeepSeek": (
        "https://api.deepseek.com/chat/completions",
        "Bearer YOUR_KEY",
        "deepseek-v4-flash",
        {"thinking": {"type": "disabled"}},
    ),
    "OpenRouter": (
        "https://openrouter.ai/api/v1/chat/completions",
        "Bearer YOUR_KEY",
        "openai/gpt-5.4-mini",
        {"reasoning": {"effort": "none"}, "provider": {"data_collection": "deny"}},
    ),
    "Ollama": ("http://127.0.0.1:11434/v1/chat/completions", None, "qwen3:8b", THINK_LESS),
    "llama.cpp": ("http://127.0.0.1:8080/v1/chat/completions", None, "local", TEMPLATE),
    "vLLM": ("http://127.0.0.1:8000/v1/chat/completions", "Bearer YOUR_KEY", "Qwen/Qwen3-8B", TEMPLATE),
    "YandexGPT": (
        "https://ai.api.cloud.yandex.net/v1/chat/completions",
        "Api-Key YOUR_KEY",
        "gpt://YOUR_FOLDER/yandexgpt/latest",
        {},
    ),
    "GigaChat": ("https://api.giga.chat/v1/chat/completions", "Bearer token-1", "GigaChat-2", {}),
}
HEADERS = {"YandexGPT": {"openai-project": "YOUR_FOLDER", "x-data-logging-enabled": "false"}}


def recipes(page: Path) -> dict[str, str]:
    """The block below each heading that has one."""
    found = re.findall(r"^### (.+?)\n\n```env\n(.+?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return dict(found)


@pytest.fixture(scope="module")
def running() -> Iterator[OpenAiStandin]:
    with openai_standin() as standin:
        yield standin


@pytest.fixture
def service(running: OpenAiStandin) -> OpenAiStandin:
    running.reset()
    return running


def test_every_service_has_its_recipe_in_both_languages() -> None:
    assert recipes(DOCS / "models.md").keys() == EXPECTED.keys()
    assert recipes(DOCS / "ru" / "models.md") == recipes(DOCS / "models.md")


@pytest.mark.parametrize("name", EXPECTED)
def test_a_recipe_does_what_it_says(
    name: str, service: OpenAiStandin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Path(".env").write_text(recipes(DOCS / "models.md")[name])
    given = dotenv_values(".env")
    assert {variable.removeprefix(PREFIX).lower() for variable in given} <= Settings.model_fields.keys()
    address, authorization, model, extra = EXPECTED[name]
    if name == "GigaChat":
        make_certificates(tmp_path)[0].rename(given["OTVET_OPENAI_CA_FILE"])
        service.credentials = "YOUR_AUTHORIZATION_KEY"
        base_url = "https://api.giga.chat/v1"  # the client's own
    else:
        base_url = str(given["OTVET_OPENAI_BASE_URL"])
    assert f"{base_url}/chat/completions" == address
    monkeypatch.setenv("OTVET_OPENAI_BASE_URL", service.url + urlsplit(base_url).path)

    settings = load_settings()
    responder = from_settings(settings, CLOCK, signing_in_at(service))
    assert responder is not None

    async def run() -> str:
        try:
            return (await responder.reply(CONTEXT, Attempt(CLOCK))).text
        finally:
            await responder.aclose()

    assert asyncio.run(run()) == ANSWER
    (request,) = service.requests
    assert request["path"] == urlsplit(address).path
    assert request["headers"].get("authorization") == authorization
    assert HEADERS.get(name, {}).items() <= request["headers"].items()
    body = request["body"]
    assert [message["role"] for message in body.pop("messages")] == ["system", "user"]
    assert body == {"model": model, "temperature": 0.2, "max_tokens": 1000, **extra}
    assert settings.openai_budget_seconds == float(given.get("OTVET_OPENAI_BUDGET_SECONDS") or 30)
    if name == "GigaChat":
        (oauth,) = service.oauth_requests
        assert oauth["form"] == "scope=GIGACHAT_API_PERS"
        assert oauth["headers"]["authorization"] == "Basic YOUR_AUTHORIZATION_KEY"


@pytest.mark.slow
def test_a_running_otvet_asks_the_model_and_the_next_one_after_it(service: OpenAiStandin, tmp_path: Path) -> None:
    named = {
        "OTVET_OPENAI_BASE_URL": f"{service.url}/v1",
        "OTVET_OPENAI_API_KEY": KEY,
        "OTVET_OPENAI_MODEL": "gpt-test",
    }
    with otvet(tmp_path, **named) as server:
        server.deliver(incoming("Есть доставка?", lead_id=5, message_id="m-1"))
        first = wait_for(lambda: server.messages(5, "assistant"), "a reply by the model")
        service.fault(401)
        server.deliver(incoming("А сегодня?", lead_id=6, chat_id="other", contact_id=6, message_id="m-2"))
        second = wait_for(lambda: server.messages(6, "assistant"), "a reply by the next one")
        assert server.end() == 0
        log = server.log.read_text()
    assert [message["content"] for message in first] == [ANSWER]
    assert "Спасибо" in second[0]["content"]
    assert "does not accept the API key" in log
    for secret in (KEY, "Есть доставка?", "client's words", "Traceback"):
        assert secret not in log


def test_a_setting_that_cannot_be_used_ends_the_start_with_a_sentence(tmp_path: Path) -> None:
    failed = command(tmp_path, "serve", OTVET_OPENAI_MODEL="gpt-test")
    assert failed.returncode != 0
    assert "set OTVET_OPENAI_BASE_URL too" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not list(tmp_path.glob("*.db"))


def test_check_asks_the_model_for_a_few_words(tmp_path: Path) -> None:
    with openai_standin() as standin:
        ours = {"OTVET_OPENAI_BASE_URL": f"{standin.url}/v1", "OTVET_OPENAI_MODEL": "tiny", "OTVET_PORT": "9"}
        good = command(tmp_path, "check", **ours, COLUMNS="300")
        assert "✓ Another model tiny answers" in " ".join(good.stdout.split())
        standin.fault(401)
        bad = command(tmp_path, "check", **ours, COLUMNS="300")
        assert bad.returncode == 1
        assert "✗ Another model The model's service does not accept the API key." in " ".join(bad.stdout.split())
