import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from evals import guard as evals
from hypothesis import given, settings
from hypothesis import strategies as st

from otvet.guard import facts, guard, units
from otvet.guard.finding import Finding
from otvet.guard.guard import sentences
from otvet.guard.stated import check
from otvet.responders.base import Line
from otvet.responders.knowledge.passages import Passage, read_folder
from otvet.responders.markdown import plain_text
from tests.contexts import THEN, context
from tests.tables import every, every_of


@every("guard", "same", "one, other")
def test_the_same_in_another_writing_stands_there(one: str, other: str) -> None:
    assert check(f"Ответ: {other}.", context(f"Вот так: {one}.")) == []
    assert check(f"Ответ: {one}.", context(f"Вот так: {other}.")) == []


@every("guard", "different", "known, said, kind")
def test_something_else_does_not(known: str, said: str, kind: str) -> None:
    findings = check(f"Ответ: {said}.", context(f"Вот так: {known}."))
    assert [finding.kind for finding in findings] == [kind]


@every("guard", "quiet", "reply")
def test_what_states_no_fact_has_no_finding(reply: str) -> None:
    assert check(reply, context("Мы магазин.")) == []


def test_a_finding_is_what_the_reply_says_and_can_be_kept_as_json() -> None:
    findings = check(
        "Плед\u00a0— 1\u202f600\u00a0руб., привезём 30–40 минут, опять 1\u202f600\u00a0руб.", context("Плед.")
    )
    assert findings == [Finding("price", "1\u202f600\u00a0руб."), Finding("quantity", "30–40 минут")]
    assert [Finding(**item) for item in json.loads(json.dumps([asdict(item) for item in findings]))] == findings


@every("guard", "a client is no source for prices percentages and links", "client, reply")
def test_a_client_is_no_source_for_prices_percentages_and_links(client: str, reply: str) -> None:
    assert check(reply, context("Мы магазин.", question=client))
    assert check(reply, context("Мы магазин.", history=[("client", client)]))
    assert check(reply, context("Мы магазин.", summary=client))
    assert check(reply, context("Мы магазин.", history=[("manager", client)])) == []
    assert check(reply, context("Мы магазин.", history=[("assistant", client)])) == []
    assert check(reply, context("Мы магазин.", instructions=client)) == []


@every("guard", "a client is a source for times amounts and own contacts", "client, reply")
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


@every("guard", "reckoned", "known, asked, reply, workings")
def test_an_exact_sum_or_product_is_known_with_its_working(
    known: str, asked: str, reply: str, workings: list[str]
) -> None:
    turn = context(known, question=asked)
    assert check(reply, turn) == []
    assert [how for _, how in guard.reckoned(reply, turn)] == workings


@every("guard", "reckoned wrongly", "known, asked, reply, found")
def test_any_other_sum_is_a_finding(known: str, asked: str, reply: str, found: str) -> None:
    assert check(reply, context(known, question=asked)) == [Finding("price", found)]


@every("guard", "denied", "client, reply")
def test_what_the_client_named_may_be_denied(client: str, reply: str) -> None:
    assert check(reply, context("Плед 1 900 ₽.", question=client)) == []


@every("guard", "not denied", "client, reply")
def test_what_only_looks_like_a_denial_is_a_claim(client: str, reply: str) -> None:
    assert check(reply, context("Плед 1 900 ₽.", question=client)) != []


@every("guard", "free", "known, asked, reply")
def test_what_the_company_gives_away_is_free(known: str, asked: str, reply: str) -> None:
    assert check(reply, context(known, question=asked)) == []


@every("guard", "not free", "known, asked, reply")
def test_nothing_else_is_free(known: str, asked: str, reply: str) -> None:
    assert [finding.kind for finding in check(reply, context(known, question=asked))] == ["price"]


@every("guard", "another day or term", "known, asked, reply")
def test_a_day_of_somebody_else_and_another_term_are_findings(known: str, asked: str, reply: str) -> None:
    assert check(reply, context(known, question=asked)) != []


@every("guard", "the day or the term", "known, asked, reply")
def test_the_own_day_the_same_term_and_what_the_client_counted_are_known(known: str, asked: str, reply: str) -> None:
    assert check(reply, context(known, question=asked)) == []


def test_a_client_may_name_the_day_to_come_but_not_the_days_of_work() -> None:
    turn = context("Открыты пн–пт.", question="А в воскресенье?")
    assert check("Ждём вас в воскресенье.", turn) == []
    assert check("Да, в воскресенье работаем.", turn) == [Finding("date", "воскресенье")]
    assert check("В воскресенье не работаем, ждём с понедельника по пятницу.", turn) == []


def test_the_weekday_of_a_date_and_of_tomorrow_is_known() -> None:
    turn = context("Привезём 25 мая.")
    name = ("понедельник", "вторник", "среду", "четверг", "пятницу", "субботу", "воскресенье")
    day = THEN.replace(month=5, day=25).weekday()
    assert check(f"Привезём в {name[day]}, 25 мая.", turn) == []
    assert check(f"Привезём в {name[(day + 3) % 7]}, 25 мая.", turn) != []
    assert check(f"Ждём вас завтра, в {name[(THEN.weekday() + 1) % 7]}.", turn) == []


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


@every_of([[passage] for passage in STARTER], "passage")
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
EVERYTHING = context([("All", "\n".join(PIECES))])


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
        started = time.process_time()
        check(text, known)
        return time.process_time() - started

    # Of a text ten times as long; 100 times is quadratic. Another process may have disturbed a measurement.
    assert any(seconds(4000) < 40 * seconds(400) + 0.1 for _ in range(3))
