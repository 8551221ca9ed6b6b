"""Questions that rest on what was said before: what an AI is given for them, and when the folder answers them."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from otvet.responders.base import Context, Line, Sender
from otvet.responders.knowledge import responder as module
from otvet.responders.knowledge.passages import Known, Passage, Problem, read_folder
from otvet.responders.knowledge.responder import Knowledge, KnowledgeResponder
from tests.clocks import FakeClock

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)

SHOP = """\
# Сколько стоит доставка
По городу 350 ₽, за город — по 40 ₽ за километр.

# Сколько стоит плед
Хлопковый — 1 900 ₽, шерстяной — 4 600 ₽.

# Как стирать плед
Шерстяной — только вручную, хлопковый — в машине.

# Отправляете ли вы за границу
Отправляем в Беларусь.

# Какая гарантия на товары
На полки — два года.

# Можно ли забрать заказ самому
<!-- иначе: самовывоз -->
Да, бесплатно.
"""

PRICES = """\
Название;Цена, ₽
Наволочка;600
Простыня;1700
Лампа настольная;2900
"""


@pytest.fixture
def knowledge(tmp_path: Path) -> Knowledge:
    (tmp_path / "shop.md").write_text(SHOP, encoding="utf-8")
    (tmp_path / "prices.csv").write_text(PRICES, encoding="utf-8")
    return Knowledge(tmp_path, FakeClock())


def client(*texts: str) -> list[Line]:
    return [Line("client", text, NOON) for text in texts]


def said(*lines: tuple[Sender, str], ago: timedelta = timedelta(0)) -> list[Line]:
    return [Line(sender, text, NOON - ago) for sender, text in lines]


def answer(knowledge: Knowledge, question: str, history: list[Line]) -> str | None:
    answer = knowledge.answer(client(question), history)
    return answer.hits[0].passage.heading if answer else None


PLAID = said(("client", "сколько стоит хлопковый плед?"), ("assistant", "Хлопковый — 1 900 ₽, шерстяной — 4 600 ₽."))
PILLOWCASE = said(("client", "почём наволочка?"), ("assistant", "Наволочка — 600 ₽"))
DELIVERY = said(("client", "сколько стоит доставка?"), ("assistant", "По городу 350 ₽."))


# What an AI is given


def test_the_clients_earlier_words_are_searched_too(knowledge: Knowledge) -> None:
    assert knowledge.passages(client("а за город?"), DELIVERY)[0].passage.heading == "Сколько стоит доставка"
    assert knowledge.passages(client("и сколько?"), said(("client", "доставляете?")))[0].passage.heading == (
        "Сколько стоит доставка"
    )


def test_nothing_of_its_own_and_no_history_finds_nothing(knowledge: Knowledge) -> None:
    assert knowledge.passages(client("и почём?")) == []


def test_the_question_weighs_more_than_what_was_before(knowledge: Knowledge) -> None:
    assert knowledge.passages(client("а гарантия какая?"), PLAID)[0].passage.heading == "Какая гарантия на товары"


def test_our_last_reply_is_searched_too(knowledge: Knowledge) -> None:
    history = said(("client", "здравствуйте"), ("assistant", "Могу рассказать, как стирать плед."))
    assert knowledge.passages(client("да, расскажите"), history)[0].passage.heading == "Как стирать плед"


def test_what_was_said_long_before_is_not(knowledge: Knowledge) -> None:
    history = said(("client", "за границу шлёте?"), ("client", "гарантия есть?"), ("client", "плед есть?"))
    found = [hit.passage.heading for hit in knowledge.passages(client("а сколько?"), history, k=10)]
    assert "Сколько стоит плед" in found
    assert "Какая гарантия на товары" in found
    assert "Отправляете ли вы за границу" not in found


def test_every_passage_comes_with_its_score_best_first(knowledge: Knowledge) -> None:
    hits = knowledge.passages(client("плед"), PLAID, k=2)
    assert [hit.passage.heading for hit in hits] == ["Сколько стоит плед", "Как стирать плед"]
    assert hits[0].score > hits[1].score > 0


def test_what_the_folder_would_answer_is_told_first(knowledge: Knowledge) -> None:
    found = [hit.passage.heading for hit in knowledge.passages(client("а простыня?"), PILLOWCASE, k=2)]
    assert found == ["Простыня", "Наволочка"]


# What the folder answers itself


@pytest.mark.parametrize(
    ("question", "history", "heading"),
    [
        ("а за город?", DELIVERY, "Сколько стоит доставка"),
        ("а шерстяной?", PLAID, "Сколько стоит плед"),
        ("и почём?", said(("client", "хочу плед"), ("assistant", "Хорошо.")), "Сколько стоит плед"),
        ("сколько?", said(("client", "доставка есть?"), ("assistant", "Есть.")), "Сколько стоит доставка"),
        ("самовывоз есть?", PLAID, "Можно ли забрать заказ самому"),
        ("а гарантия на товары какая?", PLAID, "Какая гарантия на товары"),
        ("а простыня?", PILLOWCASE, "Простыня"),
        ("а за границу отправляете?", DELIVERY, "Отправляете ли вы за границу"),
    ],
)
def test_a_follow_up_is_answered(knowledge: Knowledge, question: str, history: list[Line], heading: str) -> None:
    assert answer(knowledge, question, history) == heading


@pytest.mark.parametrize(
    ("question", "history"),
    [
        ("а зелёный есть?", PLAID),
        ("дороговато", PLAID),
        ("беру", PLAID),
        ("а на доставку?", said(("client", "какая гарантия на полки?"), ("assistant", "Два года."))),
        ("а гарантия?", DELIVERY),
        ("а лампочка?", PILLOWCASE),  # is no lamp
        ("а простыня?", said(("client", "наволочка из чего?"), ("assistant", "Из льна."))),
        ("а самовывоз?", PILLOWCASE),
        ("а стирать?", PILLOWCASE),
        ("а сколько стоит?", said(("client", "диван есть?"), ("assistant", "Нет."))),
        ("сколько?", said(("client", "за границу отправляете?"), ("assistant", "Отправляем в Беларусь."))),
        ("и почём?", []),
        ("а шерстяной?", []),
    ],
)
def test_what_is_not_clear_is_left_to_a_person(knowledge: Knowledge, question: str, history: list[Line]) -> None:
    assert answer(knowledge, question, history) is None


def test_after_a_managers_words_a_follow_up_may_mean_anything(knowledge: Knowledge) -> None:
    history = said(("client", "сколько стоит плед?"), ("manager", "Пледов нет, есть покрывала."))
    assert answer(knowledge, "а шерстяной?", history) is None


def test_a_follow_up_to_what_was_said_yesterday_is_not_guessed(knowledge: Knowledge) -> None:
    fresh = said(("client", "хочу плед"), ("assistant", "Хорошо."), ago=timedelta(minutes=59))
    old = said(("client", "хочу плед"), ("assistant", "Хорошо."), ago=timedelta(minutes=61))
    assert answer(knowledge, "сколько стоит?", fresh) == "Сколько стоит плед"
    assert answer(knowledge, "сколько стоит?", old) is None


def test_only_the_last_thing_asked_about_counts(knowledge: Knowledge) -> None:
    history = [*said(("client", "хочу плед"), ("assistant", "Хорошо.")), *DELIVERY]
    assert answer(knowledge, "а сколько стоит?", history) == "Сколько стоит доставка"


def test_a_picture_before_is_no_words(knowledge: Knowledge) -> None:
    history = [Line("client", "[плед]", NOON, words=False), *said(("assistant", "Красиво!"))]
    assert answer(knowledge, "сколько стоит?", history) is None


class NoAttempt:
    """Nothing is remembered by the local answer."""

    started_at = NOON
    facts: Mapping[str, Any] = {}
    thread: str | None = None

    async def remember(self, **facts: Any) -> None:
        raise AssertionError

    async def keep_thread(self, thread: str | None) -> None:
        raise AssertionError


def test_the_responder_gives_the_conversation_to_the_search(tmp_path: Path) -> None:
    (tmp_path / "shop.md").write_text(SHOP, encoding="utf-8")
    responder = KnowledgeResponder(Knowledge(tmp_path, FakeClock()))
    context = Context(1, 2, 3, tuple(PLAID), tuple(client("а шерстяной?")), "ru", "")
    reply = asyncio.run(responder.reply(context, NoAttempt()))
    assert reply.text == "Хлопковый — 1 900 ₽, шерстяной — 4 600 ₽."


# Fast, and from many threads


def test_the_folder_is_read_once_however_many_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop.md").write_text(SHOP, encoding="utf-8")
    knowledge = Knowledge(tmp_path, FakeClock())
    readers, second = [], Event()

    def read_slowly(folder: Path, *, with_examples: bool, known: Known) -> tuple[list[Passage], list[Problem]]:
        readers.append(folder)
        if len(readers) > 1:
            second.set()
        second.wait(0.2)  # for another reader, who must not come
        return read_folder(folder, with_examples=with_examples, known=known)

    monkeypatch.setattr(module, "read_folder", read_slowly)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _number: knowledge.passages(client("плед"))[0].passage.heading, range(4)))
    assert len(set(found)) == len(readers) == 1


def test_threads_may_share_it_while_the_folder_changes(tmp_path: Path) -> None:
    clock = FakeClock()
    knowledge = Knowledge(tmp_path, clock)
    file = tmp_path / "shop.md"
    file.write_text(SHOP, encoding="utf-8")

    def asks(number: int) -> str:
        if number % 10 == 0:
            edited = tmp_path / f"edited-{number}"  # put in place as a whole, as editors do
            edited.write_text(SHOP + f"\n# Запись {number}\n\nТекст.\n", encoding="utf-8")
            edited.replace(file)
            clock.advance(2)
        return knowledge.passages(client("а шерстяной?"), PLAID)[0].passage.heading

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(asks, range(200))) == {"Сколько стоит плед"}
