"""What a person does to turns and conversations from the terminal; a running server notices within seconds."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy.engine import Connection, Row

from otvet import gaps, turns
from otvet.commands import view
from otvet.commands.terminal import whole
from otvet.config import Settings
from otvet.conversations import MODES, pause_end, set_mode, set_pause
from otvet.errors import UsageError
from otvet.i18n import N_, _, ngettext
from otvet.inbox import quarantined

STATES = {
    turns.WAITING: N_("waiting"),
    turns.ANSWERING: N_("being written"),
    turns.SENDING: N_("being sent"),
    turns.DRAFT: N_("draft, waits for approval"),
    turns.SENT: N_("sent"),
    turns.KEPT: N_("kept, not sent"),
    turns.FAILED: N_("failed"),
    turns.CANCELLED: N_("cancelled"),
    turns.HANDED: N_("left to a person"),
}
MOST_SHOWN = 100
LEADS_SHOWN = 3
AS_SET = "default"  # the mode of OTVET_MODE


def pause(settings: Settings, lead_id: int, minutes: float | None) -> None:
    """Leave a deal to people."""
    until = pause_end(datetime.now(UTC), minutes)
    _set(settings, lead_id, until)
    if minutes:
        told = _("deal {lead}: paused until {moment}").format(
            lead=lead_id, moment=until.astimezone().strftime("%d.%m.%Y %H:%M")
        )
    else:
        told = _("deal {lead}: paused; otvet resume {lead} ends it").format(lead=lead_id)
    Console().print(told)


def resume(settings: Settings, lead_id: int) -> None:
    """Let the assistant answer in a deal again."""
    _set(settings, lead_id, None)
    Console().print(_("deal {lead}: the assistant answers again").format(lead=lead_id))


def _set(settings: Settings, lead_id: int, until: datetime | None) -> None:
    database = view.open_database(settings)
    try:
        with database.writes.begin() as connection:
            if not set_pause(connection, lead_id, until):
                raise UsageError(_("no conversation of the deal {lead} is known").format(lead=lead_id))
    finally:
        database.close()


def mode(settings: Settings, lead_id: int, wanted: str) -> None:
    """How the assistant works in a deal: one of MODES, or as set for all."""
    known = (*MODES, AS_SET)
    if wanted not in known:
        raise UsageError(_("the modes are: {modes}").format(modes=", ".join(known)), exit_code=2)
    database = view.open_database(settings)
    try:
        with database.writes.begin() as connection:
            if not set_mode(connection, lead_id, None if wanted == AS_SET else wanted):
                raise UsageError(_("no conversation of the deal {lead} is known").format(lead=lead_id))
    finally:
        database.close()
    Console().print(_("deal {lead}: mode {mode}").format(lead=lead_id, mode=wanted))


def approve(settings: Settings, turn_id: int, text: str | None) -> None:
    """Send a draft to the client, with another text if one is given."""
    if text is not None and not text.strip():
        raise UsageError(_("the text is empty"), exit_code=2)
    _decide(settings, lambda connection: turns.approve(connection, turn_id, text, datetime.now(UTC)))
    Console().print(_("turn {turn}: the running server takes it up within seconds").format(turn=turn_id))


def reject(settings: Settings, turn_id: int) -> None:
    """Drop a draft."""
    _decide(settings, lambda connection: turns.reject(connection, turn_id, datetime.now(UTC)))
    Console().print(_("turn {turn}: the draft is dropped, nothing is sent").format(turn=turn_id))


def _decide(settings: Settings, how: Callable[[Connection], str | None]) -> None:
    database = view.open_database(settings)
    try:
        with database.writes.begin() as connection:
            if (why_not := how(connection)) is not None:
                raise UsageError(why_not)
    finally:
        database.close()


def retry(settings: Settings, turn_id: int) -> None:
    """Have a turn answered that ended without a reply."""
    database = view.open_database(settings)
    try:
        with database.writes.begin() as connection:
            answers = turns.retry(connection, turn_id, datetime.now(UTC))
            if answers is None:
                raise UsageError(_("the turn {turn} is not one that can be tried again").format(turn=turn_id))
    finally:
        database.close()
    Console().print(_("turn {turn}: the running server takes it up within seconds").format(turn=answers))


def show(settings: Settings, state: str | None) -> None:
    """List turns: those in a state, or those that a person has to see to."""
    states = (state,) if state else turns.NEEDS_A_PERSON
    if not set(states) <= set(turns.STATES):
        raise UsageError(_("the states are: {states}").format(states=", ".join(turns.STATES)), exit_code=2)
    database = view.open_database(settings)
    try:
        rows = database.look(lambda connection: turns.listed(connection, states, MOST_SHOWN))
        aside = 0 if state else database.look(quarantined)
    finally:
        database.close()
    console = Console()
    if rows:
        console.print(whole(_table(rows)))
    elif not aside:
        console.print(_("no such turns") if state else _("nothing is waiting for a person"))
    if aside:
        told = ngettext(
            "{count} delivery of amoCRM was not understood or could not be stored, and nobody is answered for it: see "
            "docs/webhook.md, Quarantine",
            "{count} deliveries of amoCRM were not understood or could not be stored, and nobody is answered for them: "
            "see docs/webhook.md, Quarantine",
            aside,
        )
        console.print(told.format(count=aside))


def _table(rows: Sequence[Row[Any]]) -> Table:
    table = Table(_("Turn"), _("Deal"), _("State"), _("Since"), _("Why"))
    for row in rows:
        since = (row.closed_at or row.last_message_at).astimezone().strftime("%d.%m.%Y %H:%M")
        why = Text(view.printable(view.reason(row.reason) or ""))
        table.add_row(str(row.id), str(row.amocrm_lead_id or "?"), _(STATES[row.state]), since, why)
    return table


def show_gaps(settings: Settings, days: int, limit: int) -> None:
    """Print what clients ask and the knowledge folder does not say."""
    database = view.open_database(settings)
    try:
        since = datetime.now(UTC) - timedelta(days=days)
        found = database.look(lambda connection: gaps.listed(connection, since, limit))
    finally:
        database.close()
    console = Console()
    if not found:
        console.print(
            _("in {days} days clients asked nothing that the knowledge folder does not know").format(days=days)
        )
        return
    table = Table(title=_("What the knowledge folder does not say"), title_justify="left")
    for name in (_("times"), _("question"), _("last asked"), _("deals")):
        table.add_column(name)
    for gap in found:
        last = gap.last_asked_at.astimezone().strftime("%d.%m.%Y %H:%M")
        leads = ", ".join(map(str, gap.leads[:LEADS_SHOWN])) + (" …" if len(gap.leads) > LEADS_SHOWN else "")
        table.add_row(str(gap.count), Text(view.printable(gap.question)), last, leads)
    console.print(whole(table))
