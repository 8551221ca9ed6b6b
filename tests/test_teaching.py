"""A question and its answer become an entry of the folder, and its files are saved, without harm to what is there."""

from pathlib import Path

import pytest

from otvet.clock import SystemClock
from otvet.errors import UsageError
from otvet.responders.base import Line
from otvet.responders.knowledge.passages import read_folder
from otvet.responders.knowledge.responder import Knowledge
from otvet.staff import knowledge_files, teaching


def entries(folder: Path) -> list[tuple[str, str]]:
    found, problems = read_folder(folder, with_examples=True)
    assert problems == []
    return [(entry.heading, entry.shown) for entry in found]


def test_an_entry_is_found_by_its_question_and_by_the_clients_own_words(tmp_path: Path) -> None:
    folder = tmp_path / "knowledge"  # not there yet
    file = teaching.add_entry(folder, "Есть ли гравировка", "Да, от 500 ₽.", also="а буковки на кольце сделаете")
    assert file == folder / "answers.md"
    teaching.add_entry(folder, "Is there parking?", "Yes, in the yard.")
    assert entries(folder) == [("Есть ли гравировка", "Да, от 500 ₽."), ("Is there parking?", "Yes, in the yard.")]
    clock = SystemClock()
    knowledge = Knowledge(folder, clock)
    for asked in ("Есть ли гравировка?", "А буковки на кольце сделаете?"):
        answer = knowledge.answer([Line("client", asked, clock.now())])
        assert answer is not None
        assert answer.hits[0].passage.heading == "Есть ли гравировка"


@pytest.mark.parametrize(
    "answer",
    [
        "# not a heading",
        "Title\n=====",
        "Title\n---",
        "```\nan open fence",
        "~~~",
        "<!-- an open comment",
        "<script>never closed",
        "<?php",
        "    ## indented",
        "- a list\n- of two",
        "[a]: https://example.com",
    ],
)
def test_no_answer_swallows_the_entries_around_it(tmp_path: Path, answer: str) -> None:
    teaching.add_entry(tmp_path, "First", "One.")
    teaching.add_entry(tmp_path, "Hard", answer + " words")
    teaching.add_entry(tmp_path, "Last", "Three.")
    found = entries(tmp_path)
    assert [heading for heading, _text in found] == ["First", "Hard", "Last"]
    assert (found[0][1], found[2][1]) == ("One.", "Three.")
    assert "words" in found[1][1]


@pytest.mark.parametrize(
    "question", ["## Is it *free*?", "<b>Free</b>?", "Free\nof charge?", "a_b_c `code` [x](y)", "C#"]
)
def test_a_question_of_any_form_is_one_heading(tmp_path: Path, question: str) -> None:
    teaching.add_entry(tmp_path, question, "Yes.")
    assert len(entries(tmp_path)) == 1
    with pytest.raises(UsageError, match="already"):
        teaching.add_entry(tmp_path, question, "No.")


@pytest.mark.parametrize(
    ("question", "answer"), [("", "Yes."), ("How?", "  \n"), ("###", "Yes."), ("<!-- -->", "Yes.")]
)
def test_nothing_is_no_entry(tmp_path: Path, question: str, answer: str) -> None:
    with pytest.raises(UsageError):
        teaching.add_entry(tmp_path, question, answer)
    assert list(tmp_path.iterdir()) == []


# Files of the folder

NAMES = [
    ("prices.csv", "prices.csv"),
    ("../../etc/passwd.md", "passwd.md"),
    ("..\\..\\windows\\win.md", "win.md"),
    (".hidden.md", "hidden.md"),
    ("....md", "md.md"),
    ("a\x00b\n\x1b[31m.md", "a b 31m.md"),
    ("rtl\u202etxt.md", "rtl txt.md"),
    ("<img src=x onerror=alert(1)>.md", "img src x onerror alert(1).md"),
    ("Прайс 2026 (опт).CSV", "Прайс 2026 (опт).csv"),
    ("notes.txt", "notes.txt"),
    ("no ending", "no ending.md"),
    ("x" * 300 + ".md", "x" * 80 + ".md"),
    ("page.html", "page.html"),
    ("book.XLSX", "book.xlsx"),
    ("macros.xlsm", None),
    ("program.js", None),
    ("archive.md.exe", None),
    ("", None),
]


@pytest.mark.parametrize(("given", "safe"), NAMES)
def test_a_files_name_stays_in_the_folder(tmp_path: Path, given: str, safe: str | None) -> None:
    if safe is None:
        with pytest.raises(UsageError):
            knowledge_files.safe_name(given)
        return
    name = knowledge_files.safe_name(given)
    assert name == safe
    knowledge_files.save(tmp_path, name, b"# a\n\nb", knowledge_files.NEW)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert knowledge_files.read(tmp_path, name) is not None
    assert knowledge_files.free_name(tmp_path, name) != name


def test_nothing_is_saved_over_what_somebody_else_wrote(tmp_path: Path) -> None:
    knowledge_files.save(tmp_path, "a.md", b"one", knowledge_files.NEW)
    begun = knowledge_files.digest(b"one")
    knowledge_files.save(tmp_path, "a.md", b"two", begun)
    for change in (
        lambda: knowledge_files.save(tmp_path, "a.md", b"three", begun),
        lambda: knowledge_files.save(tmp_path, "a.md", b"three", knowledge_files.NEW),
        lambda: knowledge_files.remove(tmp_path, "a.md", begun),
    ):
        with pytest.raises(UsageError):
            change()
    assert (tmp_path / "a.md").read_bytes() == b"two"
    knowledge_files.remove(tmp_path, "a.md", knowledge_files.digest(b"two"))
    with pytest.raises(UsageError, match="meanwhile"):
        knowledge_files.save(tmp_path, "a.md", b"three", knowledge_files.digest(b"two"))


def test_a_save_that_fails_half_way_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    knowledge_files.save(tmp_path, "a.md", b"# one\n\ntext", knowledge_files.NEW)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(knowledge_files.os, "fsync", full)
    with pytest.raises(UsageError, match="cannot be written"):
        knowledge_files.save(tmp_path, "a.md", b"# two", knowledge_files.digest(b"# one\n\ntext"))
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("a.md", b"# one\n\ntext")]
