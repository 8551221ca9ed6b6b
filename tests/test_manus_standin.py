"""What other tests rely on in the stand-in, over HTTP as a process of its own would be used."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.standins.manus import ManusStandin, digest, manus_standin


@pytest.fixture(scope="module")
def running() -> Iterator[ManusStandin]:
    with manus_standin() as standin:
        yield standin


@pytest.fixture
def http(running: ManusStandin) -> Iterator[httpx2.Client]:
    running.reset()
    with httpx2.Client(base_url=running.url, headers={"x-manus-api-key": running.key}) as client:
        yield client


def create(http: httpx2.Client, content: str = "hi") -> httpx2.Response:
    return http.post("/v2/task.create", json={"message": {"content": content}})


def read(http: httpx2.Client, task: str, **how: str | int) -> Any:
    return http.get("/v2/task.listMessages", params={"task_id": task, **how}).json()


def test_a_task_lives_by_being_read(http: httpx2.Client) -> None:
    task = create(http).json()["task_id"]
    assert read(http, task)["error"]["code"] == "not_found"
    newest = [read(http, task)["messages"][0] for _ in range(3)]
    assert [event["type"] for event in newest] == ["status_update", "assistant_message", "status_update"]
    assert newest[1]["assistant_message"]["delivery_kind"] == "progress"
    assert newest[2]["status_update"]["agent_status"] == "stopped"
    result = read(http, task)["messages"][1]
    assert digest("hi") in result["assistant_message"]["content"]
    assert result["timestamp"] == newest[2]["timestamp"]


def test_pages_in_both_directions(http: httpx2.Client) -> None:
    task = create(http).json()["task_id"]
    for _ in range(4):
        read(http, task)
    first = read(http, task, order="asc", limit=3)
    rest = read(http, task, order="asc", limit=3, cursor=first["next_cursor"])
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert first["messages"] + rest["messages"] == read(http, task)["messages"][::-1]


def test_who_is_let_in(running: ManusStandin) -> None:
    right, bearer = {"x-manus-api-key": running.key}, {"Authorization": f"Bearer {running.key}"}
    for headers, status in ((right, 200), (bearer, 401), (right | bearer, 401), ({}, 401)):
        assert httpx2.get(f"{running.url}/v2/usage.availableCredits", headers=headers).status_code == status


def test_too_many_tasks_and_a_text_too_long(http: httpx2.Client) -> None:
    assert create(http, "ж" * 2501).json()["error"]["code"] == "invalid_argument"
    assert [create(http).status_code for _ in range(10)] == [200] * 9 + [429]


def test_faults_scenarios_and_the_log(http: httpx2.Client) -> None:
    http.post("/_standin/fault", json={"method": "task.create", "drop": "after"})
    http.post("/_standin/scenario", json={"names": ["answer", "ghost"]})
    with pytest.raises(httpx2.RemoteProtocolError, match="without sending a response"):
        create(http)
    task = create(http).json()["task_id"]
    assert {read(http, task)["error"]["code"] for _ in range(5)} == {"not_found"}
    log = http.get("/_standin/log").json()
    assert [body["message"]["content"] for body in log["creates"]] == ["hi", "hi"]
    assert log["requests"] == ["task.create"] * 2 + ["task.listMessages"] * 5
    http.post("/_standin/fault", json={"method": "task.*", "code": "internal", "times": None})
    assert [create(http).status_code for _ in range(2)] == [500, 500]
    http.delete("/_standin/fault")
    assert create(http).status_code == 200


def test_jobs_that_end_when_the_state_is_read(http: httpx2.Client, running: ManusStandin) -> None:
    running.hidden_reads = 0
    running.scenario("late_result")
    task = create(http).json()["task_id"]
    for _ in range(4):
        events = read(http, task)["messages"]
    assert digest("hi") not in str(events)
    assert http.get("/v2/task.detail", params={"task_id": task}).json()["task"]["has_running_background_jobs"] is False
    assert digest("hi") in str(read(http, task)["messages"])
