"""Measure how well Otvet answers, print it, and write ``docs/answer-quality.md`` and its Russian twin.

Run: make eval. Fails when an aim is missed.
"""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from evals import drafts, folders, guard, local, meaning
from evals.section import Section

ROOT = Path(__file__).resolve().parent.parent
PAGES = {"en": ROOT / "docs" / "answer-quality.md", "ru": ROOT / "docs" / "ru" / "answer-quality.md"}

MEASUREMENTS: tuple[Callable[[], Section], ...] = (
    local.section,
    folders.section,
    guard.section,
    drafts.section,
    meaning.section,
)
"""Each gives a section of the page and the aims it missed; they stand on the page in this order."""


def page(language: str, sections: Iterable[Section]) -> str:
    """The whole page in a language."""
    beginning = Path(__file__).with_name(f"page.{language}.md").read_text(encoding="utf-8")
    return beginning + "\n".join(section.text[language] for section in sections)


def main() -> int:
    """Do all of it; 0 if every aim is reached."""
    sections = [measure() for measure in MEASUREMENTS]
    for language, file in PAGES.items():
        file.write_text(page(language, sections), encoding="utf-8")
    print("\n".join(section.text["en"] for section in sections))
    failures = [failure for section in sections for failure in section.failures]
    for failure in failures:
        print(f"missed: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
