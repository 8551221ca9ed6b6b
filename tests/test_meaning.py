"""What words mean for staff: small talk, complaints, a model's promises; who asks for a person is in test_handover."""

import tomllib
from collections import Counter
from pathlib import Path

import pytest

import otvet.meaning
from otvet.meaning.promises import Promise, promise_of
from otvet.meaning.small_talk import Talk, kind_of
from otvet.meaning.tags import begins_alike, in_cyrillic, other_layout, plain
from otvet.meaning.temper import is_angry
from tests.tables import every

LEXICONS = sorted(Path(otvet.meaning.__file__).parent.glob("*.toml"))


@every("meaning", "thanks", "text")
def test_thanks_want_no_answer(text: str) -> None:
    assert kind_of([text]) is Talk.THANKS


@every("meaning", "greetings", "text")
def test_a_greeting_wants_a_greeting(text: str) -> None:
    assert kind_of([text]) is Talk.GREETING


@every("meaning", "questions", "text")
def test_everything_else_wants_an_answer(text: str) -> None:
    assert kind_of([text]) is Talk.QUESTION


def test_several_messages_are_one_question() -> None:
    assert kind_of(["Здравствуйте", "спасибо"]) is Talk.THANKS
    assert kind_of(["Спасибо!", "а доставка есть?"]) is Talk.QUESTION
    assert kind_of(["привет", "добрый день"]) is Talk.GREETING
    assert kind_of([]) is Talk.QUESTION


def test_a_sticker_and_a_reaction_say_no_more_than_an_emoji() -> None:
    assert kind_of([], ["sticker"]) is Talk.THANKS
    assert kind_of(["спасибо"], ["reaction"]) is Talk.THANKS
    assert kind_of(["спасибо"], ["voice"]) is Talk.QUESTION
    assert kind_of([], ["picture", "sticker"]) is Talk.QUESTION


@every("meaning", "angry", "text")
def test_a_complaint_is_noticed(text: str) -> None:
    assert is_angry(text)


@every("meaning", "calm", "text")
def test_a_calm_message_is_no_complaint(text: str) -> None:
    assert not is_angry(text)


@every("meaning", "promises", "draft, right")
def test_a_promise_is_told_from_a_fact_and_an_offer(draft: str, right: str) -> None:
    assert promise_of(draft) is Promise(right)


def test_what_the_company_itself_did_may_be_repeated() -> None:
    draft = "Вы записаны на 14 июня."
    assert promise_of(draft) is Promise.REFUSE
    assert promise_of(draft, ["Записала вас на 14 июня, ждём!"]) is Promise.FINE
    assert promise_of(draft, ["Запись по телефону."]) is Promise.REFUSE
    assert promise_of(f"{draft} Менеджер вам перезвонит.", ["Записала вас на 14 июня."]) is Promise.HANDOFF


def test_a_text_has_one_spelling() -> None:
    assert plain("З'єднайте ЙОГО") == plain("зеднаите иого")
    assert plain("менеджеееера") == "менеджера"
    assert plain("oпeратoр") == plain("оператор"), "Latin letters that look alike"
    assert in_cyrillic("zhivoy") == "живоы"
    assert other_layout("vtytl;th") == "менеджер"


@pytest.mark.parametrize("word", ["менеджеру", "менджеру", "меннеджеру", "мэнеджеру", "мендежеру", "менедже"])
def test_a_slip_is_one_letter(word: str) -> None:
    assert begins_alike(word, "менеджер")
    assert not begins_alike("мессенджер", "менеджер")


@pytest.mark.parametrize("file", LEXICONS, ids=lambda file: file.stem)
def test_no_word_stands_under_two_tags(file: Path) -> None:
    told = tomllib.loads(file.read_text("utf-8"))["words"]
    words = Counter(
        (plain(word.rstrip("*~")), word[-1] in "*~") for each in told.values() for word in set(each.split())
    )
    assert [word for (word, _), count in words.items() if count > 1] == []


@pytest.mark.parametrize("file", LEXICONS, ids=lambda file: file.stem)
def test_every_tag_of_a_pattern_is_a_tag_or_a_group(file: Path) -> None:
    told = tomllib.loads(file.read_text("utf-8"))
    forms = {form for each in told.get("forms", {}).values() for form in each}
    known = (
        {tag for name in told["words"] for tag in name.split()}
        | forms
        | set(told["groups"])
        | {"x", "X", "n", "N", "IMP"}
    )
    pieces = {piece for each in told.get("patterns", {}).values() for pattern in each for piece in pattern.split()}
    used = {
        tag
        for piece in pieces
        if piece not in ("^", "^^", "$", "$$", "?") and piece[0] not in "~-"
        for tag in piece.removeprefix("(?!").rstrip("?)").split("|")
    }
    assert used - known - {","} == set()
