"""A user's trial chat: what the user writes as the client, in the form in which amoCRM would post it.

It takes the way of every message from the inbox on. Its chat's name keeps it out of all lists and numbers, and nothing
of it goes to amoCRM; see conversations.tables.TRIAL.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.amocrm import form
from otvet.conversations.tables import BY_HAND_TRIAL, conversations
from otvet.responders.knowledge.passages import Passage

FIRST_DEAL = 950_000_000  # far above the ids that an account has today
LONGEST_MESSAGE = 4000  # characters
SUGGESTED = 3


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial chat. lead_id: the made-up deal that it is in."""

    conversation_id: int
    lead_id: int


def of_user(connection: Connection, user_id: int) -> Trial | None:
    """The user's trial chat; None if nothing was written in it yet, or it was erased."""
    query = sa.select(conversations.c.id, conversations.c.amocrm_lead_id)
    query = query.where(conversations.c.chat_ref == _chat(user_id)).order_by(conversations.c.id.desc())
    row = connection.execute(query.limit(1)).one_or_none()
    return None if row is None else Trial(*row)


def new_deal(user_id: int, now: datetime) -> int:
    """The deal of a new trial chat."""
    return FIRST_DEAL + (int(now.timestamp() * 10) * 100 + user_id % 100) % 40_000_000


def delivery(user_id: int, name: str, lead_id: int, text: str, now: datetime) -> bytes:
    """The body in which amoCRM would post a client's message. It names no channel, so that none is left out."""
    entry = {
        "id": str(uuid4()),
        "chat_id": _chat(user_id),
        "talk_id": lead_id,
        "contact_id": lead_id,
        "text": text[:LONGEST_MESSAGE],
        "created_at": int(now.timestamp()),
        "element_type": 2,
        "entity_type": "lead",
        "element_id": lead_id,
        "entity_id": lead_id,
        "type": "incoming",
        "author": {"id": str(uuid4()), "type": "external", "name": name},
    }
    return form.build({"message": {"add": [entry]}})


def _chat(user_id: int) -> str:
    return f"{BY_HAND_TRIAL}{user_id}"


def suggested(entries: Sequence[Passage], is_answered: Callable[[str], bool]) -> list[str]:
    """Questions to begin with: headings that the folder answers, of as many files as there are."""
    by_file: dict[str, list[str]] = {}
    for entry in entries:
        if not entry.plain and " " in entry.heading.strip():
            by_file.setdefault(entry.file, []).append(entry.heading.strip().rstrip("?") + "?")
    questions: list[str] = []
    for turn in range(max(map(len, by_file.values()), default=0)):
        for of_file in by_file.values():
            if turn < len(of_file) and of_file[turn] not in questions and is_answered(of_file[turn]):
                questions.append(of_file[turn])
                if len(questions) == SUGGESTED:
                    return questions
    return questions
