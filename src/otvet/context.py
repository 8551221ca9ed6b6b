"""What a responder gets to see of a turn: the one place that decides it."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from otvet import conversations
from otvet.conversations import messages
from otvet.i18n import N_, language_of, translator
from otvet.responders.base import Context, Line
from otvet.spoken import spoken

INSTRUCTIONS = N_(
    "You answer the clients of a company in a messenger on behalf of its sales team. Answer briefly, politely and to"
    " the point, in the client's language. Use only what is known from the conversation; never invent prices, dates,"
    " addresses or conditions. If you do not know, say that a manager will clarify it."
)


_ASKED = (
    sa.select(messages)
    .where(messages.c.turn_id == sa.bindparam("turn"), messages.c.sender_type == "client")
    .order_by(messages.c.timestamp, messages.c.id)
)


def build(connection: Connection, turn: Row[Any], history_messages: int) -> Context:
    """Gather a turn's question and the deal's history before it, oldest first, the newest ``history_messages``.

    turn: as ``turns.get`` gives it.
    """
    turn_id: int = turn.id
    asked = connection.execute(_ASKED, {"turn": turn_id}).all()
    # A manager may have written in between: what is not the question is history, whenever it came.
    earlier = conversations.history(connection, turn.amocrm_lead_id, turn_id, history_messages)
    language = language_of("\n".join(row.content for row in asked))
    return Context(
        turn_id=turn_id,
        conversation_id=turn.conversation_id,
        lead_id=turn.amocrm_lead_id,
        history=tuple(_line(row, language) for row in earlier),
        question=tuple(_line(row, language) for row in asked),
        language=language,
        instructions=translator(language)(INSTRUCTIONS),
    )


def _line(row: Row[Any], language: str) -> Line:
    text = spoken(row.content, row.message_type, row.metadata, language)
    return Line(row.sender_type, text, row.timestamp, words=bool(row.content.strip()))
