"""A shop with a long history: chats as they would be after some years, written straight into the tables."""

import json
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from tests.standins.sender import message

from otvet.conversations.tables import chats, clients, conversations, messages
from otvet.storage.database import Database
from otvet.storage.prepared import Prepared
from otvet.turns.handoffs import handoffs
from otvet.turns.turn import State, turns

ROOT = Path(__file__).resolve().parent.parent
NOW = datetime.now(UTC).replace(microsecond=0)
SPAN = timedelta(days=3 * 365)
ROWS_AT_ONCE = 5000
LARGEST_CHAT = 2000
NEEDING, DRAFTS, WAITING = 300, 200, 50
RARE = "мерино"  # a part of the word that stands in few messages
FIRST_LEAD = 10_000_000


def fill(database: Database, many_messages: int, many_chats: int) -> None:
    """Write the shop: half of its messages are the clients', half are replies."""
    source = random.Random(1)
    with database.writes.begin() as connection:
        sizes = _sizes(source, many_messages // 2, many_chats)
        ends = sorted(NOW - SPAN * source.random() ** 2 for _ in sizes)
        _write(connection, clients, ({"id": at, "amocrm_contact_id": at, **_person(source)} for at in _numbers(sizes)))
        _write(
            connection,
            conversations,
            (
                {
                    "id": at,
                    "client_id": at,
                    "amocrm_lead_id": FIRST_LEAD + at,
                    "chat_ref": f"chat-{at}",
                    "status": "active",
                    "last_activity": ends[at - 1],
                }
                for at in _numbers(sizes)
            ),
        )
        _write(connection, chats, ({"chat_ref": f"chat-{at}", "conversation_id": at} for at in _numbers(sizes)))
        newest = range(len(sizes) - NEEDING - DRAFTS - WAITING + 1, len(sizes) + 1)
        states = dict(
            zip(
                source.sample(newest, len(newest)),
                [State.HANDED] * NEEDING + [State.DRAFT] * DRAFTS + [State.WAITING] * WAITING,
                strict=True,
            )
        )
        _write(connection, handoffs, _handoffs(states, ends))
        _write(connection, turns, _turns(sizes, ends, states))
        _write(connection, messages, _messages(source, sizes, ends))
        if connection.dialect.name == "postgresql":
            for table in (clients, conversations, messages, turns, handoffs):
                last = sa.select(sa.func.max(table.c.id)).scalar_subquery()
                sequence = sa.func.pg_get_serial_sequence(table.name, "id")
                connection.execute(sa.select(sa.func.setval(sequence, last)))


def _sizes(source: random.Random, questions: int, many_chats: int) -> list[int]:
    """How many questions each chat has: most a few, some hundreds."""
    raw = [min(source.paretovariate(1.1), LARGEST_CHAT) for _ in range(many_chats)]
    share = questions / sum(raw)
    return [max(1, round(one * share)) for one in raw]


def _numbers(sizes: Sequence[int]) -> range:
    return range(1, len(sizes) + 1)


def _moments(sizes: Sequence[int], ends: Sequence[datetime]) -> Iterator[tuple[int, int, datetime]]:
    """(turn, chat, moment) of each question, in the order of time."""
    asked = (
        (ends[chat - 1] - timedelta(hours=7) * before, chat, before)
        for chat, size in enumerate(sizes, 1)
        for before in range(size)
    )
    for turn, (at, chat, _before) in enumerate(sorted(asked), 1):
        yield turn, chat, at


def _turns(sizes: Sequence[int], ends: Sequence[datetime], states: dict[int, State]) -> Iterator[dict[str, Any]]:
    for turn, chat, at in _moments(sizes, ends):
        state = states.get(chat, State.SENT) if at == ends[chat - 1] else State.SENT
        yield {
            "id": turn,
            "conversation_id": chat,
            "chat_ref": f"chat-{chat}",
            "state": state,
            "first_message_at": at,
            "last_message_at": at,
            "closed_at": None if state in (State.WAITING, State.DRAFT) else at + timedelta(seconds=20),
            "responder": "knowledge",
            "reply": "Доставка по Москве стоит 300 рублей." if state == State.DRAFT else None,
            "reason": "not_known" if state == State.HANDED else None,
            "handoff_id": chat if state in (State.HANDED, State.DRAFT) else None,
            "redrafts": 0,
            "requested_by_staff": False,
            "approved": False,
            "gap": False,
        }


def _handoffs(states: dict[int, State], ends: Sequence[datetime]) -> Iterator[dict[str, Any]]:
    for chat, state in states.items():
        if state in (State.HANDED, State.DRAFT):
            at = ends[chat - 1]
            row = {"id": chat, "conversation_id": chat, "chat_ref": f"chat-{chat}", "opened_at": at, "due_at": at}
            yield row | {
                "revision": 1,
                "told_revision": 1,
                "failures": 0,
                "closed_at": None if state == State.HANDED else at,
            }


def _messages(source: random.Random, sizes: Sequence[int], ends: Sequence[datetime]) -> Iterator[dict[str, Any]]:
    words, ids = _Words(source), count(1)
    for turn, chat, at in _moments(sizes, ends):
        text = words.question()
        raw = message(text, lead_id=FIRST_LEAD + chat, contact_id=chat, chat_id=f"chat-{chat}", message_id=f"m-{turn}")
        shared = {"conversation_id": chat, "turn_id": turn, "chat_ref": f"chat-{chat}", "message_type": "text"}
        yield {
            **shared,
            "id": next(ids),
            "sender_type": "client",
            "content": text,
            "metadata": {"raw": raw, "account": 29085955},
            "timestamp": at,
            "amocrm_message_id": f"m-{turn}",
            "amocrm_contact_id": chat,
            "amocrm_chat_id": f"chat-{chat}",
            "amocrm_talk_id": str(chat),
        }
        yield {
            **shared,
            "id": next(ids),
            "sender_type": "assistant",
            "content": words.reply(),
            "metadata": {"responder": "knowledge"},
            "timestamp": at + timedelta(seconds=20),
            **dict.fromkeys(("amocrm_message_id", "amocrm_contact_id", "amocrm_chat_id", "amocrm_talk_id")),
        }


class _Words:
    """Questions and replies put together from those of the evaluations, with names and numbers that stand once."""

    def __init__(self, source: random.Random) -> None:
        self._source = source
        self._said = [text.split() for text in _sentences()]
        syllables = (
            "ка",
            "мо",
            "ри",
            "но",
            "ле",
            "ва",
            "ти",
            "со",
            "бу",
            "ше",
            "гра",
            "сто",
            "пер",
            "лин",
            "дар",
            "ок",
        )
        self._names = ["".join(source.choices(syllables, k=source.randint(2, 5))) for _ in range(100_000)]

    def question(self) -> str:
        source = self._source
        said = source.choice(self._said)
        begin = source.randrange(len(said))
        words = said[begin : begin + source.randint(3, 10)]
        if source.random() < 0.3:
            words.append(self._names[min(int(source.paretovariate(0.6)), len(self._names) - 1)])
        if source.random() < 0.1:
            words.append(str(source.randint(1000, 9_999_999)))
        if source.random() < 0.00002:
            words.append(f"из {RARE}са")
        return " ".join(words)

    def reply(self) -> str:
        return " ".join(" ".join(self._source.choice(self._said)) for _ in range(self._source.randint(1, 2)))


def _sentences() -> list[str]:
    found: list[str] = []
    for file in sorted((ROOT / "evals").glob("*.json")):
        found += [text for text in _texts(json.loads(file.read_text("utf-8"))) if " " in text and len(text) < 200]
    for file in sorted((ROOT / "knowledge").rglob("*.md")):
        found += [line for line in file.read_text("utf-8").splitlines() if 20 < len(line) < 200]
    return [text for text in found if RARE not in text]


def _texts(tree: Any) -> Iterator[str]:
    match tree:
        case str():
            yield tree
        case dict():
            for branch in tree.values():
                yield from _texts(branch)
        case list():
            for branch in tree:
                yield from _texts(branch)


def _person(source: random.Random) -> dict[str, str]:
    return {"name": f"Клиент {source.randint(1, 10**6)}", "phone": f"+7 9{source.randint(10**8, 10**9 - 1)}"}


def _write(connection: Connection, table: sa.Table, rows: Iterator[dict[str, Any]]) -> None:
    statement: Prepared | None = None
    while some := list(islice(rows, ROWS_AT_ONCE)):
        statement = statement or Prepared(table.insert(), columns=list(some[0]))
        statement.run(connection, some)
