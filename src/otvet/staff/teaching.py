"""Teaching: a question and its answer become an entry of the knowledge folder."""

import re
from pathlib import Path

from otvet.errors import UsageError
from otvet.i18n import N_, _, language_of
from otvet.responders.knowledge import passages
from otvet.staff import knowledge_files

FILE = "answers.md"
LONGEST_QUESTION, LONGEST_ANSWER = 300, 4000
OTHER_WORDS = {"ru": "иначе", "en": "also"}  # as passages.split reads them
IS_THERE = N_("{file} has an entry of this name already; edit it there")
NO_TEXT = N_("{file} is not UTF-8 text; save it as UTF-8 first")
NOTHING = N_("write both the question and the answer")


def add_entry(folder: Path, question: str, answer: str, also: str = "") -> Path:
    """Append an entry to answers.md; returns the file. also: the client's own words, to find it by, never shown.

    Raises UsageError if there is nothing to write, or an entry of this name.
    """
    heading = _one_line(question, LONGEST_QUESTION)
    text = _as_text(answer)
    if not heading or not text:
        raise UsageError(_(NOTHING))
    file = knowledge_files.read(folder, FILE)
    if file is not None and file.text is None:
        raise UsageError(_(NO_TEXT).format(file=FILE))
    before = (file.text or "").rstrip() if file else ""
    known = {entry.heading.casefold() for entry in passages.split(FILE, before)}
    if _unescaped(heading).casefold() in known:
        raise UsageError(_(IS_THERE).format(file=FILE))
    entry = f"# {heading}\n"
    other = _one_line(also, LONGEST_QUESTION)
    if other and other.casefold() != heading.casefold():
        entry += f"<!-- {OTHER_WORDS[language_of(other)]}: {_unescaped(other)} -->\n"
    content = f"{before}\n\n{entry}\n{text}\n".lstrip("\n")
    knowledge_files.save(folder, FILE, content.encode(), file.digest if file else knowledge_files.NEW)
    return folder / FILE


def _one_line(text: str, longest: int) -> str:
    """One line that opens neither a comment nor a tag, and ends no heading."""
    line = " ".join(text.replace("<!--", " ").replace("-->", " ").split())[:longest].strip()
    bare = re.sub(r"^#+(?:\s+|$)|\s+#+$", "", line)
    return re.sub(r"([\\<`*_\[\]])", r"\\\1", bare)


def _unescaped(line: str) -> str:
    return re.sub(r"\\([\\<`*_\[\]])", r"\1", line)


def _as_text(answer: str) -> str:
    """The answer as it was written: no line of it becomes a heading, or opens what would swallow the entries below."""
    lines = answer.replace("<!--", "").replace("-->", "").replace("\r\n", "\n").replace("\r", "\n").strip()
    kept = [re.sub(r"^(\s*)(#{1,6}(?:\s|$)|[=-]+\s*$|```|~~~|<)", r"\1\\\2", line) for line in lines.split("\n")]
    return "\n".join(kept)[:LONGEST_ANSWER].strip()
