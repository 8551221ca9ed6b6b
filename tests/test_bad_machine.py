"""A machine that lets the service down: a full disk, a locked database, a silent network, a clock that jumps.

Whatever got a 200 is answered once, and what could not be stored got none. The stand-in amoCRM is the judge, as in
``test_kill_matrix``; the service is a real process, except for the clock, which the test sets.
"""

import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import count
from pathlib import Path

import httpx2
import pytest
from sqlalchemy.engine import make_url

from otvet.answering.answering import Answering
from otvet.storage.database import Database
from otvet.turns.turn import Reason, State
from tests.running import Otvet, wait_for
from tests.standins.amocrm import AmoStandin, amocrm_standin
from tests.test_answer import LEAD, Stage
from tests.test_end_to_end import connected
from tests.test_kill_matrix import Deal, open_turns, wrongs

DISK_BYTES = 16 * 1024 * 1024
REFUSED_AT_LEAST = 3
A_DAY = 86_400.0

Fill = Callable[[Otvet], Callable[[], None]]
"""Makes the disk full for a server; what it gives makes room again."""


class Sender:
    """Delivers messages of several deals as amoCRM does: what got no 200 is sent again, later and in its order."""

    def __init__(self, server: Otvet) -> None:
        self.deals = [Deal(9000 + number) for number in range(6)]
        self.refused: list[int] = []
        self._server = server
        self._waiting: list[tuple[Deal, str]] = []
        self._numbers = count(1)

    def say(self) -> None:
        """The next message, of one deal after the other."""
        number = next(self._numbers)
        deal = self.deals[number % len(self.deals)]
        self._send(deal, f"{deal.lead}-{number}")

    def repeat(self) -> None:
        """Send again what was refused."""
        waiting, self._waiting = self._waiting, []
        for deal, message in waiting:
            self._send(deal, message)

    def _send(self, deal: Deal, message: str) -> None:
        earlier = [one for one, _message in self._waiting if one is deal]
        answer = None if earlier else self._server.deliver(deal.body(message))
        if answer is not None and answer.status_code == 200:
            deal.acknowledged.append(message)
            return
        if answer is not None:
            self.refused.append(answer.status_code)
        self._waiting.append((deal, message))

    def until_refused(self) -> None:
        """Speak until several were refused."""
        enough = len(self.refused) + REFUSED_AT_LEAST
        for _deal in self.deals:
            self.say()
        while len(self.refused) < enough:
            self.repeat()


def at_rest(url: str, deals: Sequence[Deal]) -> bool:
    with closing(Database(url)) as database:
        return database.read_now(lambda connection: open_turns(connection, [deal.lead for deal in deals])) == 0


def judged(url: str, deals: Sequence[Deal], amo: AmoStandin) -> list[str]:
    """What is wrong with the deals when all has come to rest."""
    wait_for(lambda: at_rest(url, deals), "an end of all turns")
    with closing(Database(url)) as database, database.reads.connect() as connection:
        return [wrong for deal in deals for wrong in wrongs(connection, deal, amo)]


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of its own; only root may have one."""
    disk = folder / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if not made or made.returncode:
        pytest.skip("a disk can only be mounted by root")
    try:
        yield disk
    finally:
        subprocess.run([str(shutil.which("umount")), "-l", str(disk)], check=True)


def fill_disk(server: Otvet) -> Callable[[], None]:
    ballast = server.folder / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    return ballast.unlink


def limit_files(server: Otvet) -> Callable[[], None]:
    """No file of the process may grow any more: for its writes the same as a full disk, and not only for root."""
    largest = min(path.stat().st_size for path in server.folder.glob("*.db-wal"))
    before = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (largest, before[1]))
    return lambda: resource.prlimit(server.pid, resource.RLIMIT_FSIZE, before) and None


@pytest.fixture
def amo() -> Iterator[AmoStandin]:
    with amocrm_standin() as standin:
        standin.any_lead = True
        yield standin


@pytest.mark.slow
@pytest.mark.parametrize(("on_a_disk_of_its_own", "fill"), [(True, fill_disk), (False, limit_files)])
def test_a_full_disk_loses_nothing(tmp_path: Path, amo: AmoStandin, *, on_a_disk_of_its_own: bool, fill: Fill) -> None:
    with ExitStack() as stack:
        folder = stack.enter_context(small_disk(tmp_path)) if on_a_disk_of_its_own else tmp_path / "data"
        folder.mkdir(exist_ok=True)
        server = Otvet(folder, **connected(amo))
        server.log = tmp_path / "otvet.log"
        server.start()
        stack.callback(server.end, signal.SIGKILL)
        url = f"sqlite:///{folder / 'conversations.db'}"
        sender = Sender(server)
        for _message in sender.deals:
            sender.say()
        make_room = fill(server)  # in the middle of the work
        sender.until_refused()
        assert set(sender.refused) == {503}
        make_room()
        sender.repeat()
        assert judged(url, sender.deals, amo) == []
        assert server.get("/ready")["status"] == "ready"


@pytest.mark.slow
def test_a_database_that_another_program_locks_for_seconds_loses_nothing(tmp_path: Path, amo: AmoStandin) -> None:
    with ExitStack() as stack:
        server = Otvet(tmp_path, **connected(amo)).start()
        stack.callback(server.end, signal.SIGKILL)
        sender = Sender(server)
        for _message in sender.deals:
            sender.say()
        with ExitStack() as locks:
            for name in ("conversations.db", "conversations-workflows.db"):
                other = locks.enter_context(closing(sqlite3.connect(tmp_path / name, 30, isolation_level=None)))
                other.execute("BEGIN IMMEDIATE")
            sender.until_refused()  # each of them after more than a second
        assert set(sender.refused) == {503}
        sender.repeat()
        assert judged(f"sqlite:///{tmp_path / 'conversations.db'}", sender.deals, amo) == []


class Network:
    """What lies between a server and PostgreSQL. ``silent``: nothing comes through any more, and nothing is refused."""

    def __init__(self, url: str) -> None:
        there = make_url(url)
        (self._socket,) = Path(str(there.query["host"])).glob(".s.PGSQL.*[0-9]")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = ThreadPoolExecutor(100)
        self._threads.submit(self._accept)
        self._open = threading.Event()
        self._open.set()
        here = there.set(host="127.0.0.1", port=self._listener.getsockname()[1], query={})
        self.url = here.render_as_string(hide_password=False)

    @contextmanager
    def silent(self) -> Iterator[None]:
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads.shutdown()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _address = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(str(self._socket))
                self._threads.submit(self._carry, near, far)
                self._threads.submit(self._carry, far, near)

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._open.wait()
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@pytest.mark.slow
def test_postgresql_that_goes_silent_is_told_and_loses_nothing(
    tmp_path: Path, amo: AmoStandin, postgres_url: str
) -> None:
    with ExitStack() as stack:
        network = Network(postgres_url)
        stack.callback(network.close)
        server = Otvet(tmp_path, OTVET_DATABASE_URL=network.url, **connected(amo)).start()
        stack.callback(server.end, signal.SIGKILL)
        sender = Sender(server)
        for _message in sender.deals:
            sender.say()
        with network.silent():
            sender.say()  # gets an answer all the same
            asked = httpx2.get(f"{server.url}/ready", trust_env=False)
        assert sender.refused == [503]
        assert (asked.status_code, asked.json()["database_writable"]) == (503, False)
        sender.repeat()
        assert judged(postgres_url, sender.deals, amo) == []
        assert server.get("/ready")["status"] == "ready"


# A clock that jumps


@pytest.mark.parametrize("seconds", [A_DAY, -A_DAY], ids=["forward", "back"])
@pytest.mark.parametrize("moment", range(8))
@pytest.mark.parametrize("drop", ["before", "after"])
def test_a_clock_that_jumps_loses_and_doubles_nothing(
    database: Database, amo: AmoStandin, moment: int, seconds: float, drop: str
) -> None:
    """It jumps at the first, the second, the third moment of waiting and so on, and back again at the next one."""
    stage = Stage(database, amo=amo)
    amo.fault(path="/api/v4/leads/*/notes", method="POST", drop=drop)
    (turn,) = stage.client_writes("first")
    sleeps = count()

    def jump() -> None:
        number = next(sleeps)
        stage.clock.jump({moment: seconds, moment + 1: -seconds}.get(number, 0))

    stage.clock.on_sleep = jump

    async def play(answering: Answering) -> None:
        ended = await answering.answer(turn)
        left = stage.turn(turn).reason == Reason.STALE  # by the clock it was said yesterday: a person sees it
        assert (ended, len(amo.notes(LEAD))) == ((State.HANDED, 0) if left else (State.SENT, 1))
        while next(sleeps) <= moment + 1:
            stage.clock.on_sleep()
        (later,) = stage.client_writes("second")
        assert await answering.answer(later) == State.SENT

    began = stage.clock.monotonic()
    stage.run(play)
    assert stage.clock.monotonic() - began < 120  # nobody waits a day for a clock
    assert len(amo.notes(LEAD)) == len(stage.said())
