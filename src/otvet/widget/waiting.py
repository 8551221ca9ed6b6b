"""Waiting bots: a Salesbot that asked for a reply and waits at an address of amoCRM's until it gets one."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.conversations.tables import messages
from otvet.storage.engines import Id, UtcDateTime, insert, metadata
from otvet.turns.turn import Turn

WAITS_FOR = timedelta(days=1)
"""A bot that asked longer ago is taken for gone. How long amoCRM lets a bot wait is not documented."""

STARTED_WITHIN = timedelta(seconds=5)
"""A bot asks after the message that started it; amoCRM's clock, by which messages are dated, may be ahead of ours."""

bot_waits = sa.Table(
    "bot_waits",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("lead_id", sa.BigInteger, nullable=False, index=True),
    sa.Column("return_url", sa.Text, nullable=False, unique=True),
    sa.Column("received_at", UtcDateTime, nullable=False),
    sa.Column("chat_ref", sa.Text),  # the chat whose message started it; none: not known
    # The turn whose reply it got; none: it still waits. No foreign key: a turn that is joined to another goes away.
    sa.Column("turn_id", Id, index=True),
)


@dataclass(frozen=True, slots=True)
class Bot:
    """One row of ``bot_waits``."""

    id: int
    lead_id: int
    return_url: str
    received_at: datetime
    chat_ref: str | None
    turn_id: int | None


def keep(connection: Connection, lead_id: int, return_url: str, chat_ref: str | None, now: datetime) -> bool:
    """A bot waits; False when that is known already."""
    values = {"lead_id": lead_id, "return_url": return_url, "received_at": now, "chat_ref": chat_ref or None}
    statement = insert(connection.dialect.name, bot_waits).values(values).on_conflict_do_nothing()
    return connection.scalar(statement.returning(bot_waits.c.id)) is not None


def of_deal(connection: Connection, lead_id: int, now: datetime) -> list[Bot]:
    """The bots that wait in a deal, the one that asked last first."""
    here = (bot_waits.c.lead_id == lead_id, bot_waits.c.received_at > now - WAITS_FOR, bot_waits.c.turn_id.is_(None))
    rows = connection.execute(sa.select(bot_waits).where(*here).order_by(bot_waits.c.id.desc()))
    return [Bot(*row) for row in rows]


def newest(connection: Connection, turn: Turn, now: datetime) -> Bot | None:
    """The bot that asked last for the chat of a turn and has no reply yet."""
    return next((bot for bot in of_deal(connection, turn.deal, now) if _is_for(connection, bot, turn)), None)


_SAID_LAST = (
    sa.select(messages.c.chat_ref)
    .where(
        messages.c.conversation_id == sa.bindparam("conversation"),
        messages.c.sender_type == "client",
        messages.c.timestamp <= sa.bindparam("until", type_=UtcDateTime),
    )
    .order_by(messages.c.timestamp.desc(), messages.c.id.desc())
    .limit(1)
)


def _is_for(connection: Connection, bot: Bot, turn: Turn) -> bool:
    """A bot of which no chat is known was started by what was said last before it asked."""
    until = bot.received_at + STARTED_WITHIN
    chat = bot.chat_ref or connection.scalar(_SAID_LAST, {"conversation": turn.conversation_id, "until": until})
    return not chat or not turn.chat_ref or chat == turn.chat_ref


def know_chat(connection: Connection, bot_id: int, chat_ref: str) -> None:
    """The chat whose message started a bot is known now."""
    connection.execute(bot_waits.update().where(bot_waits.c.id == bot_id).values(chat_ref=chat_ref))


def of_turn(connection: Connection, turn_id: int) -> Bot | None:
    """The bot that a turn's reply goes to."""
    query = sa.select(bot_waits).where(bot_waits.c.turn_id == turn_id).order_by(bot_waits.c.id.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else Bot(*row)


def take(connection: Connection, bot_id: int, turn_id: int) -> bool:
    """The turn's reply goes to this bot, and no other turn's does."""
    free = bot_waits.update().where(bot_waits.c.id == bot_id, bot_waits.c.turn_id.is_(None))
    return connection.execute(free.values(turn_id=turn_id)).rowcount == 1


def forget_chats(connection: Connection, refs: Collection[str]) -> None:
    """A client was erased: no bot is known to wait in these chats any more."""
    connection.execute(bot_waits.update().where(bot_waits.c.chat_ref.in_(refs)).values(chat_ref=None))
