"""When a client asks for a person."""

from datetime import UTC, datetime

from otvet.responders.base import Context, Line
from otvet.turns import human_request as handover
from otvet.turns.turn import Reason
from tests.tables import every

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def line(text: str) -> Line:
    return Line("client", text, NOW)


@every("handover", "who asks for a person is heard", "text")
def test_who_asks_for_a_person_is_heard(text: str) -> None:
    assert handover.asks_for_person([line("добрый день"), line(text)])


@every("handover", "who only mentions one is answered", "text")
def test_who_only_mentions_one_is_answered(text: str) -> None:
    assert not handover.asks_for_person([line(text)])


def test_own_phrases_add_to_the_built_in_ones() -> None:
    own = "код красный; нужна Лариса"
    assert handover.asks_for_person([line("У нас КОД КРАСНЫЙ!")], own)
    assert handover.asks_for_person([line("позовите менеджера")], own)
    assert not handover.asks_for_person([line("Какой код у товара? Красный")], own)
    assert not handover.asks_for_person([line("код красный")])
    assert not handover.asks_for_person([line("Сколько стоит плед?")], " ; ")


def test_the_person_is_told_the_last_lines_and_not_more() -> None:
    history = tuple(line(f"line {number}") for number in range(20))
    context = Context(1, 1, 1, history, (line("word " * 200), line("a person please")), "en", "")
    told = handover.summary(context).splitlines()
    assert len(told) == handover.SUMMARY_LINES
    assert told[-1] == "client: a person please"
    assert all(len(one) < handover.SUMMARY_CHARACTERS + 20 for one in told)


def test_the_client_is_told_in_the_clients_language() -> None:
    context = Context(1, 1, 1, (), (line("человек"),), "ru", "")
    assert "менеджеру" in handover.reply(context, Reason.ASKED).text
