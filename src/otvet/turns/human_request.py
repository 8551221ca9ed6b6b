"""A client asks for a person: how that is noticed, what the client is told, and what staff are told."""

import re
from collections.abc import Sequence

from otvet.conversations.transcript import SENDERS
from otvet.i18n import N_, _, translator
from otvet.responders.base import Context, Line, Reply
from otvet.turns.turn import Reason, Writer

PHRASES = (
    "позовите менеджера; позовите оператора; позовите человека; позовите кого-нибудь; соедините с менеджером;"
    " соедините с оператором; соедините с человеком; переключите на менеджера; переключите на оператора;"
    " переведите на менеджера; переведите на оператора; переведите на человека; хочу поговорить с человеком;"
    " хочу поговорить с менеджером; хочу поговорить с оператором; можно поговорить с человеком;"
    " можно поговорить с менеджером; можно менеджера; можно оператора; нужен менеджер; нужен оператор;"
    " нужен человек; нужен живой человек; живого человека; живой человек; дайте менеджера; дайте оператора;"
    " дайте человека; свяжите с менеджером; свяжите с оператором; пусть менеджер; не хочу с ботом;"
    " не хочу говорить с ботом; ты бот; вы бот; это бот; talk to a human; speak to a human; talk to a person;"
    " speak to a person; real person; human please; live agent; talk to an agent; speak to an agent;"
    " speak to a manager; talk to a manager; call a manager; are you a bot"
)
"""Phrases with which a client asks for a person; ``OTVET_PERSON_PHRASES`` replaces them."""

ALONE = frozenset(
    ("оператор", "оператора", "менеджер", "менеджера", "человек", "человека", "human", "operator", "agent")
)
"""A message of one of these words alone asks for a person too."""

FILLERS = frozenset(
    "пожалуйста плиз мне нам уже срочно вашего ваш кого либо здравствуйте добрый день please now just the".split()  # noqa: SIM905
)
"""Words that are left out before phrases are looked for."""

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
DOUBTS = N_("The assistant's draft was not sent because of this in it: {found}\nDraft: {draft}")
CHECK_FIRST = N_("Check this before you rely on it: {found}")
SUMMARY_LINES = 5
SUMMARY_CHARACTERS = 300


def asks_for_person(question: Sequence[Line], phrases: str = PHRASES) -> bool:
    """Whether any line of the question asks for a person."""
    wanted = [f" {_plain(phrase)} " for phrase in phrases.split(";") if phrase.strip()]
    for line in question:
        said = _plain(line.text)
        if said in ALONE or any(phrase in f" {said} " for phrase in wanted):
            return True
    return False


def why_staff(context: Context, phrases: str) -> Reason | None:
    """Why what the client writes is for a person, and for no responder; None if it is not."""
    if asks_for_person(context.question, phrases):
        return Reason.ASKED
    return None


def reply(context: Context, why: Reason) -> Reply:
    """The reply to the client, in the client's language."""
    text, writer = REPLIES[why]
    return Reply(translator(context.language)(text), writer)


def promises_person(text: str) -> bool:
    """Whether a model's reply says that a person of the company will see to it."""
    return False


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


def _plain(text: str) -> str:
    words = re.findall(r"\w+", text.casefold().replace("ё", "е"))
    return " ".join(word for word in words if word not in FILLERS)
