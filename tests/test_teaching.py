"""An answer of a person becomes an entry of the knowledge folder."""

from pathlib import Path
from threading import Thread

import pytest

from otvet.errors import UsageError
from otvet.responders.knowledge.passages import read_folder
from otvet.staff.teaching import FILE, add_entry


def entries(folder: Path) -> list[tuple[str, str]]:
    found, problems = read_folder(folder, with_examples=False)
    assert not problems
    return [(one.heading, one.shown) for one in found]


@pytest.mark.parametrize(
    "answer",
    [
        "Yes, 350 ₽ in town.",
        "Two lines:\nthe second one.",
        "# not a heading\n## nor this",
        "A line\n---\nand another\n===\nend",
        "1. first\n2) second",
        "- one\n+ two\n* three",
        "5*3*2 cm, _so_ <x>bold</x> [here](http://example.com) `code` ~~old~~",
        "Seen <!-- a comment --> whole",
        "```\nnot code\n```",
        "A | B\n--- | ---\n1 | 2",
        "    four spaces before",
        "> quoted",
        "back\\slash \\* and a tail \\",
        "![picture](x) &amp; &lt; &copy; 100 % #1",
        "One.\n\nAfter an empty line.",
    ],
)
def test_a_client_gets_the_answer_as_it_was_written(tmp_path: Path, answer: str) -> None:
    add_entry(tmp_path, "How much?", answer)
    (entry,) = entries(tmp_path)
    lines = [line.strip() for line in answer.splitlines()]
    assert entry == ("How much?", "\n".join(lines))


@pytest.mark.parametrize("question", ["# Price?", "5*3 or _6_?", "<b>why</b> [a](b) #", "Over\ntwo lines", "&lt; 5"])
def test_the_question_is_the_heading(tmp_path: Path, question: str) -> None:
    add_entry(tmp_path, question, "Yes.")
    assert entries(tmp_path) == [(" ".join(question.split()), "Yes.")]


def test_the_same_question_is_answered_once_and_what_people_wrote_stays(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(
        "Our own notes.\n\n# Group\n\n## By hand\n<!-- also: other words -->\n\nKept.\n", "utf-8"
    )
    assert add_entry(tmp_path, "Parking?", "No.") == tmp_path / FILE
    add_entry(tmp_path, "Pets?", "Yes.")
    add_entry(tmp_path, "Parking?", "Yes, two places.")
    assert entries(tmp_path) == [("By hand", "Kept."), ("Pets?", "Yes."), ("Parking?", "Yes, two places.")]
    assert "also: other words" in (tmp_path / FILE).read_text("utf-8")
    assert [one.name for one in tmp_path.iterdir()] == [FILE]


def test_two_at_once_are_both_kept(tmp_path: Path) -> None:
    writers = [Thread(target=add_entry, args=(tmp_path, f"Question {number}?", "Yes.")) for number in range(8)]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    assert len(entries(tmp_path)) == len(writers)


@pytest.mark.parametrize(
    ("question", "answer"), [("", "Yes."), ("Why?", "  \n "), ("x" * 201, "Yes."), ("Why?", "x" * 4001)]
)
def test_what_makes_no_entry_is_refused_with_a_sentence(tmp_path: Path, question: str, answer: str) -> None:
    with pytest.raises(UsageError):
        add_entry(tmp_path, question, answer)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        add_entry(tmp_path / "file", "Why?", "Yes.")
