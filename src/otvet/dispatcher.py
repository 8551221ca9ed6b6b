"""Begins the work that the database owes: turns as they are opened, and whatever a crash or an error left open."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import structlog
from sqlalchemy.engine import Connection

from otvet import processes
from otvet.answering.answering import Answering
from otvet.clock import Clock
from otvet.engine import Engine
from otvet.errors import OtvetError
from otvet.storage.database import Database
from otvet.turns import queue

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 5.0
TIDY_SECONDS = 600.0
KEEP_FINISHED = timedelta(hours=1)
BREATH_SECONDS = 0.01  # between two beginnings while webhooks wait: storing them comes first
LONGEST_PAUSE_SECONDS = 600.0


class Dispatcher:
    """Hands turns to the workflow engine, each once at a time, and keeps this process known to the others."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        engine: Engine,
        answering: Answering,
        *,
        installation_name: str,
        me: str,
    ) -> None:
        self._database = database
        self._clock = clock
        self._engine = engine
        self._answering = answering
        self._installation_name = installation_name
        self._me = me
        self._queue: asyncio.Queue[tuple[int, bool]] = asyncio.Queue()
        self._queued: set[int] = set()
        self._alive: Sequence[str] = (me,)
        self._tasks: list[asyncio.Task[None]] = []
        self._not_before: dict[int, float] = {}  # turns that were idle, and when to begin them again
        self._pause: dict[int, float] = {}

    def put(self, turn_ids: Sequence[int], *, new: bool = False) -> None:
        """Begin these turns as soon as there is room. new: they were just opened, so nothing can work on them yet."""
        for turn_id in turn_ids:
            if turn_id not in self._queued:
                self._queued.add(turn_id)
                self._queue.put_nowait((turn_id, new))

    def start(self) -> None:
        for work in (self._begin_queued(), self._beat(), self._sweep(), self._tidy()):
            self._tasks.append(asyncio.create_task(work))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def running(self) -> bool:
        return bool(self._tasks) and not any(task.done() for task in self._tasks)

    async def _begin_queued(self) -> None:
        while True:
            turn_id, new = await self._queue.get()
            self._queued.discard(turn_id)
            if self._database.writer.waiting:
                await self._clock.sleep(BREATH_SECONDS)
            try:
                # The installation's name keeps the workflows of another conversations.db apart.
                workflow_id = f"turn-{turn_id}-{self._installation_name}"
                if new:
                    await self._engine.begin(workflow_id, turn_id)
                else:
                    await self._engine.begin_again(workflow_id, turn_id, self._alive)
            except Exception:
                log.exception("a turn could not be begun; the next sweep tries again", turn=turn_id)

    async def _beat(self) -> None:
        """Say that this process is alive, and learn who else is."""
        while True:
            await self._clock.sleep(processes.BEAT_SECONDS)
            try:
                await self._database.write(lambda connection: processes.beat(connection, self._me, self._clock.now()))
            except OtvetError as error:
                log.error("this process could not say that it is alive", reason=str(error))

    async def _sweep(self) -> None:
        """Open turns that nothing works on: after a start, a lost workflow file, an error, a death."""
        first = True
        while True:
            try:
                self._alive, idle = await self._database.read(self._look)
            except OtvetError as error:
                log.error("open turns cannot be looked up", reason=str(error))
            else:
                mine = [turn_id for turn_id in idle if turn_id not in self._answering.active]
                self.put(mine if first else [turn_id for turn_id in mine if self._due(turn_id)])
                self._forget_closed(mine)
                first = False
            await self._clock.sleep(SWEEP_SECONDS)

    def _look(self, connection: Connection) -> tuple[Sequence[str], Sequence[int]]:
        now = self._clock.now()
        return processes.alive(connection, now), queue.idle(connection, self._me, now)

    def _due(self, turn_id: int) -> bool:
        """Whether to begin an idle turn in this sweep; one that is idle again and again waits longer and longer."""
        now = self._clock.monotonic()
        if now < self._not_before.get(turn_id, 0):
            return False
        pause = min(self._pause.get(turn_id, SWEEP_SECONDS / 2) * 2, LONGEST_PAUSE_SECONDS)
        self._pause[turn_id] = pause
        self._not_before[turn_id] = now + pause
        return True

    def _forget_closed(self, idle: Sequence[int]) -> None:
        still = set(idle)
        for known in (self._pause, self._not_before):
            for turn_id in known.keys() - still:
                del known[turn_id]

    async def _tidy(self) -> None:
        """Keep the workflow file small: what is done is in conversations.db."""
        while True:
            await self._clock.sleep(TIDY_SECONDS)
            try:
                count = await self._engine.forget(self._clock.now(), KEEP_FINISHED, self._alive)
                log.debug("finished workflows forgotten", count=count)
            except Exception:
                log.exception("finished workflows could not be forgotten")
