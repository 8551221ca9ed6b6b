from typing import Any

import pytest

from otvet.responders.base import ResponderError
from otvet.responders.manus.answer import answer_in, can_go_on, for_client
from otvet.responders.manus.events import Event, parse_event


def says(text: str, kind: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "type": "assistant_message",
        "assistant_message": {"content": text, "delivery_kind": kind, **more},
    }


def status(state: str, **detail: Any) -> dict[str, Any]:
    return {"type": "status_update", "status_update": {"agent_status": state, "status_detail": detail}}


def waits_for(kind: str) -> dict[str, Any]:
    return status("waiting", waiting_for_event_id="evt", waiting_for_event_type=kind)


ASKED = {"type": "user_message", "user_message": {"content": "?"}}
FAILED = {"type": "error_message", "error_message": {"error_type": "quota", "content": "no credits"}}
STOPPED_BY_HAND = {"type": "user_stop", "user_stop": {}}
QUESTION = {"question_expectation": {"options": ["S", "M"]}}


def newest_first(*oldest_first: dict[str, Any]) -> list[Event]:
    return [parse_event({"id": str(n), **raw}) for n, raw in enumerate(oldest_first)][::-1]


@pytest.mark.parametrize(
    ("events", "answer"),
    [
        pytest.param([says("a"), status("stopped")], "a", id="no kinds"),
        pytest.param([says("ack"), says("a"), status("stopped")], "a", id="no kinds, the last of two"),
        pytest.param([says("ack", "progress"), says("a", "result"), status("stopped")], "a", id="result"),
        pytest.param([says("a", "result"), says("bye", "progress"), status("stopped")], "a", id="progress after it"),
        pytest.param([says("a", "result"), says("extra"), status("stopped")], "a", id="result before no kind"),
        pytest.param([says("a", "result"), says("b", "result"), status("stopped")], "b", id="the last result"),
        pytest.param([says("ack", "progress"), says("a"), status("stopped")], "a", id="no kind before progress"),
        pytest.param([FAILED, status("running"), says("a"), status("stopped")], "a", id="recovered from an error"),
        pytest.param([says("Which?", None, **QUESTION), waits_for("messageAskUser")], "Which?\n- S\n- M", id="asks"),
        pytest.param([says("S or M?", None, **QUESTION), waits_for("cascadeAskUser")], "S or M?", id="asks, newer"),
        pytest.param([says("Which?"), waits_for("messageAskUser")], "Which?", id="asks in a plain message"),
        pytest.param([says("M?", None, **QUESTION), status("waiting")], "M?\n- S", id="asks and waits for no event"),
        pytest.param(
            [
                says("ack", "progress"),
                status("waiting", waiting_for_event_type="messageAskUser", waiting_description="Q"),
            ],
            "Q",
            id="asks in the description only",
        ),
    ],
)
def test_the_answer(events: list[dict[str, Any]], answer: str) -> None:
    assert answer_in(newest_first(ASKED, status("running"), *events)) == answer


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([], id="nothing yet"),
        pytest.param([ASKED], id="no state yet"),
        pytest.param([status("running"), says("a", "result")], id="an answer, but still running"),
        pytest.param([says("a"), status("stopped"), status("running")], id="running again"),
        pytest.param([says("a"), status("waiting")], id="in a queue"),
        pytest.param([status("waiting", waiting_for_event_type="deployAction")], id="in a queue, though with a type"),
        pytest.param([FAILED, status("running")], id="goes on after an error"),
        pytest.param([status("thinking"), says("a")], id="a state not known here"),
    ],
)
def test_no_answer_yet(events: list[dict[str, Any]]) -> None:
    assert answer_in(newest_first(*events)) is None


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([says("a"), status("error")], id="error"),
        pytest.param([says("a", "result"), FAILED], id="error message"),
        pytest.param([says("ack"), FAILED, status("stopped")], id="error message, then stopped"),
        pytest.param([says("ack"), STOPPED_BY_HAND, status("stopped")], id="stopped by hand"),
        pytest.param([status("stopped")], id="nothing said"),
        pytest.param([says("ack", "progress"), status("stopped")], id="progress only"),
        pytest.param([waits_for("gmailSendAction")], id="wants to send a letter"),
        pytest.param([says("May I?", None, **QUESTION), waits_for("deployAction")], id="asks for a permission"),
        pytest.param([status("waiting", waiting_for_event_id="evt")], id="waits for who knows what"),
    ],
)
def test_there_will_be_no_answer(events: list[dict[str, Any]]) -> None:
    with pytest.raises(ResponderError):
        answer_in(newest_first(ASKED, status("running"), *events))


@pytest.mark.parametrize(
    ("events", "rests"),
    [
        ([], True),
        ([status("running"), status("stopped")], True),
        ([waits_for("messageAskUser")], True),
        ([status("running")], False),
        ([status("error")], False),
        ([status("waiting")], False),
        ([waits_for("gmailSendAction")], False),
    ],
)
def test_only_a_task_at_rest_is_asked_again(events: list[dict[str, Any]], rests: bool) -> None:
    assert can_go_on(newest_first(*events)) is rests


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("Цена **500 ₽**.", "Цена 500 ₽."),
        ("I'm Manus, an AI agent. The price is 500.", "The price is 500."),
        ("Я — Manus!\nЦена 500 ₽.", "Цена 500 ₽."),
        ("Это сделал Манус. Цена 500 ₽.", "Цена 500 ₽."),
        ("Цена 500 ₽. Подробнее: https://manus.im/app/x?y=1.", "Цена 500 ₽."),
        ("Цена стола со стульями 500 ₽: https://manus.im/share/x", "Цена стола со стульями 500 ₽"),
        ("Цена 500 ₽\n\n[Открыть задачу](https://manus.im/app/x)", "Цена 500 ₽"),
        ("Готово\n\n![chart](https://files.manuscdn.com/a/b.png)", "Готово"),
        ("Пишите на support@manus.im", ""),
        ("Manus", ""),
        (
            "Манускрипт стоит 500 ₽, см. https://notmanus.im/a",
            "Манускрипт стоит 500 ₽, см. https://notmanus.im/a",
        ),
        ("Раз.  Два", "Раз.  Два"),
        ("а\n\n\n\nб", "а\n\nб"),
    ],
)
def test_what_the_client_gets(text: str, sent: str) -> None:
    assert for_client(text) == sent
