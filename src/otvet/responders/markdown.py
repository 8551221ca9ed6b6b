"""Turns Markdown into plain text for messengers."""

import re
from collections.abc import Sequence

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode


class _Parser(MarkdownIt):
    """CommonMark; addresses stay as they are written, Cyrillic ones too."""

    def normalizeLink(self, url: str) -> str:  # noqa: N802 - the library's name
        return url

    def normalizeLinkText(self, link: str) -> str:  # noqa: N802 - the library's name
        return link


# Without "reference": a line such as "[Delivery]: free" would vanish as the definition of a link.
_PARSER = _Parser("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("reference")

# In a sales chat "100*200*50" is a size, "> 500 ₽" a condition and "+ 500 ₽" a surcharge: these signs are replaced
# while the text is parsed.
_KEPT = {"*": "\ue000", ">": "\ue001", "+": "\ue002"}
_KEEP = re.compile(r"(?<=\w)\*(?=\w)|(?<!\S)[>+](?=\s?[\d=₽$€])")
_RESTORE = str.maketrans({code: char for char, code in _KEPT.items()})

_STRUCK = "\ue003"
_GAP = re.compile(rf"^{_STRUCK} *| *{_STRUCK}", re.MULTILINE)

_LANGUAGE = re.compile(r"\s*[A-Za-z+#-]*\s*")  # after the opening of a block of code
_LINE_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_FORMATTING = re.compile(r"</?(?:b|strong|i|em|u|s|p|span|div|code)>", re.IGNORECASE)


def plain_text(markdown: str) -> str:
    """The text without Markdown's marks: bullets become "• ", links "text (address)".

    Struck-out text is left out: without the line an old price would look like a price.
    """
    protected = _KEEP.sub(lambda match: _KEPT[match[0]], markdown.translate(_RESTORE).replace(_STRUCK, ""))
    text = _blocks(SyntaxTreeNode(_PARSER.parse(protected)).children)
    return _GAP.sub("", text).translate(_RESTORE).strip()


def _blocks(nodes: Sequence[SyntaxTreeNode]) -> str:
    text, before = "", None
    for node in nodes:
        block = _block(node)
        if text and block:
            text += "\n" if before and _belongs_to(before, node) else "\n\n"
        text += block
        before = node
    return text


def _belongs_to(before: SyntaxTreeNode, node: SyntaxTreeNode) -> bool:
    """Whether there is no empty line between two blocks: after a heading, and before a list without one in Markdown."""
    if before.type == "heading":
        return True
    touches = before.map and node.map and before.map[1] == node.map[0]
    return bool(touches and before.type == "paragraph" and node.type.endswith("_list"))


def _block(node: SyntaxTreeNode) -> str:
    match node.type:
        case "inline":
            return _inline(node.children)
        case "fence" | "code_block":
            words = "" if _LANGUAGE.fullmatch(node.info) else node.info.strip()
            return "\n".join(filter(None, [words, node.content.strip("\n")]))
        case "hr":
            return ""
        case "bullet_list" | "ordered_list" | "table" | "thead" | "tbody":
            return "\n".join(filter(None, map(_block, node.children)))
        case "list_item":
            marker = f"{node.info}{node.markup} " if node.info else "• "
            return marker + "\n".join(filter(None, map(_block, node.children))).replace("\n", "\n  ")
        case "tr":
            return " | ".join(map(_block, node.children))
        case _:
            return _blocks(node.children)


def _inline(nodes: Sequence[SyntaxTreeNode]) -> str:
    return "".join(map(_span, nodes))


def _span(node: SyntaxTreeNode) -> str:
    match node.type:
        case "text":
            return _FORMATTING.sub("", _LINE_BREAK.sub("\n", node.content))
        case "code_inline":
            return node.content
        case "softbreak" | "hardbreak":
            return "\n"
        case "link":
            return _link(_inline(node.children), str(node.attrs["href"]))
        case "image":
            return _link(_inline(node.children), str(node.attrs["src"]))
        case "s":
            return _STRUCK
        case _:
            return _inline(node.children)


def _link(text: str, address: str) -> str:
    shown = address.removeprefix("mailto:").removeprefix("tel:")
    if not text or text == shown:
        return shown
    return text if _signs(text) == _signs(shown) else f"{text} ({shown})"


def _signs(text: str) -> str:
    """A key that is equal for two spellings of a number or an address."""
    return "".join(filter(str.isalnum, text)).casefold()
