"""What the assistant says to clients by itself: in their language, unless the company has words of its own."""

from dataclasses import replace

import pytest

from otvet.i18n import CLIENT_LANGUAGES, language_of_client, translator
from otvet.responders.template import NOTHING_TO_READ, THANKS, TemplateResponder
from otvet.storage.database import Database
from otvet.turns import human_request
from otvet.turns.policy import Policy
from tests.tables import every
from tests.test_answer import LEAD, Stage
from tests.test_hours import hours

SAID = [
    THANKS,
    NOTHING_TO_READ,
    *(text for text, _ in human_request.REPLIES.values()),
    *human_request.SMALL_TALK.values(),
]


@pytest.mark.parametrize("language", CLIENT_LANGUAGES)
def test_all_that_is_said_by_itself_is_there_in_every_language(language: str) -> None:
    say = translator(language)
    assert [text for text in SAID if say(text) == text] == []
    wrong = [say(text) for text in SAID if language_of_client(say(text), "", "ru") != language]
    assert wrong == []


@every("own_words", "told", "asked, earlier, language")
def test_the_language_is_that_of_the_question_or_of_what_came_before(asked: str, earlier: str, language: str) -> None:
    assert language_of_client(asked, earlier, "ru") == language


class OwnStage(Stage):
    """Nothing is known, so the template is all that is left."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.responders = (TemplateResponder(),)  # type: ignore[assignment]


@every("own_words", "dialogues", "messages, said")
def test_each_kind_of_own_words_is_said_in_the_clients_language(
    messages: list[str], said: list[str], database: Database
) -> None:
    stage = OwnStage(database)
    stage.options = replace(stage.options, small_talk="short")
    before = len(stage.said())
    lead = LEAD + before  # another deal for each dialogue
    for text in messages:
        for turn in stage.client_writes(text, lead_id=lead):
            stage.answer(turn)
        stage.clock.advance(60)
    assert stage.said()[before:] == said


def test_the_companys_own_words_win(database: Database) -> None:
    stage = OwnStage(database)
    night = "Сейчас ночь, ответим утром с девяти."
    stage.policy = Policy(hours=hours("sun 03:00-03:01"), answers_out_of_hours=False, hours_text=night)
    (turn,) = stage.client_writes("Чи є у вас матраци?")
    stage.answer(turn)
    assert stage.said() == [night]
