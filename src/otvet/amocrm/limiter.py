"""How often this process may call amoCRM."""

import asyncio
from collections import deque

from otvet.clock import Clock

WINDOW = 1.0  # seconds; the unit of amoCRM's limit


class Limiter:
    """At most ``per_second`` starts within any window of one second, in the order of asking.

    amoCRM allows an integration 7 requests a second, answers 429 beyond, and blocks the server's address for
    all accounts when that is repeated. The default leaves one for requests that reach amoCRM closer together
    than they were started. It counts this process only, and serves one event loop.
    Source: https://www.amocrm.ru/developers/content/api/recommendations
    """

    def __init__(self, clock: Clock, per_second: int = 6) -> None:
        if per_second < 1:
            raise ValueError("per_second must be at least 1")
        self._clock = clock
        self._per_second = per_second
        self._starts: deque[float] = deque(maxlen=per_second)
        self._turn = asyncio.Lock()  # wakes those who wait in the order of their coming

    async def acquire(self) -> None:
        """Wait until a request may start; give up the place by being cancelled."""
        async with self._turn:
            while (wait := self._seconds_to_wait()) > 0:
                await self._clock.sleep(wait)
            self._starts.append(self._clock.monotonic())

    def _seconds_to_wait(self) -> float:
        if len(self._starts) < self._per_second:
            return 0
        return self._starts[0] + WINDOW - self._clock.monotonic()
