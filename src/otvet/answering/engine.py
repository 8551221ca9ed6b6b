"""The workflow engine: DBOS, behind the few methods that Otvet needs.

- ``begin``, ``begin_again``: run a turn's workflow in this process.
- ``begin_later``: delay a turn for hours; then any process begins it.
- ``every``: repeat a job; each run takes place in one of all processes.

DBOS's tables hold ids and states only, in a file (or schema) of their own that may be lost: ``conversations.db`` holds
the turns themselves, open turns are begun again from there, and jobs are registered at every start. For that reason no
step of a workflow is recorded: DBOS would replay the recorded result to a turn that has moved on since. A workflow
always runs from its top, and the turn's state says what is left to do.
Source: https://docs.dbos.dev/python/reference
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from dbos import DBOS, DBOSConfig, SetEnqueueOptions, SetWorkflowID, WorkflowStatus
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from otvet.answering.workflow_file import open_file
from otvet.errors import OtvetError
from otvet.storage.engines import IDLE_TRANSACTION_MS, with_timeouts

log = structlog.get_logger(__name__)

# One for all versions: each continues the turns of another, because the turn's state decides what is left to do.
APPLICATION_VERSION = "otvet"
FINISHED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
MOST_FORGOTTEN_AT_ONCE = 1000
MOST_THREADS = 8  # DBOS's writes are short; more threads would only slow the webhook down
A_DAY = 86_400
DELAYED = "delayed"  # DBOS's queue of the delayed turns
DELAYED_POLL_SECONDS = 5.0  # a turn that waited for hours can wait for these too
OVERDUE = timedelta(minutes=1)  # after this, the sweep begins a delayed turn that DBOS has not begun

Job = Callable[[], Awaitable[object]]
Workflow = Callable[..., Coroutine[Any, Any, Any]]


class CutShort(Exception):
    """A turn's work ended with an error. DBOS stores this in its place, because an error's text may quote a client."""


class Engine:
    """DBOS in the process ``me``.

    alive: the ids of the living processes at the worker's last sweep.
    """

    def __init__(self, url: str, me: str) -> None:
        self._url = url
        self._me = me
        self.alive: Collection[str] = (me,)
        self._jobs: dict[str, tuple[int | str, Job]] = {}
        self._busy: dict[str, asyncio.Task[Any]] = {}  # the jobs running here, by name
        self._answer: Workflow | None = None
        self._ring: Workflow | None = None
        self._in_flight: set[asyncio.Task[Any]] = set()
        self._running: Counter[int] = Counter()  # workflows by turn; two for a moment if a sweep begins it again

    def every(self, name: str, when: int | str, job: Job) -> None:
        """Register a job before the start. Each run takes place in one of all processes.

        when: a period in seconds that divides a minute, an hour or a day; the first run is at the start, unless the job
        has run in this period. Or a cron expression, in UTC; runs missed while no process was up are made up for once.

        A stop may cut the job off anywhere. A run is skipped while another one is active in a living process. An error
        is logged, and the schedule goes on.
        """
        self._jobs[name] = (when, job)

    async def start(self, answer: Callable[[int], Awaitable[str]], wake: Callable[[int], object]) -> None:
        """Launch DBOS on the running event loop.

        answer: does the work on a turn. wake: called with a turn whose delay is over; it has the turn begun.
        """
        DBOS(config=_config(self._url, self._me))
        logger = logging.getLogger("dbos")
        logger.handlers.clear()  # its log lines go through our handlers
        logger.propagate = True

        async def answer_turn(turn_id: int) -> str:
            return await self._run_detached(self._answer_turn(answer, turn_id))

        async def ring(turn_id: int) -> None:
            # Only after this workflow is recorded as ended: the turn may be delayed again under this id.
            _this_task().add_done_callback(lambda _: wake(turn_id))

        async def run_job(_time: datetime, name: str) -> str:
            return await self._run_detached(self._run_job(name))

        self._answer = DBOS.workflow(name="answer")(answer_turn)
        self._ring = DBOS.workflow(name="ring")(ring)
        scheduled = DBOS.workflow(name="job")(run_job)
        DBOS.launch()
        await DBOS.register_queue_async(DELAYED, polling_interval_sec=DELAYED_POLL_SECONDS)
        await self._schedule(scheduled)

    async def stop(self) -> None:
        """Cut off the workflows in flight; the next start continues them."""
        self._answer = self._ring = None
        logging.getLogger("dbos").setLevel(logging.ERROR)  # work that is cut off here is no error
        for task in self._in_flight:
            task.cancel()
        await asyncio.gather(*self._in_flight, return_exceptions=True)
        loop = asyncio.get_running_loop()
        # DBOS has made its own pool the event loop's default one and closes it: what goes on here needs another.
        loop.set_default_executor(ThreadPoolExecutor(MOST_THREADS))
        with ThreadPoolExecutor(1) as alone:
            await loop.run_in_executor(alone, lambda: DBOS.destroy(destroy_registry=True))

    @property
    def running(self) -> bool:
        return self._answer is not None

    async def stop_jobs(self) -> None:
        """Cut off the jobs that run here, and begin no other. Called before the rest stops."""
        self._jobs = {}
        jobs = list(self._busy.values())
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)

    # Turns

    async def begin(self, workflow_id: str, turn_id: int) -> None:
        """Start the workflow of a turn that was just opened."""
        assert self._answer is not None
        with SetWorkflowID(workflow_id):
            await DBOS.start_workflow_async(self._answer, turn_id)

    async def begin_again(self, workflow_id: str, turn_id: int) -> None:
        """Start a turn's workflow anew, unless a living process runs it. Any process and version may have begun it.

        On a full disk DBOS could not record the end of a workflow: so for this process ``works_on`` decides.
        """
        status = await DBOS.get_workflow_status_async(workflow_id)
        if status is not None:
            runs = self.works_on(turn_id) if status.executor_id == self._me else status.executor_id in self.alive
            if status.status == "PENDING" and runs:
                return
            await DBOS.delete_workflow_async(workflow_id)
        await self.begin(workflow_id, turn_id)

    async def begin_later(self, workflow_id: str, turn_id: int, delay: timedelta) -> None:
        """Delay a turn, in place of an earlier delay; a process that is up afterwards begins it.

        For hours and days: the delay is in the workflow file, not in memory. The turn's own workflow may call this at
        its end. If the workflow file is lost, so is the delay, and the sweep begins the turn.
        """
        assert self._ring is not None
        await DBOS.delete_workflow_async(_alarm_id(workflow_id))
        with SetWorkflowID(_alarm_id(workflow_id)), SetEnqueueOptions(delay_seconds=delay.total_seconds()):
            await DBOS.enqueue_workflow_async(DELAYED, self._ring, turn_id)

    async def put_off(self, workflow_ids: Collection[str], now: datetime) -> set[str]:
        """Which of these workflows have a delayed turn, which a sweep must leave alone."""
        alarms = {_alarm_id(workflow_id): workflow_id for workflow_id in workflow_ids}
        found = await _list(workflow_ids=list(alarms), status=["DELAYED", "ENQUEUED"]) if alarms else []
        overdue = (now - OVERDUE).timestamp() * 1000
        return {alarms[one.workflow_id] for one in found if (one.delay_until_epoch_ms or 0) > overdue}

    async def end_delays(self) -> None:
        """End all delays now, because what the turns wait for has come."""
        for one in await _list(queue_name=DELAYED, status="DELAYED"):
            await DBOS.set_workflow_delay_async(one.workflow_id, delay_seconds=0)

    def works_on(self, turn_id: int) -> bool:
        """Whether a workflow of this turn runs in this process."""
        return turn_id in self._running

    async def _answer_turn(self, answer: Callable[[int], Awaitable[str]], turn_id: int) -> str:
        self._running[turn_id] += 1
        try:
            return await answer(turn_id)
        except Exception as error:
            name = type(error).__name__
            log.error(
                "a turn's work ended with an error", turn=turn_id, error=name, exc_info=not _may_quote_client(error)
            )
            raise CutShort(name) from None
        finally:
            self._running[turn_id] -= 1
            if not self._running[turn_id]:
                del self._running[turn_id]

    # Jobs

    async def _schedule(self, workflow: Workflow) -> None:
        """Register the schedules. A run's workflow id comes from its time, so only one of all processes runs it."""
        for schedule in await DBOS.list_schedules_async():
            if schedule["schedule_name"] not in self._jobs:  # a job of an earlier version
                await DBOS.delete_schedule_async(schedule["schedule_name"])
        await DBOS.apply_schedules_async(
            [
                {
                    "schedule_name": name,
                    "workflow_fn": workflow,
                    "schedule": when if isinstance(when, str) else _cron(when),
                    "context": name,
                    "automatic_backfill": isinstance(when, str),
                }
                for name, (when, _job) in self._jobs.items()
            ]
        )
        now = datetime.now(UTC)
        for name, (when, _job) in self._jobs.items():
            if not isinstance(when, str):
                await asyncio.to_thread(DBOS.backfill_schedule, name, now - timedelta(seconds=when), now)

    async def _run_job(self, name: str) -> str:
        if name not in self._jobs or name in self._busy:
            return "left out"
        self._busy[name] = _this_task()
        try:
            others = [process for process in self.alive if process != self._me]
            if others and await _list(schedule_name=name, status="PENDING", executor_id=others):
                return "left out"
            _when, job = self._jobs[name]
            await job()
        except Exception as error:
            reason = str(error) if isinstance(error, OtvetError) else type(error).__name__
            log.error(
                "a job failed; it runs again at its next time",
                job=name,
                reason=reason,
                exc_info=not _may_quote_client(error),
            )
            return "failed"
        finally:
            del self._busy[name]
        return "done"

    # Shared by turns and jobs

    async def _run_detached(self, work: Coroutine[Any, Any, str]) -> str:
        """Run a workflow's work in a task that a stop can cancel, and outside DBOS's context: no step is recorded."""
        task = _this_task()
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)
        return await asyncio.create_task(work, context=Context())

    async def forget(self, now: datetime, older_than: timedelta) -> int:
        """Delete the records of workflows that ended long ago, or that a dead process left behind; returns how many.

        A turn that is still open is then begun anew.
        """
        until, count = (now - older_than).isoformat(), 0
        left = await _list(status="PENDING", end_time=until, limit=MOST_FORGOTTEN_AT_ONCE)
        gone = [one for one in left if one.executor_id not in (self._me, *self.alive)]
        while True:
            gone += await _list(status=FINISHED, end_time=until, limit=MOST_FORGOTTEN_AT_ONCE)
            if not gone:
                return count
            await DBOS.delete_workflows_async([one.workflow_id for one in gone])
            count += len(gone)
            gone = []


def _config(url: str, me: str) -> DBOSConfig:
    config: DBOSConfig = {
        "name": "otvet",
        "application_version": APPLICATION_VERSION,
        "executor_id": me,
        "system_database_url": url,
        "log_level": "WARNING",
        "max_executor_threads": MOST_THREADS,
        # As on our own connections; options in the address come first.
        "sys_db_idle_transaction_timeout_sec": IDLE_TRANSACTION_MS / 1000,
    }
    if make_url(url).get_backend_name() == "sqlite":
        config["system_database_engine"] = open_file(url)
    else:
        config["system_database_url"] = with_timeouts(make_url(url)).render_as_string(hide_password=False)
    return config


def _cron(seconds: int) -> str:
    """The cron expression of a period, with a field for seconds before the usual five."""
    if seconds == A_DAY:
        return "0 0 0 * * *"
    for unit, in_all, text in ((1, 60, "*/{} * * * * *"), (60, 60, "0 */{} * * * *"), (3600, 24, "0 0 */{} * * *")):
        count, rest = divmod(seconds, unit)
        if 0 < count < in_all and not rest and not in_all % count:
            return text.format(count)
    raise ValueError(f"{seconds} seconds divide neither a minute nor an hour nor a day")


def _alarm_id(workflow_id: str) -> str:
    return f"{workflow_id}-alarm"


def _may_quote_client(error: Exception) -> bool:
    """Whether the error's text may hold what a client wrote."""
    return isinstance(error, (DBAPIError, OtvetError))


def _this_task() -> "asyncio.Task[Any]":
    task = asyncio.current_task()
    assert task is not None
    return task


async def _list(**filters: Any) -> list[WorkflowStatus]:
    return await DBOS.list_workflows_async(**filters, load_input=False, load_output=False)
