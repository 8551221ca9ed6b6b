"""What an AI writes is checked before it is sent: the real program between stand-ins of amoCRM, Manus and openai."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.running import Otvet, command, otvet, wait_for
from tests.standins.amocrm import AmoStandin, amocrm_standin
from tests.standins.manus import ManusStandin, manus_standin
from tests.standins.openai import OpenAiStandin, openai_standin
from tests.standins.sender import incoming
from tests.test_end_to_end import connected

LEAD = 27754599
QUESTION = "Сколько стоит доставка?"
INVENTED = "Доставка стоит 777 ₽."
RIGHT = "Доставка по городу — 300 ₽."
PHONE = "+7 912 345-67-89"


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
    passage = "# Сколько стоит доставка\n\nДоставка по городу стоит 300 рублей.\n"
    (tmp_path / "knowledge" / "delivery.md").write_text(passage, encoding="utf-8")
    return tmp_path


def settings(amo: AmoStandin, manus: ManusStandin, openai: OpenAiStandin | None = None) -> dict[str, str]:
    """Without the knowledge folder's own answer, so that a refused reply has nothing behind it."""
    chosen = connected(amo, manus) | {"OTVET_RESPONDERS": "manus,openai"}
    if openai:
        chosen |= {"OTVET_OPENAI_BASE_URL": f"{openai.url}/v1", "OTVET_OPENAI_MODEL": "m"}
    return chosen


def ask(server: Otvet, amo: AmoStandin, text: str = QUESTION) -> str:
    """The one note that the client's message got."""
    server.deliver(incoming(text))
    wait_for(lambda: amo.notes(LEAD), "a note")
    wait_for(server.settled, "the turn closed")
    (note,) = amo.notes(LEAD)
    return str(note["params"]["text"])


def tried(server: Otvet) -> dict[str, Any]:
    turn: dict[str, Any] = server.get("/api/turns/1")
    return turn


def test_manus_is_asked_once_more_in_the_same_task(folder: Path, amo: AmoStandin, manus: ManusStandin) -> None:
    manus.answer = lambda content: RIGHT if "<refused>" in content else INVENTED
    with otvet(folder, **settings(amo, manus)) as server:
        note = ask(server, amo)
        turn = tried(server)
        (reply,) = server.messages(LEAD, "assistant")
    assert note.startswith(RIGHT)
    assert "777" not in note
    assert reply["content"] == RIGHT
    assert (len(manus.creates), len(manus.sends)) == (1, 1)
    assert manus.sends[0]["task_id"] in manus.tasks
    again = str(manus.sends[0]["message"]["content"])
    assert f"<refused>\n{INVENTED}\n</refused>" in again
    assert "«777 ₽»" in again
    assert amo.tasks(LEAD) == []
    assert [(one["responder"], one["outcome"], one["refused"]) for one in turn["tries"]] == [
        ("manus", "refused", INVENTED),
        ("manus", "replied", None),
    ]
    assert turn["tries"][0]["findings"] == [{"kind": "price", "text": "777 ₽"}]
    assert turn["details"]["passages"] == [{"file": "delivery.md", "heading": "Сколько стоит доставка"}]
    assert turn["details"]["credits"] == 3


@pytest.mark.slow
def test_then_the_model_is_asked(folder: Path, amo: AmoStandin, manus: ManusStandin, openai: OpenAiStandin) -> None:
    manus.answer = lambda _content: INVENTED
    openai.say(RIGHT)
    with otvet(folder, **settings(amo, manus, openai)) as server:
        note = ask(server, amo)
        turn = tried(server)
    assert note.startswith(RIGHT)
    assert amo.tasks(LEAD) == []
    assert turn["responder"] == "openai"
    assert [one["outcome"] for one in turn["tries"]] == ["refused", "refused", "replied"]
    assert "777" not in json.dumps(openai.body)


@pytest.mark.slow
def test_in_the_end_a_person_is_called(
    folder: Path, amo: AmoStandin, manus: ManusStandin, openai: OpenAiStandin
) -> None:
    manus.answer = lambda _content: INVENTED
    for _ in range(2):
        openai.say("Доставка стоит 888 ₽.")
    with otvet(folder, **settings(amo, manus, openai)) as server:
        note = ask(server, amo)
        turn = tried(server)
        (gap,) = server.get("/api/gaps")["gaps"]
        (conversation,) = server.get("/api/conversations")["conversations"]
        listed = command(folder, "gaps", **settings(amo, manus, openai)).stdout
        said = server.messages(LEAD, "assistant")
        wait_for(lambda: amo.tasks(LEAD), "the task")
        workflows = b"".join(file.read_bytes() for file in folder.glob("conversations-workflows.db*"))
    assert note.startswith("The assistant has not answered the client")
    (reply,) = said
    assert "менеджер" in reply["content"].lower()
    assert not re.search("777|888", reply["content"])
    (task,) = amo.tasks(LEAD)
    assert "888 ₽" in task["text"]
    assert QUESTION in task["text"]
    assert (turn["state"], turn["reason"], turn["responder"]) == ("sent", "doubted", "template")
    assert "could not be checked" in turn["why"]
    assert len(turn["tries"]) == 5
    assert (gap["question"], gap["count"], gap["lead_ids"]) == (QUESTION, 1, [LEAD])
    assert str(LEAD) in listed
    assert conversation["paused"] is False
    for private in (QUESTION, INVENTED, "888 ₽"):  # words are neither in the log nor in the engine's file
        assert private not in server.log.read_text(encoding="utf-8")
        assert private.encode() not in workflows


def test_personal_data_stays_here_and_stands_in_the_note(folder: Path, amo: AmoStandin, manus: ManusStandin) -> None:
    def call_back(content: str) -> str:
        placeholders: list[str] = re.findall(r"\[PHONE_\w+\]", content)
        return f"Перезвоним на {placeholders[-1]}."

    manus.answer = call_back
    with otvet(folder, **settings(amo, manus)) as server:
        server.deliver(incoming("Мой прежний номер 8 (912) 345 67 89", message_id="m-1"))
        wait_for(lambda: len(amo.notes(LEAD)) == 1, "the first note")
        server.deliver(incoming(f"Теперь мой номер: {PHONE}", message_id="m-2"))
        wait_for(lambda: len(amo.notes(LEAD)) == 2, "the second note")
        wait_for(server.settled, "the turn closed")
    notes = [note["params"]["text"] for note in amo.notes(LEAD)]
    assert all(note.startswith("Перезвоним на 8 (912) 345 67 89.") for note in notes)  # as it was first written
    told = json.dumps([manus.creates, manus.sends, list(manus.projects.values())], ensure_ascii=False)
    assert "9123456789" not in re.sub(r"[\s()-]", "", told)
    assert not re.search(r"345\W*67", told)
