"""A client edits a message: the question is answered with the new words if no reply has left yet."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from otvet.answering.answering import Answering
from otvet.conversations.messages import erase_messages
from otvet.conversations.tables import DRAFT, messages
from otvet.responders.base import Attempt, Context, Reply
from otvet.storage import counters
from otvet.storage.database import Database
from otvet.turns import turn as turn_
from otvet.turns.policy import Policy
from otvet.turns.turn import Reason, State
from tests.standins.sender import incoming
from tests.test_answer import LEAD, Stage, Writer

ASKED = {"message_id": "m-edited", "lead_id": LEAD, "chat_id": f"chat-{LEAD}", "created_at": 1767603600}


def says(stage: Stage, text: str, **more: Any) -> list[int]:
    return stage.receive(incoming(text, **{**ASKED, **more}))


def questions(stage: Stage) -> list[list[str]]:
    """What the responder was asked, each time it was."""
    return [[line.text for line in told.question] for told in stage.responders[0].asked]


def stored(database: Database) -> list[tuple[str, str, Any]]:
    query = sa.select(messages.c.sender_type, messages.c.content, messages.c.metadata).order_by(messages.c.id)
    rows = database.read_now(lambda connection: connection.execute(query).all())
    return [(row.sender_type, row.content, row.metadata.get("earlier_words")) for row in rows]


def test_what_waits_is_answered_with_the_new_words(database: Database) -> None:
    stage = Stage(database)
    (turn,) = says(stage, "Is the red one in stock?")
    assert says(stage, "Is the blue one in stock?") == []
    assert stage.answer(turn) == State.KEPT
    assert questions(stage) == [["Is the blue one in stock?"]]
    assert stored(database)[0] == ("client", "Is the blue one in stock?", ["Is the red one in stock?"])
    assert database.read_now(counters.totals) == {"edited": 1}


class Meanwhile(Writer):
    """One that is written to while it writes for the first time."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        super().__init__("template", "Yes.")
        self._meanwhile: Callable[[], object] | None = meanwhile

    async def reply(self, context: Context, attempt: Attempt) -> Reply:
        said = await super().reply(context, attempt)
        if self._meanwhile is not None:
            self._meanwhile, meanwhile = None, self._meanwhile
            meanwhile()
        return said


def test_what_is_being_answered_is_answered_with_the_new_words_only(database: Database) -> None:
    anew: list[int] = []
    writer = Meanwhile(lambda: anew.extend(says(stage, "Is the blue one in stock?")))
    stage = Stage(database, writer)
    (turn,) = says(stage, "Is the red one in stock?")

    async def play(answering: Answering) -> None:
        assert await answering.answer(turn) == State.CANCELLED
        assert await answering.answer(anew[0]) == State.KEPT

    stage.run(play)
    assert questions(stage) == [["Is the red one in stock?"], ["Is the blue one in stock?"]]
    assert stage.turn(turn).reason == Reason.REWORDED
    assert [said for sender, said, _earlier in stored(database) if sender == "assistant"] == ["Yes."]


def test_all_of_a_question_goes_with_the_new_words(database: Database) -> None:
    anew: list[int] = []
    writer = Meanwhile(lambda: anew.extend(says(stage, "Is the blue one in stock?")))
    stage = Stage(database, writer)
    (turn,) = stage.client_writes("Good day.")
    says(stage, "Is the red one in stock?")

    async def play(answering: Answering) -> None:
        await answering.answer(turn)
        assert await answering.answer(anew[0]) == State.KEPT

    stage.run(play)
    assert questions(stage)[-1] == ["Good day.", "Is the blue one in stock?"]


def test_a_draft_that_nobody_approved_is_written_anew(database: Database) -> None:
    stage = Stage(database)
    stage.policy = Policy(mode=DRAFT)
    (turn,) = says(stage, "Is the red one in stock?")
    assert stage.answer(turn) == State.DRAFT
    (anew,) = says(stage, "Is the blue one in stock?")
    assert stage.answer(anew) == State.DRAFT
    assert questions(stage)[-1] == ["Is the blue one in stock?"]
    assert stage.turn(turn).state == State.CANCELLED


def test_what_was_answered_is_kept_and_not_answered_again(database: Database) -> None:
    stage = Stage(database)
    (turn,) = says(stage, "Is the red one in stock?")
    assert stage.answer(turn) == State.KEPT
    assert says(stage, "Is the blue one in stock?") == []
    assert stored(database)[0][1:] == ("Is the blue one in stock?", ["Is the red one in stock?"])
    assert stage.turn(turn).state == State.KEPT


def test_the_repetition_of_an_edit_asks_nothing_anew(database: Database) -> None:
    stage = Stage(database)
    (turn,) = says(stage, "Is the red one in stock?")
    for _time in range(3):
        assert says(stage, "Is the blue one in stock?") == []
    assert stage.turn(turn).state == State.WAITING
    assert stored(database) == [("client", "Is the blue one in stock?", ["Is the red one in stock?"])]


def test_an_erased_message_does_not_come_back_with_other_words(database: Database) -> None:
    stage = Stage(database)
    says(stage, "Is the red one in stock?")
    with database.writes.begin() as connection:
        erase_messages(connection, [1])
    assert says(stage, "Is the blue one in stock?") == []
    assert stored(database) == [("client", "", None)]


def test_a_transcript_is_no_edit(database: Database) -> None:
    stage = Stage(database)
    voice = {"attachment": {"type": "voice", "link": "https://drive.example.ru/1"}}
    says(stage, "", **voice)
    with database.writes.begin() as connection:
        connection.execute(messages.update().values(content="how much"))
    says(stage, "", **voice)
    assert stored(database) == [("client", "how much", None)]


@pytest.mark.parametrize("by", ["manager", "bot"])
def test_a_managers_edit_opens_no_question(database: Database, by: str) -> None:
    stage = Stage(database)
    author = {"type": "outgoing", "author": {"type": {"manager": "internal"}.get(by, by)}}
    says(stage, "Yes, it is.", **author)
    assert says(stage, "No, it is not.", **author) == []
    assert stored(database) == [("manager", "No, it is not.", ["Yes, it is."])]
    assert database.read_now(lambda connection: turn_.listed(connection, list(State), 10)) == []
