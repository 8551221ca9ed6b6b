"""Reads the knowledge folder: files of many kinds in, passages out; see ``reading`` for the kinds."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

from otvet.errors import os_reason
from otvet.i18n import N_, _
from otvet.responders.knowledge import prices
from otvet.responders.knowledge.prices import NoPriceList
from otvet.responders.knowledge.reading import kinds, markdown
from otvet.responders.knowledge.reading.blocks import Block, Unreadable
from otvet.responders.knowledge.reading.entries import entries
from otvet.responders.markdown import plain_text

_MARKDOWN = MarkdownIt("commonmark")
_EXAMPLE = re.compile(r"\s*(?:<!--|\"?#)\s*(?:пример|example)\b", re.IGNORECASE)
_MAX_LINES_NAMED = 10
_LEFT_BEHIND = re.compile(r"^[.~]|~$|\.(?:tmp|part|crdownload|bak|swp)$|^(?:Thumbs\.db|desktop\.ini)$", re.IGNORECASE)
_LONGEST_SECTION = 600
_MANY_THINGS = re.compile(
    r"^\s*\|.*\|\s*$|^\s*(?:\*\*|__)[^*_\n]+\?\s*(?:\*\*|__)|^\s*(?:В|Q|Вопрос)\s*:|^:[ \t]|^[ \t]{2,}[-*+][ \t]",
    re.MULTILINE | re.IGNORECASE,
)
_FIGURE = re.compile(r"\d+")
EXAMPLE = N_("an example that no client is answered from; write your own, then remove line 1")

_OTHER_WORDS = re.compile(r"\s*(?:иначе|also)\s*:(.*)", re.DOTALL | re.IGNORECASE)

Snapshot = tuple[tuple[str, int, int], ...]
"""Name, modification time in nanoseconds and size in bytes of every file: changes with every edit."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A heading and the text below it, up to the next heading; or a row of a price list, with its name as the heading.

    above: the headings of higher levels, outermost first.
    other_words: other wordings of clients, from a comment ``<!-- also: ... -->`` that is never shown.
    plain: the text is not Markdown.
    kind: "row" of a table, "hours", "answer" to a question that stands in the file, or "text".
    """

    file: str
    heading: str
    text: str
    above: tuple[str, ...] = ()
    other_words: str = ""
    plain: bool = False
    kind: str = "text"

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
    return tuple(_state_of(folder, file) for file in files(folder))


def _state_of(folder: Path, file: Path) -> tuple[str, int, int]:
    try:
        stat = file.stat()
    except OSError:
        return name_of(folder, file), 0, 0
    return name_of(folder, file), stat.st_mtime_ns, stat.st_size


def name_of(folder: Path, file: Path) -> str:
    """What a file is called: its path inside the folder."""
    return file.relative_to(folder).as_posix()


def contradictions(passages: Iterable[Passage]) -> list[tuple[Passage, Passage]]:
    """Pairs of passages that say different figures of one thing: a client may be told either."""
    seen: dict[str, Passage] = {}
    found = []
    for passage in passages:
        thing = " ".join(passage.heading.casefold().replace("ё", "е").split())
        other = seen.setdefault(thing, passage)
        rows = passage.kind == other.kind == "row"
        same_list = other.file == passage.file and other.above != passage.above  # each in a part of its own
        if rows and not same_list and set(_FIGURE.findall(other.text)) != set(_FIGURE.findall(passage.text)):
            found.append((other, passage))
    return found


def no_folder(folder: Path) -> str:
    """The sentence for the operator when the folder does not exist."""
    return _("there is no folder {folder} here; make it, or set OTVET_KNOWLEDGE_DIR").format(folder=folder)


Known = dict[tuple[str, int, int], tuple[list[Passage], str]]
"""What files were read as, by name, time and size, so that only a changed file is read again."""


def read_folder(
    folder: Path, *, with_examples: bool, known: Known | None = None
) -> tuple[list[Passage], list[Problem]]:
    """All passages in the order of the files, and the problems of files that cannot be read.

    with_examples: also read the files that came with Otvet, which say so in their first line. Their shop and its
        prices are invented: good for a trial, never for a real client.
    known: what was read before, brought up to date. A file that cannot be read now, half saved perhaps, is as it was.
    """
    if not folder.is_dir():
        return [], [Problem(str(folder), _("there is no such folder"))]
    before, now = known or Known(), Known()
    last = {name: found for (name, *_state), (found, _reason) in before.items()}
    problems: list[Problem] = []
    for file in files(folder):
        state = _state_of(folder, file)
        found, reason = before.get(state) or _read(folder, file, with_examples=with_examples)
        if reason and not found and last.get(state[0]):
            found, reason = last[state[0]], _("{reason}; what it said before holds").format(reason=reason)
        if reason:
            problems.append(Problem(state[0], reason))
        now[state] = found, reason
    if known is not None:
        known.clear()
        known.update(now)
    return [passage for found, _reason in now.values() for passage in found], problems


def _read(folder: Path, file: Path, *, with_examples: bool) -> tuple[list[Passage], str]:
    name = name_of(folder, file)
    try:
        if not file.resolve().is_relative_to(folder.resolve()):
            return [], _("it is a link to a file outside of the folder")
        if file.stat().st_size > kinds.LARGEST:
            return [], _(kinds.TOO_LARGE)
        return understood(name, file.read_bytes(), with_examples=with_examples)
    except OSError as error:
        return [], os_reason(error)


def understood(name: str, content: bytes, *, with_examples: bool) -> tuple[list[Passage], str]:
    """The passages of a file with this name and content, and its problem; empty when there is none."""
    ending = Path(name).suffix.lower()
    if ending not in kinds.KINDS and ending not in kinds.REFUSED:
        return [], _("files of this kind are not read")
    try:
        if ending == ".md":
            return _markdown(name, kinds.decode(content), with_examples=with_examples)
        if ending == ".csv":
            return _price_list(name, content, with_examples=with_examples)
        found = _entries(name, kinds.blocks(ending, content))
    except Unreadable as error:
        return [], str(error)
    return found, "" if found else _("nothing in it can be told to a client")


def _entries(name: str, blocks: list[Block], heading: str = "", above: tuple[str, ...] = ()) -> list[Passage]:
    found = entries(blocks, heading or Path(name).stem.replace("_", " "), above)
    return [
        Passage(name, one.heading, one.text, one.above, one.other_words, plain=True, kind=one.kind) for one in found
    ]


def _markdown(name: str, text: str, *, with_examples: bool) -> tuple[list[Passage], str]:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not with_examples and _EXAMPLE.match(text):
        return [], _(EXAMPLE)
    headings = _headings(text)
    lines = text.split("\n")
    first = "\n".join(lines[: headings[0].first_line] if headings else lines)
    found = _entries(name, markdown.blocks(first))
    for passage in split(name, text):
        if len(passage.text) <= _LONGEST_SECTION and not _MANY_THINGS.search(passage.text):
            found.append(passage)
        else:
            found += _entries(name, markdown.blocks(passage.text), passage.heading, passage.above)
    return found, "" if found else _("it has no text")


def _price_list(name: str, content: bytes, *, with_examples: bool) -> tuple[list[Passage], str]:
    try:
        text = prices.decode(content)
        if not with_examples and _EXAMPLE.match(text):
            return [], _(EXAMPLE)
        found = prices.read(text)
    except NoPriceList as error:
        return [], str(error)
    passages = [
        Passage(name, row.name, row.text, (row.group,) if row.group else (), row.other_words, plain=True, kind="row")
        for row in found.rows
    ]
    if not found.left_out:
        return passages, ""
    lines = ", ".join(map(str, found.left_out[:_MAX_LINES_NAMED])) + (
        "…" if len(found.left_out) > _MAX_LINES_NAMED else ""
    )
    sentence = _("lines left out ({lines}): no name, more cells than the first row, or a formula that failed")
    return passages, sentence.format(lines=lines)


def split(file: str, text: str) -> list[Passage]:
    """Cut a file at its headings. A heading without a text makes no passage, but stands above those below it."""
    lines = text.split("\n")
    headings = _headings(text)
    ends = [*(heading.first_line for heading in headings), len(lines)][1:]
    above: list[_Heading] = []
    passages = []
    for heading, end in zip(headings, ends, strict=True):
        above = [other for other in above if other.level < heading.level]
        below = markdown.COMMENT.sub("", "\n".join(lines[heading.next_line : end])).strip()
        if heading.title and below:
            other_words = _other_words("\n".join(lines[heading.first_line : end]))
            titles = tuple(other.title for other in above)
            passages.append(Passage(file, heading.title, below, titles, other_words))
        above.append(heading)
    return passages


class _Heading(NamedTuple):
    level: int
    title: str
    first_line: int
    next_line: int


def _headings(text: str) -> list[_Heading]:
    tokens = _MARKDOWN.parse(text)
    found = []
    for opening, inline in pairwise(tokens):
        # A heading inside a quotation or a list is part of the text.
        if opening.type == "heading_open" and opening.level == 0 and opening.map:
            words = [child.content for child in inline.children or () if child.type in ("text", "code_inline")]
            found.append(_Heading(int(opening.tag[1:]), "".join(words).strip(), *opening.map))
    return found


def _other_words(section: str) -> str:
    comments = (_OTHER_WORDS.match(comment) for comment in markdown.COMMENT.findall(section))
    return "\n".join(match[1].strip() for match in comments if match)


def files(folder: Path) -> list[Path]:
    """The files of the folder and of those inside it, but for the hidden ones and those that programs leave there."""
    found: list[Path] = []
    try:
        for here, inside, names in os.walk(folder):
            inside[:] = [name for name in inside if not name.startswith(".")]
            found += (Path(here, name) for name in names if not _LEFT_BEHIND.search(name))
    except OSError:
        return []
    return sorted(found)
