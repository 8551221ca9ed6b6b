"""A responder that fails again and again is left alone for a while: nobody waits for what will not come."""

from collections.abc import Awaitable, Callable, Sequence

from otvet.clock import Clock
from otvet.errors import StorageError
from otvet.i18n import _
from otvet.responders.base import (
    Context,
    Declined,
    Journal,
    Line,
    NoVerdict,
    Reply,
    Responder,
    ResponderError,
    Summariser,
    Unavailable,
)

FAILURES = 5
"""So many in a row open the circuit."""

PAUSE_SECONDS = 60.0
"""For so long nobody asks. Then one question is let through, and what becomes of it decides for all."""


class Circuit:
    """A Responder, and a Summariser, around others of one service. It knows of this process alone, since its start.

    Every error counts, except Declined (the responder works), NoVerdict (nobody knows) and StorageError (it is not
    the responder's). Unavailable opens the circuit at once, for as long as it says.
    What was begun before a crash is always let through: only the responder can bring it to its end.
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
        self._one_is_trying = False
        self._why = ""

    async def reply(self, context: Context, journal: Journal) -> Reply:
        """Ask, or say at once why nobody is asked."""
        return await self._let_through(lambda: self._responder.reply(context, journal), begun=bool(journal.facts))

    async def summarise(self, lines: Sequence[Line], before: str, language: str) -> Reply:
        """Ask for a summary, as ``reply`` asks for a reply; only for a circuit with a summariser."""
        assert self._summariser is not None
        summarise = self._summariser.summarise
        return await self._let_through(lambda: summarise(lines, before, language), begun=False)

    async def _let_through(self, ask: Callable[[], Awaitable[Reply]], *, begun: bool) -> Reply:
        if self._open_until is None or begun:
            return await self._ask(ask)
        left = self._open_until - self._clock.monotonic()
        if left > 0 or self._one_is_trying:
            raise self._skipped(max(left, 0))
        self._one_is_trying = True
        try:
            return await self._ask(ask, on_trial=True)
        finally:
            self._one_is_trying = False

    async def _ask(self, ask: Callable[[], Awaitable[Reply]], *, on_trial: bool = False) -> Reply:
        was_closed = self._open_until is None
        try:
            reply = await ask()
        except Declined:
            self._worked()
            raise
        except (NoVerdict, StorageError):
            raise
        except Unavailable as error:
            self._open(error.seconds, str(error))
            raise
        except Exception as error:
            # Those under way when it opened, and those from before a crash, do not make the pause longer.
            if on_trial or (was_closed and self._open_until is None):
                self._failed(error)
            raise
        self._worked()
        return reply

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
