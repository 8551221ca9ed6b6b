"""Sent means that the client has it: what the bot reads, what comes back, and what is said where nothing does."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from otvet.amocrm.chat_calls import FIELD_CODE
from otvet.amocrm.texts import plain, storable
from otvet.answering.answering import Answering
from otvet.conversations.tables import chats, messages
from otvet.delivery.arrivals import Arrivals
from otvet.intake import own_account
from otvet.intake.likeness import likeness
from otvet.storage.database import Database
from otvet.turns import arrival, parts, staff
from otvet.turns.policy import UNSURE_FOR
from otvet.turns.turn import Reason, State
from tests.running import command, otvet, wait_for
from tests.standins.amocrm import AmoStandin, amocrm_standin
from tests.standins.sender import incoming, outgoing
from tests.tables import every, table
from tests.test_answer import LEAD, Stage, Writer
from tests.test_check_account import PUBLIC
from tests.test_deliver import BOT, account, answered, echoing, states, with_salesbot, with_talks
from tests.test_end_to_end import connected

MINUTES = timedelta(minutes=5)
LONG = " ".join(f"We deliver to the town number {number}." for number in range(20))
BY_BOT = {"author": {"type": "bot", "name": "SalesBot"}}


@pytest.fixture
def amo() -> Iterator[AmoStandin]:
    with account() as amo:
        yield amo


# What the bot reads


@every("arrival", "kept whole", "text, kept")
def test_what_ends_a_text_is_not_written(text: str, kept: str) -> None:
    assert storable(text).strip() == kept


@every("arrival", "in one line", "text, line")
def test_the_most_cautious_form_is_one_line_without_quotes(text: str, line: str) -> None:
    assert plain(text) == line


def until_beyond(text: str) -> str:
    return next((text[:at] for at, char in enumerate(text) if ord(char) > 0xFFFF), text)


FIELDS: dict[str, tuple[str, Callable[[str], str], str]] = {
    "empty at an emoji": (
        "With pleasure 🏡 the flat is free.",
        lambda text: text if until_beyond(text) == text else "",
        "With pleasure the flat is free.",
    ),
    "cut at an emoji": ("Да 👍 завтра.\nЖдём!", until_beyond, "Да завтра.\nЖдём!"),
    "quotes escaped": ('Плед "Осень" <1 кг', lambda text: text.replace('"', "&quot;"), "Плед “Осень” ‹1 кг"),
    "cut at a quote": ('Плед "Осень" есть', lambda text: text.partition('"')[0], "Плед “Осень” есть"),
    "cut at a line's end": ("Есть:\n• плед\n• подушка", lambda text: text.partition("\n")[0], "Есть: • плед • подушка"),
    "other line breaks": ("Есть:\nплед", lambda text: text.replace("\n", "\r\n"), "Есть:\r\nплед"),
    "an ampersand escaped": ("a & b", lambda text: text.replace("&", "&amp;"), "a &amp; b"),
}


@pytest.mark.parametrize("field", FIELDS)
def test_a_reply_is_brought_into_a_form_that_the_field_keeps(database: Database, amo: AmoStandin, field: str) -> None:
    text, amo.chats.keeps, told = FIELDS[field]
    stage = with_salesbot(database, amo, text)
    (turn,) = stage.client_writes()
    assert answered(stage, turn) == State.SENT
    assert amo.chats.told(LEAD) == [told]


@pytest.mark.parametrize("how", ["cuts", "refuses"])
def test_what_is_longer_than_the_field_takes_comes_in_several_messages(
    database: Database, amo: AmoStandin, how: str
) -> None:
    stage = with_salesbot(database, amo, LONG)
    if how == "cuts":
        amo.chats.keeps = lambda text: text[:256]
    else:
        amo.fault(path="/api/v4/leads/*", method="PATCH", status=400)
    (turn,) = stage.client_writes()
    assert answered(stage, turn) == State.SENT
    assert " ".join(amo.chats.told(LEAD)) == LONG
    assert len(amo.chats.told(LEAD)) == len(states(stage, turn)) > 1
    assert max(map(len, amo.chats.told(LEAD))) <= 256
    written = len([one for one in amo.log if one["method"] == "PATCH"])
    (again,) = stage.client_writes("And?")
    assert answered(stage, again) == State.SENT
    assert len(amo.chats.told(LEAD)) == 2 * len(states(stage, turn)) if how == "cuts" else written


BROKEN: dict[str, tuple[str, Callable[[str], str]]] = {
    "is empty": ("We deliver.", lambda text: ""),
    "keeps another text": ("We deliver.", lambda text: "What stood there before"),
    "keeps the beginning": ("We deliver on weekdays.", lambda text: text[:5]),
    "was given nothing but emoji": ("👍🏽 🎉", lambda text: text),
}


@pytest.mark.parametrize("field", BROKEN)
def test_a_bot_is_not_run_where_the_field_has_something_else(database: Database, amo: AmoStandin, field: str) -> None:
    text, amo.chats.keeps = BROKEN[field]
    stage = with_salesbot(database, amo, text)
    (turn,) = stage.client_writes()
    assert answered(stage, turn) == State.FAILED
    assert (amo.chats.runs, amo.chats.seen) == ([], [])
    assert "Answer by hand" in stage.turn(turn).reason
    (note,) = amo.notes(LEAD)
    assert note["params"]["text"].startswith("The client did not get this reply.")


def test_a_field_that_shows_the_text_a_moment_later_is_read_again(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    late: list[str] = []
    amo.chats.keeps = lambda text: late.append(text) or ""  # type: ignore[func-returns-value]

    def shown() -> None:
        amo.chats.values = dict.fromkeys(amo.chats.values, "".join(late[-1:]))

    stage.clock.on_sleep = shown
    (turn,) = stage.client_writes()
    assert answered(stage, turn) == State.SENT
    assert amo.chats.told(LEAD) == ["Delivery costs 300 roubles."]
    assert len(late) == 1


@pytest.mark.parametrize("what", ["reply", "draft", "task"])
def test_the_mark_behind_an_emoji_is_found_again(database: Database, amo: AmoStandin, what: str) -> None:
    stage = Stage(database, Writer("knowledge", "Yes 🙂 we deliver on weekdays."), amo=amo)
    stage.policy = type(stage.policy)(mode="draft" if what == "draft" else "auto")
    amo.shows = until_beyond
    (turn,) = stage.client_writes("позовите менеджера 🙏" if what == "task" else "Do you deliver?")
    amo.fault(method="POST", path="/api/v4/tasks" if what == "task" else "/api/v4/leads/*/notes", drop="after")
    assert answered(stage, turn) == (State.DRAFT if what == "draft" else State.SENT)
    for _look in range(3):
        stage.tell_staff()
        stage.clock.advance(UNSURE_FOR.total_seconds())
    assert len(amo.tasks(LEAD) if what == "task" else amo.notes(LEAD)) == 1


# What comes back


def look_for(stage: Stage, *, after: timedelta = MINUTES) -> None:
    """As the engine has it done, by the stage's clock, in a process that began long before."""
    arrivals = Arrivals(stage.database, stage.clock, MINUTES)
    stage.clock.advance(after.total_seconds())

    async def play(_answering: Answering) -> None:
        await arrivals.look()

    stage.run(play)


def replied(stage: Stage, text: str = "", **about: Any) -> int:
    said = text or f"How much is number {stage.clock.now():%H%M%S}?"
    (turn,) = stage.client_writes(said, **about)
    assert answered(stage, turn) == State.SENT
    stage.clock.advance(20)
    return turn


@pytest.mark.parametrize("with_way", [with_salesbot, with_talks])
def test_where_replies_came_back_one_that_does_not_is_on_the_list(
    database: Database, amo: AmoStandin, with_way: Callable[..., Stage]
) -> None:
    stage = with_way(database, amo)
    echoing(stage, amo)
    seen = [replied(stage) for _ in range(3)]
    amo.chats.on_seen = lambda seen: None
    silent = replied(stage)
    look_for(stage, after=timedelta(minutes=1))
    assert stage.turn(silent).state == State.SENT  # there is time yet
    told, runs = len(amo.chats.seen), len(amo.chats.runs)
    look_for(stage)
    look_for(stage)
    assert (stage.turn(silent).state, stage.turn(silent).reason) == (State.FAILED, Reason.UNSEEN)
    assert states(stage, silent) == [parts.UNKNOWN]
    assert [stage.turn(turn).state for turn in seen] == [State.SENT] * 3
    assert (len(amo.chats.seen), len(amo.chats.runs)) == (told, runs)  # nothing is sent again
    with database.writes.begin() as connection:  # until a person has looked
        assert staff.retry(connection, silent, stage.clock.now()) == silent
    echoing(stage, amo)
    assert answered(stage, silent) == State.SENT
    assert len(amo.chats.seen) == told + 1


def test_where_none_ever_came_back_nothing_can_be_seen(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    turn = replied(stage)
    look_for(stage)
    assert stage.turn(turn).state == State.SENT


def silent_after_one(database: Database, amo: AmoStandin) -> tuple[Stage, int]:
    stage = with_salesbot(database, amo)
    echoing(stage, amo)
    replied(stage, lead_id=LEAD)
    amo.chats.is_silent = True
    return stage, replied(stage)


def test_one_that_comes_back_late_leaves_the_list(database: Database, amo: AmoStandin) -> None:
    stage, turn = silent_after_one(database, amo)
    given_at = int(stage.clock.now().timestamp())
    look_for(stage)
    assert stage.turn(turn).state == State.FAILED
    about = {"message_id": "late", "chat_id": f"chat-{LEAD}", "created_at": given_at, **BY_BOT}
    stage.receive(outgoing("Delivery costs 300 roubles.", **about))
    assert stage.turn(turn).state == State.SENT


def test_a_manager_who_has_written_in_the_chat_has_seen_it(database: Database, amo: AmoStandin) -> None:
    stage, turn = silent_after_one(database, amo)
    stage.manager_writes("Delivery costs 300 roubles.")  # the very same words, which the bot did not say
    assert pauses(stage) != []
    look_for(stage)
    assert stage.turn(turn).state == State.SENT


def test_after_a_start_amocrm_has_time_to_repeat_what_it_could_not_report(database: Database, amo: AmoStandin) -> None:
    stage, turn = silent_after_one(database, amo)
    stage.clock.advance(3600)

    async def play(_answering: Answering) -> None:
        await Arrivals(database, stage.clock, MINUTES).look()
        await Arrivals(database, stage.clock, timedelta(0)).look()  # it is switched off

    stage.run(play)
    assert stage.turn(turn).state == State.SENT


def test_a_reply_of_which_only_the_beginning_came_back_is_on_the_list(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo, LONG)
    turn = replied(stage)
    stage.manager_writes(LONG[:256], **BY_BOT)
    assert pauses(stage) == []
    look_for(stage)
    assert stage.turn(turn).reason == Reason.UNSEEN


def test_what_was_learnt_of_one_account_is_not_believed_of_another(database: Database) -> None:
    with database.writes.begin() as connection:
        own_account.learn(connection, "https://one.amocrm.ru", 1, "one")
        arrival.learn(connection, "salesbot", "bot")
        own_account.learn(connection, "https://one.amocrm.ru", 1, "renamed")
        assert arrival.comes_back_as(connection, "salesbot") == "bot"
        own_account.learn(connection, "https://two.amocrm.ru", 2, "two")
        assert arrival.comes_back_as(connection, "salesbot") is None


# Our own words


@every("arrival", "like", "like, said, text")
def test_how_much_a_message_is_of_a_reply(like: str, said: str, text: str) -> None:
    assert likeness(said, text).name == like


def pauses(stage: Stage) -> list[str]:
    """The chats in which staff have taken over."""
    paused = sa.select(chats.c.chat_ref).where(chats.c.paused_until.is_not(None))
    return list(stage.database.read_now(lambda connection: connection.scalars(paused).all()))


def test_our_words_are_known_however_they_come_back_and_never_pause(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    for number, (name, reply, came, has_all) in enumerate(table("arrival")["comes back"]):
        lead = LEAD + number
        amo.add_lead(lead)
        stage.responders[0].text = reply
        (turn,) = stage.client_writes(lead_id=lead)
        assert answered(stage, turn) == State.SENT, name
        for text in came:
            stage.clock.advance(90)
            for event in ("message", "outgoing_message"):
                about = {**stage._new(lead), "message_id": f"{number} {text}", **BY_BOT}
                stage.receive(outgoing(text, event=event, **about))  # type: ignore[arg-type]
        assert pauses(stage) == [], name
        (part,) = database.read_now(lambda connection, turn=turn: parts.of_turn(connection, turn))
        assert (part.echo_id is not None) == has_all, name
        (following,) = stage.client_writes("And the opening hours?", lead_id=lead)
        assert answered(stage, following) == State.SENT, name


def test_another_message_of_the_bot_is_kept_as_said_on_our_side(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    replied(stage)
    stage.manager_writes("Leave us your phone number, please", **BY_BOT)
    query = sa.select(messages.c.sender_type, messages.c.content).order_by(messages.c.id.desc()).limit(1)
    assert database.read_now(lambda connection: tuple(connection.execute(query).one())) == (
        "assistant",
        "Leave us your phone number, please",
    )


def test_what_the_bot_said_besides_to_one_contact_is_not_told_to_another(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    his = {"contact_id": 101, "chat_id": "his"}
    (first,) = stage.receive(incoming("How much?", **{**stage._new(LEAD), **his}))
    assert answered(stage, first) == State.SENT
    stage.manager_writes("Leave us your phone number, please", **his, **BY_BOT)
    (second,) = stage.receive(incoming("And for me?", **{**stage._new(LEAD), "contact_id": 102, "chat_id": "hers"}))
    assert answered(stage, second) == State.SENT
    (third,) = stage.receive(incoming("So?", **{**stage._new(LEAD), **his}))
    assert answered(stage, third) == State.SENT
    told = [[line.text for line in context.history] for context in stage.responders[0].asked]
    assert told[1] == []
    assert "Leave us your phone number, please" in told[2]


def test_amocrms_clock_may_be_far_from_ours(database: Database, amo: AmoStandin) -> None:
    stage = with_salesbot(database, amo)
    stage.policy = type(stage.policy)(stale=timedelta(days=999))
    behind = int(stage.clock.now().timestamp()) - 14 * 3600
    (turn,) = stage.receive(incoming("How much?", **{**stage._new(LEAD), "created_at": behind}))
    assert answered(stage, turn) == State.SENT
    stage.manager_writes("Delivery costs 300 roubles.", created_at=behind, **BY_BOT)
    assert pauses(stage) == []
    assert database.read_now(lambda connection: parts.of_turn(connection, turn))[0].echo_id is not None


PERSONS = {
    "after the reply came back": lambda stage: stage.manager_writes("Delivery costs 300 roubles."),
    "with words around": lambda stage: stage.manager_writes("As I said: Delivery costs 300 roubles. Shall we?"),
    "with a link": lambda stage: stage.manager_writes("Delivery costs 300 roubles. https://shop.example.org"),
    "only its beginning": lambda stage: stage.manager_writes("Delivery costs"),
}


@pytest.mark.parametrize("how", PERSONS)
def test_a_manager_who_repeats_our_words_is_a_manager(database: Database, amo: AmoStandin, how: str) -> None:
    stage = with_salesbot(database, amo)
    echoing(stage, amo)
    replied(stage)
    PERSONS[how](stage)
    assert pauses(stage) == [f"chat-{LEAD}"]


@pytest.mark.parametrize("when", ["long after our run", "in another deal"])
def test_a_bot_that_speaks_apart_from_our_run_is_another_bot(database: Database, amo: AmoStandin, when: str) -> None:
    stage = with_salesbot(database, amo)
    stage.client_writes(lead_id=LEAD + 1)
    replied(stage)
    lead = LEAD if when == "long after our run" else LEAD + 1
    stage.clock.advance(11 * 60 if lead == LEAD else 0)
    stage.manager_writes("Delivery costs 300 roubles.", lead_id=lead, **BY_BOT)
    assert pauses(stage) == [f"chat-{lead}"]


# What does not pass by itself


def test_an_account_that_moved_is_told_at_once(tmp_path: Path) -> None:
    with amocrm_standin() as amo:
        amo.any_lead, amo.rate = True, 1000
        amo.fault(path="/api/*", status=301, headers={"Location": "https://other.amocrm.ru/"}, times=None)
        settings = connected(amo)
        with otvet(tmp_path, **settings) as server:
            server.deliver(incoming("Where do I see the delivery terms?"))
            told = "put its address into OTVET_AMOCRM_BASE_URL"
            wait_for(lambda: told in server.get("/ready")["amocrm"], "the reason in /ready")
            wait_for(lambda: server.get("/api/turns?state=answering")["turns"], "a reply that waits")
            listed = " ".join(command(tmp_path, "turns", COLUMNS="300", **settings).stdout.split())
            assert "1 question waits until amoCRM takes calls again" in listed
            assert told in listed
    assert len([one for one in amo.log if one["path"].endswith("/notes")]) <= 1


# All of it over HTTP


@pytest.mark.slow
def test_a_shop_whose_bot_falls_silent_is_told_of_it(tmp_path: Path) -> None:
    with amocrm_standin() as amo:
        amo.any_lead, amo.rate = True, 1000
        field = amo.chats.add_bot(BOT)
        amo.chats.fields[field]["code"] = FIELD_CODE
        (tmp_path / "knowledge").mkdir()
        reply = "The terms are here: https://shop.example.org/terms 🙂"
        (tmp_path / "knowledge" / "ours.md").write_text(f"# Delivery terms\n\n{reply}\n")
        settings = connected(amo) | {"OTVET_REPLY_VIA": "salesbot", "OTVET_SALESBOT_ID": str(BOT)}
        settings |= {"OTVET_ARRIVAL_MINUTES": "0.02", "OTVET_REPLY_NOTE": "false"}
        with otvet(tmp_path, **settings) as server:
            question = "Where do I see the delivery terms?"
            server.deliver(incoming(question, message_id="q-1"))
            wait_for(lambda: amo.chats.told(LEAD), "the reply in the chat")
            for number in (1, 2):  # by two channels
                came = "The terms are here: https://kommo.cc/K/AbC"
                about = {"message_id": f"e-{number}", **BY_BOT}
                server.deliver(outgoing(came, event="outgoing_message", **about))
            wait_for(server.settled, "the turn closed")
            amo.chats.is_silent = True
            server.deliver(incoming(question, message_id="q-2"))
            wait_for(lambda: server.get("/api/turns?state=person")["turns"], "the entry on the list")
            (entry,) = server.get("/api/turns?state=person")["turns"]
            assert (entry["id"], entry["reason"]) == (2, "unseen")
            assert "it cannot be told whether the client got this" in entry["why"]
            assert server.messages(LEAD, "manager") == []
        assert amo.chats.told(LEAD) == ["The terms are here: https://shop.example.org/terms"]
        assert len(amo.chats.runs) == 2


# What ``otvet check`` says


def test_the_check_says_whether_delivery_can_be_seen(tmp_path: Path) -> None:
    with amocrm_standin() as amo:
        amo.rate = 1000
        ours = {"OTVET_AMOCRM_BASE_URL": amo.url, "OTVET_AMOCRM_TOKEN": amo.token, "OTVET_PUBLIC_URL": PUBLIC}
        ours |= {"OTVET_REPLY_VIA": "salesbot", "OTVET_SALESBOT_ID": str(BOT), "OTVET_PORT": "9", "COLUMNS": "300"}

        def check() -> str:
            return " ".join(command(tmp_path, "check", **ours).stdout.split())

        with otvet(tmp_path):
            pass
        assert "– Arrival whether clients get the replies cannot be seen (salesbot)" in check()
        database = Database(f"sqlite:///{tmp_path / 'conversations.db'}")
        with database.writes.begin() as connection:
            arrival.learn(connection, "salesbot", "bot")
        database.close()
        assert "✓ Arrival replies come back as outgoing messages; one that has not after 5 minutes" in check()
