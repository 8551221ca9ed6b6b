"""A database of the version whose questions were of a deal: upgraded, then worked on until no question is open."""

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.answering.answering import Answering
from otvet.conversations.tables import BY_CLIENT, FOR_GOOD
from otvet.delivery.methods import DeliveryOptions
from otvet.responders.base import Attempt, Context, Reply
from otvet.schema.upgrade import prepare
from otvet.storage.database import Database
from otvet.turns import drafts, queue
from otvet.turns.attempts import threads
from otvet.turns.turn import State, turns
from otvet.widget import waiting
from otvet.widget.waiting import bot_waits
from tests.clocks import FakeClock
from tests.standins.amocrm import AmoStandin
from tests.standins.sender import incoming
from tests.test_answer import LEAD, Stage, Writer
from tests.test_deliver import BOT, account
from tests.test_schema import migrate_to

NOW = FakeClock().now()
OPENED = NOW - timedelta(minutes=2)
DEAD = "a process that is gone"
HIS, HER = 1, 2


class Old:
    """A database of version 0009, filled as that version filled it."""

    def __init__(self, database: Database, connection: Connection) -> None:
        migrate_to(connection, "0009")
        tables = sa.MetaData()
        tables.reflect(connection)
        self._tables = tables.tables
        self.connection = connection
        self._sqlite = database.is_sqlite
        self._leads = itertools.count(LEAD)
        self.add("installation", name="name", value="test")

    def add(self, table: str, **values: Any) -> int:
        if self._sqlite:  # its moments had no zone
            values = {
                name: value.replace(tzinfo=None) if isinstance(value, datetime) else value
                for name, value in values.items()
            }
        made = self.connection.execute(self._tables[table].insert().values(**values)).inserted_primary_key
        assert made is not None
        return made[0]

    def deal(self, *contacts: int, known: bool = True, **values: Any) -> "OldDeal":
        return OldDeal(self, next(self._leads), contacts or (HIS,), known=known, **values)


class OldDeal:
    """A deal of it; a contact, its chat and its talk have one number."""

    def __init__(self, old: Old, lead: int, contacts: tuple[int, ...], *, known: bool, **values: Any) -> None:
        self.lead = lead
        self._old = old
        self._said = itertools.count(1)
        numbers = [self.number(contact) for contact in contacts]
        client = [old.add("clients", amocrm_contact_id=number) for number in numbers][-1]
        about = {"amocrm_lead_id": lead if known else None, "chat_ref": f"chat-{numbers[-1]}", "last_activity": OPENED}
        self.id = old.add("conversations", client_id=client, **about, **values)
        for number in numbers:
            old.add("chats", chat_ref=f"chat-{number}", conversation_id=self.id)

    def number(self, contact: int) -> int:
        return self.lead % 1000 * 10 + contact

    def turn(self, state: str, *said: tuple[int, str], origin: str = "telegram", **values: Any) -> int:
        moments = {"first_message_at": OPENED, "last_message_at": OPENED}
        values = {"forced": False, "approved": False, **moments, **values}
        turn = self._old.add("turns", conversation_id=self.id, state=state, **values)
        for contact, text in said:
            number, at = self.number(contact), OPENED + timedelta(seconds=next(self._said))
            raw = {"amocrm_lead_id": self.lead, "source": "amocrm_webhook", "raw": {"origin": origin}}
            who = {"amocrm_contact_id": number, "amocrm_chat_id": f"chat-{number}", "amocrm_talk_id": str(number)}
            key = f"{self.lead}-{turn}-{at.second}"
            self._message(turn, "client", text, at, metadata=raw, amocrm_message_id=key, **who)
        return turn

    def replies(self, turn: int, text: str, **delivery: Any) -> None:
        about = {"amocrm_lead_id": self.lead, "source": "ai_response", "delivery": delivery}
        self._message(turn, "assistant", text, OPENED + timedelta(seconds=30), metadata=about)

    def _message(self, turn: int, sender: str, text: str, at: datetime, **values: Any) -> None:
        common = {"conversation_id": self.id, "turn_id": turn, "message_type": "text"}
        self._old.add("messages", sender_type=sender, content=text, timestamp=at, **common, **values)


class Echo(Writer):
    """A responder that answers with the question."""

    async def reply(self, context: Context, attempt: Attempt) -> Reply:
        await attempt.remember(step="asked")
        return Reply(f"To: {context.question_text}", self.name)


@pytest.fixture
def amo() -> Iterator[AmoStandin]:
    with account() as amo:
        amo.any_lead = True
        yield amo


class Upgraded(Stage):
    """The new version at work, with a way of delivery for each channel."""

    def __init__(self, database: Database, amo: AmoStandin) -> None:
        super().__init__(database, Echo("knowledge", ""), amo=amo)
        via = {"*": "talk", "vk": "salesbot", "viber": "widget", "onlinechat": "note"}
        field = amo.chats.add_bot(BOT)
        self.delivery_options = DeliveryOptions(via=via, note=False, salesbot_id=BOT, field_id=field)
        self.amo = amo

    def all_answered(self) -> None:
        async def play(answering: Answering) -> None:
            while found := self.database.read_now(lambda one: queue.idle(one, self.me, self.clock.now())):
                await asyncio.gather(*map(answering.answer, found))

        self.run(play)

    def told(self, deal: OldDeal) -> dict[int, list[str]]:
        """What came into the talk of each contact."""
        found: dict[int, list[str]] = {}
        for seen in self.amo.chats.seen:
            if seen.lead_id == deal.lead and seen.talk_id is not None:
                found.setdefault(seen.talk_id - deal.number(0), []).append(seen.text)
        return found

    def states(self, deal: OldDeal) -> list[tuple[str, str]]:
        query = sa.select(turns.c.chat_ref, turns.c.state).where(turns.c.conversation_id == deal.id)
        return [tuple(row) for row in self.database.read_now(lambda one: one.execute(query.order_by(turns.c.id)).all())]


@contextmanager
def of_old_version(url: str) -> Iterator[tuple[Old, Database]]:
    """Fill it in the block; it is upgraded afterwards."""
    database = Database(url)
    with database.writes.begin() as connection:
        yield Old(database, connection), database
    prepare(database, NOW)


def test_what_waited_is_answered_once_in_the_chat_it_came_from(database_url: str, amo: AmoStandin) -> None:
    with of_old_version(database_url) as (old, database):
        one, two = old.deal(), old.deal(HIS, HER)
        one.turn("waiting", (HIS, "a red bike?"))
        two.turn("waiting", (HIS, "a car?"), (HER, "a ship?"), (HIS, "how much?"))
        later = old.deal(HIS, HER)
        later.turn("answering", (HIS, "a tent?"), owner=DEAD)
        later.turn("waiting", (HER, "a lamp?"), (HIS, "and a bag?"))
        for deal in (one, two, later):
            for contact in (HIS, HER):
                amo.chats.talks[deal.number(contact)] = deal.lead
    stage = Upgraded(database, amo)
    stage.all_answered()
    assert stage.told(one) == {HIS: ["To: a red bike?"]}
    assert stage.told(two) == {HIS: ["To: a car?\nhow much?"], HER: ["To: a ship?"]}
    assert stage.told(later) == {HIS: ["To: a tent?\nand a bag?"], HER: ["To: a lamp?"]}
    database.close()


@pytest.mark.parametrize("reply", [None, "To both of you."])
def test_what_was_being_written_for_two_chats_is_written_for_each(
    database_url: str, amo: AmoStandin, reply: str | None
) -> None:
    with of_old_version(database_url) as (old, database):
        deal = old.deal(HIS, HER)
        said = ((HIS, "a car?"), (HER, "a ship?"))
        turn = deal.turn("answering", *said, owner=DEAD, reply=reply, responder=reply and "template")
        old.add("tries", turn_id=turn, responder="template", started_at=OPENED, facts={"step": "asked"})
        deal.turn("waiting", (HIS, "how much?"))
        for contact in (HIS, HER):
            amo.chats.talks[deal.number(contact)] = deal.lead
    stage = Upgraded(database, amo)
    stage.all_answered()
    assert stage.told(deal) == {HIS: ["To: a car?\nhow much?"], HER: ["To: a ship?"]}
    database.close()


def test_what_was_on_its_way_arrives_once(database_url: str, amo: AmoStandin) -> None:
    """A note that may be there, a second part of two, and a bot that waits."""
    with of_old_version(database_url) as (old, database):
        noted, cut, bot = old.deal(), old.deal(), old.deal()
        tried = {"reply": "Said.", "responder": "template", "owner": DEAD, "tried_at": OPENED}
        sending = [
            noted.turn("sending", (HIS, "noted?"), origin="onlinechat", **tried),
            cut.turn("sending", (HIS, "cut?"), **(tried | {"way": "salesbot", "tried_at": None}), origin="vk"),
            bot.turn("sending", (HIS, "bot?"), **(tried | {"way": "widget", "tried_at": None}), origin="viber"),
        ]
        for deal, turn in zip((noted, cut, bot), sending, strict=True):
            deal.replies(turn, "Said.", way="note", state="sending")
        old.add("parts", turn_id=sending[1], number=1, text="One.", state="sent", given_at=OPENED, echo_id="e")
        old.add("parts", turn_id=sending[1], number=2, text="Two.", state="to_send")
        old.add("parts", turn_id=sending[2], number=1, text="Said.", state="to_send")
        url = amo.chats.wait(bot.lead)
        old.add("bot_waits", lead_id=bot.lead, return_url=url, received_at=OPENED + timedelta(seconds=9))
        old.add("bot_waits", lead_id=cut.lead, return_url=f"{url}-gone", received_at=OPENED, turn_id=sending[1])
    stage = Upgraded(database, amo)
    stage.all_answered()
    assert [len(amo.notes(deal.lead)) for deal in (noted, cut, bot)] == [1, 0, 0]
    assert amo.chats.told(cut.lead) == ["Two."]
    assert amo.chats.told(bot.lead) == ["Said."]
    assert [stage.states(deal)[0][1] for deal in (noted, cut, bot)] == [State.SENT] * 3
    taken = database.read_now(lambda one: one.scalars(sa.select(bot_waits.c.turn_id).order_by(bot_waits.c.id)).all())
    assert taken == [sending[2], sending[1]]
    with database.writes.begin() as connection:
        assert waiting.save(connection, bot.lead, "https://example.amocrm.ru/another", None, NOW)
    database.close()


def test_what_had_ended_stays_as_it_was(database_url: str, amo: AmoStandin) -> None:
    closed = {"closed_at": OPENED, "tried_at": OPENED, "forced": True, "responder": "manus", "details": {"task": "t"}}
    with of_old_version(database_url) as (old, database):
        deal = old.deal(HIS, HER)
        for state in ("sent", "kept", "failed", "cancelled", "handed", "draft"):
            turn = deal.turn(state, (HIS, f"{state}?"), (HER, "and?"), reply=f"{state}.", **closed)
            deal.replies(turn, f"{state}.", way="note", state=state, note_id=7)
            old.add("parts", turn_id=turn, number=1, text=f"{state}.", state="sent")
            old.add("tries", turn_id=turn, responder="manus", started_at=OPENED, facts={"task": state})
        old.add("threads", conversation_id=deal.id, responder="manus", thread="task")
        before = {table: rows(old.connection, table) for table in ("turns", "messages", "parts", "tries")}
    stage = Upgraded(database, amo)
    stage.all_answered()
    with database.reads.connect() as connection:
        after = {table: rows(connection, table) for table in before}
        kept = connection.execute(sa.select(threads)).one()
    for table, those in before.items():
        for one, other in zip(those, after[table], strict=True):
            assert {RENAMED.get(name, name): value for name, value in one.items()}.items() <= other.items()
    assert {row["chat_ref"] for row in after["turns"]} == {f"chat-{deal.number(HER)}"}
    assert tuple(kept) == (deal.id, f"chat-{deal.number(HER)}", "manus", "task")
    assert amo.chats.seen == []
    assert amo.notes(deal.lead) == []
    database.close()


RENAMED = {"tried_at": "sent_attempt_at", "forced": "requested_by_staff"}


def rows(connection: Connection, table: str) -> list[dict[str, str]]:
    found = connection.execute(sa.text(f"SELECT * FROM {table} ORDER BY id"))
    return [{name: str(value) for name, value in row._mapping.items()} for row in found]


def test_a_deal_that_staff_have_is_left_to_them_until_they_are_done(database_url: str, amo: AmoStandin) -> None:
    with of_old_version(database_url) as (old, database):
        taken = old.deal(HIS, HER, paused_until=NOW + timedelta(minutes=9), paused_by="manager")
        asked = old.deal(HIS, paused_until=FOR_GOOD, paused_by=BY_CLIENT)
        lost = old.deal(HIS, known=False)
        for deal in (taken, asked, lost):
            deal.turn("waiting", *((contact, "hello?") for contact in (HIS, HER)[: 2 if deal is taken else 1]))
            amo.chats.talks[deal.number(HIS)] = deal.lead
    stage = Upgraded(database, amo)
    stage.all_answered()
    assert [state for _chat, state in stage.states(taken)] == [State.HANDED, State.HANDED]
    assert [state for _chat, state in stage.states(asked)] == [State.HANDED]
    assert stage.states(lost) == [(f"chat-{lost.number(HIS)}", State.WAITING)]
    number = asked.number(HIS)
    chat = {"chat_id": f"chat-{number}", "talk_id": number, "contact_id": number}
    stage.manager_writes("I am here", lead_id=asked.lead, **chat)
    stage.clock.advance(31 * 60)
    (turn,) = stage.receive(incoming("and now?", **(stage._new(asked.lead) | chat)))
    assert stage.answer(turn) == State.SENT
    database.close()


def test_a_draft_of_two_chats_is_sent_once_when_it_is_approved(database_url: str, amo: AmoStandin) -> None:
    with of_old_version(database_url) as (old, database):
        deal = old.deal(HIS, HER)
        shown = {"reply": "To both of you.", "responder": "template", "note_id": 7}
        draft = deal.turn("draft", (HIS, "a car?"), (HER, "a ship?"), **shown)
        amo.chats.talks[deal.number(HER)] = deal.lead
    stage = Upgraded(database, amo)
    stage.all_answered()
    assert stage.told(deal) == {}
    with database.writes.begin() as connection:
        assert drafts.approve(connection, draft, None) is None
    stage.all_answered()
    assert stage.told(deal) == {HER: ["To both of you."]}
    database.close()
