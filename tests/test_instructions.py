"""What the assistant is told of its work: the user's file, read anew for each reply."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from otvet.answering.instructions import INSTRUCTIONS, Instructions


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "instructions.md"


def test_without_a_file_our_own_words_stand_in_the_clients_language(file: Path) -> None:
    assert Instructions(file).read("en") == INSTRUCTIONS
    assert Instructions(file).read("ru").startswith("Вы отвечаете клиентам")


@pytest.mark.parametrize("content", ["", " \n", "<!-- nothing yet -->\n", "<!-- never closed\nBe kind."])
def test_an_empty_file_is_none(file: Path, content: str) -> None:
    file.write_text(content, encoding="utf-8")
    assert Instructions(file).read("en") == INSTRUCTIONS


def test_an_edit_counts_from_the_next_reply_on(file: Path) -> None:
    instructions = Instructions(file)
    file.write_text("Be kind.", encoding="utf-8")
    assert instructions.read("en") == "Be kind."
    file.write_text("Be brief.", encoding="utf-8")
    assert instructions.read("ru") == "Be brief."
    file.unlink()
    assert instructions.read("en") == INSTRUCTIONS


def test_comments_are_not_told(file: Path) -> None:
    file.write_text("<!-- how to\nedit -->\nBe kind.\n<!-- a -->Be brief.<!-- b -->\n", encoding="utf-8")
    assert Instructions(file).read("en") == "Be kind.\nBe brief."


def test_an_editors_byte_order_mark_is_not_told(file: Path) -> None:
    file.write_text("Будь добр.", encoding="utf-8-sig")
    assert Instructions(file).read("ru") == "Будь добр."


def test_a_file_that_is_not_utf_8_is_named_in_the_log_and_not_used(file: Path) -> None:
    file.write_bytes("Будь добр.".encode("cp1251"))
    with capture_logs() as logs:
        assert Instructions(file).read("en") == INSTRUCTIONS
    assert [(entry["log_level"], entry["file"]) for entry in logs] == [("error", str(file))]


def test_a_folder_in_its_place_is_named_too(file: Path) -> None:
    file.mkdir()
    with capture_logs() as logs:
        assert Instructions(file).read("en") == INSTRUCTIONS
    assert logs[0]["log_level"] == "error"


# The file that comes with Otvet

STARTER = Path(__file__).resolve().parent.parent / "instructions.md"


def test_the_starter_file_is_short_and_says_how_to_edit_it() -> None:
    told = Instructions(STARTER).read("ru")
    assert 300 < len(told) < 1200
    assert "<!--" in STARTER.read_text(encoding="utf-8")
    assert "<!--" not in told


def test_the_starter_file_states_nothing_that_could_be_told_to_a_client() -> None:
    """What stands there counts as the company's word, and the made-up shop's must not."""
    assert not any(char.isdigit() for char in Instructions(STARTER).read("ru"))
