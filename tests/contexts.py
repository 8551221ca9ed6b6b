"""Contexts for tests of what is written, without a database."""

from collections.abc import Sequence
from datetime import UTC, datetime

from otvet.i18n import language_of
from otvet.responders.base import Context, Line, Sender
from otvet.responders.knowledge.passages import Passage

THEN = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


def line(text: str, sender: Sender = "client") -> Line:
    return Line(sender, text, THEN)


def context(
    knowledge: str | Sequence[tuple[str, str]] = (),
    *,
    question: str = "?",
    history: Sequence[tuple[Sender, str]] = (),
    known: Sequence[tuple[str, str]] = (),
    names: Sequence[str] = (),
    instructions: str = "",
    summary: str = "",
    language: str = "",
    draft: str = "",
    findings: Sequence[str] = (),
) -> Context:
    """A turn with these words; ``knowledge`` is the text of one passage, or headings with texts."""
    passages = [("Passage", knowledge)] if isinstance(knowledge, str) else knowledge
    return Context(
        turn_id=1,
        conversation_id=1,
        lead_id=1,
        history=tuple(line(text, sender) for sender, text in history),
        question=tuple(line(text) for text in question.split("\n")),
        language=language or language_of(question),
        instructions=instructions,
        known=tuple(known),
        names=frozenset(names),
        knowledge=tuple(Passage("file.md", heading, text) for heading, text in passages),
        summary=summary,
        draft=draft,
        findings=tuple(findings),
    )
