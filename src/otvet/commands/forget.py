"""``otvet forget``: erases a client's data."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import httpx2
from rich.console import Console

from otvet.amocrm.addresses import host_of
from otvet.app import manus
from otvet.clock import SystemClock
from otvet.commands import asking, view
from otvet.errors import DatabaseUnfit, UsageError
from otvet.i18n import _
from otvet.settings.settings import Settings
from otvet.staff import erasure
from otvet.storage import single_instance
from otvet.storage.database import Database

TIMEOUT_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Who:
    """The client to erase: all contacts of a deal, or one contact."""

    lead_id: int | None = None
    contact_id: int | None = None


def forget(settings: Settings, who: Who, *, agreed: bool) -> None:
    """Erase a client's data, after a question unless ``agreed``, and print what is left to do by hand."""
    if who.lead_id is not None and who.contact_id is not None:
        raise UsageError(_("both a deal and a contact are given; give one of the two"), exit_code=2)
    if who.lead_id is None and who.contact_id is None:
        raise UsageError(_("give a deal, or a contact with --contact"), exit_code=2)
    console = Console(highlight=False, soft_wrap=True)
    database = view.open_database(settings)
    try:
        found = database.read_now(
            lambda connection: erasure.find(connection, lead_id=who.lead_id, contact_id=who.contact_id)
        )
        if found is None:
            raise UsageError(_("nothing is known of this client"))
        if len(found.contacts) > 1:
            several = _(
                "more than one contact wrote in this deal; all of them are erased, or one with --contact: {ids}"
            )
            console.print(several.format(ids=", ".join(map(str, sorted(found.contacts)))))
        question = _("{messages} messages in {conversations} conversations will be erased for good. Go on?")
        counts = {"messages": len(found.messages), "conversations": len(found.conversations | found.shared)}
        if not agreed and not _agrees(console, question.format(**counts)):
            raise UsageError(_("nothing was erased"))
    finally:
        database.close()
    erased = asyncio.run(erase(settings, who))
    if erased is None:
        raise UsageError(_("nothing is known of this client"))
    told = _("erased: {messages} messages, {replies} replies and drafts, {quarantined} deliveries in quarantine")
    console.print(told.format(messages=erased.messages, replies=erased.replies, quarantined=erased.quarantined))
    compacted = _compact(settings)
    for line in out_of_reach(settings, erased, compacted=compacted):
        console.print(f"- {line}")


def out_of_reach(settings: Settings, erased: erasure.Erased, *, compacted: bool) -> Iterator[str]:
    """Sentences about the data that has to be deleted by hand."""
    yield _("amoCRM itself: delete the contact, the deals, their notes and tasks there")
    if erased.tasks_left:
        yield _("these tasks at Manus: {tasks}").format(tasks=", ".join(erased.tasks_left))
    if settings.openai_model:
        yield _("what the model's service keeps of its requests")
    if settings.transcribe_base_url:
        service = host_of(settings.transcribe_base_url)
        yield _("what the service that writes voice messages down ({service}) keeps of them").format(service=service)
    copies = (
        sorted(settings.sqlite_path.parent.glob(f"{settings.sqlite_path.name}.*before-*")) if settings.is_sqlite else []
    )
    if copies:
        yield _("these copies of the first version's database: {files}").format(files=", ".join(map(str, copies)))
    yield _("your own backups of the database")
    if not compacted:
        yield _("free space inside the database: it is overwritten when the database is compacted (VACUUM)")


def _agrees(console: Console, question: str) -> bool:
    try:
        return asking.agrees(console, question)
    except EOFError:  # nobody is there to ask
        return False


async def erase(settings: Settings, who: Who) -> erasure.Erased | None:
    """Erase a client's data; None if nothing is known of them."""
    database = Database(settings.database_url)
    database.start()
    try:
        async with httpx2.AsyncClient(timeout=TIMEOUT_SECONDS) as http:
            api = manus.api_of(settings, http)
            return await erasure.forget(database, SystemClock(), api, lead_id=who.lead_id, contact_id=who.contact_id)
    finally:
        await database.stop()


def _compact(settings: Settings) -> bool:
    """Rewrite the SQLite file, so that its free space holds nothing; False if it cannot be done, as with a server."""
    if not settings.is_sqlite:
        return False
    try:
        lock = single_instance.lock_if_there(settings.sqlite_path)
    except DatabaseUnfit:
        return False
    try:
        with closing(sqlite3.connect(settings.sqlite_path)) as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error:
        return False
    finally:
        if lock is not None:
            lock.close()
    return True
