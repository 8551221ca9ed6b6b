"""The command line. Each command is a few lines over a function elsewhere, imported when it is called."""

import sys
from typing import Annotated

import typer

from otvet.errors import OtvetError, UsageError
from otvet.i18n import _

app = typer.Typer(
    name="otvet",
    help=_("Otvet answers the clients who write to your amoCRM, and loses nothing of what they wrote."),
    epilog=_("Settings come from the environment or from .env; see docs/settings.md."),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)

Lead = Annotated[int | None, typer.Argument(help=_("The deal's number in amoCRM; all deals without it."), show_default=False)]
BaseUrl = Annotated[str | None, typer.Option("--url", help=_("The server's address, if it is not the one of the settings."))]
Live = Annotated[bool, typer.Option("--live", help=_("Go ahead although a real amoCRM or Manus is connected."))]


@app.command(help=_("Start the service.\n\nExample: otvet serve"))
def serve() -> None:
    from otvet import config, serve

    serve.serve(config.load_settings())


@app.command(help=_("Show clients, conversations and messages.\n\nExamples: otvet view; otvet view 27754599"))
def view(lead: Lead = None) -> None:
    from otvet import config, view

    view.show(config.load_settings(), lead)


@app.command(
    help=_(
        "Play amoCRM against the running server and check what comes of it.\n\n"
        'Examples: otvet simulate; otvet simulate "Сколько стоит доставка?" --lead 12345'
    )
)
def simulate(
    text: Annotated[str | None, typer.Argument(help=_("One message; a whole scene without it."), show_default=False)] = None,
    lead: Annotated[int, typer.Option(help=_("The deal that the message is written in."), min=1)] = 899_999_999,
    url: BaseUrl = None,
    live: Live = False,
) -> None:
    from otvet import config, simulate

    settings = config.load_settings()
    if text is None:
        good = simulate.whole_scene(settings, url, live=live)
    else:
        good = simulate.one_message(settings, text, lead, url, live=live)
    raise typer.Exit(0 if good else 1)


@app.command(help=_("Try the database layer in a temporary database.\n\nExample: otvet selftest"))
def selftest() -> None:
    from otvet import selftest

    raise typer.Exit(0 if selftest.run() else 1)


@app.command(help=_("Say what is configured and whether it works.\n\nExample: otvet check"))
def check() -> None:
    from otvet import check, config

    raise typer.Exit(0 if check.run(config.load_settings()) else 1)


@app.command(help=_("Show the totals.\n\nExample: otvet stats"))
def stats() -> None:
    from otvet import config, report

    report.show(config.load_settings())


def main(arguments: list[str] | None = None) -> None:
    """The entry point; an error on purpose is one line on stderr."""
    try:
        app(arguments)
    except OtvetError as error:
        print(error, file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code if isinstance(error, UsageError) else 1)
