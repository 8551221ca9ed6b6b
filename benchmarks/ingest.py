"""Intake: webhooks a second against a plain Flask receiver, in turn, on the same bodies; start and idle memory.

Run: make bench. Needs wrk. Every row is committed with synchronous=FULL by both.
"""

import platform
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.page import keep
from benchmarks.servers import Load, flask, load, otvet

ROUNDS = 5
SECONDS = 6


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    ours: list[Load] = []
    theirs: list[Load] = []
    starts: list[float] = []
    idle: list[float] = []
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            with flask(Path(folder), 8391) as server:
                theirs.append(load(server, SECONDS))
            with otvet(Path(folder), 8392) as server:
                starts.append(server.start_seconds)
                idle.append(server.memory_mb)
                ours.append(load(server, SECONDS))
        ratio = ours[-1].rate / theirs[-1].rate
        print(
            f"round {number + 1}: Flask {theirs[-1]}\n         Otvet {ours[-1]}\n         ratio {ratio:.1f}", flush=True
        )
    text = _table(ours, theirs, starts, idle)
    print(text)
    keep("ingest", text)


def _table(ours: list[Load], theirs: list[Load], starts: list[float], idle: list[float]) -> str:
    ratios = [a.rate / b.rate for a, b in zip(ours, theirs, strict=True)]

    def row(name: str, values: list[float], form: str) -> str:
        low, middle, high = min(values), statistics.median(values), max(values)
        return f"| {name} | {low:{form}} | {middle:{form}} | {high:{form}} |"

    return "\n".join(
        [
            f"{len(ours)} rounds of {SECONDS} s in turn, 64 connections, Python {platform.python_version()}.",
            "",
            "| | lowest | median | highest |",
            "| --- | --- | --- | --- |",
            row("Flask + gunicorn (2 workers) + sqlite3, webhooks a second", [one.rate for one in theirs], ".0f"),
            row("Otvet, webhooks a second", [one.rate for one in ours], ".0f"),
            row("ratio, round by round", ratios, ".1f"),
            row("Flask, p99 in ms", [one.p99_ms for one in theirs], ".0f"),
            row("Otvet, p99 in ms", [one.p99_ms for one in ours], ".0f"),
            row("Otvet, answers that were no 2xx", [float(one.errors) for one in ours], ".0f"),
            row("Otvet, seconds from start to ready", starts, ".2f"),
            row("Otvet, idle memory in MB", idle, ".0f"),
        ]
    )


if __name__ == "__main__":
    main()
