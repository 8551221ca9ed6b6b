"""Waiting bots: a Salesbot that asked for a reply and waits at an address of amoCRM's until it gets one."""

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.amocrm.words import plain
from otvet.conversations.tables import conversations, messages
from otvet.storage.engines import Id, UtcDateTime, insert, metadata
from otvet.turns.turn import Turn

WAITS_FOR = timedelta(days=1)
"""A bot that asked longer ago counts as gone. How long amoCRM lets a bot wait is not documented."""

STARTED_WITHIN = timedelta(seconds=5)
"""A bot asks after the message that started it, but amoCRM's clock, which dates messages, may be ahead of ours."""

TOLD_WITHIN = timedelta(seconds=15)
"""How long to wait for the webhook to report the chat of a bot's words."""

SAME_WITHIN = timedelta(minutes=10)
"""The longest time between the two reports of one message, by the webhook and by the bot that it started."""

WORDS = "words:"

bot_waits = sa.Table(
    "bot_waits",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("lead_id", sa.BigInteger, nullable=False, index=True),
    sa.Column("return_url", sa.Text, nullable=False, unique=True),
    sa.Column("received_at", UtcDateTime, nullable=False),
    # The chat whose message started the bot, or a key of its words until their chat is known; none: neither is known.
    sa.Column("chat_ref", sa.Text),
    # The turn whose reply it got; none: it still waits. No foreign key: a turn that is joined to another is deleted.
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

    @property
    def words(self) -> str | None:
        """The key of its words, until their chat is known."""
        return self.chat_ref if self.chat_ref and self.chat_ref.startswith(WORDS) else None


def save(connection: Connection, lead_id: int, return_url: str, chat_ref: str | None, now: datetime) -> bool:
    """Store that a bot waits; False if it is stored already."""
    values = {"lead_id": lead_id, "return_url": return_url, "received_at": now, "chat_ref": chat_ref or None}
    statement = insert(connection.dialect.name, bot_waits).values(values).on_conflict_do_nothing()
    return connection.scalar(statement.returning(bot_waits.c.id)) is not None


def of_deal(connection: Connection, lead_id: int, now: datetime) -> list[Bot]:
    """The bots that wait in a deal, the one that asked last first."""
    here = (bot_waits.c.lead_id == lead_id, bot_waits.c.received_at > now - WAITS_FOR, bot_waits.c.turn_id.is_(None))
    rows = connection.execute(sa.select(bot_waits).where(*here).order_by(bot_waits.c.id.desc()))
    return [Bot(*row) for row in rows]


def words_key(text: str) -> str:
    """The key of the words that started a bot; blanks and escapes make no difference."""
    return WORDS + hashlib.blake2s(plain(text).encode(), digest_size=16).hexdigest()


def newest(connection: Connection, turn: Turn, now: datetime) -> Bot | None:
    """The bot that asked last for the chat of a turn and has no reply yet."""
    bots = of_deal(connection, turn.deal, now)
    certain = next((bot for bot in bots if _was_started_in(connection, bot, turn)), None)
    return certain or next((bot for bot in bots if _may_be_for(connection, bot, turn, now)), None)


def _was_started_in(connection: Connection, bot: Bot, turn: Turn) -> bool:
    if bot.words is None:
        return bot.chat_ref is not None and bot.chat_ref == turn.chat_ref
    return any(row.turn_id == turn.id for row in _saying(connection, bot, turn))


def _may_be_for(connection: Connection, bot: Bot, turn: Turn, now: datetime) -> bool:
    """Whether a bot may have been started in the turn's chat: if nothing else is known, by the last message before it.

    If two contacts write at the same time, the bot of one may ask before the webhook reports the message. It must not
    get the reply to the other contact, so a bot with words waits TOLD_WITHIN for that report.
    """
    chats = {row.chat_ref for row in _saying(connection, bot, turn)}
    if bot.words is None and bot.chat_ref:
        chats = {bot.chat_ref}
    elif bot.words and not chats and timedelta(0) <= now - bot.received_at < TOLD_WITHIN:
        return False
    if not chats:
        until = bot.received_at + STARTED_WITHIN
        chats = {connection.scalar(_SAID_LAST, {"conversation": turn.conversation_id, "until": until})}
    return not turn.chat_ref or any(not chat or chat == turn.chat_ref for chat in chats)


_SAID_LATELY = sa.select(messages.c.turn_id, messages.c.chat_ref, messages.c.content).where(
    messages.c.conversation_id == sa.bindparam("conversation"),
    messages.c.sender_type == "client",
    messages.c.timestamp > sa.bindparam("since", type_=UtcDateTime),
)


def _saying(connection: Connection, bot: Bot, turn: Turn) -> Iterator[Any]:
    """The client's messages with the words that started a bot."""
    if bot.words is not None:
        since = bot.received_at - SAME_WITHIN
        rows = connection.execute(_SAID_LATELY, {"conversation": turn.conversation_id, "since": since}).all()
        yield from (row for row in rows if words_key(row.content) == bot.words)


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


def know_chat(connection: Connection, bot_id: int, chat_ref: str) -> None:
    """Set the chat whose message started a bot."""
    connection.execute(bot_waits.update().where(bot_waits.c.id == bot_id).values(chat_ref=chat_ref))


def of_turn(connection: Connection, turn_id: int) -> Bot | None:
    """The bot that gets a turn's reply."""
    query = sa.select(bot_waits).where(bot_waits.c.turn_id == turn_id).order_by(bot_waits.c.id.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else Bot(*row)


def take(connection: Connection, bot_id: int, turn_id: int) -> bool:
    """Reserve a bot for a turn's reply; False if it has one already."""
    free = bot_waits.update().where(bot_waits.c.id == bot_id, bot_waits.c.turn_id.is_(None))
    return connection.execute(free.values(turn_id=turn_id)).rowcount == 1


def forget_chats(connection: Connection, refs: Collection[str], conversation_ids: Collection[int]) -> None:
    """Erase these chats from the waiting bots, and the keys of words in these conversations' deals."""
    deals = sa.select(conversations.c.amocrm_lead_id).where(conversations.c.id.in_(conversation_ids))
    words = sa.and_(bot_waits.c.lead_id.in_(deals), bot_waits.c.chat_ref.startswith(WORDS))
    here = sa.or_(bot_waits.c.chat_ref.in_(refs), words)
    connection.execute(bot_waits.update().where(here).values(chat_ref=None))
