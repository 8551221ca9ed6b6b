"""Compares the facts of a reply with the known ones: numbers, dates, phones, links and e-mails. No I/O.

Meanings are compared, not spellings: "1 500 руб." is "1500 ₽". A fact is known if the company, its managers or the
assistant's earlier replies said it, except for the pieces that the guard doubted in a reply that was sent. A client's
words are a source for dates, times, amounts and the client's own phone and e-mail, but not for a price, a percentage, a
link, a promo code or an account: a client who writes "you promised it for 1 ruble" must not get that confirmed, neither
as "1 ruble" nor as "yes, 1".
"""

import re

from otvet.guard import facts
from otvet.guard.fact import Fact, Keys, plain, visible
from otvet.guard.finding import Finding
from otvet.responders.base import Context, Line

_CLIENT_IS_NO_SOURCE = frozenset({"price", "percent", "link", "code", "account"})


def check(reply: str, context: Context) -> list[Finding]:
    """The facts of a reply that the context does not contain, in their order and each once."""
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
        if not _is_known(fact, from_company if fact.kind in _CLIENT_IS_NO_SOURCE else from_anyone)
    ]
    return list(dict.fromkeys(missing))


def _is_known(fact: Fact, known: Keys) -> bool:
    return all(not need.isdisjoint(known) for need in fact.needs)


def _sources(context: Context) -> tuple[list[str], list[str], list[str]]:
    """The company's texts in this conversation, its texts for all questions, and the client's texts."""
    passages = [context.instructions]
    for passage in context.knowledge:
        passages += ["\n".join((*passage.above, passage.heading)), passage.text]
    # A summary mixes both sides: a price that only the summary has may be the client's invention.
    company: list[str] = []
    client = [context.summary]
    for name, value in context.known:
        (client if name in context.names else company).append(f"{name}: {value}")
    for line in (*context.history, *context.question):
        (client if line.sender == "client" else company).append(_undoubted(line))
    return _readable(company), _readable(passages), _readable(client)


def _undoubted(line: Line) -> str:
    """A message without the pieces that the guard doubted when it was sent: a mistake must not confirm itself."""
    text = visible(line.text)
    for piece in line.doubted:
        text = re.sub(rf"(?<!\w){re.escape(piece)}(?!\w)", " ", text)
    return text


def _readable(texts: list[str]) -> list[str]:
    return [plain(visible(text)) for text in texts if text]
