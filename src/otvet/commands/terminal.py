"""Translates Typer's own words, and shows its errors as one line.

Typer translates a part of its words with the standard library's gettext; the rest is English only.
"""

import gettext
import os
import unicodedata
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

from otvet.i18n import LOCALE, N_, _, interface_language

if TYPE_CHECKING:
    from rich.table import Table

# The words that Typer itself looks up, marked for the catalogue.
TYPERS_OWN = (
    N_("Arguments"),
    N_("Options"),
    N_("Commands"),
    N_("default: {default}"),
    N_("required"),
    N_("Missing command."),
    N_("No such command {name!r}."),
    N_("Aborted!"),
)


def speak() -> None:
    """Let Typer find our catalogue."""
    os.environ["LANGUAGE"] = interface_language()
    gettext.bindtextdomain("otvet", LOCALE)
    gettext.textdomain("otvet")


class _Speaking:
    """The English words of Command and Group, translated."""

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        pieces = self.collect_usage_pieces(ctx)  # type: ignore[attr-defined]
        formatter.write_usage(ctx.command_path, " ".join(pieces), prefix=_("Usage: "))

    def get_help_option(self, ctx: Any) -> Any:
        option = super().get_help_option(ctx)  # type: ignore[misc]
        if option is not None:
            option.help = _("Show this message and exit.")
        return option


class Command(_Speaking, TyperCommand):
    """A command in the interface's language."""


class Group(_Speaking, TyperGroup):
    """A group of commands in the interface's language."""


def whole(table: "Table") -> "Table":
    """The table, with long words such as addresses wrapped; Rich would cut them off."""
    for column in table.columns:
        column.overflow = "fold"
    return table


def is_help(error: typer.TyperException) -> bool:
    """Whether this is no error: ``otvet`` without a command shows the list of commands."""
    return type(error).__name__ == "NoArgsIsHelpError"


def explain(error: typer.TyperException) -> str:
    """An error in the arguments as one line with the next step."""
    name = type(error).__name__
    if name == "NoSuchOption":
        sentence = _("there is no option {name}").format(name=getattr(error, "option_name", ""))
    elif name == "BadParameter":
        sentence = _unusable(getattr(error, "param", None))
    elif name in ("MissingParameter", "BadOptionUsage", "BadArgumentUsage"):
        sentence = _("a value is missing, or there is one too many")
    else:
        sentence = str(getattr(error, "message", error)).rstrip(".")
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "otvet"
    return _("{sentence}; see {command} --help").format(sentence=sentence, command=path)


def _unusable(parameter: Any) -> str:
    """The sentence about a value that cannot be used; for a number with its limits."""
    is_option = any(name.startswith("-") for name in getattr(parameter, "opts", ()))
    name = parameter.opts[0] if is_option else getattr(parameter, "metavar", None) or "?"
    sentence = _("the value of {name} cannot be used").format(name=name)
    kind = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
    if kind not in (int, float):
        return sentence
    needed = _("give a whole number") if kind is int else _("give a number")
    least, most = parameter.min, parameter.max
    if least is not None and most is not None:
        needed += " " + _("from {least} to {most}").format(least=least, most=most)
    elif least is not None:
        needed += " " + _("of at least {least}").format(least=least)
    return f"{sentence}: {needed}"


def printable(text: str) -> str:
    """A client's text without characters that could move the cursor or reverse the line; line breaks stay."""
    return "".join(
        char if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf", "Cs") else "\ufffd" for char in text
    )
