"""Builds the context of a turn: the one place that decides what a responder sees."""

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
from otvet.conversations.history import Ids, history, ids_of, people, question
from otvet.conversations.tables import clients, conversations
from otvet.conversations.transcript import spoken
from otvet.i18n import N_, language_of, translator
from otvet.responders.base import Context, Line
from otvet.responders.knowledge.responder import Knowledge
from otvet.responders.prompt_parts import digest
from otvet.turns import human_request
from otvet.turns.turn import Turn

log = structlog.get_logger(__name__)

PASSAGES = 3
"""How many passages of the knowledge folder go with a question."""

FITS_FROM = 0.5
"""The smallest share of the question's words that a passage must hold to answer the question."""

OTHER_DEALS_MESSAGES = 20
OTHER_DEALS_CHARACTERS = 1000
"""Limits on the client's other deals: how many messages are read, and the length of the digest of them."""

UNSEEN = frozenset(("picture", "file", "video", "sticker", "contact", "voice", "audio", "unknown"))
"""The kinds of messages with something that no responder sees or hears."""

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
"""Built-in deal fields that the settings may select: (words for the field, label, key in amocrm.cards.deal)."""

WEEKDAYS = (
    N_("Monday"),
    N_("Tuesday"),
    N_("Wednesday"),
    N_("Thursday"),
    N_("Friday"),
    N_("Saturday"),
    N_("Sunday"),
)

_DEAL = (
    sa.select(conversations.c.deal, clients.c.name.label("last"))
    .join(clients)
    .where(conversations.c.id == sa.bindparam("conversation"))
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
    """Gather a turn's question, the deal's history before it, and the known facts about the deal and the client.

    history_messages: how many of the newest messages the history has, oldest first; the deal's summary replaces the
    messages that it covers. zone: the company's time zone; None: the machine's. as_of_then: leave out all messages
    after the question, and the summary, which is of today.

    Where several contacts write in one deal, the history has only the messages of the contact who asks and the replies
    to them. The summary is left out, because it covers all contacts.
    """
    turn_id: int = turn.id
    asked = question(connection, turn_id)
    writers = people(connection, turn.deal)
    shared = len(writers) > 1
    asker_ids = _ids_of_asker(asked, writers)
    summary = None if shared or as_of_then else turn.conversation_summary
    since = turn.summarised_until if summary else None
    until = asked[-1].timestamp if as_of_then and asked else None
    # All messages but the question are history, whenever they came: a manager may have written in between.
    person = asker_ids if shared else frozenset()
    earlier = history(connection, turn.deal, turn_id, history_messages, since, until, person)
    if as_of_then:  # by turn: replies have the time of our clock, which may differ from amoCRM's
        earlier = [row for row in earlier if row.sender_type != "assistant" or (row.turn_id or 0) < turn_id]
    language = language_of("\n".join(row.content for row in asked))
    # Beside a summary there is no room: messages older than those that it covers are not told in full.
    room = 0 if summary else history_messages - len(earlier)
    before = ""
    sole_asker = asker(connection, turn.id, turn.client_id)
    if history_messages and sole_asker:
        other, before = _other_deals(connection, turn, sole_asker, room, until, language, as_of_then)
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
        known=_known(connection, turn, sole_asker, now.astimezone(zone).date(), language),
        summary="\n".join(filter(None, [before, summary])),
        shared=shared,
    )


def _other_deals(
    connection: Connection,
    turn: Turn,
    client: Asker,
    room: int,
    until: datetime | None,
    language: str,
    as_of_then: bool,
) -> tuple[list[Row[Any]], str]:
    """The client's messages in other deals: (the newest ``room`` in full, a digest of the rest)."""
    rows, summary = elsewhere(connection, turn.conversation_id, turn.deal, client, OTHER_DEALS_MESSAGES, until)
    in_full = list(rows[-room:]) if room > 0 else []
    short = [as_line(row, language) for row in rows[: len(rows) - len(in_full)]]
    return in_full, digest(short, "" if as_of_then else summary, OTHER_DEALS_CHARACTERS)


def _ids_of_asker(asked: Sequence[Row[Any]], writers: Sequence[Ids]) -> Ids:
    """The contacts and chats of the person who asks; empty if amoCRM does not name the contact."""
    ids = Ids().union(*map(ids_of, asked))
    same = [one for one in writers if one & ids]
    return ids.union(*same) if same else Ids()


def summary_of_question(connection: Connection, turn_id: int) -> str:
    """A turn's question in short, for the person who answers it."""
    rows = question(connection, turn_id)
    language = language_of("\n".join(row.content for row in rows))
    return human_request.in_short([as_line(row, language) for row in rows])


def as_line(row: Row[Any], language: str) -> Line:
    """A message of the database as a responder sees it."""
    text = spoken(row.content, row.message_type, row.metadata, language)
    findings = ((row.metadata or {}).get("details") or {}).get("findings", ())
    doubted = tuple(piece for _kind, piece in findings) if row.sender_type == "assistant" else ()
    unseen = row.message_type in UNSEEN and "transcript" not in (row.metadata or {})
    words = bool(row.content.strip())
    return Line(row.sender_type, text, row.timestamp, words, doubted, row.message_type, unseen)


async def with_knowledge(context: Context, knowledge: Knowledge) -> tuple[Context, bool]:
    """Add the passages nearest to the question. Returns the new context, and whether any passage fits."""
    try:
        hits = await asyncio.to_thread(knowledge.passages, context.question, context.history, PASSAGES)
    except Exception:
        log.exception("the knowledge folder could not be searched", turn=context.turn_id)
        hits = []  # a reply without passages is better than none
    fits = any(hit.coverage >= FITS_FROM for hit in hits)
    return replace(context, knowledge=tuple(hit.passage for hit in hits)), fits


def _known(
    connection: Connection, turn: Turn, asker: Asker | None, today: date, language: str
) -> tuple[tuple[str, str], ...]:
    """Facts about the deal and the asker, as (label, value). asker: None where several clients ask."""
    say = translator(language)
    row = connection.execute(_DEAL, {"conversation": turn.conversation_id}).one()
    client = connection.execute(_CLIENT, {"client": asker.client_id}).one() if asker else None
    deal, card = row.deal or {}, (client and client.card) or {}
    client_name = _as_a_name((client and client.name) or "")
    # amoCRM names a new deal after the client, so its name may be a text that the client chose.
    names = filter(None, (row.last, client and client.name))
    names_client = any(cards.plain(name) in cards.plain(deal.get("name") or "") for name in names)
    deal_name = _as_a_name(deal.get("name") or "") if names_client else deal.get("name")
    facts = [
        (say(TODAY), f"{say(WEEKDAYS[today.weekday()])}, {today:%d.%m.%Y}"),
        (say(CLIENT_NAME), client_name),
        (say(DEAL), deal_name),
        (say(STAGE), deal.get("stage")),
        *((say(label), value) for label, value in _chosen(deal)),
        *deal.get("fields", ()),
        *card.get("fields", ()),
    ]
    return tuple((label, str(value)) for label, value in facts if value)


def _as_a_name(text: str) -> str:
    """Without digits and signs: clients choose their names themselves, and "50 % off" must not become a fact."""
    return _NO_NAME.sub(" ", text).strip()[:NAME_CHARACTERS]


def _chosen(deal: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The built-in deal fields selected in the settings."""
    chosen = cards.chosen_names(deal.get("chosen") or "")
    for words, label, name in EVERY_DEAL_HAS:
        if chosen & set(words):
            value = deal.get(name)
            yield label, ", ".join(value) if isinstance(value, list) else value
