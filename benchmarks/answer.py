"""Answering: turns a second, what a single reply costs, and what a thousand waiting turns cost.

Run: make bench. The stand-ins for amoCRM and the model run in this process, on the same machine as the service. The
exit code is 1 if an aim is missed; on a machine that has other work to do, most are.
"""

import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import httpx2
from tests.standins.amocrm import AmoStandin, amocrm_standin
from tests.standins.openai import openai_standin
from tests.standins.sender import headers, incoming

from benchmarks.page import keep
from benchmarks.servers import SECRET, Running, otvet

TURNS = 1000
SINGLE = 40
WAITING = 1000
THINKS = 30
QUIET = 0.3
PORT = 8393
ROUNDS = 3


@dataclass(frozen=True)
class Measured:
    """A figure, and what it should be: at least ``least``, or less than ``most``."""

    name: str
    value: float
    unit: str = ""
    least: float | None = None
    most: float | None = None

    @property
    def missed(self) -> bool:
        return (self.least is not None and self.value < self.least) or (
            self.most is not None and self.value >= self.most
        )

    def __str__(self) -> str:
        aim = f"at least {self.least:g}" if self.least else f"under {self.most:g}" if self.most else ""
        value = f"{self.value:.2f}" if self.value < 10 and not self.unit else f"{self.value:.0f}"
        return f"| {self.name} | {value}{self.unit} | {aim}{self.unit if aim else ''} |"


def main() -> None:
    rows = [*_turns_a_second(), _single_reply(), *_waiting()]
    text = "\n".join(["| | | aim |", "| --- | --- | --- |", *map(str, rows)])
    print(text)
    keep("answer", text)
    if missed := [row.name for row in rows if row.missed]:
        sys.exit(f"missed: {'; '.join(missed)}")


def _settings(amo: AmoStandin, **more: str) -> dict[str, str]:
    return {
        "OTVET_AMOCRM_BASE_URL": amo.url,
        "OTVET_AMOCRM_TOKEN": amo.token,
        "OTVET_AMOCRM_CALLS_A_SECOND": "1000",
        "OTVET_QUIET_SECONDS": "0",
        **more,
    }


def _body(lead: int) -> bytes:
    names = {"lead_id": lead, "chat_id": f"chat-{lead}", "contact_id": lead, "message_id": f"m-{lead}-{time.time()}"}
    return incoming("Сколько стоит доставка?", created_at=int(time.time()), **names)


def _post(http: httpx2.Client, server: Running, lead: int) -> float:
    """Seconds to the answer."""
    began = time.perf_counter()
    http.post(f"{server.url}/webhook/amocrm/{SECRET}", content=_body(lead), headers=headers("1")).raise_for_status()
    return time.perf_counter() - began


def _wait(done: Callable[[], bool], patience: float = 300) -> None:
    deadline = time.monotonic() + patience
    while not done():
        if time.monotonic() > deadline:
            raise SystemExit("the replies did not come")
        time.sleep(0.002)


def _turns_a_second() -> list[Measured]:
    """In turn with the workflow engine alone, because a machine is not equally fast all the time."""
    alone, ours = [], []
    for _ in range(ROUNDS):
        alone.append(_engine_alone())
        ours.append(_one_round())
    ratio = statistics.median(mine / other for mine, other in zip(ours, alone, strict=True))
    what = f"{TURNS} clients at once, local answer, SQLite, from the first webhook on, median of {ROUNDS}"
    return [
        Measured(f"turns a second, {what}", statistics.median(ours), least=80),
        Measured("DBOS alone, workflows of four empty steps a second, in turn with that", statistics.median(alone)),
        Measured("ratio, round by round, median", ratio),
    ]


def _engine_alone() -> float:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.engine_alone", folder, str(TURNS)]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _one_round() -> float:
    with tempfile.TemporaryDirectory() as folder, amocrm_standin() as amo:
        amo.any_lead, amo.rate = True, 1_000_000
        with otvet(Path(folder), PORT, **_settings(amo)) as server, httpx2.Client(trust_env=False) as http:
            began = time.monotonic()
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda lead: _post(http, server, lead), range(1, TURNS + 1)))
            _wait(lambda: all(amo.notes(lead) for lead in range(TURNS, 0, -1)))
            return TURNS / (time.monotonic() - began)


def _single_reply() -> Measured:
    spent: list[float] = []
    with tempfile.TemporaryDirectory() as folder, amocrm_standin() as amo:
        amo.any_lead, amo.rate = True, 1_000_000
        settings = _settings(amo, OTVET_QUIET_SECONDS=str(QUIET))
        with otvet(Path(folder), PORT, **settings) as server, httpx2.Client(trust_env=False) as http:
            for lead in range(1, SINGLE + 2):
                began = time.perf_counter()
                _post(http, server, lead)
                _wait(lambda lead=lead: bool(amo.notes(lead)))  # type: ignore[misc]
                spent.append(time.perf_counter() - began - QUIET)
    del spent[0]  # the first one loads the search
    median = statistics.median(spent) * 1000
    name = f"a single reply, from the end of the quiet period to the note, median of {SINGLE}"
    return Measured(name, median, " ms", most=50)


def _waiting() -> list[Measured]:
    with tempfile.TemporaryDirectory() as folder, amocrm_standin() as amo, openai_standin() as model:
        amo.any_lead, amo.rate = True, 1_000_000
        model.thinks_seconds = THINKS
        settings = _settings(
            amo,
            OTVET_OPENAI_BASE_URL=f"{model.url}/v1",
            OTVET_OPENAI_MODEL="slow",
            OTVET_OPENAI_BUDGET_SECONDS="300",
        )
        with otvet(Path(folder), PORT, **settings) as server, httpx2.Client(trust_env=False) as http:
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda lead: _post(http, server, lead), range(1, WAITING + 1)))
            clients, ours = multiprocessing.Pipe()
            # In a process of its own: in this one it would wait for the stand-ins rather than for the service.
            writing = multiprocessing.get_context("spawn").Process(target=_go_on_writing, args=(clients, server))
            writing.start()
            _wait(lambda: len(model.requests) >= WAITING)
            memory = server.memory_mb
            _wait(lambda: bool(amo.notes(WAITING)))
            memory = max(memory, server.memory_mb)
            ours.send("enough")
            took: list[float] = ours.recv()
            writing.join()
    p99 = statistics.quantiles(took, n=100)[98] * 1000
    about = f"{len(took)} messages, one after the other, while they begin, wait and end"
    return [
        Measured(f"memory with {WAITING} turns waiting for a model that thinks {THINKS} s", memory, " MB", most=300),
        Measured(f"p99 of the webhook's answer meanwhile ({about})", p99, " ms", most=100),
    ]


def _go_on_writing(enough: Connection, server: Running) -> None:
    """Clients of other deals write, one after the other, until it is enough; sends back the seconds each took."""
    took: list[float] = []
    with httpx2.Client(trust_env=False) as http:
        while not enough.poll(0.05):
            took.append(_post(http, server, WAITING + 1 + len(took)))
    enough.recv()
    enough.send(took)


if __name__ == "__main__":
    main()
