"""``otvet ask``: what it shows, and that it neither needs nor leaves anything."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from otvet.commands import ask
from otvet.settings.settings import Settings
from tests.running import command, environment

ROOT = Path(__file__).parent.parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the starter folder in it, and nothing else."""
    shutil.copytree(ROOT / "knowledge", tmp_path / "knowledge")
    return tmp_path


def test_the_passages_and_the_answer_are_shown(folder: Path) -> None:
    shown = command(folder, "ask", "сколько стоит доставка?", COLUMNS="160")
    assert shown.returncode == 0, shown.stderr
    (chosen,) = [line for line in shown.stdout.splitlines() if "✓" in line]
    for text in ("Сколько стоит доставка", "delivery.md", "for sure"):
        assert text in chosen
    assert "Через сколько дней привезут заказ" in shown.stdout
    assert "word for word" in shown.stdout
    assert "• По городу — 350 ₽, а при заказе от 5 000 ₽ — бесплатно." in shown.stdout


def test_a_row_of_a_price_list_is_shown(folder: Path) -> None:
    shown = command(folder, "ask", "сколько стоит торшер").stdout
    assert "prices.csv" in shown
    assert "Торшер «Маяк» — 7 900 ₽" in shown


def test_several_texts_are_messages_in_a_row(folder: Path) -> None:
    assert "✓ │ Сколько стоит плед" in command(folder, "ask", "хочу плед", "шерстяной", "сколько стоит?").stdout
    both = command(folder, "ask", "сколько стоит плед?", "есть рассрочка?").stdout
    assert both.count("✓") == 2  # each half has an answer of its own
    assert "✓" not in command(folder, "ask", "сколько стоит плед?", "вакансии есть?").stdout


def test_what_is_not_answered_shows_the_nearest_and_what_the_client_is_told(folder: Path) -> None:
    shown = command(folder, "ask", "плед с оленями есть?").stdout
    assert "Сколько стоит плед" in shown
    assert "✓" not in shown
    assert "No passage clearly fits" in shown
    assert "Менеджер прочитает" in shown


def test_what_the_folder_does_not_speak_of_has_no_table(folder: Path) -> None:
    shown = command(folder, "ask", "do you sell crocodiles").stdout
    assert "No passage speaks of it." in shown
    assert "│" not in shown
    assert "A manager will read it" in shown


def test_nothing_is_stored_and_no_database_is_needed(folder: Path) -> None:
    command(folder, "ask", "сколько стоит доставка?", OTVET_DATABASE_URL="postgresql://nobody@127.0.0.1:9/nothing")
    assert [file.name for file in folder.iterdir()] == ["knowledge"]


def test_without_a_database_nothing_is_loaded_that_reads_one(folder: Path) -> None:
    code = "import sys; from otvet.cli import main\ntry: main(['ask', 'доставка'])\nexcept SystemExit: pass\n"
    code += "print('sqlalchemy' in sys.modules, file=sys.stderr)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment(folder), capture_output=True, text=True, check=True
    )
    assert result.stderr == "False\n"


def test_a_missing_folder_is_one_line_with_the_next_step(tmp_path: Path) -> None:
    result = command(tmp_path, "ask", "сколько стоит доставка?")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "OTVET_KNOWLEDGE_DIR" in line
    assert result.stdout == ""


def test_without_a_text_it_asks_for_one(folder: Path) -> None:
    result = command(folder, "ask", typed="сколько стоит доставка?\n", COLUMNS="160")
    assert result.returncode == 0, result.stderr
    assert "What does the client write?" in result.stdout
    assert "✓ │ Сколько стоит доставка" in result.stdout


@pytest.mark.parametrize(
    ("question", "why"),
    [
        ("плед с оленями есть?", "it lacks: оленями"),
        ("плед", "fits as well"),
        ("сколько стоит плед с оленями?", "it lacks: оленями │"),
        ("у меня кровь из пальца, где у вас парковка?", "sounds like an emergency"),
        ("сколько стоит доставка?", "another entry answers better"),
    ],
)
def test_why_an_entry_is_not_sent_is_said_in_words(folder: Path, question: str, why: str) -> None:
    assert why in " ".join(command(folder, "ask", question, COLUMNS="240").stdout.split())


def test_examples_answer_only_until_amocrm_is_connected(folder: Path) -> None:
    connected = {"OTVET_AMOCRM_BASE_URL": "https://example.amocrm.ru", "OTVET_AMOCRM_TOKEN": "token"}
    shown = command(folder, "ask", "сколько стоит доставка?", **connected).stdout
    assert "350" not in shown
    assert "otvet check" in shown


def test_it_is_readable_at_80_columns(folder: Path) -> None:
    for question in ("доставляете в другие города и регионы", "сколько стоит полка", "плед", "нет такого слова"):
        shown = command(folder, "ask", question, COLUMNS="80").stdout
        assert max(map(len, shown.splitlines())) <= 80


def test_a_file_cannot_paint_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.md").write_text("# Цена [bold]слона[/bold]\x1b[31m\n\nСто [red]₽\x1b[0m.\n", encoding="utf-8")
    ask.ask(Settings(knowledge_dir=tmp_path), ["цена слона"])
    shown = capsys.readouterr().out
    assert "\x1b[31m" not in shown
    assert "\x1b[0m." not in shown
    assert "[bold]слона[/bold]" in shown
    assert "Сто [red]₽" in shown


def test_the_help_needs_no_search(folder: Path) -> None:
    code = "import sys; from otvet.cli import main\ntry: main(['ask', '--help'])\nexcept SystemExit: pass\n"
    code += "sys.exit('Stemmer' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment(folder), check=False).returncode == 0
    )
