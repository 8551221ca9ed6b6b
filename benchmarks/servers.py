"""The two receivers, each in a process of its own and a folder of its own, and the load on them."""

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
SECRET = "secret-of-the-benchmark"
CONNECTIONS = 64
START_SECONDS = 120  # on a busy machine


@dataclass(frozen=True)
class Load:
    """What wrk saw: requests a second, latency in milliseconds, answers that were no 2xx."""

    rate: float
    median_ms: float
    p99_ms: float
    errors: int


@dataclass(frozen=True)
class Running:
    """A server: its address, its process, and the seconds it took to answer."""

    url: str
    pid: int
    start_seconds: float

    @property
    def memory_mb(self) -> float:
        """Resident memory of the process and its children."""
        pids = [self.pid, *map(int, Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split())]
        status = "\n".join(Path(f"/proc/{pid}/status").read_text() for pid in pids)
        return sum(map(int, re.findall(r"VmRSS:\s+(\d+)", status))) / 1024


@contextmanager
def _server(command: list[str], folder: Path, url: str, probe: str, **settings: str) -> Iterator[Running]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OTVET_")} | settings
    started = time.perf_counter()
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        while not _answers(url + probe):
            if process.poll() is not None or time.perf_counter() - started > START_SECONDS:
                raise SystemExit(f"{command[0]} did not start: {(folder / 'log.txt').read_text()}")
            time.sleep(0.01)
        yield Running(url, process.pid, time.perf_counter() - started)
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True  # an answer of any kind
    except OSError:
        return False


@contextmanager
def otvet(folder: Path, port: int, **settings: str) -> Iterator[Running]:
    settings = {
        "OTVET_PORT": str(port),
        "OTVET_WEBHOOK_SECRET": SECRET,
        "OTVET_KNOWLEDGE_DIR": str(ROOT / "knowledge"),
        **settings,
    }
    with _server([str(BIN / "otvet"), "serve"], folder, f"http://127.0.0.1:{port}", "/ready", **settings) as server:
        yield server


@contextmanager
def flask(folder: Path, port: int) -> Iterator[Running]:
    command = [str(BIN / "gunicorn"), "-w", "2", "-b", f"127.0.0.1:{port}", "benchmarks.flask_receiver:app"]
    settings = {"PYTHONPATH": str(ROOT), "BENCH_DATABASE": str(folder / "flask.db"), "BENCH_SECRET": SECRET}
    with _server(command, folder, f"http://127.0.0.1:{port}", "/", **settings) as server:
        yield server


def load(server: Running, seconds: int) -> Load:
    """New messages from 64 connections at once, in 500 deals."""
    if not shutil.which("wrk"):
        raise SystemExit("wrk makes the load; install it: sudo apt-get install wrk")
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}", "-s", str(ROOT / "benchmarks/webhook.lua"), server.url]
    environment = {**os.environ, "BENCH_SECRET": SECRET}
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    (line,) = re.findall(r"RESULT (.*)", output)
    requests, microseconds, median, p99, errors = map(float, line.split())
    return Load(requests / (microseconds / 1e6), median, p99, int(errors))
