import pytest

from otvet.i18n import language_of, translator


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Здравствуйте!", "ru"),
        ("Hello!", "en"),
        ("Сколько стоит iPhone?", "ru"),
        ("iPhone сколько?", "ru"),
        ("Ё", "ru"),
        ("Ciao, quanto costa?", "en"),
        ("Сәлеметсіз бе", "ru"),
    ],
)
def test_a_reply_is_in_the_language_of_the_question(text: str, language: str) -> None:
    assert language_of(text, otherwise="none") == language


@pytest.mark.parametrize("text", ["", "?", "2 + 2 = 4", "👍", "+7 900 000-00-00"])
def test_without_letters_the_language_stays_what_it_was(text: str) -> None:
    assert language_of(text, otherwise="en") == "en"
    assert language_of(text, otherwise="ru") == "ru"
    assert language_of(text) == "ru"


def test_messages_are_written_in_english() -> None:
    assert translator("en")("give a number") == "give a number"


def test_a_message_is_said_in_russian() -> None:
    assert language_of(translator("ru")("give a number")) == "ru"


def test_a_message_without_a_translation_is_said_as_it_is() -> None:
    assert translator("ru")("never written down") == "never written down"


def test_a_language_without_a_catalogue_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        translator("de")
