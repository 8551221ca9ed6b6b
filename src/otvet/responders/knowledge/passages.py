"""The knowledge folder: Markdown files and price lists in, passages out."""

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

from otvet.causes import cause_of
from otvet.i18n import _
from otvet.responders.knowledge import prices
from otvet.responders.knowledge.prices import NoPriceList
from otvet.responders.markdown import plain_text

_MARKDOWN = MarkdownIt("commonmark")
_COMMENT = re.compile(r"<!--(.*?)(?:-->|\Z)", re.DOTALL)
_EXAMPLE = re.compile(r"\s*(?:<!--|\"?#)\s*(?:пример|example)\b", re.IGNORECASE)
_MOST_LINES = 10

_OTHER_WORDS = re.compile(r"\s*(?:иначе|also)\s*:(.*)", re.DOTALL | re.IGNORECASE)

Snapshot = tuple[tuple[str, int, int], ...]
"""Name, time of change and size of every file: differs when anything was edited."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A heading and the text below it, up to the next heading; or a row of a price list, its name being the heading.

    above: the headings that this one stands under, outermost first.
    other_words: what else clients call it, from a comment ``<!-- also: ... -->`` that is never shown.
    plain: the text is no Markdown.
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
    """A file, or the folder itself, that answers cannot come from, or not all of them, and why."""

    file: str
    reason: str


def snapshot(folder: Path) -> Snapshot:
    """What the folder looks like now; empty when it cannot be looked at."""
    seen = []
    for file in _files(folder):
        try:
            stat = file.stat()
        except OSError:
            seen.append((file.name, 0, 0))
        else:
            seen.append((file.name, stat.st_mtime_ns, stat.st_size))
    return tuple(seen)


def no_folder(folder: Path) -> str:
    """What is said of a folder that is not there."""
    return _("there is no folder {folder} here; make it, or set OTVET_KNOWLEDGE_DIR").format(folder=folder)


def read_folder(folder: Path, *, with_examples: bool) -> tuple[list[Passage], list[Problem]]:
    """All passages in the order of the files; what cannot be read is left out and named.

    with_examples: also those that came with Otvet and say so in their first line. Their shop and its prices are made
    up: good for a trial, never for a real client.
    """
    if not folder.is_dir():
        return [], [Problem(str(folder), _("there is no such folder"))]
    passages: list[Passage] = []
    problems: list[Problem] = []
    for file in _files(folder):
        try:
            found, reason = _read(file, with_examples=with_examples)
        except OSError as error:
            found, reason = [], cause_of(error)
        passages += found
        if reason:
            problems.append(Problem(file.name, reason))
    return passages, problems


def _read(file: Path, *, with_examples: bool) -> tuple[list[Passage], str]:
    """A file's passages, and what is wrong with it."""
    content, is_list = file.read_bytes(), file.suffix.lower() == ".csv"
    try:
        text = prices.decode(content) if is_list else content.decode("utf-8-sig")
        found, reason = (_price_list if is_list else _markdown)(file.name, text)
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
    lines = ", ".join(map(str, found.left_out[:_MOST_LINES])) + ("…" if len(found.left_out) > _MOST_LINES else "")
    sentence = _("lines left out ({lines}): no name, more cells than the first row, or a formula that failed")
    return passages, sentence.format(lines=lines)


def split(file: str, markdown: str) -> list[Passage]:
    """Cut a file at its headings; a heading without a text only leads to those below it."""
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
        # One inside a quotation or a list is part of a text.
        if opening.type == "heading_open" and opening.level == 0 and opening.map:
            words = [child.content for child in inline.children or () if child.type in ("text", "code_inline")]
            found.append(_Heading(int(opening.tag[1:]), "".join(words).strip(), *opening.map))
    return found


def _other_words(section: str) -> str:
    comments = (_OTHER_WORDS.match(comment) for comment in _COMMENT.findall(section))
    return "\n".join(match[1].strip() for match in comments if match)


def _files(folder: Path) -> list[Path]:
    # Names with a leading dot are what editors and macOS leave beside the real files.
    try:
        return sorted(
            file for file in folder.iterdir() if file.suffix.lower() in (".md", ".csv") and file.name[0] != "."
        )
    except OSError:
        return []
