"""``otvet replay``: writes past replies anew, with today's instructions and knowledge. Sends and stores nothing."""

import asyncio
import logging
from collections.abc import Sequence

import httpx2
import sqlalchemy as sa
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text
from sqlalchemy.engine import Connection

from otvet import logs
from otvet.answering import replay as past_turns
from otvet.answering.instructions import Instructions
from otvet.answering.replay import Past
from otvet.answering.writer import Written
from otvet.app import wiring
from otvet.clock import SystemClock
from otvet.commands import asking, view
from otvet.commands.terminal import printable, whole
from otvet.conversations.tables import conversations
from otvet.errors import UsageError
from otvet.i18n import _
from otvet.responders.chat import models
from otvet.settings import working_hours
from otvet.settings.settings import Settings
from otvet.staff import wording
from otvet.storage.database import Database


def replay(settings: Settings, lead_id: int | None, last: int, *, agreed: bool) -> None:
    """Write the newest ``last`` replies anew and show them beside the old ones."""
    logs.set_up(settings.log_format, logging.ERROR)  # the tables report the rest
    console = Console()
    database = view.open_database(settings)
    try:
        past = database.read_now(lambda connection: _past(connection, settings, lead_id, last))
        if not past:
            raise UsageError(database.read_now(lambda connection: _why_nothing(connection, lead_id)))
        outside = [wording.writer(name) for name, key in _costly(settings).items() if key]
        question = _("{count} questions will be put to {names}, which may cost money. Go on?")
        if (
            outside
            and not agreed
            and not _confirmed(console, question.format(count=len(past), names=", ".join(outside)))
        ):
            return
        asyncio.run(_write_anew(console, settings, database, past))
    finally:
        database.close()


def _why_nothing(connection: Connection, lead_id: int | None) -> str:
    if lead_id is None:
        return _("nothing was answered yet; try: otvet simulate")
    if connection.scalar(sa.select(sa.exists().where(conversations.c.amocrm_lead_id == lead_id))):
        return _("in the deal {lead} nothing was answered yet").format(lead=lead_id)
    return _("no conversation of the deal {lead} is known").format(lead=lead_id)


def _confirmed(console: Console, question: str) -> bool:
    try:
        return asking.agrees(console, question)
    except EOFError:
        raise UsageError(_("nobody is there to agree; give --yes if it may cost money")) from None


def _costly(settings: Settings) -> dict[str, object]:
    """The responders that cost money, each with its key or model; None if it is not set up."""
    known: dict[str, object] = {"manus": settings.manus_api_key, "openai": settings.openai_model}
    return {name: known[name] for name in settings.responder_order if name in known}


def _past(connection: Connection, settings: Settings, lead_id: int | None, last: int) -> list[Past]:
    return past_turns.past(
        connection,
        last,
        Instructions(settings.instructions_file),
        history_messages=settings.history_messages,
        zone=working_hours.zone_of(settings.timezone),
        lead_id=lead_id,
    )


async def _write_anew(console: Console, settings: Settings, database: Database, past: Sequence[Past]) -> None:
    clock = SystemClock()
    model = models.from_settings(settings, clock)
    database.start()  # the rate limits, shared with a running server, are written
    counts = {"same": 0, "changed": 0, "refused": 0}
    try:
        async with httpx2.AsyncClient(timeout=20) as http:
            who = wiring.writers(settings, clock, http, database, model)
            with Progress(console=console, transient=True) as progress:
                for one in progress.track(past, description=_("writing replies...")):
                    anew = await past_turns.write(one, who.writer, who.knowledge, settings.person_phrases, clock)
                    counts[anew.outcome] += 1
                    _show(progress.console, settings, one, anew.written, same=anew.same)
    finally:
        if model:
            await model.aclose()
        await database.stop()
    console.print(
        _("{same} the same, {changed} changed, {refused} refused by the checks; nothing was sent").format(**counts)
    )


def _show(console: Console, settings: Settings, one: Past, written: Written, *, same: bool) -> None:
    title = _("Deal {lead}, {moment}").format(lead=one.told.lead_id, moment=wording.when(one.asked_at, settings))
    table = Table(title=title, title_justify="left", expand=True, show_lines=True)
    table.add_column(_("then ({responder})").format(responder=wording.writer(one.responder)), ratio=1)
    table.add_column(_("now ({responder})").format(responder=wording.writer(written.reply.responder)), ratio=1)
    asked = Text(printable(one.told.question_text), style="cyan")
    if same:
        table.add_row(Text(printable(one.reply)), Text(_("the same"), style="dim"))
    else:
        table.add_row(*_compared(printable(one.reply), printable(written.reply.text)))
    console.print(asked)
    console.print(whole(table))
    if written.doubts:
        found = "; ".join(finding.text for finding in written.doubts)
        console.print(Text(_("A draft was refused: {found}").format(found=printable(found)), style="yellow"))
    console.print()


def _compared(then: str, now: str) -> tuple[Text, Text]:
    """Both texts, with the removed words in red and the added ones in green."""
    gone, come = past_turns.compared(then, now)
    went, came = Text(), Text()
    for text, pieces, style in ((went, gone, "red"), (came, come, "green")):
        for piece, changed in pieces:
            text.append(piece, style=style if changed else None)
    return went, came
