"""``otvet serve`` as a process: what it prints, keeps, refuses, and how it ends."""

import contextlib
import errno
import json
import os
import queue
import re
import signal
import socket
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI

from otvet.app import service
from otvet.app.service import FINISH_SECONDS
from otvet.commands import serve
from otvet.errors import DatabaseUnfit, UsageError
from otvet.storage import single_instance
from tests import forked
from tests.running import SECRET, Cold, Otvet, command, otvet, wait_for
from tests.standins.amocrm import amocrm_standin
from tests.standins.sender import incoming
from tests.test_end_to_end import LEAD, connected


def test_it_prints_the_webhooks_address_and_what_is_missing(tmp_path: Path) -> None:
    server = Cold(tmp_path)
    try:
        printed = server.start().log.read_text()
    finally:
        server.kill()
    assert server.webhook in printed
    assert "OTVET_AMOCRM_TOKEN" in printed
    assert "OTVET_MANUS_API_KEY" in printed


@pytest.mark.quick
def test_a_made_secret_is_kept_over_a_restart(tmp_path: Path) -> None:
    addresses = []
    for _start in range(2):
        with otvet(tmp_path, OTVET_WEBHOOK_SECRET="") as server:
            found = re.search(r"/webhook/amocrm/(\S+)", server.log.read_text())
            assert found
            addresses.append(found[1])
    assert addresses[0] == addresses[1]
    assert len(addresses[0]) >= 32


@pytest.mark.quick
def test_a_repeated_delivery_changes_nothing_after_a_restart(tmp_path: Path) -> None:
    for saved in (1, 0):
        with otvet(tmp_path) as server:
            assert server.deliver(incoming("hello")).json()["saved"] == saved
            wait_for(server.settled, "the turn closed")
            assert len(server.messages(27754599)) == 2


@pytest.mark.quick
def test_sigterm_ends_it_in_peace_and_leaves_one_whole_file(tmp_path: Path) -> None:
    server = Otvet(tmp_path).start()
    server.deliver(incoming("hello"))
    assert server.end(signal.SIGTERM) == 0
    assert not (tmp_path / "conversations.db-wal").exists()
    with closing(sqlite3.connect(tmp_path / "conversations.db")) as connection:
        kept = connection.execute("SELECT count(*) FROM messages WHERE sender_type = 'client'").fetchone()
    assert kept == (1,)


def run_hurried(*arguments: Any) -> None:
    """A server with less time for a stop."""
    serve.GRACE_SECONDS, service.FINISH_SECONDS = 0.5, 1
    forked.run(*arguments)


class Hurried(Otvet):
    run = staticmethod(run_hurried)


def test_sigterm_has_one_deadline_for_all_that_is_under_way(tmp_path: Path) -> None:
    """A delivery that never ends, and a note that amoCRM does not answer."""
    assert serve.GRACE_SECONDS < FINISH_SECONDS < serve.STOP_SECONDS < 20
    with amocrm_standin() as amo:
        amo.any_lead = True
        amo.fault(path="/api/v4/leads/*/notes", method="POST", delay=30)
        server = Hurried(tmp_path, **connected(amo)).start()
        with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1]))) as stuck:
            stuck.sendall(f"POST /webhook/amocrm/{SECRET} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n-".encode())
            server.deliver(incoming("hello"))
            wait_for(lambda: any(one["method"] == "POST" for one in amo.log), "a note on its way")
            begun = time.monotonic()
            assert server.end(signal.SIGTERM) == 0  # in order: the turn is nobody's now
            assert 1 <= time.monotonic() - begun < serve.STOP_SECONDS
    with closing(sqlite3.connect(tmp_path / "conversations.db")) as connection:
        assert connection.execute("SELECT state, owner FROM turns").fetchall() == [("sending", None)]
        assert connection.execute("SELECT * FROM processes").fetchall() == []


def test_sigterm_lets_a_note_on_its_way_arrive_and_marks_it_as_sent(tmp_path: Path) -> None:
    with amocrm_standin() as amo:
        amo.any_lead = True
        amo.fault(path="/api/v4/leads/*/notes", method="POST", delay=1)
        server = Otvet(tmp_path, **connected(amo)).start()
        server.deliver(incoming("hello"))
        wait_for(lambda: any(one["method"] == "POST" for one in amo.log), "a note on its way")
        assert server.end(signal.SIGTERM) == 0
        assert len(amo.notes(LEAD)) == 1
    with closing(sqlite3.connect(tmp_path / "conversations.db")) as connection:
        assert connection.execute("SELECT state FROM turns").fetchall() == [("sent",)]


def test_what_hangs_for_good_is_ended_by_force(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = queue.SimpleQueue[int]()
    monkeypatch.setattr(serve, "STOP_SECONDS", 0.01)
    monkeypatch.setattr(os, "_exit", ended.put)
    clock = SimpleNamespace(monotonic=lambda: 5.0)
    stopped = SimpleNamespace(clock=clock, told_to_stop_at=None, pulse=SimpleNamespace(end=lambda: None))
    server = serve._Server(uvicorn.Config(FastAPI()), stopped)  # type: ignore[arg-type]
    for _signal in range(2):
        server.handle_exit(signal.SIGTERM, None)
    assert (ended.get(timeout=10), stopped.told_to_stop_at, server.should_exit) == (1, 5.0, True)
    with pytest.raises(queue.Empty):
        ended.get(timeout=0.1)


def test_a_running_servers_file_is_whole_when_it_is_copied(tmp_path: Path) -> None:
    def copied() -> bool:
        copy = tmp_path / "copy.db"
        copy.write_bytes((tmp_path / "conversations.db").read_bytes())
        with closing(sqlite3.connect(copy)) as connection, contextlib.suppress(sqlite3.OperationalError):
            return bool(connection.execute("SELECT count(*) FROM messages").fetchone() == (2,))
        return False  # a table was not there yet

    with otvet(tmp_path) as server:
        server.deliver(incoming("hello"))
        wait_for(server.settled, "the turn closed")
        wait_for(copied, "a copy with both messages in it")


def test_a_second_server_on_the_same_file_does_not_start(tmp_path: Path) -> None:
    with otvet(tmp_path):
        second = command(tmp_path, "serve")
    assert second.returncode == 1
    (line,) = second.stderr.splitlines()
    assert "conversations.db" in line


def test_a_file_has_one_lock_by_whichever_name_it_is_called(tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "conversations.db")
    with single_instance.lock(tmp_path / "conversations.db"), pytest.raises(DatabaseUnfit, match="another Otvet"):
        single_instance.lock(link)


def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = command(tmp_path, "serve", OTVET_PORT=port)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert f"another program listens on 127.0.0.1:{port}" in line
    assert not (tmp_path / "conversations.db").exists()


@pytest.mark.parametrize("host", ["привет", "192.0.2.1", "::zz"])
def test_an_address_that_is_not_the_machines_is_told_of_the_setting(tmp_path: Path, host: str) -> None:
    result = command(tmp_path, "serve", OTVET_HOST=host)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"OTVET_HOST: this machine has no address {host}")


def test_a_port_that_is_not_permitted_is_told_in_our_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_socket: socket.socket, _address: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(UsageError, match="is not permitted; give an OTVET_PORT from 1024 on"):
        serve._listen("127.0.0.1", 80)


def test_a_bad_setting_is_one_line_that_names_it(tmp_path: Path) -> None:
    result = command(tmp_path, "serve", OTVET_QUIET_SECONDS="soon")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("OTVET_QUIET_SECONDS:")


def test_an_unreachable_database_is_told_by_the_address_that_was_given(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as once:
        address = f"127.0.0.1:{once.getsockname()[1]}/otvet"  # nobody listens there when the block is left
    result = command(tmp_path, "serve", OTVET_DATABASE_URL=f"postgresql://user:sk-secret@{address}")
    assert result.returncode == 1
    assert f"the database postgresql://user:***@{address} cannot be opened" in result.stderr
    assert "keepalives" not in result.stderr
    assert "sk-secret" not in result.stderr


@pytest.mark.quick
def test_the_files_with_clients_words_are_their_owners_alone(tmp_path: Path) -> None:
    with otvet(tmp_path) as server:
        server.deliver(incoming("hello"))
        files = [path for path in tmp_path.glob("conversations*") if path.suffix != ".lock"]
        modes = {path.name: path.stat().st_mode & 0o777 for path in files}
    assert {"conversations.db", "conversations.db-wal", "conversations.db-shm", "conversations-workflows.db"} <= set(
        modes
    )
    assert set(modes.values()) == {0o600}


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "conversations.db"
    file.write_bytes(b"this is a letter, not a database" * 100)
    before = file.read_bytes()
    result = command(tmp_path, "serve")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "conversations.db" in line
    assert file.read_bytes() == before


@pytest.mark.quick
def test_no_secret_reaches_the_log(tmp_path: Path) -> None:
    secrets = {
        "OTVET_API_TOKEN": "secret-api-token",
        "OTVET_AMOCRM_TOKEN": "secret-amocrm-token",
        "OTVET_AMOCRM_BASE_URL": "http://127.0.0.1:9",  # nobody is there: the sending fails
        "OTVET_MANUS_API_KEY": "secret-manus-key",
        "OTVET_MANUS_BASE_URL": "http://127.0.0.1:9",
        "OTVET_REPLY_BUDGET_SECONDS": "1",
    }
    with otvet(tmp_path, OTVET_LOG_FORMAT="json", **secrets) as server:
        server.deliver(incoming("hello"))
        httpx2.get(f"{server.webhook}x", trust_env=False)
        wait_for(lambda: "not delivered" in server.log.read_text(), "the failure in the log")
        log = server.log.read_text()
    entries = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert entries
    written = json.dumps(entries)
    for secret in (*secrets.values(), SECRET):
        assert not secret.startswith("secret") or secret not in written
    assert "hello" not in written
