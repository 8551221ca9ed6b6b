"""Compares the facts of a reply with those that were known: numbers, dates, phones, links and e-mails. No I/O.

The meaning is compared and not the writing: "1 500 руб." is "1500 ₽". Known is what the company, its managers and the
assistant's earlier replies said, except for the pieces that were doubted in a reply when it was sent. A client's word
counts for dates, times, amounts and for the client's own phone and e-mail. It does not count for a price, a percentage,
a link, a promo code or an account: a client who writes "you promised it for 1 ruble" must not get that confirmed,
neither as "1 ruble" nor as "yes, 1".
"""

import re

from otvet.guard import facts
from otvet.guard.fact import Fact, Keys, plain, visible
from otvet.guard.finding import Finding
from otvet.responders.base import Context, Line

_CLIENT_IS_NO_SOURCE = frozenset({"price", "percent", "link", "code", "account"})


def check(reply: str, context: Context) -> list[Finding]:
    """The facts of a reply that the context does not have, in their order and each once."""
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
    """The texts of the company in this conversation, its texts for every turn, and the texts of the client."""
    passages = [context.instructions]
    for passage in context.knowledge:
        passages += ["\n".join((*passage.above, passage.heading)), passage.text]
    # A summary mixes both sides: a price that stands only there may be the client's invention.
    company: list[str] = []
    client = [context.summary]
    for name, value in context.known:
        (client if name in context.names else company).append(f"{name}: {value}")
    for line in (*context.history, *context.question):
        (client if line.sender == "client" else company).append(_undoubted(line))
    return _readable(company), _readable(passages), _readable(client)


def _undoubted(line: Line) -> str:
    """A message without the pieces that were doubted when it was sent: a mistake must not prove itself next time."""
    text = visible(line.text)
    for piece in line.doubted:
        text = re.sub(rf"(?<!\w){re.escape(piece)}(?!\w)", " ", text)
    return text


def _readable(texts: list[str]) -> list[str]:
    return [plain(visible(text)) for text in texts if text]
