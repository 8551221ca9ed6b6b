"""Plain text, and the text of a PDF, to blocks: paragraphs, lines that look like headings, and lists."""

import io
import logging
import re
from collections.abc import Iterator, Sequence

from otvet.i18n import _
from otvet.responders.knowledge.reading.blocks import Block, Unreadable, one_line

_ITEM = re.compile(r"\s*(?:[-–—•*·▪●○]|\d{1,2}[.)])\s+(?=\S)")
_ENDS = re.compile(r"[.!?:;…»)\"]\s*$")
_UNDERLINE = re.compile(r"\s*([=\-_*~])\1{2,}\s*$")
_MOST_PAGES = 300
_LONGEST_TITLE = 60


def blocks(text: str) -> list[Block]:
    """The blocks of a plain text. An empty line ends a paragraph; so does a line of another kind."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n").split("\n")
    return list(_walk([line.rstrip() for line in lines]))


def of_pdf(content: bytes) -> list[Block]:
    """The blocks of a PDF with text."""
    try:
        text, count = _of_pages(content)
    except Exception as error:  # the library raises whatever a broken file makes it raise
        raise Unreadable(_("it is no whole PDF file: {cause}").format(cause=error)) from error
    if text is None:
        raise Unreadable(_("it has a password"))
    if count > _MOST_PAGES:
        raise Unreadable(_("it has more than {most} pages").format(most=_MOST_PAGES))
    if not text.strip():
        raise Unreadable(_("it holds pictures of pages and no text; save it as text"))
    return blocks(_joined(text))


def _of_pages(content: bytes) -> tuple[str | None, int]:
    """The text, None behind a password, and the number of pages; of a file with too many of them no text."""
    from pypdf import PdfReader  # not at the top: who only reads the database needs no parser

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # what is wrong with a file is told once, by us
    reader = PdfReader(io.BytesIO(content))
    if reader.is_encrypted and not reader.decrypt(""):
        return None, 0
    count = len(reader.pages)
    return "\n".join(page.extract_text() for page in reader.pages) if count <= _MOST_PAGES else "", count


def _joined(text: str) -> str:
    """Lines that a PDF broke at the margin, joined again: the next line goes on in small letters or with a figure."""
    lines = text.replace("\u00ad\n", "").split("\n")
    widest = max((len(line) for line in lines), default=0)
    out: list[str] = []
    for line in lines:
        before = out[-1] if out else ""
        goes_on = before.strip() and line.strip() and not _ITEM.match(line) and not _ENDS.search(before)
        if goes_on and (line.lstrip()[0].islower() or len(before) > widest * 0.75):
            out[-1] = f"{before.rstrip()} {line.lstrip()}"
        else:
            out.append(line)
    return "\n".join(out)


def _walk(lines: Sequence[str]) -> Iterator[Block]:
    paragraph: list[str] = []

    def whole() -> Iterator[Block]:
        if paragraph:
            yield Block("text", "\n".join(paragraph))
            paragraph.clear()

    for before, line, following in zip(["", *lines], lines, _following(lines), strict=False):
        if not line.strip() or _UNDERLINE.match(line):
            yield from whole()
        elif item := _ITEM.match(line):
            yield from whole()
            yield Block("item", line[item.end() :].strip(), level=len(line) - len(line.lstrip()) > 2)
        elif _is_title(line, before, following):
            yield from whole()
            yield Block("heading", one_line(line).strip("=-*#_ :"), level=2)
        else:
            paragraph.append(line.strip())
    yield from whole()


def _following(lines: Sequence[str]) -> list[str]:
    """For each line the next one that is not empty; empty after the last."""
    found, next_one = [], ""
    for line in reversed(lines):
        found.append(next_one)
        next_one = line if line.strip() else next_one
    return found[::-1]


def _is_title(line: str, before: str, following: str) -> bool:
    """Whether a line stands alone above a text, short and without an end."""
    text = line.strip()
    if len(text) > _LONGEST_TITLE or not following or (before.strip() and not _ENDS.search(before)):
        return False
    if text.isupper() and len(text) > 3:
        return True
    return (
        not before.strip() and not re.search(r"[.!?;,…]$|\d", text) and not _ITEM.match(following) and text[0].isupper()
    )
