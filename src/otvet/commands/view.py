"""``otvet view``: prints the database's content for people. It can run beside a server and never writes."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from sqlalchemy.engine import Connection, Row

from otvet.commands.terminal import printable
from otvet.conversations.messages import of_lead
from otvet.conversations.pauses import paused_until
from otvet.conversations.tables import clients, conversations, messages
from otvet.conversations.transcript import SENDERS, spoken
from otvet.errors import OtvetError, UsageError
from otvet.i18n import N_, _, interface_language
from otvet.schema import upgrade
from otvet.settings.settings import Settings
from otvet.staff.wording import delivery, when, writer
from otvet.storage.database import Database
from otvet.turns.turn import DELIVERY, State, delivery_of, turns

STATUSES = {"active": N_("active"), "completed": N_("completed")}
COLOURS = {"client": "cyan", "assistant": "green", "manager": "yellow"}

QUESTION_SHOWN = 200


def asked(connection: Connection, turn_id: int) -> str:
    """The client's messages of a turn on one line, shortened."""
    said = connection.execute(
        sa.select(messages.c.content, messages.c.message_type, messages.c.metadata)
        .where(messages.c.turn_id == turn_id, messages.c.sender_type == "client")
        .order_by(messages.c.timestamp, messages.c.id)
    )
    texts = (spoken(one.content, one.message_type, one.metadata, interface_language()) for one in said)
    line = printable(" ".join(" ".join(texts).split()))
    return line if len(line) <= QUESTION_SHOWN else line[: QUESTION_SHOWN - 1] + "…"


def open_database(settings: Settings) -> Database:
    """The database to read; UsageError with the next step if there is none of the latest schema."""
    if settings.is_sqlite and not settings.sqlite_path.exists():
        raise UsageError(
            _("there is no database {file} here; start the server with: make run").format(file=settings.sqlite_path)
        )
    database = Database(settings.database_url)
    try:
        version = database.read_now(upgrade.version)
    except OtvetError:
        database.close()
        raise
    if version != upgrade.LATEST:
        database.close()
        raise UsageError(
            _("{url} is not of this version; start the server once, it will see to it").format(url=settings.shown_url)
        )
    return database


def show(settings: Settings, lead_id: int | None) -> None:
    """Print all conversations, or one deal's."""
    database = open_database(settings)
    console = Console(highlight=False, soft_wrap=True)
    try:
        database.read_now(lambda connection: _show(connection, console, settings, lead_id))
    finally:
        database.close()


def _show(connection: Connection, console: Console, settings: Settings, lead_id: int | None) -> None:
    found = sa.select(conversations, clients.c.name, clients.c.amocrm_contact_id).join(clients)
    if lead_id is not None:
        found = found.where(conversations.c.amocrm_lead_id == lead_id)
    rows = connection.execute(found.order_by(conversations.c.last_activity, conversations.c.id)).all()
    if lead_id is not None and not rows:
        raise UsageError(_("no conversation of the deal {lead} is known").format(lead=lead_id))
    if lead_id is None:
        _show_clients(connection, console)
    for row in rows:
        _show_conversation(connection, console, settings, row)
    _show_usage(connection, console, settings, lead_id)


def _show_clients(connection: Connection, console: Console) -> None:
    rows = connection.execute(sa.select(clients).order_by(clients.c.id)).all()
    title, contact = _("Clients"), _("contact")  # not inside an f-string, where pybabel does not find them
    console.print(f"[bold]{title}: {len(rows)}[/]")
    for row in rows:
        facts = [row.name, row.phone, row.email, row.amocrm_contact_id and f"{contact} {row.amocrm_contact_id}"]
        console.print(Text(f"  {row.id}  " + "  ".join(printable(str(fact)) for fact in facts if fact)))
    console.print()


def _show_conversation(connection: Connection, console: Console, settings: Settings, row: Row[Any]) -> None:
    deal = _("Deal {lead}").format(lead=row.amocrm_lead_id) if row.amocrm_lead_id else _("Deal not known yet")
    name = escape(printable(row.name or _("no name")))
    state = [_("conversation {id}").format(id=row.id), _(STATUSES[row.status])]
    pause = paused_until(connection, [row.id]).get(row.id)
    if pause and pause[0] > datetime.now(UTC):
        state.append(_("paused"))
    console.print(f"[bold]{deal}[/]  {name}  ({', '.join(state)})")
    said = connection.execute(
        sa.select(messages, *DELIVERY)
        .outerjoin(turns, turns.c.id == messages.c.turn_id)
        .where(messages.c.conversation_id == row.id)
        .order_by(messages.c.timestamp, messages.c.id)
        .execution_options(yield_per=500)
    )
    for message in said:
        _show_message(console, settings, message)
    _show_draft(connection, console, row.id)
    console.print()


def _show_message(console: Console, settings: Settings, message: Row[Any]) -> None:
    sender = message.sender_type
    line = Text(f"  {when(message.timestamp, settings, seconds=True)}  ")
    line.append(_(SENDERS[sender]), style=COLOURS[sender])
    if sender == "assistant":
        data = message.metadata
        facts = (writer(data.get("responder")), delivery(delivery_of(message)))
        about = ", ".join(fact for fact in facts if fact)
        if about:
            line.append(f" ({printable(about)})", style="dim")
    text = spoken(message.content, message.message_type, message.metadata, interface_language())
    line.append(": " + indented(text))
    console.print(line)


def indented(text: str) -> str:
    """The text with its further lines indented, so that they do not look like lines of the output."""
    return printable(text).replace("\n", "\n      ")


def _show_draft(connection: Connection, console: Console, conversation_id: int) -> None:
    """Print the drafts, which are not among the messages."""
    waits = (turns.c.conversation_id == conversation_id, turns.c.state == State.DRAFT)
    for draft in connection.execute(sa.select(turns).where(*waits).order_by(turns.c.id)):
        line = Text("  ")
        line.append(_("draft, not sent"), style="magenta")
        line.append(" (" + _("to send it: otvet approve {turn}").format(turn=draft.id) + ")", style="dim")
        line.append(": " + indented(draft.reply or ""))
        console.print(line)


def _show_usage(connection: Connection, console: Console, settings: Settings, lead_id: int | None) -> None:
    table = Table(title=_("Usage"), show_header=False, title_justify="left")
    for name, value in _usage(connection, settings, lead_id):
        table.add_row(name, str(value))
    console.print(table)


def _usage(connection: Connection, settings: Settings, lead_id: int | None) -> Iterator[tuple[str, Any]]:
    chosen = of_lead(lead_id) if lead_id is not None else sa.true()
    counted = sa.select(messages.c.sender_type, sa.func.count()).where(chosen).group_by(messages.c.sender_type)
    by_sender: dict[str, int] = {sender: count for sender, count in connection.execute(counted)}  # noqa: C416 - typed
    first, last = connection.execute(
        sa.select(sa.func.min(messages.c.timestamp), sa.func.max(messages.c.timestamp)).where(chosen)
    ).one()
    if lead_id is None:
        yield _("conversations"), connection.scalar(sa.select(sa.func.count()).select_from(conversations))
    yield _("messages of clients"), by_sender.get("client", 0)
    yield _("messages of managers"), by_sender.get("manager", 0)
    yield _("replies of the assistant"), by_sender.get("assistant", 0)
    if first is not None:
        yield _("first message"), when(first, settings)
        yield _("last message"), when(last, settings)
