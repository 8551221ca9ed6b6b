"""The command line: each command calls a function of ``commands``, imported only when it runs."""

import logging
import sys
from typing import Annotated

import typer

from otvet.commands.terminal import Command, Group, explain, is_help, speak
from otvet.errors import OtvetError, UsageError
from otvet.i18n import N_, _

BROKEN_OFF = N_("Broken off. What was written already is kept; start the same command again to go on.")

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
Turn = Annotated[str, typer.Argument(metavar="NUMBER", help=_("The question's number in otvet turns."))]
BaseUrl = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help=_("The server's address, if it is not the one of the settings.")),
]
UserName = Annotated[
    str | None, typer.Argument(metavar="NAME", help=_("The user; needed if there are several."), show_default=False)
]
Live = Annotated[bool, typer.Option("--live", help=_("Go ahead although a real Manus is connected."))]


@app.command(cls=Command, help=_("Start the service.\n\nExample: otvet serve"))
def serve() -> None:
    from otvet.commands import serve
    from otvet.settings.loading import load_settings

    serve.serve(load_settings())


@app.command(
    cls=Command, help=_("Show clients, conversations and messages.\n\nExamples: otvet view; otvet view 27754599")
)
def view(lead: Lead = None) -> None:
    from otvet.app.at_hand import load
    from otvet.commands import view

    view.show(load(), _number(lead) if lead is not None else None)


@app.command(
    cls=Command,
    help=_(
        "Play amoCRM against the running server. Its chats are trials, which no list and no number counts.\n\n"
        'Examples: otvet simulate; otvet simulate "Сколько стоит доставка?" --lead 12345; otvet simulate --clean'
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
    clean: Annotated[bool, typer.Option("--clean", help=_("Erase all trial chats and play nothing."))] = False,
) -> None:
    from otvet.app.at_hand import load
    from otvet.commands import simulate

    settings = load()
    if clean:
        simulate.clean(settings)
        return
    if text is None:
        good = simulate.whole_scene(settings, url, live=live)
    else:
        good = simulate.one_message(settings, text, _number(lead), url, live=live)
    raise typer.Exit(0 if good else 1)


@app.command(
    cls=Command,
    help=_(
        "Show what the knowledge folder has for a question, and the local answer to it. Nothing is sent or stored.\n\n"
        'Examples: otvet ask "Сколько стоит доставка?"; otvet ask "Хочу плед" "шерстяной" "сколько стоит?"'
    ),
)
def ask(
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT", help=_("What the client writes, one text a message; asked for if left out.")),
    ] = None,
) -> None:
    from otvet.app.at_hand import load
    from otvet.commands import ask

    ask.ask(load(), texts or [typer.prompt(_("What does the client write?"))])


@app.command(cls=Command, help=_("Try the database layer in a temporary database.\n\nExample: otvet selftest"))
def selftest() -> None:
    from otvet.commands import selftest

    raise typer.Exit(0 if selftest.run() else 1)


@app.command(cls=Command, help=_("Say what is configured and whether it works.\n\nExample: otvet check"))
def check() -> None:
    from otvet.app.at_hand import load
    from otvet.commands import check

    raise typer.Exit(0 if check.run(load()) else 1)


@app.command(
    cls=Command,
    help=_(
        "Connect an amoCRM account: asks what is not given, checks it, and says what to do next.\n\n"
        "Examples: otvet connect; "
        "otvet connect --account example.amocrm.ru --token - --public-url https://otvet.example.com --yes"
    ),
)
def connect(
    account: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help=_("The account: example.amocrm.ru."), show_default=False)
    ] = None,
    token: Annotated[
        str | None, typer.Option(metavar="TOKEN", help=_("A long-lived token; - reads it."), show_default=False)
    ] = None,
    client_id: Annotated[
        str | None, typer.Option(metavar="ID", help=_("An own integration's ID."), show_default=False)
    ] = None,
    client_secret: Annotated[
        str | None, typer.Option(metavar="KEY", help=_("Its secret key."), show_default=False)
    ] = None,
    code: Annotated[
        str | None,
        typer.Option(metavar="CODE", help=_("Its authorization code, in place of the browser."), show_default=False),
    ] = None,
    public_url: Annotated[
        str | None, typer.Option(metavar="URL", help=_("How amoCRM reaches this server."), show_default=False)
    ] = None,
    reply_via: Annotated[
        str | None,
        typer.Option(metavar="WAY", help=_("note, salesbot, widget or talk; docs/delivery.md."), show_default=False),
    ] = None,
    salesbot_id: Annotated[
        int | None, typer.Option(metavar="N", help=_("The number of the Salesbot."), min=1, show_default=False)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help=_("Ask nothing."))] = False,
    browser: Annotated[bool, typer.Option(help=_("Whether the page of the consent is opened."))] = True,
) -> None:
    from otvet.commands import connect
    from otvet.settings.loading import load_settings

    answers = connect.Answers(
        account, token, client_id, client_secret, code, public_url, reply_via, salesbot_id, yes, browser
    )
    raise typer.Exit(0 if connect.connect(load_settings(), answers) else 1)


@app.command(cls=Command, help=_("Show the totals.\n\nExample: otvet stats"))
def stats() -> None:
    from otvet.app.at_hand import load
    from otvet.commands import report

    report.show(load())


@app.command(
    cls=Command,
    help=_("Leave a deal to people.\n\nExamples: otvet pause 27754599; otvet pause 27754599 --minutes 60"),
)
def pause(
    lead: OneLead,
    minutes: Annotated[
        float | None,
        typer.Option(
            metavar="N", help=_("For this number of minutes; without it until otvet resume."), min=1, show_default=False
        ),
    ] = None,
) -> None:
    from otvet.app.at_hand import load
    from otvet.commands import operate

    operate.pause(load(), _number(lead), minutes)


@app.command(cls=Command, help=_("Let the assistant answer in a deal again.\n\nExample: otvet resume 27754599"))
def resume(lead: OneLead) -> None:
    from otvet.app.at_hand import load
    from otvet.commands import operate

    operate.resume(load(), _number(lead))


@app.command(
    cls=Command,
    help=_(
        "List the questions that need a person, or those in a state.\n\nExamples: otvet turns; otvet turns --state sent"
    ),
)
def turns(
    state: Annotated[
        str | None,
        typer.Option(metavar="STATE", help=_("failed, handed, cancelled, kept, sent ..."), show_default=False),
    ] = None,
) -> None:
    from otvet.app.at_hand import load
    from otvet.commands import operate

    operate.show(load(), state)


@app.command(cls=Command, help=_("Answer a question that ended without a reply.\n\nExample: otvet retry 17"))
def retry(turn: Turn) -> None:
    from otvet.app.at_hand import load
    from otvet.commands import operate

    operate.retry(load(), _number(turn))


@app.command(
    cls=Command,
    help=_("Take a question off the list of those that need a person.\n\nExample: otvet done 17"),
)
def done(turn: Turn) -> None:
    from otvet.app.at_hand import load
    from otvet.commands import operate

    operate.done(load(), _number(turn))


@app.command(
    cls=Command,
    help=_(
        "List what clients ask and the knowledge folder does not say, the most frequent first.\n\n"
        "Examples: otvet gaps; otvet gaps --days 7"
    ),
)
def gaps(
    days: Annotated[int, typer.Option(metavar="N", help=_("Questions of the last N days."), min=1, max=3650)] = 30,
    limit: Annotated[int, typer.Option(metavar="N", help=_("At most this number."), min=1, max=1000)] = 20,
) -> None:
    from otvet.app.at_hand import load
    from otvet.commands import operate

    operate.show_gaps(load(), days, limit)


@app.command(
    cls=Command,
    help=_(
        "Set how the assistant works in a deal: auto, draft, off, or default.\n\nExample: otvet mode 27754599 draft"
    ),
)
def mode(
    lead: OneLead, mode: Annotated[str, typer.Argument(metavar="MODE", help=_("auto, draft, off, default."))]
) -> None:
    from otvet.app.at_hand import load
    from otvet.commands import operate

    operate.mode(load(), _number(lead), mode)


@app.command(
    cls=Command,
    help=_(
        "Write the newest replies anew with the present instructions and knowledge, and show both; nothing is sent."
        "\n\nExamples: otvet replay; otvet replay --lead 27754599; otvet replay --last 50 --yes"
    ),
)
def replay(
    lead: Annotated[
        str | None, typer.Option(metavar="LEAD", help=_("Only replies of this deal."), show_default=False)
    ] = None,
    last: Annotated[
        int, typer.Option(metavar="N", help=_("The number of replies, the newest first."), min=1, max=1000)
    ] = 10,
    yes: Annotated[
        bool, typer.Option("--yes", help=_("Do not ask before questions are put to a paid service."))
    ] = False,
) -> None:
    from otvet.app.at_hand import load
    from otvet.commands import replay

    replay.replay(load(), _number(lead) if lead is not None else None, last, agreed=yes)


@app.command(
    cls=Command,
    help=_(
        "Erase a client's messages, name, phone and e-mail. amoCRM itself is not touched.\n\n"
        "Examples: otvet forget 27754599; otvet forget --contact 93589657 --yes"
    ),
)
def forget(
    lead: Annotated[
        str | None,
        typer.Argument(metavar="LEAD", help=_("A deal of the client; all deals are erased."), show_default=False),
    ] = None,
    contact: Annotated[
        str | None, typer.Option(metavar="ID", help=_("The contact's number in amoCRM."), show_default=False)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help=_("Do not ask."))] = False,
) -> None:
    from otvet.app.at_hand import load
    from otvet.commands import forget

    _log_errors_only()
    who = forget.Who(_number(lead) if lead is not None else None, _number(contact) if contact is not None else None)
    forget.forget(load(), who, agreed=yes)


@app.command(
    cls=Command,
    help=_(
        "Send a draft to the client.\n\n"
        'Examples: otvet approve 17; otvet approve 17 --text "Доставка стоит 300 рублей."'
    ),
)
def approve(
    turn: Turn,
    text: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help=_("What to send in place of the draft."), show_default=False),
    ] = None,
) -> None:
    from otvet.app.at_hand import load
    from otvet.commands import operate

    operate.approve(load(), _number(turn), text)


@app.command(cls=Command, help=_("Drop a draft; nothing is sent.\n\nExample: otvet reject 17"))
def reject(turn: Turn) -> None:
    from otvet.app.at_hand import load
    from otvet.commands import operate

    operate.reject(load(), _number(turn))


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
    from otvet.commands import copy_database

    _log_errors_only()
    copy_database.copy(source, target)


@app.command(
    cls=Command,
    help=_(
        "Set a new password for a user of the pages, who is signed out everywhere. Before there is any user, it shows "
        "the code and the address of the first visit.\n\nExamples: otvet password; otvet password Olga"
    ),
)
def password(name: UserName = None) -> None:
    from otvet.commands import password
    from otvet.settings.loading import load_settings

    password.reset(load_settings(), name)


def _log_errors_only() -> None:
    """Set up the log for a command that prints its own results."""
    from otvet import logs

    logs.set_up("console", logging.ERROR)


def _number(lead: str) -> int:
    if not (lead.isascii() and lead.isdigit() and len(lead) < 19):
        raise UsageError(_("{text} is not a number of a deal or a question").format(text=lead), exit_code=2)
    return int(lead)


def main(arguments: list[str] | None = None) -> None:
    """The entry point; an OtvetError becomes one line on stderr."""
    try:
        sys.exit(app(arguments, standalone_mode=False, prog_name="otvet"))
    except typer.Abort:
        if sys.stdin.isatty():  # the cursor is still on the question's line
            print(file=sys.stderr)  # noqa: T201
        print(_(BROKEN_OFF), file=sys.stderr)  # noqa: T201
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
