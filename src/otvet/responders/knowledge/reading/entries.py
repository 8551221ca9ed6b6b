"""Entries out of blocks: what a person would quote of a file to a client."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from otvet.responders.knowledge.reading import tables
from otvet.responders.knowledge.reading.blocks import Block, one_line

_ASKS = re.compile(r"\s*(?:вопрос|question|в|q)\s*[:.]\s*(?=\S)", re.IGNORECASE)
_IS_ANSWER = re.compile(r"^\s*(?:ответ|answer|[ОOA])\s*[:.]\s*", re.IGNORECASE)
_LONGEST_QUESTION = 200
_OPEN = "часы работы, режим, opening hours"  # found by these too, never shown
_LONGEST_WHOLE = 420
"""A section up to this many characters is quoted whole; of a longer one, its parts."""
_LONGEST_LIST = 320
_LONGEST_LEAD = 80


@dataclass(frozen=True, slots=True)
class Entry:
    """What a person would quote; see ``passages.Passage``, which adds the file."""

    heading: str
    text: str
    above: tuple[str, ...] = ()
    other_words: str = ""
    kind: str = "text"


@dataclass(slots=True)
class _Section:
    """A heading, or a question, and what stands below it."""

    heading: str
    above: tuple[str, ...]
    asked: bool = False
    blocks: list[Block] = field(default_factory=list)


def entries(blocks: Sequence[Block], heading: str, above: tuple[str, ...] = ()) -> list[Entry]:
    """The entries of these blocks. heading: what a text without a heading is about; above: what stands above that."""
    return [entry for section in _sections(blocks, heading, above) for entry in _of_section(section)]


def _sections(blocks: Sequence[Block], heading: str, above: tuple[str, ...]) -> Iterator[_Section]:
    titles = [(0, title) for title in above]
    section = _Section(heading, above)
    for block in blocks:
        asked, answer = _question(block)
        if block.kind == "heading" and block.text:
            yield section
            titles = [(level, title) for level, title in titles if level < block.level]
            section = _Section(block.text, tuple(title for _level, title in titles), block.text.endswith("?"))
            titles.append((block.level, block.text))
        elif asked:
            yield section
            section = _Section(asked, tuple(title for _level, title in titles), asked=True)
            if answer:
                section.blocks.append(Block("text", answer))
        elif section.asked and block.kind == "text" and not section.blocks:
            section.blocks.append(Block("text", _IS_ANSWER.sub("", block.text)))
        else:
            section.blocks.append(block)
    yield section


def _question(block: Block) -> tuple[str, str]:
    """The question that a text begins with, and its answer in the same text; both empty if it begins with none."""
    if block.kind not in ("text", "item"):
        return "", ""
    text = block.text
    if asks := _ASKS.match(text):
        first, _newline, rest = text[asks.end() :].partition("\n")
        if not rest and (found := re.search(r"\?\s+", first)):
            first, rest = first[: found.start() + 1], first[found.end() :]
        return one_line(first), _IS_ANSWER.sub("", rest)
    lead = block.lead
    if lead.endswith("?") and one_line(text).startswith(lead):
        return lead, _IS_ANSWER.sub("", _after(text, lead))
    first, _newline, rest = text.partition("\n")
    if first.rstrip().endswith("?") and len(first) <= _LONGEST_QUESTION and block.kind == "text":
        return one_line(first), _IS_ANSWER.sub("", rest)
    return "", ""


def _after(text: str, lead: str) -> str:
    """What of a text follows the words that it begins with."""
    words = lead.split()
    pattern = r"\s*" + r"\s+".join(map(re.escape, words)) + r"[\s:.—–-]*"
    return re.sub(pattern, "", text, count=1)


def _of_section(section: _Section) -> Iterator[Entry]:
    blocks = [block for block in section.blocks if block.text or block.rows]
    whole = _text(blocks)
    if not whole and not any(block.kind == "table" for block in blocks):
        return
    if not any(block.kind == "table" for block in blocks) and (section.asked or len(whole) <= _LONGEST_WHOLE):
        yield Entry(section.heading, whole, section.above, kind="answer" if section.asked else "text")
        return
    inside = (*section.above, section.heading)
    for part in _parts(blocks):
        if part[-1].kind == "table":
            lead = part[0].text.strip(" :") if len(part) > 1 else ""
            yield from _of_table(part[-1], section, lead)
        else:
            yield from _of_part(part, section.heading, section.above, inside)


def _parts(blocks: Sequence[Block]) -> Iterator[list[Block]]:
    """Tables and paragraphs alone; a list with the line above it that leads to it."""
    part: list[Block] = []
    for block in blocks:
        if part and not _goes_on(part[-1], block):
            yield part
            part = []
        part.append(block)
    if part:
        yield part


def _goes_on(before: Block, block: Block) -> bool:
    """Whether a block belongs to the part that ends with the one before it."""
    if before.kind == "text":
        return (before.text.endswith(":") or _heads(before)) and block.kind in ("item", "table")
    return before.kind == block.kind == "item"


def _heads(block: Block) -> bool:
    """Whether a text looks like a heading of the list or the table below it."""
    text = block.text
    return block.kind == "text" and "\n" not in text and len(text) <= _LONGEST_LEAD and text[-1:] not in ".!?;"


def _of_part(part: Sequence[Block], heading: str, above: tuple[str, ...], inside: tuple[str, ...]) -> Iterator[Entry]:
    text = _text(part)
    if len(text) <= _LONGEST_LIST or len(part) == 1:
        named = bool(part[0].lead) or part[0].text.endswith(":") or (len(part) > 1 and _heads(part[0]))
        yield Entry(_title(part[0], heading, alone=len(part) == 1), text, inside if named else above)
        return
    lead = part[0] if part[0].kind == "text" else None
    item: list[Block] = []
    for block in [*(part[1:] if lead else part), Block("item")]:
        if item and block.level <= item[0].level:
            about = _title(lead, heading) if lead else heading
            yield Entry(_title(item[0], about), _text(item, as_list=False), (*inside, *([about] if lead else [])))
            item = []
        item.append(block)


def _title(block: Block, otherwise: str, *, alone: bool = False) -> str:
    """What a part is about: its bold words, or the line that leads to its list. alone: there is no list."""
    if block.lead:
        return block.lead.strip(" :.")
    first = block.text.split("\n")[0].strip()
    leads = first.endswith(":") and len(first) <= _LONGEST_QUESTION
    return first.strip(" :") if leads or (_heads(block) and not alone) else otherwise


def _of_table(block: Block, section: _Section, lead: str) -> Iterator[Entry]:
    found = tables.understood(block.rows, f"{block.context} {lead} {section.heading} {' '.join(section.above)}")
    if found is None:
        rows = "\n".join(" — ".join(filter(None, row)) for row in block.rows if any(row))
        yield Entry(section.heading, rows, section.above)
        return
    titles = [*filter(None, found.title.split("\n")), *filter(None, [lead])]
    above = (*section.above, section.heading, *titles)
    whole = "\n".join([*(f"{title}:" for title in titles[-1:]), found.whole])
    if found.hours:
        yield Entry(section.heading, whole, (*section.above, *titles, _OPEN), kind="hours")
        return
    if len(whole) <= _LONGEST_WHOLE and len(found.lines) > 1:
        yield Entry(section.heading, whole, (*section.above, *titles), kind="table")
    for line in found.lines:
        yield Entry(line.name, line.text, (*above, *filter(None, [line.group])), line.other_words, kind="row")


def _text(blocks: Sequence[Block], *, as_list: bool = True) -> str:
    lines = []
    for at, block in enumerate(blocks):
        if block.kind == "table":
            found = tables.understood(block.rows, block.context)
            lines.append(found.whole if found else "")
        elif block.kind == "item" and (as_list or at):
            lines.append(f"{'  ' * block.level}• {block.text}")
        else:
            lines.append(block.text)
    return "\n".join(filter(None, lines)).strip()
