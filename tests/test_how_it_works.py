"""The pages about the inside of the program: every function, file and room that they name is there."""

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import otvet
from tests.test_docs import PAGES, ROOT

PROGRAM = Path(otvet.__file__).parent
ENGLISH = ROOT / "docs" / "how-it-works.md"
RUSSIAN = ROOT / "docs" / "ru" / "how-it-works.md"
GLOSSARY = ROOT / "docs" / "glossary.md", ROOT / "docs" / "ru" / "glossary.md"
BOTH = pytest.mark.parametrize("page", [ENGLISH, RUSSIAN], ids=["en", "ru"])
PICTURES = sorted(ROOT.glob("docs/**/*.svg"))
PAIR = re.compile(r"`([\w/]+\.py)`\s+`([A-Za-z_][\w.]*)`")


def pairs(text: str) -> list[tuple[str, str]]:
    """(file, name in it) where a page names both, in the order of the page."""
    return PAIR.findall(text)


@cache
def names(file: str) -> frozenset[str]:
    """What a file defines: functions, classes, constants, and the methods of classes; nothing if it is not there."""
    found = (place / file for place in (PROGRAM, ROOT) if (place / file).is_file())
    return frozenset(name for path in found for name in defined(ast.parse(path.read_text("utf-8")).body))


def defined(body: list[ast.stmt], inside: str = "") -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield inside + node.name
        if isinstance(node, ast.ClassDef):
            yield from defined(node.body, f"{inside}{node.name}.")
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (inside + target.id for target in targets if isinstance(target, ast.Name))


def unknown(text: str) -> list[str]:
    """The pairs of a page that the code does not have."""
    return [f"{file} {name}" for file, name in pairs(text) if name not in names(file)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_function_that_a_page_names_is_there(page: Path) -> None:
    assert unknown(page.read_text("utf-8")) == []


@BOTH
def test_every_step_names_its_function(page: Path) -> None:
    steps = re.findall(r"^\d+\. .*(?:\n {3,}.*)*", page.read_text("utf-8"), re.MULTILINE)
    assert len(steps) >= 15
    assert [step for step in steps if not pairs(step) and "200" not in step] == []


def test_both_languages_name_the_same_functions() -> None:
    assert pairs(ENGLISH.read_text("utf-8")) == pairs(RUSSIAN.read_text("utf-8"))


def test_both_glossaries_have_the_terms_of_both_languages() -> None:
    """A row begins with the term in the page's language and in the other one, and ends with the place in the code."""
    row = re.compile(r"^\| (.+?) \| (.+?) \| .* \| (`.+` `.+`) \|$", re.MULTILINE)
    english, russian = (row.findall(page.read_text("utf-8")) for page in GLOSSARY)
    assert len(english) > 30
    assert english == [(other, term, place) for term, other, place in russian]


@BOTH
def test_the_table_of_rooms_is_the_contract_of_the_imports(page: Path) -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts]
    assert [f"otvet.{room}" for room in rooms(page)] == layers


def rooms(page: Path) -> list[str]:
    return re.findall(r"^\| `(\w+)` \| \S", page.read_text("utf-8"), re.MULTILINE)


def test_contributors_are_told_the_same_order() -> None:
    page = (ROOT / "docs" / "contributing.md").read_text("utf-8")
    (order,) = re.findall(r"```text\n(cli > [\w >\n]+)```", page)
    assert order.replace(">", " ").split() == rooms(ENGLISH)


@pytest.mark.parametrize("page", [*PAGES, *PICTURES], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    """A file is named by its path in the program or in the repository; a test, by its name alone."""
    named = set(re.findall(r"(?<![\w/*.])[\w/]+\.py\b", page.read_text("utf-8")))
    places = (PROGRAM, ROOT, ROOT / "tests")
    assert sorted(name for name in named if not any((place / name).is_file() for place in places)) == []


def test_what_is_not_there_is_seen() -> None:
    """The tests before would pass on a page of which they read nothing."""
    assert unknown("`turns/turn.py` `Turn.from_row`, then\n`turns/turn.py`\n    `State`") == []
    gone = "`turns/turn.py` `Turn.gone`, `turns/gone.py` `Turn`"
    assert unknown(gone) == ["turns/turn.py Turn.gone", "turns/gone.py Turn"]
