"""Write what is generated: the pages of settings and commands, the tables as SQL, the compiled catalogues.

``--check`` only looks.

Run: python -m tools.generate [--check]
"""

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

ROOT = Path(__file__).resolve().parent.parent
CATALOGUES = sorted((ROOT / "src" / "otvet" / "locale").glob("*/LC_MESSAGES/otvet.po"))
LANGUAGES = {"en": ROOT / "docs", "ru": ROOT / "docs" / "ru"}


def generated() -> Iterator[tuple[Path, bytes]]:
    """Every generated file and what must stand in it."""
    for catalogue in CATALOGUES:
        yield catalogue.with_suffix(".mo"), _compiled(catalogue)
    for language, folder in LANGUAGES.items():
        yield folder / "settings.md", _page("settings", language)
        yield folder / "commands.md", _page("commands", language)
    yield ROOT / "database_schema.sql", _page("schema", "en")


def _compiled(path: Path) -> bytes:
    with path.open("rb") as file:
        catalogue = read_po(file)
    missing = [message.id for message in catalogue if message.id and not _is_translated(message.string)]
    if missing:
        sys.exit(f"not translated in {path.relative_to(ROOT)}:\n" + "\n".join(f"  {text!r}" for text in missing))
    buffer = io.BytesIO()
    write_mo(buffer, catalogue)
    return buffer.getvalue()


def _is_translated(text: str | tuple[str, ...]) -> bool:
    return bool(text) if isinstance(text, str) else all(text)


def _page(name: str, language: str) -> bytes:
    """In a process of its own: a process speaks one interface language."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OTVET_")}
    environment |= {"OTVET_LANG": language, "NO_COLOR": "1", "COLUMNS": "100", "TERMINAL_WIDTH": "100"}
    module = f"tools.pages.{name}"
    page = subprocess.run([sys.executable, "-m", module], cwd=ROOT, env=environment, capture_output=True, check=True)  # noqa: S603 - ourselves
    return page.stdout


def main() -> None:
    check = "--check" in sys.argv[1:]
    stale = []
    for path, content in generated():
        if path.exists() and path.read_bytes() == content:
            continue
        stale.append(str(path.relative_to(ROOT)))
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    if stale:
        print(("out of date, run make docs: " if check else "written: ") + ", ".join(stale))
    sys.exit(1 if check and stale else 0)


if __name__ == "__main__":
    main()
