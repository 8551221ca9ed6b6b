"""The client hears once that a person will answer, and that person has one task, whatever happens meanwhile."""

import pytest
import sqlalchemy as sa

from otvet.conversations.tables import TRIAL
from otvet.meaning.promises import is_only_a_promise
from otvet.responders.template import THANKS
from otvet.storage.database import Database
from otvet.turns import handoffs, queue
from otvet.turns.turn import State
from tests.standins.amocrm import AmoStandin
from tests.standins.sender import incoming
from tests.tables import every
from tests.test_answer import LEAD, Writer
from tests.test_handoffs import JOINED, NO_ANSWER, a_stage, asked, asked_in_a_chat_not_known_yet, listed

MERGED = "This client's questions stand in another task of the deal. Complete this one."
PROMISE = "Передал ваш вопрос менеджеру, он свяжется с вами."


def changes(amo: AmoStandin) -> int:
    return sum(one["method"] == "PATCH" and one["path"].startswith("/api/v4/tasks/") for one in amo.log)


@pytest.mark.parametrize("while_refused", [False, True])
def test_of_two_tasks_that_became_one_the_spare_one_says_so(
    database: Database, amo: AmoStandin, while_refused: bool
) -> None:
    stage = a_stage(database, amo)
    turn = asked_in_a_chat_not_known_yet(stage)
    stage.tell_staff()
    assert len(amo.tasks(LEAD)) == 2
    with database.writes.begin() as connection:
        queue.know_chat(connection, turn, f"chat-{LEAD}")
    if while_refused:
        amo.fault(path="/api/v4/tasks/*", method="PATCH", status=503, times=1)
    for _look in range(3):
        stage.look_at_tasks()
        stage.tell_staff()
        stage.clock.advance(60)
    told, spare = (one["text"] for one in amo.tasks(LEAD))
    assert ("матрасы" in told, "подушки" in told, spare) == (True, True, MERGED)
    seen = changes(amo)
    stage.look_at_tasks()
    assert changes(amo) == seen


def test_a_task_that_was_being_made_for_what_was_merged_says_so_too(database: Database, amo: AmoStandin) -> None:
    stage = a_stage(database, amo)
    turn = asked_in_a_chat_not_known_yet(stage)
    with database.writes.begin() as connection:
        handoffs.add_waiting(connection, stage.clock.now())
    (one,) = database.read_now(lambda connection: handoffs.to_tell(connection, stage.clock.now()))
    amo._tasks[LEAD].append({**amo.tasks(LEAD)[0], "id": 7, "text": "as it is being made"})
    with database.writes.begin() as connection:
        assert handoffs.announce(connection, one, stage.clock.now())
        queue.know_chat(connection, turn, f"chat-{LEAD}")
        handoffs.told(connection, one, 7)  # amoCRM's answer comes later
    stage.look_at_tasks()
    assert amo.tasks(LEAD)[-1]["text"] == MERGED


def test_who_was_told_a_moment_ago_is_not_told_again_after_staff_marked_it_done(
    database: Database, amo: AmoStandin
) -> None:
    stage = a_stage(database, amo)
    first = asked(stage, "Есть ли у вас матрасы?")
    with database.writes.begin() as connection:
        assert handoffs.mark_done(connection, first, stage.clock.now())
    stage.clock.advance(20)
    second = asked(stage, "А подушки?", State.HANDED)
    asked(stage, "И одеяла?", JOINED)
    assert stage.said() == [THANKS]
    assert [turn for turn, _why in listed(stage)] == [second]
    assert all(item in amo.tasks(LEAD)[-1]["text"] for item in ("подушки", "одеяла"))
    with database.writes.begin() as connection:
        assert handoffs.mark_done(connection, second, stage.clock.now())
    stage.clock.advance(handoffs.STILL_KNOWN.total_seconds())
    asked(stage, "А шторы?")
    assert stage.said() == [THANKS, THANKS]


def test_a_model_does_not_say_it_again_either(database: Database, amo: AmoStandin) -> None:
    model = Writer("manus", PROMISE)
    stage = a_stage(database, amo, model, NO_ANSWER)
    asked(stage, "Можно ли забрать в воскресенье?")
    model.text = "Здравствуйте! Передам ваш вопрос менеджеру."
    second = asked(stage, "А в понедельник утром?", State.HANDED)
    assert stage.said() == [PROMISE]
    assert [turn for turn, _why in listed(stage)] == [second]
    assert "понедельник" in amo.tasks(LEAD)[0]["text"]
    model.text = "Да, самовывоз есть. О времени спрошу менеджера, он ответит вам здесь."
    asked(stage, "А самовывоз вообще есть?")
    assert stage.said() == [PROMISE, model.text]


@every("meaning", "only_a_promise", "text, only")
def test_what_is_only_a_promise(text: str, only: bool) -> None:
    assert is_only_a_promise(text) is only


def test_a_trial_chat_is_no_task(database: Database, amo: AmoStandin) -> None:
    stage = a_stage(database, amo)
    about = {"message_id": "t-1", "lead_id": LEAD, "chat_id": f"{TRIAL}{LEAD}"}
    (turn,) = stage.receive(incoming("Есть матрасы?", created_at=int(stage.clock.now().timestamp()), **about))
    assert stage.answer(turn) == State.KEPT
    stage.tell_staff()
    assert database.read_now(lambda connection: connection.scalar(sa.select(handoffs.handoffs.c.id))) is not None
    assert (listed(stage), amo.tasks(LEAD)) == ([], [])
