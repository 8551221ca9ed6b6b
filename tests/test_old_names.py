"""Settings of the version before: understood once more, and told with what has taken their place."""

from collections.abc import Mapping
from pathlib import Path

import httpx2
import pytest

from otvet.delivery.methods import FIELD
from otvet.errors import SettingsError
from otvet.settings import old_names
from otvet.settings.loading import load_settings, misspelt
from otvet.settings.settings import PREFIX, Settings
from otvet.storage import keyvalue
from otvet.storage.database import Database
from tests.running import SECRET, command, otvet
from tests.standins.sender import headers, incoming

KEY = "a key of forty-three characters or about that"


@pytest.fixture
def env() -> Path:
    return Path(".env")


def hints(**given: str) -> list[str]:
    return old_names.hints(given)


def test_no_old_name_is_one_of_today() -> None:
    assert {name.upper() for name in Settings.model_fields}.isdisjoint(old_names.ALL)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            {"ONLY_PIPELINES": "Sales; Repairs, in town", "ONLY_TAGS": "vip, 33", "ONLY_CHANNELS": "telegram"},
            {"answer_only": "pipeline: Sales, 'Repairs, in town'; tag: vip, 33; channel: telegram"},
        ),
        ({"EXCEPT_STAGES": "Call, wait;"}, {"answer_except": "stage: 'Call, wait'"}),
        ({"ONLY_TAGS": "vip", "ANSWER_ONLY": "tag: gold"}, {"answer_only": "tag: gold"}),
        ({"ONLY_TAGS": " ; "}, {"answer_only": ""}),
        (
            {"OUT_OF_HOURS": "text", "OUT_OF_HOURS_TEXT": "We are closed.", "WORKING_HOURS": "9-18"},
            {"out_of_hours": "We are closed."},
        ),
        (
            {"OUT_OF_HOURS": "text", "OUT_OF_HOURS_TEXT": "Закрыто", "WORKING_HOURS": "9-18"},
            {"out_of_hours": "Закрыто."},
        ),
        (
            {"OUT_OF_HOURS": "silent", "OUT_OF_HOURS_TEXT": "We are closed.", "WORKING_HOURS": "9-18"},
            {"out_of_hours": "silent"},
        ),
        ({"OUT_OF_HOURS_TEXT": "We are closed.", "WORKING_HOURS": "9-18"}, {"out_of_hours": "answer"}),
        ({"OPENAI_CLIENT": "gigachat", "GIGACHAT_SCOPE": "GIGACHAT_API_B2B"}, {"openai_client": "gigachat-b2b"}),
        ({"OPENAI_CLIENT": "gigachat", "GIGACHAT_SCOPE": "GIGACHAT_API_PERS"}, {"openai_client": "gigachat"}),
        ({"GIGACHAT_SCOPE": "GIGACHAT_API_CORP"}, {"openai_client": "openai"}),
        ({"OPENAI_TEMPERATURE": "0.5"}, {"openai_extra": '{"temperature": 0.5}'}),
        (
            {"OPENAI_TEMPERATURE": "None", "OPENAI_EXTRA": '{"seed": 1}'},
            {"openai_extra": '{"temperature": null, "seed": 1}'},
        ),
        (
            {"OPENAI_TEMPERATURE": "0.5", "OPENAI_EXTRA": '{"temperature": 1}'},
            {"openai_extra": '{"temperature": 1}'},
        ),
        ({"OPENAI_TEMPERATURE": "hot"}, {"openai_extra": None}),
        ({"OPENAI_TEMPERATURE": "3"}, {"openai_extra": None}),
    ],
)
def test_a_value_is_taken_over(old: Mapping[str, str], new: Mapping[str, object], env: Path) -> None:
    env.write_text(
        "".join(f'{PREFIX}{name}="{value}"\n'.replace('"{', "'{").replace('}"', "}'") for name, value in old.items())
    )
    settings = load_settings()
    assert {name: getattr(settings, name) for name in new} == new
    assert misspelt() == []


def test_the_key_of_a_key_file_is_taken_over(env: Path) -> None:
    Path("elsewhere.key").write_text(f"{KEY}\n")
    env.write_text("OTVET_SECRET_KEY_FILE=elsewhere.key\n")
    key = load_settings().secret_key
    assert key is not None
    assert key.get_secret_value() == KEY
    assert KEY not in " ".join(old_names.hints(old_names.given()))
    Path("elsewhere.key").unlink()
    assert load_settings().secret_key is None


def test_a_mistake_in_todays_setting_is_told_all_the_same(env: Path) -> None:
    env.write_text("OTVET_OPENAI_TEMPERATURE=1\nOTVET_OPENAI_EXTRA={\n")
    with pytest.raises(SettingsError, match="OTVET_OPENAI_EXTRA: give a JSON object"):
        load_settings()


@pytest.mark.parametrize("name", sorted(old_names.ALL))
def test_every_old_name_has_a_sentence_and_is_no_error(name: str, env: Path) -> None:
    env.write_text(f"{PREFIX}{name}=7\n")
    load_settings()
    (hint,) = old_names.hints(old_names.given())
    assert hint.startswith(f"{PREFIX}{name} ")
    env.write_text(f"{PREFIX}{name}=\n")
    assert (old_names.hints(old_names.given()), misspelt()) == ([], [])


def test_a_hint_can_be_copied_into_the_file(env: Path) -> None:
    given = {"ONLY_TAGS": "#vip; 'a' \\ b; $HOME", "OPENAI_TEMPERATURE": "0.5"}
    tag, temperature = hints(**given)
    assert temperature.endswith("OTVET_OPENAI_EXTRA='{\"temperature\": 0.5}'")
    env.write_text(tag.partition("write in its place: ")[2] + "\n")
    assert load_settings().answer_only == old_names.taken_over(given)["answer_only"]


def test_a_hint_says_when_the_old_name_does_not_count() -> None:
    assert hints(ONLY_TAGS="vip", ANSWER_ONLY="tag: gold") == [
        "OTVET_ONLY_TAGS does not count any more; see OTVET_ANSWER_ONLY"
    ]


def test_the_start_and_the_check_tell(tmp_path: Path) -> None:
    (tmp_path / "knowledge").mkdir()
    old = {"OTVET_ONLY_TAGS": "vip", "OTVET_QUIET_MAX_SECONDS": "9", "COLUMNS": "300"}
    checked = command(tmp_path, "check", OTVET_PORT="9", **old)
    with otvet(tmp_path, **old) as server:
        started = server.log.read_text()
    for told in (" ".join(checked.stdout.split()), started):
        assert (
            'OTVET_ONLY_TAGS is understood in this version only; write in its place: OTVET_ANSWER_ONLY="tag: vip"'
            in told
        )
        assert "OTVET_QUIET_MAX_SECONDS is gone: a reply is put off five times as long" in told
    assert "– Settings OTVET_ONLY_TAGS" in " ".join(checked.stdout.split())


def test_amocrm_may_still_deliver_at_the_path_that_was_set(tmp_path: Path) -> None:
    with otvet(tmp_path, OTVET_WEBHOOK_PATH="/amo/hook/") as server:
        for number, path in enumerate(("/amo/hook", "/webhook/amocrm")):
            body = incoming("hello", message_id=f"m-{number}")
            answer = httpx2.post(f"{server.url}{path}/{SECRET}", content=body, headers=headers("1"), trust_env=False)
            assert answer.json() == {"saved": 1, "duplicates": 0}
        assert httpx2.get(f"{server.url}/amo/hook/wrong", trust_env=False).status_code == 404
        assert server.get("/api/stats")["turns_open"] >= 0


def test_the_number_of_the_salesbots_field_is_kept(tmp_path: Path) -> None:
    with otvet(tmp_path, OTVET_SALESBOT_FIELD_ID="701"):
        pass
    database = Database(f"sqlite:///{tmp_path / 'conversations.db'}")
    try:
        assert database.read_now(lambda connection: keyvalue.recall(connection, FIELD)) == "701"
    finally:
        database.close()
