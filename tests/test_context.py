"""What a responder gets to see of a turn, on both databases."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from otvet.answering import context as module
from otvet.answering.answering import Answering, WritingOptions
from otvet.answering.instructions import Instructions
from otvet.answering.writer import Checks
from otvet.conversations.tables import clients
from otvet.guard.finding import Finding
from otvet.guard.guard import check
from otvet.responders.base import Attempt, Context, Reply
from otvet.responders.knowledge.responder import Knowledge
from otvet.responders.template import TemplateResponder
from otvet.storage.database import Database
from otvet.turns import turn as turn_
from otvet.turns.turn import State, turns
from tests.test_answer import Stage
from tests.test_writing import Writer


def told(database: Database, question: str = "How much?", name: str | None = None, **rules: Any) -> Context:
    """What Manus is told of a client's question."""
    manus = Writer("manus", "Gladly.")
    stage = Stage(database, manus, TemplateResponder())
    stage.options = WritingOptions(**rules)
    (turn,) = stage.client_writes(question)
    with database.writes.begin() as connection:
        connection.execute(clients.update().values(name=name))
    stage.answer(turn)
    return manus.told[0]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Анна Петрова", "Анна Петрова"),
        ("  Анна-Мария  ", "Анна Мария"),
        ("Скидка 50% <b>до 31.12</b>", "Скидка b до b"),
        ("+7 912 345-67-89", None),
        ("", None),
        (None, None),
        ("А" * 100, "А" * 60),
    ],
)
def test_a_clients_name_is_letters_alone(database: Database, name: str | None, shown: str | None) -> None:
    known = dict(told(database, "Сколько?", name).known)
    assert known.get("Имя клиента") == shown
    assert len(known) == 1 + (shown is not None)


def test_a_client_without_a_row_of_names_is_no_fault(database: Database) -> None:
    assert [name for name, _value in told(database, name=None).known] == ["Today"]


@pytest.mark.parametrize(
    ("question", "today"),
    [("How much?", ("Today", "Monday, 05.01.2026")), ("Сколько?", ("Сегодня", "понедельник, 05.01.2026"))],
)
def test_todays_date_is_told_in_the_clients_language(database: Database, question: str, today: tuple[str, str]) -> None:
    known = told(database, question).known
    assert known[0] == today


def test_the_users_instructions_are_told_and_an_edit_counts(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "mine.md"
    manus = Writer("manus", "Gladly.")
    stage = Stage(database, manus, TemplateResponder())
    stage.options = WritingOptions(instructions=Instructions(file))

    async def play(answering: Answering) -> None:
        for text in ("Be kind.", "Be brief."):
            file.write_text(text)
            (turn,) = stage.client_writes("And?")
            await answering.answer(turn)

    stage.run(play)
    assert [told.instructions for told in manus.told] == ["Be kind.", "Be brief."]


def test_the_nearest_passages_are_told_and_named_with_the_reply(database: Database, tmp_path: Path) -> None:
    rows = "".join(f"# Доставка в город {name}\n\nСтоит 300 ₽.\n" for name in ("Тверь", "Тула", "Псков", "Орёл"))
    (tmp_path / "delivery.md").write_text(f"{rows}# Гравировка\n\nНе делаем.\n", encoding="utf-8")
    manus = Writer("manus", "Стоит 300 ₽.")
    stage = Stage(database, manus, TemplateResponder())
    stage.knowledge = Knowledge(tmp_path, stage.clock)
    (turn,) = stage.client_writes("Сколько стоит доставка в Псков?")
    stage.answer(turn)
    passages = manus.told[0].knowledge
    assert len(passages) == module.PASSAGES
    assert passages[0].heading == "Доставка в город Псков"
    named = stage.turn(turn).details["passages"]
    assert named[0] == {"file": "delivery.md", "heading": "Доставка в город Псков"}


def test_a_manager_is_marked_and_a_reply_that_was_never_sent_is_left_out(database: Database) -> None:
    manus = Writer("manus", "Unsent.", "Gladly.")
    stage = Stage(database, manus, TemplateResponder())

    async def play(answering: Answering) -> None:
        (first,) = stage.client_writes("How much?")
        await answering.answer(first)
        with database.writes.begin() as connection:
            connection.execute(turns.update().values(state=State.FAILED))
        stage.manager_writes("Three hundred.")
        stage.clock.advance(31 * 60)
        (second,) = stage.client_writes("And to Tver?")
        await answering.answer(second)

    stage.run(play)
    history = [(line.sender, line.text) for line in manus.told[1].history]
    assert history == [("client", "How much?"), ("manager", "Three hundred.")]


def test_what_was_doubted_in_a_reply_is_told_with_it(database: Database) -> None:
    manus = Writer("manus", "It is 250 ₽.", "Gladly.", "Gladly.")
    stage = Stage(database, manus, TemplateResponder())
    stage.writing = {"checks": Checks("note")}

    async def play(answering: Answering) -> None:
        for text in ("How much?", "250?", "Sure?"):
            (turn,) = stage.client_writes(text)
            await answering.answer(turn)
            stage.clock.advance(60)

    stage.run(play)
    said = [line for line in manus.told[2].history if line.sender == "assistant"]
    assert [(line.text, line.doubted) for line in said] == [("It is 250 ₽.", ("250 ₽",)), ("Gladly.", ())]
    assert check("It is 250 ₽.", manus.told[2]) == [Finding("price", "250 ₽")]


def test_names_are_told_apart_from_what_the_company_knows(database: Database) -> None:
    context = told(database, "Сколько?", "Анна")
    assert {"Имя клиента", "Сделка"} == context.names


# As it was then


def as_it_was(database: Database, turn: int, now: datetime) -> Context:
    def build(connection: sa.Connection) -> Context:
        row = turn_.get(connection, turn)
        assert row is not None
        return module.build(connection, row, 60, Instructions(), now, as_of_then=True)

    return database.read_now(build)


def test_a_replay_knows_nothing_that_was_said_later(database: Database) -> None:
    stage = Stage(database, Writer("manus", "One.", "Two.", "Three."), TemplateResponder())
    asked: list[tuple[int, datetime]] = []

    async def play(answering: Answering) -> None:
        for text in ("first?", "second?", "third?"):
            (turn,) = stage.client_writes(text)
            asked.append((turn, stage.clock.now()))
            await answering.answer(turn)
            stage.clock.advance(86400)

    stage.run(play)
    with database.writes.begin() as connection:
        connection.execute(sa.text("UPDATE conversations SET summary = 'of today', summarised_until = last_activity"))
    seen = as_it_was(database, *asked[1])
    assert [line.text for line in seen.history] == ["first?", "One."]
    assert seen.question_text == "second?"
    assert seen.summary == ""
    assert dict(seen.known)["Today"] == "Tuesday, 06.01.2026"


def test_a_replay_does_not_see_the_reply_even_if_our_clock_was_behind(database: Database) -> None:
    class Behind(Writer):
        async def reply(self, told: Context, attempt: Attempt) -> Reply:
            stage.clock.jump(-60)
            return await super().reply(told, attempt)

    stage = Stage(database, Behind("manus", "One."), TemplateResponder())
    (turn,) = stage.client_writes("first?")
    assert stage.answer(turn) == State.KEPT
    assert as_it_was(database, turn, stage.clock.now()).history == ()
