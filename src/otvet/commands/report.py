"""``otvet stats``: the totals as a table."""

from rich.console import Console
from rich.table import Table

from otvet.commands.view import open_database
from otvet.i18n import N_, _
from otvet.settings.settings import Settings
from otvet.staff import stats

NAMES = {
    "messages_received": N_("messages received"),
    "messages_saved": N_("messages saved"),
    "duplicates": N_("repeated deliveries"),
    "conversations": N_("conversations"),
    "clients": N_("clients"),
    "manus_requests": N_("requests to Manus"),
    "replies_sent": N_("replies sent"),
    "replies_kept": N_("replies kept, not sent"),
    "turns_open": N_("questions without a reply yet"),
    "errors": N_("errors"),
    "quarantined": N_("deliveries not understood"),
}


def show(settings: Settings) -> None:
    """Print the totals of the database."""
    database = open_database(settings)
    try:
        numbers = database.read_now(stats.read)
    finally:
        database.close()
    table = Table(show_header=False)
    for name, meaning in NAMES.items():
        table.add_row(_(meaning), str(numbers[name]))
    Console().print(table)
