"""Why a question was left to staff is said and counted, however the question ended since."""

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from otvet.responders.template import THANKS
from otvet.schema.upgrade import prepare
from otvet.staff import stats
from otvet.storage.database import Database
from otvet.turns import staff
from otvet.turns.turn import State
from tests.clocks import FakeClock
from tests.running import command, otvet, wait_for
from tests.standins.amocrm import AmoStandin
from tests.standins.sender import incoming
from tests.test_answer import LEAD, Stage, Writer
from tests.test_deliver import RUN
from tests.test_handoffs import NO_ANSWER, a_stage, asked, listed
from tests.test_schema import migrate_to

ASKS = "Позовите, пожалуйста, менеджера"


def left(stage: Stage) -> dict[str, int]:
    counted = stage.database.read_now(lambda connection: stats.read(connection, stage.clock.now()))
    return dict(counted["left_to_staff"])


@pytest.mark.slow
def test_without_amocrm_the_list_says_why_over_http(tmp_path: Path) -> None:
    asks = {5: ASKS, 6: "Верните деньги, я буду жаловаться в суд!", 7: "Есть ли у вас вакансии для водителей?"}
    with otvet(tmp_path) as server:
        for lead, text in asks.items():
            server.deliver(incoming(text, lead_id=lead, chat_id=f"chat-{lead}", message_id=f"m-{lead}"))
        wait_for(lambda: len(server.get("/api/turns?state=person")["turns"]) == len(asks), "the list")
        wait_for(server.settled, "the end of all questions")
        entries = {one["lead_id"]: one for one in server.get("/api/turns?state=person")["turns"]}
        whole = server.get(f"/api/turns/{entries[5]['id']}")
        numbers = server.get("/api/stats")["left_to_staff"]
        printed = command(tmp_path, "turns", COLUMNS="200").stdout
    assert [entries[lead]["state"] for lead in asks] == ["kept"] * 3
    assert entries[5]["why"] == whole["why"] == "the client asked for a person"
    assert "complains" in entries[6]["why"]
    assert "knowledge folder does not answer" in entries[7]["why"]
    assert (whole["left_because"], whole["reason"]) == ("asked", "amocrm_not_connected")
    assert numbers == {"angry": 1, "asked": 1, "not_known": 1}
    assert "the client asked for a person" in " ".join(printed.split())
    assert "not connected" not in " ".join(printed.split())


def test_a_reply_that_is_kept_and_sent_later_still_says_why(database: Database, amo: AmoStandin) -> None:
    stage = Stage(database, NO_ANSWER)
    (turn,) = stage.client_writes(ASKS)
    assert stage.answer(turn) == State.KEPT
    connected = a_stage(database, amo)
    connected.clock.advance(60)
    with database.writes.begin() as connection:
        staff.release_kept(connection, timedelta(hours=1), connected.clock.now())
    assert connected.answer(turn) == State.SENT
    connected.tell_staff()
    ((_turn, why),) = listed(connected)
    (task,) = amo.tasks(LEAD)
    assert why == "the client asked for a person"
    assert f"Why you: {why}" in task["text"]
    assert left(connected) == {"asked": 1}


@pytest.mark.parametrize(("text", "why"), [(ASKS, "asked"), ("Есть ли у вас матрасы?", "not_known")])
def test_a_manager_who_answers_does_not_change_why(database: Database, amo: AmoStandin, text: str, why: str) -> None:
    stage = a_stage(database, amo)
    asked(stage, text)
    second = asked(stage, "Ну что там, есть матрасы?", State.HANDED)
    before = left(stage)
    stage.clock.advance(60)
    stage.manager_writes("Да, два вида.")
    assert stage.turn(second).state == State.CANCELLED
    assert left(stage) == before
    assert before[why] >= 1


def test_a_reply_that_arrives_at_the_second_attempt_still_says_why(database: Database, amo: AmoStandin) -> None:
    stage = a_stage(database, amo)
    amo.fault(path=RUN, method="POST", status=400, times=1)
    (turn,) = stage.client_writes("Есть ли у вас матрасы?")
    assert stage.answer(turn) == State.FAILED
    stage.tell_staff()
    assert left(stage) == {"not_known": 1}
    ((_turn, why),) = listed(stage)
    assert "knowledge folder" not in why  # what is to be done first: the client did not get the reply
    with database.writes.begin() as connection:
        assert staff.retry(connection, turn, stage.clock.now()) == turn
    assert stage.answer(turn) == State.SENT
    assert stage.said() == [THANKS]
    ((_turn, why),) = listed(stage)
    assert "knowledge folder does not answer" in why


def test_an_answer_that_amocrm_refuses_was_left_because_of_that(database: Database, amo: AmoStandin) -> None:
    stage = Stage(database, Writer("knowledge", "Да, есть."), amo=amo)
    amo.fault(path=f"/api/v4/leads/{LEAD}/notes", method="POST", status=400, times=1)
    asked(stage, "Есть ли у вас матрасы?", State.FAILED)
    assert left(stage) == {"refused": 1}


def test_what_was_left_before_the_column_is_counted_as_it_was(database_url: str) -> None:
    database = Database(database_url)
    rows = [("sent", "asked"), ("failed", "amoCRM answers 400"), ("draft", None), ("waiting", None), ("sent", None)]
    with database.writes.begin() as connection:
        migrate_to(connection, "0013")
        run = connection.exec_driver_sql
        run("INSERT INTO clients (id) VALUES (1)")
        moment = "'2026-01-01 00:00:00+00'"
        run(f"INSERT INTO conversations (id, client_id, last_activity) VALUES (1, 1, {moment})")
        run(f"INSERT INTO handoffs (id, conversation_id, opened_at, due_at) VALUES (1, 1, {moment}, {moment})")
        columns = "conversation_id, chat_ref, state, reason, handoff_id, first_message_at, last_message_at"
        for number, (state, reason) in enumerate(rows):
            given = {"chat": f"c{number}", "state": state, "reason": reason, "of": None if number == 4 else 1}
            values = f"1, :chat, :state, :reason, :of, {moment}, {moment}"
            connection.execute(sa.text(f"INSERT INTO turns ({columns}) VALUES ({values})"), given)
    prepare(database, FakeClock().now())
    counted = database.read_now(lambda connection: stats.read(connection, FakeClock().now()))
    assert counted["left_to_staff"] == {"asked": 1, "draft": 1, "refused": 1, "waited": 1}
    database.close()
