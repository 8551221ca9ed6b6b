"""``otvet stats``: the totals as a table."""

from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from otvet.commands.view import open_database
from otvet.i18n import N_, _
from otvet.settings.settings import Settings
from otvet.staff import stats
from otvet.turns.reasons import reason

NAMES = {
    "messages_received": N_("messages received"),
    "messages_saved": N_("messages saved"),
    "duplicates": N_("repeated deliveries"),
    "conversations": N_("conversations"),
    "clients": N_("clients"),
    "manus_requests": N_("requests to Manus"),
    "replies_sent": N_("replies sent"),
    "replies_kept": N_("replies kept, not sent"),
    "questions": N_("questions"),
    "answered": N_("answered by the assistant"),
    "waiting_for_staff": N_("waiting for a manager now"),
    "median_seconds_to_staff": N_("seconds until a manager wrote (median)"),
    "turns_open": N_("questions without a reply yet"),
    "errors": N_("errors"),
    "quarantined": N_("deliveries not understood"),
}


def show(settings: Settings) -> None:
    """Print the totals of the database."""
    database = open_database(settings)
    try:
        numbers = database.read_now(lambda connection: stats.read(connection, datetime.now(UTC)))
    finally:
        database.close()
    table = Table(show_header=False)
    for name, meaning in NAMES.items():
        if numbers[name] is not None:
            table.add_row(_(meaning), str(numbers[name]))
    for why, count in numbers["left_to_staff"].items():
        table.add_row(_("left to a manager: {why}").format(why=reason(why)), str(count))
    Console().print(table)
