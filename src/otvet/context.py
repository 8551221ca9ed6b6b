"""What a responder gets to see of a turn: the one place that decides it."""

import asyncio
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime, tzinfo
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection, Row

from otvet import conversations
from otvet.amocrm import cards
from otvet.conversations import clients, messages
from otvet.conversations import conversations as conversations_
from otvet.i18n import N_, language_of, translator
from otvet.instructions import Instructions
from otvet.responders.base import Context, Line
from otvet.responders.digest import digest
from otvet.responders.knowledge.responder import Knowledge
from otvet.spoken import spoken

log = structlog.get_logger(__name__)

PASSAGES = 3
"""So many passages of the knowledge folder are told with a question."""

FITS_FROM = 0.5
"""A passage that holds a smaller share of the question's words does not answer it."""

OTHER_DEALS_MESSAGES = 20
OTHER_DEALS_CHARACTERS = 1000
"""Of what was said with the client in other deals, so much is told in full, and so much in short."""

NAME_CHARACTERS = 60
_NO_NAME = re.compile(r"[\d\W_]+")

TODAY = N_("Today")
CLIENT_NAME = N_("The client's name")
DEAL = N_("Deal")
STAGE = N_("The deal's stage")
EVERY_DEAL_HAS = (
    (("price", "budget", "бюджет", "сумма"), N_("The deal's amount"), "price"),
    (("tags", "теги"), N_("The deal's tags"), "tags"),
    (("responsible", "ответственный"), N_("The manager in charge"), "responsible"),
)
"""What may be chosen besides a card's own fields: (words for it, label, its name in amocrm.cards.deal)."""

WEEKDAYS = (
    N_("Monday"),
    N_("Tuesday"),
    N_("Wednesday"),
    N_("Thursday"),
    N_("Friday"),
    N_("Saturday"),
    N_("Sunday"),
)

_ASKED = (
    sa.select(messages)
    .where(messages.c.turn_id == sa.bindparam("turn"), messages.c.sender_type == "client")
    .order_by(messages.c.timestamp, messages.c.id)
)
_KNOWN = (
    sa.select(clients.c.name, clients.c.card, conversations_.c.deal)
    .join(conversations_)
    .where(conversations_.c.id == sa.bindparam("conversation"))
)


def build(
    connection: Connection,
    turn: Row[Any],
    history_messages: int,
    instructions: Instructions,
    now: datetime,
    zone: tzinfo | None = None,
    *,
    as_of_then: bool = False,
) -> Context:
    """Gather a turn's question, the deal's history before it, and what is known of the client.

    turn: as ``turns.get`` gives it. history_messages: so many of the newest, oldest first; a summary stands for what
    it covers. zone: the company's; None is the machine's. as_of_then: nothing of what was said after the question,
    nor the summary of today.
    """
    turn_id: int = turn.id
    asked = connection.execute(_ASKED, {"turn": turn_id}).all()
    since, until = (None, asked[-1].timestamp) if as_of_then and asked else (turn.summarised_until, None)
    # A manager may have written in between: what is not the question is history, whenever it came.
    earlier = conversations.history(connection, turn.amocrm_lead_id, turn_id, history_messages, since, until)
    if as_of_then:  # replies bear the time of our clock, which need not be amoCRM's
        earlier = [row for row in earlier if row.sender_type != "assistant" or (row.turn_id or 0) < turn_id]
    language = language_of("\n".join(row.content for row in asked))
    others, before = _other_deals(connection, turn, history_messages, len(earlier), until, language, as_of_then)
    earlier = sorted([*others, *earlier], key=lambda row: row.timestamp)
    return Context(
        turn_id=turn_id,
        conversation_id=turn.conversation_id,
        lead_id=turn.amocrm_lead_id,
        history=tuple(as_line(row, language) for row in earlier),
        question=tuple(as_line(row, language) for row in asked),
        names=frozenset(map(translator(language), (CLIENT_NAME, DEAL))),
        language=language,
        instructions=instructions.read(language),
        known=_known(connection, turn.conversation_id, now.astimezone(zone).date(), language),
        summary="\n".join(filter(None, [before, "" if as_of_then else turn.conversation_summary])),
    )


def _other_deals(
    connection: Connection,
    turn: Row[Any],
    history_messages: int,
    of_this_deal: int,
    until: datetime | None,
    language: str,
    as_of_then: bool,
) -> tuple[list[Row[Any]], str]:
    """What was said with the client in other deals: (messages that belong into the history, the rest in short).

    of_this_deal: how many of the history's messages are of this one. Where it has a summary of its own, nothing older
    than what that covers stands before it in full.
    """
    if history_messages == 0:
        return [], ""
    room = history_messages - of_this_deal
    rows = list(conversations.elsewhere(connection, turn, OTHER_DEALS_MESSAGES, until))
    in_full = rows[-room:] if room > 0 and not turn.conversation_summary else []
    short = [as_line(row, language) for row in rows[: len(rows) - len(in_full)]]
    before = "" if as_of_then else conversations.summary_elsewhere(connection, turn)
    return in_full, digest(short, before, OTHER_DEALS_CHARACTERS)


def as_line(row: Row[Any], language: str) -> Line:
    """A message of the database as a responder sees it."""
    text = spoken(row.content, row.message_type, row.metadata, language)
    findings = ((row.metadata or {}).get("details") or {}).get("findings", ())
    doubted = tuple(piece for _kind, piece in findings) if row.sender_type == "assistant" else ()
    return Line(row.sender_type, text, row.timestamp, bool(row.content.strip()), doubted)


async def with_knowledge(context: Context, knowledge: Knowledge) -> tuple[Context, bool]:
    """The passages of the knowledge folder that are nearest to the question added to it; and whether any fits."""
    try:
        hits = await asyncio.to_thread(knowledge.passages, context.question, context.history, PASSAGES)
    except Exception:
        log.exception("the knowledge folder could not be searched", turn=context.turn_id)
        hits = []  # a reply without it is better than none
    fits = any(hit.coverage >= FITS_FROM for hit in hits)
    return replace(context, knowledge=tuple(hit.passage for hit in hits)), fits


def _known(connection: Connection, conversation_id: int, today: date, language: str) -> tuple[tuple[str, str], ...]:
    say = translator(language)
    row = connection.execute(_KNOWN, {"conversation": conversation_id}).one()
    deal, card = row.deal or {}, row.card or {}
    name = _as_a_name(row.name or "")
    # amoCRM calls a new deal after the client, so what clients chose as their name may stand there too.
    of_client = bool(row.name) and cards.plain(row.name) in cards.plain(deal.get("name") or "")
    deal_name = _as_a_name(deal.get("name") or "") if of_client else deal.get("name")
    facts = [
        (say(TODAY), f"{say(WEEKDAYS[today.weekday()])}, {today:%d.%m.%Y}"),
        (say(CLIENT_NAME), name),
        (say(DEAL), deal_name),
        (say(STAGE), deal.get("stage")),
        *((say(label), value) for label, value in _chosen(deal)),
        *deal.get("fields", ()),
        *card.get("fields", ()),
    ]
    return tuple((label, str(value)) for label, value in facts if value)


def _as_a_name(text: str) -> str:
    """Clients choose it themselves in a messenger: "50 % off" is no name, and must not become a fact."""
    return _NO_NAME.sub(" ", text).strip()[:NAME_CHARACTERS]


def _chosen(deal: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Of what every deal has, what the user wants to be told."""
    chosen = cards.chosen_names(deal.get("chosen") or "")
    for words, label, name in EVERY_DEAL_HAS:
        if chosen & set(words):
            value = deal.get(name)
            yield label, ", ".join(value) if isinstance(value, list) else value
