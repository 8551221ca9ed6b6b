"""Notices to staff outside amoCRM: a person is waited for, the account is cut off, a ceiling is reached.

Each matter is told once while it lasts, and what comes up together is told together. A notice never carries a client's
words unless the settings say so.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection

from otvet.account import health
from otvet.clock import Clock
from otvet.conversations.tables import conversations, is_trial, messages
from otvet.i18n import N_, _, ngettext
from otvet.settings.working_hours import Hours
from otvet.storage import outages, spending
from otvet.storage.database import Database
from otvet.storage.engines import UtcDateTime, metadata
from otvet.turns.handoffs import handoffs
from otvet.turns.turn import turns

log = structlog.get_logger(__name__)

SEND_SECONDS = 30
MOST_NAMED = 5
WORDS_SHOWN = 200

DISCONNECTED = N_("amoCRM: {sentence}")

notices = sa.Table(
    "notices",
    metadata,
    sa.Column("matter", sa.Text, primary_key=True),  # such as "handoff 12", "amocrm", "ceiling manus 2026-05-20"
    sa.Column("told_at", UtcDateTime, nullable=False),
)


@dataclass(frozen=True, slots=True)
class NoticeOptions:
    """What is told, and when. quiet: hours in which nothing is told; it is told afterwards."""

    after: timedelta
    quiet: Hours | None
    words: bool
    ceilings: dict[str, int]
    address: str | None  # of the pages


@dataclass(frozen=True, slots=True)
class Waiting:
    """A client who has waited too long for a person."""

    handoff_id: int
    lead_id: int | None
    opened_at: datetime
    asked: str

    @property
    def matter(self) -> str:
        return f"handoff {self.handoff_id}"


class Notifier(Protocol):
    """Sends a notice; False if not all of its addresses took it."""

    def send(self, title: str, body: str) -> bool: ...


class Notices:
    """Looks for matters that are to be told, and tells them."""

    def __init__(self, database: Database, clock: Clock, notifier: Notifier, options: NoticeOptions) -> None:
        self._database = database
        self._clock = clock
        self._notifier = notifier
        self._options = options

    async def look(self) -> None:
        """Tell what is new. What could not be sent is tried again at the next look."""
        now = self._clock.now()
        if self._options.quiet is not None and self._options.quiet.open_at(now):
            return
        waiting, others, known = await self._database.read(lambda connection: self._matters(connection, now))
        present = {one.matter for one in waiting} | others.keys()
        fresh = [one for one in waiting if one.matter not in known]
        lines = [*self._about(fresh, now), *(others[matter] for matter in others if matter not in known)]
        told = bool(lines) and await self.send("\n".join(lines))
        new = (present - known) if told else set()
        if new or known - present:
            await self._database.write(lambda connection: _remember(connection, new, known - present, now))

    async def send(self, body: str) -> bool:
        """Send a notice to all addresses; False if one of them did not take it in time."""
        if self._options.address:
            body = f"{body}\n{self._options.address}"
        try:
            async with asyncio.timeout(SEND_SECONDS):
                sent = await asyncio.to_thread(self._notifier.send, "Otvet", body)
        except TimeoutError:
            sent = False
        if not sent:
            log.warning("a notice could not be sent to all addresses of OTVET_NOTIFY")
        return sent

    def _matters(self, connection: Connection, now: datetime) -> tuple[list[Waiting], dict[str, str], set[str]]:
        known = set(connection.scalars(sa.select(notices.c.matter)))
        return _waiting(connection, now, self._options.after), dict(self._others(connection, now)), known

    def _others(self, connection: Connection, now: datetime) -> Iterator[tuple[str, str]]:
        if outage := outages.current(connection):
            yield "amocrm", _(DISCONNECTED).format(sentence=outage.sentence)
        for subject, seen in health.seen(connection).items():
            if seen.state == "bad":
                yield f"watch {subject}", _(DISCONNECTED).format(sentence=seen.sentence)
        spent = spending.on(connection, now.date())
        for name, ceiling in self._options.ceilings.items():
            if spent.get(name, 0) >= ceiling:
                sentence = _(spending.SPENT).format(ceiling=ceiling, unit=spending.UNITS[name])
                yield f"ceiling {name} {now.date()}", f"{name}: {sentence}"

    def _about(self, fresh: Sequence[Waiting], now: datetime) -> Iterator[str]:
        if not fresh:
            return
        minutes = int((now - min(one.opened_at for one in fresh)).total_seconds() // 60)
        told = ngettext(
            "{count} client waits for a person, for {minutes} min",
            "{count} clients wait for a person, the longest for {minutes} min",
            len(fresh),
        )
        deals = ", ".join(str(one.lead_id) for one in fresh[:MOST_NAMED] if one.lead_id)
        line = told.format(count=len(fresh), minutes=minutes)
        yield f"{line} ({_('deals')}: {deals})" if deals else line
        if self._options.words:
            yield from (f"— {one.asked}" for one in fresh[:MOST_NAMED] if one.asked)


def _waiting(connection: Connection, now: datetime, after: timedelta) -> list[Waiting]:
    """Those on the list who have waited for longer than ``after``, the longest first."""
    due = (handoffs.c.closed_at.is_(None), handoffs.c.due_at <= now, handoffs.c.opened_at <= now - after)
    query = (
        sa.select(handoffs.c.id, conversations.c.amocrm_lead_id, handoffs.c.opened_at)
        .join(conversations, conversations.c.id == handoffs.c.conversation_id)
        .where(*due, ~is_trial(handoffs))
        .order_by(handoffs.c.opened_at)
    )
    return [Waiting(id_, lead, at, _asked(connection, id_)) for id_, lead, at in connection.execute(query)]


def _asked(connection: Connection, handoff_id: int) -> str:
    """The client's last words in a hand-off, on one line."""
    query = (
        sa.select(messages.c.content)
        .join(turns, turns.c.id == messages.c.turn_id)
        .where(turns.c.handoff_id == handoff_id, messages.c.sender_type == "client")
        .order_by(messages.c.timestamp.desc(), messages.c.id.desc())
    )
    return " ".join((connection.scalar(query.limit(1)) or "").split())[:WORDS_SHOWN]


def _remember(connection: Connection, told: set[str], over: set[str], now: datetime) -> None:
    connection.execute(notices.delete().where(notices.c.matter.in_(over)))
    if told:
        connection.execute(notices.insert(), [{"matter": matter, "told_at": now} for matter in sorted(told)])
