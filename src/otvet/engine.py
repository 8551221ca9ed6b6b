"""The workflow engine: DBOS, behind the few words that Otvet needs of it.

Its tables hold ids and states only, in a file (or schema) of their own that may be lost: what was promised stands in
``conversations.db``, and open turns are begun again from there. For the same reason no step of a workflow is recorded:
a remembered result would be played back to a turn that has moved on since. A workflow that is resumed runs from its
top, and the turn's state says what is still to be done. Source: https://docs.dbos.dev/python/reference
"""

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog
from dbos import DBOS, DBOSConfig, SetWorkflowID
from sqlalchemy import event
from sqlalchemy.engine import Engine as SqlEngine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from otvet.errors import OtvetError
from otvet.storage.engines import IDLE_TRANSACTION_MS, impatient, make_private

log = structlog.get_logger(__name__)

# Any version of the program continues the turns of another: what is to be done is decided by the turn's state.
APPLICATION_VERSION = "otvet"
FINISHED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
MOST_FORGOTTEN_AT_ONCE = 1000
MOST_THREADS = 8  # its writes are short; a thread for each waiting one would only keep the webhook from running


class CutShort(Exception):
    """A turn's work ended with an error; the engine keeps this in place of it, for an error may quote a client."""


class Engine:
    """Runs one kind of workflow: the answer to a turn."""

    def __init__(self, url: str, me: str) -> None:
        self._url = url
        self._me = me
        self._workflow: Callable[[int], Coroutine[Any, Any, str]] | None = None
        self._under_way: set[asyncio.Task[Any]] = set()
        self._running: Counter[int] = Counter()  # turns; one twice for a moment when a sweep comes between

    def start(self, answer: Callable[[int], Awaitable[str]]) -> None:
        """Launch on the running event loop."""
        url = make_url(self._url)
        config: DBOSConfig = {
            "name": "otvet",
            "application_version": APPLICATION_VERSION,
            "executor_id": self._me,
            "system_database_url": self._url,
            "log_level": "WARNING",
            "max_executor_threads": MOST_THREADS,
            # As for our own connections; an address whose options say otherwise is obeyed.
            "sys_db_idle_transaction_timeout_sec": IDLE_TRANSACTION_MS / 1000,
        }
        if url.get_backend_name() == "sqlite":
            config["system_database_engine"] = _sqlite_engine(self._url)
        else:
            config["system_database_url"] = impatient(url).render_as_string(hide_password=False)
        DBOS(config=config)
        logger = logging.getLogger("dbos")
        logger.handlers.clear()  # its lines go where ours go
        logger.propagate = True

        async def workflow(turn_id: int) -> str:
            task = asyncio.current_task()
            assert task is not None
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
            self._running[turn_id] += 1
            try:
                return await answer(turn_id)
            except Exception as error:
                quotes = isinstance(error, (DBAPIError, OtvetError))
                name = type(error).__name__
                log.error("a turn's work ended with an error", turn=turn_id, error=name, exc_info=not quotes)
                raise CutShort(name) from None
            finally:
                self._running[turn_id] -= 1
                if not self._running[turn_id]:
                    del self._running[turn_id]

        self._workflow = DBOS.workflow(name="answer")(workflow)
        DBOS.launch()

    async def stop(self) -> None:
        """Leave what is under way to the next start."""
        self._workflow = None
        logging.getLogger("dbos").setLevel(logging.ERROR)  # that work is cut off here is no news
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        # A thread of its own: DBOS closes the pool that the event loop would otherwise take one from.
        with ThreadPoolExecutor(1) as alone:
            await asyncio.get_running_loop().run_in_executor(alone, lambda: DBOS.destroy(destroy_registry=True))

    @property
    def running(self) -> bool:
        return self._workflow is not None

    async def begin(self, workflow_id: str, turn_id: int) -> None:
        """Start the workflow of a turn that was just opened."""
        assert self._workflow is not None
        with SetWorkflowID(workflow_id):
            await DBOS.start_workflow_async(self._workflow, turn_id)

    async def begin_again(self, workflow_id: str, turn_id: int, alive: Collection[str]) -> None:
        """Have a turn's workflow run anew, unless a living process runs it; whoever began it, and of what version.

        alive: the ids of the processes that are. One of this very process may have ended without the engine being
        able to write that down: on a full disk.
        """
        status = await DBOS.get_workflow_status_async(workflow_id)
        if status is not None:
            if status.status == "PENDING" and self._runs(status.executor_id, turn_id, alive):
                return
            await DBOS.delete_workflow_async(workflow_id)
        await self.begin(workflow_id, turn_id)

    def _runs(self, executor_id: str | None, turn_id: int, alive: Collection[str]) -> bool:
        return self._running[turn_id] > 0 if executor_id == self._me else executor_id in alive

    async def forget(self, now: datetime, older_than: timedelta, alive: Collection[str]) -> int:
        """Clear the records of workflows that ended long ago, or that a dead process left behind; gives how many.

        If the turn of such a one is open all the same, it is begun anew.
        """
        until = (now - older_than).isoformat()
        ended = await _ids(status=FINISHED, end_time=until)
        left = await _ids(status="PENDING", end_time=until, but_of=(self._me, *alive))
        if ended or left:
            await DBOS.delete_workflows_async([*ended, *left])
        return len(ended) + len(left)


async def _ids(*, status: str | list[str], end_time: str, but_of: Collection[str] = ()) -> list[str]:
    """Of the oldest workflows that were begun before a moment; not those of some executors."""
    found = await DBOS.list_workflows_async(
        status=status, end_time=end_time, limit=MOST_FORGOTTEN_AT_ONCE, load_input=False, load_output=False
    )
    return [one.workflow_id for one in found if one.executor_id not in but_of]


def _sqlite_engine(url: str) -> SqlEngine:
    _set_broken_file_aside(Path(make_url(url).database or ""))
    engine = sa.create_engine(url, connect_args={"timeout": 30})

    make_private(Path(make_url(url).database or ""))

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = "IMMEDIATE"  # as DBOS sets it on an engine of its own
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")  # a workflow may be lost; the turn knows its state

    return engine


def _set_broken_file_aside(path: Path) -> None:
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        aside = path.with_name(path.name + ".broken")
        path.replace(aside)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        log.warning(
            "the workflow file was broken; open turns start again without it", cause=str(error), kept=str(aside)
        )
