"""amoCRM's clock is not ours: a history has the order in which things were said, by amoCRM's clock."""

import pytest

from otvet.answering.answering import Answering
from otvet.conversations.history import history
from otvet.storage.database import Database
from otvet.turns.turn import State
from tests.standins.sender import incoming, outgoing
from tests.test_answer import LEAD, Stage


def told(database: Database) -> list[str]:
    rows = database.read_now(lambda connection: history(connection, LEAD, 0, 50))
    return [row.content for row in rows]


def a_talk(stage: Stage, ahead: float) -> None:
    """Three questions and their replies; amoCRM's clock is so many seconds ahead of ours."""

    async def play(answering: Answering) -> None:
        for number in range(3):
            created_at = int(stage.clock.now().timestamp() + ahead)
            named = {"lead_id": LEAD, "chat_id": "chat", "message_id": f"m-{number}"}
            stage.clock.advance(1)  # on the way
            (turn,) = stage.receive(incoming(f"question {number}", created_at=created_at, **named))
            stage.responders[0].text = f"reply {number}"
            assert await answering.answer(turn) == State.KEPT
            stage.clock.advance(2)

    stage.run(play)


@pytest.mark.parametrize("ahead", [0, 30, -30, 75, -75])
def test_a_reply_stands_between_its_question_and_the_next(database: Database, ahead: float) -> None:
    stage = Stage(database)
    a_talk(stage, ahead)
    assert told(database) == [f"{what} {number}" for number in range(3) for what in ("question", "reply")]


def test_a_manager_between_them_keeps_his_place(database: Database) -> None:
    stage = Stage(database)
    a_talk(stage, -30)
    said_at = int(stage.clock.now().timestamp() - 30)
    stage.receive(outgoing("I am here", lead_id=LEAD, chat_id="chat", message_id="m-9", created_at=said_at))
    assert told(database)[-2:] == ["reply 2", "I am here"]


def test_what_came_late_says_nothing_of_the_clocks(database: Database) -> None:
    stage = Stage(database)
    at = stage.clock.now()
    named = {"lead_id": LEAD, "chat_id": "chat"}
    stage.clock.advance(20 * 60)
    (turn,) = stage.receive(incoming("Do you have it?", created_at=int(at.timestamp()), message_id="m-1", **named))
    assert stage.answer(turn) == State.KEPT
    between = int(at.timestamp()) + 600
    stage.receive(outgoing("meanwhile", created_at=between, message_id="m-2", **named))
    assert told(database) == ["Do you have it?", "meanwhile", "Yes, we have it."]


def test_of_equal_times_receipt_decides_and_else_amocrms_order(database: Database) -> None:
    stage = Stage(database)
    at = int(stage.clock.now().timestamp())
    for id_, text, created_at in (("a", "third", at + 2), ("b", "first", at), ("c", "second", at)):
        stage.receive(incoming(text, created_at=created_at, message_id=id_, lead_id=LEAD, chat_id="chat"))
    assert stage.answer(1) == State.KEPT
    (asked,) = stage.responders[0].asked
    assert [line.text for line in asked.question] == ["first", "second", "third"]
