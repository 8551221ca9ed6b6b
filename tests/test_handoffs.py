"""Left to staff: whoever was promised a person is on the list, and that person has one task, until somebody answers."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from otvet.delivery.methods import DeliveryOptions
from otvet.responders.template import THANKS
from otvet.staff import worklist
from otvet.storage import outages
from otvet.storage.database import Database
from otvet.turns import handoffs, staff
from otvet.turns.handoffs import ClosedBy
from otvet.turns.policy import UNSURE_FOR
from otvet.turns.turn import Reason, State, turns
from tests import promises
from tests.standins.amocrm import AmoStandin
from tests.test_answer import LEAD, Stage, Writer
from tests.test_deliver import BOT, RUN

NO_ANSWER = Writer("template", THANKS)


@pytest.fixture
def amo(amo: AmoStandin) -> AmoStandin:
    amo.add_lead(LEAD + 1)
    return amo


def a_stage(database: Database, amo: AmoStandin, *responders: Writer) -> Stage:
    """Replies go into the client's chat."""
    stage = Stage(database, *(responders or (NO_ANSWER,)), amo=amo)
    field = amo.chats.add_bot(BOT)
    stage.delivery_options = DeliveryOptions(via={"*": "salesbot"}, note=False, salesbot_id=BOT, field_id=field)
    return stage


JOINED = "not ours"  # to the entry of the list that the chat has already


def asked(stage: Stage, text: str, state: str = State.SENT, **more: Any) -> int:
    """A client's question, answered or not, and staff told of it."""
    (turn,) = stage.client_writes(text, **more)
    assert stage.answer(turn) == state
    stage.tell_staff()
    return turn


def asked_in_a_chat_not_known_yet(stage: Stage) -> int:
    """A question that was left to staff, and one that has waited too long in a chat that no message has named yet."""
    asked(stage, "Есть ли у вас матрасы?")
    (turn,) = stage.client_writes("А подушки?")
    with stage.database.writes.begin() as connection:
        connection.execute(turns.update().where(turns.c.id == turn).values(chat_ref=""))
    stage.clock.advance(handoffs.WAITED_TOO_LONG.total_seconds() + 1)
    return turn


def listed(stage: Stage) -> list[tuple[int, str]]:
    """The list: (question, why)."""
    found = stage.database.read_now(lambda connection: worklist.listed(connection, stage.clock.now(), 100))
    return [(one.turn.id, one.why or "") for one in found]


def test_what_nobody_could_answer_is_on_the_list_and_is_a_task(database: Database, amo: AmoStandin) -> None:
    stage = a_stage(database, amo)
    turn = asked(stage, "Есть ли у вас матрасы с латексом?")
    ((listed_turn, why),) = listed(stage)
    (task,) = amo.tasks(LEAD)
    assert listed_turn == turn
    assert "knowledge folder does not answer" in why
    assert "Question: Есть ли у вас матрасы с латексом?\nWhy you: the knowledge folder does not answer" in task["text"]
    assert "client: Есть ли у вас матрасы с латексом?" in task["text"]


def test_an_answer_is_neither(database: Database, amo: AmoStandin) -> None:
    stage = a_stage(database, amo, Writer("knowledge", "Да, есть."))
    asked(stage, "Есть ли у вас матрасы с латексом?")
    assert (listed(stage), amo.tasks(LEAD)) == ([], [])


def test_further_questions_join_the_task_and_the_client_hears_it_once(database: Database, amo: AmoStandin) -> None:
    stage = a_stage(database, amo)
    asked(stage, "Есть ли у вас матрасы?")
    second = asked(stage, "А подушки?", State.HANDED)
    asked(stage, "И одеяла?", JOINED)
    (task,) = amo.tasks(LEAD)
    for text in ("матрасы", "подушки", "одеяла"):
        assert text in task["text"]
    assert stage.said() == [THANKS]
    assert [one.text for one in amo.chats.seen] == [THANKS]
    assert [turn for turn, _why in listed(stage)] == [second]


def test_other_chats_have_a_task_of_their_own(database: Database, amo: AmoStandin) -> None:
    stage = a_stage(database, amo)
    asked(stage, "Есть ли у вас матрасы?")
    asked(stage, "Есть ли у вас подушки?", lead_id=LEAD + 1)
    assert (len(amo.tasks(LEAD)), len(amo.tasks(LEAD + 1)), len(listed(stage))) == (1, 1, 2)


def test_it_leaves_the_list_when_a_manager_writes_and_the_next_is_a_new_task(
    database: Database, amo: AmoStandin
) -> None:
    stage = a_stage(database, amo)
    stage.pause_minutes = 0
    turn = asked(stage, "Есть ли у вас матрасы?")
    stage.clock.advance(60)
    stage.manager_writes("Да, два вида.")
    assert listed(stage) == []
    assert closed_by(database, turn) == ClosedBy.MANAGER
    stage.clock.advance(60)
    asked(stage, "А подушки?")
    assert len(listed(stage)) == 1
    assert ["матрасы" in one["text"] for one in amo.tasks(LEAD)] == [True, False] or len(amo.tasks(LEAD)) == 2
    assert stage.said() == [THANKS, THANKS]


def closed_by(database: Database, turn_id: int) -> str | None:
    found = database.read_now(lambda connection: handoffs.of_turn(connection, turn_id))
    return found and found.closed_by


def test_a_managers_older_message_that_comes_in_late_answers_nothing(database: Database, amo: AmoStandin) -> None:
    stage = a_stage(database, amo)
    before = stage.clock.now()
    stage.clock.advance(60)
    asked(stage, "Есть ли у вас матрасы?")
    stage.manager_writes("Добрый день", created_at=int(before.timestamp()))
    assert len(listed(stage)) == 1


@pytest.mark.parametrize("status", [400, 404])
def test_a_task_that_amocrm_refuses_is_said_and_tried_again(database: Database, amo: AmoStandin, status: int) -> None:
    stage = a_stage(database, amo)
    amo.fault(path="/api/v4/tasks", method="POST", status=status, times=2)
    asked(stage, "Есть ли у вас матрасы?")
    ((_turn, why),) = listed(stage)
    assert "amoCRM does not take the task" in why
    stage.tell_staff()  # too early
    assert sum(entry["method"] == "POST" and entry["path"] == "/api/v4/tasks" for entry in amo.log) == 1
    for _again in range(2):
        stage.clock.advance(30 * 60)
        stage.tell_staff()
    assert len(amo.tasks(LEAD)) == 1
    ((_turn, why),) = listed(stage)
    assert "does not take" not in why


def test_a_task_completed_in_amocrm_takes_it_off_the_list(database: Database, amo: AmoStandin) -> None:
    stage = a_stage(database, amo)
    turn = asked(stage, "Есть ли у вас матрасы?")

    async def look(_answering: Any) -> None:
        await stage.staff_tasks.look_at_completed()

    stage.run(look)
    assert len(listed(stage)) == 1
    amo.tasks(LEAD)[0]["is_completed"] = True
    stage.run(look)
    assert listed(stage) == []
    assert closed_by(database, turn) == ClosedBy.STAFF


def test_a_question_after_a_completed_task_that_was_not_seen_yet_has_a_new_one(
    database: Database, amo: AmoStandin
) -> None:
    stage = a_stage(database, amo)
    asked(stage, "Есть ли у вас матрасы?")
    amo.tasks(LEAD)[0]["is_completed"] = True
    asked(stage, "А подушки?", State.HANDED)
    assert [one["is_completed"] for one in amo.tasks(LEAD)] == [True, False]


def test_somebody_marks_it_done(database: Database, amo: AmoStandin) -> None:
    stage = a_stage(database, amo)
    turn = asked(stage, "Есть ли у вас матрасы?")
    with database.writes.begin() as connection:
        assert handoffs.mark_done(connection, turn, stage.clock.now())
        assert not handoffs.mark_done(connection, turn, stage.clock.now())
    assert listed(stage) == []


def test_while_a_manager_is_in_the_chat_the_client_is_theirs_for_ten_minutes(
    database: Database, amo: AmoStandin
) -> None:
    stage = a_stage(database, amo)
    stage.manager_writes("Добрый день, чем помочь?")
    stage.clock.advance(60)
    turn = asked(stage, "Есть ли у вас матрасы?", State.HANDED)
    assert (listed(stage), amo.tasks(LEAD)) == ([], [])
    stage.clock.advance(staff.A_MANAGER_MAY_ANSWER.total_seconds())
    stage.tell_staff()
    assert [one for one, _why in listed(stage)] == [turn]
    assert len(amo.tasks(LEAD)) == 1


def test_a_manager_who_answers_in_time_has_no_task(database: Database, amo: AmoStandin) -> None:
    stage = a_stage(database, amo)
    stage.manager_writes("Добрый день, чем помочь?")
    stage.clock.advance(60)
    asked(stage, "Есть ли у вас матрасы?", State.HANDED)
    stage.clock.advance(300)
    stage.manager_writes("Да, два вида.")
    stage.clock.advance(600)
    stage.tell_staff()
    assert (listed(stage), amo.tasks(LEAD)) == ([], [])


def test_what_waits_for_ten_minutes_is_on_the_list_until_it_is_answered(database: Database, amo: AmoStandin) -> None:
    stage = a_stage(database, amo, Writer("knowledge", "Да, есть."))
    (turn,) = stage.client_writes("Есть ли у вас матрасы?")
    stage.tell_staff()
    assert listed(stage) == []
    stage.clock.advance(handoffs.WAITED_TOO_LONG.total_seconds() + 1)
    stage.tell_staff()
    ((listed_turn, why),) = listed(stage)
    assert (listed_turn, len(amo.tasks(LEAD))) == (turn, 1)
    assert "more than ten minutes" in why
    assert stage.answer(turn) == State.SENT
    assert listed(stage) == []
    assert closed_by(database, turn) is None  # it is of no hand-off any more


def test_an_outage_keeps_the_task_until_it_is_over(database: Database, amo: AmoStandin) -> None:
    stage = a_stage(database, amo)
    (turn,) = stage.client_writes("Есть ли у вас матрасы?")
    with database.writes.begin() as connection:
        outages.begin(connection, "banned", "amoCRM has banned the server.", stage.clock.now())
    stage.clock.advance(handoffs.WAITED_TOO_LONG.total_seconds() + 1)
    stage.tell_staff()
    assert (len(listed(stage)), amo.tasks(LEAD)) == (1, [])
    with database.writes.begin() as connection:
        outages.end(connection)
    assert stage.answer(turn) == State.SENT
    stage.tell_staff()
    assert len(amo.tasks(LEAD)) == 1


def test_a_question_that_is_answered_at_staffs_request_leaves_the_list(database: Database, amo: AmoStandin) -> None:
    stage = a_stage(database, amo, Writer("knowledge", "Да, есть."))
    (turn,) = stage.client_writes("Есть ли у вас матрасы?")
    stage.clock.advance(stage.policy.stale.total_seconds() + 1)
    assert stage.answer(turn) == State.HANDED
    assert [one for one, _why in listed(stage)] == [turn]
    with database.writes.begin() as connection:
        assert staff.retry(connection, turn, stage.clock.now()) == turn
    assert stage.answer(turn) == State.SENT
    assert listed(stage) == []


def test_a_crash_around_the_call_makes_no_second_task(database: Database, amo: AmoStandin) -> None:
    stage = a_stage(database, amo)
    amo.fault(path="/api/v4/tasks", method="POST", drop="after")
    asked(stage, "Есть ли у вас матрасы?")
    for _look in range(3):
        stage.clock.advance(UNSURE_FOR.total_seconds())
        stage.tell_staff()
    assert len(amo.tasks(LEAD)) == 1


def test_an_erased_client_needs_nobody(database: Database, amo: AmoStandin) -> None:
    stage = a_stage(database, amo)
    turn = asked(stage, "Есть ли у вас матрасы?")
    with database.writes.begin() as connection:
        handoffs.close_erased(connection, [turn], stage.clock.now())
    assert listed(stage) == []


def test_a_client_who_asks_for_a_person_and_then_writes_on_is_one_entry(database: Database, amo: AmoStandin) -> None:
    stage = a_stage(database, amo, Writer("knowledge", "Да, есть."))
    asked(stage, "Позовите менеджера")
    asked(stage, "Есть ли у вас матрасы?", State.HANDED)
    (task,) = amo.tasks(LEAD)
    assert "Позовите менеджера" in task["text"]
    assert "матрасы" in task["text"]
    ((_turn, why),) = listed(stage)
    assert "the client asked for a person" in why  # and not that the assistant is paused: it is because of that
    asked(stage, "алло, вы тут?", JOINED)
    ((_turn, why),) = listed(stage)
    assert "the client asked for a person" in why
    stage.manager_writes()
    stage.clock.advance(60)
    asked(stage, "А подушки?", State.HANDED)
    stage.clock.advance(10 * 60)
    ((_turn, why),) = listed(stage)
    assert "paused" in why  # the manager has answered what was asked for


def test_a_reply_that_did_not_reach_the_client_is_on_the_list(database: Database, amo: AmoStandin) -> None:
    stage = a_stage(database, amo, Writer("knowledge", "Да, есть."))
    amo.fault(path=RUN, status=400, times=None)
    amo.fault(path="/api/v4/leads/*/notes", method="POST", status=400, times=None)
    (turn,) = stage.client_writes("Есть ли у вас матрасы?")
    assert stage.answer(turn) == State.FAILED
    assert [one for one, _why in listed(stage)] == [turn]


def test_two_turns_of_one_chat_make_one_hand_off(database: Database) -> None:
    stage = Stage(database, NO_ANSWER)
    (first,) = stage.client_writes("one")
    assert stage.answer(first) == State.KEPT
    (second,) = stage.client_writes("two")
    assert stage.answer(second) == State.KEPT
    rows = database.read_now(lambda connection: connection.execute(sa.select(handoffs.handoffs)).all())
    assert [(row.revision, row.closed_at) for row in rows] == [(2, None)]
    assert timedelta(0) <= rows[0].due_at - rows[0].opened_at


@pytest.mark.parametrize("text", ["Спасибо!", "ок", "👍", "Понял, до свидания"])
def test_thanks_get_silence_and_nobody_is_told(database: Database, amo: AmoStandin, text: str) -> None:
    stage = a_stage(database, amo)
    (turn,) = stage.client_writes(text)
    assert stage.answer(turn) == State.CANCELLED
    stage.tell_staff()
    assert (stage.turn(turn).reason, stage.said(), listed(stage)) == (Reason.SMALL_TALK, [], [])


def test_thanks_may_get_a_short_word(database: Database, amo: AmoStandin) -> None:
    stage = a_stage(database, amo)
    stage.options = replace(stage.options, small_talk="short")
    asked(stage, "Спасибо!")
    assert stage.said() == ["Пожалуйста! Если появятся вопросы, пишите."]
    assert listed(stage) == []


def test_a_greeting_gets_a_greeting(database: Database, amo: AmoStandin) -> None:
    stage = a_stage(database, amo)
    asked(stage, "Здравствуйте")
    assert stage.said() == ["Здравствуйте! Чем мы можем помочь?"]
    assert listed(stage) == []


def test_an_ok_after_our_question_is_an_answer(database: Database, amo: AmoStandin) -> None:
    asking = Writer("knowledge", "Оформляем?")
    stage = a_stage(database, amo, asking)
    asked(stage, "Хочу плед")
    stage.clock.advance(10)
    asked(stage, "ок")
    assert len(asking.asked) == 2


def test_a_complaint_goes_to_a_manager_and_to_no_model(database: Database, amo: AmoStandin) -> None:
    model = Writer("manus", "Всё будет хорошо!")
    stage = a_stage(database, amo, model, NO_ANSWER)
    asked(stage, "Верните деньги, иначе иду в Роспотребнадзор")
    (task,) = amo.tasks(LEAD)
    assert "the client complains" in task["text"]
    assert model.asked == []
    assert stage.said() == ["Нам очень жаль, что так вышло. Передаём ваше сообщение менеджеру, он ответит здесь."]


def test_the_judge_of_promises_sees_a_broken_one(database: Database, amo: AmoStandin) -> None:
    stage = a_stage(database, amo)

    def broken() -> list[str]:
        return database.read_now(lambda connection: list(promises.broken(connection, amo, [LEAD], stage.clock.now())))

    (turn,) = stage.client_writes("Есть ли у вас матрасы?")
    assert stage.answer(turn) == State.SENT
    assert ["promised and not told" in one for one in broken()] == [True]
    stage.tell_staff()
    assert broken() == []
    (task,) = amo.tasks(LEAD)
    amo._tasks[LEAD].append({**task, "id": 1})
    assert ["has 2 tasks" in one for one in broken()] == [True]
    amo._tasks[LEAD].pop()
    with database.writes.begin() as connection:
        connection.execute(turns.update().values(handoff_id=None))
    assert ["left to nobody" in one for one in broken()] == [True]


def test_a_models_own_promise_is_a_hand_off(database: Database, amo: AmoStandin) -> None:
    promise = "Передал ваш вопрос менеджеру, он свяжется с вами."
    stage = a_stage(database, amo, Writer("manus", promise), NO_ANSWER)
    asked(stage, "Можно ли забрать в воскресенье?")
    (task,) = amo.tasks(LEAD)
    assert "a person will see to it" in task["text"]
    assert stage.said() == [promise]


@pytest.mark.parametrize(
    "claim", ["Записал вас на завтра.", "Отменила ваш заказ, деньги вернутся.", "I have booked you for tomorrow."]
)
def test_a_deed_that_no_model_can_do_is_refused(database: Database, amo: AmoStandin, claim: str) -> None:
    question = "Book me for tomorrow?" if claim.isascii() else "Запишите меня на завтра?"
    model = Writer("manus", claim)
    stage = a_stage(database, amo, model, NO_ANSWER)
    (turn,) = stage.client_writes(question)
    assert stage.answer(turn) == State.SENT
    assert stage.turn(turn).reason == Reason.DOUBTED
    assert stage.said() != [claim]
    assert "manager" in model.asked[-1].findings[-1] or "менеджеру" in model.asked[-1].findings[-1]
