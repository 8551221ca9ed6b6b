"""What a person does to turns and conversations from the terminal; a running server notices within seconds."""

from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.table import Table
from rich.text import Text

from otvet import turns, view
from otvet.config import Settings
from otvet.conversations import FOR_GOOD, set_pause
from otvet.errors import UsageError
from otvet.i18n import N_, _

STATES = {
    turns.WAITING: N_("waiting"),
    turns.ANSWERING: N_("being written"),
    turns.SENDING: N_("being sent"),
    turns.SENT: N_("sent"),
    turns.KEPT: N_("kept, not sent"),
    turns.FAILED: N_("failed"),
    turns.CANCELLED: N_("cancelled"),
    turns.HANDED: N_("left to a person"),
}
MOST_SHOWN = 100


def pause(settings: Settings, lead_id: int, minutes: float | None) -> None:
    """Leave a deal to people."""
    until = datetime.now(UTC) + timedelta(minutes=minutes) if minutes else FOR_GOOD
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


def retry(settings: Settings, turn_id: int) -> None:
    """Have a turn answered that ended without a reply."""
    database = view.open_database(settings)
    try:
        with database.writes.begin() as connection:
            if not turns.retry(connection, turn_id, datetime.now(UTC)):
                raise UsageError(_("the turn {turn} is not one that can be tried again").format(turn=turn_id))
    finally:
        database.close()
    Console().print(_("turn {turn}: the running server takes it up within seconds").format(turn=turn_id))


def show(settings: Settings, state: str | None) -> None:
    """List turns: those in a state, or those that a person has to see to."""
    states = (state,) if state else turns.NEEDS_A_PERSON
    if not set(states) <= set(turns.STATES):
        raise UsageError(_("the states are: {states}").format(states=", ".join(turns.STATES)), exit_code=2)
    database = view.open_database(settings)
    try:
        rows = database.look(lambda connection: turns.listed(connection, states, MOST_SHOWN))
    finally:
        database.close()
    table = Table(_("Turn"), _("Deal"), _("State"), _("Since"), _("Why"))
    for row in rows:
        since = (row.closed_at or row.last_message_at).astimezone().strftime("%d.%m.%Y %H:%M")
        why = Text(view.printable(view.reason(row.reason) or ""))
        table.add_row(str(row.id), str(row.amocrm_lead_id or "?"), _(STATES[row.state]), since, why)
    Console().print(table if rows else _("nothing is waiting for a person") if not state else _("no such turns"))
