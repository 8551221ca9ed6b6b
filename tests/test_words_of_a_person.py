"""A manager's own words, written on our pages: sent once by the way of the replies, and the chat is the manager's."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from otvet.answering.answering import Answering
from otvet.conversations.messages import messages
from otvet.storage.database import Database
from otvet.turns import own_words, queue, staff
from otvet.turns.policy import Policy
from otvet.turns.turn import Reason, State, turns
from tests import in_hand
from tests.standins.amocrm import AmoStandin
from tests.test_answer import LEAD, Stage, handoff, write
from tests.test_deliver import account, answered, echoing, pause_of, states, with_salesbot, with_talks

CHAT = f"chat-{LEAD}"


@pytest.fixture
def amo() -> Iterator[AmoStandin]:
    with account() as amo:
        yield amo


def say(stage: Stage, text: str = "Olga here: yes, two are left.", minutes: float = 30) -> int:
    with stage.database.writes.begin() as connection:
        conversation = connection.scalar(sa.select(sa.func.min(turns.c.conversation_id)))
        assert conversation is not None
        pause = timedelta(minutes=minutes)
        return own_words.say(connection, conversation, CHAT, text, who="Olga", pause=pause, now=stage.clock.now())


def of_managers(stage: Stage) -> list[Any]:
    query = sa.select(messages).where(messages.c.sender_type == "manager").order_by(messages.c.id)
    return list(stage.database.read_now(lambda connection: connection.execute(query).all()))


@pytest.mark.parametrize("way", [with_salesbot, with_talks])
def test_they_reach_the_client_once_and_take_the_chat_over(database: Database, amo: AmoStandin, way: Any) -> None:
    stage = way(database, amo)
    echoing(stage, amo)
    (question,) = stage.client_writes()
    turn = say(stage)
    assert stage.turn(question).state == State.CANCELLED
    assert stage.turn(question).reason == Reason.MANAGER
    assert pause_of(stage) == stage.clock.now() + timedelta(minutes=30)
    assert answered(stage, turn) == State.SENT
    assert answered(stage, turn) != State.SENT  # a workflow that is begun once too often ends at once
    assert amo.chats.told(LEAD) == ["Olga here: yes, two are left."]
    (message,) = of_managers(stage)  # the echo is recognised: it is not stored as another one
    assert (message.content, message.turn_id, message.metadata["who"]) == (amo.chats.told(LEAD)[0], turn, "Olga")
    assert stage.responders[0].asked == []


def test_a_reply_that_is_being_written_is_never_sent(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo, "What the assistant would say.")
    (question,) = stage.client_writes()

    async def play(answering: Answering) -> None:
        await write(answering, question)
        say_now = say(stage)
        await answering.answer(question)
        await answering.answer(say_now)

    stage.run(play)
    assert amo.chats.told(LEAD) == ["Olga here: yes, two are left."]
    assert stage.turn(question).state == State.CANCELLED


def test_what_was_left_to_staff_is_answered_when_they_are_sent(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    stage.policy = Policy(stale=timedelta(0))
    stage.clock.advance(1)
    (question,) = stage.client_writes()
    stage.clock.advance(10)
    assert answered(stage, question) == State.HANDED
    turn = say(stage)
    assert handoff(database, question).closed_at is None
    assert answered(stage, turn) == State.SENT
    assert handoff(database, question).closed_by == "manager"
    assert stage.turn(question).reason == Reason.MANAGER


def test_words_that_amocrm_refuses_stay_and_a_person_sees_to_it(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    (question,) = stage.client_writes()
    turn = say(stage)
    bots, amo.chats.bots = amo.chats.bots, {}
    assert answered(stage, turn) == State.FAILED
    assert handoff(database, turn).closed_at is None
    assert stage.turn(question).state == State.CANCELLED
    assert [one.content for one in of_managers(stage)] == ["Olga here: yes, two are left."]
    amo.chats.bots = bots
    with database.writes.begin() as connection:
        assert staff.retry(connection, turn, stage.clock.now()) == turn
    assert answered(stage, turn) == State.SENT
    assert amo.chats.told(LEAD) == ["Olga here: yes, two are left."]


def test_several_are_sent_in_their_order_whoever_wakes_first(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    stage.client_writes()
    first, second, third = (say(stage, text) for text in ("One.", "Two.", "Three."))
    with database.writes.begin() as connection:
        taken = in_hand.claimed(connection, third, stage.me, stage.clock.now())
        assert not queue.take(connection, taken, stage.me)
    for turn in (first, second, third):
        assert answered(stage, turn) == State.SENT
    assert amo.chats.told(LEAD) == ["One.", "Two.", "Three."]


def test_the_clients_next_words_do_not_join_them_and_do_not_stop_them(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    stage.client_writes()
    turn = say(stage)
    stage.clock.advance(1)
    (newer,) = stage.client_writes("And in blue?")
    assert newer != turn
    assert answered(stage, turn) == State.SENT
    assert stage.turn(newer).state == State.WAITING  # it came after the manager's words
    stage.clock.advance(5)
    assert answered(stage, newer) == State.HANDED
    assert stage.turn(newer).reason == Reason.PAUSED
    assert amo.chats.told(LEAD) == ["Olga here: yes, two are left."]


def test_another_managers_message_does_not_lose_them(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    stage.client_writes()
    turn = say(stage)
    stage.manager_writes("I am here too")
    assert answered(stage, turn) == State.SENT


def test_they_go_where_the_client_wrote_last(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    ways = stage.delivery_options
    stage.delivery_options = type(ways)(
        via={"telegram": "salesbot", "*": "note"}, note=False, salesbot_id=ways.salesbot_id, field_id=ways.field_id
    )
    stage.client_writes()
    assert answered(stage, say(stage)) == State.SENT
    assert amo.chats.told(LEAD) == ["Olga here: yes, two are left."]
    assert amo.notes(LEAD) == []


def test_no_pause_is_a_pause_for_this_question_alone(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    stage.client_writes()
    assert answered(stage, say(stage, minutes=0)) == State.SENT
    stage.clock.advance(1)
    (newer,) = stage.client_writes("And in blue?")
    stage.clock.advance(5)
    assert answered(stage, newer) == State.SENT


def test_a_long_text_goes_in_parts(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    echoing(stage, amo)
    stage.client_writes()
    turn = say(stage, "A sentence of the manager. " * 160)
    assert answered(stage, turn) == State.SENT
    assert len(states(stage, turn)) > 1
    assert set(states(stage, turn)) == {"sent"}
    assert len(of_managers(stage)) == 1


# What staff ask for


def test_a_suggested_reply_waits_for_a_manager_in_any_mode(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    stage.policy = Policy(mode="off")
    (question,) = stage.client_writes()
    assert answered(stage, question) == State.CANCELLED
    with database.writes.begin() as connection:
        assert staff.retry(connection, question, stage.clock.now(), as_draft=True) == question
    assert answered(stage, question) == State.DRAFT
    assert amo.notes(LEAD) == []  # who asked for it reads it on our pages
    assert amo.chats.told(LEAD) == []


def test_a_question_is_answered_now_without_the_quiet_period(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    stage.policy = Policy(quiet=timedelta(minutes=5), quiet_max=timedelta(minutes=5))
    (question,) = stage.client_writes()
    with database.writes.begin() as connection:
        assert staff.hurry(connection, question)
    begun = stage.clock.now()
    assert answered(stage, question) == State.SENT
    assert stage.clock.now() - begun < timedelta(minutes=1)
    with database.writes.begin() as connection:
        assert not staff.hurry(connection, question)


def test_a_draft_is_written_anew(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    stage.policy = Policy(mode="draft")
    (question,) = stage.client_writes()
    assert answered(stage, question) == State.DRAFT
    stage.responders[0].text = "Another one."
    with database.writes.begin() as connection:
        assert staff.write_anew(connection, question, stage.clock.now()) == question
        assert staff.write_anew(connection, question, stage.clock.now()) is None
    assert answered(stage, question) == State.DRAFT
    assert stage.turn(question).reply == "Another one."
