"""The rolling summary of a long conversation, on both databases."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from otvet.answering import summaries
from otvet.answering.answering import Answering, WritingOptions
from otvet.answering.writer import Checks
from otvet.conversations.tables import conversations, messages
from otvet.deals.selection import Choice, Selection
from otvet.errors import StorageError
from otvet.guard.masking import Masker
from otvet.responders.base import Attempt, Context, Line, Reply, ResponderError
from otvet.responders.template import TemplateResponder
from otvet.staff import stats
from otvet.storage import spending
from otvet.storage.database import Database
from otvet.turns import attempts, staff
from otvet.turns.policy import Policy
from otvet.turns.turn import State, turns
from tests.test_answer import Stage
from tests.test_writing import PHONE, Short, Writer

MOST = 6
"""So many messages a responder is told here."""


def stage_with(database: Database, summariser: Short | None, *texts: str) -> Stage:
    stage = Stage(database, Writer("manus", *(texts or ("Gladly.",))), TemplateResponder())
    stage.options = WritingOptions(history_messages=MOST)
    stage.writing = {"summariser": summariser, "masker": Masker(b"key")}
    return stage


def talk(stage: Stage, *asked: str) -> None:
    """Each question gets its reply, a minute apart."""

    async def play(answering: Answering) -> None:
        for text in asked:
            (turn,) = stage.client_writes(text)
            await answering.answer(turn)
            stage.clock.advance(60)

    stage.run(play)


def kept(database: Database) -> Any:
    return database.read_now(lambda connection: connection.execute(sa.select(conversations)).one())


def said(database: Database) -> list[Any]:
    query = sa.select(messages).order_by(messages.c.timestamp, messages.c.id)
    return list(database.read_now(lambda connection: connection.execute(query).all()))


def test_nothing_is_summarised_as_long_as_everything_can_be_told(database: Database) -> None:
    short = Short("In short.")
    talk(stage_with(database, short), "one", "two", "three")  # with the replies six messages
    assert short.shown == []
    assert kept(database).summary is None


def test_more_messages_than_are_told_are_summarised_and_the_newest_third_is_not(database: Database) -> None:
    short = Short("In short.")
    stage = stage_with(database, short)
    talk(stage, "one", "two", "three", "four", "five")
    ((lines, before),) = short.shown
    assert [(line.sender, line.text) for line in lines] == [
        ("client", "one"),
        ("assistant", "Gladly."),
        ("client", "two"),
        ("assistant", "Gladly."),
        ("client", "three"),
        ("assistant", "Gladly."),
    ]
    assert before == ""
    assert (kept(database).summary, kept(database).summarised_until) == ("In short.", said(database)[5].timestamp)
    told = stage.responders[0].told[-1]
    assert told.summary == "In short."
    assert [line.text for line in told.history] == ["four", "Gladly."]


def test_the_next_summary_has_the_one_before(database: Database) -> None:
    short = Short("In short.")
    talk(stage_with(database, short), *map(str, range(8)))
    assert [before for _lines, before in short.shown] == ["", "In short."]
    assert [line.text for line in short.shown[1][0] if line.sender == "client"] == ["3", "4", "5"]


def test_long_messages_are_summarised_earlier(database: Database) -> None:
    short = Short("In short.")
    talk(stage_with(database, short), "long " * (summaries.CHARACTERS // 5), "short")
    assert [len(lines) for lines, _before in short.shown] == [1]
    assert short.shown[0][0][0].text.startswith("long long")


def test_a_long_reply_counts_too(database: Database) -> None:
    short = Short("In short.")
    stage = stage_with(database, short, "Long reply. " * (summaries.CHARACTERS * 3 // 4 // 12))
    stage.writing["checks"] = Checks(limit=summaries.CHARACTERS)
    talk(stage, "long " * (summaries.CHARACTERS // 2 // 5))
    assert [len(lines) for lines, _before in short.shown] == [1]


def test_one_message_alone_is_not_summarised_however_long(database: Database) -> None:
    stage = stage_with(database, Short("In short."))
    (turn,) = stage.client_writes("long " * summaries.CHARACTERS)
    row = stage.turn(turn)
    assert database.read_now(lambda connection: summaries.due(connection, row, MOST)) is None
    assert database.read_now(lambda connection: summaries.due(connection, row, 0)) is None


def test_messages_of_one_second_stay_together(database: Database) -> None:
    stage = stage_with(database, None)
    for number in range(MOST - 2):
        stage.clock.advance(1)
        stage.manager_writes(f"of its own second {number}")
    stage.clock.advance(1)
    for number in range(3):
        stage.manager_writes(f"of one second {number}")  # the boundary would lie among them
    (turn,) = stage.client_writes("and?")
    row = stage.turn(turn)
    due = database.read_now(lambda connection: summaries.due(connection, row, MOST))
    assert due is not None
    assert [one.content for one in due.rows] == [f"of its own second {number}" for number in range(MOST - 2)]


def test_of_two_who_summarise_at_once_the_first_wins(database: Database) -> None:
    stage = stage_with(database, None)
    for number in range(MOST + 1):
        stage.clock.advance(1)
        stage.manager_writes(str(number))
    (turn,) = stage.client_writes("and?")
    row = stage.turn(turn)
    due = database.read_now(lambda connection: summaries.due(connection, row, MOST))
    assert due is not None
    with database.writes.begin() as connection:
        assert summaries.save(connection, due, "first")
        assert not summaries.save(connection, due, "second")
    assert kept(database).summary == "first"
    again = summaries.Due(due.conversation_id, "first", due.until, due.rows)
    with database.writes.begin() as connection:
        assert summaries.save(connection, again, "third")


NOT_OURS = {
    "switched off": Policy(mode="off"),
    "left out by its channel": Policy(selection=Selection(channels=Choice.of(["waba"]))),
}


@pytest.mark.parametrize("why", NOT_OURS)
def test_what_is_not_answered_is_told_to_nobody_for_a_summary(database: Database, why: str) -> None:
    short = Short("In short.")
    stage = stage_with(database, short)
    stage.options = WritingOptions(history_messages=MOST)
    stage.policy = NOT_OURS[why]
    talk(stage, *map(str, range(MOST + 2)))
    assert short.shown == []
    assert kept(database).summary is None


@pytest.mark.parametrize("why", NOT_OURS)
def test_neither_is_a_conversation_in_which_a_person_had_one_question_answered(database: Database, why: str) -> None:
    short = Short("In short.")
    stage = stage_with(database, short)
    stage.options = WritingOptions(history_messages=MOST)
    stage.policy = NOT_OURS[why]
    talk(stage, *map(str, range(MOST + 2)))

    async def play(answering: Answering) -> None:
        turn = said(database)[-1].turn_id
        with database.writes.begin() as connection:
            assert staff.retry(connection, turn, stage.clock.now()) == turn
        assert await answering.answer(turn) == State.KEPT

    stage.run(play)
    assert short.shown == []


def test_neither_is_a_conversation_that_was_passed_on_to_a_person(database: Database) -> None:
    short = Short("In short.")
    talk(stage_with(database, short), "one", "two", "three", "Позовите менеджера")
    assert said(database)[-1].metadata["responder"] == "handover"
    assert short.shown == []


def test_neither_is_what_a_manager_answered_first(database: Database) -> None:
    class Interrupted(Writer):
        async def reply(self, told: Context, attempt: Attempt) -> Reply:
            stage.manager_writes("I am here")
            return await super().reply(told, attempt)

    short = Short("In short.")
    stage = stage_with(database, short)
    stage.responders = (Interrupted("manus", "Gladly."), TemplateResponder())
    stage.pause_minutes = 0
    talk(stage, "one", "two", "three", "four")
    assert {stage.turn(row.turn_id).state for row in said(database) if row.sender_type == "client"} == {State.CANCELLED}
    assert short.shown == []


def test_without_a_model_a_digest_is_kept(database: Database) -> None:
    talk(stage_with(database, None), "one", "two", "three", "four")
    digest = "client: one\nassistant: Gladly.\nclient: two\nassistant: Gladly.\nclient: three\nassistant: Gladly."
    assert kept(database).summary == digest


def test_a_reply_that_was_never_sent_is_not_summarised(database: Database) -> None:
    stage = stage_with(database, None, "Unsent.")
    talk(stage, "one", "two", "three")
    with database.writes.begin() as connection:
        connection.execute(turns.update().values(state=State.FAILED))
    for _ in range(4):
        stage.manager_writes("I am here")
        stage.clock.advance(60)
    (turn,) = stage.client_writes("and?")
    row = stage.turn(turn)
    due = database.read_now(lambda connection: summaries.due(connection, row, MOST))
    assert due is not None
    assert {one.sender_type for one in due.rows} == {"client", "manager"}


def test_the_model_sees_masked_words_and_the_summary_is_kept_plain(database: Database) -> None:
    class Echo(Short):
        async def summarise(self, lines: Sequence[Line], before: str, language: str) -> Reply:
            await super().summarise(lines, before, language)
            return Reply(lines[0].text, self.name)

    echo = Echo("")
    talk(stage_with(database, echo), f"Call {PHONE}", "two", "three", "four")
    assert "345" not in repr(echo.shown)
    assert kept(database).summary == f"Call {PHONE}"


def test_a_summary_that_fails_does_not_change_how_the_turn_ended(database: Database) -> None:
    stage = stage_with(database, Short(ZeroDivisionError()))
    talk(stage, "one", "two", "three", "four")
    assert [stage.turn(row.turn_id).state for row in said(database)] == [State.KEPT] * 8


def test_neither_does_a_summary_that_cannot_be_kept(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> bool:
        raise StorageError("the disk is full")

    monkeypatch.setattr(summaries, "save", full)
    stage = stage_with(database, Short("In short."))
    talk(stage, "one", "two", "three", "four")
    assert [stage.turn(row.turn_id).state for row in said(database)] == [State.KEPT] * 8


def test_neither_does_a_turn_that_is_gone_by_then(database: Database) -> None:
    """A draft's turn is joined to the next one when the client writes on."""

    class Late(Short):
        async def summarise(self, lines: Sequence[Line], before: str, language: str) -> Reply:
            with database.writes.begin() as connection:
                newest = connection.scalar(sa.select(sa.func.max(turns.c.id)))
                connection.execute(messages.update().where(messages.c.turn_id == newest).values(turn_id=None))
                connection.execute(attempts.attempts.delete().where(attempts.attempts.c.turn_id == newest))
                connection.execute(turns.delete().where(turns.c.id == newest))
            return await super().summarise(lines, before, language)

    stage = stage_with(database, Late("In short.", tokens=70))
    talk(stage, "one", "two", "three", "four")
    assert kept(database).summary == "In short."
    assert spent(stage)["openai"] == 70


# What it costs


def tried(database: Database) -> list[tuple[str, str]]:
    """Who was asked for a summary, and how that ended."""
    query = sa.select(attempts.attempts).where(attempts.attempts.c.draft == attempts.SUMMARY)
    return [
        (row.responder, row.outcome) for row in database.read_now(lambda connection: connection.execute(query).all())
    ]


def spent(stage: Stage) -> dict[str, int]:
    return stage.database.read_now(lambda connection: spending.on(connection, stage.clock.now().date()))


def test_a_summary_is_counted_and_kept_as_a_try(database: Database) -> None:
    stage = stage_with(database, Short("In short.", tokens=70))
    talk(stage, "one", "two", "three", "four")
    assert tried(database) == [("openai", "replied")]
    assert spent(stage)["openai"] == 70


def test_a_summary_that_fails_is_counted_with_what_it_cost(database: Database) -> None:
    error = ResponderError("too late")
    error.spent = 40
    stage = stage_with(database, Short(error))
    stage.responders = (Writer("knowledge", "Gladly.", outside=False), TemplateResponder())
    talk(stage, "one", "two", "three", "four")
    assert tried(database) == [("openai", "too late")]
    assert spent(stage) == {"openai": 40}
    assert kept(database).summary.startswith("client: one")
    assert database.read_now(lambda connection: stats.read(connection, datetime.now(UTC)))["errors"] == 0


def test_beyond_the_ceiling_nobody_is_asked_for_a_summary(database: Database) -> None:
    short = Short("In short.", tokens=70)
    stage = stage_with(database, short)
    stage.options = WritingOptions(history_messages=MOST, ceilings={"openai": 70})
    talk(stage, *map(str, range(12)))
    assert len(short.shown) == 1
    assert tried(database)[-1] == ("openai", "today's ceiling of 70 tokens is reached")
    assert spent(stage)["openai"] == 70
    assert kept(database).summary.startswith("In short.\n")  # and a digest of what came later
