"""What each process does for itself, again and again: only what no other process can do for it.

That it is alive, which open turns it can begin, what its own inbox heard. What is done once for all processes is a job
of the engine instead: ``Engine.every``.
"""

from collections.abc import Awaitable, Callable

import structlog

from otvet.clock import Clock
from otvet.errors import OtvetError

log = structlog.get_logger(__name__)


async def repeat(clock: Clock, seconds: float, work: Callable[[], Awaitable[object]], failed: str) -> None:
    """Do the work at once and then in such pauses, until cancelled. failed: what the log says of an error."""
    while True:
        try:
            await work()
        except OtvetError as error:
            log.error(failed, reason=str(error))
        except Exception:
            log.exception(failed)
        await clock.sleep(seconds)
