"""Processes that begin as copies of one that has loaded the program: the loading is most of a start."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import cache
from multiprocessing import forkserver
from typing import Any

_copies = multiprocessing.get_context("forkserver")
_one_at_a_time = threading.Lock()  # each start looks at all the others, and each end can be read once


@cache
def _load() -> None:
    """Start the process that is copied. It finds modules where this one does, not only in the folder it begins in."""
    _copies.set_forkserver_preload(["__main__", "tests.loaded"])  # each copy would load pytest's own file otherwise
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


class Forked:
    """One of them, as far as ``subprocess.Popen`` is asked for by the tests."""

    def __init__(self, target: Callable[..., None], *arguments: Any) -> None:
        self._process = _copies.Process(target=target, args=arguments)
        with _one_at_a_time:
            _load()
            self._process.start()
        self.pid = self._process.pid or 0

    def poll(self) -> int | None:
        with _one_at_a_time:
            return self._process.exitcode

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def send_signal(self, how: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, how)

    def wait(self, timeout: float) -> int:
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired("a copy", timeout)
        return code


def become(folder: str, environment: Mapping[str, str], stdin: str, stdout: str, stderr: str) -> None:
    """Turn a copy into a process as ``subprocess.Popen`` would begin it; the last three are paths of files."""
    from otvet.commands.terminal import speak
    from tests import brisk_manus

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    speak()
    brisk_manus.hurry()
    if "HURRY" in environment:
        hurry()
    for number, path in enumerate((stdin, stdout, stderr)):
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC if number else os.O_RDONLY
        os.dup2(os.open(path, flags), number)
    if stdout == stderr:
        os.dup2(1, 2)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for as long as the process lives
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115


def hurry() -> None:
    """Have a process that is silent count as dead after four seconds, and be taken over from a second later."""
    from otvet.answering import worker
    from otvet.storage import heartbeats

    heartbeats.BEAT_SECONDS = 0.5
    heartbeats.DEAD_AFTER = timedelta(seconds=4)
    worker.SWEEP_SECONDS = 1.0


def run(arguments: Sequence[str], *process: Any) -> None:
    """``otvet ARGUMENTS`` in a copy; ``process`` is what ``become`` is to be told."""
    from otvet import cli

    become(*process)
    cli.main(list(arguments))


def run_at_a_terminal(arguments: Sequence[str], *process: Any) -> None:
    """``run``, with the terminal that ``process`` names as the one whose keys it hears."""
    os.setsid()  # the terminal that a session opens first is its own
    run(arguments, *process)
