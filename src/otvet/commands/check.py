"""``otvet check``: prints what is configured, whether it works, and the next step where it does not."""

import asyncio

from rich.console import Console
from rich.table import Table
from rich.text import Text

from otvet.app import checking
from otvet.commands.terminal import whole
from otvet.i18n import _
from otvet.settings.settings import Settings

SIGNS = {"good": "[green]✓[/]", "note": "[yellow]–[/]", "bad": "[red]✗[/]"}


def run(settings: Settings) -> bool:
    """Print the findings; False if one is bad."""
    console = Console()
    with console.status(_("asking the services...")):
        findings = asyncio.run(checking.everything(settings))
    table = Table(show_header=False, box=None, padding=(0, 1))
    for finding in findings:
        table.add_row(SIGNS[finding.sign], finding.subject, Text(finding.sentence))
    console.print(whole(table))
    return all(finding.sign != "bad" for finding in findings)
