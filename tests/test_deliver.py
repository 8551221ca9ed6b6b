"""The ways into the client's chat, against a stand-in that knows what each client has seen, on both databases."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from otvet.answering.answering import NOT_OURS, Answering
from otvet.conversations.tables import chats, messages
from otvet.delivery.into_chat import ECHO_SECONDS, SETTLE_SECONDS
from otvet.delivery.methods import DeliveryOptions
from otvet.storage import keyvalue
from otvet.storage.database import Database
from otvet.turns import parts, staff
from otvet.turns.policy import Wait
from otvet.turns.turn import DELIVERY, Reason, State, delivery_of, turns
from tests.standins.amocrm import AmoStandin, amocrm_standin
from tests.standins.chats import Seen
from tests.standins.sender import outgoing
from tests.test_answer import LEAD, Stage, Waiting, Writer, write

BOT = 17
RUN = f"/api/v4/bots/{BOT}/run"
TALK = 100
LONG = "First sentence of the reply. " * 20 + "The last one."


@contextmanager
def account() -> Iterator[AmoStandin]:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        amo.rate = 10_000
        yield amo


@pytest.fixture
def amo() -> Iterator[AmoStandin]:
    with account() as amo:
        yield amo


def with_salesbot(database: Database, amo: AmoStandin, text: str = "Delivery costs 300 roubles.") -> Stage:
    stage = Stage(database, Writer("knowledge", text), amo=amo)
    stage.delivery_options = DeliveryOptions(
        via={"*": "salesbot"}, note=False, salesbot_id=BOT, field_id=amo.chats.add_bot(BOT)
    )
    return stage


def with_talks(database: Database, amo: AmoStandin, text: str = "Delivery costs 300 roubles.") -> Stage:
    stage = Stage(database, Writer("knowledge", text), amo=amo)
    stage.delivery_options = DeliveryOptions(via={"*": "talk"}, note=False)
    amo.chats.talks[TALK] = LEAD
    return stage


def echoing(stage: Stage, amo: AmoStandin, **more: Any) -> None:
    """The account sends what was sent back, as with the event of outgoing messages."""

    def deliver(seen: Seen) -> None:
        about = {"message_id": seen.id, "lead_id": seen.lead_id, "chat_id": f"chat-{seen.lead_id}"}
        about |= {"created_at": int(stage.clock.now().timestamp()), "author": {"type": "bot", "name": "SalesBot"}}
        stage.receive(outgoing(seen.text, event="outgoing_message", **{**about, **more}))

    amo.chats.on_seen = deliver


def answered(stage: Stage, turn: int) -> str:
    """Play the turn to its end; gives the state."""
    ended: list[str] = []

    async def play(answering: Answering) -> None:
        ended.append(await answering.answer(turn))

    stage.run(play)
    return ended[0]


def states(stage: Stage, turn: int) -> list[str]:
    return [part.state for part in stage.database.read_now(lambda connection: parts.of_turn(connection, turn))]


def pause_of(stage: Stage) -> Any:
    query = sa.select(chats.c.paused_until)
    return stage.database.read_now(lambda connection: connection.scalar(query))


# The Salesbot


def test_the_salesbot_sends_what_stands_in_the_field(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    (turn,) = stage.client_writes()
    assert answered(stage, turn) == State.SENT
    assert amo.chats.told(LEAD) == ["Delivery costs 300 roubles."]
    assert amo.notes(LEAD) == []
    query = sa.select(messages, *DELIVERY).join(turns, turns.c.id == messages.c.turn_id).offset(1)
    reply = database.read_now(lambda connection: connection.execute(query).one())
    assert delivery_of(reply) == {"way": "salesbot", "state": "sent", "note_id": None}


def test_a_note_is_written_besides_where_it_is_wanted(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    stage.delivery_options = DeliveryOptions(
        via=stage.delivery_options.via, salesbot_id=BOT, field_id=stage.delivery_options.field_id
    )
    (turn,) = stage.client_writes()
    assert answered(stage, turn) == State.SENT
    (note,) = amo.notes(LEAD)
    assert note["params"]["text"].startswith("Delivery costs 300 roubles.")
    assert stage.turn(turn).note_id == note["id"]
    assert len(amo.chats.told(LEAD)) == 1


def test_the_field_is_made_once_and_remembered(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    amo.chats.fields.clear()
    stage.delivery_options = DeliveryOptions(via=stage.delivery_options.via, note=False, salesbot_id=BOT)

    async def play(_answering: Answering) -> None:
        await stage.delivery.prepare()

    stage.run(play)
    (field,) = amo.chats.fields.values()
    assert (field["type"], field["code"]) == ("textarea", "OTVET_REPLY")
    kept = database.read_now(lambda connection: keyvalue.recall(connection, "salesbot_field_id"))
    assert kept == str(field["id"])
    amo.chats.bots[BOT] = field["id"]
    with account() as same:
        same.chats.fields = {}  # it is not asked for again, nor made anew: the bot knows the first one's number
        (turn,) = stage.client_writes()
        again = Stage(database, *stage.responders, amo=same)
        again.delivery_options = stage.delivery_options
        assert answered(again, turn) == State.FAILED
        assert same.chats.fields == {}


def test_an_older_account_runs_the_bot_by_the_older_address(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo, LONG)
    amo.chats.has_v4 = False
    (turn,) = stage.client_writes()
    assert answered(stage, turn) == State.SENT
    assert amo.chats.told(LEAD) == [LONG]


def test_a_crash_between_field_and_run_writes_the_field_again_and_runs_once(
    database: Database, amo: AmoStandin
) -> None:
    stage = with_salesbot(database, amo)
    (turn,) = stage.client_writes()
    amo.fault(path="/api/v4/leads/*", method="PATCH", drop="after")  # carried out, and nobody was told
    assert answered(stage, turn) == State.SENT
    assert amo.chats.told(LEAD) == ["Delivery costs 300 roubles."]
    assert len([one for one in amo.log if one["method"] == "PATCH"]) == 2
    assert amo.chats.runs == [(BOT, LEAD)]


def test_a_run_whose_answer_was_lost_is_known_by_its_echo(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    echoing(stage, amo)
    (turn,) = stage.client_writes()
    amo.fault(path=RUN, drop="after")
    assert answered(stage, turn) == State.SENT
    assert amo.chats.runs == [(BOT, LEAD)]


def lost_run(stage: Stage, amo: AmoStandin, drop: str, *, heard: bool = True) -> int:
    """A turn whose run gets no answer and does not come back; heard: the reply before it did."""
    if heard:
        echoing(stage, amo)
        (before,) = stage.client_writes("hello")
        assert answered(stage, before) == State.SENT
        amo.chats.on_seen = lambda seen: None
        amo.chats.runs.clear()
        amo.chats.seen.clear()
    (turn,) = stage.client_writes("How much?")
    amo.fault(path=RUN, drop=drop)
    return turn


def test_a_run_whose_answer_was_lost_is_known_by_amocrms_events(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    turn = lost_run(stage, amo, "after")
    start = stage.clock.monotonic()
    assert answered(stage, turn) == State.SENT
    assert stage.clock.monotonic() - start >= ECHO_SECONDS
    assert amo.chats.runs == [(BOT, LEAD)]


@pytest.mark.parametrize("heard", [True, False])
def test_another_robots_message_is_no_sign_that_the_bot_ran(database: Database, amo: AmoStandin, heard: bool) -> None:
    stage = with_salesbot(database, amo)
    turn = lost_run(stage, amo, "before", heard=heard)
    welcome = Seen(LEAD, "Welcome! We work from nine to six.")
    amo.chats.seen.append(welcome)

    def tell() -> None:  # the webhook says what it was, so it is known whose
        if heard and stage.turn(turn).state == State.SENDING:
            stage.manager_writes(welcome.text, message_id=welcome.id, author={"type": "bot", "name": "Another"})

    stage.clock.on_sleep = tell
    assert answered(stage, turn) == State.FAILED
    assert states(stage, turn) == [parts.UNKNOWN]


def test_more_messages_of_robots_than_parts_prove_nothing(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    turn = lost_run(stage, amo, "before")
    amo.chats.seen += [Seen(LEAD, "Welcome!"), Seen(LEAD, "We work from nine to six.")]
    assert answered(stage, turn) == State.FAILED


@pytest.mark.parametrize("seen", [{"lead_id": LEAD + 1}, {"at": 1}, {"by_bot": False}])
def test_where_amocrm_ignores_filters_other_events_do_not_count(
    database: Database, amo: AmoStandin, seen: dict[str, Any]
) -> None:
    stage = with_salesbot(database, amo)
    turn = lost_run(stage, amo, "before")
    amo.filters = False
    amo.chats.seen.append(Seen(**{"lead_id": LEAD, "text": "To somebody else, or long ago.", **seen}))
    assert answered(stage, turn) == State.FAILED
    assert states(stage, turn) == [parts.UNKNOWN]


@pytest.mark.parametrize("fault", [{"drop": "before"}, {"status": 502}, {"drop": "after"}])
def test_a_run_of_which_nothing_can_be_told_goes_to_the_operators_list(
    database: Database, amo: AmoStandin, fault: dict[str, Any]
) -> None:
    stage = with_salesbot(database, amo)
    (turn,) = stage.client_writes()
    amo.fault(path=RUN, **fault)
    amo.fault(path="/api/v4/events", status=404, times=None)
    assert answered(stage, turn) == State.FAILED
    assert states(stage, turn) == [parts.UNKNOWN]
    assert f"otvet retry {turn}" in stage.turn(turn).reason
    assert len(amo.chats.runs) == ("drop" in fault and fault["drop"] == "after")
    (note,) = amo.notes(LEAD)
    assert note["params"]["text"].startswith("The client did not get this reply.")


def test_a_managers_message_is_no_sign_that_the_bot_ran(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    (turn,) = stage.client_writes()
    amo.fault(path=RUN, drop="before")
    amo.chats.seen.append(Seen(LEAD, "Written by hand.", by_bot=False))
    assert answered(stage, turn) == State.FAILED


def test_what_nobody_could_tell_is_healed_by_a_late_echo(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    (turn,) = stage.client_writes()
    amo.fault(path=RUN, drop="after")
    amo.fault(path="/api/v4/events", status=404, times=None)
    assert answered(stage, turn) == State.FAILED
    echoing(stage, amo)
    amo.chats.on_seen(amo.chats.seen[0])
    assert stage.turn(turn).state == State.SENT
    assert stage.turn(turn).reason is None
    assert pause_of(stage) is None


def test_a_person_who_has_looked_may_have_it_sent_once_more(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    (turn,) = stage.client_writes()
    amo.fault(path=RUN, drop="before")
    assert answered(stage, turn) == State.FAILED
    with database.writes.begin() as connection:
        assert staff.retry(connection, turn, stage.clock.now()) == turn
    assert answered(stage, turn) == State.SENT
    assert amo.chats.told(LEAD) == ["Delivery costs 300 roubles."]


@pytest.mark.parametrize(
    ("gone", "says"),
    [("bot", "OTVET_SALESBOT_ID"), ("field", "does not take the reply into the deal's field")],
)
def test_a_bot_or_a_field_that_is_gone_leaves_the_reply_to_a_person(
    database: Database, amo: AmoStandin, gone: str, says: str
) -> None:
    stage = with_salesbot(database, amo)
    (amo.chats.bots if gone == "bot" else amo.chats.fields).clear()
    (turn,) = stage.client_writes()
    assert answered(stage, turn) == State.FAILED
    assert says in stage.turn(turn).reason
    (note,) = amo.notes(LEAD)
    assert "Delivery costs 300 roubles." in note["params"]["text"]
    assert amo.chats.seen == []


@pytest.mark.parametrize("status", [409, 422])
def test_a_field_that_does_not_take_the_reply_leaves_it_to_a_person(
    database: Database, amo: AmoStandin, status: int
) -> None:
    stage = with_salesbot(database, amo)
    (turn,) = stage.client_writes()
    amo.fault(method="PATCH", status=status)
    assert answered(stage, turn) == State.FAILED
    assert (
        f"does not take the reply into the deal's field {stage.delivery_options.field_id} (HTTP {status})"
        in stage.turn(turn).reason
    )
    assert len(amo.notes(LEAD)) == 1
    assert amo.chats.runs == []


@pytest.mark.parametrize("status", [409, 422])
def test_a_note_that_is_refused_leaves_the_reply_to_a_person(database: Database, amo: AmoStandin, status: int) -> None:
    stage = Stage(database, amo=amo)
    (turn,) = stage.client_writes()
    amo.fault(path="/api/v4/leads/*/notes", method="POST", status=status, times=None)
    assert answered(stage, turn) == State.FAILED
    assert f"HTTP {status}" in stage.turn(turn).reason
    assert len(amo.log) == 1


@pytest.mark.parametrize(("method", "path"), [("PATCH", "/api/v4/leads/*"), ("POST", RUN)])
def test_a_right_that_the_token_lacks_does_not_stop_the_notes(
    database: Database, amo: AmoStandin, method: str, path: str
) -> None:
    stage = with_salesbot(database, amo)
    (turn,) = stage.client_writes()
    amo.fault(method=method, path=path, status=403)
    assert answered(stage, turn) == State.FAILED
    assert len(amo.notes(LEAD)) == 1


def test_a_bot_that_is_gone_is_not_run_by_the_older_address(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    (first,) = stage.client_writes("one")
    assert answered(stage, first) == State.SENT
    amo.chats.bots.clear()
    amo.chats.v2_takes_any = True
    (second,) = stage.client_writes("two")
    restarted = with_salesbot(database, amo)
    amo.chats.bots.clear()
    assert answered(restarted, second) == State.FAILED
    assert "OTVET_SALESBOT_ID" in stage.turn(second).reason


def test_that_one_account_has_the_newer_address_says_nothing_of_another(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    (first,) = stage.client_writes("one")
    assert answered(stage, first) == State.SENT
    with account() as older:
        older.chats.has_v4 = False
        (second,) = stage.client_writes("two")
        assert answered(with_salesbot(database, older), second) == State.SENT
        assert len(older.chats.told(LEAD)) == 1


def test_who_lost_the_turn_while_it_waited_leaves_the_field_alone(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    (turn,) = stage.client_writes()

    limiter = Waiting()

    def lose_it_before_the_field() -> None:
        if limiter.places == 1:
            with database.writes.begin() as connection:
                connection.execute(turns.update().values(owner="another"))

    limiter.during = lose_it_before_the_field
    stage.limiter = limiter
    assert answered(stage, turn) == NOT_OURS
    assert amo.log == []


def test_another_bot_at_work_is_waited_for(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    (turn,) = stage.client_writes()
    amo.fault(path=RUN, status=409, times=2)
    assert answered(stage, turn) == State.SENT
    assert amo.chats.runs == [(BOT, LEAD)]


def sent_when_the_token_is_good_again(stage: Stage, turn: int) -> None:
    """The call that brings the reply is answered 401; the part waits, and goes when the outage probe opens the gate."""

    async def play(answering: Answering) -> None:
        await write(answering, turn)
        assert isinstance(await stage.delivery.deliver(turn), Wait)
        assert states(stage, turn) == [parts.TO_SEND]
        stage.clock.advance(301)
        await stage.outage_probe.look()
        assert await stage.delivery.deliver(turn) == State.SENT

    stage.run(play)


def test_a_token_that_ends_between_field_and_run_loses_and_doubles_nothing(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    (turn,) = stage.client_writes()
    amo.fault(path=RUN, status=401)
    sent_when_the_token_is_good_again(stage, turn)
    assert amo.chats.runs == [(BOT, LEAD)]


def test_a_token_that_ends_before_a_talk_is_written_to_loses_and_doubles_nothing(
    database: Database, amo: AmoStandin
) -> None:
    stage = with_talks(database, amo)
    (turn,) = stage.client_writes()
    amo.fault(path="/api/v4/talks/*", status=401)
    sent_when_the_token_is_good_again(stage, turn)
    assert len(amo.chats.told(LEAD)) == 1


def test_two_replies_in_one_deal_do_not_share_the_field(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    amo.chats.hold = True  # the bot takes its time
    (first,) = stage.client_writes("one")
    assert answered(stage, first) == State.SENT
    sent_at = stage.clock.monotonic()
    stage.responders[0].text = "The second reply."
    (second,) = stage.client_writes("two")
    slept = stage.clock.on_sleep

    def let_go() -> None:
        slept()
        if sent_at + SETTLE_SECONDS - 1 <= stage.clock.monotonic():
            amo.chats.let_go()

    stage.clock.on_sleep = let_go
    assert answered(stage, second) == State.SENT
    amo.chats.let_go()
    assert amo.chats.told(LEAD) == ["Delivery costs 300 roubles.", "The second reply."]


# Long replies


def cut_for_instagram(stage: Stage) -> int:
    stage._new, before = lambda lead_id: {**before(lead_id), "origin": "instagram_business"}, stage._new  # type: ignore[method-assign]
    (turn,) = stage.client_writes()
    return turn


def test_a_long_reply_is_cut_at_sentences_and_keeps_its_order(database: Database, amo: AmoStandin) -> None:
    stage = with_talks(database, amo, LONG)
    turn = cut_for_instagram(stage)
    assert answered(stage, turn) == State.SENT
    told = amo.chats.told(LEAD)
    assert len(told) == 2
    assert " ".join(told) == LONG
    assert all(len(text) <= 500 and text.endswith(".") for text in told)


def test_each_part_is_sent_once_where_one_is_refused_for_now(database: Database, amo: AmoStandin) -> None:
    stage = with_talks(database, amo, LONG)
    turn = cut_for_instagram(stage)
    stage.clock.on_sleep = lambda: None
    amo.chats.on_seen = lambda seen: amo.fault(path="/api/v4/talks/*", status=429) if seen.text[-5:] != "one." else None
    assert answered(stage, turn) == State.SENT
    assert " ".join(amo.chats.told(LEAD)) == LONG


def test_a_manager_who_writes_between_two_parts_is_not_talked_over(database: Database, amo: AmoStandin) -> None:
    stage = with_talks(database, amo, LONG)
    turn = cut_for_instagram(stage)
    amo.chats.on_seen = lambda seen: stage.manager_writes("Let me take over.")
    assert answered(stage, turn) == State.SENT
    (told,) = amo.chats.told(LEAD)
    assert stage.turn(turn).reason == Reason.MANAGER
    assert stage.said() == [told]  # what was not sent was not said


class Ending:
    """A limiter during whose second wait the program is told to stop: for the first part, then for the second one."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._places = 0

    async def acquire(self) -> None:
        self._places += 1
        if self._places == 2:
            await self._stage.delivery.finish(self._stage.clock.monotonic())


def test_no_further_part_is_sent_once_the_program_was_told_to_stop(database: Database, amo: AmoStandin) -> None:
    stage = with_talks(database, amo, LONG)
    stage.limiter = Ending(stage)
    turn = cut_for_instagram(stage)

    async def play(answering: Answering) -> None:
        answer = asyncio.create_task(answering.answer(turn))
        while stage.clock.monotonic() < 100:  # it tries again and again
            await asyncio.sleep(0)
        answer.cancel()

    stage.run(play)
    assert states(stage, turn) == [parts.SENT, parts.TO_SEND]
    assert len(amo.chats.told(LEAD)) == 1


def test_who_hung_after_the_last_look_sends_nothing_also_where_the_clock_was_set_back(
    database: Database, amo: AmoStandin
) -> None:
    stage = with_talks(database, amo)
    (turn,) = stage.client_writes()

    @sa.event.listens_for(database.writes, "commit")
    def hang(connection: sa.Connection) -> None:
        if connection.scalar(sa.select(sa.exists().where(parts.parts.c.state == parts.GIVEN))):
            connection.execute(turns.update().values(owner="another"))
            stage.clock.advance(60)
            stage.clock.jump(-60)

    assert answered(stage, turn) == NOT_OURS
    assert amo.chats.told(LEAD) == []


# Kommo's own call


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (402, "used up for this month"),
        (403, "may not send messages"),
        (404, "no such"),
        (409, "HTTP 409"),
        (422, "The talk is closed"),
    ],
)
def test_a_talk_that_is_refused_falls_back_to_a_note(
    database: Database, amo: AmoStandin, status: int, says: str
) -> None:
    stage = with_talks(database, amo)
    (turn,) = stage.client_writes()
    amo.fault(path="/api/v4/talks/*", status=status)
    assert answered(stage, turn) == State.FAILED
    assert says in stage.turn(turn).reason
    (note,) = amo.notes(LEAD)
    assert says in note["params"]["text"]
    assert note["params"]["text"].count("Delivery costs 300 roubles.") == 1


def test_a_talk_whose_answer_was_lost_is_not_sent_blindly_again(database: Database, amo: AmoStandin) -> None:
    stage = with_talks(database, amo)
    (turn,) = stage.client_writes()
    amo.fault(path="/api/v4/talks/*", drop="after")
    assert answered(stage, turn) == State.FAILED
    assert len(amo.chats.told(LEAD)) == 1


def test_a_message_without_a_talk_is_left_to_a_person(database: Database, amo: AmoStandin) -> None:
    stage = with_talks(database, amo)
    stage._new, before = lambda lead_id: {**before(lead_id), "talk_id": None}, stage._new  # type: ignore[method-assign]
    (turn,) = stage.client_writes()
    assert answered(stage, turn) == State.FAILED


# Echoes


@pytest.mark.parametrize("event", ["message", "outgoing_message"])
def test_a_reply_that_comes_back_is_no_managers_word(database: Database, amo: AmoStandin, event: str) -> None:
    stage = with_talks(database, amo)
    echoing(stage, amo, author={"type": "internal", "user_id": 940088, "name": "Owner of the token"})
    (turn,) = stage.client_writes()
    assert answered(stage, turn) == State.SENT
    assert pause_of(stage) is None
    amo.chats.on_seen(amo.chats.seen[0])  # amoCRM delivers it once more
    assert pause_of(stage) is None
    (next_turn,) = stage.client_writes("Thank you. And to another town?")
    assert answered(stage, next_turn) == State.SENT
    with database.reads.connect() as connection:
        senders = connection.scalars(sa.select(messages.c.sender_type).order_by(messages.c.id)).all()
    assert senders == ["client", "assistant", "client", "assistant"]


def test_a_later_reply_that_holds_an_earlier_one_does_not_vouch_for_it(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo, "It takes two days.")
    (first,) = stage.client_writes("how long?")
    amo.fault(path=RUN, drop="before")
    assert answered(stage, first) == State.FAILED
    echoing(stage, amo)
    stage.responders[0].text = "It costs 300 roubles. It takes two days."
    (second,) = stage.client_writes("how much, and how long?")
    assert answered(stage, second) == State.SENT
    assert stage.turn(first).state == State.FAILED
    assert pause_of(stage) is None


def test_an_echo_without_a_deal_and_with_words_around_it_is_known(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    (turn,) = stage.client_writes()
    assert answered(stage, turn) == State.SENT
    stage.manager_writes("Assistant: Delivery costs 300&nbsp;roubles. ", entity_id=None, entity_type=None)
    assert pause_of(stage) is None


def test_a_manager_who_writes_the_very_same_words_later_is_a_manager(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    echoing(stage, amo)
    (turn,) = stage.client_writes()
    assert answered(stage, turn) == State.SENT
    assert pause_of(stage) is None
    stage.clock.advance(60)
    stage.manager_writes("Delivery costs 300 roubles.")
    assert pause_of(stage) is not None


def test_the_same_words_long_after_are_a_managers_also_where_no_echo_came(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    (turn,) = stage.client_writes()
    assert answered(stage, turn) == State.SENT
    stage.clock.advance(11 * 60)
    stage.manager_writes("Delivery costs 300 roubles.")
    assert pause_of(stage) is not None


def test_the_same_words_in_another_deal_are_a_managers(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    (turn,) = stage.client_writes()
    stage.client_writes("hello", lead_id=LEAD + 1)
    assert answered(stage, turn) == State.SENT
    stage.manager_writes("Delivery costs 300 roubles.", lead_id=LEAD + 1)
    paused = sa.select(chats.c.chat_ref).where(chats.c.paused_until.is_not(None))
    assert database.read_now(lambda connection: connection.scalars(paused).all()) == [f"chat-{LEAD + 1}"]
