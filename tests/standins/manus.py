"""A stand-in for Manus v2: its task life cycle, limits and envelope on a real socket, with faults on command.

Time in a task is counted in reads of its events, so a test decides how long Manus takes. As a process:

    python -m tests.standins.manus --port 9002
"""

import argparse
import hashlib
import json
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event as ThreadEvent
from typing import Any, Literal

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.standins.faults import Faults
from tests.standins.server import serving

Scenario = Literal[
    "answer",
    "ghost",
    "question",
    "described_question",
    "confirm",
    "queued",
    "error",
    "quota",
    "empty",
    "background",
    "late_result",
    "state_first",
    "leftover",
    "list_content",
    "slow",
]

LIMITS = {
    "task.create": 10,
    "task.sendMessage": 10,
    "task.listMessages": 100,
    "task.detail": 100,
    "task.stop": 40,
    "usage.availableCredits": 600,
    "project.create": 40,
    "connector.list": 100,
}
"""Requests a minute: https://open.manus.ai/docs/v2/rate-limits."""

PROFILES = {"lite", "standard", "max", "manus-1.6-lite", "manus-1.6", "manus-1.6-max"}
SLOW_READS = 1000
_HTTP_STATUS = {"unauthenticated": 401, "permission_denied": 403, "not_found": 404, "rate_limited": 429}


def digest(content: str) -> str:
    """What an answer names of the text it answers, so that a test can tell whose answer it is."""
    # Letters alone: a figure that stands nowhere is not sent to a client.
    return hashlib.sha256(content.encode()).hexdigest()[:16].translate(str.maketrans("0123456789", "ghijklmnop"))


def echo(content: str) -> str:
    """The usual answer."""
    return f"Answer {digest(content)}."


@dataclass
class Task:
    """A task and what will still happen in it.

    steps: each read of the events makes the next one happen.
    unseen: what happens when its state is read while it has jobs: after the events were read, that is.
    hidden: so many reads do not find the task yet; a ghost is never found.
    credits: spent so far; each result costs three.
    """

    id: str
    profile: str
    hidden: float = 0
    status: str = "running"
    jobs: bool = False
    credits: int = 0
    project: str | None = None
    events: list[dict[str, Any]] = field(default_factory=list)
    steps: deque[list[dict[str, Any]]] = field(default_factory=deque)
    unseen: deque[list[dict[str, Any]]] = field(default_factory=deque)

    def read(self) -> bool:
        """Let time pass; False while the task cannot be found."""
        if self.hidden > 0:
            self.hidden -= 1
            return False
        if self.steps:
            self.happen(self.steps.popleft())
        return True

    def happen(self, events: list[dict[str, Any]]) -> None:
        """Several events at the same time."""
        now = str(time.time_ns() // 1_000_000)
        for event in events:
            if event["type"] == "status_update":
                self.status = event["status_update"]["agent_status"]
                self.jobs = event["status_update"].pop("jobs", False)
                self.credits += 3 * (self.status == "stopped")
            self.events.append({"id": uuid.uuid4().hex[:22], "timestamp": now, **event})


class RefusalError(Exception):
    """An answer with ``ok`` false."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ManusStandin:
    """What a test sees of the stand-in, and all that it can tell it.

    limits: requests a minute by method; a method that is not named has none.
    now: seconds that only grow, for the limits; like what stands above the next line, a reset leaves it.

    answer: the text of a result for the text that was sent.
    hidden_reads: so many reads do not find a new task.
    lag_reads: so many reads after a message still show the task as it was.
    marks_delivery: assistant messages say "progress" or "result".
    lists_questions: what is sent into a task is one of its events.
    most_tokens: a longer text, by a high estimate, is refused.
    answers_at_once: a task has its answer before the call that put the question returns.
    creates, sends: the bodies of the requests that were carried out; ``stops`` and ``deletes`` are task ids.
    projects: those that were created, by id.
    requests: the method of every request that got past the faults before it, also of those refused.
    """

    def __init__(
        self,
        *,
        key: str = "sk-standin",
        limits: dict[str, int] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = ""
        self.key = key
        self._limits = LIMITS if limits is None else limits
        self.now = now
        self._methods: dict[str, tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
            "task.create": ("POST", self._create),
            "task.sendMessage": ("POST", self._send),
            "task.stop": ("POST", self._stop),
            "task.delete": ("POST", self._delete),
            "task.listMessages": ("GET", self._list),
            "task.detail": ("GET", self._detail),
            "usage.availableCredits": ("GET", lambda _: dict(self.credits)),
            "project.create": ("POST", self._create_project),
            "connector.list": ("GET", lambda _: {"data": [{"id": name, "name": name} for name in self.connectors]}),
        }
        self.app = Faults(
            Starlette(
                routes=[
                    Route("/v2/{method}", self._call, methods=["GET", "POST"]),
                    Route("/_standin/fault", self._fault, methods=["POST", "DELETE"]),
                    Route("/_standin/scenario", self._plan_scenario, methods=["POST"]),
                    Route("/_standin/log", self._log),
                ]
            )
        )
        self.reset()

    def reset(self) -> None:
        """Be as new."""
        self.answer: Callable[[str], str] = echo
        self.hidden_reads = 1
        self.lag_reads = 0
        self.marks_delivery = True
        self.lists_questions = True
        self.most_tokens = 5000.0
        self.profiles = set(PROFILES)
        self.credits: dict[str, Any] = {"data": {"total_credits": 1300}}
        self.connectors: list[str] = []
        self.answers_at_once = False
        self.projects: dict[str, dict[str, Any]] = {}
        self.creates: list[dict[str, Any]] = []
        self.sends: list[dict[str, Any]] = []
        self.stops: list[str] = []
        self.deletes: list[str] = []
        self.requests: list[str] = []
        self.tasks: dict[str, Task] = {}
        self._recent: dict[str, deque[float]] = {}
        self._scenarios: deque[Scenario] = deque()
        self.app.clear()

    def fault(self, method: str = "*", *, code: str | None = None, status: int | None = None, **fault: Any) -> None:
        """Let the next call of ``method`` ("task.create") go wrong: see Fault.

        ``code`` is a shorthand for Manus's envelope with that error and the status that belongs to it.
        """
        if code is not None:
            status = status or _HTTP_STATUS.get(code, 500 if code == "internal" else 400)
            fault["body"] = json.dumps(_refused(code, "as the test wished"))
        self.app.plan(path=f"/v2/{method}", status=status, **fault)

    def scenario(self, *names: Scenario) -> None:
        """What becomes of the next creates and messages, in this order; afterwards all is answered."""
        self._scenarios.extend(names)

    def send(self, task_id: str, content: str) -> None:
        """Let somebody else, such as a person in Manus's own pages, write into a task."""
        self._script(self.tasks[task_id], self._next_scenario(), content)

    def finish(self, task_id: str) -> None:
        """Let all that is to happen in a task happen now, without anybody looking."""
        task = self.tasks[task_id]
        task.hidden = 0
        while task.steps:
            task.read()

    async def _call(self, request: Request) -> Response:
        method = request.path_params["method"]
        self.requests.append(method)
        try:
            self._let_in(request, method)
            verb, call = self._methods[method]
            if request.method != verb:
                raise RefusalError("invalid_argument", f"use {verb}")
            body = await request.json() if verb == "POST" else dict(request.query_params)
            answer = {"ok": True, "request_id": _request_id(), **call(body)}
            if self.answers_at_once and method in ("task.create", "task.sendMessage"):
                self.finish(answer["task_id"])
            return JSONResponse(answer)
        except RefusalError as refusal:
            return JSONResponse(_refused(refusal.code, str(refusal)), _HTTP_STATUS.get(refusal.code, 400))

    def _let_in(self, request: Request, method: str) -> None:
        if request.headers.get("x-manus-api-key") != self.key or "authorization" in request.headers:
            raise RefusalError("unauthenticated", "the api key is invalid")
        if method not in self._methods:
            raise RefusalError("not_found", "no such method")
        recent = self._recent.setdefault(method, deque())
        while recent and recent[0] <= self.now() - 60:
            recent.popleft()
        if method in self._limits and len(recent) >= self._limits[method]:
            raise RefusalError("rate_limited", "Rate limit exceeded. Please retry after a short backoff.")
        recent.append(self.now())

    def _create(self, body: dict[str, Any]) -> dict[str, Any]:
        content = _content(body, self.most_tokens)
        profile = body.get("agent_profile") or "standard"
        if profile not in self.profiles:
            raise RefusalError("invalid_argument", "unknown agent_profile")
        if "project_id" in body and body["project_id"] not in self.projects:
            raise RefusalError("not_found", "project not found")
        scenario = self._next_scenario()
        hidden = float("inf") if scenario == "ghost" else self.hidden_reads
        task = Task(uuid.uuid4().hex[:22], profile, hidden, project=body.get("project_id"))
        self.tasks[task.id] = task
        self._script(task, scenario, content)
        self.creates.append(body)
        title, url = body.get("title") or content[:20], f"https://manus.im/app/{task.id}"
        return {"task_id": task.id, "task_title": title, "task_url": url, "share_visibility": "private"}

    def _send(self, body: dict[str, Any]) -> dict[str, Any]:
        content = _content(body, self.most_tokens)
        task = self._task(body)
        task.steps.extend([] for _ in range(self.lag_reads))
        self._script(task, self._next_scenario(), content)
        self.sends.append(body)
        return {"task_id": task.id}

    def _stop(self, body: dict[str, Any]) -> dict[str, Any]:
        task = self._task(body)
        task.steps.clear()
        task.unseen.clear()
        task.happen([{"type": "user_stop", "user_stop": {}}, _status("stopped")])
        self.stops.append(task.id)
        return {"task_id": task.id}

    def _delete(self, body: dict[str, Any]) -> dict[str, Any]:
        task = self._task(body)
        del self.tasks[task.id]
        self.deletes.append(task.id)
        return {"task_id": task.id, "deleted": True}

    def _list(self, query: dict[str, Any]) -> dict[str, Any]:
        task = self.tasks.get(query.get("task_id", ""))
        if task is None or not task.read():
            raise RefusalError("not_found", "task not found")
        limit, start = int(query.get("limit", 50)), int(query.get("cursor", 0))
        if not 1 <= limit <= 200:
            raise RefusalError("invalid_argument", "limit must be 1 to 200")
        ordered = task.events if query.get("order") == "asc" else task.events[::-1]
        more = start + limit < len(ordered)
        page: dict[str, Any] = {
            "task_id": task.id,
            "messages": ordered[start : start + limit],
            "has_more": more,
        }
        return page | ({"next_cursor": str(start + limit)} if more else {})

    def _detail(self, query: dict[str, Any]) -> dict[str, Any]:
        task = self._task(query)
        if task.jobs:
            while task.unseen:
                task.happen(task.unseen.popleft())
        detail = {"id": task.id, "status": task.status, "agent_profile": task.profile, "credit_usage": task.credits}
        return {"task": detail | {"has_running_background_jobs": task.jobs}}

    def _create_project(self, body: dict[str, Any]) -> dict[str, Any]:
        if not body.get("name"):
            raise RefusalError("invalid_argument", "name is required")
        project = {"id": uuid.uuid4().hex[:22], "created_at": 0, **body}
        self.projects[project["id"]] = project
        return {"project": project}

    def _task(self, query: dict[str, Any]) -> Task:
        task = self.tasks.get(str(query.get("task_id")))
        if task is None or task.hidden > 0:
            raise RefusalError("not_found", "task not found")
        return task

    def _next_scenario(self) -> Scenario:
        return self._scenarios.popleft() if self._scenarios else "answer"

    def _script(self, task: Task, scenario: Scenario, content: str) -> None:
        asked = [{"type": "user_message", "user_message": {"content": content}}] if self.lists_questions else []
        if scenario == "leftover":
            late = self._says("What the question before still had to come.", "result")
            task.steps.extend([[late, _status("stopped")], [], asked, [], [_status("running")]])
        else:
            task.steps.append([*asked, _status("running")])
        progress = self._says("Understood. I will look it up.", "progress")
        result = self._says(self.answer(content), "result")
        done = [progress], [result, _status("stopped")]
        match scenario:
            case "slow":
                task.steps.extend([] for _ in range(SLOW_READS))
                task.steps.extend(done)
            case "question":
                ask = self._says("Какой нужен размер?", None)
                ask["assistant_message"]["question_expectation"] = {"options": ["S", "M"]}
                task.steps.extend([[progress], [ask, _waiting("messageAskUser")]])
            case "described_question":
                described = _waiting("messageAskUser", "Какой нужен размер?")
                task.steps.extend([[self._says("Сейчас посмотрю.", None)], [described]])
            case "confirm":
                task.steps.extend([[progress], [_waiting("gmailSendAction")]])
            case "queued":
                task.steps.extend([[_status("waiting")], [], [_status("running")], *done])
            case "error" | "quota":
                failure = {"error_type": "internal" if scenario == "error" else scenario, "content": "out of order"}
                task.steps.append([{"type": "error_message", "error_message": failure}, _status("error")])
            case "empty":
                task.steps.extend([[progress], [_status("stopped")]])
            case "background":
                interim = self._says("A first draft.", "result")
                task.steps.extend([[progress], [interim, _status("stopped", jobs=True)], [], list(done[1])])
            case "late_result":
                interim = self._says("It takes a while.", "result")
                task.steps.extend([[progress], [interim, _status("stopped", jobs=True)]])
                task.unseen.extend([[_status("running")], list(done[1])])
            case "state_first":
                task.steps.extend([[progress], [_status("stopped")], [], [result]])
            case "list_content":
                parts = [{"type": "text", "text": part} for part in self.answer(content).split("\n")]
                task.steps.extend([[progress], [self._says(parts, "result"), _status("stopped")]])
            case _:
                task.steps.extend(done)

    def _says(self, content: Any, kind: str | None) -> dict[str, Any]:
        message = {"content": content, "attachments": []}
        if kind and self.marks_delivery:
            message["delivery_kind"] = kind
        return {"type": "assistant_message", "assistant_message": message}

    async def _fault(self, request: Request) -> Response:
        if request.method == "DELETE":
            self.app.clear()
        else:
            self.fault(**await request.json())
        return JSONResponse({})

    async def _plan_scenario(self, request: Request) -> Response:
        self.scenario(*(await request.json())["names"])
        return JSONResponse({})

    async def _log(self, request: Request) -> Response:
        return JSONResponse(
            {"creates": self.creates, "sends": self.sends, "stops": self.stops, "requests": self.requests}
        )


def _content(body: dict[str, Any], most_tokens: float) -> str:
    content = body.get("message", {}).get("content")
    if isinstance(content, list):
        content = "\n".join(part.get("text", "") for part in content)
    if not content:
        raise RefusalError("invalid_argument", "message.content is required")
    if sum(0.25 if char.isascii() else 2 for char in content) > most_tokens:
        raise RefusalError("invalid_argument", "message.content is too long")
    return str(content)


def _status(agent_status: str, *, jobs: bool = False) -> dict[str, Any]:
    return {
        "type": "status_update",
        "status_update": {"agent_status": agent_status, "jobs": jobs, "brief": ""},
    }


def _waiting(kind: str, description: str = "") -> dict[str, Any]:
    event = _status("waiting")
    event["status_update"]["status_detail"] = {
        "waiting_for_event_id": f"evt_{uuid.uuid4().hex[:8]}",
        "waiting_for_event_type": kind,
        "waiting_description": description,
    }
    return event


def _refused(code: str, message: str) -> dict[str, Any]:
    return {"ok": False, "request_id": _request_id(), "error": {"code": code, "message": message}}


def _request_id() -> str:
    return f"req_{uuid.uuid4().hex[:12]}"


@contextmanager
def manus_standin(port: int = 0, **options: Any) -> Iterator[ManusStandin]:
    """A running stand-in with ``url`` and ``key``; the options are those of ManusStandin."""
    standin = ManusStandin(**options)
    with serving(standin.app, port) as url:
        standin.url = url
        yield standin


def main() -> None:
    parser = argparse.ArgumentParser(description="Stand in for Manus v2 until interrupted.")
    parser.add_argument("--port", type=int, default=9002)
    parser.add_argument("--key", default="sk-standin")
    parser.add_argument("--unlimited", action="store_true", help="do not limit requests a minute")
    chosen = parser.parse_args()
    with manus_standin(chosen.port, key=chosen.key, limits={} if chosen.unlimited else None) as standin:
        print(f"{standin.url} key {standin.key}", flush=True)
        with suppress(KeyboardInterrupt):
            ThreadEvent().wait()


if __name__ == "__main__":
    main()
