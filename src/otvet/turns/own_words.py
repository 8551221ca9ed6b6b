"""A manager's own words, written on our pages, which go to the client by the way of the assistant's replies.

They are a turn without a question. It waits with its text until the chat's place is free, and then is sent as an
approved reply is: recognised when it comes back, cut into parts, sent once whatever crashes. The message is a
manager's, and takes over as one that is written in amoCRM.
"""

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.conversations.conversation import touch
from otvet.conversations.messages import add_reply
from otvet.conversations.pauses import pause_for_manager
from otvet.conversations.tables import messages
from otvet.turns import changes, staff
from otvet.turns.sending import by_amocrms_clock
from otvet.turns.turn import Turn, get, turns

_CLIENTS_LAST = (
    sa.select(messages.c.timestamp, turns.c.last_message_at)
    .join(turns, turns.c.id == messages.c.turn_id)
    .where(
        messages.c.conversation_id == sa.bindparam("conversation"),
        sa.func.coalesce(messages.c.chat_ref, "") == sa.bindparam("chat"),
        messages.c.sender_type == "client",
    )
    .order_by(messages.c.timestamp.desc(), messages.c.id.desc())
    .limit(1)
)
_WRITTEN_AT = sa.select(messages.c.timestamp).where(
    messages.c.turn_id == sa.bindparam("turn"), messages.c.sender_type == "manager"
)


def say(
    connection: Connection,
    conversation_id: int,
    chat_ref: str,
    text: str,
    *,
    who: str,
    pause: timedelta,
    now: datetime,
) -> int:
    """Store what a manager says to the client of a chat, and take the chat over; returns the turn that sends it.

    The questions and drafts of the chat end at once. What was left to staff is answered only when the words are sent.
    pause: how long the assistant is silent afterwards.
    """
    last = connection.execute(_CLIENTS_LAST, {"conversation": conversation_id, "chat": chat_ref}).first()
    at = by_amocrms_clock(*last, now) if last else now
    staff.cancel_for_manager(connection, conversation_id, chat_ref, at, now, arrived=False)
    turn_id = changes.open_with_words(connection, conversation_id, chat_ref, text, now)
    turn = get(connection, turn_id)
    about = {"amocrm_lead_id": turn and turn.lead_id, "source": "pages", "who": who}
    add_reply(connection, conversation_id, chat_ref, turn_id, text, about, at, sender="manager")
    pause_for_manager(connection, conversation_id, chat_ref, now + pause, now)
    touch(connection, conversation_id, now)
    return turn_id


def arrived(connection: Connection, turn: Turn, now: datetime) -> None:
    """The client has a manager's words: what was left to staff in the chat before them is answered."""
    at: datetime | None = connection.scalar(_WRITTEN_AT, {"turn": turn.id})
    staff.cancel_for_manager(connection, turn.conversation_id, turn.chat_ref, at or now, now)
