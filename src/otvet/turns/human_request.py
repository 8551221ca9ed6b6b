"""A client asks for a person: how that is noticed, what the client is told, and what staff are told."""

from collections.abc import Sequence

from otvet.i18n import N_, _, translator
from otvet.meaning import person
from otvet.responders.base import Context, Line, Reply

RESPONDER = "handover"
REPLY = N_("I have passed your question on to a manager, who will reply to you here.")
DOUBTS = N_("The assistant's draft was not sent because of this in it: {found}\nDraft: {draft}")
CHECK_FIRST = N_("Check this before you rely on it: {found}")
SUMMARY_LINES = 5
SUMMARY_CHARACTERS = 300


def asks_for_person(question: Sequence[Line], phrases: str = "") -> bool:
    """Whether any line of the question asks for a person. phrases: own ones that mean it too, with ";" between them."""
    return any(person.asks_for_person(line.text, phrases.split(";")) for line in question)


def reply(context: Context) -> Reply:
    """The reply to the client, in the client's language."""
    return Reply(translator(context.language)(REPLY), RESPONDER)


def summary(context: Context) -> str:
    """The last lines of the conversation, for the person who takes over."""
    return in_short([*context.history, *context.question])


def in_short(lines: Sequence[Line]) -> str:
    """The last SUMMARY_LINES lines, each cut to SUMMARY_CHARACTERS, newest last."""
    return "\n".join(f"{line.sender}: {_cut(line.text)}" for line in lines[-SUMMARY_LINES:])


def doubts(context: Context, draft: str, found: Sequence[str]) -> str:
    """For the person who answers in the assistant's place: the refused draft, what was found, and the last lines."""
    told = _(DOUBTS).format(found="; ".join(found), draft=draft)
    return f"{told}\n\n{summary(context)}"


def _cut(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= SUMMARY_CHARACTERS else flat[:SUMMARY_CHARACTERS].rsplit(" ", 1)[0] + "…"
