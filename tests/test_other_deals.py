"""A chat that moves to another deal takes along what was said before. On both databases."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from otvet.amocrm.events import read_delivery
from otvet.answering import context
from otvet.answering.instructions import Instructions
from otvet.conversations.tables import clients, conversations, messages
from otvet.intake.inbox import Received, store
from otvet.responders.base import Context
from otvet.storage.database import Database
from otvet.turns import turn as turn_
from otvet.turns.changes import join
from otvet.turns.turn import State, turns
from tests.clocks import FakeClock
from tests.standins.sender import incoming

OLD, NEW, CONTACT = 27754599, 28455849, 93589657
SHARED, THIRD = 28455850, 28455851
ANNA: dict[str, Any] = {"contact_id": CONTACT, "chat_id": "Anna's chat", "author_name": "Anna"}
BORIS: dict[str, Any] = {"contact_id": CONTACT + 1, "chat_id": "Boris's chat", "author_name": "Boris"}


class Chats:
    """A database in which clients write, a minute apart."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = FakeClock()
        self._count = 0

    def client_writes(self, text: str, lead_id: int, **more: Any) -> None:
        self._count += 1
        self.clock.advance(60)
        now = self.clock.now()
        body = incoming(text, lead_id=lead_id, message_id=f"m-{self._count}", created_at=int(now.timestamp()), **more)
        with self.database.writes.begin() as connection:
            store(connection, [Received(body, read_delivery(body, now), now)])

    def answered(self, reply: str = "") -> None:
        """The turn that waits has had its reply; without words here where they do not matter."""
        self.clock.advance(60)
        with self.database.writes.begin() as connection:
            waiting = connection.execute(sa.select(turns).where(turns.c.state == State.WAITING)).one()
            connection.execute(turns.update().values(state=State.SENT))
            said = {"conversation_id": waiting.conversation_id, "turn_id": waiting.id, "sender_type": "assistant"}
            row = {**said, "content": reply, "metadata": {}, "timestamp": self.clock.now()}
            if reply:
                connection.execute(messages.insert().values(row))

    def change(self, lead_id: int, **values: Any) -> None:
        with self.database.writes.begin() as connection:
            here = conversations.c.amocrm_lead_id == lead_id
            connection.execute(conversations.update().where(here).values(**values))

    def told(self, history_messages: int = 60, *, as_of_then: bool = False, turn_id: int | None = None) -> Context:
        """What a turn is told; the newest, if none is named."""

        def build(connection: sa.Connection) -> Context:
            newest = connection.scalar(sa.select(sa.func.max(turns.c.id)))
            turn = turn_.get(connection, turn_id or newest)
            assert turn is not None
            read = Instructions(Path("nowhere"))
            return context.build(connection, turn, history_messages, read, self.clock.now(), as_of_then=as_of_then)

        return self.database.read_now(build)


def texts(told: Context) -> list[str]:
    return [line.text for line in told.history]


def test_what_was_said_in_the_deal_before_is_history(database: Database) -> None:
    chats = Chats(database)
    chats.client_writes("I like the blue one", OLD)
    chats.answered()
    chats.client_writes("and for two?", NEW)
    assert texts(chats.told()) == ["I like the blue one"]
    assert chats.told().question_text == "and for two?"
    query = sa.select(messages.c.content).join(conversations).where(conversations.c.amocrm_lead_id == NEW)
    assert database.read_now(lambda connection: connection.scalars(query).all()) == ["and for two?"]


def test_also_where_amocrm_names_no_contact(database: Database) -> None:
    chats = Chats(database)
    chats.client_writes("I like the blue one", OLD, contact_id=None)
    chats.answered()
    chats.client_writes("and for two?", NEW, contact_id=None)
    assert texts(chats.told()) == ["I like the blue one"]


def test_nobody_elses_words_are_taken_along(database: Database) -> None:
    chats = Chats(database)
    chats.client_writes("of another client", OLD, contact_id=CONTACT + 1, chat_id="other")
    chats.answered()
    chats.client_writes("hello", NEW)
    assert texts(chats.told()) == []
    assert chats.told().summary == ""


def test_a_chat_that_goes_back_and_forth_is_told_in_its_order(database: Database) -> None:
    chats = Chats(database)
    for text, lead in (("one", OLD), ("two", NEW), ("three", OLD)):
        chats.client_writes(text, lead)
        chats.answered()
    chats.client_writes("four", NEW)
    assert texts(chats.told()) == ["one", "two", "three"]


def test_what_is_said_at_the_same_time_in_another_channel_stays_there(database: Database) -> None:
    chats = Chats(database)
    chats.client_writes("one", NEW)
    chats.answered()
    chats.client_writes("in another channel", OLD, chat_id="another channel")
    chats.answered()
    chats.client_writes("two", NEW)
    assert texts(chats.told()) == ["one"]


def test_it_is_bounded_and_the_deals_own_words_come_first(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "OTHER_DEALS_MESSAGES", 3)
    chats = Chats(database)
    for number in range(5):
        chats.client_writes(f"old {number}", OLD)
        chats.answered()
    for number in range(2):
        chats.client_writes(f"new {number}", NEW)
        chats.answered()
    chats.client_writes("and?", NEW)
    assert texts(chats.told()) == ["old 2", "old 3", "old 4", "new 0", "new 1"]
    told = chats.told(history_messages=3)
    assert texts(told) == ["old 4", "new 0", "new 1"]
    assert told.summary == "client: old 2\nclient: old 3"
    nothing = chats.told(history_messages=0)
    assert (texts(nothing), nothing.summary) == ([], "")


def test_summaries_stand_for_what_is_older(database: Database) -> None:
    chats = Chats(database)
    chats.client_writes("blue", OLD)
    chats.answered()
    chats.change(OLD, summary="Wanted a blanket.")
    chats.client_writes("hello", NEW)
    assert (texts(chats.told()), chats.told().summary) == (["blue"], "Wanted a blanket.")
    assert chats.told(as_of_then=True).summary == ""
    chats.answered()
    chats.change(NEW, summary="Then wanted two.", summarised_until=chats.clock.now() + timedelta(seconds=1))
    chats.client_writes("and?", NEW)
    told = chats.told()
    assert texts(told) == []
    assert told.summary == "Wanted a blanket.\nclient: blue\nThen wanted two."


# Two clients in one deal


def as_before_chats(database: Database) -> None:
    """The newest two turns as an older version left them, for which a deal had one turn: one of both clients' words."""
    with database.writes.begin() as connection:
        newest = connection.scalars(sa.select(turns.c.id).order_by(turns.c.id.desc()).limit(2)).all()
        join(connection, newest[0], newest[1])


def test_a_question_of_two_clients_is_told_nothing_of_their_other_deals(database: Database) -> None:
    chats = Chats(database)
    for who, lead, secret in ((ANNA, OLD, "I am ill"), (BORIS, THIRD, "my salary is 100")):
        chats.client_writes(secret, lead, **who)
        chats.answered("I see")
        chats.change(lead, summary=secret)
    chats.client_writes("Anna asks", SHARED, **ANNA)
    chats.client_writes("Boris joins", SHARED, **BORIS)
    as_before_chats(database)
    told = chats.told()
    assert told.question_text == "Anna asks\nBoris joins"
    assert (texts(told), told.summary) == ([], "")
    assert "name" not in str(told.known)


def test_of_a_shared_deal_each_takes_along_their_own_words_only(database: Database) -> None:
    chats = Chats(database)
    chats.client_writes("my passport is lost", SHARED, **ANNA)
    chats.answered("Anna, bring another document")
    chats.client_writes("I want it in blue", SHARED, **BORIS)
    chats.answered("Blue it is")
    chats.change(SHARED, summary="A lost passport; blue.")
    chats.client_writes("Boris asks", NEW, **BORIS)
    told = chats.told()
    assert (texts(told), told.summary) == (["I want it in blue", "Blue it is"], "")
    chats.answered()
    chats.client_writes("Anna asks", THIRD, **ANNA)  # Boris wrote last in the deal they share
    told = chats.told()
    assert (texts(told), told.summary) == ([], "")


def test_a_reply_to_both_is_nobodys_to_take_along(database: Database) -> None:
    chats = Chats(database)
    chats.client_writes("my passport is lost", SHARED, **ANNA)
    chats.client_writes("and I want it in blue", SHARED, **BORIS)
    as_before_chats(database)
    chats.answered("Another document will do, and blue it is")
    chats.client_writes("Boris asks", NEW, **BORIS)
    assert texts(chats.told()) == ["and I want it in blue"]


def test_who_asks_is_told_by_the_question_and_not_by_the_deal(database: Database) -> None:
    chats = Chats(database)
    chats.client_writes("of old", OLD, **ANNA)
    chats.answered()
    chats.client_writes("Boris's secret", THIRD, **BORIS)
    chats.answered()
    chats.client_writes("Anna asks", SHARED, **ANNA)
    with database.writes.begin() as connection:
        connection.execute(turns.update().where(turns.c.state == State.WAITING).values(state="answering"))
    chats.client_writes("Boris writes meanwhile", SHARED, **BORIS)
    told = chats.told(turn_id=3)
    assert told.question_text == "Anna asks"
    assert "of old" in texts(told)
    assert "Boris's secret" not in texts(told)
    assert dict(told.known)["The client's name"] == "Anna"


def test_a_chat_without_a_contact_is_not_taken_for_the_deals_client(database: Database) -> None:
    chats = Chats(database)
    with database.writes.begin() as connection:  # Anna's deal of a first version: its messages name nobody
        client = connection.scalar(clients.insert().values(amocrm_contact_id=CONTACT).returning(clients.c.id))
        old = {"client_id": client, "amocrm_lead_id": OLD, "last_activity": chats.clock.now(), "summary": "Old."}
        deal = connection.scalar(conversations.insert().values(old).returning(conversations.c.id))
        said = {"conversation_id": deal, "sender_type": "client", "content": "of old", "metadata": {}}
        connection.execute(messages.insert().values({**said, "timestamp": chats.clock.now()}))
    chats.client_writes("Anna asks", SHARED, **ANNA)
    assert (texts(chats.told()), chats.told().summary) == (["of old"], "Old.")
    chats.answered()
    chats.client_writes("somebody asks", SHARED, contact_id=None, chat_id="an unknown chat")
    told = chats.told()
    assert "of old" not in texts(told)
    assert told.summary == ""
    assert "name" not in str(told.known)


def test_replies_in_the_same_chat_come_along(database: Database) -> None:
    chats = Chats(database)
    for text, lead in (("one", NEW), ("two", OLD)):
        chats.client_writes(text, lead)
        chats.answered(f"answer to {text}")
    chats.client_writes("three", NEW)
    assert texts(chats.told()) == ["one", "answer to one", "two", "answer to two"]
