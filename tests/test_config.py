from pathlib import Path
from typing import Any

import pytest

from otvet.errors import SettingsError
from otvet.settings.loading import load_settings, misspelt
from otvet.settings.settings import PREFIX, Settings
from tests.tables import every_of

SECRET = "sk-do-not-print-this"

DATABASE = "give sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"
ACCOUNT_ADDRESS = "give an address such as https://example.amocrm.ru"
PUBLIC_ADDRESS = "give an address such as https://otvet.example.com"
ADDRESS = "give an address such as https://api.example.com"
SECRET_IN_URL = "give at least 16 Latin letters, digits, - or _"


@pytest.fixture(autouse=True)
def _no_variables_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        if name != "lang":
            monkeypatch.delenv(PREFIX + name.upper(), raising=False)


def write_env(*lines: str, encoding: str = "utf-8") -> None:
    Path(".env").write_text("\n".join(lines) + "\n", encoding)


def test_without_any_setting_there_is_one_for_everything() -> None:
    settings = load_settings()

    assert settings.database_url == "sqlite:///conversations.db"
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.amocrm_connected is False
    assert settings.webhook_secret is None


def test_settings_come_from_the_file() -> None:
    write_env("OTVET_PORT=9000", 'OTVET_MANUS_API_KEY="key"', "# a comment", "ANOTHER_PROGRAM=1")
    settings = load_settings()

    assert settings.port == 9000
    assert settings.manus_api_key is not None
    assert settings.manus_api_key.get_secret_value() == "key"


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    write_env("OTVET_PORT=9000", "OTVET_AMOCRM_TOKEN=token")
    monkeypatch.setenv("OTVET_PORT", "9001")
    monkeypatch.setenv("OTVET_AMOCRM_TOKEN", "")

    assert load_settings().port == 9001
    assert load_settings().amocrm_token is None


def test_a_mark_before_the_file_hides_no_setting() -> None:
    write_env("OTVET_PORT=9000", encoding="utf-8-sig")

    assert load_settings().port == 9000


@every_of([[name] for name in sorted(Settings.model_fields)], "name")
def test_an_empty_value_is_none_at_all(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    default = Settings.model_fields[name].default
    write_env(f"OTVET_{name.upper()}=")
    monkeypatch.delenv("OTVET_LANG", raising=False)

    assert getattr(load_settings(), name) == default


@every_of(
    [
        ("DATABASE_URL", "conversations.db", DATABASE),
        ("DATABASE_URL", "mysql://user@host/name", DATABASE),
        ("DATABASE_URL", "postgres://user@host/name", DATABASE),
        ("DATABASE_URL", "postgresql://user@host:port/name", DATABASE),
        ("DATABASE_URL", "sqlite://", DATABASE),
        ("DATABASE_URL", "sqlite:///:memory:", DATABASE),
        ("PORT", "http", "give a whole number"),
        ("PORT", "80.5", "give a whole number"),
        ("PORT", "9" * 5000, "give a whole number"),
        ("PORT", "-1", "give at least 0"),
        ("PORT", "65536", "give at most 65535"),
        ("PUBLIC_URL", "example.ru", PUBLIC_ADDRESS),
        ("PUBLIC_URL", "ftp://example.ru", PUBLIC_ADDRESS),
        ("PUBLIC_URL", "https://", PUBLIC_ADDRESS),
        ("PUBLIC_URL", "https://[", PUBLIC_ADDRESS),
        ("PUBLIC_URL", "https://example.ru:port", PUBLIC_ADDRESS),
        ("PUBLIC_URL", "https://example.ru:70000", PUBLIC_ADDRESS),
        ("AMOCRM_BASE_URL", "https://example.amocrm.ru/leads?page=1", ACCOUNT_ADDRESS),
        ("AMOCRM_BASE_URL", "https://example.amocrm.ru/#settings", ACCOUNT_ADDRESS),
        ("MANUS_BASE_URL", "api.manus.ai", ADDRESS),
        ("WEBHOOK_SECRET", "short", SECRET_IN_URL),
        ("WEBHOOK_SECRET", "seventeen/letters", SECRET_IN_URL),
        ("WEBHOOK_SECRET", "шестнадцать-букв", SECRET_IN_URL),
        ("REPLY_BUDGET_SECONDS", "soon", "give a number"),
        ("REPLY_BUDGET_SECONDS", "0", "give more than 0"),
        ("REPLY_BUDGET_SECONDS", "4000", "give at most 3600"),
        ("QUIET_SECONDS", "-0.5", "give at least 0"),
        ("QUIET_SECONDS", "nan", "give at most 600"),
        ("HISTORY_MESSAGES", "1001", "give at most 1000"),
        ("MODE", "x", "give one of: auto, draft, off"),
        ("LANG", "de", "give one of: ru, en"),
        ("LOG_FORMAT", "xml", "give one of: console, json"),
        ("OUT_OF_HOURS", "silnt", "give answer, silent, or the text that a client is told, of several words"),
        ("SECRET_KEY", "short", "give at least 16 characters of chance, such as those of: openssl rand -base64 32"),
        ("OPENAI_CLIENT", "sber", "give one of: openai, gigachat, gigachat-b2b, gigachat-corp"),
    ],
    "name, value, reason",
)
def test_a_bad_value_is_named_in_one_line(name: str, value: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv(PREFIX + name, value)
        with pytest.raises(SettingsError) as error:
            load_settings()

    assert str(error.value) == f"{PREFIX}{name}: {reason}"


def test_a_bad_value_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTVET_DATABASE_URL", f"postgresql://user:{SECRET}@host:port/name")

    with pytest.raises(SettingsError) as error:
        load_settings()

    assert SECRET not in str(error.value)


def test_a_file_in_another_encoding_is_told() -> None:
    write_env("OTVET_KNOWLEDGE_DIR=знания", encoding="cp1251")

    with pytest.raises(SettingsError, match=r"\.env is not UTF-8"):
        load_settings()


@pytest.mark.parametrize(
    ("lines", "number"),
    [
        ([f"OTVET_AMOCRM_TOKEN {SECRET}"], 1),
        (["# ours", "OTVET_PORT=9000", "", "", f"OTVET_AMOCRM_TOKEN: {SECRET}"], 5),
        (["OTVET_PORT=9000", f"OTVET_AMOCRM_TOKEN:{SECRET}"], 2),
        ([f'OTVET_AMOCRM_TOKEN="{SECRET}', "OTVET_PORT=9000"], 1),
        (["OTVET_PORT=9000", f"OTVET_AMOCRM_TOKEN='{SECRET}", "OTVET_LANG='en'"], 2),
        ([f"OTVET_AMOCRM_TOKEN='{SECRET}' {SECRET}"], 1),
        (["OTVET_AMOCRM_TOKEN=first-half", SECRET], 2),
    ],
)
def test_a_broken_line_is_told_by_its_number_and_not_shown(
    lines: list[str], number: int, caplog: pytest.LogCaptureFixture
) -> None:
    write_env(*lines)

    with pytest.raises(SettingsError) as error:
        load_settings()

    assert str(error.value).startswith(f".env, line {number}: it cannot be read; give NAME=value")
    assert SECRET not in str(error.value)
    assert not caplog.records


def test_lines_that_only_look_broken_are_read() -> None:
    write_env(
        "", "  # a comment", "export OTVET_PORT = 9000 # a comment", "OTVET_MODE=", 'OTVET_PERSON_PHRASES="a', 'b"'
    )

    assert load_settings().port == 9000
    assert load_settings().person_phrases == "a\nb"


@pytest.mark.parametrize("name", ["AMOCRM_TOKEN", "MANUS_API_KEY", "API_TOKEN", "WEBHOOK_SECRET"])
def test_a_secret_is_not_shown(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + name, SECRET)

    assert SECRET not in repr(load_settings())
    assert SECRET not in load_settings().model_dump_json()


@pytest.mark.parametrize(
    ("given", "connected"),
    [
        ({}, False),
        ({"amocrm_base_url": "https://example.amocrm.ru"}, False),
        ({"amocrm_token": "token"}, False),
        ({"amocrm_base_url": "https://example.amocrm.ru", "amocrm_token": "token"}, True),
    ],
)
def test_amocrm_is_connected_with_an_address_and_a_token(given: dict[str, str], connected: bool) -> None:
    assert load_settings(**given).amocrm_connected is connected


def test_a_slash_after_an_address_is_dropped() -> None:
    assert load_settings(amocrm_base_url="https://example.amocrm.ru/").amocrm_base_url == "https://example.amocrm.ru"


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ({}, "http://127.0.0.1:8000/webhook/amocrm/secret"),
        ({"host": "0.0.0.0", "port": 9000}, "http://127.0.0.1:9000/webhook/amocrm/secret"),
        ({"host": "::1"}, "http://[::1]:8000/webhook/amocrm/secret"),
        ({"public_url": "https://example.ru/otvet/"}, "https://example.ru/otvet/webhook/amocrm/secret"),
    ],
)
def test_the_webhooks_address_is_where_the_service_is(given: dict[str, Any], address: str) -> None:
    assert load_settings(**given).webhook_url("secret") == address


@pytest.mark.parametrize(
    ("url", "workflows"),
    [
        ("sqlite:///conversations.db", "sqlite:///conversations-workflows.db"),
        ("sqlite:////var/lib/otvet/talks.db", "sqlite:////var/lib/otvet/talks-workflows.db"),
        ("postgresql://user@host/name", "postgresql://user@host/name"),
    ],
)
def test_workflows_are_kept_beside_the_conversations(url: str, workflows: str) -> None:
    assert load_settings(database_url=url).workflow_url == workflows


def test_the_databases_address_is_shown_without_its_password() -> None:
    shown = load_settings(database_url=f"postgresql://user:{SECRET}@host/name").shown_url

    assert SECRET not in shown
    assert "user" in shown


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("OTVET_PROT", "did you mean OTVET_PORT?"),
        ("OTVET_AMOCRM_URL", "did you mean OTVET_AMOCRM_BASE_URL?"),
        ("OTVET_MANUS_KEY", "did you mean OTVET_MANUS_API_KEY?"),
        ("otvet_manus_apikey", "did you mean OTVET_MANUS_API_KEY?"),
        ("OTVET_COLOUR", "see docs/settings.md"),
    ],
)
def test_a_misspelt_name_is_told_with_what_was_meant(name: str, hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")

    assert misspelt() == [f"{name.upper()} is not a setting; {hint}"]


def test_a_setting_of_an_earlier_version_does_not_stop_the_program() -> None:
    write_env("OTVET_MANUS_WEBHOOK_PATH=/webhook/manus", "OTVET_PORT=2")

    assert load_settings().port == 2


def test_a_misspelt_name_in_the_file_is_told_too() -> None:
    write_env("OTVET_PROT=1", "OTVET_PORT=2", "otvet_host=127.0.0.2", "OTHER=3")

    assert misspelt() == ["OTVET_PROT is not a setting; did you mean OTVET_PORT?"]
    assert load_settings().host == "127.0.0.2"
