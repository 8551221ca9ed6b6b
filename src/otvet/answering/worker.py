"""The worker: sees to it that every open turn of the database is worked on, in one of all processes.

Who runs a turn? ``turns.owner`` names the process, and ``processes`` says whether that process is alive. A workflow
starts with the UPDATE that makes its process the owner (``queue.claim``), so a second workflow of a turn ends at once.
The worker of each process begins these turns:

- turns that its own webhook has just opened, or that staff asked for (``put``);
- turns whose delay is over (``put``; ``begin_later`` sets the delay);
- open turns that nothing works on, after a start, a lost workflow file, an error or a death (``sweep``).

The engine only runs what the worker begins.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import structlog
from sqlalchemy.engine import Connection

from otvet.answering.engine import Engine
from otvet.answering.in_every_process import repeat
from otvet.clock import Clock
from otvet.storage import heartbeats
from otvet.storage.database import Database
from otvet.turns import queue

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 5.0
KEEP_FINISHED = timedelta(hours=1)
BREATH_SECONDS = 0.01  # before beginning a turn while webhooks wait: storing them comes first
FIRST_PAUSE_SECONDS = 5.0  # before a turn that was found idle again is begun once more
LONGEST_PAUSE_SECONDS = 600.0


class Worker:
    """Begins turns in the process ``me``, and keeps this process known to the others."""

    def __init__(self, database: Database, clock: Clock, engine: Engine, *, installation_name: str, me: str) -> None:
        self._database = database
        self._clock = clock
        self._engine = engine
        self._installation_name = installation_name
        self._me = me
        self._queue: asyncio.Queue[tuple[int, bool]] = asyncio.Queue()
        self._queued: set[int] = set()
        self._pauses: dict[int, tuple[float, float]] = {}  # by idle turn: (seconds, until when)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        beat = repeat(self._clock, heartbeats.BEAT_SECONDS, self.beat, "this process could not say that it is alive")
        sweep = repeat(self._clock, SWEEP_SECONDS, self.sweep, "open turns cannot be looked up")
        self._tasks = [asyncio.create_task(work) for work in (self._begin_queued(), beat, sweep)]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def running(self) -> bool:
        return bool(self._tasks) and not any(task.done() for task in self._tasks)

    def put(self, turn_ids: Sequence[int], *, new: bool = False) -> None:
        """Queue these turns to be begun. new: they were just opened, so nothing can work on them yet."""
        for turn_id in turn_ids:
            if turn_id not in self._queued:
                self._queued.add(turn_id)
                self._queue.put_nowait((turn_id, new))

    async def begin_later(self, turn_id: int, delay: timedelta) -> None:
        """Delay an open turn for hours: no process begins it before the delay is over.

        The caller gives up the turn first, and ends its workflow after this call.
        """
        await self._engine.begin_later(self._workflow_id(turn_id), turn_id, delay)

    async def end_delays(self) -> None:
        """What the resting turns wait for has come: all of them are begun now, in any process."""
        await self._engine.end_delays()

    async def beat(self) -> None:
        """Write this process's heartbeat."""
        await self._database.write(lambda connection: heartbeats.beat(connection, self._me, self._clock.now()))

    async def sweep(self) -> None:
        """Begin the open turns that nothing works on, and read which processes are alive."""
        self._engine.alive, idle = await self._database.read(self._alive_and_idle)
        idle = [turn_id for turn_id in idle if not self._engine.works_on(turn_id)]
        due = {self._workflow_id(turn_id): turn_id for turn_id in self._due(idle)}
        for workflow_id in await self._engine.put_off(due, self._clock.now()):
            del due[workflow_id]
        self.put(list(due.values()))

    async def forget_finished(self) -> None:
        """Delete old records from the workflow file. A job of one process for all."""
        count = await self._engine.forget(self._clock.now(), KEEP_FINISHED)
        log.debug("finished workflows forgotten", count=count)

    def _alive_and_idle(self, connection: Connection) -> tuple[Sequence[str], Sequence[int]]:
        now = self._clock.now()
        return heartbeats.alive(connection, now), queue.idle(connection, self._me, now)

    def _due(self, idle: Sequence[int]) -> list[int]:
        """The idle turns whose pause is over. A turn's pause doubles with each sweep that finds it idle again."""
        now = self._clock.monotonic()
        self._pauses = {turn_id: self._pauses[turn_id] for turn_id in idle if turn_id in self._pauses}
        due = [turn_id for turn_id in idle if turn_id not in self._pauses or self._pauses[turn_id][1] <= now]
        for turn_id in due:
            pause, _until = self._pauses.get(turn_id, (FIRST_PAUSE_SECONDS / 2, now))
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            self._pauses[turn_id] = pause, now + pause
        return due

    async def _begin_queued(self) -> None:
        while True:
            turn_id, new = await self._queue.get()
            self._queued.discard(turn_id)
            if self._database.writer.waiting:
                await self._clock.sleep(BREATH_SECONDS)
            begin = self._engine.begin if new else self._engine.begin_again
            try:
                await begin(self._workflow_id(turn_id), turn_id)
            except Exception:
                log.exception("a turn could not be begun; the next sweep tries again", turn=turn_id)

    def _workflow_id(self, turn_id: int) -> str:
        """The id of a turn's workflow. The installation's name keeps apart the turns of another database."""
        return f"turn-{turn_id}-{self._installation_name}"
