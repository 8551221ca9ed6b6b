"""The writing of a reply: one responder after the other, told what it may know, and checked before anything is sent."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import structlog

from otvet.errors import StorageError
from otvet.guard import guard, leaks
from otvet.guard.finding import KEY_KIND, Finding
from otvet.guard.masking import Masker
from otvet.i18n import _
from otvet.responders.base import Context, Journal, Line, Reply, Responder, ResponderError, Summariser
from otvet.responders.prompt_parts import digest
from otvet.storage.spending import UNITS
from otvet.tries import REPLIED, WRITINGS

log = structlog.get_logger(__name__)

DIGEST_CHARACTERS = 1500
SUMMARY_CHARACTERS = 3000  # a model is asked for a hundred words, and may write more
HIDDEN = "***"

Guard = Literal["strict", "note", "off"]


class Entry(Journal, Protocol):
    """One responder's try at a draft: what it remembers, and how it ended."""

    refused: str | None
    findings: tuple[Finding, ...]

    async def begin(self) -> str | None:
        """It is to be asked now; gives why it must not be, or None."""
        ...

    def end(self, outcome: str, spent: int | None = None) -> None:
        """It ended now; spent: in the responder's unit, None when that is not known."""
        ...

    async def refuse(self, text: str, findings: Sequence[Finding], spent: int | None = None) -> None:
        """It ended now, and what it wrote must not be sent."""
        ...


class Notebook(Protocol):
    """Where the tries at a draft are kept."""

    def one(self, responder: str, writing: int) -> Entry:
        """The try at this draft: writing 0, or 1 when it writes once more."""
        ...


@dataclass(frozen=True, slots=True)
class Checks:
    """How strictly a reply is looked at before it may be sent.

    guard: what becomes of a fact that stands nowhere: "strict" (it is not sent), "note" (sent, and noted), "off".
    secrets: texts that must never leave, such as keys.
    limit: characters of a reply; a longer one is cut at the end of a sentence.
    """

    guard: Guard = "strict"
    secrets: tuple[str, ...] = ()
    limit: int = 3000


@dataclass(frozen=True, slots=True)
class Written:
    """A reply, and what a person has to look at because it was refused before: the draft and what was found in it."""

    reply: Reply
    draft: str = ""
    doubts: tuple[Finding, ...] = ()


class Writing:
    """Has replies written by the responders in their order; ``last`` always has one.

    summariser: writes the summaries; without one, or if it fails, a digest stands for the summary.
    masker: hides personal data from the responders outside; None to show it.
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

    async def write(self, context: Context, notebook: Notebook) -> Written:
        """A reply in any case, and with it what was refused if that is why it is ``last``'s."""
        draft, doubts = "", tuple[Finding, ...]()
        for responder in () if context.nothing_to_read else self.responders:  # none of them takes a file
            reply, refused = await self._ask(responder, context, notebook)
            if reply is not None:
                return Written(reply)
            if refused is not None:
                draft, doubts = refused.refused or "", refused.findings
        one = notebook.one(self.last.name, 0)
        reply = await self.last.reply(context, one)
        one.end(REPLIED)
        return Written(reply, draft, doubts)

    async def summarise(self, lines: Sequence[Line], before: str, language: str, notebook: Notebook) -> str:
        """The summariser's summary, else a digest. before: the summary of what came earlier."""
        if self._summariser:
            told = Context(0, 0, 0, tuple(lines), (), language, "", summary=before)
            if summary := await self._summary(self._summariser, told, notebook.one(self._summariser.name, 0)):
                return summary
        return digest(lines, before, DIGEST_CHARACTERS)

    async def _summary(self, summariser: Summariser, context: Context, one: Entry) -> str | None:
        async def ask() -> Reply:
            reply, unknown = await self._without_personal_data(
                context, lambda told: summariser.summarise(told.history, told.summary, told.language)
            )
            if unknown:  # it would be kept for good, and every reply that quotes it refused
                raise ResponderError(_("The summary holds placeholders that stand for nothing."))
            return replace(reply, text=leaks.tidy(reply.text, SUMMARY_CHARACTERS))

        reply = await self._answer(summariser.name, one, ask, what="summary")
        if reply is None:
            return None
        one.end(REPLIED, _cost(summariser.name, reply.details))
        return reply.text

    async def _ask(
        self, responder: Responder, context: Context, notebook: Notebook
    ) -> tuple[Reply | None, Entry | None]:
        """Its reply, or else the last of its drafts that was refused."""
        refused: Entry | None = None
        for writing in range(WRITINGS):
            one = notebook.one(responder.name, writing)
            if one.refused is None:  # else: before a crash
                reply = await self._draft(responder, context, one)
                if reply is not None:
                    return reply, None
            if one.refused is None:
                break
            refused = one
            context = replace(context, draft=one.refused, findings=guard.sentences(one.findings, context.language))
        return None, refused

    async def _draft(self, responder: Responder, context: Context, one: Entry) -> Reply | None:
        async def ask() -> Reply:
            if responder.outside:
                reply, _unknown = await self._without_personal_data(context, lambda told: responder.reply(told, one))
            else:
                reply = await responder.reply(context, one)
            return replace(reply, text=leaks.tidy(reply.text, self._checks.limit))

        reply = await self._answer(responder.name, one, ask, turn=context.turn_id)
        if reply is None:
            return None
        spent = _cost(responder.name, reply.details)
        findings = self._findings(reply.text, context) if responder.outside else []
        if findings and (self._checks.guard == "strict" or any(finding.is_leak for finding in findings)):
            kinds = sorted({finding.kind for finding in findings})
            log.info("a draft was refused", turn=context.turn_id, responder=responder.name, found=kinds)
            await one.refuse(_without_secrets(reply.text, findings), findings, spent)
            return None
        one.end(REPLIED, spent)
        return _with_its_sources(reply, context, findings) if responder.outside else reply

    async def _answer(self, name: str, one: Entry, ask: Callable[[], Awaitable[Reply]], **about: Any) -> Reply | None:
        """What came of asking a responder; None when nothing did, and then the try has ended. about: for the log."""
        if closed := await one.begin():
            one.end(closed)
            return None
        try:
            return await ask()
        except ResponderError as error:
            one.end(str(error), _cost_without_reply(name, error, one.facts))
            log.info("no reply", responder=name, reason=str(error), **about)
        except StorageError:
            raise  # not the responder's fault: the turn is begun again, and what it remembers is not lost
        except Exception as error:
            one.end(f"unexpected: {type(error).__name__}")
            log.exception("a responder failed", responder=name, **about)
        return None

    async def _without_personal_data(
        self, context: Context, ask: Callable[[Context], Awaitable[Reply]]
    ) -> tuple[Reply, Collection[str]]:
        """What somebody outside replies, who is told placeholders: what they stand for is put back.

        Gives also those that stand for nothing.
        """
        if self._masker is None:
            return await ask(context), ()
        masked, restorer = self._masker.mask(context)
        reply = await ask(masked)
        restored = restorer.restore(reply.text)
        return replace(reply, text=restored.text), restored.unknown

    def _findings(self, text: str, context: Context) -> list[Finding]:
        return guard.check(text, context, self._checks.secrets, facts=self._checks.guard != "off")


def _cost(responder: str, told: Mapping[str, Any]) -> int | None:
    """What a reply has cost, by its details; None when its responder does not say."""
    amount = told.get(UNITS.get(responder, ""))
    return None if amount is None else int(amount)


def _cost_without_reply(responder: str, error: ResponderError, facts: Mapping[str, Any]) -> int | None:
    """What a question has cost to which there is no reply; None when it was put, or may have been, and nobody says."""
    told = _cost(responder, facts)
    put = facts.get("asking") or facts.get("task")
    return error.spent if told is None and not put else told


def _without_secrets(text: str, findings: Sequence[Finding]) -> str:
    """A refused draft as it may be stored and shown: nothing of it when it holds a key."""
    return HIDDEN if any(finding.kind == KEY_KIND for finding in findings) else text


def _with_its_sources(reply: Reply, context: Context, facts: Sequence[Finding]) -> Reply:
    details = dict(reply.details)
    if context.knowledge:
        # Who leaves out passages that do not fit says itself which it was told.
        details.setdefault("passages", [{"file": one.file, "heading": one.heading} for one in context.knowledge])
    if facts:
        details["findings"] = [[one.kind, one.text] for one in facts]
    return replace(reply, details=details)
