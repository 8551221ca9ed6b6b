"""``otvet password``."""

import fcntl
import os
import pty
import re
import subprocess
import termios
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest

from otvet.storage.database import Database
from otvet.users import audit, tries, users
from otvet.users.users import Role
from tests.browsing import PASSWORD, add_user
from tests.running import PROGRAM, Otvet, command, environment, otvet
from tests.test_connect import read_until, rest


@pytest.fixture
def server(tmp_path: Path) -> Otvet:
    """One that is not running any more."""
    with otvet(tmp_path) as server:
        server.end()
    return server


def test_before_there_is_a_user_it_tells_how_the_first_one_comes_in(tmp_path: Path) -> None:
    assert command(tmp_path, "password").returncode == 1  # no database yet: one line says how to start
    with otvet(tmp_path, OTVET_PUBLIC_URL="https://otvet.example.com") as server:
        told = command(tmp_path, "password", OTVET_PUBLIC_URL="https://otvet.example.com")
        assert told.returncode == 0
        found = re.search(r"https://otvet\.example\.com/set-up\?code=(\S+)", told.stdout)
        assert found
        form = {"code": found[1], "name": "Olga", "password": PASSWORD}
        made = httpx2.post(f"{server.url}/set-up", data=form, headers={"origin": server.url}, trust_env=False)
        assert made.status_code == 303


def test_a_password_is_made_and_shown_once_where_nobody_can_type(tmp_path: Path) -> None:
    with otvet(tmp_path) as server:
        add_user(server)
        add_user(server, "Igor", Role.VIEWER)

        def sign_in(name: str, password: str) -> httpx2.Response:
            form = {"name": name, "password": password}
            return httpx2.post(f"{server.url}/sign-in", data=form, headers={"origin": server.url}, trust_env=False)

        cookies = {name: sign_in(name, PASSWORD).headers["set-cookie"].partition(";")[0] for name in ("Olga", "Igor")}
        database = Database(f"sqlite:///{tmp_path}/conversations.db")
        with database.writes.begin() as connection:
            for _try in range(30):
                tries.failed(connection, "Olga", "127.0.0.1", datetime.now(UTC))
        assert sign_in("Olga", PASSWORD).status_code == 429
        result = command(tmp_path, "password", " olga")
        assert result.returncode == 0
        found = re.search(r"shown this once: (\S+)", result.stdout)
        assert found
        assert sign_in("Olga", found[1]).status_code == 303  # what was tried before is forgotten
        inside = {
            name: httpx2.get(f"{server.url}/me", headers={"cookie": cookie}, trust_env=False).status_code
            for name, cookie in cookies.items()
        }
        assert inside == {"Olga": 303, "Igor": 200}
        entries = database.read_now(lambda connection: audit.listed(connection, 10))
        database.close()
        assert ("otvet password", "password", "user Olga") in [(one.who, one.did, one.what) for one in entries]
        assert found[1].encode() not in (tmp_path / "conversations.db").read_bytes()


@pytest.mark.parametrize("arguments", [(), ("Anna",)])
def test_without_a_name_that_is_known_the_names_are_told(server: Otvet, arguments: tuple[str, ...]) -> None:
    add_user(server)
    add_user(server, "Igor", Role.VIEWER)
    result = command(server.folder, "password", *arguments)
    assert result.returncode in (1, 2)
    (line,) = result.stderr.splitlines()
    assert "Igor, Olga" in line
    assert result.stdout == ""


@pytest.mark.quick
def test_the_only_user_needs_no_name_and_comes_in_again(server: Otvet) -> None:
    add_user(server)
    database = Database(f"sqlite:///{server.folder}/conversations.db")
    with database.writes.begin() as connection:
        connection.execute(users.users.update().values(disabled_at=datetime.now(UTC)))
    result = command(server.folder, "password")
    assert result.returncode == 0
    assert "may sign in again" in result.stdout
    (olga,) = database.read_now(users.listed)
    database.close()
    assert olga.disabled_at is None


@pytest.mark.parametrize("typed", [("battery staple", "battery staple"), ("battery staple", "battery stable")])
def test_at_a_terminal_it_is_typed_twice_and_not_shown(server: Otvet, typed: tuple[str, str]) -> None:
    add_user(server)
    terminal, theirs = pty.openpty()
    asking = subprocess.Popen(
        [str(PROGRAM), "password", "Olga"],
        cwd=server.folder,
        env=environment(server.folder, COLUMNS="200"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    try:
        said = ""
        # The last blank of a question comes when the terminal shows nothing any more.
        for question, answer in (
            ("not shown): ", "short"),
            ("not shown): ", typed[0]),
            ("once more: ", typed[1]),
        ):
            if question not in said:
                said += read_until(terminal, question)
            said = said.partition(question)[2]
            os.write(terminal, answer.encode() + b"\n")
        printed = rest(terminal)
        code = asking.wait(60)
    finally:
        asking.kill()
        os.close(terminal)
    alike = typed[0] == typed[1]
    assert code == (0 if alike else 1)
    assert "battery" not in printed
    database = Database(f"sqlite:///{server.folder}/conversations.db")
    found = database.read_now(lambda connection: users.password_of(connection, "Olga"))
    database.close()
    assert found
    assert users.fits(found[1], typed[0] if alike else PASSWORD)


@pytest.mark.quick
def test_help_has_an_example(tmp_path: Path) -> None:
    assert "otvet password Olga" in command(tmp_path, "password", "--help").stdout
