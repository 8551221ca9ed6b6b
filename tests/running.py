"""A real Otvet in a process of its own: started, asked, killed."""

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx2

from otvet.settings.settings import Settings
from otvet.turns.turn import OPEN
from otvet.users import token_file
from tests import databases, forked
from tests.forked import Forked
from tests.standins.sender import headers

Value = TypeVar("Value")

PROGRAM = Path(sys.executable).with_name("otvet")
SECRET = "secret-of-the-tests"
PATIENCE_SECONDS = 60
COMMAND_SECONDS = 120
OPEN_STATES = tuple(map(str, OPEN))


def wait_for(look: Callable[[], Value], what: str, patience: float = PATIENCE_SECONDS) -> Value:
    """Look until there is something to see; fails with ``what`` was missing."""
    begun = time.monotonic()
    while not (value := look()):
        waited = time.monotonic() - begun
        if waited > patience:
            raise AssertionError(f"waited {patience} s in vain: {what}")
        # There is nothing to be told by, and each look takes time from the other process: more and more rarely.
        time.sleep(min(0.02 + waited / 10, 0.2))
    return value


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """The settings of a test and nothing of the developer's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTVET_")}
    ours = {
        "OTVET_LANG": "en",
        "OTVET_PORT": "0",
        "OTVET_WEBHOOK_SECRET": SECRET,
        "OTVET_QUIET_SECONDS": "0.2",
        "OTVET_STALE_MINUTES": "100000000",  # the samples are of years ago
        "OTVET_KNOWLEDGE_DIR": str(folder / "knowledge"),
        "NO_COLOR": "1",
    }
    return kept | ours | settings


def as_a_copy(settings: Mapping[str, str]) -> bool:
    """Whether a copy of the loaded program will do: its texts are English, and were read before the settings."""
    return settings.get("OTVET_LANG", "en") == "en"


class Otvet:
    """``otvet serve`` in ``folder``; the output is in ``folder/otvet.log``.

    It is a copy of the loaded program (see ``forked``) on prepared databases. With ``program`` it is a process like
    any other, which makes its databases itself.
    """

    program: Sequence[str] | None = None
    run: Callable[..., None] = staticmethod(forked.run)

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.environment = environment(folder, **settings)
        self.log = folder / "otvet.log"
        self.url = ""
        self._process: subprocess.Popen[bytes] | Forked | None = None

    def start(self) -> Self:
        self._process = self._begin()
        wait_for(self._ready, f"a ready Otvet; its log: {self.log}")
        return self

    def _begin(self) -> "subprocess.Popen[bytes] | Forked":
        if self.program is None:
            if "OTVET_DATABASE_URL" not in self.environment:
                _prepare(self.folder)
            self.log.write_bytes(b"")
            output = (os.devnull, str(self.log), str(self.log))
            return Forked(self.run, ["serve"], str(self.folder), self.environment, *output)
        with self.log.open("wb") as output:
            return subprocess.Popen(
                self.program, cwd=self.folder, env=self.environment, stdout=output, stderr=subprocess.STDOUT
            )

    def _ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"otvet serve ended with {self._process.returncode}:\n{self.log.read_text()}")
        if found := re.search(r"http://127\.0\.0\.1:\d+", self.log.read_text()):
            self.url = found[0]
            try:
                return httpx2.get(f"{self.url}/ready", trust_env=False).status_code == 200
            except httpx2.TransportError:
                return False
        return False

    @property
    def webhook(self) -> str:
        return f"{self.url}/webhook/amocrm/{SECRET}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL: no handler runs, nothing is flushed."""
        self.end(signal.SIGKILL)

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        assert self._process is not None
        self._process.send_signal(how)
        return self._process.wait(30)

    def deliver(self, body: bytes) -> httpx2.Response:
        return httpx2.post(self.webhook, content=body, headers=headers("1"), trust_env=False)

    @property
    def token(self) -> str:
        """What opens the API on this machine; each start has another."""
        url = self.environment.get("OTVET_DATABASE_URL", "sqlite:///conversations.db")
        return token_file.read(self.folder / Settings.model_construct(database_url=url).token_file) or ""

    def api(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """The answer of the API, with all rights."""
        headers = {"Authorization": f"Bearer {self.token}"} | options.pop("headers", {})
        return httpx2.request(method, f"{self.url}{path}", headers=headers, trust_env=False, **options)

    def get(self, path: str, **options: Any) -> Any:
        """The JSON at ``path``; None for 404."""
        answer = self.api("GET", path, **options)
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        return answer.json()

    def messages(self, lead_id: int, sender: str | None = None) -> list[dict[str, Any]]:
        found = self.get(f"/api/conversations/{lead_id}/messages?limit=200") or {"messages": []}
        return [one for one in found["messages"] if sender in (None, one["sender_type"])]

    def settled(self) -> bool:
        """Whether no turn is open. Tests ask it again and again: a look into the file costs the server nothing."""
        if "OTVET_DATABASE_URL" in self.environment:
            return bool(self.get("/api/stats")["turns_open"] == 0)
        with closing(sqlite3.connect(self.folder / "conversations.db", timeout=PATIENCE_SECONDS)) as connection:
            (count,) = connection.execute(f"SELECT count(*) FROM turns WHERE state IN {OPEN_STATES}").fetchone()
            return bool(count == 0)


@contextmanager
def otvet(folder: Path, **settings: str) -> Iterator[Otvet]:
    """A running Otvet; ended with the block, however that ends."""
    server = Otvet(folder, **settings)
    try:
        yield server.start()
    finally:
        if server._process and server._process.poll() is None:
            server.kill()


_one_at_a_time = threading.Lock()


def _prepare(folder: Path) -> None:
    """Put copies of prepared databases where the server would make them at its first start."""
    file = folder / "conversations.db"
    if file.exists() or not folder.is_dir():
        return
    with _one_at_a_time:
        workflows = _workflow_file()
        databases.put_prepared(folder)
    shutil.copy(workflows, file.with_stem("conversations-workflows"))


@cache
def _workflow_file() -> Path:
    """What the workflow engine makes of its file at the first start of a server, and no job that has run."""
    folder = databases.own_folder()
    server = Otvet(folder, OTVET_DATABASE_URL="sqlite:///conversations.db").start()
    server.end()
    file = folder / "conversations-workflows.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("DELETE FROM workflow_status")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # all of it into the file itself, which is copied
    return file


class Cold(Otvet):
    """One that the shell could have started."""

    program = (str(PROGRAM), "serve")


def command(folder: Path, *arguments: str, typed: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    """``otvet ARGUMENTS`` to its end, in a copy of the loaded program; ``typed`` is what somebody types into it."""
    if not as_a_copy(settings):
        return cold_command(folder, *arguments, typed=typed, **settings)
    with begun(folder, *arguments, typed=typed, **settings) as process:
        code = process.wait()
        return subprocess.CompletedProcess(arguments, code, process.printed(), process.printed("stderr"))


class Begun:
    """``otvet ARGUMENTS`` in a copy of the loaded program; what it reads and prints is in files of ``own``."""

    def __init__(self, folder: Path, own: Path, arguments: Sequence[str], settings: Mapping[str, str]) -> None:
        self._own = own
        files = (str(own / name) for name in ("stdin", "stdout", "stderr"))
        self._process = Forked(forked.run, arguments, str(folder), environment(folder, **settings), *files)

    def printed(self, name: str = "stdout") -> str:
        file = self._own / name
        return file.read_text("utf-8") if file.exists() else ""

    def wait(self) -> int:
        return self._process.wait(COMMAND_SECONDS)

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)


@contextmanager
def begun(folder: Path, *arguments: str, typed: str = "", **settings: str) -> Iterator[Begun]:
    """A command that may be looked at before its end; ended with the block."""
    with tempfile.TemporaryDirectory(prefix="otvet-command-") as own:
        Path(own, "stdin").write_text(typed, "utf-8")
        process = Begun(folder, Path(own), arguments, settings)
        try:
            yield process
        finally:
            process.kill()


def cold_command(folder: Path, *arguments: str, typed: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    """``otvet ARGUMENTS`` to its end as the shell starts it."""
    return subprocess.run(
        [str(PROGRAM), *arguments],
        cwd=folder,
        env=environment(folder, **settings),
        input=typed,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
