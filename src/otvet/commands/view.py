"""``otvet view``: what the database holds, for a person to read. Reads beside a running server and never writes."""

import unicodedata
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from sqlalchemy.engine import Connection, Row

from otvet.conversations.tables import clients, conversations, messages, of_lead, paused_until
from otvet.conversations.transcript import spoken
from otvet.errors import OtvetError, UsageError
from otvet.i18n import N_, _, interface_language
from otvet.schema import upgrade
from otvet.settings import working_hours
from otvet.settings.settings import Settings
from otvet.storage.database import Database
from otvet.turns.turn import DELIVERY, State, delivery_of, turns

SENDERS = {"client": N_("client"), "assistant": N_("assistant"), "manager": N_("manager")}
STATUSES = {"active": N_("active"), "completed": N_("completed")}
COLOURS = {"client": "cyan", "assistant": "green", "manager": "yellow"}
DELIVERIES = {
    "sent": N_("sent as note {note_id}"),
    "sending": N_("being sent"),
    "kept": N_("not sent: amoCRM is not connected"),
    "failed": N_("not sent: {reason}"),
    "cancelled": N_("not sent: {reason}"),
}

WRITERS = {
    "manus": "Manus",
    "openai": N_("the AI model"),
    "knowledge": N_("the knowledge folder"),
    "template": N_("the honest template"),
    "handover": N_("the reply to who asks for a person"),
    "hours": N_("the out-of-hours text"),
}
QUESTION_SHOWN = 200

REASONS = {
    "amocrm_not_connected": N_("amoCRM is not connected"),
    "manager": N_("a manager or another bot answers here"),
    "paused": N_("the assistant is paused in this conversation"),
    "stale": N_("it came too late to be answered without a person"),
    "ceiling": N_("the conversation has had as many replies as a day allows"),
    "erased": N_("the client's data was erased"),
    "no_deal": N_("the message names no deal, and none was found in amoCRM: look for it by the client's name"),
    "pipeline_left_out": N_("by the settings, the assistant does not answer in this pipeline"),
    "stage_left_out": N_("by the settings, the assistant does not answer in this stage"),
    "tags_left_out": N_("by the settings, the assistant does not answer in deals with these tags"),
    "channel_left_out": N_("by the settings, the assistant does not answer in this channel"),
    "out_of_hours": N_("it came out of working hours"),
    "asked": N_("the client asked for a person"),
    "doubted": N_("the reply that was written could not be checked, so a person has to answer"),
    "off": N_("the assistant is switched off in this conversation"),
    "rejected": N_("a manager rejected the draft"),
}


def reason(code: str | None) -> str | None:
    """Why a turn ended as it did, as a sentence; amoCRM's own refusals are sentences already."""
    return _(REASONS[code]) if code in REASONS else code


def writer(responder: str | None) -> str:
    """Who wrote a reply, in words."""
    return _(WRITERS[responder]) if responder in WRITERS else str(responder or "")


def when(moment: datetime, settings: Settings, *, seconds: bool = False) -> str:
    """A moment by the company's clock, wherever the machine is."""
    at = moment.astimezone(working_hours.zone_of(settings.timezone))
    return at.strftime("%d.%m.%Y %H:%M:%S" if seconds else "%d.%m.%Y %H:%M")


def printable(text: str) -> str:
    """A client's text without what could move the cursor or turn the line around; line breaks stay."""
    return "".join(
        char if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf", "Cs") else "\ufffd" for char in text
    )


def asked(connection: Connection, turn_id: int) -> str:
    """What the client said in a turn, on one line and no longer than is needed to know it again."""
    said = connection.execute(
        sa.select(messages.c.content, messages.c.message_type, messages.c.metadata)
        .where(messages.c.turn_id == turn_id, messages.c.sender_type == "client")
        .order_by(messages.c.timestamp, messages.c.id)
    )
    texts = (spoken(one.content, one.message_type, one.metadata, interface_language()) for one in said)
    line = printable(" ".join(" ".join(texts).split()))
    return line if len(line) <= QUESTION_SHOWN else line[: QUESTION_SHOWN - 1] + "…"


def delivery(data: Mapping[str, Any] | None) -> str:
    """What became of a reply, in words."""
    if not data:
        return ""
    if data.get("state") == "sent" and data.get("way", "note") != "note":
        return _("sent to the client's chat ({way})").format(way=data["way"])
    sentence = DELIVERIES.get(str(data.get("state")))
    values = {"note_id": data.get("note_id", "?"), "reason": reason(data.get("reason")) or "?"}
    return _(sentence).format(**values) if sentence else str(data.get("state"))


def open_database(settings: Settings) -> Database:
    """The database to read; UsageError with the next step when there is none that this program understands."""
    if settings.is_sqlite and not settings.sqlite_path.exists():
        raise UsageError(
            _("there is no database {file} here; start the server with: make run").format(file=settings.sqlite_path)
        )
    database = Database(settings.database_url)
    try:
        version = database.look(upgrade.version)
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
    """Print everything, or one deal."""
    database = open_database(settings)
    console = Console(highlight=False, soft_wrap=True)
    try:
        database.look(lambda connection: _show(connection, console, settings, lead_id))
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
    title, contact = _("Clients"), _("contact")  # not inside an f-string: nothing would find them for the catalogue
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
    """A text whose further lines cannot be taken for lines of ours."""
    return printable(text).replace("\n", "\n      ")


def _show_draft(connection: Connection, console: Console, conversation_id: int) -> None:
    """A draft is no message yet: nobody was told it."""
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
