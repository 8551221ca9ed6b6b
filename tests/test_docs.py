"""The documents: whatever they point to is there, in both languages."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
ENGLISH_ONLY = {"decisions.md", "benchmarks.md", "contributing.md"}


@cache
def tokens(page: Path) -> list[Token]:
    found = MarkdownIt("commonmark", {"html": True}).enable("table").parse(page.read_text(encoding="utf-8"))
    return [*found, *(child for token in found for child in token.children or ())]


def links(page: Path) -> Iterator[str]:
    """Where the page points to inside the repository."""
    for token in tokens(page):
        targets = [token.attrs.get("href"), token.attrs.get("src")]
        if token.type in ("html_block", "html_inline"):
            targets = re.findall(r'(?:href|src|srcset)="([^"]+)"', token.content)
        for target in filter(None, targets):
            if not re.match(r"[a-z]+:", str(target)):
                yield unquote(str(target))


@cache
def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to a page's headings."""
    seen: Counter[str] = Counter()
    found = set()
    headings = iter(tokens(page))
    for token in headings:
        if token.type == "heading_open":
            inline = next(headings)
            text = "".join(child.content for child in inline.children or () if child.type in ("text", "code_inline"))
            name = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            found.add(f"{name}-{seen[name]}" if seen[name] else name)
            seen[name] += 1
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(link)
    assert broken == []


def test_links_and_headings_are_seen() -> None:
    """The test before would pass on a page of which it reads nothing."""
    readme = ROOT / "README.md"
    assert "docs/manus.md" in set(links(readme))
    assert "the-last-check" in anchors(ROOT / "docs" / "checks.md")


def test_a_page_in_one_language_has_its_pair() -> None:
    english = {page.name for page in ROOT.glob("docs/*.md")} - ENGLISH_ONLY
    assert english == {page.name for page in ROOT.glob("docs/ru/*.md")}


@pytest.mark.parametrize("readme", [ROOT / "README.md", ROOT / "README.ru.md"], ids=["en", "ru"])
def test_the_readme_leads_to_every_page(readme: Path) -> None:
    folder = "docs/" if readme.name == "README.md" else "docs/ru/"
    pages = {f"{folder}{page.name}" for page in ROOT.glob(f"{folder}*.md")}
    assert pages - {link.partition("#")[0] for link in links(readme)} == set()
