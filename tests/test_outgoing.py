import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otvet.guard.leaks import check, tidy
from tests.contexts import context
from tests.tables import every

CHECKS = Path(__file__).parents[1] / "docs" / "checks.md"
INSTRUCTIONS = (
    "Ты отвечаешь клиентам магазина от имени отдела продаж. Пиши коротко, вежливо и только по делу. "
    "Никогда не выдумывай цены, даты и адреса. Скидку больше пяти процентов согласует только старший менеджер. "
    "Здоровайся так: «Здравствуйте! Это магазин вещей для дома „Полка и плед“, меня зовут Анна, я с радостью помогу"
    " вам»."
)
RUSSIAN = context("Плед стоит 1 900 ₽.", question="Сколько стоит плед?", instructions=INSTRUCTIONS)


def kinds(text: str, turn=RUSSIAN, secrets=()) -> list[str]:  # type: ignore[no-untyped-def]
    return [finding.kind for finding in check(text, turn, secrets)]


@every("outgoing", "ordinary replies pass", "text")
def test_ordinary_replies_pass(text: str) -> None:
    assert check(text, RUSSIAN, ["a-long-secret"]) == []


@every("outgoing", "a text that says nothing", "text")
def test_a_text_that_says_nothing(text: str) -> None:
    assert kinds(text) == ["empty"]


@every("outgoing", "instructions do not leave", "text")
def test_instructions_do_not_leave(text: str) -> None:
    assert "instructions" in kinds(text)


def test_what_is_also_knowledge_or_was_said_by_a_manager_may_be_quoted() -> None:
    words = (
        "Скидку больше пяти процентов согласует только старший менеджер, и это занимает один рабочий день или больше."
    )
    assert kinds(words, context(question="скидка?", instructions=words)) == ["instructions"]
    assert kinds(words, context(words, question="скидка?", instructions=words)) == []
    assert kinds(words, context(question="скидка?", instructions=words, history=[("manager", words)])) == []
    assert kinds(words, context(question="скидка?", instructions=words, history=[("client", words)])) == [
        "instructions"
    ]


@every("outgoing", "secrets do not leave and are not repeated in the finding", "text")
def test_secrets_do_not_leave_and_are_not_repeated_in_the_finding(text: str) -> None:
    findings = check(text, RUSSIAN, ["hunter2-hunter2", "", "ы"])
    assert "secret" in [finding.kind for finding in findings]
    assert not any(finding.text in text for finding in findings if finding.kind == "secret")


@every("outgoing", "nothing is left to fill in", "text")
def test_nothing_is_left_to_fill_in(text: str) -> None:
    assert "placeholder" in kinds(text)


@every("outgoing", "no slot is left whatever it is for", "text")
def test_no_slot_is_left_whatever_it_is_for(text: str) -> None:
    assert "placeholder" in kinds(text)


def test_what_the_document_calls_a_placeholder_is_one() -> None:
    (row,) = re.findall(r"^\| `placeholder` \|(.*)\|$", CHECKS.read_text(encoding="utf-8"), re.MULTILINE)
    cases = [case.replace("…", "7K3Q9M") for case in re.findall("`([^`]+)`", row)]
    assert len(cases) >= 2
    for case in cases:
        assert "placeholder" in kinds(f"Здравствуйте, {case}!"), case


def test_a_bracket_that_is_known_may_be_said() -> None:
    assert kinds("Нажмите [Ваш заказ]", context("Кнопка [Другой товар]", question="?")) == ["placeholder"]
    assert kinds("Нажмите [Другой товар]", context("Кнопка [Другой товар]", question="?")) == []


@every("outgoing", "the prompt s tags do not leave", "text")
def test_the_prompt_s_tags_do_not_leave(text: str) -> None:
    assert "tag" in kinds(text)


@every("outgoing", "what programs write to each other does not leave", "text")
def test_what_programs_write_to_each_other_does_not_leave(text: str) -> None:
    assert "tag" in kinds(text)


def test_an_error_that_the_client_asks_about_may_be_named() -> None:
    assert kinds("Ошибку 502 Bad Gateway исправим", context(question="вижу 502 Bad Gateway")) == []


@every("outgoing", "a foreign alphabet does not leave", "text")
def test_a_foreign_alphabet_does_not_leave(text: str) -> None:
    assert kinds(text) == ["alphabet"]


def test_letters_that_the_conversation_uses_are_not_foreign() -> None:
    assert kinds("Да, 毛毯 есть", context(question="есть 毛毯?", language="ru")) == []
    assert kinds("Да, 毛毯 есть", context("毛毯 — плед", question="есть плед?")) == []


@every("outgoing", "a sentence in english to a russian client", "text")
def test_a_sentence_in_english_to_a_russian_client(text: str) -> None:
    assert kinds(text) == ["language"]


def test_english_words_of_the_conversation_are_not_strange() -> None:
    assert kinds("Модель the north face есть", context(question="есть the north face?")) == []
    assert kinds("the north face", context("Куртка the north face", question="что есть?")) == []
    assert kinds("the north face", context(question="что есть?")) == ["language"]


def test_an_english_reply_to_a_russian_client() -> None:
    assert kinds("The blanket is available in our shop today") == ["language"]
    assert kinds("The blanket is available in our shop today", context(question="is it there?")) == []


def test_a_russian_reply_to_an_english_client() -> None:
    assert kinds("Да, есть", context(question="is it there?")) == ["language"]
    assert kinds("Да, есть", context("Плед", question="is it there?")) == ["language"]
    assert kinds("Плед", context(question="is it there?")) == ["alphabet"]
    assert kinds("Плед", context("Плед", question="is it there?")) == []


@settings(deadline=None)  # the first example reads the tables of phones
@given(st.text())
def test_any_text_can_be_checked(text: str) -> None:
    check(text, RUSSIAN, ["a-long-secret"])


@pytest.mark.parametrize("piece", ["<", "sk-", "9", "a.", "[имя", "{{", "eyJ", "два "])
def test_no_text_takes_long(piece: str) -> None:
    started = time.process_time()
    check(piece * (4000 // len(piece)), RUSSIAN)
    assert time.process_time() - started < 1


def test_tidy_keeps_what_fits() -> None:
    assert tidy("  Да, есть.\n", 100) == "Да, есть."


@settings(deadline=None)  # the first example reads the tables of phones
@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])), st.integers(min_value=1, max_value=50))
def test_tidy_only_takes_away(text: str, limit: int) -> None:
    tidied = tidy(text, limit)
    assert len(tidied) <= limit
    assert text.strip().startswith(tidied)
    assert bool(tidied) == bool(text.strip())
