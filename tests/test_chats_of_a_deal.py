"""Two chats of one deal: each question is answered in its own chat, and a manager's word counts for its chat."""

import asyncio
from collections import deque
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from otvet.amocrm.events import read_delivery
from otvet.answering.answering import Answering
from otvet.conversations.tables import chats
from otvet.delivery.methods import DeliveryOptions
from otvet.intake.inbox import Received, store
from otvet.responders.base import Attempt, Context, Reply
from otvet.storage.database import Database
from otvet.turns import turn as turn_
from otvet.turns.policy import Policy
from otvet.turns.turn import Reason, State, turns
from otvet.widget import calls, told_twice
from tests.standins.amocrm import AmoStandin
from tests.standins.sender import incoming
from tests.test_answer import LEAD, Stage, Writer
from tests.test_deliver import BOT, account

HER = {"chat_id": "her chat", "talk_id": "111", "contact_id": 801}
HIM = {"chat_id": "his chat", "talk_id": "222", "contact_id": 802}


class Echo(Writer):
    """A responder that answers with the question."""

    async def reply(self, context: Context, attempt: Attempt) -> Reply:
        await attempt.remember(step="asked")
        return Reply(f"The answer to: {context.question_text}", self.name)


class Deal(Stage):
    def __init__(self, database: Database, amo: AmoStandin | None = None) -> None:
        super().__init__(database, Echo("knowledge", ""), amo=amo)

    def writes(self, text: str, **who: Any) -> int:
        (turn,) = self.receive(self.incoming(text, **who))
        return turn

    def incoming(self, text: str, **who: Any) -> bytes:
        return incoming(text, **{**self._new(LEAD), **who})

    def both_answered(self, *turn_ids: int) -> list[str]:
        """At the same time, as they are in the service."""
        ended: list[str] = []

        async def play(answering: Answering) -> None:
            ended.extend(await asyncio.gather(*map(answering.answer, turn_ids)))

        self.run(play)
        return ended


@pytest.fixture
def amo() -> Any:
    with account() as amo:
        yield amo


def test_what_two_contacts_ask_are_two_turns_that_do_not_wait_for_each_other(database: Database) -> None:
    deal = Deal(database)
    his, hers = deal.writes("A red bike?", **HIM), deal.writes("A blue boat?", **HER)
    assert deal.both_answered(his, hers) == [State.KEPT, State.KEPT]
    assert [deal.turn(id_).reply for id_ in (his, hers)] == [
        "The answer to: A red bike?",
        "The answer to: A blue boat?",
    ]
    assert [deal.turn(id_).chat_ref for id_ in (his, hers)] == ["his chat", "her chat"]


def test_one_contact_in_two_channels_has_two_turns(database: Database) -> None:
    deal = Deal(database)
    first, second = deal.writes("In Telegram", **HIM), deal.writes("In WhatsApp", **(HIM | {"chat_id": "another"}))
    assert first != second


def test_by_talks_each_answer_goes_into_the_talk_of_its_question(database: Database, amo: AmoStandin) -> None:
    amo.chats.talks = {111: LEAD, 222: LEAD}
    deal = Deal(database, amo)
    deal.delivery_options = DeliveryOptions(via={"*": "talk"}, note=False)
    his, hers = deal.writes("A red bike?", **HIM), deal.writes("A blue boat?", **HER)
    assert deal.both_answered(his, hers) == [State.SENT, State.SENT]
    told = {seen.talk_id: seen.text for seen in amo.chats.seen}
    assert told == {222: "The answer to: A red bike?", 111: "The answer to: A blue boat?"}


def test_by_notes_the_deal_gets_one_for_each(database: Database, amo: AmoStandin) -> None:
    deal = Deal(database, amo)
    his, hers = deal.writes("A red bike?", **HIM), deal.writes("A blue boat?", **HER)
    assert deal.both_answered(his, hers) == [State.SENT, State.SENT]
    notes = sorted(note["params"]["text"].split("\n")[0] for note in amo.notes(LEAD))
    assert notes == ["The answer to: A blue boat?", "The answer to: A red bike?"]


def test_by_a_salesbot_the_field_is_one_replys_at_a_time_and_the_bot_is_run_for_the_contact(
    database: Database, amo: AmoStandin
) -> None:
    deal = Deal(database, amo)
    deal.policy = Policy(stale=timedelta(days=999))  # the clock of the test runs while one waits for the other's calls
    deal.delivery_options = DeliveryOptions(
        via={"*": "salesbot"}, note=False, salesbot_id=BOT, field_id=amo.chats.add_bot(BOT)
    )
    his, hers = deal.writes("A red bike?", **HIM), deal.writes("A blue boat?", **HER)
    assert deal.both_answered(his, hers) == [State.SENT, State.SENT]
    told = {seen.contact_id: seen.text for seen in amo.chats.seen}
    assert told == {802: "The answer to: A red bike?", 801: "The answer to: A blue boat?"}


def test_by_waiting_bots_each_gets_the_reply_to_the_words_that_started_it(database: Database, amo: AmoStandin) -> None:
    deal = Deal(database, amo)
    deal.delivery_options = DeliveryOptions(via={"*": "widget"}, note=False)
    his, hers = deal.writes("A red bike?", **HIM), deal.writes("A blue boat?", **HER)
    urls = {}
    for text in ("A red bike?", "A blue boat?"):
        urls[text] = amo.chats.wait(LEAD)
        with database.writes.begin() as connection:
            assert calls.take(connection, calls.BotCall(LEAD, urls[text], text), deal.clock.now()) == []
    assert deal.both_answered(his, hers) == [State.SENT, State.SENT]
    replies = {path: body["data"]["reply"] for path, body in amo.chats.continued}
    assert replies == {url.removeprefix(amo.url): f"The answer to: {text}" for text, url in urls.items()}


def test_a_manager_who_writes_to_one_leaves_the_others_question_open(database: Database) -> None:
    deal = Deal(database)
    his, hers = deal.writes("A red bike?", **HIM), deal.writes("A blue boat?", **HER)
    deal.clock.advance(1)
    deal.manager_writes("Your boat is ready", **HER)
    assert (deal.turn(hers).state, deal.turn(hers).reason) == (State.CANCELLED, Reason.MANAGER)
    assert deal.answer(his) == State.KEPT
    deal.clock.advance(1)
    left = deal.writes("Thank you", **HER)
    assert deal.answer(left) == State.HANDED


def test_a_manager_whose_chat_is_not_told_speaks_for_the_whole_deal(database: Database) -> None:
    deal = Deal(database)
    his, hers = deal.writes("A red bike?", **HIM), deal.writes("A blue boat?", **HER)
    deal.clock.advance(1)
    deal.manager_writes("I am here", chat_id=None, talk_id=None, contact_id=None)
    assert [deal.turn(id_).state for id_ in (his, hers)] == [State.CANCELLED, State.CANCELLED]


def test_a_manager_whose_contact_is_told_speaks_for_that_contacts_chat(database: Database) -> None:
    deal = Deal(database)
    his, hers = deal.writes("A red bike?", **HIM), deal.writes("A blue boat?", **HER)
    deal.clock.advance(1)
    deal.manager_writes("Your boat is ready", **(HER | {"chat_id": None, "talk_id": None}))
    assert [deal.turn(id_).state for id_ in (his, hers)] == [State.WAITING, State.CANCELLED]


def test_who_asks_for_a_person_silences_the_assistant_in_their_chat_only(database: Database) -> None:
    deal = Deal(database)
    hers = deal.writes("позовите менеджера", **HER)
    assert deal.answer(hers) == State.KEPT
    paused = database.read_now(lambda connection: connection.execute(sa.select(chats)).all())
    assert [(row.chat_ref, row.paused_by) for row in paused] == [("her chat", "client")]
    assert deal.answer(deal.writes("A red bike?", **HIM)) == State.KEPT


def test_a_message_that_names_no_chat_joins_the_only_one_that_waits(database: Database) -> None:
    deal = Deal(database)
    hers = deal.writes("A blue boat?", **HER)
    assert deal.receive(deal.incoming("And when?", chat_id=None, talk_id=None, contact_id=None)) == []
    rows = database.read_now(lambda connection: connection.execute(sa.select(turns)).all())
    assert [row.id for row in rows] == [hers]


def test_two_turns_of_a_chat_are_never_in_hand(database: Database) -> None:
    deal = Deal(database)
    hers = deal.writes("A blue boat?", **HER)
    (turn,) = [database.read_now(lambda connection: turn_.get(connection, hers))]
    again = {"conversation_id": turn.conversation_id, "chat_ref": turn.chat_ref, "state": State.WAITING}
    moments = {"first_message_at": deal.clock.now(), "last_message_at": deal.clock.now()}
    with pytest.raises(sa.exc.IntegrityError), database.writes.begin() as connection:
        connection.execute(turns.insert().values(**again, **moments))


SAID = {"his": ("A red bike?", HIM), "her": ("A blue boat?", HER)}


@pytest.mark.parametrize(
    "order",
    [
        "his webhook, his bot, her bot, answers, her webhook",
        "his webhook, her bot, answers, his bot, her webhook",
        "his webhook, her bot, his bot, her webhook, answers",
        "his bot, her webhook, his webhook, her bot, answers",
        "his bot, her bot, her webhook, his webhook, answers",
    ],
)
def test_each_bot_gets_the_answer_to_its_words_whenever_the_webhook_tells_of_them(
    database: Database, amo: AmoStandin, order: str
) -> None:
    deal = Deal(database, amo)
    deal.delivery_options = DeliveryOptions(via={"*": "widget"}, note=False)
    asked_by: dict[str, str] = {}

    def happens(what: str) -> None:
        who, by = what.split()
        text, about = SAID[who]
        now = deal.clock.now()
        if by == "bot":
            url = amo.chats.wait(LEAD)
            asked_by[url.removeprefix(amo.url)] = who
            with database.writes.begin() as connection:
                calls.take(connection, calls.BotCall(LEAD, url, text), now)
        else:
            body = deal.incoming(text, **about)
            with database.writes.begin() as connection:
                store(connection, [Received(body, read_delivery(body, now), now)], adopt=told_twice.adopt)

    before, _, after = (part.split(", ") for part in order.partition("answers"))
    for what in filter(None, before):
        happens(what)
        deal.clock.advance(5)
    later = deque(filter(None, after))
    deal.clock.on_sleep = lambda: happens(later.popleft()) if later else None
    is_open = sa.select(turns.c.id).where(turns.c.state.in_(turn_.OPEN))
    while open_ := database.read_now(lambda connection: connection.scalars(is_open).all()):
        deal.both_answered(*open_)
        while later:
            happens(later.popleft())
    replies = {asked_by[path]: body["data"]["reply"] for path, body in amo.chats.continued}
    assert replies == {who: f"The answer to: {text}" for who, (text, _about) in SAID.items()}
