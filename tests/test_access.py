"""The API opens to tokens, each as far as its scope, and to nobody for being on this machine."""

import ast
import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import pytest

import otvet
from otvet.storage.database import Database
from otvet.users import api_tokens, audit, token_file
from otvet.users.api_tokens import Scope
from otvet.users.token_file import TokenFile
from otvet.web.pages.audit import DEEDS
from tests.clocks import FakeClock
from tests.in_process import Inside, inside
from tests.running import command, wait_for
from tests.running import otvet as running
from tests.standins.sender import incoming

SOURCE = Path(otvet.__file__).parent
PROTECTED = ("/api/stats", "/metrics", "/api/conversations", "/api/turns", "/api/gaps")
Play = Callable[[Inside, FakeClock], Awaitable[None]]


def play(database: Database, function: Play, **settings: object) -> None:
    async def run() -> None:
        clock = FakeClock()
        async with inside(database.url, clock, **settings) as served:
            await function(served, clock)

    asyncio.run(run())


async def make(served: Inside, scope: Scope, name: str = "a program") -> str:
    now = served.service.clock.now()
    return await served.service.database.write(lambda connection: api_tokens.make(connection, name, scope, "Olga", now))


@contextmanager
def relay(port: int) -> Iterator[int]:
    """What a proxy on this machine looks like that adds no header: bytes go on as they come."""

    def pass_on(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                outside, _address = listener.accept()
                inner = socket.create_connection(("127.0.0.1", port))
                for pair in ((outside, inner), (inner, outside)):
                    threading.Thread(target=pass_on, args=pair, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.slow
def test_a_proxy_beside_otvet_opens_nothing_and_a_token_does(tmp_path: Path) -> None:
    with (
        running(tmp_path, OTVET_API_TOKEN="token-of-the-api") as server,
        relay(int(server.url.rpartition(":")[2])) as port,
    ):
        server.deliver(incoming("hello"))
        for path in PROTECTED:
            for host in ("localhost", "127.0.0.1", "otvet.example.com"):
                for url in (server.url, f"http://127.0.0.1:{port}"):
                    answer = httpx2.get(f"{url}{path}", headers={"Host": host}, trust_env=False)
                    assert answer.status_code == 401
                    assert answer.headers["www-authenticate"] == "Bearer"
            good = {"Authorization": "Bearer token-of-the-api", "X-Forwarded-For": "203.0.113.7"}
            assert httpx2.get(f"http://127.0.0.1:{port}{path}", headers=good, trust_env=False).status_code == 200
        for path in ("/health", "/ready"):
            assert httpx2.get(f"http://127.0.0.1:{port}{path}", trust_env=False).status_code == 200


@pytest.mark.slow
def test_each_start_of_the_server_writes_a_token_that_only_its_user_may_read(tmp_path: Path) -> None:
    file = tmp_path / "conversations.token"
    with running(tmp_path) as server:
        assert file.stat().st_mode & 0o777 == 0o600
        first = server.token
        assert server.api("GET", "/api/stats").status_code == 200
        assert first.encode() not in (tmp_path / "conversations.db").read_bytes()
        assert first not in server.log.read_text()
    with running(tmp_path) as server:
        assert server.token != first
        old = server.api("GET", "/api/stats", headers={"Authorization": f"Bearer {first}"})
        assert old.status_code == 401
        assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_a_command_finds_its_token_and_says_so_if_there_is_none(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        asked = ("simulate", "Сколько стоит доставка?", "--url", server.url)
        assert command(tmp_path, *asked).returncode == 0
        (tmp_path / "conversations.token").rename(tmp_path / "elsewhere")
        refused = command(tmp_path, *asked)
        assert refused.returncode == 1
        assert "conversations.token" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1


def test_the_token_of_this_machine_is_not_sent_to_another(tmp_path: Path) -> None:
    from otvet.commands.simulate import Server
    from otvet.settings.loading import load_settings

    settings = load_settings(database_url=f"sqlite:///{tmp_path}/conversations.db")
    token_file.write(settings.token_file, "otvet_token")
    headers = {url: Server(settings, "secret", url)._http.headers for url in (settings.local_url, "https://a.example")}
    assert headers[settings.local_url]["authorization"] == "Bearer otvet_token"
    assert "authorization" not in headers["https://a.example"]


def test_processes_of_one_folder_share_the_file(tmp_path: Path) -> None:
    file = tmp_path / "otvet.token"
    one, two = TokenFile(file), TokenFile(file)
    one.renew()
    first = token_file.read(file) or ""
    assert one.holds(first)
    two.renew()
    second = token_file.read(file) or ""
    assert (one.holds(second), two.holds(second)) == (True, True)
    assert (one.holds(first), two.holds(first)) == (False, False)
    file.unlink()
    assert not one.holds(second)
    assert not one.holds("")


def test_without_a_place_for_the_file_the_service_runs_and_nothing_opens(tmp_path: Path) -> None:
    file = tmp_path / "missing" / "otvet.token"
    nowhere = TokenFile(file)
    nowhere.renew()
    file.parent.mkdir()
    token_file.write(file, "put there by somebody")
    assert not nowhere.holds("put there by somebody")
    assert not nowhere.holds("")


def test_a_file_that_others_could_read_or_a_link_is_replaced(tmp_path: Path) -> None:
    file, other = tmp_path / "otvet.token", tmp_path / "other"
    other.write_text("something else")
    file.symlink_to(other)
    TokenFile(file).renew()
    assert other.read_text() == "something else"
    assert not file.is_symlink()
    file.chmod(0o644)
    TokenFile(file).renew()
    assert file.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "otvet.token"]


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer otvet_",
        "Bearer otvet_wrong",
        "Bearer токен",
        "Basic b3R2ZXQ6b3R2ZXQ=",
        "Bearer token-of-the-api-",
        "Bearer OTVET_TOKEN",
        "{token}",
        "Token {token}",
        "Bearer {token} {token}",
    ],
)
def test_what_is_no_token(database: Database, header: str) -> None:
    async def ask(served: Inside, clock: FakeClock) -> None:
        token = await make(served, Scope.ADMIN)
        sent = {"authorization": header.format(token=token).encode()}
        async with served.browser() as http:
            assert (await http.get("/api/stats", headers=sent)).status_code == 401

    play(database, ask, api_token="token-of-the-api")


def test_many_wrong_tokens_lock_nobody_out(database: Database) -> None:
    async def ask(served: Inside, clock: FakeClock) -> None:
        token = await make(served, Scope.READ)
        async with served.browser() as http:
            for number in range(50):
                wrong = {"authorization": f"Bearer otvet_{number}"}
                assert (await http.get("/api/stats", headers=wrong)).status_code == 401
            good = {"authorization": f"bearer {token}"}
            assert (await http.get("/api/stats", headers=good)).status_code == 200

    play(database, ask)


def test_a_revoked_token_opens_nothing_and_its_use_is_remembered(database: Database) -> None:
    async def ask(served: Inside, clock: FakeClock) -> None:
        good = {"authorization": f"Bearer {await make(served, Scope.READ)}"}
        async with served.browser() as http:
            began = clock.now()
            for _time in range(3):
                assert (await http.get("/api/stats", headers=good)).status_code == 200
                clock.advance(100)
            (token,) = await served.service.database.read(api_tokens.listed)
            assert token.used_at == began  # to some minutes: not a write with each request
            await served.service.database.write(lambda connection: api_tokens.revoke(connection, token.id))
            assert (await http.get("/api/stats", headers=good)).status_code == 401

    play(database, ask)


def test_what_a_program_changes_stands_in_the_audit_under_its_tokens_name(tmp_path: Path) -> None:
    with running(tmp_path, OTVET_API_TOKEN="token-of-the-api") as server:
        server.deliver(incoming("hello", lead_id=77))
        wait_for(server.settled, "the turn closed")
        assert server.api("POST", "/api/conversations/77/mode?mode=draft").status_code == 200
        mine = {"Authorization": "Bearer token-of-the-api"}
        assert server.api("POST", "/api/conversations/77/pause", headers=mine).status_code == 200
        assert server.api("POST", "/api/conversations/78/pause", headers=mine).status_code == 404
        assert server.api("POST", "/api/turns/1/approve").status_code == 409
        assert server.api("DELETE", "/api/clients?lead_id=77").status_code == 200
        database = Database(f"sqlite:///{tmp_path}/conversations.db")
        entries = database.read_now(lambda connection: audit.listed(connection, 10))
        database.close()
        assert [(one.who, one.did, one.what) for one in reversed(entries)] == [
            ("otvet", "mode", "deal 77"),
            ("OTVET_API_TOKEN", "pause", "deal 77"),
            ("otvet", "erase", "deal 77"),
        ]


def test_the_audit_has_a_sentence_for_each_word_that_is_noted() -> None:
    noted = {word for file in SOURCE.rglob("*.py") for word in words(ast.parse(file.read_text()))}
    assert {"reject", "sign-in", "erase", "password"} <= noted
    assert sorted(noted - DEEDS.keys()) == []


def words(module: ast.Module) -> Iterator[str]:
    """The words that a file notes in the audit, where they stand in the call itself."""
    for call in ast.walk(module):
        if not isinstance(call, ast.Call) or len(call.args) < 3:
            continue
        name = ast.unparse(call.func)
        did = call.args[2] if name in ("change", "signed.change", "audit.note") else None
        if isinstance(did, ast.Constant):
            yield str(did.value)
