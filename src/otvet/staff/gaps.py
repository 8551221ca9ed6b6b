"""Knowledge gaps: questions that the knowledge folder does not answer, the most frequent first.

Writes the table ``closed_gaps``: a gap that staff have answered or dismissed is not listed any more.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from otvet.conversations.tables import conversations, is_trial, messages
from otvet.responders.knowledge.words import family, stem, words
from otvet.storage.engines import Id, Json, UtcDateTime, metadata
from otvet.turns.turn import turns

MOST_READ = 2000
ALIKE = 0.6
"""The share of common words from which on two questions are one gap."""


closed_gaps = sa.Table(
    "closed_gaps",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("words", Json, nullable=False),  # digests of the question's words: enough to know it again, none to read
    sa.Column("answered", sa.Boolean, nullable=False),  # false: dismissed, it needs no answer of ours
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
)


@dataclass
class Gap:
    """A group of similar questions.

    question: the newest of them, as a client wrote it. leads: the deals in which they were asked, newest first.
    """

    question: str
    last_asked_at: datetime
    words: frozenset[str]
    count: int = 0
    leads: list[int] = field(default_factory=list)


_ASKED = (
    sa.select(turns.c.id, turns.c.first_message_at, conversations.c.amocrm_lead_id, messages.c.content)
    .join(conversations, conversations.c.id == turns.c.conversation_id)
    .join(messages, messages.c.turn_id == turns.c.id)
    .where(
        ~is_trial(turns),
        turns.c.gap,
        turns.c.first_message_at >= sa.bindparam("since"),
        messages.c.sender_type == "client",
    )
    .order_by(turns.c.first_message_at.desc(), turns.c.id.desc(), messages.c.timestamp, messages.c.id)
    .limit(MOST_READ)
)


def listed(connection: Connection, since: datetime, limit: int) -> list[Gap]:
    """The gaps since ``since``, the most frequent first; among equally frequent ones the newest first."""
    asked: dict[int, list[Any]] = {}
    for row in connection.execute(_ASKED, {"since": since}):
        asked.setdefault(row.id, []).append(row)
    gaps: list[Gap] = []
    by_word: dict[str, list[Gap]] = {}
    for rows in asked.values():
        text = "\n".join(row.content for row in rows if row.content.strip())
        said = _said(text)
        if not said:
            continue  # "thank you" is no question
        gap = _count(text, said, rows[0], gaps, by_word)
        if rows[0].amocrm_lead_id not in gap.leads:
            gap.leads.append(rows[0].amocrm_lead_id)
    closed = connection.execute(sa.select(closed_gaps)).all()
    gaps = [gap for gap in gaps if not any(_is_closed(gap, one) for one in closed)]
    return sorted(gaps, key=lambda gap: (gap.count, gap.last_asked_at), reverse=True)[:limit]


def close(connection: Connection, question: str, who: str, now: datetime, *, answered: bool) -> bool:
    """Take a gap off the list: answered until it is asked again in vain, or dismissed for good."""
    digests = sorted(map(_digest, _said(question)))
    if digests:
        row = {"words": digests, "answered": answered, "who": who, "at": now}
        connection.execute(closed_gaps.insert().values(row))
    return bool(digests)


def _is_closed(gap: Gap, one: Row[Any]) -> bool:
    said, closed = set(map(_digest, gap.words)), set(one.words)
    return len(said & closed) >= ALIKE * len(said | closed) and not (one.answered and gap.last_asked_at > one.at)


def _said(text: str) -> frozenset[str]:
    return frozenset(family(stem(word)) for word in words(text))


def _digest(word: str) -> str:
    return hashlib.blake2s(word.encode(), digest_size=6).hexdigest()


def _count(text: str, said: frozenset[str], row: Row[Any], gaps: list[Gap], by_word: dict[str, list[Gap]]) -> Gap:
    gap = _alike(said, by_word)
    if gap is None:
        gap = Gap(text, row.first_message_at, said)
        gaps.append(gap)
        for word in said:
            by_word.setdefault(word, []).append(gap)
    gap.count += 1
    return gap


def _alike(said: frozenset[str], by_word: dict[str, list[Gap]]) -> Gap | None:
    """The first gap with enough common words."""
    shared = Counter(id(gap) for word in said for gap in by_word.get(word, ()))
    for word in said:
        for gap in by_word.get(word, ()):
            if shared[id(gap)] >= ALIKE * len(said | gap.words):
                return gap
    return None
