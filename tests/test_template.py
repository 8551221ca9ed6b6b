"""The last responder: honest, in the client's language, and never without a reply."""

import asyncio
import re
from datetime import UTC, datetime

import pytest

from otvet.i18n import LANGUAGES, translator
from otvet.responders.base import Context, Line, Reply
from otvet.responders.template import NOTHING_TO_READ, THANKS, TemplateResponder
from tests.test_knowledge import UnusedAttempt

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)

ASKED = {"ru": "Сколько стоит диван?", "en": "How much is the sofa?"}
WORDS = Line("client", ASKED["ru"], NOON)
VOICE = Line("client", "[голосовое сообщение: https://example.ru/voice.ogg]", NOON, words=False)
PICTURE = Line("client", "[изображение: sofa.jpg]", NOON, words=False)


def replied(*question: Line, language: str = "ru") -> Reply:
    context = Context(
        turn_id=1,
        conversation_id=2,
        lead_id=3,
        history=(),
        question=question,
        language=language,
        instructions="",
    )
    return asyncio.run(TemplateResponder().reply(context, UnusedAttempt()))


def test_the_client_is_thanked_and_told_of_a_manager() -> None:
    reply = replied(Line("client", ASKED["en"], NOON), language="en")
    assert reply.text == "Thank you for your message! A manager will read it and reply to you here."
    assert (reply.responder, reply.model, reply.details) == ("template", None, {})


def test_it_is_said_that_media_are_left_to_a_person() -> None:
    reply = replied(VOICE, PICTURE, language="en")
    assert reply.text.startswith("Thank you! A manager will look at what you sent")
    assert "as text" in reply.text


def test_words_beside_media_are_a_question() -> None:
    assert replied(PICTURE, WORDS) == replied(WORDS)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_reply_is_in_the_clients_language(language: str) -> None:
    say = translator(language)
    assert replied(Line("client", ASKED[language], NOON), language=language).text == say(THANKS)
    assert replied(VOICE, language=language).text == say(NOTHING_TO_READ)


@pytest.mark.parametrize("question", [WORDS, VOICE])
def test_russian_clients_read_russian(question: Line) -> None:
    text = replied(question).text
    assert "енеджер" in text
    assert not re.search(r"[A-Za-z]", text)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("question", [WORDS, VOICE])
def test_no_time_is_promised(question: Line, language: str) -> None:
    text = replied(question, language=language).text
    assert not re.search(r"\d|minute|hour|today|soon|минут|час|сегодня|скоро|ближайш", text, re.IGNORECASE)
