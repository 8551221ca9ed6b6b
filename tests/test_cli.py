"""The command line: what each command prints and how it exits."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from otvet.cli import app
from otvet.responders.chat.responder import ChatResponder
from otvet.responders.knowledge.responder import KnowledgeResponder
from otvet.responders.manus.responder import ManusResponder
from otvet.responders.template import TemplateResponder
from otvet.staff import wording
from otvet.turns.turn import Writer
from tests.running import cold_command, command, environment, otvet, wait_for
from tests.standins.amocrm import amocrm_standin
from tests.standins.manus import manus_standin
from tests.standins.sender import incoming, outgoing
from tests.test_end_to_end import connected

ROOT = Path(__file__).parent.parent
LEAD = 27754599


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a database of a server that has ended."""
    folder = tmp_path_factory.mktemp("data")
    with otvet(folder) as server:
        server.deliver(outgoing("I am the manager", message_id="m-1"))
        server.deliver(incoming("[bold]How much?[/bold]\x1b[31m", message_id="m-2"))
        server.deliver(incoming("And mine?", lead_id=5, chat_id="other", contact_id=5, message_id="m-3"))
        server.deliver(incoming("", lead_id=6, chat_id="third", message_id="m-4", attachment={"type": "voice"}))
        wait_for(server.settled, "the turns closed")
    return folder


def one_line(text: str) -> str:
    (line,) = text.splitlines()
    return line


def test_view_shows_everything(folder: Path) -> None:
    shown = command(folder, "view")
    assert shown.returncode == 0
    for text in (
        "I am the manager",
        "[bold]How much?[/bold]",
        "And mine?",
        "[voice message]",
        "(the honest template, not sent: amoCRM is not connected)",
        "Usage",
    ):
        assert text in shown.stdout
    assert "\x1b" not in shown.stdout


def test_view_shows_one_deal(folder: Path) -> None:
    shown = command(folder, "view", "5")
    assert "And mine?" in shown.stdout
    assert "How much" not in shown.stdout


def test_view_writes_nothing(folder: Path) -> None:
    before = (folder / "conversations.db").read_bytes()
    command(folder, "view")
    assert (folder / "conversations.db").read_bytes() == before


@pytest.mark.parametrize(("argument", "status"), [("404404", 1), ("abc", 2), ("-5", 2), ("1" * 30, 2)])
def test_view_of_what_is_no_deal_is_one_line(folder: Path, argument: str, status: int) -> None:
    result = command(folder, "view", argument)
    assert result.returncode == status
    assert one_line(result.stderr)


def test_view_without_a_file_is_one_line(tmp_path: Path) -> None:
    result = command(tmp_path, "view")
    assert result.returncode == 1
    assert "make run" in one_line(result.stderr)
    assert list(tmp_path.iterdir()) == []


def test_view_of_another_programs_file_is_one_line(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "conversations.db")) as connection:
        connection.execute("CREATE TABLE songs (id)")
        connection.commit()
    result = command(tmp_path, "view")
    assert result.returncode == 1
    assert one_line(result.stderr)


def test_stats_shows_the_totals(folder: Path) -> None:
    shown = command(folder, "stats")
    assert shown.returncode == 0
    assert "messages saved" in shown.stdout


def test_selftest_passes_and_leaves_nothing(tmp_path: Path) -> None:
    result = command(tmp_path, "selftest")
    assert result.returncode == 0, result.stdout
    assert list(tmp_path.iterdir()) == []


def test_simulate_plays_the_scene(tmp_path: Path) -> None:
    with otvet(tmp_path, OTVET_QUIET_SECONDS="1") as server:
        result = command(tmp_path, "simulate", "--url", server.url, OTVET_QUIET_SECONDS="1")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "✗" not in result.stdout


def test_trial_chats_count_nowhere_and_can_be_erased(tmp_path: Path) -> None:
    with otvet(tmp_path) as server:
        before = server.get("/api/stats")
        command(tmp_path, "simulate", "Есть ли у вас матрасы с латексом?", "--url", server.url)
        server.deliver(incoming("Есть ли у вас матрасы с латексом?"))
        wait_for(server.settled, "the turns closed")
        assert len(server.get("/api/turns")["turns"]) == 2
        now = server.get("/api/stats")
        counted = ("questions", "waiting_for_staff", "conversations", "messages_saved")
        assert [now[name] - before[name] for name in counted] == [1, 1, 1, 1]
        assert len(server.get("/api/turns?state=person")["turns"]) == 1
        assert len(server.get("/api/gaps")["gaps"][0]["lead_ids"]) == 1
        shown = command(tmp_path, "simulate", "--clean")
        assert "1 trial chat erased" in shown.stdout
        assert "0 trial chats erased" in command(tmp_path, "simulate", "--clean").stdout
        assert len(server.messages(27754599, "client")) == 1


def test_the_scene_asks_what_the_folder_answers(tmp_path: Path) -> None:
    (tmp_path / "knowledge").mkdir()
    ours = "# Есть ли у вас парковка?\n\nДа, во дворе.\n"
    (tmp_path / "knowledge" / "ours.md").write_text(ours, encoding="utf-8")
    with otvet(tmp_path) as server:
        shown = command(tmp_path, "simulate", "--url", server.url, OTVET_QUIET_SECONDS="1", COLUMNS="200")
    assert "Да, во дворе." in shown.stdout


def test_simulate_says_one_message_and_shows_the_reply(tmp_path: Path) -> None:
    with otvet(tmp_path) as server:
        result = command(tmp_path, "simulate", "Сколько стоит доставка?", "--lead", "77", "--url", server.url)
        assert [one["sender_type"] for one in server.messages(77)] == ["client", "assistant"]
    assert result.returncode == 0
    assert "the honest template: a trial: not sent" in " ".join(result.stdout.replace("│", " ").split())


def test_every_writer_has_a_name_for_people() -> None:
    names = {one.name for one in (ManusResponder, ChatResponder, KnowledgeResponder, TemplateResponder)}
    assert wording.WRITERS.keys() == names | set(Writer)


def simulated(folder: Path, url: str) -> tuple[int, str]:
    """The exit code and what was shown, in a window in which no sentence is broken."""
    shown = command(folder, "simulate", "Сколько стоит доставка?", "--url", url, "--live", COLUMNS="200")
    return shown.returncode, shown.stdout


def test_simulate_writes_nothing_into_a_connected_account(tmp_path: Path) -> None:
    with amocrm_standin() as amo, otvet(tmp_path, **connected(amo)) as server:
        code, shown = simulated(tmp_path, server.url)
        assert [entry for entry in amo.log if "899999999" in str(entry)] == []
    assert "a trial: not sent" in shown
    assert (code, "✗" in shown) == (0, False)


def test_simulate_does_not_wait_for_a_draft(tmp_path: Path) -> None:
    with otvet(tmp_path, OTVET_MODE="draft") as server:
        code, shown = simulated(tmp_path, server.url)
        (draft,) = server.get("/api/turns?state=draft")["turns"]
    assert f"draft {draft['id']} waits for approval: otvet turns" in shown
    assert (code, "✗" in shown) == (0, False)


def test_simulate_says_why_nobody_is_answered(tmp_path: Path) -> None:
    with otvet(tmp_path, OTVET_STALE_MINUTES="0.000001") as server:
        code, shown = simulated(tmp_path, server.url)
    assert "left to a person: it came too late" in shown
    assert (code, "✗" in shown) == (1, True)


def test_simulate_without_a_server_is_one_line(folder: Path) -> None:
    result = command(folder, "simulate", "--url", "http://127.0.0.1:9")
    assert result.returncode == 1
    assert "make run" in one_line(result.stderr)


def test_simulate_does_not_spend_real_money_unasked(folder: Path) -> None:
    result = command(folder, "simulate", OTVET_MANUS_API_KEY="sk-real", OTVET_MANUS_BASE_URL="https://manus.invalid")
    assert result.returncode == 1
    assert "--live" in one_line(result.stderr)


def test_check_says_what_works(tmp_path: Path) -> None:
    (tmp_path / "knowledge").mkdir()
    with amocrm_standin() as amo, manus_standin() as manus:
        settings = {"OTVET_AMOCRM_BASE_URL": amo.url, "OTVET_MANUS_BASE_URL": manus.url}
        good = command(
            tmp_path, "check", OTVET_AMOCRM_TOKEN=amo.token, OTVET_MANUS_API_KEY=manus.key, OTVET_PORT="9", **settings
        )
        bad = command(
            tmp_path, "check", OTVET_AMOCRM_TOKEN="old", OTVET_MANUS_API_KEY="old", OTVET_PORT="9", **settings
        )
    assert good.returncode == 0, good.stdout
    assert "1300" in good.stdout
    assert bad.returncode == 1
    assert bad.stdout.count("✗") == 2


@pytest.mark.parametrize(
    ("name", "language"),
    [
        pytest.param("check", "", marks=pytest.mark.slow),  # only a process of the shell's looks for it anew
        *(("check", "en"), ("serve", "en"), ("view", "en"), ("connect", "en")),
    ],
)
def test_a_broken_line_of_the_settings_file_is_one_line(name: str, language: str, tmp_path: Path) -> None:
    """Also where the language is looked for in the file, before the settings are read."""
    (tmp_path / ".env").write_text("OTVET_MODE draft\n", "utf-8")
    result = command(tmp_path, name, OTVET_LANG=language)
    assert result.returncode == 1
    assert one_line(result.stderr).startswith(".env")
    assert result.stdout == ""


def test_a_bare_call_lists_the_commands() -> None:
    result = command(ROOT)
    assert result.returncode == 0
    for name in ("serve", "view", "simulate", "selftest", "check", "stats"):
        assert name in result.stdout


@pytest.mark.parametrize("arguments", [["nonsense"], ["view", "--nonsense"], ["view", "1", "2"]])
def test_a_wrong_call_is_one_line_with_the_next_step(arguments: list[str]) -> None:
    result = command(ROOT, *arguments)
    assert result.returncode == 2
    assert "--help" in one_line(result.stderr)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["connect", "--salesbot-id", "0"], "--salesbot-id cannot be used: give a whole number of at least 1"),
        (["gaps", "--days", "0"], "--days cannot be used: give a whole number from 1 to 3650"),
        (["gaps", "--limit", "many"], "--limit cannot be used: give a whole number from 1 to 1000"),
        (["pause", "1", "--minutes", "десять"], "--minutes cannot be used: give a number of at least 1"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_what_it_has_to_be(arguments: list[str], told: str) -> None:
    result = command(ROOT, *arguments)
    assert result.returncode == 2
    assert told in one_line(result.stderr)


HEAVY = {"dbos", "fastapi", "Stemmer", "alembic", "httpx2", "uvicorn"}


@pytest.mark.parametrize("arguments", [["view"], ["--help"]])
def test_nothing_heavy_is_imported_to_view(folder: Path, arguments: list[str]) -> None:
    code = f"import sys; from otvet.cli import main\ntry: main({arguments!r})\nexcept SystemExit: pass\n"
    code += f"print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment(folder), capture_output=True, text=True, check=True
    )
    assert result.stderr == "[]\n"


COMMANDS = (
    "",
    "serve",
    "simulate",
    "connect",
    "pause",
    "resume",
    "retry",
    "mode",
    "replay",
    "forget",
    "approve",
    "done",
)
HARMLESS = ("view", "stats", "turns", "gaps", "check", "ask", "password")


@pytest.mark.slow
@pytest.mark.parametrize("name", [*COMMANDS, *HARMLESS, "reject", "copy-database", "selftest"])
def test_a_command_as_the_shell_starts_it_is_the_one_that_is_tested(folder: Path, name: str) -> None:
    """Elsewhere it is a copy of the loaded program."""
    calls = [[name, "--help"], [name, "Delivery?"] if name == "ask" else [name]][: 1 + (name in HARMLESS)]
    for arguments in calls:
        shown, as_a_copy = (run(folder, *filter(None, arguments)) for run in (cold_command, command))
        told = (shown.returncode, shown.stdout, shown.stderr)
        assert told == (as_a_copy.returncode, as_a_copy.stdout, as_a_copy.stderr)
        assert shown.stdout or shown.stderr


def test_every_command_is_among_these() -> None:
    known = {one.name or one.callback.__name__ for one in app.registered_commands if one.callback}
    assert known == {*COMMANDS, *HARMLESS, "reject", "copy-database", "selftest"} - {""}


SCRIPTS = {
    "amocrm_manus_webhook_with_db.py": "serve",
    "view_database.py": "view",
    "test_webhook_with_db.py": "simulate",
    "simple_webhook_test.py": "selftest",
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_scripts_at_the_root_are_the_commands(script: str, tmp_path: Path) -> None:
    result = subprocess.run(
        ["/usr/bin/env", "python3", str(ROOT / script), "--help"],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"otvet {SCRIPTS[script]}" in result.stdout


def alone(script: str, folder: Path, *python: str) -> subprocess.CompletedProcess[str]:
    """A script at the root of a folder that has no environment of its own."""
    (folder / "tools").mkdir()
    for name in (script, "tools/__init__.py", "tools/environment.py"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    command = [*python, script, "--help"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment(folder))


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_runs_with_any_python_that_has_otvet(script: str, tmp_path: Path) -> None:
    result = alone(script, tmp_path, sys.executable)
    assert (result.returncode, result.stderr) == (0, "")
    assert f"otvet {SCRIPTS[script]}" in result.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_without_an_environment_tells_how_to_get_it(script: str, tmp_path: Path) -> None:
    result = alone(script, tmp_path, sys.executable, "-S")
    assert result.returncode == 1
    assert "make run" in one_line(result.stderr)
