"""The writer: the one thread of this process that writes, a batch in each commit.

It takes the queued writes, runs them in one transaction, and answers the callers after the commit. Under load many
writes share one sync to the disk; on SQLite the process's own threads never wait for each other's lock.
"""

import asyncio
import itertools
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

import structlog
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, OperationalError

from otvet.errors import StorageError
from otvet.i18n import _
from otvet.storage.engines import DEADLOCK, SERIALIZATION_FAILURE, write_refused

log = structlog.get_logger(__name__)

MOST_SHARING_A_COMMIT = 512
MOST_OTHERS_AT_ONCE = 32
LEAST_OTHERS_AT_ONCE = 8  # an urgent write waits for no more than these
MOST_WAITING = 20_000
MOST_TRIES = 8
LONGEST_BACKOFF_SECONDS = 0.05
IDLE_SECONDS = 1.0

Work = Callable[[Connection, Sequence[Any]], Sequence[Any]]
"""A write that takes a batch of items and returns one result per item, in their order."""


@dataclass(slots=True)
class _Job:
    work: Work
    item: Any
    future: "asyncio.Future[Any]"
    urgent: bool
    outcome: Any = None


class Writer:
    """Runs writes in batches on its own thread. Start it on the event loop that will wait for the writes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._urgent: deque[_Job] = deque()  # taken from the queue, not begun
        self._others: deque[_Job] = deque()
        self._urgent_put = self._urgent_taken = 0  # each is changed by one thread only
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._loop is not None

    async def stop(self) -> None:
        """Run the queued writes, then end the thread."""
        self._jobs.put(None)
        with ThreadPoolExecutor(1) as alone:  # the loop's own pool may be closed by now
            await asyncio.get_running_loop().run_in_executor(alone, self._thread.join)

    @property
    def waiting(self) -> int:
        """The number of writes that wait for a commit."""
        return self._jobs.qsize() + len(self._urgent) + len(self._others)

    def submit(self, work: Work, item: Any, *, urgent: bool = False) -> "asyncio.Future[Any]":
        """Queue an item; ``work`` gets all its items that wait at the same time as one batch.

        urgent: an HTTP answer waits for it. Urgent items go first, in a commit of their own.
        """
        if self._loop is None:
            raise RuntimeError("the writer was not started")
        if self.waiting > MOST_WAITING:
            raise StorageError(_("more writes are waiting than can be carried out in time"))
        future: asyncio.Future[Any] = self._loop.create_future()
        self._urgent_put += urgent
        self._jobs.put(_Job(work, item, future, urgent))
        return future

    def _run(self) -> None:
        dirty = going_on = True
        while going_on or self.waiting:
            try:
                going_on = self._take(IDLE_SECONDS if dirty else None) and going_on
            except queue.Empty:
                self._settle()
                dirty = False
                continue
            if batch := self._batch():
                done = self._commit(batch)
                self._others.extendleft(reversed(batch[done:]))
                dirty = True

    def _take(self, patience: float | None) -> bool:
        """Move queued jobs to their lines, waiting for one if both lines are empty; False when the thread must end."""
        while not (self._urgent or self._others) or not self._jobs.empty():
            job = self._jobs.get(timeout=patience)
            if job is None:
                return False
            self._urgent_taken += job.urgent
            (self._urgent if job.urgent else self._others).append(job)
        return True

    def _batch(self) -> list[_Job]:
        jobs, most = (self._urgent, MOST_SHARING_A_COMMIT) if self._urgent else (self._others, MOST_OTHERS_AT_ONCE)
        return [jobs.popleft() for _ in range(min(most, len(jobs)))]

    def _commit(self, batch: list[_Job]) -> int:
        """Commit a batch and answer its callers; returns how many jobs were done, the rest has to be retried."""
        done = len(batch)
        try:
            done = self._transact(batch)
        except Exception as error:  # the thread must outlive every failed write
            if not isinstance(error, DBAPIError):
                log.exception("a write failed in an unexpected way")
            for job in batch:
                job.outcome = write_refused(error)
        loop = cast(asyncio.AbstractEventLoop, self._loop)
        if not loop.is_closed():
            loop.call_soon_threadsafe(_answer, batch[:done])
        return done

    def _transact(self, batch: list[_Job]) -> int:
        for tries_left in reversed(range(MOST_TRIES)):
            try:
                with self._engine.begin() as connection:
                    done = self._run_groups(connection, batch)
            except OperationalError as error:
                # Disk full, locked, server gone: the batch has failed. But a batch that PostgreSQL rolled back in
                # favour of another process can simply be run again, after a random pause.
                if not tries_left or getattr(error.orig, "sqlstate", None) not in (DEADLOCK, SERIALIZATION_FAILURE):
                    raise
                time.sleep(random.uniform(0, LONGEST_BACKOFF_SECONDS))  # noqa: S311 - no secret
            except Exception:
                # One job is at fault, or another process has just written the same row: run one by one, only it fails.
                with self._engine.begin() as connection:
                    _one_by_one(connection, batch)
                return len(batch)
            else:
                return done
        raise AssertionError("the last try returns or raises")

    def _run_groups(self, connection: Connection, batch: list[_Job]) -> int:
        """Run the batch until an urgent job comes; returns how many jobs were done."""
        done = 0
        for group in _alike(batch):
            if done and not batch[0].urgent and self._urgent_put != self._urgent_taken:
                break
            for job, result in zip(group, group[0].work(connection, [job.item for job in group]), strict=True):
                job.outcome = result
            done += len(group)
        return done

    def _settle(self) -> None:
        """When idle, move the journal into the SQLite file, so that a plain copy of the file is complete."""
        if self._engine.dialect.name != "sqlite":
            return
        try:
            connection = self._engine.raw_connection()
            try:
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                connection.close()
        except Exception as error:  # a reader may block it; the writer will be idle again
            log.debug("checkpoint postponed", reason=str(error))


def _alike(batch: list[_Job]) -> Iterator[list[_Job]]:
    """Consecutive jobs of the same work as one group; groups that are not urgent are short."""
    most = MOST_SHARING_A_COMMIT if batch[0].urgent else LEAST_OTHERS_AT_ONCE
    for _work, jobs in itertools.groupby(batch, key=lambda job: job.work):
        while group := list(itertools.islice(jobs, most)):
            yield group


def _one_by_one(connection: Connection, batch: list[_Job]) -> None:
    """Each job in a savepoint, so that only the faulty one fails."""
    for job in batch:
        try:
            with connection.begin_nested():
                (job.outcome,) = job.work(connection, [job.item])
        except OperationalError:
            raise
        except Exception as error:
            job.outcome = error


def _answer(batch: list[_Job]) -> None:
    for job in batch:
        if job.future.done():  # the caller was cancelled; its write is committed all the same
            continue
        if isinstance(job.outcome, Exception):
            job.future.set_exception(job.outcome)
        else:
            job.future.set_result(job.outcome)
