"""Reads the knowledge folder: Markdown files and price lists in, passages out."""

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

from otvet.errors import os_reason
from otvet.i18n import _
from otvet.responders.knowledge import prices
from otvet.responders.knowledge.prices import NoPriceList
from otvet.responders.markdown import plain_text

_MARKDOWN = MarkdownIt("commonmark")
_COMMENT = re.compile(r"<!--(.*?)(?:-->|\Z)", re.DOTALL)
_EXAMPLE = re.compile(r"\s*(?:<!--|\"?#)\s*(?:пример|example)\b", re.IGNORECASE)
_MAX_LINES_NAMED = 10

_OTHER_WORDS = re.compile(r"\s*(?:иначе|also)\s*:(.*)", re.DOTALL | re.IGNORECASE)

Snapshot = tuple[tuple[str, int, int], ...]
"""Name, modification time in nanoseconds and size in bytes of every file: changes with every edit."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A heading and the text below it, up to the next heading; or a row of a price list, with its name as the heading.

    above: the headings of higher levels, outermost first.
    other_words: other wordings of clients, from a comment ``<!-- also: ... -->`` that is never shown.
    plain: the text is not Markdown.
    """

    file: str
    heading: str
    text: str
    above: tuple[str, ...] = ()
    other_words: str = ""
    plain: bool = False

    @property
    def shown(self) -> str:
        """The text as a client gets it."""
        return self.text if self.plain else plain_text(self.text)


@dataclass(frozen=True, slots=True)
class Problem:
    """The reason why a file, or the folder itself, cannot be used, or only in part."""

    file: str
    reason: str


def snapshot(folder: Path) -> Snapshot:
    """The present state of the folder; empty when it cannot be listed."""
    seen = []
    for file in files(folder):
        try:
            stat = file.stat()
        except OSError:
            seen.append((file.name, 0, 0))
        else:
            seen.append((file.name, stat.st_mtime_ns, stat.st_size))
    return tuple(seen)


def no_folder(folder: Path) -> str:
    """The sentence for the operator when the folder does not exist."""
    return _("there is no folder {folder} here; make it, or set OTVET_KNOWLEDGE_DIR").format(folder=folder)


def read_folder(folder: Path, *, with_examples: bool) -> tuple[list[Passage], list[Problem]]:
    """All passages in the order of the files, and the problems of files that cannot be read.

    with_examples: also read the files that came with Otvet, which say so in their first line. Their shop and its
        prices are invented: good for a trial, never for a real client.
    """
    if not folder.is_dir():
        return [], [Problem(str(folder), _("there is no such folder"))]
    passages: list[Passage] = []
    problems: list[Problem] = []
    for file in files(folder):
        try:
            found, reason = understood(file.name, file.read_bytes(), with_examples=with_examples)
        except OSError as error:
            found, reason = [], os_reason(error)
        passages += found
        if reason:
            problems.append(Problem(file.name, reason))
    return passages, problems


def understood(name: str, content: bytes, *, with_examples: bool) -> tuple[list[Passage], str]:
    """The passages of a file with this name and content, and its problem; empty when there is none."""
    is_list = name.lower().endswith(".csv")
    try:
        text = prices.decode(content) if is_list else content.decode("utf-8-sig")
        found, reason = (_price_list if is_list else _markdown)(name, text)
    except UnicodeDecodeError:
        return [], _("it is not UTF-8 text; save it as UTF-8")
    except NoPriceList as error:
        return [], str(error)
    if found and not with_examples and _EXAMPLE.match(text):
        return [], _("an example that no client is answered from; write your own, then remove line 1")
    return found, reason


def _markdown(name: str, text: str) -> tuple[list[Passage], str]:
    found = split(name, text.replace("\r\n", "\n").replace("\r", "\n"))
    return found, "" if found else _("it has no heading with a text below it")


def _price_list(name: str, text: str) -> tuple[list[Passage], str]:
    found = prices.read(text)
    passages = [
        Passage(name, row.name, row.text, (row.group,) if row.group else (), row.other_words, plain=True)
        for row in found.rows
    ]
    if not found.left_out:
        return passages, ""
    lines = ", ".join(map(str, found.left_out[:_MAX_LINES_NAMED])) + (
        "…" if len(found.left_out) > _MAX_LINES_NAMED else ""
    )
    sentence = _("lines left out ({lines}): no name, more cells than the first row, or a formula that failed")
    return passages, sentence.format(lines=lines)


def split(file: str, markdown: str) -> list[Passage]:
    """Cut a file at its headings. A heading without a text makes no passage, but stands above those below it."""
    lines = markdown.split("\n")
    headings = _headings(markdown)
    ends = [*(heading.first_line for heading in headings), len(lines)][1:]
    above: list[_Heading] = []
    passages = []
    for heading, end in zip(headings, ends, strict=True):
        above = [other for other in above if other.level < heading.level]
        text = _COMMENT.sub("", "\n".join(lines[heading.next_line : end])).strip()
        if heading.title and text:
            other_words = _other_words("\n".join(lines[heading.first_line : end]))
            titles = tuple(other.title for other in above)
            passages.append(Passage(file, heading.title, text, titles, other_words))
        above.append(heading)
    return passages


class _Heading(NamedTuple):
    level: int
    title: str
    first_line: int
    next_line: int


def _headings(markdown: str) -> list[_Heading]:
    tokens = _MARKDOWN.parse(markdown)
    found = []
    for opening, inline in pairwise(tokens):
        # A heading inside a quotation or a list is part of the text.
        if opening.type == "heading_open" and opening.level == 0 and opening.map:
            words = [child.content for child in inline.children or () if child.type in ("text", "code_inline")]
            found.append(_Heading(int(opening.tag[1:]), "".join(words).strip(), *opening.map))
    return found


def _other_words(section: str) -> str:
    comments = (_OTHER_WORDS.match(comment) for comment in _COMMENT.findall(section))
    return "\n".join(match[1].strip() for match in comments if match)


def files(folder: Path) -> list[Path]:
    """The files of the folder that are read."""
    # Editors and macOS leave files with a leading dot beside the real ones.
    try:
        return sorted(
            file for file in folder.iterdir() if file.suffix.lower() in (".md", ".csv") and file.name[0] != "."
        )
    except OSError:
        return []
