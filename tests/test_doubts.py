"""A reply that states what stands nowhere: what the client gets, and what a person is told, on both databases."""

from otvet.answering.answering import Answering
from otvet.answering.writer import Checks
from otvet.responders.base import Attempt, Context, Reply
from otvet.responders.template import THANKS, TemplateResponder
from otvet.storage.database import Database
from otvet.turns import reasons, staff
from otvet.turns.turn import Reason, State
from tests.standins.amocrm import AmoStandin, amocrm_standin
from tests.test_answer import LEAD, Stage, write
from tests.test_writing import Writer

INVENTED = "The delivery costs 777 ₽."


def stage_with(database: Database, amo: AmoStandin | None, *texts: str) -> Stage:
    if amo:
        amo.add_lead(LEAD)
    return Stage(database, Writer("manus", *texts), TemplateResponder(), amo=amo)


def test_the_client_gets_the_template_and_a_person_gets_a_task(database: Database) -> None:
    with amocrm_standin() as amo:
        stage = stage_with(database, amo, INVENTED)
        (turn,) = stage.client_writes("How much is the delivery?")
        assert stage.answer(turn) == State.SENT
        stage.tell_staff()
        (note,), (task,) = amo.notes(LEAD), amo.tasks(LEAD)
    assert stage.said() == [THANKS]
    for told in ("could not be checked", "777 ₽", INVENTED, "client: How much is the delivery?"):
        assert told in task["text"]
        assert told in note["params"]["text"]
    row = stage.turn(turn)
    assert (row.reason, row.responder, row.gap) == (Reason.DOUBTED, "template", True)
    assert row.paused_until is None
    assert "could not be checked" in str(reasons.reason(row.reason))


def test_in_note_mode_staff_is_told_and_the_client_is_not(database: Database) -> None:
    with amocrm_standin() as amo:
        stage = stage_with(database, amo, INVENTED)
        stage.writing = {"checks": Checks(guard="note")}
        (turn,) = stage.client_writes("How much is the delivery?")
        assert stage.answer(turn) == State.SENT
        (note,) = amo.notes(LEAD)
        assert amo.tasks(LEAD) == []
    assert f"{INVENTED}\n\nCheck this before you rely on it: 777 ₽\n\n[otvet:" in note["params"]["text"]
    assert stage.said() == [INVENTED]
    assert stage.turn(turn).details["findings"] == [["price", "777 ₽"]]


def test_a_right_reply_to_newer_words_needs_no_person_any_more(database: Database) -> None:
    class Interrupted(Writer):
        async def reply(self, told: Context, attempt: Attempt) -> Reply:
            if not self.told:
                stage.client_writes("and is it far?")
            return await super().reply(told, attempt)

    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        stage = Stage(database, Interrupted("manus", INVENTED, INVENTED, "No."), TemplateResponder(), amo=amo)
        (turn,) = stage.client_writes("How much is the delivery?")
        assert stage.answer(turn) == State.SENT
        assert amo.tasks(LEAD) == []
    assert stage.said() == ["No."]
    assert (stage.turn(turn).reason, stage.turn(turn).summary) == (None, None)


def test_a_retry_that_writes_a_right_reply_needs_no_person_either(database: Database) -> None:
    with amocrm_standin() as amo:
        stage = stage_with(database, amo, INVENTED, INVENTED, "No.")
        (turn,) = stage.client_writes("Is it far?")

        async def play(answering: Answering) -> None:
            await write(answering, turn)
            assert stage.turn(turn).reason == Reason.DOUBTED
            stage.manager_writes("One moment.")
            with database.writes.begin() as connection:
                assert staff.retry(connection, turn, stage.clock.now()) == turn
            assert await answering.answer(turn) == State.SENT

        stage.run(play)
        assert amo.tasks(LEAD) == []
    assert stage.said() == ["No."]


def test_without_amocrm_the_reason_stands_in_the_summary(database: Database) -> None:
    stage = stage_with(database, None, INVENTED)
    (turn,) = stage.client_writes("How much is the delivery?")
    assert stage.answer(turn) == State.KEPT
    assert "777 ₽" in stage.turn(turn).summary
    assert stage.said() == [THANKS]
