"""The kill matrix where two contacts of one deal write at the same time, each in a chat of their own.

A run has two deals. In the first both are answered. In the second a manager writes to one of them, and only the other
is answered for certain. Each way of delivery has the play for itself: what came into each chat is the judge. Both have
written in their deal before, so a Salesbot is run for the contact and not for the deal.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.amocrm.events import read_delivery
from otvet.conversations.tables import messages
from otvet.delivery.notes import Notes
from otvet.intake.inbox import Received, store
from otvet.settings.by_channel import NOTE, WAYS, WIDGET
from otvet.turns import parts, sending
from otvet.turns.turn import Reason, State, get, turns
from tests.running import SECRET
from tests.standins import bot
from tests.standins.chats import Seen
from tests.standins.manus import digest
from tests.standins.sender import incoming, outgoing
from tests.test_kill_matrix import (
    AT_ONCE,
    EIGHTH,
    FIRST_LEAD,
    KINDS,
    LEAST_POINTS,
    Deal,
    Run,
    Step,
    databases,
    matrix,
    said_in,
)
from tests.test_kill_matrix_salesbot import ChatChain

OF_A_RUN = 4  # contacts, two in each deal


@dataclass
class Contact(Deal):
    """One of the two contacts of a deal."""

    id: int = 0

    @property
    def chat(self) -> str:
        return f"chat-{self.id}"

    @property
    def where(self) -> dict[str, Any]:
        return {"lead_id": self.lead, "chat_id": self.chat, "contact_id": self.id, "talk_id": self.id}

    def text(self, message: str) -> str:
        return f"The question {message} of {self.chat}?"

    def body(self, message: str) -> bytes:
        return incoming(self.text(message), message_id=message, created_at=int(time.time()), **self.where)


class ContactsChain(ChatChain):
    """Contacts of a run: two who are both answered, then one to whom a manager writes, and the other of that deal."""

    way = NOTE

    def _settings(self) -> dict[str, str]:
        widget = {"OTVET_AMOCRM_CLIENT_SECRET": bot.CLIENT_SECRET} if self.way == WIDGET else {}
        return super()._settings() | {"OTVET_REPLY_VIA": self.way} | widget

    def _new_run(self, number: int) -> Run:
        first = FIRST_LEAD + OF_A_RUN * number
        contacts = [Contact(first + which // 2, id=first + which) for which in range(OF_A_RUN)]
        self._bots: dict[str, Contact] = {}
        self._greet(contacts)
        run = Run(number, contacts)
        for contact in contacts:
            self._amo.chats.talks[contact.id] = self._amo.chats.deals[contact.id] = contact.lead
            run.steps += self._writes(contact, f"{contact.id}-1")
        told = outgoing("I will answer this.", created_at=int(time.time()), **contacts[2].where)
        run.steps.append(Step("a manager", lambda: self._post(told)))
        return run

    def _greet(self, contacts: Sequence[Contact]) -> None:
        """What they said before, which was left to a manager."""
        now = datetime.now(UTC)
        bodies = []
        for contact in contacts:
            contact.acknowledged.append(f"{contact.id}-0")
            bodies.append(contact.body(f"{contact.id}-0"))
        with self._database.writes.begin() as connection:
            stored = store(connection, [Received(body, read_delivery(body, now), now) for body in bodies])
            left = turns.c.id.in_([turn_id for one in stored for turn_id in one.to_answer])
            connection.execute(turns.update().where(left).values(state=State.CANCELLED, closed_at=now))

    def _writes(self, contact: Contact, message: str) -> Sequence[Step]:
        content = contact.body(message)
        tells = Step(message, lambda: self._post(content), done=lambda: contact.acknowledged.append(message))
        if self.way != WIDGET:
            return [tells]
        url = self._amo.chats.wait(contact.lead)
        self._bots[url.removeprefix(self._amo.url)] = contact
        claims = {"iss": self._amo.url, "entity_id": contact.lead, "exp": int(time.time()) + 3600}
        asks = bot.request(url, contact.text(message), bot.token(**claims))
        both = [tells, Step(f"the bot of {message}", lambda: self._ask(asks))]
        return both[::-1] if contact.id % 2 else both  # the two come in any order

    def _ask(self, content: bytes) -> httpx2.Response:
        return self._http.post(f"{self._server.url}/webhook/salesbot/{SECRET}", content=content)

    def _chat_of(self, seen: Seen) -> str:
        return self._bots[seen.return_path].chat if seen.return_path else f"chat-{seen.contact_id or seen.talk_id}"

    def _wrongs(self, connection: Connection, run: Run) -> Iterator[str]:
        for contact in run.deals:
            assert isinstance(contact, Contact)
            yield from self._wrongs_of(connection, contact, by_manager=contact is run.deals[2])
        here = [contact.lead for contact in run.deals]
        strangers = {self._chat_of(seen) for seen in self._amo.chats.seen if seen.lead_id in here}
        if strangers - {contact.chat for contact in run.deals if isinstance(contact, Contact)}:
            yield f"something was told in {strangers}"

    def _wrongs_of(self, connection: Connection, contact: Contact, *, by_manager: bool) -> Iterator[str]:
        """What is wrong with a contact's chat when all has come to rest."""
        said = [row for row in said_in(connection, contact) if row.amocrm_message_id.startswith(f"{contact.id}-")]
        if [row.amocrm_message_id for row in said] != contact.acknowledged:
            yield f"{contact.acknowledged} were acknowledged, {said} are stored"
            return
        turn = connection.execute(sa.select(turns).where(turns.c.id == said[-1].turn_id)).one()
        if turn.chat_ref != contact.chat:
            yield f"the question of {contact.chat} is in a turn of {turn.chat_ref}"
        if by_manager and (turn.state, turn.reason) == (State.CANCELLED, Reason.MANAGER):
            expected: list[str] = []
        else:
            expected = self._texts(connection, turn)
        told = self._told(connection, contact, turn)
        if told != expected and not (not told and self._nobody_can_tell(connection, contact, turn)):
            yield f"{contact.chat} was told {told} in place of {expected}; turn {turn.id} is {turn.state}"
        if turn.state not in (State.SENT, State.FAILED) and expected:
            yield f"turn {turn.id} of {contact.chat} ended as {turn.state} ({turn.reason})"
        yield from self._wrongly_written(contact, turn)
        of_managers = sa.select(sa.func.count()).where(
            messages.c.chat_ref == contact.chat, messages.c.sender_type == "manager"
        )
        if connection.scalar(of_managers) != int(by_manager):
            yield f"{connection.scalar(of_managers)} messages of {contact.chat} are taken for a manager's"

    def _nobody_can_tell(self, connection: Connection, contact: Contact, turn: Any) -> bool:
        """Killed between the announcement of the call and the call: staff are asked to look into the chat."""
        states = {part.state for part in parts.of_turn(connection, turn.id)}
        return turn.state == State.FAILED and states == {parts.UNKNOWN} and bool(self._amo.notes(contact.lead))

    def _texts(self, connection: Connection, turn: Any) -> list[str]:
        if self.way == NOTE:  # one that says only that a person will answer tells staff what they have to know
            name = connection.scalar(sa.text("SELECT value FROM installation WHERE name = 'name'"))
            now = get(connection, turn.id)
            assert now is not None
            return [] if turn.reply is None else [Notes(name).reply(now).rpartition("[")[0].strip()]
        return [part.text for part in parts.of_turn(connection, turn.id)]

    def _told(self, connection: Connection, contact: Contact, turn: Any) -> list[str]:
        """What came into the contact's chat; of a note its marker tells whose it is."""
        if self.way != NOTE:
            seen = self._amo.chats.seen
            return [one.text for one in seen if one.lead_id == contact.lead and self._chat_of(one) == contact.chat]
        name = connection.scalar(sa.text("SELECT value FROM installation WHERE name = 'name'"))
        ending = f"[{sending.marker(name, turn.id)}]"
        written = [note["params"]["text"] for note in self._amo.notes(contact.lead)]
        return [text.removesuffix(ending).strip() for text in written if text.endswith(ending)]

    def _wrongly_written(self, contact: Contact, turn: Any) -> Iterator[str]:
        """The reply answers the question, and what was asked for it holds nothing of the other contact's."""
        if turn.responder != "manus" or not turn.reply:
            return
        contents = [str(one["message"]["content"]) for one in (*self._manus.creates, *self._manus.sends)]
        asked = next((one for one in contents if digest(one) == turn.reply.split()[1]), "")
        if contact.text(contact.acknowledged[-1]) not in asked or f"chat-{contact.id ^ 1}?" in asked:
            yield f"the reply to {contact.chat} answers {asked!r}"


CHAINS = {way: type(f"By{way.title()}", (ContactsChain,), {"way": way}) for way in WAYS}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_kill_at_any_point(tmp_path: Path, request: pytest.FixtureRequest, kind: str, way: str) -> None:
    """Every one with --whole-matrix; else an eighth of them a day on SQLite, and a sixteenth on PostgreSQL."""
    step = 1 if request.config.getoption("whole_matrix") else {"sqlite": EIGHTH, "postgresql": 2 * EIGHTH}[kind]
    points = count(1 + datetime.now(UTC).toordinal() % step, step)
    chains = databases(kind, tmp_path, request)[: AT_ONCE if step == 1 else 2]
    killed, wrong = matrix(tmp_path, chains, points, CHAINS[way])
    assert wrong == {}
    assert len(killed) >= LEAST_POINTS // step
