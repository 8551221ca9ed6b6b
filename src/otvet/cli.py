"""The command line. Each command is a few lines over a function elsewhere, imported when it is called."""

import sys
from typing import Annotated

import typer

from otvet.errors import OtvetError, UsageError
from otvet.i18n import _
from otvet.terminal import Command, Group, explain, is_help, speak

speak()

app = typer.Typer(
    name="otvet",
    cls=Group,
    help=_("Otvet answers the clients who write to your amoCRM, and loses nothing of what they wrote."),
    epilog=_("Settings come from the environment or from .env; see docs/settings.md."),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)

Lead = Annotated[
    str | None,
    typer.Argument(metavar="LEAD", help=_("The deal's number in amoCRM; all deals without it."), show_default=False),
]
OneLead = Annotated[str, typer.Argument(metavar="LEAD", help=_("The deal's number in amoCRM."))]
BaseUrl = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help=_("The server's address, if it is not the one of the settings.")),
]
Live = Annotated[bool, typer.Option("--live", help=_("Go ahead although a real amoCRM or Manus is connected."))]


@app.command(cls=Command, help=_("Start the service.\n\nExample: otvet serve"))
def serve() -> None:
    from otvet import config, serve

    serve.serve(config.load_settings())


@app.command(
    cls=Command, help=_("Show clients, conversations and messages.\n\nExamples: otvet view; otvet view 27754599")
)
def view(lead: Lead = None) -> None:
    from otvet import config, view

    view.show(config.load_settings(), _number(lead) if lead is not None else None)


@app.command(
    cls=Command,
    help=_(
        "Play amoCRM against the running server.\n\n"
        'Examples: otvet simulate; otvet simulate "Сколько стоит доставка?" --lead 12345'
    ),
)
def simulate(
    text: Annotated[
        str | None,
        typer.Argument(metavar="TEXT", help=_("One message; a whole scene without it."), show_default=False),
    ] = None,
    lead: Annotated[
        str, typer.Option(metavar="LEAD", help=_("The deal that the message is written in."))
    ] = "899999999",
    url: BaseUrl = None,
    live: Live = False,
) -> None:
    from otvet import config, simulate

    settings = config.load_settings()
    if text is None:
        good = simulate.whole_scene(settings, url, live=live)
    else:
        good = simulate.one_message(settings, text, _number(lead), url, live=live)
    raise typer.Exit(0 if good else 1)


@app.command(cls=Command, help=_("Try the database layer in a temporary database.\n\nExample: otvet selftest"))
def selftest() -> None:
    from otvet import selftest

    raise typer.Exit(0 if selftest.run() else 1)


@app.command(cls=Command, help=_("Say what is configured and whether it works.\n\nExample: otvet check"))
def check() -> None:
    from otvet import check, config

    raise typer.Exit(0 if check.run(config.load_settings()) else 1)


@app.command(cls=Command, help=_("Show the totals.\n\nExample: otvet stats"))
def stats() -> None:
    from otvet import config, report

    report.show(config.load_settings())


@app.command(
    cls=Command,
    help=_("Leave a deal to people.\n\nExamples: otvet pause 27754599; otvet pause 27754599 --minutes 60"),
)
def pause(
    lead: OneLead,
    minutes: Annotated[
        float | None,
        typer.Option(metavar="N", help=_("For so long; without it until otvet resume."), min=1, show_default=False),
    ] = None,
) -> None:
    from otvet import config, operate

    operate.pause(config.load_settings(), _number(lead), minutes)


@app.command(cls=Command, help=_("Let the assistant answer in a deal again.\n\nExample: otvet resume 27754599"))
def resume(lead: OneLead) -> None:
    from otvet import config, operate

    operate.resume(config.load_settings(), _number(lead))


@app.command(
    cls=Command,
    help=_(
        "List the turns that need a person, or those in a state.\n\nExamples: otvet turns; otvet turns --state sent"
    ),
)
def turns(
    state: Annotated[
        str | None,
        typer.Option(metavar="STATE", help=_("failed, handed, cancelled, kept, sent ..."), show_default=False),
    ] = None,
) -> None:
    from otvet import config, operate

    operate.show(config.load_settings(), state)


@app.command(cls=Command, help=_("Have a turn answered that ended without a reply.\n\nExample: otvet retry 17"))
def retry(turn: Annotated[str, typer.Argument(metavar="TURN", help=_("Its number in otvet turns."))]) -> None:
    from otvet import config, operate

    operate.retry(config.load_settings(), _number(turn))


@app.command(
    "copy-database",
    cls=Command,
    help=_(
        "Copy a history to another, empty database.\n\n"
        "Example: otvet copy-database sqlite:///conversations.db postgresql://otvet:PASSWORD@db.example.com/otvet"
    ),
)
def copy_database(
    source: Annotated[str, typer.Argument(metavar="FROM", help=_("The address of the database to read."))],
    target: Annotated[str, typer.Argument(metavar="TO", help=_("The address of an empty database."))],
) -> None:
    from otvet import copy_database

    copy_database.copy(source, target)


def _number(lead: str) -> int:
    if not (lead.isascii() and lead.isdigit() and len(lead) < 19):
        raise UsageError(_("{text} is not a number of a deal or a turn").format(text=lead), exit_code=2)
    return int(lead)


def main(arguments: list[str] | None = None) -> None:
    """The entry point; an error on purpose is one line on stderr."""
    try:
        sys.exit(app(arguments, standalone_mode=False))
    except typer.Abort:
        sys.exit(130)
    except typer.TyperException as error:
        if is_help(error):
            print(error)  # noqa: T201
            sys.exit(0)
        print(explain(error), file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except OtvetError as error:
        print(error, file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code if isinstance(error, UsageError) else 1)
