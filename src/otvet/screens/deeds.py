"""The audit as the pages list it: each entry with the chat that it is about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.conversations.tables import conversations
from otvet.turns.turn import turns
from otvet.users import audit
from otvet.users.audit import Entry

PAGE = 100


@dataclass(frozen=True, slots=True)
class Deed:
    """An entry of the audit, and the conversation of the question or deal that it names, if it is still there."""

    entry: Entry
    conversation_id: int | None


def page(connection: Connection, before: int = 0) -> tuple[Sequence[Deed], int | None]:
    """The newest entries first, and where the next page begins. before: only those with a smaller id."""
    entries = audit.listed(connection, PAGE + 1, before)
    shown = entries[:PAGE]
    chats = _chats(connection, {entry.what for entry in shown})
    deeds = [Deed(entry, chats.get(entry.what)) for entry in shown]
    return deeds, shown[-1].id if len(entries) > PAGE else None


def _chats(connection: Connection, named: set[str]) -> Mapping[str, int]:
    """The conversations of "turn 12" and "deal 345"."""
    lead = conversations.c.amocrm_lead_id
    of_turns = sa.select(turns.c.id, turns.c.conversation_id).where(turns.c.id.in_(_numbers(named, "turn")))
    of_deals = sa.select(lead, conversations.c.id).where(lead.in_(_numbers(named, "deal")))
    found = {f"turn {number}": chat for number, chat in connection.execute(of_turns)}
    return found | {f"deal {number}": chat for number, chat in connection.execute(of_deals)}


def _numbers(named: set[str], kind: str) -> list[int]:
    words = (one.partition(" ") for one in named)
    return [int(rest) for first, _space, rest in words if first == kind and rest.isdecimal() and len(rest) < 19]
