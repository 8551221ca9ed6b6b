"""When a passage is sent though no strict rule says so: kinds of questions, the decision, what is never answered."""

from pathlib import Path

import pytest
from evals import decide

from otvet.responders.knowledge import decision, subjects
from otvet.responders.knowledge.responder import Knowledge
from tests.clocks import FakeClock
from tests.tables import every
from tests.test_knowledge import ask, refuses, said

MEMO = """Как нас найти

- вход со двора, домофон 8
- третий этаж, лифта нет, коляски оставляют внизу под лестницей
- парковка городская, 60 ₽ в час, в субботу не берут
- автобусы 4 и 11, остановка «Площадь»
- если заблудились, звоните, администратор выйдет и встретит вас у ворот

Запись и отмена

- записываем по телефону и в чате, на тот же день бывает место после 18:00
- отменить можно за сутки, позже берём половину стоимости визита
- опоздали больше чем на двадцать минут — переносим на другой день

Шины храним до апреля, сезон без дисков 3 500 ₽, с дисками 4 200 ₽.

Детали заказываем под машину, обычно ждать два дня, аванс половина цены.
"""


@pytest.fixture
def memo(tmp_path: Path) -> Path:
    (tmp_path / "памятка.md").write_text(MEMO, "utf-8")
    return tmp_path


# Kinds of questions


@every("subjects", "asks", "text, kinds")
def test_what_every_business_is_asked_about_is_known(text: str, kinds: list[str]) -> None:
    assert subjects.asked(text) == set(kinds)


@every("subjects", "emergency", "text, is_one")
def test_an_emergency_is_told_from_a_question(text: str, is_one: bool) -> None:
    assert subjects.is_emergency(text) is is_one


def test_a_kind_of_question_finds_the_usual_heading_in_other_words(tmp_path: Path) -> None:
    for name in ("Наша команда", "Режим", "О материалах", "Как мы начали"):
        text = "Пн–пт с 9 до 20." if name == "Режим" else "Мы работаем с душой и любим то, что делаем."
        (tmp_path / f"{name}.md").write_text(f"# {name}\n\n{text}\n", "utf-8")
    hits = Knowledge(tmp_path, FakeClock()).passages(said("до скольки вы?"))
    assert hits[0].passage.heading == "Режим"


# What is sent


def test_a_line_above_a_list_is_its_heading(memo: Path) -> None:
    found = {one.heading for one in Knowledge(memo, FakeClock()).entries}
    assert {"Как нас найти", "Запись и отмена"} <= found
    assert all(one.text.strip() not in found for one in Knowledge(memo, FakeClock()).entries)


def test_a_passage_with_every_word_is_sent_though_no_heading_has_them(memo: Path) -> None:
    told = ask(memo, "если детали под машину, то аванс половина?").text
    assert told.startswith("Детали заказываем под машину")


@pytest.mark.parametrize(
    "question",
    [
        "если детали под лодку, то аванс половина?",
        "шины",
        "почему детали под машину, а аванс половина?",
        "у меня пожар, где у вас парковка?",
    ],
)
def test_another_thing_one_word_a_reason_and_an_emergency_are_left_to_a_person(memo: Path, question: str) -> None:
    assert refuses(memo, question)


def test_two_that_fit_alike_are_not_chosen_between(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("Детали заказываем под машину, аванс половина.\n", "utf-8")
    assert not refuses(tmp_path, "если детали под машину, то аванс половина?")
    (tmp_path / "b.md").write_text("Аванс за детали под машину: половина или треть.\n", "utf-8")
    assert refuses(tmp_path, "если детали под машину, то аванс половина?")


def test_two_questions_in_one_sentence_are_both_answered_or_neither(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Сколько стоит доставка\n\n350 ₽.\n\n# Есть ли рассрочка\n\nДа.\n", "utf-8")
    (tmp_path / "b.md").write_text("# Адрес\n\nТихая, 4.\n\n# Возврат товара\n\n14 дней.\n", "utf-8")
    both = Knowledge(tmp_path, FakeClock()).answer(said("сколько стоит доставка и есть ли рассрочка"))
    assert both
    assert both.told == "350 ₽.\n\nДа."
    assert refuses(tmp_path, "сколько стоит доставка и есть ли вакансии")


# How it is fitted


def test_each_weight_has_a_name_and_each_name_a_weight() -> None:
    text = decision.FILE.read_text("utf-8")
    assert text.count('" = ') == len(decision.NAMES)
    assert all(f'"{name}" = ' in text for name in decision.NAMES)


def test_a_wrong_answer_costs_more_than_many_left_to_a_person() -> None:
    right, wrong = (0.5, True), (0.5, False)
    assert decide.limit_for([right] * (decide.WRONG_COSTS + 1) + [wrong]) <= 0.5
    assert decide.limit_for([right] * (decide.WRONG_COSTS - 1) + [wrong]) > 0.5


@pytest.mark.slow
def test_the_weights_are_those_that_the_folders_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = decision.FILE.read_text("utf-8")
    monkeypatch.setattr(decision, "FILE", tmp_path / "decision.toml")
    assert decide.main() == 0
    assert decision.FILE.read_text("utf-8") == kept
