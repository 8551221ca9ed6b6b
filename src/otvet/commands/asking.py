"""Asks questions in the terminal; without a person there, names the option to give instead of the answer."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from otvet.errors import OtvetError, UsageError
from otvet.i18n import _

Check = Callable[[str], str]
"""Returns an answer in the form in which it is used; raises OtvetError if it cannot be used."""

YES, NO = ("y", "yes", "д", "да"), ("n", "no", "н", "нет", "")


def agrees(console: Console, question: str) -> bool:
    """Ask until the answer is yes or no, in either language; an empty answer is no. EOFError without a terminal."""
    prompt = Text(_("{question} (y/n): ").format(question=question))
    while (answer := console.input(prompt).strip().lower()) not in YES + NO:
        console.print(_("please answer y or n"))
    return answer in YES


class Asking:
    """Asks questions. unattended: no person is there to answer."""

    def __init__(self, console: Console, *, unattended: bool) -> None:
        self._console = console
        self.unattended = unattended

    def ask(self, question: str, option: str, *, hidden: bool = False, check: Check = str) -> str:
        """Ask for a required answer; if unattended, a UsageError names the option."""
        if self.unattended:
            raise UsageError(_("give {option}").format(option=option), exit_code=2)
        return self._until_taken(lambda: _typed(question, hide_input=hidden), check)

    def may_ask(self, question: str, check: Check = str) -> str:
        """Ask for an optional answer; empty if there is none."""
        if self.unattended:
            return ""
        return self._until_taken(
            lambda: _typed(question, default="", show_default=False), lambda answer: check(answer) if answer else ""
        )

    def choose(self, question: str, answers: Sequence[str]) -> int:
        """Ask which of the answers is chosen, counted from 0; the first is the default."""
        self._console.print(f"\n[bold]{question}[/]")
        self.number_them(answers)
        numbers = [str(at) for at in range(1, len(answers) + 1)]

        def check(answer: str) -> str:
            if answer not in numbers:
                raise UsageError(_("enter a number from 1 to {count}").format(count=len(numbers)))
            return answer

        return numbers.index(self._until_taken(lambda: _typed(_("Your choice"), default="1"), check))

    def number(self, question: str) -> int | None:
        """Ask for an optional number."""
        answer = self.may_ask(question, _above_zero)
        return int(answer) if answer else None

    def number_them(self, lines: Sequence[str]) -> None:
        """Print a numbered list, whose lines wrap beside their numbers in a narrow window."""
        for number, line in enumerate(lines, 1):
            self.beside(f"  {number}. ", line)

    def beside(self, mark: str, line: str) -> None:
        """Print a line that wraps beside its mark."""
        grid = Table.grid()
        grid.add_column()
        grid.add_column(overflow="fold")
        grid.add_row(Text(mark), Text(line))
        self._console.print(grid)

    def _until_taken(self, typed: Callable[[], str], check: Check) -> str:
        """Ask again after a wrong answer, so that earlier answers are not lost."""
        while True:
            try:
                return check(typed())
            except OtvetError as error:
                self._console.print(str(error), markup=False)


def _above_zero(answer: str) -> str:
    if not (answer.isascii() and answer.isdigit() and len(answer) < 19 and int(answer)):
        raise UsageError(_("enter a whole number above 0"))
    return answer


def _typed(question: str, *, hide_input: bool = False, default: str | None = None, show_default: bool = True) -> str:
    with _ending_on_ctrl_c():
        answer = typer.prompt(question, default=default, hide_input=hide_input, show_default=show_default)
    return str(answer).strip()


@contextmanager
def _ending_on_ctrl_c() -> Iterator[None]:
    """Let Ctrl-C end the prompt: asyncio's handler would only cancel the task, which is blocked by the prompt."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
