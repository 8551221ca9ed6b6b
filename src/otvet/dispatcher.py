"""Begins the work that the database owes: turns as they are opened, and whatever a crash or an error left open."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import structlog

from otvet import turns
from otvet.answer import Answering
from otvet.clock import Clock
from otvet.database import Database
from otvet.engine import Engine
from otvet.errors import OtvetError

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 10.0
TIDY_SECONDS = 600.0
KEEP_FINISHED = timedelta(hours=1)
BREATH_SECONDS = 0.01  # between two beginnings while webhooks wait: storing them comes first
LONGEST_PAUSE_SECONDS = 600.0


class Dispatcher:
    """Hands turns to the workflow engine, each once at a time."""

    def __init__(
        self, database: Database, clock: Clock, engine: Engine, answering: Answering, installation_name: str
    ) -> None:
        self._database = database
        self._clock = clock
        self._engine = engine
        self._answering = answering
        self._installation_name = installation_name
        self._queue: asyncio.Queue[int] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []
        self._not_before: dict[int, float] = {}  # turns that ended in an error, and when to try them again
        self._pause: dict[int, float] = {}

    def put(self, turn_ids: Sequence[int]) -> None:
        """Begin these turns as soon as there is room."""
        for turn_id in turn_ids:
            self._queue.put_nowait(turn_id)

    def start(self) -> None:
        for work in (self._begin_queued(), self._sweep(), self._tidy()):
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
            turn_id = await self._queue.get()
            if self._database.writer.waiting:
                await self._clock.sleep(BREATH_SECONDS)
            try:
                # The installation's name keeps the workflows of another conversations.db apart.
                await self._engine.begin(f"turn-{turn_id}-{self._installation_name}", turn_id)
            except Exception:
                log.exception("a turn could not be begun; the next sweep tries again", turn=turn_id)

    async def _sweep(self) -> None:
        """Open turns that nothing works on: after a start, a lost workflow file, an error."""
        first = True
        while True:
            try:
                open_turns = await self._database.read(turns.unfinished)
            except OtvetError as error:
                log.error("open turns cannot be looked up", reason=str(error))
            else:
                idle = [turn_id for turn_id in open_turns if turn_id not in self._answering.active]
                self.put(idle if first else [turn_id for turn_id in idle if self._due(turn_id)])
                self._forget_closed(open_turns)
                first = False
            await self._clock.sleep(SWEEP_SECONDS)

    def _due(self, turn_id: int) -> bool:
        """Whether to begin an idle turn in this sweep; one that is idle again and again waits longer and longer."""
        now = self._clock.monotonic()
        if now < self._not_before.get(turn_id, 0):
            return False
        pause = min(self._pause.get(turn_id, SWEEP_SECONDS / 2) * 2, LONGEST_PAUSE_SECONDS)
        self._pause[turn_id] = pause
        self._not_before[turn_id] = now + pause
        return True

    def _forget_closed(self, open_turns: Sequence[int]) -> None:
        still = set(open_turns)
        for known in (self._pause, self._not_before):
            for turn_id in known.keys() - still:
                del known[turn_id]

    async def _tidy(self) -> None:
        """Keep the workflow file small: what is done is in conversations.db."""
        while True:
            await self._clock.sleep(TIDY_SECONDS)
            try:
                count = await self._engine.forget_finished(self._clock.now(), KEEP_FINISHED)
                log.debug("finished workflows forgotten", count=count)
            except Exception:
                log.exception("finished workflows could not be forgotten")
