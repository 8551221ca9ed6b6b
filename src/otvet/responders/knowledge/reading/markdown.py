"""Markdown to blocks: headings, bold questions, lists in lists, tables, definition lists, or no heading at all."""

import re
from collections.abc import Iterator, Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

from otvet.responders.knowledge.reading.blocks import Block, one_line, table

_MARKDOWN = MarkdownIt("commonmark").enable("table")
COMMENT = re.compile(r"<!--(.*?)(?:-->|\Z)", re.DOTALL)
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_DEFINITION = re.compile(r"^:[ \t]+", re.MULTILINE)


def blocks(text: str) -> list[Block]:
    """The blocks of a Markdown text."""
    plain = _FRONT_MATTER.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return list(_walk(_MARKDOWN.parse(COMMENT.sub("", plain))))


def _walk(tokens: Sequence[Token]) -> Iterator[Block]:
    depth = -1
    rows: list[list[str]] = []
    for at, token in enumerate(tokens):
        match token.type:
            case "bullet_list_open" | "ordered_list_open":
                depth += 1
            case "bullet_list_close" | "ordered_list_close":
                depth -= 1
            case "table_open":
                rows = []
            case "tr_open":
                rows.append([])
            case "table_close":
                yield table(rows)
            case "inline":
                yield from _inline(tokens[at - 1], token, depth, rows)
            case "fence" | "code_block":
                yield Block("text", token.content.strip())


def _inline(opening: Token, token: Token, depth: int, rows: list[list[str]]) -> Iterator[Block]:
    text, lead = _words(token.children or [])
    match opening.type:
        case "heading_open":
            yield Block("heading", one_line(text), level=int(opening.tag[1:]))
        case "th_open" | "td_open":
            rows[-1].append(text)
        case _ if depth >= 0:
            yield Block("item", text, level=depth, lead=lead)
        case _:
            term, *meanings = _DEFINITION.split(text)
            if meanings and term.strip():  # "term" and below it ": meaning"
                yield Block("text", f"{one_line(term)}: {' '.join(map(one_line, meanings))}", lead=one_line(term))
            else:
                yield Block("text", text, lead=lead)


def _words(children: Sequence[Token]) -> tuple[str, str]:
    """The plain text of a line, and the bold or italic words that it begins with."""
    text, lead, strong, target = "", "", 0, ""
    leading = True
    for child in children:
        if child.type in ("strong_open", "em_open"):
            strong += 1
        elif child.type in ("strong_close", "em_close"):
            strong -= 1
        elif child.type == "link_open":
            target = str(child.attrs.get("href", ""))
        elif child.type == "link_close":
            text += f" ({target})" if "://" in target and not text.endswith(target) else ""
        else:
            said = "\n" if child.type in ("softbreak", "hardbreak") else child.content
            leading = leading and (strong > 0 or not said.strip())
            lead += said if leading else ""
            text += said
    return text.strip(), one_line(lead)
