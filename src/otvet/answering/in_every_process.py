"""The loop for periodic work that every process must do for itself.

Examples: write its heartbeat, begin open turns, tell the others when its inbox last heard of amoCRM. Work that one
process does for all is a job of the engine: ``Engine.every``.
"""

from collections.abc import Awaitable, Callable

import structlog

from otvet.clock import Clock
from otvet.errors import OtvetError

log = structlog.get_logger(__name__)


async def repeat(clock: Clock, seconds: float, work: Callable[[], Awaitable[object]], failed: str) -> None:
    """Do the work now and after each pause of ``seconds``, until cancelled. failed: the log message of an error."""
    while True:
        try:
            await work()
        except OtvetError as error:
            log.error(failed, reason=str(error))
        except Exception:
            log.exception(failed)
        await clock.sleep(seconds)
