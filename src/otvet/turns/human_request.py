"""When a client asks for a person: how it is noticed, what is said, and what the person is told."""

import re
from collections.abc import Sequence

from otvet.i18n import N_, _, translator
from otvet.responders.base import Context, Line, Reply

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
"""What a client says who wants a person; ``OTVET_PERSON_PHRASES`` takes its place."""

ALONE = frozenset(
    ("оператор", "оператора", "менеджер", "менеджера", "человек", "человека", "human", "operator", "agent")
)
"""A message of this one word is such a request too."""

FILLERS = frozenset(
    "пожалуйста плиз мне нам уже срочно вашего ваш кого либо здравствуйте добрый день please now just the".split()  # noqa: SIM905
)
"""What may stand between the words of a phrase and changes nothing."""

RESPONDER = "handover"
REPLY = N_("I have passed your question on to a manager, who will reply to you here.")
DOUBTS = N_("The assistant's draft was not sent because of this in it: {found}\nDraft: {draft}")
CHECK_FIRST = N_("Check this before you rely on it: {found}")
SUMMARY_LINES = 5
SUMMARY_CHARACTERS = 300


def asks_for_person(question: Sequence[Line], phrases: str = PHRASES) -> bool:
    """Whether any line of what the client said asks for a person."""
    wanted = [f" {_plain(phrase)} " for phrase in phrases.split(";") if phrase.strip()]
    for line in question:
        said = _plain(line.text)
        if said in ALONE or any(phrase in f" {said} " for phrase in wanted):
            return True
    return False


def reply(context: Context) -> Reply:
    """What the client is told, in the client's language."""
    return Reply(translator(context.language)(REPLY), RESPONDER)


def summary(context: Context) -> str:
    """The last of what was said, for the person who takes over."""
    return in_short([*context.history, *context.question])


def in_short(lines: Sequence[Line]) -> str:
    """The last of them; whole lines, newest last."""
    return "\n".join(f"{line.sender}: {_cut(line.text)}" for line in lines[-SUMMARY_LINES:])


def doubts(context: Context, draft: str, found: Sequence[str]) -> str:
    """For the person who answers in the assistant's place: what was written, and what of it must not be sent."""
    told = _(DOUBTS).format(found="; ".join(found), draft=draft)
    return f"{told}\n\n{summary(context)}"


def _cut(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= SUMMARY_CHARACTERS else flat[:SUMMARY_CHARACTERS].rsplit(" ", 1)[0] + "…"


def _plain(text: str) -> str:
    words = re.findall(r"\w+", text.casefold().replace("ё", "е"))
    return " ".join(word for word in words if word not in FILLERS)
