"""A short scene from a sales team's day, as amoCRM would post it: for trying out a server or the database layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from otvet.amocrm import form
from otvet.conversations.tables import TRIAL
from otvet.i18n import N_

FIRST_LEAD = 900_000_000  # far above the ids that an account has today


@dataclass(frozen=True, slots=True)
class Case:
    """One deal of the scene: its deliveries and the expected result.

    saved: the number of messages from the client and managers. replies: the number of replies.
    """

    title: str
    lead_id: int
    bodies: tuple[bytes, ...]
    saved: int
    replies: int


QUESTIONS = (
    "Сколько стоит доставка?",
    "Здравствуйте! Как можно оплатить заказ?",
    "Можно вернуть товар, если не подошёл?",
)


def scene(now: datetime, questions: Sequence[str] = ()) -> list[Case]:
    """A scene with new lead ids at every call. questions: the company's own; the first three replace QUESTIONS."""
    first_question, second, third = (*questions[:3], *QUESTIONS[len(questions[:3]) :])
    first = FIRST_LEAD + int(now.timestamp() * 10) % 90_000_000
    stage = _Stage(int(now.timestamp()))
    twice = form.build({"message": {"add": [stage.message(first + 2, second)]}})
    batch = form.build(
        {
            "message": {
                "add": {
                    "0": stage.message(first + 3, third),
                    "4": stage.message(first + 4, "What are your working hours?"),
                }
            }
        }
    )
    return [
        Case(N_("a question"), first, (stage.incoming(first, first_question),), 1, 1),
        Case(
            N_("a burst of three lines, one reply"),
            first + 1,
            tuple(stage.incoming(first + 1, text) for text in ("Добрый день", "хочу купить плед", "сколько он стоит?")),
            3,
            1,
        ),
        Case(N_("a delivery repeated"), first + 2, (twice, twice), 1, 1),
        Case(N_("a batch: the first client"), first + 3, (batch,), 1, 1),
        Case(N_("a batch: the second client"), first + 4, (), 1, 1),
        Case(N_("a manager's message, no reply"), first + 5, (stage.outgoing(first + 5, "Ваш заказ готов."),), 1, 0),
        Case(N_("a voice message without text"), first + 6, (stage.voice(first + 6),), 1, 1),
    ]


def single(now: datetime, lead_id: int, text: str) -> Case:
    """One message of a client in a deal."""
    return Case(N_("a question"), lead_id, (_Stage(int(now.timestamp())).incoming(lead_id, text),), 1, 1)


class _Stage:
    """Writes messages in the form of live deliveries."""

    def __init__(self, now: int) -> None:
        self._now = now

    def incoming(self, lead_id: int, text: str) -> bytes:
        return form.build({"message": {"add": [self.message(lead_id, text)]}})

    def outgoing(self, lead_id: int, text: str) -> bytes:
        author = {"id": str(uuid4()), "type": "internal", "name": "Менеджер"}
        entry = {**self.message(lead_id, text), "type": "outgoing", "author": author}
        return form.build({"outgoing_message": {"add": [entry]}})

    def voice(self, lead_id: int) -> bytes:
        attachment = {"type": "voice", "link": "https://example.invalid/voice.ogg", "file_name": "voice.ogg"}
        return form.build({"message": {"add": [{**self.message(lead_id, ""), "attachment": attachment}]}})

    def message(self, lead_id: int, text: str) -> Mapping[str, Any]:
        return {
            "id": str(uuid4()),
            "chat_id": f"{TRIAL}{lead_id}",
            "talk_id": lead_id,
            "contact_id": lead_id,
            "text": text,
            "created_at": self._now,
            "element_type": 2,
            "entity_type": "lead",
            "element_id": lead_id,
            "entity_id": lead_id,
            "type": "incoming",
            "author": {"id": str(uuid4()), "type": "external", "name": f"Клиент {lead_id}"},
            "origin": "telegram",
        }
