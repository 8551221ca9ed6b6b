"""The page that keeps the last measurement."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"


def keep(name: str, text: str) -> None:
    """Put a table in place of the one before, between the comments of that name."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    page = PAGE.read_text(encoding="utf-8")
    part = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    PAGE.write_text(part.sub(lambda _found: f"{begin}\n{text}\n{end}", page), encoding="utf-8")
