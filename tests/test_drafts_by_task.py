"""A draft that a manager approves inside amoCRM, by completing the task that announces it; and the notes of drafts."""

from collections.abc import Iterator

import pytest

from otvet.storage.database import Database
from otvet.turns.turn import State
from tests.standins.amocrm import AmoStandin
from tests.test_answer import LEAD, Stage
from tests.test_deliver import account, answered
from tests.test_drafts import approve, drafting, texts

REPLY = "Delivery costs 300 roubles."


@pytest.fixture
def amo() -> Iterator[AmoStandin]:
    with account() as standin:
        yield standin


def a_draft(database: Database, amo: AmoStandin) -> tuple[Stage, int]:
    """A stage with a draft that staff were told of."""
    stage = drafting(database, amo)
    (turn,) = stage.client_writes("How much is the delivery?")
    assert answered(stage, turn) == State.DRAFT
    stage.tell_staff()
    return stage, turn


def complete(stage: Stage, amo: AmoStandin, result: str) -> None:
    """A manager completes the deal's newest task."""
    amo.tasks(LEAD)[-1].update(is_completed=True, result={"text": result} if result else [])
    stage.look_at_tasks()


def test_the_task_tells_the_draft_and_how_to_send_it(database: Database, amo: AmoStandin) -> None:
    a_draft(database, amo)
    (task,) = amo.tasks(LEAD)
    for told in ("Question: How much is the delivery?", f"Draft: {REPLY}", "«yes»", "«reply: »"):
        assert told in task["text"]


@pytest.mark.parametrize("result", ["да", "Да!", "ok", "ОК", " yes. ", "+"])
def test_a_word_sends_it(database: Database, amo: AmoStandin, result: str) -> None:
    stage, turn = a_draft(database, amo)
    complete(stage, amo, result)
    assert stage.begun == [turn]
    assert answered(stage, turn) == State.SENT
    assert stage.said() == [REPLY]


@pytest.mark.parametrize("result", ["Ответ: 350 рублей.", "да: 350 рублей.", "reply - 350 рублей."])
def test_a_corrected_text_is_sent_in_its_place(database: Database, amo: AmoStandin, result: str) -> None:
    stage, turn = a_draft(database, amo)
    complete(stage, amo, result)
    assert answered(stage, turn) == State.SENT
    assert stage.said() == ["350 рублей."]


@pytest.mark.parametrize("result", ["", "Позвонил клиенту, всё решили", "Дал скидку: 10 %"])
def test_a_remark_sends_nothing(database: Database, amo: AmoStandin, result: str) -> None:
    stage, turn = a_draft(database, amo)
    complete(stage, amo, result)
    assert (stage.begun, stage.turn(turn).state) == ([], State.DRAFT)


def test_no_drops_it_and_the_note_says_so(database: Database, amo: AmoStandin) -> None:
    stage, turn = a_draft(database, amo)
    complete(stage, amo, "нет")
    assert stage.turn(turn).state == State.CANCELLED
    assert texts(amo) == [f"A manager rejected this draft, it was not sent: {REPLY}"]


def test_the_note_of_a_draft_says_that_it_was_sent(database: Database, amo: AmoStandin) -> None:
    stage, turn = a_draft(database, amo)
    assert approve(stage, turn) is None
    stage.look_at_tasks()
    assert texts(amo)[0].startswith("DRAFT")  # it is still on its way
    assert answered(stage, turn) == State.SENT
    stage.look_at_tasks()
    assert texts(amo)[0] == f"Sent to the client: {REPLY}"
    calls = len(amo.log)
    stage.look_at_tasks()
    assert len(amo.log) == calls


def test_a_draft_that_the_client_has_overtaken_says_so_and_the_task_tells_of_the_new_one(
    database: Database, amo: AmoStandin
) -> None:
    stage, turn = a_draft(database, amo)
    (newer,) = stage.client_writes("And to the village?")
    stage.clock.advance(10)
    assert answered(stage, newer) == State.DRAFT
    stage.tell_staff()
    stage.look_at_tasks()
    assert texts(amo)[0] == "This draft is out of date and was not sent."
    assert texts(amo)[1].startswith("DRAFT")
    (task,) = amo.tasks(LEAD)
    assert "And to the village?" in task["text"]
    complete(stage, amo, "да")
    assert stage.begun == [newer]
    assert turn != newer
