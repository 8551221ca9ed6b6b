"""The knowledge folder: what is answered from it, word for word, and what is left to a manager."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from otvet.responders.base import Context, Line, Reply, ResponderError
from otvet.responders.knowledge.choice import Answer, choose
from otvet.responders.knowledge.passages import Passage, read_folder, split
from otvet.responders.knowledge.responder import CHECK_SECONDS, REMEMBERED, Knowledge, KnowledgeResponder
from otvet.responders.knowledge.search import Index
from otvet.responders.knowledge.typos import Guess, Speller, distance, sound_of
from otvet.responders.knowledge.words import denied, family, question_words, stem, words
from tests.clocks import FakeClock
from tests.tables import every

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
STARTER = Path(__file__).parents[1] / "knowledge"

SHOP = """\
# Магазин

## Сколько стоит доставка

По городу — **350 ₽**, подробности на [странице доставки](https://example.ru/delivery).

- до 5 кг
- больше 5 кг — *ещё 100 ₽*

## Есть ли рассрочка
<!-- иначе: оплатить частями -->

Да, на четыре платежа.

## Как вернуть ёлочную игрушку

В течение 14 дней.

## Когда вы работаете

Каждый день с 10:00 до 20:00.
"""


class UnusedAttempt:
    """The local answer is made anew after a crash, so it has nothing to remember."""

    started_at = NOON
    facts: Mapping[str, Any] = {}
    thread: str | None = None

    async def remember(self, **facts: Any) -> None:
        raise AssertionError("nothing is remembered")

    async def keep_thread(self, thread: str | None) -> None:
        raise AssertionError("no thread is kept")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.md").write_text(SHOP, encoding="utf-8")
    return tmp_path


def said(*texts: str) -> list[Line]:
    return [Line("client", text, NOON) for text in texts]


def asked(*lines: Line) -> Context:
    return Context(turn_id=1, conversation_id=2, lead_id=3, history=(), question=lines, language="ru", instructions="")


def ask(folder: Path, *texts: str) -> Reply:
    responder = KnowledgeResponder(Knowledge(folder, FakeClock()))
    return asyncio.run(responder.reply(asked(*said(*texts)), UnusedAttempt()))


def refuses(folder: Path, *texts: str) -> bool:
    try:
        ask(folder, *texts)
    except ResponderError as error:
        return error.permanent  # asking again would not help
    return False


def index_of(*passages: tuple[str, str]) -> Index:
    return Index([Passage("test.md", heading, text) for heading, text in passages])


# One passage, word for word


def test_the_answer_is_the_passage_in_plain_text(folder: Path) -> None:
    reply = ask(folder, "Сколько стоит доставка?")
    assert reply.responder == "knowledge"
    assert reply.text == (
        "По городу — 350 ₽, подробности на странице доставки (https://example.ru/delivery).\n\n"
        "• до 5 кг\n• больше 5 кг — ещё 100 ₽"
    )


def test_the_reply_names_its_passage_and_holds_no_words_of_the_client(folder: Path) -> None:
    details = ask(folder, "Сколько же стоит доставка?").details
    assert details == {
        "passages": [{"file": "shop.md", "heading": "Сколько стоит доставка", "score": pytest.approx(1.9, abs=0.2)}]
    }


@pytest.mark.parametrize(
    "question",
    [
        "почём доставка",
        "СТОИМОСТЬ ДОСТАВКИ",
        "Здравствуйте! Подскажите, пожалуйста, сколько стоит доставка?",
        "Добрый день, меня зовут Анна. Сколько будет стоить доставка? Спасибо!",
        "а сколько стоит, если доставить?",
        "сколько стоит доствка",
        "скока стоит дотсавка",
        "по чем доставка",
    ],
)
def test_one_question_is_asked_in_many_ways(folder: Path, question: str) -> None:
    assert ask(folder, question).text.startswith("По городу — 350 ₽")


def test_yo_may_be_written_as_ye(folder: Path) -> None:
    assert ask(folder, "как вернуть елочную игрушку").text == "В течение 14 дней."
    assert ask(folder, "как вернуть ёлочную игрушку").text == "В течение 14 дней."


def test_other_words_are_searched_and_never_shown(folder: Path) -> None:
    assert ask(folder, "можно частями оплатить?").text == "Да, на четыре платежа."


def test_one_word_is_enough_when_it_is_the_heading(folder: Path) -> None:
    assert ask(folder, "рассрочка?").text == "Да, на четыре платежа."


def test_english_is_answered_from_english_files(tmp_path: Path) -> None:
    (tmp_path / "faq.md").write_text(
        "# How much is delivery\n\n5 euros.\n\n# How do I return an item\n\nWithin 14 days.\n", encoding="utf-8"
    )
    assert ask(tmp_path, "Hi! How much does the delivery cost?").text == "5 euros."
    assert ask(tmp_path, "can I return items please").text == "Within 14 days."
    assert refuses(tmp_path, "Do you sell phones?")
    assert refuses(tmp_path, "my item didn't arrive")


# Nothing fits


@pytest.mark.parametrize(
    "question",
    [
        "есть ли у вас вакансии",
        "сколько стоит айфон",
        "сколько стоит доставка дивана из Китая",
        "здравствуйте",
        "спасибо!",
        "👍",
        "",
        "сколько?",
        "а сколько это стоит?",
        "доставку не привезли",
        "вы робот?",
        "город",
    ],
)
def test_what_the_folder_does_not_say_is_not_answered(folder: Path, question: str) -> None:
    assert refuses(folder, question)


@pytest.mark.filterwarnings("error")
def test_an_empty_folder_answers_nothing(tmp_path: Path) -> None:
    assert refuses(tmp_path, "сколько стоит доставка?")
    assert refuses(tmp_path / "missing", "сколько стоит доставка?")


def test_a_question_with_a_picture_is_left_to_a_person(folder: Path) -> None:
    question = asked(Line("client", "сколько стоит доставка?", NOON), Line("client", "[…]", NOON, words=False))
    with pytest.raises(ResponderError):
        asyncio.run(KnowledgeResponder(Knowledge(folder, FakeClock())).reply(question, UnusedAttempt()))


def test_a_short_word_is_not_guessed_when_nothing_else_is_asked() -> None:
    index = index_of(("Работа", "Пишите нам."), ("Гарантия", "Год."))
    assert choose(index, ["работа?"])
    assert choose(index, ["гаранития?"])
    assert choose(index, ["робот?"]) is None


def test_two_passages_that_fit_alike_are_not_chosen_between() -> None:
    index = index_of(("Доставка мебели", "Дорого."), ("Доставка мебели", "Дёшево."), ("Оплата", "Картой."))
    assert choose(index, ["доставка мебели"]) is None


def test_a_word_that_only_a_text_mentions_is_no_answer() -> None:
    index = index_of(("Доставка", "Курьер носит синюю куртку и кепку, звонит заранее."), ("Оплата", "Картой."))
    assert choose(index, ["куртка"]) is None


def test_a_price_is_not_taken_from_a_passage_about_something_else_of_the_same_thing() -> None:
    index = index_of(("Сколько стоит плед", "1 900 ₽."), ("Доставка", "Каждый день."))
    assert choose(index, ["у вас есть плед?"]) is None


# Several questions


def test_a_burst_about_one_thing_is_one_question(folder: Path) -> None:
    assert ask(folder, "Здравствуйте", "сколько стоит", "доставка?", "спасибо").text.startswith("По городу")
    assert ask(folder, "Доставка сколько стоит?", "Доставка").text.startswith("По городу")


COST, INSTALMENTS = "По городу — 350 ₽", "Да, на четыре платежа."


@pytest.mark.parametrize(
    ("lines", "begin", "end"),
    [
        (["Сколько стоит доставка?", "Есть ли рассрочка?"], COST, INSTALMENTS),
        (["Есть ли рассрочка?", "Сколько стоит доставка?"], INSTALMENTS, ""),
    ],
)
def test_a_question_in_two_halves_gets_both_answers_in_their_order(
    folder: Path, lines: list[str], begin: str, end: str
) -> None:
    answer = Knowledge(folder, FakeClock()).answer(said(*lines))
    assert answer
    assert len(answer.hits) == 2
    assert answer.told.startswith(begin)
    assert answer.told.endswith(end)


@pytest.mark.parametrize(
    "lines",
    [
        ["Сколько стоит доставка? А вакансии есть?"],
        ["У меня сломался стул.", "Сколько стоит доставка?"],
        ["Сколько стоит доставка?", "Есть ли рассрочка?", "А вакансии?"],
        ["Сколько стоит доставка, доставка, доставка?", "рассрочка"],
    ],
)
def test_a_half_that_nothing_answers_leaves_the_whole_to_a_person(folder: Path, lines: list[str]) -> None:
    assert refuses(folder, *lines)


def test_a_passage_that_mentions_both_does_not_answer_for_the_other() -> None:
    index = index_of(
        ("Сколько стоит доставка", "350 ₽, рассрочка тоже возможна."), ("Рассрочка", "Да."), ("Адрес", "На сайте.")
    )
    assert choose(index, ["Сколько стоит доставка?"])
    both = choose(index, ["Сколько стоит доставка?", "Рассрочка?"])
    assert both
    assert [one.passage.heading for one in both.hits] == ["Сколько стоит доставка", "Рассрочка"]


# The folder is edited


def test_an_edit_is_seen_at_the_next_look(folder: Path) -> None:
    clock = FakeClock()
    knowledge = Knowledge(folder, clock)

    def answer() -> str | None:
        found = knowledge.answer(said("есть рассрочка?"))
        return found.told if found else None

    assert answer() == "Да, на четыре платежа."
    (folder / "shop.md").write_text(SHOP.replace("четыре платежа", "шесть платежей"), encoding="utf-8")
    clock.advance(CHECK_SECONDS / 2)
    assert answer() == "Да, на четыре платежа."
    clock.advance(CHECK_SECONDS / 2)
    assert answer() == "Да, на шесть платежей."
    (folder / "shop.md").unlink()
    clock.advance(CHECK_SECONDS)
    assert answer() is None
    (folder / "new.md").write_text("# Есть ли рассрочка\n\nУже нет.", encoding="utf-8")
    clock.advance(CHECK_SECONDS)
    assert answer() == "Уже нет."


def test_what_was_chosen_with_the_passages_is_known_until_an_edit_is_seen(folder: Path) -> None:
    clock = FakeClock()
    knowledge = Knowledge(folder, clock)
    asked = said("есть рассрочка?")
    assert knowledge.chosen_for(asked) is None
    (first,) = knowledge.passages(asked, k=1)
    assert knowledge.chosen_for(asked) == (Answer((first,)),)
    assert knowledge.chosen_for(asked, said("а у вас?")) == (
        Answer((first,)),
    )  # a question of its own rests on nothing
    (folder / "shop.md").write_text(SHOP.replace("четыре платежа", "шесть платежей"), encoding="utf-8")
    clock.advance(CHECK_SECONDS)
    knowledge.passages(said("доставка"))
    assert knowledge.chosen_for(asked) is None


def test_what_was_chosen_is_not_kept_for_ever(folder: Path) -> None:
    knowledge = Knowledge(folder, FakeClock())
    for number in range(REMEMBERED + 1):
        knowledge.answer(said(f"вопрос {number}"))
    assert knowledge.chosen_for(said("вопрос 0")) is None
    assert knowledge.chosen_for(said(f"вопрос {REMEMBERED}")) is not None


def test_the_index_is_kept_while_nothing_changes(folder: Path) -> None:
    clock = FakeClock()
    knowledge = Knowledge(folder, clock)
    (before,) = knowledge.passages(said("рассрочка"), k=1)
    clock.advance(CHECK_SECONDS)
    (after,) = knowledge.passages(said("рассрочка"), k=1)
    assert after.passage is before.passage


def test_a_broken_file_is_named_and_the_others_answer(folder: Path) -> None:
    (folder / "noise.md").write_bytes(b"\0\1")
    (folder / "notes.md").write_text("# Заголовок без текста", encoding="utf-8")
    (folder / "folder.md").mkdir()
    (folder / ".hidden.md").write_bytes(b"\xff")
    (folder / "picture.png").write_bytes(b"\xff")
    knowledge = Knowledge(folder, FakeClock())
    assert [problem.file for problem in knowledge.problems] == ["noise.md", "notes.md", "picture.png"]
    assert all(problem.reason for problem in knowledge.problems)
    assert ask(folder, "есть рассрочка?").text == "Да, на четыре платежа."


def test_a_repaired_file_is_no_problem_any_more(folder: Path) -> None:
    clock = FakeClock()
    knowledge = Knowledge(folder, clock)
    (folder / "more.md").write_bytes(b"\0\1")
    assert [problem.file for problem in knowledge.problems] == ["more.md"]
    (folder / "more.md").write_text("# Гарантия\n\nДва года.", encoding="utf-8")
    clock.advance(CHECK_SECONDS)
    assert knowledge.problems == ()
    answer = knowledge.answer(said("какая гарантия?"))
    assert answer
    assert answer.told == "Два года."


def test_a_missing_folder_is_a_problem_until_it_is_there(tmp_path: Path) -> None:
    clock = FakeClock()
    knowledge = Knowledge(tmp_path / "later", clock)
    assert [problem.file for problem in knowledge.problems] == [str(tmp_path / "later")]
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "a.md").write_text("# Гарантия\n\nГод.", encoding="utf-8")
    clock.advance(CHECK_SECONDS)
    assert knowledge.problems == ()


def test_many_may_ask_at_once(folder: Path) -> None:
    responder = KnowledgeResponder(Knowledge(folder, FakeClock()))

    async def everyone() -> list[Reply]:
        question = asked(Line("client", "есть рассрочка?", NOON))
        return await asyncio.gather(*(responder.reply(question, UnusedAttempt()) for _ in range(20)))

    assert {reply.text for reply in asyncio.run(everyone())} == {"Да, на четыре платежа."}


# Files into passages


def test_a_passage_ends_at_the_next_heading_of_any_level() -> None:
    passages = split(
        "a.md", "до\n# Один\nпервый\n\n### Два\nвторой\n\nДва с чертой\n---\nтретий\n# Пусто\n# Три\nпятый"
    )
    assert [(each.above, each.heading, each.text) for each in passages] == [
        ((), "Один", "первый"),
        (("Один",), "Два", "второй"),
        (("Один",), "Два с чертой", "третий"),
        ((), "Три", "пятый"),
    ]


def test_what_only_looks_like_a_heading_stays_in_the_text() -> None:
    (passage,) = split("a.md", "# Как **оформить** `заказ`\n```\n# не заголовок\n```\n> # цитата\n\n- # пункт")
    assert passage.heading == "Как оформить заказ"
    assert passage.text == "```\n# не заголовок\n```\n> # цитата\n\n- # пункт"


def test_comments_are_never_part_of_the_text() -> None:
    (passage,) = split(
        "a.md", "# Цена <!-- Also: price -->\n10 <!-- todo -->₽\n<!--иначе: почём,\nстоит-->\n<!-- # черно"
    )
    assert passage.text == "10 ₽"
    assert passage.other_words == "price\nпочём,\nстоит"


def test_line_ends_and_a_byte_order_mark_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes("\ufeff# Один\r\n\r\nпервый\r\n# Два\r\nвторой".encode())
    passages, problems = read_folder(tmp_path, with_examples=True)
    assert [(each.heading, each.text) for each in passages] == [("Один", "первый"), ("Два", "второй")]
    assert problems == []


# Words


@every("knowledge", "relatives are one family", "relatives")
def test_relatives_are_one_family(relatives: str) -> None:
    assert len({family(stem(word)) for word in words(relatives)}) == 1


@every("knowledge", "strangers are not", "strangers")
def test_strangers_are_not(strangers: str) -> None:
    assert len({family(stem(word)) for word in words(strangers)}) == 2


def test_not_belongs_to_the_whole_family() -> None:
    assert family(stem("непроходит")) == family(stem("непрошла")) != family(stem("прошла"))


@every("knowledge", "what is said in two words is one thing", "said_so, meant")
def test_what_is_said_in_two_words_is_one_thing(said_so: str, meant: str) -> None:
    assert {family(stem(word)) for word in words(meant)} <= {family(stem(word)) for word in words(said_so)}


def test_an_amount_is_one_word_however_it_is_spaced() -> None:
    assert words("плед за 1 500 ₽") == words("плед за 1500 ₽") == words("плед за 1\u00a0500 ₽") == ["плед", "1500"]
    assert words("плед 130 170") == ["плед", "130", "170"]


def test_question_words_have_one_spelling() -> None:
    assert question_words("куда, скока, када") == ["где", "сколько", "когда"]


def test_small_words_are_left_out() -> None:
    assert words("А ещё подскажите, пожалуйста, моё") == []


def test_addresses_are_not_words() -> None:
    assert words("Где доставка? https://shop.example.ru/return?id=5 и example.ru/цены") == ["доставка"]
    assert words("Здравствуйте.Где доставка") == ["доставка"]
    assert words("плед 200х220") == ["плед", "200", "220"]


def test_not_belongs_to_its_word() -> None:
    assert words("посылка не пришла") == ["посылка", "непришла"]
    assert words("не могу оплатить") == ["неоплатить"]
    assert words("it didn't arrive") == ["notarrive"]


def test_what_is_denied_is_told() -> None:
    assert denied("посылка не пришла, неделю жду") == ["непришла"]


def test_latin_letters_in_a_russian_word_are_russian() -> None:
    assert words("достaвка и paссрочка") == words("доставка и рассрочка")
    assert words("iPhone и СССР") == ["iphone", "ссср"]


@every("knowledge", "mistakes are counted up to the limit", "one, other, mistakes")
def test_mistakes_are_counted_up_to_the_limit(one: str, other: str, mistakes: int) -> None:
    assert distance(one, other, 2) == distance(other, one, 2) == mistakes


def test_the_nearest_and_then_the_commonest_word_is_guessed() -> None:
    speller = Speller({"доставк": 3, "доставл": 9, "гарант": 1, "плед": 5})
    assert speller.nearest("доствк") == Guess("доставк", 1)
    assert speller.nearest("достав") == Guess("доставл", 1)
    assert speller.nearest("горант") == Guess("гарант", 1)
    assert speller.nearest("плет") is None, "short words have too many neighbours"
    assert speller.nearest("ваканс") is None
    assert speller.nearest("доставк5") is None


def test_what_sounds_alike_is_found_with_more_mistakes() -> None:
    speller = Speller({"доставк": 1, "режим": 1})
    assert speller.nearest("дастафк") == Guess("доставк", 1)
    assert sound_of("аппаратт") == sound_of("опарат") != sound_of("аппарат ура")


def test_a_word_that_begins_alike_is_kindred() -> None:
    speller = Speller({"телефон": 2, "телевизор": 1, "открыт": 5})
    assert speller.kindred("телефончек") == "телефон"
    assert speller.kindred("телескоп") is None, "too little in common"
    assert speller.kindred("теле5") is None


# The index


def test_a_city_that_no_passage_names_is_another_city() -> None:
    index = index_of(("Доставляете ли вы в другие города", "Да."), ("Оплата", "Картой."), ("Гарантия", "Год."))
    assert index.search("доставляете в казань?")[0].passage.heading == "Доставляете ли вы в другие города"
    named = index_of(("Доставка в Казань", "Да."), ("Доставка в другие города", "Нет."), ("Гарантия", "Год."))
    assert named.search("доставка в казань")[0].passage.heading == "Доставка в Казань"


def test_a_place_is_first_of_its_country_and_then_of_any() -> None:
    index = index_of(("Доставка в Беларусь", "Да."), ("Доставка в другие страны", "Нет."), ("Оплата", "Картой."))
    assert index.search("доставка в минск")[0].passage.heading == "Доставка в Беларусь"
    assert index.search("доставка в ереван")[0].passage.heading == "Доставка в другие страны"


def test_a_mistake_in_an_ending_is_found_by_the_whole_word() -> None:
    index = index_of(("Режим работы", "С 9."), ("Оплата", "Картой."), ("Гарантия", "Год."))
    assert index.search("рижим работы")[0].coverage > 0.7


@every("knowledge", "small words are put right", "written, meant")
def test_small_words_are_put_right(written: str, meant: str) -> None:
    index = index_of(("Сколько стоит доставка", "350 ₽"), ("Поток зрителей", "С 9."), ("Оплата", "Картой."))
    assert index.corrected(written) == meant


def test_a_small_word_that_is_misspelt_is_not_asked_about() -> None:
    index = index_of(("Сколько стоит доставка", "350 ₽"), ("Когда доставка", "Завтра."), ("Оплата", "Картой."))
    for question in ("скольок стоит доставка", "здраствуйти сколко стоит доставка", "сколькостоит доставка"):
        hit = choose(index, [question])
        assert hit, question
        assert hit.told == "350 ₽"


def test_how_much_and_a_name_asks_for_its_price() -> None:
    index = index_of(("Сколько стоит доставка", "350 ₽"), ("Сколько дней доставка", "Два."), ("Оплата", "Картой."))
    for question in ("доставка сколько", "сколько доставка?"):
        assert choose(index, [question]).told == "350 ₽"  # type: ignore[union-attr]
    assert choose(index, ["доставка сколько дней"]).told == "Два."  # type: ignore[union-attr]


def test_a_hit_tells_what_stands_in_its_headings_and_what_elsewhere() -> None:
    index = index_of(("Возврат денег", "На карту за 10 дней."), ("Доставка", "Каждый день."), ("Оплата", "Картой."))
    best = index.search("возврат денег на карту")[0]
    assert best.missing == 0
    assert best.headed < best.coverage == pytest.approx(1)
    assert not best.by_headings
    best = index.search("возврат денег за доставку")[0]
    assert (best.elsewhere, best.by_headings) == (True, True)
    assert best.missing == pytest.approx(1 / 3)
    assert not index.search("возврат денег за слона")[0].elsewhere


# What is not clear


def test_a_word_of_another_heading_asks_for_another_passage() -> None:
    headings = ("Доставка", "Доставка мебели", "Доставка за город", "Оплата", "Адрес")
    index = index_of(("Когда вернут деньги", "За 10 дней."), *((heading, "Да.") for heading in headings))
    assert choose(index, ["вернете деньги?"])
    assert choose(index, ["вернете деньги за доставку?"]) is None


def test_a_common_word_may_not_be_missing_from_two() -> None:
    headings = ("Доставка", "Оплата", "Адрес", "Гарантия", "Мебель")
    index = index_of(("Срочно сегодня", "Да."), *((heading, "Курьер позвонит.") for heading in headings))
    assert choose(index, ["срочно сегодня можно?"])
    assert choose(index, ["срочно сегодня можно курьер?"])
    assert choose(index, ["сегодня был курьер?"]) is None


def test_why_is_answered_only_by_a_heading_that_asks_so() -> None:
    passages = [("Как отменить заказ", "Напишите."), ("Оплата", "Картой."), ("Адрес", "Тут.")]
    assert choose(index_of(*passages), ["отменить заказ"])
    assert choose(index_of(*passages), ["почему отменили мой заказ"]) is None
    assert choose(index_of(*passages, ("Почему отменили заказ", "Нет оплаты.")), ["почему отменили мой заказ"])


def test_what_has_not_come_is_not_answered_with_something_else_that_has_not() -> None:
    cheque = Passage("a.md", "Дадите ли вы чек", "Напишите номер заказа.", other_words="не пришёл чек, чек не пробит")
    index = Index([cheque, *(Passage("a.md", name, "Да.") for name in ("Адрес", "Гарантия", "Полка", "Доставка"))])
    assert choose(index, ["чек не пришел"])
    assert choose(index, ["чек за заказ не пришел"])
    assert index.search("заказ не пришел")[0].of_another
    assert choose(index, ["заказ не пришел"]) is None
    assert choose(index, ["номер заказа не пробит"]) is None


def test_who_asks_how_to_do_it_himself_asks_for_no_service() -> None:
    index = index_of(("Установка полки", "Повесим за 900 ₽."), ("Забрать самому", "Да."), ("Адрес", "Тут."))
    assert choose(index, ["повесить полку"])
    assert choose(index, ["как повесить полку самому"]) is None


def test_two_texts_that_mention_it_are_not_chosen_between() -> None:
    others = [(name, "Текст.") for name in ("Адрес", "Оплата", "Полка", "Стул", "Стол", "Окно", "Дверь", "Чашка")]
    short = ("Сколько длится возврат", "14 дней.")
    long = ("Возврат денег", "10 дней после того, как товар вернулся на склад.")
    assert choose(index_of(short, *others), ["сколько дней возврат"])
    assert choose(index_of(short, long, *others), ["сколько дней возврат"]) is None


def test_where_is_not_answered_by_another_heading_of_the_same_thing() -> None:
    index = index_of(
        ("Осмотр товара", "Можно."), ("Посмотреть заказ до оплаты", "Да."), ("Где заказ", "В пути."), ("Адрес", "Тут.")
    )
    assert choose(index, ["посмотреть заказ можно?"])
    assert choose(index, ["где заказ, посмотреть можно?"]) is None


def test_a_line_of_a_burst_that_another_heading_has_alone_does_no_harm() -> None:
    index = index_of(
        ("Доставка", "Каждый день."), ("Платная ли доставка", "350 ₽."), ("Гарантия", "Год."), ("Адрес", "Тут.")
    )
    assert choose(index, ["а доставка", "платная?"]).told == "350 ₽."  # type: ignore[union-attr]


def test_a_heading_weighs_more_than_a_text() -> None:
    index = index_of(
        ("Оплата", "Гарантия на ремонт — год, гарантия на детали — два."),
        ("Гарантия и ремонт", "Пишите нам в любой день, мы поможем."),
        ("Доставка", "Каждый день."),
    )
    assert index.search("гарантия на ремонт")[0].passage.heading == "Гарантия и ремонт"


def test_a_question_word_tells_two_passages_apart() -> None:
    index = index_of(("Где мой заказ", "В пути."), ("Как изменить заказ", "Напишите."), ("Оплата", "Картой."))
    assert index.search("как заказ")[0].passage.heading == "Как изменить заказ"
    assert index.search("где заказ")[0].passage.heading == "Где мой заказ"


def test_a_question_is_measured_against_what_it_could_score() -> None:
    index = index_of(("Доставка", "Каждый день."), ("Оплата", "Картой."), ("Гарантия", "Год."))
    whole, *others = index.search("доставка")
    assert (whole.coverage, whole.titled, others) == (1, True, [])
    (half,) = index.search("доставка слонов")
    assert half.coverage == pytest.approx(0.5)
    assert half.score < whole.score
    assert len(index.search("доставка оплата гарантия", k=2)) == 2
    assert index.search("слоны") == []


def test_headings_without_words_do_no_harm() -> None:
    index = index_of(("А как же", "Да."), ("???", "Нет."), ("Гарантия", "Год."))
    assert [hit.passage.heading for hit in index.search("гарантия")] == ["Гарантия"]
    assert index_of(("А?", "Да.")).search("а?") == []


def test_of_a_very_long_message_the_first_words_are_searched() -> None:
    index = index_of(("Доставка", "Каждый день."), ("Оплата", "Картой."))
    story = " ".join(f"слово{number}" for number in range(10_000))
    assert index.search(f"доставка {story}")[0].coverage < 0.1
    assert index.search(f"{story} доставка") == []


# The folder that comes with the program


@pytest.fixture(scope="module")
def starter() -> Knowledge:
    return Knowledge(STARTER, FakeClock())


def test_the_starter_folder_has_no_problems() -> None:
    passages, problems = read_folder(STARTER, with_examples=True)
    assert problems == []
    assert len(passages) >= 35
    headings = [passage.heading for passage in passages]
    assert len(headings) == len(set(headings))


def test_every_heading_of_the_starter_folder_finds_its_own_passage(starter: Knowledge) -> None:
    for passage in read_folder(STARTER, with_examples=True)[0]:
        hit = starter.answer(said(passage.heading))
        assert hit, passage.heading
        assert [one.passage for one in hit.hits] == [passage]


@pytest.mark.parametrize(
    ("question", "heading"),
    [
        ("Здравствуйте! Подскажите, сколько будет стоить доставка по городу", "Сколько стоит доставка"),
        ("доставка у вас бесплатная?", "Сколько стоит доставка"),
        ("сколько стоит доствка", "Сколько стоит доставка"),
        ("а когда привезут заказ?", "Через сколько дней привезут заказ"),
        ("какие сроки доставки", "Через сколько дней привезут заказ"),
        ("долго ждать доставку?", "Через сколько дней привезут заказ"),
        ("а срочная доставка есть?", "Можно ли получить заказ в тот же день"),
        ("в регионы доставляете?", "Доставляете ли вы в другие города и регионы"),
        ("в Казахстан отправите?", "Отправляете ли вы за границу"),
        ("можно привезти вечером?", "Можно ли выбрать время доставки"),
        ("на этаж поднимете?", "Поднимаете ли вы на этаж"),
        ("где мой заказ???", "Где мой заказ"),
        ("где моя посылка", "Где мой заказ"),
        ("меня не будет дома, что делать", "Что если меня не будет дома"),
        ("как аплатить", "Как можно оплатить заказ"),
        ("какие способы оплаты", "Как можно оплатить заказ"),
        ("картой можно оплатить курьеру", "Можно ли оплатить при получении"),
        ("предоплата нужна?", "Нужна ли предоплата"),
        ("а рассрочку даете?", "Есть ли рассрочка или кредит"),
        ("можно оплатить по безналу", "Работаете ли вы с организациями"),
        ("не проходит оплата(((", "Не проходит оплата"),
        ("не пришел чек", "Дадите ли вы чек"),
        ("товар не подошел, хочу вернуть", "Как вернуть товар"),
        ("как оформить возврат", "Как вернуть товар"),
        ("когда вернете деньги", "Когда вернут деньги"),
        ("что нельзя вернуть?", "Что нельзя вернуть"),
        ("пришел бракованный товар", "Товар пришёл разбитым или с браком"),
        ("хочу поменять размер", "Можно ли обменять товар"),
        ("гарнтия какая", "Какая гарантия на товары"),
        ("как у вас заказать?", "Как сделать заказ"),
        ("я передумала, как отменить?", "Как отменить заказ"),
        ("можно проверить товар перед оплатой", "Можно ли осмотреть товар до оплаты"),
        ("есть скитки?", "Какие есть скидки"),
        ("скидки постоянным клиентам есть?", "Какие есть скидки"),
        ("оптом продаете", "Продаёте ли вы оптом"),
        ("можно упаковать в подарок?", "Есть ли подарочная упаковка"),
        ("почем постельное белье", "Сколько стоит постельное бельё"),
        ("сколько стоит плед 130х170", "Сколько стоит плед"),
        ("сколько стоят чашки", "Сколько стоит посуда"),
        ("как стирать шерстяной плед", "Как стирать плед"),
        ("есть в наличии?", "Есть ли товар в наличии"),
        ("до скольки вы работаете", "Как вы работаете"),
        ("грфик работы", "Как вы работаете"),
        ("вы в воскресенье работаете?", "Работаете ли вы в выходные и праздники"),
        ("скажите адрес", "Где вы находитесь"),
        ("самовывоз есть?", "Можно ли забрать заказ самому"),
        ("парковка есть?", "Есть ли у вас парковка"),
        ("как с вами связаться", "Какой у вас телефон"),
        ("заказ не пришел", "Где мой заказ"),
        ("сколько доставка", "Сколько стоит доставка"),
        ("а сколько стоит доставка до дома", "Сколько стоит доставка"),
        ("возврат", "Как вернуть товар"),
        ("есть ли скидка на первый заказ", "Какие есть скидки"),
    ],
)
def test_everyday_questions_find_their_passage(starter: Knowledge, question: str, heading: str) -> None:
    hit = starter.answer(said(question))
    assert hit
    assert [one.passage.heading for one in hit.hits] == [heading]


@pytest.mark.parametrize(
    "question",
    [
        "есть ли у вас вакансии",
        "хочу у вас работать",
        "сколько стоит айфон",
        "сколько стоит диван",
        "есть ли у вас ковры",
        "вы шьёте шторы на заказ?",
        "сколько стоит доставка дивана из Китая",
        "доставка пиццы",
        "кто ваш директор",
        "дайте телефон директора",
        "вы робот?",
        "сколько времени",
        "какие цвета есть",
        "вы делаете посуду сами?",
        "какой толщины полка",
        "можно оплатить биткоинами",
        "работаете ли вы с дизайнерами",
        "есть ли у вас магазин в Самаре",
        "заказ не привезли, жду третий день",
        "плед не пришел",
        "не пришла почта",
        "письмо не пришло",
        "сатин или лен лучше?",
        "как повесить полку самому",
        "курьер не приехал",
        "курьер сломал дверь",
        "я не получил возврат",
        "деньги списали два раза",
        "верните мне мои деньги немедленно, я напишу в роспотребнадзор",
        "сайт не открывается",
        "а сколько это стоит?",
        "есть такой же, но красный?",
        "адрес: улица Ленина, дом 5",
        "номер заказа 777",
        "да, беру",
    ],
)
def test_other_questions_are_left_to_a_manager(starter: Knowledge, question: str) -> None:
    hit = starter.answer(said(question))
    assert hit is None, hit and hit.told
