"""A circuit breaker: a responder that keeps failing is not asked during a cool-down, so no client waits for it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from otvet.clock import Clock
from otvet.errors import StorageError
from otvet.i18n import _
from otvet.responders.base import (
    Attempt,
    Context,
    Declined,
    Line,
    NoVerdict,
    Reply,
    Responder,
    ResponderError,
    Summariser,
    Unavailable,
)

FAILURES = 5
"""How many failures in a row open the circuit."""

PAUSE_SECONDS = 60.0
"""The cool-down. Then one trial request decides whether the circuit closes."""


class Circuit:
    """A Responder and Summariser that wraps those of one service. It counts the requests of this process only.

    Every error counts, except Declined (the responder works), NoVerdict (says nothing of the responder) and
    StorageError (not the responder's fault). Unavailable opens the circuit at once, for its own number of seconds.
    An attempt begun before a crash is always let through: only the responder can finish it.
    """

    def __init__(
        self,
        responder: Responder,
        clock: Clock,
        *,
        summariser: Summariser | None = None,
        failures: int = FAILURES,
        seconds: float = PAUSE_SECONDS,
    ) -> None:
        self.name = responder.name
        self.outside = responder.outside
        self._responder = responder
        self._summariser = summariser
        self._clock = clock
        self._limit = failures
        self._pause = seconds
        self._failures = 0
        self._open_until: float | None = None
        self._trial_in_flight = False
        self._why = ""

    async def reply(self, context: Context, attempt: Attempt) -> Reply:
        """Ask the responder; NoVerdict at once if the circuit is open."""
        with self._watched(begun=bool(attempt.facts)):
            return await self._responder.reply(context, attempt)

    async def summarise(self, lines: Sequence[Line], before: str, language: str) -> Reply:
        """Ask the summariser, which must be there; NoVerdict at once if the circuit is open."""
        assert self._summariser is not None
        with self._watched(begun=False):
            return await self._summariser.summarise(lines, before, language)

    @contextmanager
    def _watched(self, *, begun: bool) -> Iterator[None]:
        """Let one request through and count its result; NoVerdict if the circuit is open."""
        was_closed = self._open_until is None
        on_trial = not (was_closed or begun)
        if on_trial:
            self._begin_trial()
        try:
            yield
        except Declined:
            self._worked()
            raise
        except (NoVerdict, StorageError):
            raise
        except Unavailable as error:
            self._open(error.seconds, str(error))
            raise
        except Exception as error:
            # A request in flight when the circuit opened, or begun before a crash, does not prolong the cool-down.
            if on_trial or (was_closed and self._open_until is None):
                self._failed(error)
            raise
        else:
            self._worked()
        finally:
            if on_trial:
                self._trial_in_flight = False

    def _begin_trial(self) -> None:
        assert self._open_until is not None
        left = self._open_until - self._clock.monotonic()
        if left > 0 or self._trial_in_flight:
            raise self._skipped(max(left, 0))
        self._trial_in_flight = True

    def _worked(self) -> None:
        self._failures = 0
        self._open_until = None

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        if self._failures >= self._limit or self._open_until is not None:
            why = str(error) if isinstance(error, ResponderError) else type(error).__name__
            text = _("failures in a row: {count}, the last of them: {why}")
            self._open(self._pause, text.format(count=self._failures, why=why))

    def _open(self, seconds: float, why: str) -> None:
        self._open_until = self._clock.monotonic() + seconds
        self._why = why

    def _skipped(self, seconds: float) -> NoVerdict:
        text = _("Not asked for {seconds} more seconds: {why}")
        return NoVerdict(text.format(seconds=round(seconds), why=self._why))
