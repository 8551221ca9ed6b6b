"""A saved page, or a Word document, to blocks."""

import io
import re
from collections.abc import Iterator
from typing import Any

from otvet.i18n import _
from otvet.responders.knowledge.reading.blocks import Block, Unreadable, one_line, table

_RUBBISH = "script, style, noscript, template, nav, footer, form, iframe, svg, button, select, input, head > meta"
_NAMED_RUBBISH = re.compile(
    r"(?:^|[-_ ])(?:menu|nav|footer|breadcrumbs?|cookie|share|social|banner|ads?)(?:$|[-_ ])", re.I
)
_MOST_NODES, _DEEPEST = 50_000, 60
_HEADING = re.compile(r"h[1-6]")
_BOLD = ("b", "strong")
_INLINE = (*_BOLD, "em", "i", "span", "a", "u", "small", "code", "sup", "sub", "mark", "time", "font")
_MAIN = ("main", "article", "#content", ".content", "body")


def of_html(html: str) -> list[Block]:
    """The blocks of a page, without its menus, scripts and footers."""
    from selectolax.lexbor import LexborHTMLParser  # not at the top: who only reads the database needs no parser

    page = LexborHTMLParser(html)
    for node in page.css(_RUBBISH):
        node.decompose()
    for node in page.css("div, ul, section, aside, header"):
        if _NAMED_RUBBISH.search(f"{node.attributes.get('class') or ''} {node.attributes.get('id') or ''}"):
            node.decompose()
    root = next((found for selector in _MAIN if (found := page.css_first(selector)) and found.text(strip=True)), None)
    return [] if root is None else list(_walk(root, 0, [0]))


def of_docx(content: bytes) -> list[Block]:
    """The blocks of a Word document."""
    import mammoth  # not at the top: who only reads the database needs no parser

    without_pictures = mammoth.images.img_element(lambda _image: {})
    try:
        html = mammoth.convert_to_html(io.BytesIO(content), convert_image=without_pictures).value
    except Exception as error:  # the library raises whatever its parsers raise
        raise Unreadable(_("it is no whole Word file: {cause}").format(cause=error)) from error
    return of_html(html)


def _walk(node: Any, depth: int, seen: list[int]) -> Iterator[Block]:
    """The blocks below a node; text beside blocks is a paragraph of its own."""
    loose: list[str] = []
    bold = ""

    def paragraph() -> Iterator[Block]:
        nonlocal bold
        text = "\n".join(filter(None, (one_line(line) for line in "".join(loose).split("\n"))))
        if text and text.count("|") < 3:  # else a menu of links
            yield Block("text", text, lead=bold if text.startswith(bold) else "")
        loose.clear()
        bold = ""

    for child in node.iter(include_text=True):
        seen[0] += 1
        if seen[0] > _MOST_NODES or depth > _DEEPEST:
            return
        tag = child.tag
        if tag == "-text":
            loose.append(child.text_content or "")
        elif tag == "br":
            loose.append("\n")
        elif tag in _INLINE:
            text = child.text(deep=True)
            if tag in _BOLD and not "".join(loose).strip():
                bold = one_line(text)
            loose.append(text)
        else:
            yield from paragraph()
            yield from _block(child, depth, seen)
    yield from paragraph()


def _block(node: Any, depth: int, seen: list[int]) -> Iterator[Block]:
    tag = node.tag
    if _HEADING.fullmatch(tag):
        if text := one_line(node.text(deep=True, separator=" ")):
            yield Block("heading", text, level=int(tag[1]))
    elif tag == "table":
        rows = [[cell.text(deep=True, separator=" ") for cell in row.css("td, th")] for row in node.css("tr")]
        if len(rows) == 1 or all(len(row) < 2 for row in rows):  # a table that only lays the page out
            yield from (Block("text", one_line(cell)) for row in rows for cell in row if cell.strip())
        else:
            yield table(rows)
    elif tag in ("ul", "ol"):
        for item in node.iter():
            own = [one for one in _walk(item, depth + 1, seen) if one.text or one.rows]
            for number, one in enumerate(own):
                yield one if one.kind != "text" else Block("item", one.text, level=depth if not number else depth + 1)
    elif tag == "dt":
        yield Block("heading", one_line(node.text(deep=True, separator=" ")), level=7)
    else:
        yield from _walk(node, depth + 1, seen)
