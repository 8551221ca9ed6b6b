"""Two auto-repliers: the client's side of a chat seems to be a bot, which would answer every reply for ever."""

from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.amocrm.words import plain
from otvet.conversations.tables import messages
from otvet.turns.handoffs import handoffs
from otvet.turns.turn import Reason, State, Turn, turns

TIMES = 3
WITHIN = timedelta(days=1)
LOOK_BACK = 50  # messages
LONG_WORDS = 12  # characters; a person says "yes" or "hello?" again and again, but hardly a whole sentence
AS_BOT = (Reason.REPEATED, Reason.TOO_FAST)

_SAID = (
    sa.select(messages.c.content, messages.c.turn_id, messages.c.timestamp)
    .where(
        messages.c.conversation_id == sa.bindparam("conversation"),
        sa.func.coalesce(messages.c.chat_ref, "") == sa.bindparam("chat"),
        messages.c.sender_type == "client",
        messages.c.content != "",
    )
    .order_by(messages.c.timestamp.desc(), messages.c.id.desc())
    .limit(LOOK_BACK)
)
_LEFT = (
    sa.select(turns.c.reason)
    .join(handoffs, handoffs.c.id == turns.c.handoff_id)
    .where(
        turns.c.conversation_id == sa.bindparam("conversation"),
        turns.c.chat_ref == sa.bindparam("chat"),
        turns.c.id < sa.bindparam("turn"),
        turns.c.state == State.HANDED,
        turns.c.reason.in_(AS_BOT),
        handoffs.c.closed_at.is_(None),
    )
    .limit(1)
)


def repeats(connection: Connection, turn: Turn) -> bool:
    """Whether the client said the turn's last words for the third time: short ones, three questions in a row."""
    rows = connection.execute(_SAID, {"conversation": turn.conversation_id, "chat": turn.chat_ref}).all()
    newest = next((row for row in rows if row.turn_id == turn.id), None)
    if newest is None:
        return False
    last, since = plain(newest.content).casefold(), newest.timestamp - WITHIN
    said = [(plain(row.content).casefold(), row.turn_id) for row in rows if row.timestamp > since]
    if len(last) >= LONG_WORDS:
        return sum(words == last for words, _turn in said) >= TIMES
    of_question: dict[int | None, str] = {}
    for words, turn_id in said:
        of_question.setdefault(turn_id, words)
    latest = list(of_question.values())[:TIMES]
    return len(latest) == TIMES and all(words == last for words in latest)


def left_before(connection: Connection, turn: Turn) -> Reason | None:
    """Why the chat is on the list for staff already, if a bot seems to write in it."""
    here = {"conversation": turn.conversation_id, "chat": turn.chat_ref, "turn": turn.id}
    reason = connection.scalar(_LEFT, here)
    return None if reason is None else Reason(reason)
