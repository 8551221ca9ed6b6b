"""What ``otvet check`` says of the settings and the files on this machine; nothing outside is connected."""

import subprocess
from pathlib import Path

import pytest

from tests.running import command


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "knowledge").mkdir()
    (tmp_path / "knowledge" / "delivery.md").write_text("# Delivery\n\n300 roubles.\n", "utf-8")
    return tmp_path


def check(folder: Path, **settings: str) -> tuple[int, str]:
    """(exit code, what was printed, on one line)"""
    result = run(folder, **settings)
    assert result.stderr == ""
    return result.returncode, " ".join(result.stdout.split())


def run(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return command(folder, "check", **{"OTVET_PORT": "9", "COLUMNS": "400", **settings})


@pytest.mark.parametrize(
    "settings",
    [
        {"OTVET_REPLY_VIA": "salesbot"},
        {"OTVET_REPLY_VIA": "telegram=widget, *=note"},
        {"OTVET_DATABASE_URL": "sqlite:///nowhere/conversations.db"},
    ],
)
def test_what_serve_does_not_start_with_is_bad_in_the_same_words(folder: Path, settings: dict[str, str]) -> None:
    refused = command(folder, "serve", **settings)
    assert refused.returncode == 1
    code, printed = check(folder, **settings)
    assert code == 1
    assert refused.stderr.strip() in printed.partition("✗")[2]


def test_ways_that_have_what_they_need_are_fine(folder: Path) -> None:
    code, printed = check(folder, OTVET_REPLY_VIA="salesbot", OTVET_SALESBOT_ID="7")
    assert (code, "✗" in printed) == (0, False)


def test_instructions_that_are_read(folder: Path) -> None:
    (folder / "instructions.md").write_text("Be kind.", "utf-8")
    code, printed = check(folder)
    assert (code, "✓ Instructions instructions.md" in printed) == (0, True)


@pytest.mark.parametrize("content", [None, "<!-- nothing yet -->"])
def test_without_instructions_the_built_in_ones_are_said_to_be_used(folder: Path, content: str | None) -> None:
    if content is not None:
        (folder / "instructions.md").write_text(content, "utf-8")
    code, printed = check(folder)
    assert (code, "– Instructions nothing is written in instructions.md: built-in words" in printed) == (0, True)


def test_instructions_that_cannot_be_read_are_bad(folder: Path) -> None:
    (folder / "instructions.md").write_bytes("Будь добр.".encode("cp1251"))
    code, printed = check(folder)
    assert (code, "✗ Instructions instructions.md is not UTF-8 text" in printed) == (1, True)
    code, printed = check(folder, OTVET_INSTRUCTIONS_FILE="knowledge")
    assert (code, "✗ Instructions knowledge cannot be read: it is a folder" in printed) == (1, True)


def test_instructions_that_are_named_and_not_there_are_bad(folder: Path) -> None:
    code, printed = check(folder, OTVET_INSTRUCTIONS_FILE="role.md")
    assert (code, "✗ Instructions there is no file role.md; make it" in printed) == (1, True)


def test_a_knowledge_folder_that_is_not_there_is_bad_as_in_ask(folder: Path) -> None:
    settings = {"OTVET_KNOWLEDGE_DIR": "answers"}
    refused = command(folder, "ask", "Delivery?", **settings)
    code, printed = check(folder, **settings)
    assert (code, f"✗ Knowledge {refused.stderr.strip()}" in printed) == (1, True)


def test_a_reason_that_several_files_share_is_said_once(folder: Path) -> None:
    for name in ("a.md", "b.md"):
        (folder / "knowledge" / name).write_text("# A heading alone", "utf-8")
    (folder / "knowledge" / "c.pdf").write_bytes(b"%PDF-1.4")
    _code, printed = check(folder)
    assert "✗ Knowledge" in printed
    assert "a.md, b.md: it has no text; c.pdf: it is no whole PDF file" in printed


@pytest.mark.parametrize(("model", "told"), [("", True), ("tiny", False)])
def test_what_is_said_of_replies_heeds_what_is_connected(folder: Path, model: str, told: bool) -> None:
    _code, printed = check(folder, OTVET_OPENAI_MODEL=model, OTVET_OPENAI_BASE_URL="http://127.0.0.1:9/v1")
    assert ("until then replies come from the knowledge folder" in printed) is told
    assert "– Assistant answers clients by itself; but amoCRM is not connected yet" in printed
    assert "until then replies stay here, no client gets them" in printed
