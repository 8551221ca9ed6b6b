"""For the scripts at the root: run Otvet with the Python that runs them, or else in the project's environment."""

import os
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def otvet(*arguments: str) -> None:
    """Run ``otvet ARGUMENTS``, or say in one line how to install it. Does not return."""
    if any(metadata.distributions(name="otvet")):
        from otvet.cli import main

        main(list(arguments))
    program = ROOT / ".venv" / "bin" / "otvet"
    if not program.exists():
        sys.exit("Otvet is not installed yet. Run: make run   (Otvet ещё не установлен. Выполните: make run)")
    os.execv(program, [str(program), *arguments])  # noqa: S606 - our own program, no shell
