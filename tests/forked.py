"""Processes that begin as copies of one that has loaded the program: the loading is most of a start."""

import multiprocessing
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from typing import Any

_copies = multiprocessing.get_context("forkserver")
_copies.set_forkserver_preload(["tests.killable"])
_one_at_a_time = threading.Lock()  # each start looks at all the others, and each end can be read once


class Forked:
    """One of them, as far as ``subprocess.Popen`` is asked for by the tests."""

    def __init__(self, target: Callable[..., None], *arguments: Any) -> None:
        self._process = _copies.Process(target=target, args=arguments)
        with _one_at_a_time:
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
