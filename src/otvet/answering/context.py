"""What a responder gets to see of a turn: the one place that decides it."""

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, tzinfo
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection, Row

from otvet.amocrm import cards
from otvet.answering.instructions import Instructions
from otvet.conversations.elsewhere import Asker, asker, elsewhere
from otvet.conversations.history import Ids, history, ids_of, people
from otvet.conversations.tables import clients, messages
from otvet.conversations.tables import conversations as conversations_
from otvet.conversations.transcript import spoken
from otvet.i18n import N_, language_of, translator
from otvet.responders.base import Context, Line
from otvet.responders.knowledge.responder import Knowledge
from otvet.responders.prompt_parts import digest
from otvet.turns import human_request
from otvet.turns.turn import Turn

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
_DEAL = (
    sa.select(conversations_.c.deal, clients.c.name.label("last"))
    .join(clients)
    .where(conversations_.c.id == sa.bindparam("conversation"))
)
_CLIENT = sa.select(clients.c.name, clients.c.card).where(clients.c.id == sa.bindparam("client"))


def build(
    connection: Connection,
    turn: Turn,
    history_messages: int,
    instructions: Instructions,
    now: datetime,
    zone: tzinfo | None = None,
    *,
    as_of_then: bool = False,
) -> Context:
    """Gather a turn's question, the deal's history before it, and what is known of the client.

    turn: as it stands. history_messages: how many of the newest are told, oldest first; a summary stands for what
    it covers. zone: the company's; None is the machine's. as_of_then: nothing of what was said after the question,
    nor the summary of today.

    Where several contacts write in one deal, only what was said with whoever asks is told, and no summary: it tells
    of all of them.
    """
    turn_id: int = turn.id
    asked = connection.execute(_ASKED, {"turn": turn_id}).all()
    writers = people(connection, turn.deal)
    shared = len(writers) > 1
    client = _who_asks(asked, writers)
    summary = None if shared or as_of_then else turn.conversation_summary
    since = turn.summarised_until if summary else None
    until = asked[-1].timestamp if as_of_then and asked else None
    # A manager may have written in between: what is not the question is history, whenever it came.
    earlier = history(connection, turn.deal, turn_id, history_messages, since, until, client if shared else frozenset())
    if as_of_then:  # replies bear the time of our clock, which need not be amoCRM's
        earlier = [row for row in earlier if row.sender_type != "assistant" or (row.turn_id or 0) < turn_id]
    language = language_of("\n".join(row.content for row in asked))
    # Where the deal has a summary, nothing older than what that covers stands before it in full.
    room = 0 if summary else history_messages - len(earlier)
    before = ""
    who = asker(connection, turn.id, turn.client_id)
    if history_messages and who:
        other, before = _other_deals(connection, turn, who, room, until, language, as_of_then)
        earlier = sorted([*other, *earlier], key=lambda row: row.timestamp)
    return Context(
        turn_id=turn_id,
        conversation_id=turn.conversation_id,
        lead_id=turn.deal,
        history=tuple(as_line(row, language) for row in earlier),
        question=tuple(as_line(row, language) for row in asked),
        names=frozenset(map(translator(language), (CLIENT_NAME, DEAL))),
        language=language,
        instructions=instructions.read(language),
        known=_known(connection, turn, who, now.astimezone(zone).date(), language),
        summary="\n".join(filter(None, [before, summary])),
        shared=shared,
    )


def _other_deals(
    connection: Connection,
    turn: Turn,
    who: Asker,
    room: int,
    until: datetime | None,
    language: str,
    as_of_then: bool,
) -> tuple[list[Row[Any]], str]:
    """What was said with the client in other deals: (at most ``room`` messages for the history, the rest in short)."""
    rows, summary = elsewhere(connection, turn.conversation_id, turn.deal, who, OTHER_DEALS_MESSAGES, until)
    in_full = list(rows[-room:]) if room > 0 else []
    short = [as_line(row, language) for row in rows[: len(rows) - len(in_full)]]
    return in_full, digest(short, "" if as_of_then else summary, OTHER_DEALS_CHARACTERS)


def _who_asks(asked: Sequence[Row[Any]], writers: Sequence[Ids]) -> Ids:
    """The contacts and chats of whoever asks; nothing where amoCRM does not name them."""
    ids = Ids().union(*map(ids_of, asked))
    same = [one for one in writers if one & ids]
    return ids.union(*same) if same else Ids()


def summary_of_question(connection: Connection, turn_id: int) -> str:
    """What a turn asks, in short, for the person who answers it."""
    rows = connection.execute(_ASKED, {"turn": turn_id}).all()
    language = language_of("\n".join(row.content for row in rows))
    return human_request.in_short([as_line(row, language) for row in rows])


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


def _known(
    connection: Connection, turn: Turn, who: Asker | None, today: date, language: str
) -> tuple[tuple[str, str], ...]:
    """Of the deal, and of the one client who asks: nothing of a client where several do."""
    say = translator(language)
    row = connection.execute(_DEAL, {"conversation": turn.conversation_id}).one()
    client = connection.execute(_CLIENT, {"client": who.client_id}).one() if who else None
    deal, card = row.deal or {}, (client and client.card) or {}
    name = _as_a_name((client and client.name) or "")
    # amoCRM calls a new deal after the client, so what clients chose as their name may stand there too.
    names = filter(None, (row.last, client and client.name))
    of_client = any(cards.plain(one) in cards.plain(deal.get("name") or "") for one in names)
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
