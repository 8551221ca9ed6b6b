"""Teaching: an answer of a person becomes an entry of the knowledge folder, in a file that people edit too."""

import contextlib
import os
import tempfile
from pathlib import Path
from threading import Lock

from otvet.errors import UsageError, os_reason
from otvet.i18n import N_, _
from otvet.responders.markdown import plain_text

FILE = "answers.md"
LONGEST_QUESTION = 200
LONGEST_ANSWER = 4000

EMPTY = N_("an entry needs a question and an answer")
TOO_LONG = N_("the question has at most {question} characters and the answer {answer}")
CANNOT_WRITE = N_("the knowledge folder cannot be written to: {cause}")

_MARKS = "\\`*_[]<>#~|!&"
_AT_THE_START = "-+=>#"
_one_at_a_time = Lock()


def add_entry(folder: Path, question: str, answer: str) -> Path:
    """Write an entry into the folder's file of answers, in place of one with the same question; returns the file.

    A client gets the answer as it is given here. Other files and other entries stay as they are. Raises UsageError.
    """
    heading, text = " ".join(question.split()), "\n".join(line.rstrip() for line in answer.strip().splitlines())
    if not heading or not text:
        raise UsageError(_(EMPTY))
    if len(heading) > LONGEST_QUESTION or len(text) > LONGEST_ANSWER:
        raise UsageError(_(TOO_LONG).format(question=LONGEST_QUESTION, answer=LONGEST_ANSWER))
    file, title = folder / FILE, f"## {_escaped(heading)}"
    with _one_at_a_time:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            before = file.read_text("utf-8-sig") if file.exists() else ""
            _replace(file, f"{_without(before, title)}{title}\n\n{_as_markdown(text)}\n")
        except (OSError, UnicodeDecodeError) as error:
            cause = os_reason(error) if isinstance(error, OSError) else str(error)
            raise UsageError(_(CANNOT_WRITE).format(cause=cause)) from error
    return file


def _as_markdown(text: str) -> str:
    """The text itself if a client would get it as it is; else with the marks of Markdown taken literally."""
    return text if plain_text(text) == text and not _has_heading(text) else "\n".join(map(_literal, text.split("\n")))


def _has_heading(text: str) -> bool:
    return any(line.lstrip().startswith("#") or "<!--" in line for line in text.split("\n"))


def _literal(line: str) -> str:
    # Spaces at the start would make a block of code, and a number with a dot is a list of its own.
    line = _escaped(line.strip())
    number = line.split(" ", 1)[0]
    if line[:1] in _AT_THE_START:
        return f"\\{line}"
    if number[:-1].isdecimal() and number[-1:] in ".)":
        return f"{number[:-1]}\\{number[-1:]}{line[len(number) :]}"
    return line


def _escaped(line: str) -> str:
    return "".join(f"\\{sign}" if sign in _MARKS else sign for sign in line)


def _without(before: str, title: str) -> str:
    """A file's text without the entry of this title, ready for another one at its end."""
    kept: list[str] = []
    inside = False
    for line in before.splitlines():
        if line.startswith("#"):
            inside = line.rstrip() == title
        if not inside:
            kept.append(line)
    text = "\n".join(kept).strip()
    return f"{text}\n\n" if text else ""


def _replace(file: Path, text: str) -> None:
    """Write the whole file beside the old one, and put it in its place: a reader sees one or the other."""
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as beside:
            beside.write(text)
            beside.flush()
            os.fsync(beside.fileno())
        Path(name).chmod(file.stat().st_mode & 0o777 if file.exists() else 0o644)
        Path(name).replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
