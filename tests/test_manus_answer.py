from typing import Any

import pytest

from otvet.responders.base import Declined
from otvet.responders.manus.ending import TaskFailed, can_go_on, ending_in, without_manus
from otvet.responders.manus.events import Event, parse_event
from otvet.responders.markdown import plain_text
from tests.tables import every


def says(text: str, kind: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "type": "assistant_message",
        "assistant_message": {"content": text, "delivery_kind": kind, **more},
    }


def status(state: str, **detail: Any) -> dict[str, Any]:
    return {"type": "status_update", "status_update": {"agent_status": state, "status_detail": detail}}


def waits_for(kind: str, description: str = "") -> dict[str, Any]:
    return status("waiting", waiting_for_event_id="evt", waiting_for_event_type=kind, waiting_description=description)


def asks(description: str = "") -> dict[str, Any]:
    return waits_for("messageAskUser", description)


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
        pytest.param(
            [says("Q?", None, **QUESTION), says("a"), status("stopped")], "a", id="an answer after a question"
        ),
        pytest.param(
            [says("a", "result"), says("Q?", None, **QUESTION), status("stopped")], "Q?\n- S\n- M", id="after"
        ),
        pytest.param([FAILED, status("running"), says("a"), status("stopped")], "a", id="recovered from an error"),
        pytest.param([says("Which?", None, **QUESTION), waits_for("messageAskUser")], "Which?\n- S\n- M", id="asks"),
        pytest.param([says("S or M?", None, **QUESTION), waits_for("cascadeAskUser")], "S or M?", id="asks, newer"),
        pytest.param([says("Which?"), waits_for("messageAskUser")], "Which?", id="asks in a plain message"),
        pytest.param([says("M?", None, **QUESTION), status("waiting")], "M?\n- S", id="asks and waits for no event"),
        pytest.param([says("ack", "progress"), asks("Q")], "Q", id="asks in the description only"),
        pytest.param(
            [says("I'll look."), asks("Which?")], "Which?", id="asks in the description, after a plain message"
        ),
        pytest.param([says("Which?"), asks("Waits for the user")], "Which?", id="asks in a plain message, described"),
        pytest.param([says("Name a size."), asks("Waits for it")], "Name a size.", id="asks without a question mark"),
        pytest.param([says("One", "result"), says("Which?"), asks()], "Which?", id="asks after a part of the result"),
        pytest.param(
            [says("Which?", None, **QUESTION), says("Or so."), asks("?")], "Which?\n- S\n- M", id="asks, marked"
        ),
    ],
)
def test_the_reply(events: list[dict[str, Any]], answer: str) -> None:
    ending = ending_in(newest_first(status("running"), *events))
    assert ending is not None
    assert ending.text == answer


@pytest.mark.parametrize(
    ("events", "sure"),
    [
        ([says("a", "result"), status("stopped")], True),
        ([says("a"), status("stopped")], False),
        ([says("a", "result"), says("extra"), status("stopped")], True),
        ([says("ack", "progress"), status("stopped")], False),
        ([status("stopped")], False),
        ([says("Q?", None, **QUESTION), status("stopped")], True),
        ([says("Q?", None, **QUESTION), waits_for("messageAskUser")], True),
        ([says("Q?"), waits_for("messageAskUser")], False),
        ([waits_for("messageAskUser")], False),
    ],
)
def test_only_what_is_marked_is_the_last_word(events: list[dict[str, Any]], sure: bool) -> None:
    ending = ending_in(newest_first(status("running"), *events))
    assert ending is not None
    assert ending.sure is sure


@pytest.mark.parametrize("events", [[status("stopped")], [says("ack", "progress"), status("stopped")]])
def test_an_ending_without_a_text(events: list[dict[str, Any]]) -> None:
    ending = ending_in(newest_first(*events))
    assert ending is not None
    assert ending.text == ""


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([], id="nothing yet"),
        pytest.param([says("ack")], id="no state yet"),
        pytest.param([status("running"), says("a", "result")], id="an answer, but still running"),
        pytest.param([says("a"), status("stopped"), status("running")], id="running again"),
        pytest.param([says("a"), status("waiting")], id="in a queue"),
        pytest.param([status("waiting", waiting_for_event_type="deployAction")], id="in a queue, though with a type"),
        pytest.param([FAILED, status("running")], id="goes on after an error"),
        pytest.param([status("thinking"), says("a")], id="a state not known here"),
    ],
)
def test_no_answer_yet(events: list[dict[str, Any]]) -> None:
    assert ending_in(newest_first(*events)) is None


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([says("a"), status("error")], id="error"),
        pytest.param([says("a", "result"), FAILED], id="error message"),
        pytest.param([says("ack"), FAILED, status("stopped")], id="error message, then stopped"),
        pytest.param([says("ack"), STOPPED_BY_HAND, status("stopped")], id="stopped by hand"),
    ],
)
def test_a_task_that_failed(events: list[dict[str, Any]]) -> None:
    with pytest.raises(TaskFailed):
        ending_in(newest_first(status("running"), *events))


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("quota", "The task in Manus failed: quota."),
        ("internal_error.v2", "The task in Manus failed: internal_error.v2."),
        ("Иван, +7 900 000-00-00", "The task in Manus failed or was stopped."),
        ("x" * 41, "The task in Manus failed or was stopped."),
        (None, "The task in Manus failed or was stopped."),
    ],
)
def test_manuss_word_for_an_error_is_told_and_nothing_that_is_none(kind: str | None, told: str) -> None:
    failed = {"type": "error_message", "error_message": {"error_type": kind, "content": "the client wrote"}}
    with pytest.raises(TaskFailed) as caught:
        ending_in(newest_first(status("running"), failed, status("error")))
    assert str(caught.value) == told


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([waits_for("gmailSendAction")], id="wants to send a letter"),
        pytest.param([says("May I?", None, **QUESTION), waits_for("deployAction")], id="asks for a permission"),
        pytest.param([status("waiting", waiting_for_event_id="evt")], id="waits for who knows what"),
    ],
)
def test_what_is_declined_and_nobodys_fault(events: list[dict[str, Any]]) -> None:
    with pytest.raises(Declined):
        ending_in(newest_first(status("running"), *events))


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


@every("manus_answer", "what the client gets", "text, sent")
def test_what_the_client_gets(text: str, sent: str) -> None:
    assert without_manus(plain_text(text)) == sent


def test_the_name_is_left_in_where_it_is_somebody_elses_and_addresses_are_not() -> None:
    text = "Перчатки Manus стоят 500 ₽. Смотрите: https://manus.im/app/x"
    assert without_manus(text, may_name_manus=True) == "Перчатки Manus стоят 500 ₽."
    assert without_manus(text) == ""
