"""``otvet selftest``: plays the scene to the database layer only, without HTTP, in a temporary database."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from rich.console import Console
from rich.table import Table
from sqlalchemy.engine import Connection

from otvet.amocrm.events import read_delivery
from otvet.commands.scenario import Case, scene
from otvet.conversations.messages import of_lead
from otvet.conversations.tables import messages
from otvet.i18n import _
from otvet.intake.inbox import Received, store
from otvet.schema import upgrade
from otvet.storage.database import Database
from otvet.turns.turn import turns


def run() -> bool:
    """Print a table; False if a result is not as expected."""
    now = datetime.now(UTC)
    cases = scene(now)
    table = Table(_("Deal"), _("What was played"), _("Saved"), _("Questions"), "")
    good = True
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'selftest.db'}")
        upgrade.prepare(database, now)
        for _round in range(2):  # all of it again: a repeated delivery changes nothing
            for case in cases:
                for body in case.bodies:
                    with database.writes.begin() as connection:
                        store(connection, [Received(body, read_delivery(body, now), now)])
        for case in cases:
            saved, owed = database.read_now(lambda connection, case=case: _found(connection, case))  # type: ignore[misc]
            right = saved == case.saved and owed == case.replies
            good &= right
            mark = "[green]✓[/]" if right else "[red]✗[/]"
            table.add_row(str(case.lead_id), _(case.title), f"{saved}/{case.saved}", f"{owed}/{case.replies}", mark)
        database.close()
    console = Console()
    console.print(table)
    console.print(_("all as it must be") if good else _("not as it must be; see the lines marked with ✗"))
    return good


def _found(connection: Connection, case: Case) -> tuple[int, int]:
    """(messages saved, turns opened)"""
    here = of_lead(case.lead_id)
    saved = connection.scalar(sa.select(sa.func.count()).where(here))
    owed = connection.scalar(
        sa.select(sa.func.count(sa.distinct(messages.c.turn_id))).where(here, messages.c.turn_id == turns.c.id)
    )
    return saved or 0, owed or 0
