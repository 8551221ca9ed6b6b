"""The judge of promises: who was promised a person, is a person told of it, by one task."""

from collections import Counter
from collections.abc import Collection, Iterator
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.conversations.tables import conversations
from otvet.turns import handoffs
from otvet.turns.turn import State, turns
from tests.standins.amocrm import AmoStandin


def to_be_told(connection: Connection, now: datetime) -> int:
    """How many hand-offs staff have still to be told of."""
    return len(handoffs.to_tell(connection, now))


def broken(connection: Connection, amo: AmoStandin, leads: Collection[int], now: datetime) -> Iterator[str]:
    """The promises in these deals that are not kept, once all is at rest."""
    here = conversations.c.amocrm_lead_id.in_(leads)
    promised = sa.select(turns.c.id, turns.c.handoff_id).join(conversations).where(here)
    for turn_id, handoff_id in connection.execute(
        promised.where(turns.c.summary.is_not(None), turns.c.state == State.SENT, ~turns.c.approved)
    ):
        if handoff_id is None:
            yield f"turn {turn_id} promised a person, and is left to nobody"
    table = handoffs.handoffs
    query = sa.select(table, conversations.c.amocrm_lead_id).join(conversations).where(here)
    waits = Counter[tuple[int, str]]()
    for one in connection.execute(query):
        marker = f"[otvet:handoff-{one.id}-"
        tasks = sum(marker in task["text"] for task in amo.tasks(one.amocrm_lead_id))
        if tasks > 1:
            yield f"hand-off {one.id} of deal {one.amocrm_lead_id} has {tasks} tasks"
        if one.closed_at is None:
            waits[one.conversation_id, one.chat_ref] += 1
            if one.due_at <= now and (tasks == 0 or one.told_revision < one.revision):
                yield f"hand-off {one.id} of deal {one.amocrm_lead_id} is promised and not told: {tasks} tasks"
    yield from (f"the chat {chat} has {count} open hand-offs" for chat, count in waits.items() if count > 1)
