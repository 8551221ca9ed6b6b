import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from evals import guard as evals
from hypothesis import given, settings
from hypothesis import strategies as st

from otvet.responders.base import Line
from otvet.responders.checks import facts, guard, units
from otvet.responders.checks.finding import Finding
from otvet.responders.checks.guard import sentences
from otvet.responders.checks.stated import check
from otvet.responders.knowledge.passages import Passage, read_folder
from otvet.responders.markdown import plain_text
from tests.contexts import THEN, context

SAME = [
    ("1 500 руб.", "1500 ₽"),
    ("1,5 тыс. руб.", "1500р"),
    ("1500р", "1\u00a0500\u202f₽"),
    ("1500 рублей", "1 500,00 ₽"),
    ("1.500 руб.", "1500 рублями"),
    ("2 500 000 ₽", "2,5 млн рублей"),
    ("5 т.р.", "пять тысяч рублей"),
    ("5к руб", "5000 руб"),
    ("две тысячи пятьсот рублей", "2500 ₽"),
    ("тысяча рублей", "1000 ₽"),
    ("1500 руб. 50 коп.", "1500,50 ₽"),
    ("5-7 тысяч рублей", "5000–7000 ₽"),
    ("от 400 до 900 ₽", "400-900 руб."),
    ("30 ₽/км", "30 рублей за километр"),
    ("$15", "15 долларов"),
    ("$1,500.50", "1500.50 dollars"),
    ("€15", "15 евро"),
    ("twenty-five dollars", "$25"),
    ("5 тыс. клиентов", "5000 клиентов"),
    ("Цена: 1500", "1500 ₽"),
    ("Плед — 1900", "плед стоит 1 900 рублей"),
    ("бесплатно", "0 руб."),
    ("5%", "пять процентов"),
    ("5 %", "5 percent"),
    ("25 мая", "25.05"),
    ("25 мая", "May 25th"),
    ("25th of May", "к 25-му мая"),
    ("25.05.2026", "25 мая 2026 года"),
    ("25.05.26", "2026-05-25"),
    ("05/25/2026", "May 25, 2026"),
    ("с 1 по 10 мая", "1–10 мая"),
    ("1, 2 и 3 мая", "2.05, 3.05 и 1 мая"),
    ("с 11 до 18, 1 января", "11–18, 1 января"),
    ("с 9 до 18", "9:00–18:00"),
    ("9-18", "с 9:00 до 18:00"),
    ("с 9-00 до 18-00", "9:00-18:00"),
    ("Пн–Пт 9.00–18.00", "с 9 до 18"),
    ("9 am – 6 pm", "с 9 до 18"),
    ("10 утра", "10:00"),
    ("10:00", "в 10 часов"),
    ("до 18:00", "до 18"),
    ("до 21:00", "до 21ч"),
    ("в семь вечера", "19:00"),
    ("круглосуточно", "24/7"),
    ("8 (900) 123-45-67", "+7 900 1234567"),
    ("тел. 8 800 555-35-35", "8-800-555-35-35"),
    ("(212) 555-0147", "+1 212-555-0147"),
    ("https://www.shop.ru/", "shop.ru"),
    ("http://shop.ru/sale", "SHOP.ru/sale/"),
    ("http://пример.рф/кат", "пример.рф/кат"),
    ("t.me/shop_bot", "@shop_bot"),
    ("mailto:a@b.ru", "A@B.ru"),
    ("2–3 дня", "от двух до трёх дней"),
    ("2-3 дня", "два-три дня"),
    ("два дня", "2 дня"),
    ("3 дня", "3 days"),
    ("3-дневный тур", "три дня"),
    ("10 рабочих дней", "10 раб. дней"),
    ("24 месяца", "2 года"),
    ("14 дней", "2 недели"),
    ("через неделю", "через 7 дней"),
    ("1,5 часа", "90 минут"),
    ("75 минут", "час пятнадцать"),
    ("2 ч 40 мин", "два часа сорок"),
    ("13:15", "в час пятнадцать"),
    ("полтора часа", "1 ч 30 мин"),
    ("полчаса", "30 мин."),
    ("сутки", "24 часа"),
    ("1 кг", "1000 г"),
    ("60×80 см", "60 на 80 см"),
    ("54 м²", "54 кв. м"),
    ("54 кв.м.", "54 квадратных метра"),
    ("3 штуки", "три шт."),
    ("2-й этаж", "на втором этаже"),
    ("two times", "2 раза"),
    ("7 900 ₽", "7 тысяч 900 рублей"),
    ("7 900 ₽", "семь девятьсот рублей"),
    ("3 000 ₽", "тысячи три рублей"),
    ("200 рублей", "две сотни рублей"),
    ("350 рублей", "три с половиной сотни рублей"),
    ("от 4 до 5 тысяч рублей", "4000–5000 ₽"),
    ("$1,200", "a thousand two hundred dollars"),
    ("1900 тенге", "тысяча девятьсот тенге"),
    ("180 см", "1 м 80 см"),
    ("1,5 кг", "1 кг 500 г"),
    ("18 месяцев", "1 год 6 месяцев"),
    ("40 минут", "минут сорок"),
    ("8–10 часов", "часов восемь-десять"),
    ("2 дня", "пару дней"),
    ("2 дня", "двухдневный срок"),
    ("3 года", "трёхлетняя гарантия"),
    ("25 %", "двадцатипятипроцентная скидка"),
    ("500 г", "полкило"),
    ("12 часов", "полсуток"),
    ("15 минут", "четверть часа"),
    ("50 %", "половину суммы"),
    ("50 %", "за полцены"),
    ("вдвое", "в 2 раза"),
    ("комнаты на 4 человека", "четырёхместные комнаты"),
    ("25 мая", "двадцать пятого мая"),
    ("3–16 июня", "с третьего по шестнадцатое июня"),
    ("15 числа", "пятнадцатого числа"),
    ("June 3", "the third of June"),
    ("June 21st", "June twenty-first"),
    ("12:00", "в полдень"),
    ("0:00", "в полночь"),
    ("19:30", "в половине восьмого"),
    ("23:30", "до половины двенадцатого ночи"),
    ("8:45", "без пятнадцати девять"),
    ("8:15", "четверть девятого"),
    ("8:10", "в десять минут девятого"),
    ("7:30", "в семь тридцать"),
    ("с 13:00 до 14:00", "с часу до двух"),
    ("до 15:00", "до трёх дня"),
    ("с 9:00 до 18:00", "с девяти до шести"),
    ("10:30 pm", "half past ten"),
    ("2 pm", "at two in the afternoon"),
    ("noon", "12:00"),
    ("круглосуточно", "24 часа в сутки"),
    ("1 день", "24 часа"),
    ("+7 900 123-45-67", "https://wa.me/79001234567"),
    ("код LEAF10", "промокод leaf10"),
    ("гарантия год", "12 месяцев"),
    ("к концу марта", "в марте"),
    ("ноябрь–март", "с ноября по март"),
]

DIFFERENT = [
    ("1 500 руб.", "1 600 ₽", "price"),
    ("1 500 ₽", "500 ₽", "price"),
    ("1500 руб", "1500 $", "price"),
    ("1,5 тыс. руб.", "150 руб", "price"),
    ("1500 руб. 50 коп.", "1500,60 ₽", "price"),
    ("Цена: 1500", "стоит 1600", "price"),
    ("от 400 до 900 ₽", "от 300 ₽", "price"),
    ("500 ₽", "пятьсот пятьдесят рублей", "price"),
    ("5 %", "15 %", "percent"),
    ("Скидка 5 %", "скидка в 10 процентов", "percent"),
    ("25 мая", "26.05", "date"),
    ("25 мая", "25 июня", "date"),
    ("25 мая", "25 мая 2027 года", "date"),
    ("1 января", "с 1 по 8 января", "date"),
    ("с 9 до 18", "9:00–19:00", "time"),
    ("с 9 до 18", "с 8 до 18", "time"),
    ("10 утра", "10 вечера", "time"),
    ("с 10 до 21", "до 22:00", "time"),
    ("8 (900) 123-45-67", "+7 900 1234568", "phone"),
    ("+7 (495) 123-45-67", "123-45-68", "phone"),
    ("shop.ru", "shop.com", "link"),
    ("shop.ru", "shop.ru/sale", "link"),
    ("@shop_bot", "@shop_bot2", "link"),
    ("info@shop.ru", "sale@shop.ru", "email"),
    ("2–3 дня", "2–4 дня", "quantity"),
    ("два дня", "пять дней", "quantity"),
    ("два дня", "две недели", "quantity"),
    ("5 кг", "5 г", "quantity"),
    ("60×80 см", "60×90 см", "quantity"),
    ("12 месяцев", "полгода", "quantity"),
    ("12 месяцев", "двухгодичная гарантия", "quantity"),
    ("2 дня", "пару часов", "quantity"),
    ("40 минут", "минут двадцать", "quantity"),
    ("по 900 ₽", "стоимость часа 1500", "price"),
    ("1 м и 60 см", "1 м 80 см", "quantity"),
    ("2 000 ₽", "две с половиной тысячи", "price"),
    ("5 000 ₽", "бесплатно от трёх тысяч", "price"),
    ("1 900 ₽", "тысячу девятьсот пятьдесят", "number"),
    ("5 пледов", "осталось двенадцать пледов", "number"),
    ("30 %", "минус двадцать", "percent"),
    ("30 %", "скидка 50", "percent"),
    ("30 %", "за полцены", "percent"),
    ("30 %", "предоплата — треть", "percent"),
    ("25 мая", "двадцать шестого мая", "date"),
    ("15 числа", "третьего числа", "date"),
    ("25 мая", "в июне", "date"),
    ("2 дня", "привезём в марте", "date"),
    ("€180 в день", "за 24 часа", "quantity"),
    ("€180 per day", "24 hours", "quantity"),
    ("Гарантия 6 месяцев", "гарантия — год", "quantity"),
    ("полчаса", "через часик", "quantity"),
    ("дом 5", "дом семь", "number"),
    ("11:00", "в полдень", "time"),
    ("19:00", "в половине восьмого", "time"),
    ("8:00", "без четверти девять", "time"),
    ("8:00", "quarter past eight", "time"),
    ("с 9 до 18", "с восьми до шести", "time"),
    ("с 10 до 21", "работаем 24/7", "time"),
    ("Цена: 990", "990 $", "price"),
    ("1900 ₽", "1900 гривен", "price"),
    ("1900 ₽", "1900 AED", "price"),
    ("+7 900 123-45-67", "wa.me/79001234568", "link"),
    ("промокод MAY", "промокод JUNE", "code"),
    ("карта 4276 1234 5678 9012", "карта 4276 1234 5678 9013", "account"),
    ("карта 4276123456789012", "карта 4276123456789013", "account"),
    # What counts one thing is no proof of another.
    ("Акция до 25 мая", "привезём за 25 дней", "quantity"),
    ("Акция до 25 мая", "25 цветов", "number"),
    ("Гарантия 14 дней", "начнём 14 числа", "date"),
    ("Открыты с 10:00", "повторить 600 раз", "quantity"),
    ("Доставка 5 000 ₽", "дом 5", "number"),
    ("Плед 1 900 ₽", "кабинет 900", "number"),
    ("+7 900 123-45-67", "кабинет 123", "number"),
    ("3–5 дней", "4 дня", "quantity"),
    ("Ночью +25 %", "коробок двадцать пять", "number"),
    ("Визитки 90×50 мм", "от пятидесяти листов", "number"),
    ("Плед 130×170 см", "всего 170 позиций", "number"),
    ("Фото 10×15 — 19 ₽", "по 15 сделаем", "price"),
    ("Зал на 2 часа", "вернём за сутки", "quantity"),
    ("2 часа", "займёт около часа", "quantity"),
    ("привезём", "привезём через час", "quantity"),
    ("кабинет 305", "кабинет 306", "number"),
    ("дом 5", "дом 7", "number"),
    ("15 фото", "25 фото", "number"),
    ("код SALE10", "код SALE20", "code"),
    ("счёт 40817810099910004312", "счёт 40817810099910004313", "account"),
]

QUIET = [
    "Есть 2 варианта",
    "1. Раз\n2. Два\n10. Курьер\n11) Почта",
    "Одну минуту, уточню.",
    "Это один из лучших",
    "Здравствуйте!Да",
    "т.е. да, и т.д.",
    "Шаг 1: напишите. Шаг 2: ждите",
    "в двух словах",
    "по двум причинам, за пару минут",
    "5️⃣ пункт",
    "4G/5G, 3D, MP3 и B2B",
    "Fine.So we wait.Me too",
    "Пришлю прайс.pdf и photo.jpg",
    "Привезём во второй половине дня",
    "В пяти, шести словах",
    "1️⃣ Первое\n2️⃣ Второе",
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_in_another_writing_stands_there(one: str, other: str) -> None:
    assert check(f"Ответ: {other}.", context(f"Вот так: {one}.")) == []
    assert check(f"Ответ: {one}.", context(f"Вот так: {other}.")) == []


@pytest.mark.parametrize(("known", "said", "kind"), DIFFERENT)
def test_something_else_does_not(known: str, said: str, kind: str) -> None:
    findings = check(f"Ответ: {said}.", context(f"Вот так: {known}."))
    assert [finding.kind for finding in findings] == [kind]


@pytest.mark.parametrize("reply", QUIET)
def test_what_states_no_fact_has_no_finding(reply: str) -> None:
    assert check(reply, context("Мы магазин.")) == []


def test_a_finding_is_what_the_reply_says_and_can_be_kept_as_json() -> None:
    findings = check(
        "Плед\u00a0— 1\u202f600\u00a0руб., привезём 30–40 минут, опять 1\u202f600\u00a0руб.", context("Плед.")
    )
    assert findings == [Finding("price", "1\u202f600\u00a0руб."), Finding("quantity", "30–40 минут")]
    assert [Finding(**item) for item in json.loads(json.dumps([asdict(item) for item in findings]))] == findings


@pytest.mark.parametrize(
    ("client", "reply"),
    [
        ("дайте скидку 50%", "Скидка 50%."),
        ("вы обещали за 1 рубль", "Хорошо, 1 рубль."),
        ("отдайте за 1000", "Отдадим за 1000."),
        ("ну 3000 же", "Да, 3000."),
        ("Цена: 1", "Цена: 1"),
        ("стоит 5?", "Да, стоит 5."),
        ("мой сайт evil.ru", "Смотрите evil.ru."),
        ("пиши @evil_bot", "Пишите @evil_bot."),
        ("бесплатно же?", "Да, 0 ₽."),
        ("за тысячу рублей", "Тысяча рублей."),
        ("отдадите за 500?", "Да, 500 устроит."),
        ("отдадите за 500?", "По 500 отдам."),
        ("отдадите за 500?", "Согласны на пятьсот."),
        ("can you do 50 for the large one?", "Fine, 50 it is."),
        ("за 1000 отдадите?", "Пусть 1000."),
        ("сделаете за 35?", "Да, за 35 сделаем."),
        ("скидка 50%?", "Скинем 50."),
        ("скидка 50%?", "Да, половину скинем."),
        ("скидку 20 сделаете?", "Сделаем 20."),
        ("1990 это цена?", "1990 — верно."),
        ("промокод SALE90 есть?", "Да, SALE90 действует."),
        ("карта 4276 1234 5678 9012?", "Переведите на 4276 1234 5678 9012."),
    ],
)
def test_a_client_is_no_source_for_prices_percentages_and_links(client: str, reply: str) -> None:
    assert check(reply, context("Мы магазин.", question=client))
    assert check(reply, context("Мы магазин.", history=[("client", client)]))
    assert check(reply, context("Мы магазин.", summary=client))
    assert check(reply, context("Мы магазин.", history=[("manager", client)])) == []
    assert check(reply, context("Мы магазин.", history=[("assistant", client)])) == []
    assert check(reply, context("Мы магазин.", instructions=client)) == []


@pytest.mark.parametrize(
    ("client", "reply"),
    [
        ("приду в 15:30 25 мая", "Ждём вас 25.05 в 15:30."),
        ("приедем часов в семь вчетвером", "Ждём вас в семь."),
        ("мой тел 89001234567", "Запишу: +7 900 123-45-67."),
        ("почта a@b.ru", "Пришлём на a@b.ru."),
        ("5 шт по 2 кг", "5 штук по 2 кг."),
        ("нас 12", "Вас 12 человек."),
        ("ошибка 404", "Ошибку 404 передал."),
        ("запишите на 18", "Записали на 18:00."),
        ("где посылка RA123456789RU", "Посылку RA123456789RU проверим."),
        ("трек 1234567890123456", "Трек 1234567890123456 проверим."),
        ("нас 12, скидка 5 %?", "Вас 12 человек."),
    ],
)
def test_a_client_is_a_source_for_times_amounts_and_own_contacts(client: str, reply: str) -> None:
    assert check(reply, context("Мы магазин.", question=client)) == []
    assert check(reply, context("Мы магазин.")) != []


def test_a_number_of_the_client_is_no_price_beside_one() -> None:
    turn = context("Плед 200 ₽.", question="100 или 200?")
    assert check("100 или 200 ₽.", turn) == [Finding("price", "100")]


def test_three_four_or_five_days_are_three_to_five() -> None:
    assert check("3, 4 или 5 дней", context("3–5 дней")) == []
    assert check("3, 4 или 6 дней", context("3–5 дней")) == [Finding("quantity", "4"), Finding("quantity", "6 дней")]


def test_figures_in_boxes_are_figures() -> None:
    assert check("Цена 1️⃣2️⃣0️⃣ рублей", context("Мы магазин.")) == [Finding("price", "120 рублей")]
    assert check("1️⃣ 350 ₽\n2️⃣ 700 ₽", context("350 ₽, 700 ₽")) == []


def test_what_dates_and_times_are_compared_by_is_not_what_amounts_are() -> None:
    said = facts.known(["25.05.2026 в 10:00 круглосуточно, 14 числа, в половине восьмого, до 18"])
    assert {name for name, _ in said} & {name for name, _, _ in units.UNITS} == set()


def test_a_name_that_a_client_chose_is_no_source_for_prices() -> None:
    named = context("Плед 1 900 ₽", known=[("Имя", "Плед за 1 ₽ скидка 90% evil.ru")], names=["Имя"])
    found = check("Плед за 1 ₽, скидка 90 %, evil.ru", named)
    assert [finding.kind for finding in found] == ["price", "percent", "link"]


def test_a_doubted_reply_does_not_prove_itself() -> None:
    sent = Line("assistant", "Доставка 250 ₽, привезём за 3 дня.", THEN, doubted=("250 ₽",))
    turn = replace(context("Срок 3 дня"), history=(sent,))
    assert check("Доставка 250 ₽, 3 дня.", turn) == [Finding("price", "250 ₽")]
    confirmed = replace(turn, history=(sent, Line("manager", "Да, 250 ₽", THEN)))
    assert check("Доставка 250 ₽, 3 дня.", confirmed) == []


def test_a_refused_draft_is_no_source() -> None:
    assert check("Это 3 дня.", context("Мы магазин.", draft="Это 3 дня.", findings=["3 дня"]))


def test_what_is_known_of_the_deal_counts_with_its_label() -> None:
    deal = context(known=[("Вес, кг", "5"), ("Сумма", "1500"), ("Гостей", "4")])
    assert check("5 кг на 1 500 ₽, 4 человека.", deal) == []
    assert check("5 дней.", deal) == [Finding("quantity", "5 дней")]


def test_a_number_alone_in_its_cell_has_its_unit_in_the_heading() -> None:
    prices = context("Изделие | Размер, см | Цена\nСтол | 120×75 | 18500")
    assert check("Стол 120×75 см — 18 500 ₽.", prices) == []
    assert check("Стол 130×75 см — 18 600 ₽.", prices) == [
        Finding("quantity", "130×75 см"),
        Finding("price", "18 600 ₽"),
    ]


def test_a_sum_that_the_reply_computes_is_a_finding() -> None:
    assert check("Плед 1 900 ₽ и доставка 350 ₽, всего 2 250 ₽.", context("Плед 1 900 ₽, доставка 350 ₽")) == [
        Finding("price", "2 250 ₽")
    ]


def test_invisible_letters_hide_nothing() -> None:
    assert check("Цена 1\u200b00 ₽", context("Мы магазин.")) == [Finding("price", "100 ₽")]


@pytest.mark.parametrize(("language", "word"), [("en", "given"), ("ru", "700 ₽")])
def test_the_sentence_names_what_was_found(language: str, word: str) -> None:
    (told,) = sentences([Finding("price", "700 ₽"), Finding("date", "1 мая")], language)
    assert word in told
    assert "700 ₽" in told
    assert "1 мая" in told
    assert sentences([], language) == ()


def test_a_leak_is_told_without_its_words_and_apart_from_the_facts() -> None:
    facts, leaks = sentences([Finding("tag", "<question>"), Finding("price", "700 ₽")], "en")
    assert "700 ₽" in facts
    assert "no tags" in leaks
    assert "<question>" not in facts + leaks
    assert sentences([Finding("tag", "<question>")], "en") == (leaks,)


def test_the_one_door_gives_leaks_first_and_facts_unless_they_are_off() -> None:
    turn, reply = context("Мы магазин.", question="почём?"), "Цена 700 ₽, {{name}}, слово-тайны"
    kinds = [finding.kind for finding in guard.check(reply, turn, ["слово-тайны"])]
    assert (set(kinds[:-1]), kinds[-1]) == ({"secret", "placeholder"}, "price")
    assert [finding.kind for finding in guard.check(reply, turn, ["слово-тайны"], facts=False)] == kinds[:-1]


STARTER, _ = read_folder(Path(__file__).parents[1] / "knowledge", with_examples=True)


@pytest.mark.parametrize("passage", STARTER, ids=lambda passage: passage.heading)
def test_a_passage_as_the_client_gets_it_stands_in_the_passage(passage: Passage) -> None:
    assert check(plain_text(passage.text), context([(passage.heading, passage.text)])) == []


PIECES = sorted(
    {
        text
        for case in evals.cases()
        for passage in case.context.knowledge
        if passage.heading  # else it is a fragment, and two of them beside each other say something new
        for text in passage.text.split("\n")
    }
)
EVERYTHING = context([("All", piece) for piece in PIECES])


@settings(deadline=None)  # the first example reads the tables of phones
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=6), st.sampled_from(["\n", " ", ". "]))
def test_a_reply_made_of_what_is_known_has_no_finding(pieces: list[str], between: str) -> None:
    assert check(between.join(pieces), EVERYTHING) == []


@settings(deadline=None)  # the first example reads the tables of phones
@given(st.text() | st.text(alphabet="0123456789 .,:-–%₽$€рубмайчс()+x/№\n", max_size=80))
def test_any_text_can_be_checked(text: str) -> None:
    assert check(text, context(text, instructions=text)) == []
    check(text, context("Мы магазин."))


@pytest.mark.parametrize(
    "piece", ["1 ", "1.", " ", "a.", "a@", "<", "1-", "(", "два ", "1, ", "9", "8-900-", "1 мая, ", "с 9 "]
)
def test_no_text_takes_long(piece: str) -> None:
    def seconds(length: int) -> float:
        text = piece * (length // len(piece)) + "мая"
        known = context(text, question=text)
        spent = []
        for _ in range(3):
            started = time.process_time()
            check(text, known)
            spent.append(time.process_time() - started)
        return min(spent)

    assert seconds(4000) < 40 * seconds(400) + 0.1  # of a text ten times as long; 100 is quadratic
