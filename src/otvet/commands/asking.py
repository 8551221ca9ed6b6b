"""Questions in the terminal, or the option that was to be given in place of the answer."""

from collections.abc import Sequence

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from otvet.errors import UsageError
from otvet.i18n import _


class Asking:
    """unattended: nobody is there to answer."""

    def __init__(self, console: Console, *, unattended: bool) -> None:
        self._console = console
        self.unattended = unattended

    def ask(self, question: str, option: str, *, hidden: bool = False) -> str:
        """An answer that is needed; UsageError names the option where nobody is there."""
        if self.unattended:
            raise UsageError(_("give {option}").format(option=option), exit_code=2)
        return str(typer.prompt(question, hide_input=hidden)).strip()

    def may_ask(self, question: str) -> str:
        """An answer that may be left out."""
        return "" if self.unattended else str(typer.prompt(question, default="", show_default=False)).strip()

    def choose(self, question: str, answers: Sequence[str]) -> int:
        """Which of the answers, counted from 0; the first is the usual one. Asked until it is one of them."""
        self._console.print(f"\n[bold]{question}[/]")
        self.number_them(answers)
        numbers = [str(at) for at in range(1, len(answers) + 1)]
        while (answer := str(typer.prompt(_("Your choice"), default="1")).strip()) not in numbers:
            pass
        return numbers.index(answer)

    def number(self, question: str) -> int | None:
        """A number, or nothing."""
        while answer := self.may_ask(question):
            if answer.isascii() and answer.isdigit() and int(answer):
                return int(answer)
        return None

    def number_them(self, lines: Sequence[str]) -> None:
        """A numbered list that stays one, however narrow the window is."""
        for number, line in enumerate(lines, 1):
            self.beside(f"  {number}. ", line)

    def beside(self, mark: str, line: str) -> None:
        """A line after a mark, with all that it is wrapped into."""
        grid = Table.grid()
        grid.add_column()
        grid.add_column(overflow="fold")
        grid.add_row(Text(mark), Text(line))
        self._console.print(grid)
