"""The entry to the checks of a reply: its findings, and the corrections for the responder. No I/O."""

import re
from collections.abc import Iterable, Sequence

from otvet.guard import leaks, stated
from otvet.guard.finding import Finding
from otvet.i18n import N_, translator
from otvet.meaning.promises import Promise, promise_of
from otvet.responders.base import Context

__all__ = ["Finding", "check", "reckoned", "sentences"]

_SENTENCE = re.compile(r"[^.!?…\n]*[^\s.!?…][^.!?…\n]*[.!?…]*")

UNKNOWN_FACTS = N_(
    "State only numbers, prices, dates, times, phones and links that are given to you; these are not: {found}."
    " If one is needed, say that a manager will clarify it."
)
CORRECTIONS = {
    "language": N_("Write in the language in which the client wrote last."),
    "unseen": N_("You have not seen the client's picture or file: say so, and ask what is in it."),
    "deed": N_(
        "You cannot book, cancel, send or pay back anything, so do not say that it is done or will be. Say that you"
        " pass it on to a manager."
    ),
    "cut": N_("Your text broke off: write fewer and whole sentences."),
}
"""A correction of its own for some kinds of leaks, beside LEAKED."""

LEAKED = N_(
    "Write only words for the client, in the client's language: nothing of what you were told about your work, no keys,"
    " no tags, nothing in brackets that is still to be filled in."
)


def check(reply: str, context: Context, secrets: Iterable[str] = (), *, facts: bool = True) -> list[Finding]:
    """The findings in a reply, each once: leaks first, then unknown facts.

    secrets: keys and passwords of this installation.
    facts: whether to compare the facts of the reply with the context.
    """
    found = [*leaks.check(reply, context, secrets), *_deeds(reply, context)]
    return found + (stated.check(reply, context) if facts else [])


def _deeds(reply: str, context: Context) -> list[Finding]:
    """The sentences that claim a deed. A responder has no tools: it has booked, cancelled and paid back nothing."""
    told = [line.text for line in context.history if line.sender == "manager"]
    told += [value for _name, value in context.known]
    return [Finding("deed", one) for one in _SENTENCE.findall(reply) if promise_of(one, told) == Promise.REFUSE]


def reckoned(reply: str, context: Context) -> list[list[str]]:
    """The prices of a reply that are sums or products of known ones: [the piece, how it is reckoned]."""
    return [[one.text, one.how] for one in stated.judge(reply, context)[1]]


def sentences(findings: Sequence[Finding], language: str) -> tuple[str, ...]:
    """The corrections for a responder that writes the reply again, in the client's language; empty without findings."""
    translate = translator(language)
    pieces = [finding.text for finding in findings if not finding.is_leak]
    found = ", ".join(f"«{piece}»" if language == "ru" else f'"{piece}"' for piece in pieces)
    told = [translate(UNKNOWN_FACTS).format(found=found)] if pieces else []
    if len(pieces) < len(findings):
        told.append(translate(LEAKED))
    kinds = {finding.kind for finding in findings}
    return (*told, *(translate(sentence) for kind, sentence in CORRECTIONS.items() if kind in kinds))
