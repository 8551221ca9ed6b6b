"""A Salesbot that asks for a reply and waits: who is believed, and how it gets the reply."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from otvet.amocrm.events import read_delivery
from otvet.answering.answering import NOT_OURS
from otvet.delivery.methods import DeliveryOptions
from otvet.intake.inbox import Received, store
from otvet.storage.database import Database
from otvet.turns import parts, staff
from otvet.turns.turn import Reason, State, turns
from otvet.widget import calls as bot_calls
from otvet.widget import told_twice
from otvet.widget.calls import NotBelieved, Refused, continuation, read_call
from tests import in_hand
from tests.running import SECRET, otvet, wait_for
from tests.standins import bot
from tests.standins.amocrm import ACCOUNT_ID, AmoStandin, amocrm_standin
from tests.standins.sender import incoming
from tests.test_answer import LEAD, Stage, Writer
from tests.test_deliver import LONG, account, answered, echoing, pause_of, sent_when_the_token_is_good_again, states
from tests.test_end_to_end import connected

ACCOUNT = "https://example.amocrm.ru"
RETURN = f"{ACCOUNT}/api/v4/salesbot/321/continue/123"
NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
SOON = int(NOW.timestamp()) + 300


def signed(**claims: Any) -> str:
    return bot.token(**{"iss": ACCOUNT, "entity_id": LEAD, "exp": SOON, **claims})


# Who is believed


@pytest.mark.parametrize("alg", ["HS256", "HS512"])
@pytest.mark.parametrize("form", [False, True])
def test_a_genuine_request_is_understood(alg: str, form: bool) -> None:
    body = bot.request(RETURN, "How much?", signed(alg=alg), form=form)
    call = read_call(body, bot.CLIENT_SECRET, ACCOUNT, NOW)
    assert (call.lead_id, call.return_url, call.text) == (LEAD, RETURN, "How much?")


def test_a_bot_of_a_contact_names_the_deal_in_its_data() -> None:
    body = bot.request(RETURN, "", signed(entity_type="contact", entity_id=5), lead=str(LEAD))
    assert read_call(body, bot.CLIENT_SECRET, ACCOUNT, NOW).lead_id == LEAD


@pytest.mark.parametrize(
    ("token", "says"),
    [
        (signed(secret="another"), "a wrong signature"),
        (signed(alg="none"), "another method"),
        (signed(alg="HS384"), "another method"),
        (signed(exp=SOON - 400), "has ended"),
        (signed(nbf=SOON), "has not begun"),
        *((signed(exp=exp), "is no time") for exp in ("soon", None, [], float("nan"), float("inf"), 10**400)),
        (bot.token(iss=ACCOUNT, entity_id=LEAD), "is no time"),
        (signed(nbf=None), "is no time"),
        ("", "no token"),
        ("a.b", "no token"),
        ("ä.ö.ü", "no token"),
        (f"{signed()}x", "a wrong signature"),
        (signed().replace(".", ".A", 1), "a wrong signature"),
    ],
)
def test_what_is_not_of_amocrm_is_refused(token: str, says: str) -> None:
    with pytest.raises(NotBelieved) as refused:
        read_call(bot.request(RETURN, "How much?", token), bot.CLIENT_SECRET, ACCOUNT, NOW)
    # A payload with another beginning may be no JSON at all: either is a refusal.
    assert says in str(refused.value) or "no token" in str(refused.value)


@pytest.mark.parametrize(
    "claims",
    [
        *({"iss": iss} for iss in ("https://other.amocrm.ru", "other.amocrm.ru", "https://[broken", "", None, [], 7)),
        {"iss": f"{ACCOUNT}:8443"},
        {"iss": f"{ACCOUNT}.evil.example"},
        *({"account_id": id_} for id_ in (ACCOUNT_ID + 1, None, "", True, -1)),
    ],
)
def test_a_token_of_another_account_with_the_same_integration_is_refused(claims: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="another account"):
        read_call(bot.request(RETURN, "", signed(**claims)), bot.CLIENT_SECRET, ACCOUNT, NOW, ACCOUNT_ID)


def test_before_the_account_is_known_its_address_decides() -> None:
    body = bot.request(RETURN, "How much?", signed(account_id=1))
    assert read_call(body, bot.CLIENT_SECRET, ACCOUNT, NOW).lead_id == LEAD


def test_a_bot_that_names_no_deal_is_refused() -> None:
    with pytest.raises(Refused, match="no deal"):
        read_call(bot.request(RETURN, "", signed(entity_type="contact")), bot.CLIENT_SECRET, ACCOUNT, NOW)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/api/v4/salesbot/1/continue/2",
        "https://example.amocrm.ru.evil.example/api/v4/salesbot/1/continue/2",
        "https://example.amocrm.ru@evil.example/api/v4/salesbot/1/continue/2",
        "https://user@example.amocrm.ru/api/v4/salesbot/1/continue/2",
        "http://example.amocrm.ru/api/v4/salesbot/1/continue/2",
        "https://example.amocrm.ru:8443/api/v4/salesbot/1/continue/2",
        "https://example.amocrm.ru/api/v4/leads/1",
        "https://example.amocrm.ru/api/v4/salesbot/1/continue/2/../../../leads/1",
        "https://other.amocrm.com/api/v4/salesbot/1/continue/2",
        "https://example.kommo.com:8443/api/v4/salesbot/1/continue/2",
        "https://example.kommo.com@evil.example/api/v4/salesbot/1/continue/2?x=1",
        "https://example.kommo.com.evil.example/api/v4/salesbot/1/continue/2",
        "https://evil.example/?x=https://example.amocrm.ru/api/v4/salesbot/1/continue/2",
        "https://example.amocrm.ru/api/v4/salesbot/1/continue/2/%2e%2e",
        "https://[broken/api/v4/salesbot/1/continue/2",
        "",
    ],
)
def test_a_reply_goes_to_the_accounts_own_address_only(url: str) -> None:
    assert continuation(url, ACCOUNT) is None
    with pytest.raises(Refused):
        read_call(bot.request(url, "How much?", signed()), bot.CLIENT_SECRET, ACCOUNT, NOW)


# How it gets the reply


@pytest.fixture
def amo() -> Iterator[AmoStandin]:
    with account() as amo:
        yield amo


def waiting(database: Database, amo: AmoStandin, text: str = "Delivery costs 300 roubles.", **how: Any) -> Stage:
    stage = Stage(database, Writer("knowledge", text), amo=amo)
    stage.delivery_options = DeliveryOptions(via={"*": "widget"}, note=False, **how)
    return stage


def bot_asks(stage: Stage, amo: AmoStandin, text: str = "How much?") -> list[int]:
    call = bot_calls.BotCall(LEAD, amo.chats.wait(LEAD), text)
    with stage.database.writes.begin() as connection:
        return bot_calls.take(connection, call, stage.clock.now())


def test_a_bot_gets_the_reply_where_it_waits(database: Database, amo: AmoStandin) -> None:
    stage = waiting(database, amo)
    (turn,) = bot_asks(stage, amo)
    assert answered(stage, turn) == State.SENT
    ((_path, body),) = amo.chats.continued
    assert body["data"] == {
        "status": "success",
        "reply": "Delivery costs 300 roubles.",
        "parts": 1,
        "reply_1": "Delivery costs 300 roubles.",
    }
    assert "execute_handlers" not in body


def test_a_bot_that_is_to_show_it_gets_pieces_of_80_characters(database: Database, amo: AmoStandin) -> None:
    text = "Delivery within the town costs 300 roubles. It takes two days. Pick it up yourself and it is free."
    stage = waiting(database, amo, text, show=True)
    echoing(stage, amo)
    (turn,) = bot_asks(stage, amo)
    assert answered(stage, turn) == State.SENT
    assert " ".join(amo.chats.told(LEAD)) == text
    assert len(amo.chats.told(LEAD)) == 2
    assert pause_of(stage) is None


def test_what_is_too_long_to_be_shown_goes_as_data(database: Database, amo: AmoStandin) -> None:
    stage = waiting(database, amo, LONG * 2, show=True)
    (turn,) = bot_asks(stage, amo)
    assert answered(stage, turn) == State.SENT
    ((_path, body),) = amo.chats.continued
    assert "execute_handlers" not in body
    assert body["data"]["reply"] == LONG * 2
    assert " ".join(body["data"][f"reply_{n}"] for n in range(1, body["data"]["parts"] + 1)) == LONG * 2


@pytest.mark.parametrize("first", ["bot", "webhook"])
def test_bot_and_webhook_tell_of_one_message(database: Database, amo: AmoStandin, first: str) -> None:
    stage = waiting(database, amo)

    def webhook() -> list[int]:
        now = stage.clock.now()
        body = incoming("How  much?", created_at=int(now.timestamp()), message_id="m-1")
        with database.writes.begin() as connection:
            (stored,) = store(connection, [Received(body, read_delivery(body, now), now)], adopt=told_twice.adopt)
        return stored.to_answer

    begun = bot_asks(stage, amo) + webhook() if first == "bot" else webhook() + bot_asks(stage, amo)
    (turn,) = begun
    assert answered(stage, turn) == State.SENT
    assert len(stage.responders[0].asked[0].question) == 1
    assert len(amo.chats.continued) == 1
    assert webhook() == []  # amoCRM delivers it once more
    assert len(bot_asks(stage, amo, "And by post?")) == 1


@pytest.mark.parametrize("first", ["bot", "webhook"])
@pytest.mark.parametrize(
    ("by_bot", "by_webhook"),
    [
        ("Tom & Jerry XL?", "Tom &amp; Jerry XL?"),
        ("Tom &amp;amp; Jerry &quot;XL&quot;?", 'Tom & Jerry "XL"?'),
        ("5 &lt;\u00a06\n", "5 <  6"),
    ],
)
def test_escapes_make_no_second_message(
    database: Database, amo: AmoStandin, first: str, by_bot: str, by_webhook: str
) -> None:
    stage = waiting(database, amo)

    def webhook() -> list[int]:
        now = stage.clock.now()
        body = incoming(by_webhook, created_at=int(now.timestamp()), message_id="m-1")
        with database.writes.begin() as connection:
            (stored,) = store(connection, [Received(body, read_delivery(body, now), now)], adopt=told_twice.adopt)
        return stored.to_answer

    begun = bot_asks(stage, amo, by_bot) + webhook() if first == "bot" else webhook() + bot_asks(stage, amo, by_bot)
    (turn,) = begun
    assert answered(stage, turn) == State.SENT
    assert len(stage.responders[0].asked[0].question) == 1


def test_without_a_webhook_no_words_are_lost_while_a_question_is_open(database: Database, amo: AmoStandin) -> None:
    stage = waiting(database, amo)
    (turn,) = bot_asks(stage, amo, "How much?")
    assert bot_asks(stage, amo, "How much?") == []  # two bots of one message
    assert bot_asks(stage, amo, "And by post?") == []  # joins the question
    assert answered(stage, turn) == State.SENT
    assert [line.text for line in stage.responders[0].asked[0].question] == ["How much?", "And by post?"]


def test_a_reply_goes_to_the_address_with_its_query(database: Database, amo: AmoStandin) -> None:
    stage = waiting(database, amo)
    call = bot_calls.BotCall(LEAD, f"{amo.chats.wait(LEAD)}?request_id=abc", "How much?")
    with database.writes.begin() as connection:
        (turn,) = bot_calls.take(connection, call, stage.clock.now())
    assert answered(stage, turn) == State.SENT
    assert any("request_id=abc" in str(request) for request in amo.log)


def test_a_bot_that_asks_twice_at_one_address_is_one(database: Database, amo: AmoStandin) -> None:
    stage = waiting(database, amo)
    call = bot_calls.BotCall(LEAD, amo.chats.wait(LEAD), "How much?")
    with database.writes.begin() as connection:
        assert len(bot_calls.take(connection, call, stage.clock.now())) == 1
        assert bot_calls.take(connection, call, stage.clock.now()) == []


def test_without_a_bot_the_reply_is_left_to_a_person(database: Database, amo: AmoStandin) -> None:
    stage = waiting(database, amo)
    (turn,) = stage.client_writes()
    assert answered(stage, turn) == State.FAILED
    assert "No Salesbot of this deal asked" in stage.turn(turn).reason
    assert len(amo.notes(LEAD)) == 1
    assert 60 <= stage.clock.monotonic() < 70


def test_a_bot_goes_on_without_a_reply_where_that_is_left_to_a_person(database: Database, amo: AmoStandin) -> None:
    stage = waiting(database, amo)
    (turn,) = stage.client_writes("How much?")
    assert bot_asks(stage, amo) == []
    stage.clock.advance(1)
    stage.manager_writes("I will answer this.")
    assert answered(stage, turn) == "not ours"
    with database.writes.begin() as connection:  # as the workflow finds it that was at work on it
        connection.execute(turns.update().values(owner=stage.me))

    async def play(_answering: Any) -> None:
        for _time in range(2):
            await stage.delivery.release(stage.turn(turn))

    stage.run(play)
    ((_path, body),) = amo.chats.continued
    assert body["data"] == {"status": "none", "reply": "", "parts": 0}


def test_every_bot_of_a_conversation_that_is_left_to_a_person_goes_on(database: Database, amo: AmoStandin) -> None:
    stage = waiting(database, amo)
    stage.manager_writes()
    for text in ("How much?", "And by post?"):  # one entry of the operator's list
        (turn,) = stage.client_writes(text)
        assert bot_asks(stage, amo, text) == []
        assert answered(stage, turn) in (State.HANDED, NOT_OURS)
    assert [body["data"]["status"] for _path, body in amo.chats.continued] == ["none", "none"]


def test_a_bot_waits_for_the_reply_to_what_the_client_wrote_on(database: Database, amo: AmoStandin) -> None:
    stage = waiting(database, amo)
    (turn,) = stage.client_writes("How much?")
    hand_over(stage, turn)
    stage.client_writes("And by post?")
    assert bot_asks(stage, amo, "And by post?") == []

    async def play(_answering: Any) -> None:
        await stage.delivery.release(stage.turn(turn))

    stage.run(play)
    assert amo.chats.continued == []


def test_a_turn_whose_bot_went_on_is_answered_with_what_the_client_wrote_on(
    database: Database, amo: AmoStandin
) -> None:
    stage = waiting(database, amo)
    (turn,) = stage.client_writes("How much?")
    assert bot_asks(stage, amo) == []
    hand_over(stage, turn)

    async def play(_answering: Any) -> None:
        await stage.delivery.release(stage.turn(turn))

    stage.run(play)
    (newer,) = stage.client_writes("And by post?")
    with database.writes.begin() as connection:
        assert staff.retry(connection, turn, stage.clock.now()) == newer


def hand_over(stage: Stage, turn: int) -> None:
    """As it is when the client comes too late."""
    with stage.database.writes.begin() as connection:
        taken = in_hand.claimed(connection, turn, stage.me, stage.clock.now())
        assert staff.leave_to_staff(connection, taken, stage.me, Reason.STALE, stage.clock.now())


def test_a_bot_that_went_on_without_us_is_told_to_a_person(database: Database, amo: AmoStandin) -> None:
    stage = waiting(database, amo)
    (turn,) = bot_asks(stage, amo)
    amo.chats.waiting.clear()
    assert answered(stage, turn) == State.FAILED
    assert "does not wait for the reply any more" in stage.turn(turn).reason


def test_a_token_that_may_not_let_bots_go_on_is_explained(database: Database, amo: AmoStandin) -> None:
    stage = waiting(database, amo)
    (turn,) = bot_asks(stage, amo)
    amo.fault(path="/api/v4/salesbot/*", status=403)
    assert answered(stage, turn) == State.FAILED
    assert "administrators only" in stage.turn(turn).reason
    assert len(amo.notes(LEAD)) == 1


@pytest.mark.parametrize("status", [400, 409, 422])
def test_a_bot_that_does_not_take_the_reply_leaves_it_to_a_person(
    database: Database, amo: AmoStandin, status: int
) -> None:
    stage = waiting(database, amo)
    (turn,) = bot_asks(stage, amo)
    amo.fault(path="/api/v4/salesbot/*", status=status)
    assert answered(stage, turn) == State.FAILED
    assert f"HTTP {status}" in stage.turn(turn).reason
    (note,) = amo.notes(LEAD)
    assert "Delivery costs 300 roubles." in note["params"]["text"]
    assert amo.chats.continued == []


def test_a_token_that_ends_before_the_bot_goes_on_loses_and_doubles_nothing(
    database: Database, amo: AmoStandin
) -> None:
    stage = waiting(database, amo)
    (turn,) = bot_asks(stage, amo)
    amo.fault(path="/api/v4/salesbot/*", status=401)
    sent_when_the_token_is_good_again(stage, turn)
    assert len(amo.chats.continued) == 1


def test_an_answer_that_was_lost_is_not_given_twice(database: Database, amo: AmoStandin) -> None:
    stage = waiting(database, amo)
    (turn,) = bot_asks(stage, amo)
    amo.fault(path="/api/v4/salesbot/*", drop="after")
    amo.fault(path="/api/v4/events", status=404, times=None)
    assert answered(stage, turn) == State.FAILED
    assert states(stage, turn) == [parts.UNKNOWN]
    assert len(amo.chats.continued) == 1


@pytest.mark.slow
def test_the_real_server_answers_a_bot_in_time_and_then_lets_it_go_on(tmp_path: Path) -> None:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        settings = {"OTVET_REPLY_VIA": "widget", "OTVET_AMOCRM_CLIENT_SECRET": bot.CLIENT_SECRET}
        with otvet(tmp_path, **connected(amo), **settings) as server:
            own = {"iss": amo.url, "entity_id": LEAD, "exp": int(time.time()) + 60}
            url = f"{server.url}/webhook/salesbot/{SECRET}"

            def ask(body: bytes, address: str = url) -> int:
                return httpx2.post(address, content=body, trust_env=False, timeout=2).status_code

            good = bot.request(amo.chats.wait(LEAD), "How much?", bot.token(**own), form=True)
            assert ask(good, f"{server.url}/webhook/salesbot/not-the-secret") == 404
            assert ask(bot.request(amo.chats.wait(LEAD), "?", bot.token(secret="x", **own))) == 401
            assert ask(b"\xff{") == 401
            assert ask(bot.request(amo.chats.wait(LEAD), "?", bot.token(**{**own, "iss": "https://[bad"}))) == 403
            assert ask(bot.request("https://evil.example/api/v4/salesbot/1/continue/2", "?", bot.token(**own))) == 403
            assert ask(b"x" * 300_000) == 413
            assert ask(good) == 200
            wait_for(lambda: amo.chats.told(LEAD), "the reply in the chat")
            wait_for(server.settled, "the turn closed")
            (reply,) = server.messages(LEAD, "assistant")
            assert reply["metadata"]["delivery"]["way"] == "widget"
            assert "evil.example" not in server.log.read_text()
    assert len(amo.chats.continued) == 1
