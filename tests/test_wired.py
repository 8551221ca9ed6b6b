"""What the settings say reaches the writing of replies: the real program between stand-ins."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.running import SECRET, Otvet, otvet, wait_for
from tests.standins.amocrm import AmoStandin, amocrm_standin
from tests.standins.manus import ManusStandin, manus_standin
from tests.standins.openai import OpenAiStandin, openai_standin
from tests.standins.sender import incoming
from tests.test_end_to_end import connected

LEAD = 27754599
QUESTION = "Сколько стоит доставка?"
LOCAL = "Доставка по городу стоит 300 рублей."


@pytest.fixture
def amo() -> Iterator[AmoStandin]:
    with amocrm_standin() as standin:
        standin.add_lead(LEAD)
        yield standin


@pytest.fixture
def manus() -> Iterator[ManusStandin]:
    with manus_standin() as standin:
        yield standin


@pytest.fixture
def openai() -> Iterator[OpenAiStandin]:
    with openai_standin() as standin:
        yield standin


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "knowledge").mkdir()
    (tmp_path / "knowledge" / "delivery.md").write_text(f"# Сколько стоит доставка\n\n{LOCAL}\n", encoding="utf-8")
    return tmp_path


def ask(server: Otvet, amo: AmoStandin, turn: int) -> dict[str, Any]:
    """The turn that a question became, once its note is there."""
    server.deliver(incoming(QUESTION + " " * turn + "?" * turn, message_id=f"m-{turn}"))
    wait_for(lambda: len(amo.notes(LEAD)) == turn, "a note")
    wait_for(server.settled, "the turn closed")
    told: dict[str, Any] = server.get(f"/api/turns/{turn}")
    return told


def test_each_responder_has_its_ceiling_of_a_day(
    folder: Path, amo: AmoStandin, manus: ManusStandin, openai: OpenAiStandin
) -> None:
    settings = connected(amo, manus) | {
        "OTVET_RESPONDERS": "manus,openai,knowledge",
        "OTVET_OPENAI_BASE_URL": f"{openai.url}/v1",
        "OTVET_OPENAI_MODEL": "m",
        "OTVET_MANUS_CREDITS_PER_DAY": "1",
        "OTVET_OPENAI_TOKENS_PER_DAY": "1",
    }
    manus.answer = lambda _: "По городу — 300 ₽."
    openai.say("Доставка — 300 рублей.")
    with otvet(folder, **settings) as server:
        asked = [ask(server, amo, turn) for turn in (1, 2, 3)]
    assert [turn["responder"] for turn in asked] == ["manus", "openai", "knowledge"]
    assert len(manus.creates) + len(manus.sends) == len(openai.requests) == 1


@pytest.mark.parametrize("key", ["OTVET_WEBHOOK_SECRET", "OTVET_MANUS_API_KEY"])
def test_no_key_of_this_installation_leaves(folder: Path, amo: AmoStandin, manus: ManusStandin, key: str) -> None:
    settings = connected(amo, manus) | {"OTVET_RESPONDERS": "manus", "OTVET_MANUS_API_KEY": manus.key}
    secret = {"OTVET_WEBHOOK_SECRET": SECRET, "OTVET_MANUS_API_KEY": manus.key}[key]
    manus.answer = lambda _: f"По городу — 300 ₽. Ваш код {secret}."
    with otvet(folder, **settings) as server:
        turn = ask(server, amo, 1)
        stored = b"".join(file.read_bytes() for file in folder.glob("conversations.db*"))
    (note,) = amo.notes(LEAD)
    assert secret not in note["params"]["text"]
    assert turn["responder"] == "template"
    assert [one["findings"][0]["kind"] for one in turn["tries"] if one["findings"]] == ["secret", "secret"]
    assert secret.encode() not in stored


def test_the_guard_may_only_note_and_a_noted_reply_proves_nothing(
    folder: Path, amo: AmoStandin, manus: ManusStandin
) -> None:
    settings = connected(amo, manus) | {"OTVET_RESPONDERS": "manus", "OTVET_NUMBER_GUARD": "note"}
    manus.answer = lambda _: "Доставка стоит 250 ₽."
    with otvet(folder, **settings) as server:
        asked = [ask(server, amo, turn) for turn in (1, 2)]
    assert [turn["responder"] for turn in asked] == ["manus", "manus"]
    assert [turn["details"]["findings"] for turn in asked] == [[["price", "250 ₽"]]] * 2
    for note in amo.notes(LEAD):
        text = note["params"]["text"]
        assert text.startswith("Доставка стоит 250 ₽.")
        assert text.count("250 ₽") == 2, "what was found stands below the reply"
