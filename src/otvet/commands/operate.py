"""The commands that change turns and conversations; a running server notices within seconds."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy.engine import Connection

from otvet.commands import view
from otvet.commands.terminal import printable, whole
from otvet.conversations.conversation import set_mode
from otvet.conversations.pauses import pause_end, set_pause
from otvet.conversations.tables import MODES
from otvet.conversations.transcript import SENDERS
from otvet.errors import UsageError
from otvet.i18n import N_, _, ngettext
from otvet.intake.quarantine import quarantined
from otvet.settings.settings import Settings
from otvet.staff import gaps, wording, worklist
from otvet.staff.worklist import Entry
from otvet.storage import heartbeats, outages
from otvet.turns import drafts, handoffs, staff
from otvet.turns import turn as turn_
from otvet.turns.turn import OPEN, State, turns

STATES = {
    State.WAITING: N_("waiting"),
    State.ANSWERING: N_("being written"),
    State.SENDING: N_("being sent"),
    State.DRAFT: N_("draft, waits for approval"),
    State.SENT: N_("sent"),
    State.KEPT: N_("kept, not sent"),
    State.FAILED: N_("failed"),
    State.CANCELLED: N_("cancelled"),
    State.HANDED: N_("left to a person"),
}
MOST_SHOWN = 100
LEADS_SHOWN = 3
AS_SET = "default"  # the mode of OTVET_MODE
APPROVED = N_("the draft {turn} is approved: the client gets it within seconds")
APPROVED_FOR_LATER = N_("the draft {turn} is approved: the client gets it once the server runs (make run)")
TRIED_AGAIN = N_("question {turn}: the assistant takes it up again within seconds")
TRIED_AGAIN_LATER = N_("question {turn}: the assistant takes it up again once the server runs (make run)")


def pause(settings: Settings, lead_id: int, minutes: float | None) -> None:
    """Pause the assistant in a deal."""
    until = pause_end(datetime.now(UTC), minutes)
    _set(settings, lead_id, until)
    if minutes:
        told = _("deal {lead}: paused until {moment}").format(lead=lead_id, moment=wording.when(until, settings))
    else:
        told = _("deal {lead}: paused; otvet resume {lead} ends it").format(lead=lead_id)
    Console().print(told)


def resume(settings: Settings, lead_id: int) -> None:
    """Let the assistant answer in a deal again."""
    _set(settings, lead_id, None)
    Console().print(_("deal {lead}: the assistant answers again").format(lead=lead_id))


def _set(settings: Settings, lead_id: int, until: datetime | None) -> None:
    with _writing(settings) as connection:
        if not set_pause(connection, lead_id, until):
            raise UsageError(_("no conversation of the deal {lead} is known").format(lead=lead_id))


def mode(settings: Settings, lead_id: int, wanted: str) -> None:
    """Set the assistant's mode in a deal: one of MODES, or AS_SET."""
    known = (*MODES, AS_SET)
    if wanted not in known:
        sentence = _("there is no mode {mode}; the modes are: {modes}")
        raise UsageError(sentence.format(mode=wanted, modes=", ".join(known)), exit_code=2)
    with _writing(settings) as connection:
        if not set_mode(connection, lead_id, None if wanted == AS_SET else wanted):
            raise UsageError(_("no conversation of the deal {lead} is known").format(lead=lead_id))
    Console().print(_("deal {lead}: mode {mode}").format(lead=lead_id, mode=wanted))


def approve(settings: Settings, turn_id: int, text: str | None) -> None:
    """Send a draft to the client, with another text if one is given."""
    if text is not None and not text.strip():
        raise UsageError(_("the text is empty"), exit_code=2)
    with _writing(settings) as connection:
        if (why_not := drafts.approve(connection, turn_id, text)) is not None:
            raise UsageError(why_not)
        told = _(APPROVED if _is_served(connection) else APPROVED_FOR_LATER)
    Console().print(told.format(turn=turn_id))


def reject(settings: Settings, turn_id: int) -> None:
    """Drop a draft."""
    with _writing(settings) as connection:
        if (why_not := drafts.reject(connection, turn_id, datetime.now(UTC))) is not None:
            raise UsageError(why_not)
    Console().print(_("question {turn}: the draft is dropped, nothing is sent").format(turn=turn_id))


def retry(settings: Settings, turn_id: int) -> None:
    """Retry a turn that ended without a reply."""
    with _writing(settings) as connection:
        if why_not := staff.still_kept(connection, turn_id, connected=settings.amocrm_connected):
            raise UsageError(why_not)
        answers = staff.retry(connection, turn_id, datetime.now(UTC))
        if answers is None:
            raise UsageError(_("the question {turn} cannot be tried again").format(turn=turn_id))
        told = _(TRIED_AGAIN if _is_served(connection) else TRIED_AGAIN_LATER)
    Console().print(told.format(turn=answers))


def done(settings: Settings, turn_id: int) -> None:
    """Take a question off the list: a person has seen to it."""
    with _writing(settings) as connection:
        if not handoffs.mark_done(connection, turn_id, datetime.now(UTC)):
            raise UsageError(_("the question {turn} is not on the list").format(turn=turn_id))
    Console().print(_("question {turn}: off the list").format(turn=turn_id))


def _is_served(connection: Connection) -> bool:
    """Whether a server is running that goes on with questions at once."""
    return bool(heartbeats.alive(connection, datetime.now(UTC)))


@contextmanager
def _writing(settings: Settings) -> Iterator[Connection]:
    """A transaction, rolled back after an error."""
    database = view.open_database(settings)
    try:
        with database.writes.begin() as connection:
            yield connection
    finally:
        database.close()


def show(settings: Settings, state: str | None) -> None:
    """List the turns in a state, or those that need a person."""
    if state and state not in set(State):
        sentence = _("there is no state {state}; the states are: {states}")
        raise UsageError(sentence.format(state=state, states=", ".join(State)), exit_code=2)
    database = view.open_database(settings)
    try:
        rows, asked = database.read_now(lambda connection: _listed(connection, state))
        aside = 0 if state else database.read_now(quarantined)
        held_back = None if state else database.read_now(_held_back)
    finally:
        database.close()
    console = Console()
    if rows:
        console.print(whole(_table(rows, asked, settings)))
        _show_drafts(console, rows, asked)
    elif not aside:
        console.print(_("no such questions") if state else _("nothing is waiting for a person"))
    if aside:
        told = ngettext(
            "{count} delivery of amoCRM was not understood or could not be stored, and nobody is answered for it: see "
            "docs/webhook.md, Quarantine",
            "{count} deliveries of amoCRM were not understood or could not be stored, and nobody is answered for them: "
            "see docs/webhook.md, Quarantine",
            aside,
        )
        console.print(told.format(count=aside))
    if held_back:
        count, reason = held_back
        told = ngettext(
            "{count} question waits until amoCRM takes calls again: {reason}",
            "{count} questions wait until amoCRM takes calls again: {reason}",
            count,
        )
        console.print(told.format(count=count, reason=reason), markup=False)


def _held_back(connection: Connection) -> tuple[int, str] | None:
    """How many open turns there are while all calls to amoCRM are stopped, and why they are."""
    outage = outages.current(connection)
    count = outage and connection.scalar(sa.select(sa.func.count()).select_from(turns).where(turns.c.state.in_(OPEN)))
    return (count, outage.sentence) if outage and count else None


def _listed(connection: Connection, state: str | None) -> tuple[Sequence[Entry], dict[int, str]]:
    """The turns in a state, or those that need a person; and what the client asked in each that needs one."""
    if state is None:
        rows = worklist.listed(connection, datetime.now(UTC), MOST_SHOWN)
        return rows, {row.turn.id: view.asked(connection, row.turn.id) for row in rows}
    found = turn_.listed(connection, (state,), MOST_SHOWN)
    drafted = {one.id: view.asked(connection, one.id) for one in found if one.state == State.DRAFT}
    return [Entry(one, None, one.closed_at or one.last_message_at) for one in found], drafted


def _show_drafts(console: Console, rows: Sequence[Entry], asked: Mapping[int, str]) -> None:
    """Print the drafts with their questions, for a manager to approve."""
    drafts = [row.turn for row in rows if row.turn.state == State.DRAFT]
    for row in drafts:
        title = _("Draft {turn}, deal {lead}").format(turn=row.id, lead=row.lead_id or "?")
        told = Text("\n").append(title, "bold")
        told.append("\n  ").append(_(SENDERS["client"]), view.COLOURS["client"]).append(f": {asked[row.id]}")
        told.append("\n  ").append(_("draft"), view.COLOURS["assistant"]).append(f": {view.indented(row.reply or '')}")
        console.print(told, soft_wrap=True)
    if drafts:
        how = _(
            "To send a draft: otvet approve NUMBER; with another text: otvet approve NUMBER --text TEXT; "
            "to drop it: otvet reject NUMBER"
        )
        console.print(Text(f"\n{how}"))


def _table(rows: Sequence[Entry], asked: Mapping[int, str], settings: Settings) -> Table:
    table = Table()
    for name in (_("Question"), _("Deal"), _("State"), _("Since")):
        table.add_column(name, no_wrap=True)
    table.add_column(_("Why"))
    for row in rows:
        turn = row.turn
        left = row.handoff is not None and turn.state != State.DRAFT
        why = Text(printable(row.why or ""))
        if left:
            why.append(f"\n«{asked[turn.id]}»", view.COLOURS["client"])
        state = _("a manager has to answer") if left else _(STATES[turn.state])
        table.add_row(str(turn.id), str(turn.lead_id or "?"), state, wording.when(row.since, settings), why)
    return table


def show_gaps(settings: Settings, days: int, limit: int) -> None:
    """Print what clients ask and the knowledge folder does not say."""
    database = view.open_database(settings)
    try:
        since = datetime.now(UTC) - timedelta(days=days)
        found = database.read_now(lambda connection: gaps.listed(connection, since, limit))
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
        last = wording.when(gap.last_asked_at, settings)
        leads = ", ".join(map(str, gap.leads[:LEADS_SHOWN])) + (" …" if len(gap.leads) > LEADS_SHOWN else "")
        table.add_row(str(gap.count), Text(printable(gap.question)), last, leads)
    console.print(whole(table))
