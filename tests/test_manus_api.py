import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import httpx2
import pytest
from starlette.responses import RedirectResponse

from otvet.errors import SettingsError
from otvet.responders.manus.api import ManusApi, ManusError, TaskDetail
from otvet.responders.manus.events import (
    AssistantMessage,
    ErrorMessage,
    Event,
    StatusUpdate,
    parse_event,
)
from tests.standins.manus import LIMITS, ManusStandin, digest, manus_standin
from tests.standins.server import serving

T = TypeVar("T")

SECRET = "sk-standin-secret"
CLIENTS_WORDS = "My number is +7 900 000-00-00"


@pytest.fixture(scope="module")
def running() -> Iterator[ManusStandin]:
    with manus_standin(key=SECRET) as standin:
        yield standin


@pytest.fixture
def manus(running: ManusStandin) -> ManusStandin:
    running.reset()
    return running


def call(manus: ManusStandin, use: Callable[[ManusApi], Awaitable[T]], *, timeout: float = 5, **changes: Any) -> T:
    async def run() -> T:
        async with httpx2.AsyncClient(timeout=timeout) as http:
            return await use(ManusApi(http, **{"base_url": manus.url, "api_key": manus.key} | changes))

    return asyncio.run(run())


def fails(manus: ManusStandin, use: Callable[[ManusApi], Awaitable[Any]], **changes: Any) -> ManusError:
    with pytest.raises(ManusError) as caught:
        call(manus, use, **changes)
    assert SECRET not in str(caught.value)
    assert CLIENTS_WORDS not in str(caught.value)
    return caught.value


def create(api: ManusApi) -> Awaitable[str]:
    return api.create_task(CLIENTS_WORDS, profile="lite", locale="ru", title="amoCRM 7")


def send(api: ManusApi) -> Awaitable[None]:
    return api.send_message("some task", CLIENTS_WORDS)


def read(api: ManusApi) -> Awaitable[list[Event]]:
    return api.list_messages("some task")


WRITES = [pytest.param(create, "task.create", id="create"), pytest.param(send, "task.sendMessage", id="send")]


class TestCalls:
    def test_create_sends_the_prompt_and_gives_the_task(self, manus: ManusStandin) -> None:
        task = call(manus, create)
        assert list(manus.tasks) == [task]
        (body,) = manus.creates
        assert body == {
            "message": {"content": CLIENTS_WORDS, "connectors": []},
            "agent_profile": "lite",
            "locale": "ru",
            "title": "amoCRM 7",
            "interactive_mode": False,
            "hide_in_task_list": True,
            "share_visibility": "private",
        }

    def test_a_message_keeps_the_tasks_profile_and_asks_for_no_connectors(self, manus: ManusStandin) -> None:
        manus.hidden_reads = 0
        task = call(manus, create)
        call(manus, lambda api: api.send_message(task, "and?"))
        assert manus.sends == [{"task_id": task, "message": {"content": "and?"}, "clear_connectors": True}]

    def test_events_come_newest_first_and_no_more_than_asked_for(self, manus: ManusStandin) -> None:
        manus.hidden_reads = 0
        task = call(manus, create)
        for _ in range(3):
            events = call(manus, lambda api: api.list_messages(task))
        assert [event.type for event in events] == [
            "status_update",
            "assistant_message",
            "assistant_message",
            "status_update",
            "user_message",
        ]
        assert events[1].text == f"Answer {digest(CLIENTS_WORDS)}."  # type: ignore[attr-defined]
        assert call(manus, lambda api: api.list_messages(task, limit=2)) == events[:2]

    def test_detail_tells_of_jobs_that_still_run(self, manus: ManusStandin) -> None:
        manus.hidden_reads = 0
        task = call(manus, create)
        manus.tasks[task].jobs = True
        manus.tasks[task].credits = 7
        detail = call(manus, lambda api: api.task_detail(task))
        assert detail == TaskDetail(has_running_background_jobs=True, credit_usage=7)

    def test_detail_does_without_what_older_answers_lack(self, manus: ManusStandin) -> None:
        manus.fault("task.detail", status=200, body='{"ok": true, "task": {"credit_usage": "12"}}')
        detail = call(manus, lambda api: api.task_detail("5"))
        assert detail == TaskDetail(has_running_background_jobs=None, credit_usage=12)
        manus.fault("task.detail", status=200, body='{"ok": true, "id": 6, "has_running_background_jobs": "?"}')
        detail = call(manus, lambda api: api.task_detail("5"))
        assert detail == TaskDetail(has_running_background_jobs=None, credit_usage=None)

    def test_stop(self, manus: ManusStandin) -> None:
        manus.hidden_reads = 0
        task = call(manus, create)
        call(manus, lambda api: api.stop_task(task))
        assert manus.stops == [task]
        assert manus.tasks[task].status == "stopped"

    @pytest.mark.parametrize(
        ("answer", "credits"),
        [
            ({"data": {"total_credits": 1300}}, 1300),
            ({"total_credits": 7}, 7),
            ({"data": {"total_credits": "40"}}, 40),
            ({"data": {}}, None),
        ],
    )
    def test_credits_are_found_wherever_they_are(
        self, manus: ManusStandin, answer: dict[str, Any], credits: int | None
    ) -> None:
        manus.credits = answer
        assert call(manus, lambda api: api.available_credits()) == credits

    def test_a_slash_after_the_address_does_no_harm(self, manus: ManusStandin) -> None:
        assert call(manus, lambda api: api.available_credits(), base_url=manus.url + "/") == 1300

    def test_a_key_with_a_line_break_is_refused_and_not_repeated(self, manus: ManusStandin) -> None:
        with pytest.raises(SettingsError) as caught:
            call(manus, create, api_key="sk-abc\n")
        assert "sk-abc" not in str(caught.value)


class TestErrors:
    def test_wrong_key(self, manus: ManusStandin) -> None:
        error = fails(manus, create, api_key=SECRET + "x")
        assert (error.code, error.status, error.permanent) == ("unauthenticated", 401, True)
        assert manus.creates == []

    @pytest.mark.parametrize(
        ("code", "permanent"),
        [
            ("rate_limited", False),
            ("not_found", True),
            ("invalid_argument", True),
            ("permission_denied", True),
        ],
    )
    @pytest.mark.parametrize(("use", "method"), WRITES)
    def test_a_refusal_is_never_ambiguous(
        self, manus: ManusStandin, use: Any, method: str, code: str, permanent: bool
    ) -> None:
        manus.fault(method, code=code)
        error = fails(manus, use)
        assert (error.code, error.permanent, error.ambiguous) == (code, permanent, False)

    def test_a_refusal_counts_also_with_status_200(self, manus: ManusStandin) -> None:
        manus.fault("task.create", code="not_found", status=200)
        assert fails(manus, create).code == "not_found"

    @pytest.mark.parametrize(
        ("status", "body", "ambiguous"),
        [
            (200, '{"ok": false, "error": {"code": "internal"}}', True),
            (503, '{"ok": false, "error": {"code": "overloaded"}}', True),
            (503, '{"ok": false, "error": "overloaded"}', True),
            (418, '{"ok": false, "error": {"code": "teapot"}}', False),
            (418, '{"ok": false}', False),
        ],
    )
    def test_errors_that_are_not_in_the_documents(
        self, manus: ManusStandin, status: int, body: str, ambiguous: bool
    ) -> None:
        manus.fault("task.create", status=status, body=body)
        error = fails(manus, create)
        assert (error.ambiguous, error.permanent) == (ambiguous, not ambiguous)

    @pytest.mark.parametrize(
        ("status", "code"),
        [(402, None), (402, "whatever"), (403, "insufficient_credits"), (429, "quota_exceeded"), (400, "no_CREDITS")],
    )
    def test_when_credits_have_run_out_it_says_so(self, manus: ManusStandin, status: int, code: str | None) -> None:
        manus.fault("task.create", status=status, body=json.dumps({"ok": False, "error": {"code": code}}))
        error = fails(manus, create)
        assert (error.code, error.permanent, error.ambiguous) == ("out_of_credits", True, False)
        assert "no credits left" in str(error)

    def test_another_word_for_too_many_requests(self, manus: ManusStandin) -> None:
        manus.fault("task.create", status=429, body='{"ok": false, "error": {"code": "too_many"}}')
        error = fails(manus, create)
        assert (error.code, error.permanent, error.ambiguous) == ("rate_limited", False, False)

    def test_the_eleventh_task_of_a_minute(self, manus: ManusStandin) -> None:
        for _ in range(LIMITS["task.create"]):
            call(manus, create)
        error = fails(manus, create)
        assert (error.code, error.status, error.permanent, error.ambiguous) == (
            "rate_limited",
            429,
            False,
            False,
        )
        assert len(manus.creates) == 10

    @pytest.mark.parametrize(("use", "method"), WRITES)
    @pytest.mark.parametrize(
        "fault",
        [
            {"code": "internal"},
            {"status": 502, "body": "<html>Bad gateway</html>", "content_type": "text/html"},
            {"status": 408, "body": "<html>Request timeout</html>", "content_type": "text/html"},
            {"status": 408, "body": '{"ok": false}'},
            {"status": 200, "body": "<html>Welcome</html>", "content_type": "text/html"},
            {"drop": "before"},
            {"drop": "after"},
            {"delay": 30},
        ],
        ids=str,
    )
    def test_a_write_without_a_clear_answer_is_ambiguous(
        self, manus: ManusStandin, use: Any, method: str, fault: dict[str, Any]
    ) -> None:
        manus.fault(method, **fault)
        error = fails(manus, use, timeout=0.3)
        assert (error.ambiguous, error.permanent) == (True, False)

    @pytest.mark.parametrize(
        "fault", [{"code": "internal"}, {"drop": "before"}, {"delay": 30}], ids=lambda fault: " ".join(fault)
    )
    def test_a_read_is_never_ambiguous(self, manus: ManusStandin, fault: dict[str, Any]) -> None:
        manus.fault("task.listMessages", **fault)
        error = fails(manus, read, timeout=0.3)
        assert (error.ambiguous, error.permanent) == (False, False)

    def test_a_closed_door_is_temporary_and_not_ambiguous(self, manus: ManusStandin) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))  # bound, but nobody listens
            error = fails(manus, create, base_url=f"http://127.0.0.1:{unused.getsockname()[1]}")
        assert (error.ambiguous, error.permanent, error.status) == (False, False, None)

    def test_a_task_without_a_name_may_exist(self, manus: ManusStandin) -> None:
        manus.fault("task.create", status=200, body='{"ok": true}')
        assert fails(manus, create).ambiguous

    @pytest.mark.parametrize(
        ("status", "permanent"),
        [(200, False), (302, True), (403, True), (404, True), (429, False), (503, False)],
    )
    def test_a_page_of_somebody_else_is_named_as_such(self, manus: ManusStandin, status: int, permanent: bool) -> None:
        page = f"<html>{CLIENTS_WORDS}</html>"
        manus.fault("task.listMessages", status=status, body=page, content_type="text/html")
        error = fails(manus, read)
        assert f"HTTP {status}" in str(error)
        assert (error.permanent, error.ambiguous, error.status) == (permanent, False, status)
        assert error.code != "not_found"  # or a task would be taken for lost

    def test_a_proxy_that_lets_nothing_through_leaves_nothing_unknown(self, manus: ManusStandin) -> None:
        manus.fault("task.create", status=403, body="<html>", content_type="text/html")
        error = fails(manus, create)
        assert (error.permanent, error.ambiguous) == (True, False)

    @pytest.mark.parametrize("body", ["", "null", "[]", '"ok"', "{}", '{"detail": "Not Found"}', "{"])
    def test_json_of_somebody_else(self, manus: ManusStandin, body: str) -> None:
        manus.fault("task.listMessages", status=404, body=body)
        error = fails(manus, read)
        assert (error.code, error.permanent) == (None, True)

    def test_the_key_does_not_follow_a_redirect(self, manus: ManusStandin) -> None:
        async def run(base_url: str) -> None:
            async with httpx2.AsyncClient(follow_redirects=True) as http:
                await ManusApi(http, base_url, manus.key).available_credits()

        gateway = RedirectResponse(f"{manus.url}/v2/usage.availableCredits")
        with serving(gateway) as url, pytest.raises(ManusError):
            asyncio.run(run(url))
        assert manus.requests == []


class TestEvents:
    def test_text_may_be_a_list_of_parts(self) -> None:
        parts = [{"type": "text", "text": "Hello"}, {"type": "file", "file_id": "f"}, "world"]
        event = parse_event({"id": "e", "type": "assistant_message", "assistant_message": {"content": parts}})
        assert isinstance(event, AssistantMessage)
        assert (event.text, event.delivery_kind, event.is_question) == ("Hello\nworld", None, False)

    def test_a_question_with_its_choices(self) -> None:
        message = {"content": "Which?", "question_expectation": {"options": ["A", {"text": "B"}, 5]}}
        event = parse_event({"id": "e", "type": "assistant_message", "assistant_message": message})
        assert isinstance(event, AssistantMessage)
        assert (event.is_question, event.options) == (True, ("A", "B"))

    def test_what_a_task_waits_for(self) -> None:
        detail = {
            "waiting_for_event_id": 17,
            "waiting_for_event_type": "messageAskUser",
            "waiting_description": "The size?",
        }
        update = {"agent_status": "waiting", "status_detail": detail}
        event = parse_event({"id": 3, "type": "status_update", "status_update": update})
        assert isinstance(event, StatusUpdate)
        assert (event.id, event.agent_status, event.waiting_for_event_id) == ("3", "waiting", "17")
        assert (event.waiting_for_event_type, event.waiting_description) == ("messageAskUser", "The size?")

    def test_an_error_of_the_task(self) -> None:
        body = {"error_type": "quota", "content": "no credits"}
        event = parse_event({"id": "e", "type": "error_message", "error_message": body})
        assert isinstance(event, ErrorMessage)
        assert event.error_type == "quota"

    def test_an_unknown_event_is_kept_as_it_came(self) -> None:
        raw = {"id": "e", "type": "plan_update", "plan_update": {"steps": []}}
        event = parse_event(raw)
        assert type(event) is Event
        assert (event.type, event.raw) == ("plan_update", raw)

    @pytest.mark.parametrize("type_", ["assistant_message", "status_update", "error_message", "user_message", "", None])
    @pytest.mark.parametrize("body", [None, "text", [], {}, {"content": 5, "status_detail": "?", "agent_status": None}])
    def test_nothing_misshapen_raises(self, type_: Any, body: Any) -> None:
        assert parse_event({"type": type_, str(type_): body}).id == ""

    @pytest.mark.parametrize(
        "type_", ["user_message", "assistant_message", "error_message", "status_update", "unknown"]
    )
    def test_words_stay_out_of_logs(self, type_: str) -> None:
        body = {
            "content": CLIENTS_WORDS,
            "question_expectation": {"options": [CLIENTS_WORDS]},
            "status_detail": {"waiting_description": CLIENTS_WORDS},
        }
        event = parse_event({"id": "e", "type": type_, type_: body})
        assert CLIENTS_WORDS not in repr(event)
        assert event in {event}  # raw takes no part in comparing

    def test_elements_that_are_no_events_are_passed_over(self, manus: ManusStandin) -> None:
        manus.fault(
            "task.listMessages",
            status=200,
            body='{"ok": true, "messages": [null, "x", {"id": "e", "type": "t"}]}',
        )
        assert [event.id for event in call(manus, read)] == ["e"]
        manus.fault("task.listMessages", status=200, body='{"ok": true, "messages": null}')
        assert call(manus, read) == []
