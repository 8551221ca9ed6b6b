"""What a client writes that is for no responder: the wish for a person, complaints, small talk; what staff are told."""

from collections.abc import Sequence

from otvet.conversations.transcript import SENDERS
from otvet.i18n import N_, _, translator
from otvet.meaning import person, temper
from otvet.meaning.promises import Promise, promise_of
from otvet.meaning.small_talk import Talk, kind_of
from otvet.responders.base import Context, Line, Reply
from otvet.turns.turn import Reason, Writer

REPLIES = {
    Reason.ASKED: (
        N_("We are passing your question on to a manager, who will reply to you here."),
        Writer.HUMAN_REQUEST,
    ),
    Reason.ANGRY: (
        N_("We are sorry about this. We are passing your message on to a manager, who will reply to you here."),
        Writer.COMPLAINT,
    ),
}
SMALL_TALK = {
    Talk.GREETING: N_("Hello! How can we help you?"),
    Talk.THANKS: N_("You are welcome! If you have more questions, write to us."),
}
DOUBTS = N_("The assistant's draft was not sent because of this in it: {found}\nDraft: {draft}")
CHECK_FIRST = N_("Check this before you rely on it: {found}")
SUMMARY_LINES = 5
SUMMARY_CHARACTERS = 300


def asks_for_person(question: Sequence[Line], phrases: str = "") -> bool:
    """Whether any line of the question asks for a person. phrases: own ones that mean it too, with ";" between them."""
    return any(person.asks_for_person(line.text, phrases.split(";")) for line in question)


def why_staff(context: Context, phrases: str = "") -> Reason | None:
    """Why the question is for a person and for no responder; None if it is not.

    phrases: the company's own phrases that ask for a person, with ";" between them.
    """
    if asks_for_person(context.question, phrases):
        return Reason.ASKED
    if any(temper.is_angry(line.text) for line in context.question if line.words):
        return Reason.ANGRY
    return None


def reply(context: Context, why: Reason) -> Reply:
    """The reply to the client, in the client's language."""
    text, writer = REPLIES[why]
    return Reply(translator(context.own_language)(text), writer)


def small_talk(context: Context) -> Talk:
    """What the question wants. An "ok" after a question of ours is an answer to it, and no small talk."""
    said = [line for line in context.history if line.sender != "client"]
    if said and said[-1] == context.history[-1] and "?" in said[-1].text:
        return Talk.QUESTION
    texts = [line.text for line in context.question if line.words]
    return kind_of(texts, [line.kind for line in context.question if not line.words])


def small_talk_reply(context: Context, talk: Talk) -> Reply:
    """The short reply to thanks or a greeting."""
    return Reply(translator(context.own_language)(SMALL_TALK[talk]), Writer.SMALL_TALK)


def promises_person(text: str) -> bool:
    """Whether a model's reply says that a person of the company will see to it."""
    return promise_of(text) == Promise.HANDOFF


def summary(context: Context, doubts: str = "") -> str:
    """The last lines of the conversation, for the person who takes over, below what was found in a refused draft."""
    return "\n\n".join(filter(None, (doubts, in_short([*context.history, *context.question]) or "-")))


def in_short(lines: Sequence[Line]) -> str:
    """The last SUMMARY_LINES lines, each cut to SUMMARY_CHARACTERS, newest last."""
    return "\n".join(f"{_(SENDERS[line.sender])}: {cut(line.text)}" for line in lines[-SUMMARY_LINES:])


def doubts(draft: str, found: Sequence[str]) -> str:
    """For the person who answers in the assistant's place: the refused draft, and what was found in it."""
    return _(DOUBTS).format(found="; ".join(found), draft=draft)


def cut(text: str) -> str:
    """A text as one line of at most SUMMARY_CHARACTERS."""
    flat = " ".join(text.split())
    return flat if len(flat) <= SUMMARY_CHARACTERS else flat[:SUMMARY_CHARACTERS].rsplit(" ", 1)[0] + "…"
