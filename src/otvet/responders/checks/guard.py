"""Does every number, price, date, phone, link and e-mail of a reply stand in what was known? No I/O.

What is compared is the meaning and not the writing: "1 500 руб." is "1500 ₽". What the company, its managers and the
assistant's earlier replies said is known, except for what was doubted in a reply when it was sent. A client's word
counts for dates, times, amounts and for the client's own phone and e-mail, but not for a price, a percentage, a link,
a promo code or an account: who writes "you promised it for 1 ruble" must not get it confirmed, neither as "1 ruble"
nor as "yes, 1".
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from otvet.i18n import N_, translator
from otvet.responders.base import Context, Line
from otvet.responders.checks import facts
from otvet.responders.checks.fact import Fact, Keys, plain, visible

SENTENCE = N_(
    "State only numbers, prices, dates, times, phones and links that are given to you; these are not: {found}."
    " If one is needed, say that a manager will clarify it."
)


CLIENT_IS_NO_SOURCE = frozenset({"price", "percent", "link", "code", "account"})


@dataclass(frozen=True, slots=True)
class Finding:
    """What does not belong into a reply.

    kind: quantity, price, percent, date, time, phone, link, email, code (promo), account (or card), or number for one
        that counts nothing known; ``outgoing`` has kinds of its own.
    text: as it is written in the reply.
    """

    kind: str
    text: str


def check(reply: str, context: Context) -> list[Finding]:
    """The facts of a reply that stand nowhere in the context, in their order and each once."""
    reply = visible(reply)
    stated = [fact for fact in facts.read(plain(reply)) if fact.needs]
    if not stated:
        return []
    company, passages, client = _sources(context)
    from_company = facts.known(company) | facts.known_for_long(passages)
    from_anyone = from_company | (facts.known(client) - facts.claims(client))
    missing = [
        Finding(fact.kind, reply[fact.start : fact.end].strip())
        for fact in stated
        if not _stands(fact, from_company if fact.kind in CLIENT_IS_NO_SOURCE else from_anyone)
    ]
    return list(dict.fromkeys(missing))


def sentence(findings: Sequence[Finding], language: str) -> str:
    """What a responder is told when it is to write again, in the client's language; empty without findings."""
    if not findings:
        return ""
    found = ", ".join(f"«{finding.text}»" if language == "ru" else f'"{finding.text}"' for finding in findings)
    return translator(language)(SENTENCE).format(found=found)


def _stands(fact: Fact, known: Keys) -> bool:
    return all(not need.isdisjoint(known) for need in fact.needs)


def _sources(context: Context) -> tuple[list[str], list[str], list[str]]:
    """The texts that are the company's word, those of them that are the same in every turn, and the client's."""
    passages = [context.instructions]
    for passage in context.knowledge:
        passages += ["\n".join((*passage.above, passage.heading)), passage.text]
    # A summary mixes both sides, so a price that only it names may be one that the client made up.
    company: list[str] = []
    client = [context.summary]
    for name, value in context.known:
        (client if name in context.names else company).append(f"{name}: {value}")
    for line in (*context.history, *context.question):
        (client if line.sender == "client" else company).append(_undoubted(line))
    return _readable(company), _readable(passages), _readable(client)


def _undoubted(line: Line) -> str:
    """A message without what was found in it when it was sent: else a mistake would prove itself the next time."""
    text = visible(line.text)
    for piece in line.doubted:
        text = re.sub(rf"(?<!\w){re.escape(piece)}(?!\w)", " ", text)
    return text


def _readable(texts: list[str]) -> list[str]:
    return [plain(visible(text)) for text in texts if text]
