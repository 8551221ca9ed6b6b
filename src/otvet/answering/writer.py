"""Writes a reply: asks one responder after the other, hides what it must not see, and checks its draft."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import structlog

from otvet.errors import StorageError
from otvet.guard import guard, leaks
from otvet.guard.finding import KEY_KIND, Finding
from otvet.guard.masking import Masker, Restored, Restorer
from otvet.i18n import _
from otvet.responders.base import Context, Line, Reply, Responder, ResponderError, Summariser, Unclean
from otvet.responders.prompt_parts import digest
from otvet.storage.spending import UNITS
from otvet.storage.storable import storable, storable_number
from otvet.turns.attempts import REPLIED, WRITINGS, Attempt, AttemptLog

log = structlog.get_logger(__name__)

DIGEST_CHARACTERS = 1500
SUMMARY_CHARACTERS = 3000  # a model is asked for a hundred words, and may write more
HIDDEN = "***"
_PIECE_CHARACTERS = 200

Guard = Literal["strict", "note", "off"]


@dataclass(frozen=True, slots=True)
class Checks:
    """How strictly a draft is checked before it may be sent.

    guard: for a fact that no source confirms: "strict" refuses the draft, "note" sends it and notes the fact; "off".
    secrets: texts that must never leave, such as keys.
    limit: the most characters of a reply; a longer one is cut at the end of a sentence.
    """

    guard: Guard = "strict"
    secrets: tuple[str, ...] = ()
    limit: int = 3000


@dataclass(frozen=True, slots=True)
class Written:
    """A reply; for staff, also the draft that was refused before it, and the findings in that draft."""

    reply: Reply
    draft: str = ""
    doubts: tuple[Finding, ...] = ()


class ReplyWriter:
    """Asks the responders in their order; ``last`` always has a reply.

    summariser: writes the summaries; without one, or if it fails, a digest is the summary.
    masker: hides personal data from outside responders; None: they see it.
    """

    def __init__(
        self,
        responders: Sequence[Responder],
        last: Responder,
        *,
        summariser: Summariser | None = None,
        masker: Masker | None = None,
        checks: Checks = Checks(),
    ) -> None:
        self.responders = responders
        self._summariser = summariser
        self.last = last
        self._masker = masker
        self._checks = checks

    async def write(self, context: Context, attempts: AttemptLog) -> Written:
        """Returns a reply in any case; with the refused draft and its findings if ``last`` wrote the reply for that."""
        refused: Attempt | None = None
        for responder in () if context.nothing_to_read else self.responders:  # no responder reads files
            shown = context
            for writing in range(WRITINGS):
                attempt = await attempts.begin(responder.name, writing)
                reply = await self._draft(responder, shown, attempt) if attempt.is_open else None
                if reply is not None:
                    return Written(reply)
                if attempt.refused is None:
                    break
                refused = attempt
                found = guard.sentences(attempt.findings, shown.language)
                shown = replace(shown, draft=attempt.refused, findings=found)
        attempt = await attempts.begin(self.last.name)
        reply = await self.last.reply(context, attempt)
        attempt.end(REPLIED)
        return Written(reply, refused.refused or "", refused.findings) if refused else Written(reply)

    async def summarise(self, lines: Sequence[Line], before: str, language: str, attempts: AttemptLog) -> str:
        """The summariser's summary, else a digest. before: the summary of the earlier messages."""
        if self._summariser:
            context = Context(0, 0, 0, tuple(lines), (), language, "", summary=before)
            attempt = await attempts.begin(self._summariser.name)
            summary = await self._summary(self._summariser, context, attempt) if attempt.is_open else None
            if summary:
                return summary
        return digest(lines, before, DIGEST_CHARACTERS)

    async def _draft(self, responder: Responder, context: Context, attempt: Attempt) -> Reply | None:
        """The responder's reply, if it may be sent. Ends the attempt in any case."""
        reply = await self._ask(responder, context, attempt)
        if reply is None:
            return None
        spent = _cost(responder.name, reply.details)
        findings = self._findings(reply.text, context) if responder.outside else []
        if findings and (self._checks.guard == "strict" or any(finding.is_leak for finding in findings)):
            kinds = sorted({finding.kind for finding in findings})
            log.info("a draft was refused", turn=context.turn_id, responder=responder.name, found=kinds)
            await attempt.refuse(_without_secrets(reply.text, findings), findings, spent)
            return None
        attempt.end(REPLIED, spent)
        return _with_its_sources(reply, context, findings) if responder.outside else reply

    async def _ask(self, responder: Responder, context: Context, attempt: Attempt) -> Reply | None:
        """The responder's reply with the personal data restored. If it fails, ends the attempt and returns None."""
        restorer = None
        try:
            masked, restorer = self._mask(context) if responder.outside else (context, None)
            return self._as_stored(await responder.reply(masked, attempt), restorer)
        except StorageError:
            raise  # not the responder's fault: the turn is begun again, and the attempt's facts are not lost
        except Unclean as error:
            await self._refuse_unclean(attempt, error, restorer, context)
            return None
        except Exception as error:
            _end_failed(attempt, error, turn=context.turn_id)
            return None

    def _as_stored(self, reply: Reply, restorer: Restorer | None) -> Reply:
        """A reply in the form in which it is stored: whatever the service said beside it, every database takes it."""
        text = leaks.tidy(_restored(reply.text, restorer).text, self._checks.limit)
        return replace(reply, text=text, model=storable(reply.model), details=storable(reply.details))

    async def _refuse_unclean(
        self, attempt: Attempt, error: Unclean, restorer: Restorer | None, context: Context
    ) -> None:
        """Keep what was written, for the next writing and for staff; a secret in it is hidden."""
        text = leaks.tidy(_restored(error.text, restorer).text, self._checks.limit)
        findings = [Finding(error.kind, leaks.tidy(error.piece, _PIECE_CHARACTERS) or str(error))]
        findings += [one for one in leaks.check(text, context, self._checks.secrets) if one.kind == KEY_KIND]
        log.info("a draft was refused", turn=context.turn_id, responder=attempt.responder, found=[error.kind])
        spent = _cost_without_reply(attempt, error)
        await attempt.refuse(_without_secrets(text, findings) or HIDDEN, findings, spent)

    async def _summary(self, summariser: Summariser, context: Context, attempt: Attempt) -> str | None:
        """The summary, if it can be stored. Ends the attempt in any case."""
        try:
            masked, restorer = self._mask(context)
            reply = await summariser.summarise(masked.history, masked.summary, masked.language)
            restored = _restored(reply.text, restorer)
            text = leaks.tidy(restored.text, SUMMARY_CHARACTERS)
        except StorageError:
            raise
        except Exception as error:
            _end_failed(attempt, error, what="summary")
            return None
        spent = _cost(summariser.name, reply.details)
        if restored.unknown:  # once stored, it would make the checks refuse every reply that quotes it
            attempt.end(_("The summary holds placeholders that stand for nothing."), spent)
            log.info("no reply", responder=summariser.name, reason=attempt.outcome, what="summary")
            return None
        attempt.end(REPLIED, spent)
        return text

    def _mask(self, context: Context) -> tuple[Context, Restorer | None]:
        """The context with placeholders for personal data, and the restorer that puts the data back."""
        return self._masker.mask(context) if self._masker else (context, None)

    def _findings(self, text: str, context: Context) -> list[Finding]:
        return guard.check(text, context, self._checks.secrets, facts=self._checks.guard != "off")


def _end_failed(attempt: Attempt, error: Exception, **about: Any) -> None:
    """End the attempt with the reason why its responder failed. about: further values for the log."""
    if isinstance(error, ResponderError):
        attempt.end(str(error), _cost_without_reply(attempt, error))
        log.info("no reply", responder=attempt.responder, reason=str(error), **about)
    else:
        attempt.end(f"unexpected: {type(error).__name__}")
        log.error("a responder failed", responder=attempt.responder, exc_info=error, **about)


def _restored(text: str, restorer: Restorer | None) -> Restored:
    return restorer.restore(text) if restorer else Restored(text, ())


def _cost(responder: str, details: Mapping[str, Any]) -> int | None:
    """The cost of a reply, from its details; None if they do not state it."""
    amount = details.get(UNITS.get(responder, ""))
    return None if amount is None else storable_number(int(amount))


def _cost_without_reply(attempt: Attempt, error: ResponderError) -> int | None:
    """The cost of an attempt without a reply; None if its call may have been made and the cost is not known."""
    stated = _cost(attempt.responder, attempt.facts)
    may_be_made = attempt.facts.get("asking") or attempt.facts.get("task")
    return storable_number(error.spent) if stated is None and not may_be_made else stated


def _without_secrets(text: str, findings: Sequence[Finding]) -> str:
    """A refused draft as it may be stored and shown: HIDDEN if it holds a key."""
    return HIDDEN if any(finding.kind == KEY_KIND for finding in findings) else text


def _with_its_sources(reply: Reply, context: Context, findings: Sequence[Finding]) -> Reply:
    details = dict(reply.details)
    if context.knowledge:
        # A responder that leaves out some of the passages lists the others itself.
        details.setdefault("passages", [{"file": one.file, "heading": one.heading} for one in context.knowledge])
    if workings := guard.reckoned(reply.text, context):
        details["reckoned"] = workings
    if findings:
        details["findings"] = [[finding.kind, finding.text] for finding in findings]
    return replace(reply, details=details)
