"""For the scripts at the root: run Otvet in the project's environment, whichever Python they were started with."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def otvet(*arguments: str) -> None:
    """Become ``otvet ARGUMENTS``, or say in one line how to get the environment. Does not return."""
    program = ROOT / ".venv" / "bin" / "otvet"
    if not program.exists():
        sys.exit("Otvet is not installed yet. Run: make run   (Otvet ещё не установлен. Выполните: make run)")
    os.execv(program, [str(program), *arguments])  # noqa: S606 - our own program, no shell
