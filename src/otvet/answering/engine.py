"""The workflow engine: DBOS, behind the few words that Otvet needs of it.

- ``begin``, ``begin_again``: a turn's workflow runs in this process.
- ``begin_later``: a turn waits for hours; then any process begins it.
- ``every``: a job runs again and again, each time in one of all processes.

DBOS's tables hold ids and states only, in a file (or schema) of their own that may be lost: what was promised stands in
``conversations.db``, open turns are begun again from there, and jobs are registered at every start. For the same reason
no step of a workflow is recorded: a remembered result would be played back to a turn that has moved on since. A
workflow always runs from its top, and the turn's state says what is still to be done.
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
from otvet.storage.engines import IDLE_TRANSACTION_MS, impatient

log = structlog.get_logger(__name__)

# Any version of the program continues the turns of another: what is to be done is decided by the turn's state.
APPLICATION_VERSION = "otvet"
FINISHED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
MOST_FORGOTTEN_AT_ONCE = 1000
MOST_THREADS = 8  # its writes are short; a thread for each waiting one would only keep the webhook from running
A_DAY = 86_400
DELAYED = "delayed"  # the queue of the turns that were put off
DELAYED_POLL_SECONDS = 5.0  # what waited for hours waits for these too
OVERDUE = timedelta(minutes=1)  # a delayed turn that has not been begun by then is not waited for any more

Job = Callable[[], Awaitable[object]]
Workflow = Callable[..., Coroutine[Any, Any, Any]]


class CutShort(Exception):
    """A turn's work ended with an error; the engine keeps this in place of it, for an error may quote a client."""


class Engine:
    """DBOS in the process ``me``.

    alive: the ids of the living processes, as the worker saw them last.
    """

    def __init__(self, url: str, me: str) -> None:
        self._url = url
        self._me = me
        self.alive: Collection[str] = (me,)
        self._jobs: dict[str, tuple[int | str, Job]] = {}
        self._busy: dict[str, asyncio.Task[Any]] = {}  # the jobs that run here
        self._answer: Workflow | None = None
        self._ring: Workflow | None = None
        self._under_way: set[asyncio.Task[Any]] = set()
        self._running: Counter[int] = Counter()  # turns; one twice for a moment when a sweep comes between

    def every(self, name: str, when: int | str, job: Job) -> None:
        """Register a job before the start; each of its times it runs in one of all processes.

        when: seconds that divide a minute, an hour or a day; the first run is at the start, unless the job has run in
        this period. Or a cron expression, in UTC; times that passed while no process ran are made up for once.

        The job may be cut off anywhere. A run is left out while another one goes on in a living process. An error is
        logged, and the schedule goes on.
        """
        self._jobs[name] = (when, job)

    async def start(self, answer: Callable[[int], Awaitable[str]], wake: Callable[[int], object]) -> None:
        """Launch on the running event loop.

        answer: the work on a turn. wake: called with a turn whose delay is over; it has the turn begun.
        """
        DBOS(config=_config(self._url, self._me))
        logger = logging.getLogger("dbos")
        logger.handlers.clear()  # its lines go where ours go
        logger.propagate = True

        async def answer_turn(turn_id: int) -> str:
            return await self._apart(self._answer_turn(answer, turn_id))

        async def ring(turn_id: int) -> None:
            # Not before this workflow is recorded as ended: the turn may be put off anew under the same id.
            _this_task().add_done_callback(lambda _: wake(turn_id))

        async def run_job(_time: datetime, name: str) -> str:
            return await self._apart(self._run_job(name))

        self._answer = DBOS.workflow(name="answer")(answer_turn)
        self._ring = DBOS.workflow(name="ring")(ring)
        scheduled = DBOS.workflow(name="job")(run_job)
        DBOS.launch()
        await DBOS.register_queue_async(DELAYED, polling_interval_sec=DELAYED_POLL_SECONDS)
        await self._schedule(scheduled)

    async def stop(self) -> None:
        """Leave what is under way to the next start."""
        self._answer = self._ring = None
        logging.getLogger("dbos").setLevel(logging.ERROR)  # that work is cut off here is no news
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        # A thread of its own: DBOS closes the pool that the event loop would otherwise take one from.
        with ThreadPoolExecutor(1) as alone:
            await asyncio.get_running_loop().run_in_executor(alone, lambda: DBOS.destroy(destroy_registry=True))

    @property
    def running(self) -> bool:
        return self._answer is not None

    async def stop_jobs(self) -> None:
        """Before the rest stops: cut off the jobs that run here, and begin no other."""
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

        One of this very process may have ended without DBOS being able to write that down: on a full disk.
        """
        status = await DBOS.get_workflow_status_async(workflow_id)
        if status is not None:
            runs = self.works_on(turn_id) if status.executor_id == self._me else status.executor_id in self.alive
            if status.status == "PENDING" and runs:
                return
            await DBOS.delete_workflow_async(workflow_id)
        await self.begin(workflow_id, turn_id)

    async def begin_later(self, workflow_id: str, turn_id: int, delay: timedelta) -> None:
        """Put a turn off, in place of an earlier delay: whichever process is there then is told to begin it.

        For hours and days, which the turn spends in no process's memory. Its own workflow may call this at its end. If
        the workflow file is lost, so is the delay, and the sweep begins the turn.
        """
        assert self._ring is not None
        await DBOS.delete_workflow_async(_alarm(workflow_id))
        with SetWorkflowID(_alarm(workflow_id)), SetEnqueueOptions(delay_seconds=delay.total_seconds()):
            await DBOS.enqueue_workflow_async(DELAYED, self._ring, turn_id)

    async def put_off(self, workflow_ids: Collection[str], now: datetime) -> set[str]:
        """Those of these workflows whose turns wait for the end of a delay, so that a sweep leaves them alone."""
        alarms = {_alarm(workflow_id): workflow_id for workflow_id in workflow_ids}
        found = await _list(workflow_ids=list(alarms), status=["DELAYED", "ENQUEUED"]) if alarms else []
        overdue = (now - OVERDUE).timestamp() * 1000
        return {alarms[one.workflow_id] for one in found if (one.delay_until_epoch_ms or 0) > overdue}

    async def end_delays(self) -> None:
        """What the put-off turns wait for has come: all of them are begun now."""
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
            log.error("a turn's work ended with an error", turn=turn_id, error=name, exc_info=not _quotes(error))
            raise CutShort(name) from None
        finally:
            self._running[turn_id] -= 1
            if not self._running[turn_id]:
                del self._running[turn_id]

    # Jobs

    async def _schedule(self, workflow: Workflow) -> None:
        """Each time of a job is the id of one workflow, so that it runs once however many processes begin it."""
        for schedule in await DBOS.list_schedules_async():
            if schedule["schedule_name"] not in self._jobs:  # of a version before
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
                "a job failed; it runs again at its next time", job=name, reason=reason, exc_info=not _quotes(error)
            )
            return "failed"
        finally:
            del self._busy[name]
        return "done"

    # Both

    async def _apart(self, work: Coroutine[Any, Any, str]) -> str:
        """Run a workflow's work so that a stop cuts it off, and so that nothing it calls is recorded as its step."""
        task = _this_task()
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.create_task(work, context=Context())

    async def forget(self, now: datetime, older_than: timedelta) -> int:
        """Clear the records of workflows that ended long ago, or that a dead process left behind; gives how many.

        If the turn of such a one is open all the same, it is begun anew.
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
        # As for our own connections; an address whose options say otherwise is obeyed.
        "sys_db_idle_transaction_timeout_sec": IDLE_TRANSACTION_MS / 1000,
    }
    if make_url(url).get_backend_name() == "sqlite":
        config["system_database_engine"] = open_file(url)
    else:
        config["system_database_url"] = impatient(make_url(url)).render_as_string(hide_password=False)
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


def _alarm(workflow_id: str) -> str:
    return f"{workflow_id}-alarm"


def _quotes(error: Exception) -> bool:
    """Whether the error's text may hold what a client wrote."""
    return isinstance(error, (DBAPIError, OtvetError))


def _this_task() -> "asyncio.Task[Any]":
    task = asyncio.current_task()
    assert task is not None
    return task


async def _list(**filters: Any) -> list[WorkflowStatus]:
    return await DBOS.list_workflows_async(**filters, load_input=False, load_output=False)
