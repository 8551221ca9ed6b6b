"""What clients ask and the knowledge folder does not say: marked, counted and listed, on both databases."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from otvet.answering.answering import Answering
from otvet.responders.base import Attempt, Context, Reply
from otvet.responders.knowledge.responder import Knowledge, KnowledgeResponder
from otvet.responders.template import TemplateResponder
from otvet.staff import gaps
from otvet.staff.gaps import Gap
from otvet.storage.database import Database
from tests.standins.sender import incoming
from tests.test_answer import LEAD, Stage
from tests.test_writing import Writer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "knowledge"
    made.mkdir()
    (made / "delivery.md").write_text("# Сколько стоит доставка\n\nДоставка по городу стоит 300 рублей.\n")
    return made


def stage_with(database: Database, folder: Path, *responders: Any) -> Stage:
    stage = Stage(database)
    stage.knowledge = Knowledge(folder, stage.clock)
    stage.responders = (*(responders or (KnowledgeResponder(stage.knowledge),)), TemplateResponder())
    return stage


def listed(stage: Stage, days: int = 30, limit: int = 100) -> list[Gap]:
    since = stage.clock.now() - timedelta(days=days)
    return stage.database.read_now(lambda connection: gaps.listed(connection, since, limit))


def ask(stage: Stage, *questions: str) -> None:
    """Each in a deal of its own."""

    async def play(answering: Answering) -> None:
        for number, question in enumerate(questions):
            (turn,) = stage.client_writes(question, lead_id=LEAD + number)
            await answering.answer(turn)

    stage.run(play)


def test_what_the_folder_does_not_say_is_listed_and_what_it_says_is_not(database: Database, folder: Path) -> None:
    stage = stage_with(database, folder)
    ask(stage, "Сколько стоит доставка?", "Есть ли у вас вакансии для водителей?")
    (gap,) = listed(stage)
    assert (gap.question, gap.count, gap.leads) == ("Есть ли у вас вакансии для водителей?", 1, [LEAD + 1])


def test_also_what_an_ai_answered_without_a_passage(database: Database, folder: Path) -> None:
    stage = stage_with(database, folder, Writer("manus", "Да, есть."))
    ask(stage, "Есть ли у вас вакансии для водителей?", "Сколько стоит доставка?")
    assert [gap.question for gap in listed(stage)] == ["Есть ли у вас вакансии для водителей?"]


def test_also_what_has_a_passage_and_was_left_to_the_template(database: Database, folder: Path) -> None:
    stage = stage_with(database, folder, Writer("manus", "Доставка стоит 777 ₽."))
    ask(stage, "Сколько стоит доставка?")
    assert [gap.question for gap in listed(stage)] == ["Сколько стоит доставка?"]


def test_alike_questions_are_counted_together_the_most_frequent_first(database: Database, folder: Path) -> None:
    stage = stage_with(database, folder)
    ask(
        stage,
        "Вакансии водителей есть?",
        "Делаете гравировку на кольцах?",
        "гравировку на кольце делаете",
        "А на кольцах гравировку вы делаете?",
        "Есть вакансия водителя",
        "Продаёте ли вы слонов?",
    )
    found = [(gap.question, gap.count, gap.leads) for gap in listed(stage)]
    assert found == [
        ("А на кольцах гравировку вы делаете?", 3, [LEAD + 3, LEAD + 2, LEAD + 1]),
        ("Есть вакансия водителя", 2, [LEAD + 4, LEAD]),
        ("Продаёте ли вы слонов?", 1, [LEAD + 5]),
    ]
    assert [gap.count for gap in listed(stage, limit=2)] == [3, 2]


def test_a_deal_that_asks_again_is_named_once_and_a_burst_is_one_question(database: Database, folder: Path) -> None:
    stage = stage_with(database, folder)

    async def play(answering: Answering) -> None:
        for _ in range(2):
            (turn,) = stage.client_writes("Здравствуйте")
            stage.client_writes("гравировку на кольцах делаете?")
            await answering.answer(turn)

    stage.run(play)
    (gap,) = listed(stage)
    assert (gap.question, gap.count, gap.leads) == ("Здравствуйте\nгравировку на кольцах делаете?", 2, [LEAD])


def test_only_the_last_days_are_listed(database: Database, folder: Path) -> None:
    stage = stage_with(database, folder)
    ask(stage, "Делаете гравировку?")
    stage.clock.advance(7 * 86400 + 60)
    assert listed(stage, days=7) == []
    assert len(listed(stage, days=8)) == 1


def test_newer_words_that_the_folder_knows_unmark_it(database: Database, folder: Path) -> None:
    class Interrupted(Writer):
        async def reply(self, told: Context, attempt: Attempt) -> Reply:
            if not self.told:
                stage.client_writes("Сколько стоит доставка?")
            return await super().reply(told, attempt)

    stage = stage_with(database, folder, Interrupted("manus", "Минуту."))
    ask(stage, "Доставка")
    assert listed(stage) == []


def test_newer_words_that_ask_for_a_person_unmark_it_too(database: Database, folder: Path) -> None:
    class Interrupted(Writer):
        async def reply(self, told: Context, attempt: Attempt) -> Reply:
            if not self.told:
                stage.client_writes("Позовите менеджера")
            return await super().reply(told, attempt)

    stage = stage_with(database, folder, Interrupted("manus", "Минуту."))
    ask(stage, "Делаете гравировку?")
    assert listed(stage) == []


def test_thanks_are_no_question(database: Database, folder: Path) -> None:
    stage = stage_with(database, folder)
    ask(stage, "Спасибо!", "Добрый день")
    assert listed(stage) == []


def test_a_picture_without_a_word_is_no_question(database: Database, folder: Path) -> None:
    stage = stage_with(database, folder)

    async def play(answering: Answering) -> None:
        attachment = {"type": "picture", "link": "https://example.com/1.jpg", "file_name": "1.jpg"}
        said_at = int(stage.clock.now().timestamp())
        (turn,) = stage.receive(incoming("", attachment=attachment, created_at=said_at))
        await answering.answer(turn)
        assert not stage.turn(turn).gap

    stage.run(play)
    assert listed(stage) == []


def test_a_folder_that_cannot_be_searched_does_not_keep_a_reply_back(database: Database, folder: Path) -> None:
    class Broken(Knowledge):
        def passages(self, *_: Any, **__: Any) -> Any:
            raise ZeroDivisionError

    stage = stage_with(database, folder, Writer("manus", "Gladly."))
    stage.knowledge = Broken(folder, stage.clock)
    ask(stage, "Сколько стоит доставка?")
    assert stage.said() == ["Gladly."]
