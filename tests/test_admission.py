"""Which turns are answered, and when: through the whole workflow, on both databases."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from otvet.answering.answering import Answering
from otvet.deals.selection import CHANNEL, STAGE, Choice, Selection
from otvet.delivery.staff_task import DUE_WITHIN as TASK_WITHIN
from otvet.errors import SettingsError
from otvet.settings import working_hours
from otvet.settings.loading import load_settings
from otvet.storage import outages
from otvet.storage.database import Database
from otvet.turns import staff
from otvet.turns import turn as turn_
from otvet.turns.policy import Policy
from otvet.turns.turn import NEEDS_STAFF, Reason, State, turns
from tests.running import command, otvet, wait_for
from tests.standins.amocrm import PIPELINE, AmoStandin, amocrm_standin
from tests.standins.sender import incoming
from tests.test_answer import Stage, Writer
from tests.test_deliver import BOT, with_salesbot
from tests.test_end_to_end import connected

LEAD, CONTACT = 27754599, 93589657
CLOSED = "We are closed; a manager will answer in the morning."
OFFICE = working_hours.read(
    "mon-fri 09:00-18:00", working_hours.zone_of("Europe/Moscow")
)  # the stage's clock begins at 12:00 there
TEXT = Policy(hours=OFFICE, answers_out_of_hours=False, hours_text=CLOSED)
HALF_A_DAY = timedelta(hours=12).total_seconds()
OPENS = datetime(2026, 1, 6, 6, 0, tzinfo=UTC)  # after the stage's first night


def answered(stage: Stage, *turn_ids: int) -> list[str]:
    states: list[str] = []

    async def play(answering: Answering) -> None:
        states.extend([await answering.answer(turn_id) for turn_id in turn_ids])

    stage.run(play)
    return states


def a_stage(database: Database, rule: Policy, **more: Any) -> Stage:
    stage = Stage(database, Writer("knowledge", "Written."), **more)
    stage.policy = rule
    return stage


def test_a_channel_that_is_left_out_ends_visibly_and_off_the_list(database: Database) -> None:
    stage = a_stage(database, Policy(selection=Selection(channels=Choice.of(["waba"]))))
    (turn,) = stage.client_writes()
    assert answered(stage, turn) == [State.CANCELLED]
    assert stage.turn(turn).reason == CHANNEL
    assert stage.responders[0].asked == []
    assert database.read_now(lambda connection: turn_.listed(connection, NEEDS_STAFF, 9)) == []


def test_what_a_person_wants_answered_is(database: Database) -> None:
    stage = a_stage(database, Policy(selection=Selection(channels=Choice.of(["waba"]))))
    (turn,) = stage.client_writes()

    async def play(answering: Answering) -> None:
        await answering.answer(turn)
        with database.writes.begin() as connection:
            assert staff.retry(connection, turn, stage.clock.now()) == turn
        assert await answering.answer(turn) == State.KEPT

    stage.run(play)


def test_in_working_hours_everything_is_as_always(database: Database) -> None:
    stage = a_stage(database, TEXT)
    (turn,) = stage.client_writes()
    assert answered(stage, turn) == [State.KEPT]
    assert stage.said() == ["Written."]


def test_by_default_the_night_changes_nothing(database: Database) -> None:
    stage = a_stage(database, Policy(hours=OFFICE))
    stage.clock.advance(HALF_A_DAY)
    (turn,) = stage.client_writes()
    assert answered(stage, turn) == [State.KEPT]
    assert stage.said() == ["Written."]


def test_out_of_hours_a_client_is_told_so_once_a_night(database: Database) -> None:
    stage = a_stage(database, TEXT)
    stage.clock.advance(HALF_A_DAY)

    async def play(answering: Answering) -> None:
        (first,) = stage.client_writes("Good evening")
        assert await answering.answer(first) == State.KEPT
        assert stage.turn(first).summary  # so a task is made for the morning
        (again,) = stage.client_writes("Are you there?")
        assert await answering.answer(again) == State.HANDED
        assert stage.turn(again).reason == Reason.OUT_OF_HOURS
        assert stage.said() == [CLOSED]
        (of_another,) = stage.client_writes("Do you have it?", lead_id=LEAD + 1)
        assert await answering.answer(of_another) == State.KEPT
        assert stage.said() == [CLOSED, CLOSED]
        stage.clock.advance(2 * HALF_A_DAY)
        (next_night,) = stage.client_writes("Is it here again?")
        assert await answering.answer(next_night) == State.KEPT
        assert stage.said() == [CLOSED, CLOSED, CLOSED]
        stage.clock.advance(HALF_A_DAY)
        (by_day,) = stage.client_writes("Do you have it in blue?")
        assert await answering.answer(by_day) == State.KEPT
        assert stage.said()[-1] == "Written."

    stage.run(play)


@pytest.fixture
def amo() -> Iterator[AmoStandin]:
    with amocrm_standin() as amo:
        amo.rate = 1000
        amo.add_lead(LEAD)
        yield amo


def notes(amo: AmoStandin) -> list[str]:
    return [note["params"]["text"].split("\n")[0] for note in amo.notes(LEAD)]


def test_the_task_says_what_the_client_wrote_and_waits_until_somebody_is_there(
    database: Database, amo: AmoStandin
) -> None:
    stage = a_stage(database, TEXT, amo=amo)
    stage.clock.advance(HALF_A_DAY)
    (turn,) = stage.client_writes("Good evening")
    stage.client_writes("Do you have it in blue?")
    assert answered(stage, turn) == [State.SENT]
    (note,) = notes(amo)
    assert "it came out of working hours" in note
    assert CLOSED not in note  # the client does not see it
    stage.tell_staff()
    (task,) = amo.tasks(LEAD)
    assert task["text"].startswith("A client waits for a manager's answer in the chat.\n\nQuestion: Good evening / Do")
    assert "it came out of working hours" in task["text"]
    assert task["complete_till"] == (OPENS + TASK_WITHIN).timestamp()


def test_a_client_who_asks_for_a_person_at_night_is_a_task_of_the_morning(database: Database, amo: AmoStandin) -> None:
    stage = a_stage(database, Policy(hours=OFFICE), amo=amo)
    stage.clock.advance(HALF_A_DAY)
    (turn,) = stage.client_writes("human please")
    assert answered(stage, turn) == [State.SENT]
    stage.tell_staff()
    (task,) = amo.tasks(LEAD)
    assert task["complete_till"] == (OPENS + TASK_WITHIN).timestamp()


def away_when_the_reply_is_written(stage: Stage, amo: AmoStandin, how: str, until: datetime) -> None:
    """amoCRM takes no reply until then: it answers with errors, or its gate is closed."""
    with stage.database.writes.begin() as connection:
        if how == "gate":
            outages.begin(connection, "payment", "The subscription has ended.", stage.clock.now())
    if how != "gate":
        for path in ("/api/v4/leads/*/notes", f"/api/v4/bots/{BOT}/run"):
            amo.fault(path=path, method="POST", status=int(how), times=None)

    def back() -> None:
        if stage.turn(1).reply is not None and stage.clock.now() < until:
            stage.clock.advance((until - stage.clock.now()).total_seconds())
            amo.app.clear()
            with stage.database.writes.begin() as connection:
                outages.end(connection)

    stage.clock.on_sleep = back


@pytest.mark.parametrize(("way", "how"), [("note", "503"), ("note", "429"), ("note", "gate"), ("salesbot", "429")])
def test_the_text_of_the_night_is_not_sent_by_day(database: Database, amo: AmoStandin, way: str, how: str) -> None:
    stage = a_stage(database, TEXT, amo=amo)
    if way == "salesbot":
        stage.delivery_options = with_salesbot(database, amo).delivery_options
    stage.clock.advance(HALF_A_DAY)
    (turn,) = stage.client_writes("Good evening")
    away_when_the_reply_is_written(stage, amo, how, OPENS)
    assert answered(stage, turn) == [State.HANDED]
    assert stage.turn(turn).reason == Reason.STALE  # as anything that nobody answered in time
    assert (stage.said(), notes(amo), amo.tasks(LEAD), amo.chats.seen) == ([], [], [], [])
    assert stage.turn(turn).reply is None


@pytest.mark.parametrize("how", ["503", "gate"])
def test_who_wrote_right_before_work_began_is_answered(database: Database, amo: AmoStandin, how: str) -> None:
    stage = a_stage(database, TEXT, amo=amo)
    stage.clock.advance((OPENS - stage.clock.now()).total_seconds() - 120)
    (turn,) = stage.client_writes("Do you have it in blue?")
    away_when_the_reply_is_written(stage, amo, how, OPENS)
    assert answered(stage, turn) == [State.SENT]
    assert (stage.said(), notes(amo), amo.tasks(LEAD)) == (["Written."], ["Written."], [])


def test_the_text_needs_nobodys_approval(database: Database, amo: AmoStandin) -> None:
    stage = a_stage(database, TEXT, amo=amo)
    stage.policy = replace(stage.policy, mode="draft", hours=OFFICE)
    stage.clock.advance(HALF_A_DAY)
    (turn,) = stage.client_writes("Good evening")
    amo.fault(path="/api/v4/leads/*/notes", method="POST", status=429)  # a further attempt needs none either
    assert answered(stage, turn) == [State.SENT]
    assert "out of working hours" in notes(amo)[0]
    stage.tell_staff()
    assert len(amo.tasks(LEAD)) == 1
    stage.clock.advance(HALF_A_DAY)
    (by_day,) = stage.client_writes("Do you have it in red?")
    assert answered(stage, by_day) == [State.DRAFT]
    assert notes(amo)[1].startswith("DRAFT")


def test_nor_without_amocrm(database: Database) -> None:
    stage = a_stage(database, TEXT)
    stage.policy = replace(stage.policy, mode="draft", hours=OFFICE)
    stage.clock.advance(HALF_A_DAY)
    (turn,) = stage.client_writes("Good evening")
    assert answered(stage, turn) == [State.KEPT]
    assert stage.said() == [CLOSED]


def test_switched_off_nobody_is_told_anything(database: Database, amo: AmoStandin) -> None:
    stage = a_stage(database, TEXT, amo=amo)
    stage.policy = replace(stage.policy, mode="off", hours=OFFICE)
    stage.clock.advance(HALF_A_DAY)
    (turn,) = stage.client_writes("Good evening")
    assert answered(stage, turn) == [State.CANCELLED]
    assert amo.notes(LEAD) == []


def test_silent_leaves_the_night_to_a_person(database: Database) -> None:
    stage = a_stage(database, Policy(hours=OFFICE, answers_out_of_hours=False))
    stage.clock.advance(HALF_A_DAY)
    (turn,) = stage.client_writes()
    assert answered(stage, turn) == [State.HANDED]
    assert (stage.turn(turn).reason, stage.said()) == (Reason.OUT_OF_HOURS, [])


def test_a_text_that_was_not_sent_does_not_count(database: Database) -> None:
    stage = a_stage(database, TEXT)
    stage.clock.advance(HALF_A_DAY)

    async def play(answering: Answering) -> None:
        (first,) = stage.client_writes()
        await answering.answer(first)
        with database.writes.begin() as connection:
            connection.execute(turns.update().values(state=State.FAILED))
        (again,) = stage.client_writes()
        assert await answering.answer(again) == State.KEPT

    stage.run(play)


def test_the_deal_is_read_before_it_is_decided(tmp_path: Path) -> None:
    with amocrm_standin() as amo:
        amo.pipelines[PIPELINE][1][77] = "VIP clients"
        amo.add_lead(LEAD, CONTACT, status_id=77)
        amo.add_lead(LEAD + 1, CONTACT + 1)
        with otvet(tmp_path, **connected(amo), OTVET_ANSWER_EXCEPT="stage: vip CLIENTS") as server:
            server.deliver(incoming("hello", message_id="m-1"))
            server.deliver(
                incoming("hello", message_id="m-2", lead_id=LEAD + 1, contact_id=CONTACT + 1, chat_id="other")
            )
            wait_for(lambda: amo.notes(LEAD + 1), "the note of the deal that is answered")
            wait_for(server.settled, "both turns closed")
            (turn,) = server.get("/api/turns?state=cancelled")["turns"]
            assert (turn["lead_id"], turn["reason"]) == (LEAD, STAGE)
            assert "stage" in turn["why"]
            assert amo.notes(LEAD) == []
            assert LEAD not in [one["lead_id"] for one in server.get("/api/turns?state=person")["turns"]]
            listed = command(tmp_path, "turns", "--state", "cancelled", **connected(amo))
            assert str(LEAD) in listed.stdout


def test_a_deal_that_cannot_be_read_is_answered(tmp_path: Path) -> None:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD, CONTACT)
        amo.fault(path=f"/api/v4/leads/{LEAD}", status=500, times=None)
        with otvet(tmp_path, **connected(amo), OTVET_ANSWER_ONLY="stage: no such stage") as server:
            server.deliver(incoming("hello"))
            wait_for(lambda: amo.notes(LEAD), "a note")
            wait_for(server.settled, "the turn closed")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"out_of_hours": "We are closed."}, "OTVET_WORKING_HOURS"),
        ({"out_of_hours": "silent"}, "OTVET_WORKING_HOURS"),
        ({"answer_only": "vip"}, 'OTVET_ANSWER_ONLY: "vip" is not understood'),
        ({"working_hours": "sometimes"}, "OTVET_WORKING_HOURS: give days"),
        ({"timezone": "Mars"}, "OTVET_TIMEZONE: give a time zone"),
    ],
)
def test_settings_that_make_no_sense_are_named(given: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        load_settings(**given)
