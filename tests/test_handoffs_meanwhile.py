"""Hand-offs while something else happens: a task is completed, a draft replaced, a chat named, a deal merged."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from otvet.delivery.staff_task import MOST_LOOKED_AT
from otvet.responders.template import THANKS
from otvet.staff import stats
from otvet.storage.database import Database
from otvet.turns import drafts, handoffs, queue
from otvet.turns.handoffs import ClosedBy
from otvet.turns.policy import UNSURE_FOR
from otvet.turns.turn import Reason, State, turns
from tests.running import wait_for
from tests.standins.amocrm import AmoStandin
from tests.standins.sender import incoming
from tests.test_answer import LEAD, Stage, Writer, handoff
from tests.test_deliver import answered
from tests.test_drafts import texts
from tests.test_handoffs import JOINED, NO_ANSWER, a_stage, asked, asked_in_a_chat_not_known_yet, closed_by, listed


@pytest.fixture
def amo(amo: AmoStandin) -> AmoStandin:
    amo.add_lead(LEAD + 1)
    return amo


def all_open(database: Database) -> list[Any]:
    query = sa.select(handoffs.handoffs).where(handoffs.handoffs.c.closed_at.is_(None))
    return list(database.read_now(lambda connection: connection.execute(query).all()))


def complete(amo: AmoStandin, result: str = "") -> None:
    amo.tasks(LEAD)[-1].update(is_completed=True, result={"text": result} if result else [])


def drafting(database: Database, amo: AmoStandin, text: str = "Доставка 300 рублей.") -> Stage:
    stage = a_stage(database, amo, Writer("knowledge", text))
    stage.policy = replace(stage.policy, mode="draft")
    return stage


def test_a_completed_task_does_not_close_a_question_that_it_does_not_tell_of(
    database: Database, amo: AmoStandin
) -> None:
    stage = a_stage(database, amo)
    asked(stage, "Есть ли у вас матрасы?")
    complete(amo)
    (second,) = stage.client_writes("А подушки?")
    assert stage.answer(second) == State.HANDED
    stage.look_at_tasks()
    assert [turn for turn, _why in listed(stage)] == [second]
    stage.tell_staff()
    assert [one["is_completed"] for one in amo.tasks(LEAD)] == [True, False]
    complete(amo)
    stage.look_at_tasks()
    assert listed(stage) == []


@pytest.mark.parametrize("result", ["да", "нет", "ответ: 350 рублей"])
def test_a_result_says_nothing_of_a_draft_that_its_task_does_not_show(
    database: Database, amo: AmoStandin, result: str
) -> None:
    stage = drafting(database, amo)
    (first,) = stage.client_writes("Сколько стоит доставка?")
    assert stage.answer(first) == State.DRAFT
    stage.tell_staff()
    complete(amo, result)
    (second,) = stage.client_writes("А в деревню?")
    assert stage.answer(second) == State.DRAFT
    stage.look_at_tasks()
    assert (stage.begun, stage.turn(second).state) == ([], State.DRAFT)
    stage.tell_staff()
    complete(amo, "да")
    stage.look_at_tasks()
    assert stage.begun == [second]


def test_a_question_after_one_that_is_done_is_an_entry_of_its_own(database: Database, amo: AmoStandin) -> None:
    stage = a_stage(database, amo)
    asked(stage, "Есть ли у вас матрасы?")
    second = asked(stage, "А подушки?", State.HANDED)
    complete(amo)
    stage.look_at_tasks()
    assert listed(stage) == []
    (third,) = stage.client_writes("А одеяла?")
    stage.clock.advance(stage.policy.stale.total_seconds() + 1)
    assert stage.answer(third) == State.HANDED
    stage.tell_staff()
    assert [turn for turn, _why in listed(stage)] == [third]
    assert "одеяла" in amo.tasks(LEAD)[-1]["text"]
    assert closed_by(database, second) == ClosedBy.STAFF


def test_each_question_stands_in_the_task(database: Database, amo: AmoStandin) -> None:
    stage = a_stage(database, amo)
    asked(stage, "Есть ли у вас матрасы?")
    asked(stage, "А подушки " + "мягкие " * 60 + "есть?", State.HANDED)
    for item in ("одеяла", "пледы", "простыни", "наволочки", "кровати", "тумбы"):
        asked(stage, f"Ещё интересуют {item}, подскажите?", JOINED)
    (task,) = amo.tasks(LEAD)
    question, last = task["text"].split("Last messages:")
    assert all(item in question for item in ("матрасы", "подушки", "одеяла", "тумбы"))
    assert "тумбы" in last


def test_a_second_task_is_made_once_whatever_breaks(database: Database, amo: AmoStandin) -> None:
    stage = a_stage(database, amo)
    asked(stage, "Есть ли у вас матрасы?")
    complete(amo)
    amo.fault(path="/api/v4/tasks", method="POST", drop="after")
    asked(stage, "А подушки?", State.HANDED)
    for _look in range(3):
        stage.clock.advance(UNSURE_FOR.total_seconds())
        stage.tell_staff()
    assert [one["is_completed"] for one in amo.tasks(LEAD)] == [True, False]


@pytest.mark.parametrize("status", [400, 500])
@pytest.mark.parametrize("path", ["/api/v4/tasks", "/api/v4/leads/*"])
def test_a_task_that_may_have_been_made_is_looked_for_until_it_can_be_seen(
    database: Database, amo: AmoStandin, path: str, status: int
) -> None:
    stage = a_stage(database, amo)
    amo.fault(path="/api/v4/tasks", method="POST", drop="after")
    asked(stage, "Есть ли у вас матрасы?")
    amo.fault(path=path, method="GET", status=status, times=1)
    for _look in range(4):
        stage.clock.advance(30 * 60)
        stage.tell_staff()
    assert len(amo.tasks(LEAD)) == 1
    assert all_open(database)[0].told_revision == 1


def test_a_promise_that_was_only_kept_told_the_client_nothing(database: Database, amo: AmoStandin) -> None:
    before = Stage(database, NO_ANSWER)  # amoCRM is not connected yet
    (first,) = before.client_writes("Есть ли у вас матрасы?")
    assert before.answer(first) == State.KEPT
    stage = a_stage(database, amo)
    (second,) = stage.receive(
        incoming(
            "А подушки?",
            message_id="m-later",
            lead_id=LEAD,
            chat_id=f"chat-{LEAD}",
            created_at=int(stage.clock.now().timestamp()),
        )
    )
    assert stage.answer(second) == State.SENT
    stage.tell_staff()
    assert [one.text for one in amo.chats.seen] == [THANKS]
    (task,) = amo.tasks(LEAD)
    assert "матрасы" in task["text"]
    assert "подушки" in task["text"]


def test_reworded_while_drafted_is_one_question(database: Database, amo: AmoStandin) -> None:
    stage = drafting(database, amo)
    where = {"message_id": "m-edited", "lead_id": LEAD, "chat_id": f"chat-{LEAD}", "created_at": 1767603600}
    (first,) = stage.receive(incoming("Сколько стоит доставка?", **where))
    assert stage.answer(first) == State.DRAFT
    stage.tell_staff()
    (anew,) = stage.receive(incoming("Сколько стоит самовывоз?", **where))
    assert stage.answer(anew) == State.DRAFT
    stage.tell_staff()
    stage.look_at_tasks()
    assert texts(amo)[0] == "This draft is out of date and was not sent."
    (task,) = amo.tasks(LEAD)
    assert task["text"].count("Question: ") == 1
    complete(amo, "да")
    stage.look_at_tasks()
    assert stage.begun == [anew]
    assert answered(stage, anew) == State.SENT
    assert (listed(stage), all_open(database)) == ([], [])


def test_a_chat_that_becomes_known_keeps_its_hand_off(database: Database, amo: AmoStandin) -> None:
    stage = a_stage(database, amo)
    (turn,) = stage.client_writes("Есть ли у вас матрасы?")
    with database.writes.begin() as connection:
        connection.execute(turns.update().where(turns.c.id == turn).values(chat_ref=""))
    stage.clock.advance(handoffs.WAITED_TOO_LONG.total_seconds() + 1)
    stage.tell_staff()
    with database.writes.begin() as connection:
        queue.know_chat(connection, turn, f"chat-{LEAD}")
    assert stage.answer(turn) == State.SENT
    asked(stage, "А подушки?", State.HANDED)
    assert stage.said() == [THANKS]
    assert [(one.chat_ref, one.revision) for one in all_open(database)] == [(f"chat-{LEAD}", 2)]
    assert len(amo.tasks(LEAD)) == 1


def test_a_chat_that_becomes_known_and_has_a_hand_off_has_one(database: Database, amo: AmoStandin) -> None:
    stage = a_stage(database, amo)
    turn = asked_in_a_chat_not_known_yet(stage)
    stage.tell_staff()
    assert len(all_open(database)) == 2
    with database.writes.begin() as connection:
        queue.know_chat(connection, turn, f"chat-{LEAD}")
    (one,) = all_open(database)
    assert handoff(database, turn).id == one.id
    assert one.client_told_at is not None


def test_an_approved_draft_is_an_answer_and_was_left_to_nobody(database: Database, amo: AmoStandin) -> None:
    stage = drafting(database, amo)
    (turn,) = stage.client_writes("Сколько стоит доставка?")
    assert stage.answer(turn) == State.DRAFT
    stage.tell_staff()
    complete(amo, "да")
    stage.look_at_tasks()
    assert answered(stage, turn) == State.SENT
    counted = database.read_now(lambda connection: stats.read(connection, stage.clock.now()))
    assert (counted["questions"], counted["answered"], counted["left_to_staff"]) == (1, 1, {})


def test_a_managers_own_words_in_place_of_a_promise_are_the_answer(database: Database, amo: AmoStandin) -> None:
    stage = drafting(database, amo, THANKS)
    stage.responders = (NO_ANSWER,)
    (turn,) = stage.client_writes("Сколько стоит доставка?")
    assert stage.answer(turn) == State.DRAFT
    with database.writes.begin() as connection:
        assert drafts.approve(connection, turn, "350 рублей.") is None
    assert answered(stage, turn) == State.SENT
    assert listed(stage) == []


def test_a_draft_that_a_manager_has_overtaken_says_so(database: Database, amo: AmoStandin) -> None:
    stage = drafting(database, amo)
    (turn,) = stage.client_writes("Сколько стоит доставка?")
    assert stage.answer(turn) == State.DRAFT
    stage.clock.advance(10)
    stage.manager_writes("300 рублей")
    stage.look_at_tasks()
    assert texts(amo) == ["This draft is out of date and was not sent."]


def test_a_manager_who_writes_while_the_promise_is_on_its_way_has_kept_it(database: Database, amo: AmoStandin) -> None:
    stage = a_stage(database, amo)
    (turn,) = stage.client_writes("Есть ли у вас матрасы?")

    async def play(answering: Any) -> None:
        given = stage.delivery._methods["salesbot"].send

        async def send(*how: Any) -> Any:
            sent = await given(*how)
            stage.clock.advance(1)
            stage.manager_writes("Да, два вида.")
            return sent

        stage.delivery._methods["salesbot"].send = send  # type: ignore[method-assign]
        assert await answering.answer(turn) == State.SENT

    stage.run(play)
    assert closed_by(database, turn) == ClosedBy.MANAGER
    assert (listed(stage), all_open(database)) == ([], [])


def test_completed_tasks_are_seen_however_many_wait(database: Database, amo: AmoStandin) -> None:
    stage = a_stage(database, amo)
    first = asked(stage, "Есть ли у вас матрасы?")
    one = handoff(database, first)
    with database.writes.begin() as connection:
        for number in range(MOST_LOOKED_AT + 5):
            row = {"conversation_id": one.conversation_id, "chat_ref": f"other-{number}", "task_id": 10**6 + number}
            connection.execute(
                handoffs.handoffs.insert().values(**row, opened_at=one.opened_at, due_at=one.due_at, told_revision=1)
            )
    complete(amo)

    async def look(_answering: Any) -> None:
        for _look in range(2):
            await stage.staff_tasks.look_at_completed()

    stage.run(look)
    assert closed_by(database, first) == ClosedBy.STAFF


def test_merged_conversations_keep_what_the_client_was_told(database: Database, amo: AmoStandin) -> None:
    stage = a_stage(database, amo)
    first = asked(stage, "Есть ли у вас матрасы?")
    other = asked(stage, "А подушки?", lead_id=LEAD + 1)
    one, there = handoff(database, first), handoff(database, other)
    with database.writes.begin() as connection:
        connection.execute(
            handoffs.handoffs.update()
            .where(handoffs.handoffs.c.id == there.id)
            .values(chat_ref=one.chat_ref, client_told_at=None)
        )
        handoffs.move_to(connection, one.conversation_id, there.conversation_id)
    (left,) = all_open(database)
    assert (left.client_told_at, left.opened_at) == (one.client_told_at, one.opened_at)
    assert handoff(database, first).id == left.id


def test_who_asks_for_a_person_after_a_promise_is_left_to_that_person(database: Database, amo: AmoStandin) -> None:
    stage = a_stage(database, amo)
    asked(stage, "Есть ли у вас матрасы?")
    asked(stage, "Позовите менеджера", State.HANDED)
    stage.responders = (Writer("knowledge", "Да, есть."),)
    asked(stage, "А подушки?", JOINED)
    assert stage.said() == [THANKS]
    assert "подушки" in amo.tasks(LEAD)[0]["text"]


def test_who_writes_on_after_a_question_was_seen_to_and_waits_is_listed_again(
    database: Database, amo: AmoStandin
) -> None:
    stage = a_stage(database, amo)
    (turn,) = stage.client_writes("Есть ли у вас матрасы?")
    stage.clock.advance(handoffs.WAITED_TOO_LONG.total_seconds() + 1)
    stage.tell_staff()
    complete(amo)
    stage.look_at_tasks()
    stage.tell_staff()
    assert listed(stage) == []
    stage.clock.advance(60)
    assert stage.client_writes("А подушки?") == []
    stage.tell_staff()
    assert [one for one, _why in listed(stage)] == [turn]
    assert [one["is_completed"] for one in amo.tasks(LEAD)] == [True, False]


@pytest.mark.slow  # what another process does at the same moment; only PostgreSQL has several
def test_a_question_that_joins_a_hand_off_while_another_leaves_it_is_kept(prepared_postgres_url: str) -> None:
    mine, theirs = Database(prepared_postgres_url), Database(prepared_postgres_url)
    stage = Stage(mine, NO_ANSWER)
    (first,) = stage.client_writes("Есть ли у вас матрасы?")
    now = stage.clock.now()
    with mine.writes.begin() as connection:
        handoffs.add(connection, stage.turn(first), Reason.NOT_KNOWN, now)
        connection.execute(turns.update().where(turns.c.id == first).values(state=State.KEPT))
    (second,) = stage.client_writes("А подушки?")

    def withdraw() -> None:
        with mine.writes.begin() as connection:
            handoffs.withdraw(connection, stage.turn(first), now)

    with ThreadPoolExecutor(1) as pool:
        with theirs.writes.begin() as connection:
            handoffs.add(connection, stage.turn(second), Reason.NOT_KNOWN, now)
            leaving = pool.submit(withdraw)
            waits = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            wait_for(lambda: mine.read_now(lambda looking: looking.scalar(waits)), "the one that leaves")
        leaving.result(10)
    assert handoff(mine, second).closed_at is None
    mine.close()
    theirs.close()
