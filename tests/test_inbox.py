import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Connection, Row
from structlog.testing import capture_logs

from otvet.amocrm.events import read_delivery
from otvet.amocrm.form import build
from otvet.conversations.tables import chats, clients, conversations, messages
from otvet.errors import StorageError
from otvet.intake import inbox
from otvet.intake.inbox import Inbox, Received, Stored, store
from otvet.intake.quarantine import quarantine
from otvet.storage import counters
from otvet.storage.database import Database
from otvet.turns import queue, sending
from otvet.turns.turn import State, turns
from tests import in_hand
from tests.clocks import FakeClock
from tests.databases import put_prepared
from tests.running import wait_for
from tests.test_database import AMOCRM_WAITS, held, run

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
SENT_AT = int(NOW.timestamp()) - 60

Deliver = Callable[..., list[Stored]]

IN_TIME = inbox.ANSWER_SECONDS


@pytest.fixture(autouse=True)
def _a_slow_machine_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "ANSWER_SECONDS", 60)


def said(id_: str | None, *, lead: int | None = 5, chat: str | None = "chat", **changes: Any) -> dict[str, Any]:
    """One message of a client, as text its id; None takes a field out."""
    fields = {
        "id": id_,
        "chat_id": chat,
        "contact_id": 7,
        "text": id_,
        "created_at": SENT_AT,
        "entity_type": None if lead is None else "lead",
        "entity_id": lead,
        "type": "incoming",
        "author": {"type": "external", "name": "Client 1"},
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


def written_by_manager(id_: str, **changes: Any) -> dict[str, Any]:
    return said(id_, **{"type": "outgoing", "author": {"type": "internal", "name": "Manager 1"}, **changes})


def body(*entries: dict[str, Any]) -> bytes:
    return build({"message": {"add": list(entries)}})


def received(content: bytes, at: datetime = NOW) -> Received:
    return Received(content, read_delivery(content, at), at)


def take(database: Database, *deliveries: Received) -> list[Stored]:
    """Store deliveries in one commit."""
    with database.writes.begin() as connection:
        return store(connection, deliveries)


@pytest.fixture(params=["one by one", "together"])
def deliver(request: pytest.FixtureRequest, database: Database) -> Deliver:
    """Stores messages, each a delivery of its own, a second apart; once in a commit each and once in a single one."""

    def deliver(*entries: dict[str, Any]) -> list[Stored]:
        deliveries = [received(body(entry), NOW + timedelta(seconds=at)) for at, entry in enumerate(entries)]
        if request.param == "together":
            return take(database, *deliveries)
        return [result for one in deliveries for result in take(database, one)]

    return deliver


def rows(database: Database, table: sa.Table) -> Sequence[Row[Any]]:
    key = next(iter(table.primary_key.columns))
    return database.read_now(lambda connection: connection.execute(sa.select(table).order_by(key)).all())


def totals(database: Database) -> dict[str, int]:
    return database.read_now(counters.totals)


def texts_by_lead(database: Database) -> dict[int | None, list[str]]:
    """What each deal's conversation holds, in the order of a history."""
    query = (
        sa.select(conversations.c.amocrm_lead_id, messages.c.content)
        .join(conversations)
        .order_by(messages.c.timestamp, messages.c.id)
    )
    found: dict[int | None, list[str]] = {}
    for lead, text in database.read_now(lambda connection: connection.execute(query).all()):
        found.setdefault(lead, []).append(text)
    return found


def leads_told(database: Database) -> dict[str, int | None]:
    """The lead that each message's metadata names."""
    return {row.content: row.metadata["amocrm_lead_id"] for row in rows(database, messages)}


def to_answer(results: list[Stored]) -> list[int]:
    return [turn for result in results for turn in result.to_answer]


def in_state(database: Database, turn_id: int, state: str) -> None:
    with database.writes.begin() as connection:
        connection.execute(turns.update().where(turns.c.id == turn_id).values(state=state))


def everything(database: Database) -> dict[str, Any]:
    return {table.name: rows(database, table) for table in (clients, conversations, messages, turns)}


def serve(database: Database, *bodies: bytes, clock: FakeClock | None = None) -> tuple[list[Any], list[int]]:
    """Receive bodies at once, as a running server does: what became of each, and the turns that were announced."""
    announced: list[int] = []

    async def run() -> list[Any]:
        taking = Inbox(database, clock or FakeClock(NOW), announced.extend)
        database.start()
        try:
            return await asyncio.gather(*(taking.receive(content) for content in bodies), return_exceptions=True)
        finally:
            await database.writer.stop()

    return asyncio.run(run()), announced


# One message.


def test_a_message_is_stored_with_its_client_and_conversation(database: Database) -> None:
    (result,) = take(database, received(body(said("a", talk_id="31", text="Hello"))))

    (client,) = rows(database, clients)
    (conversation,) = rows(database, conversations)
    (message,) = rows(database, messages)
    assert (result.saved, result.duplicates) == (1, 0)
    assert (client.amocrm_contact_id, client.name) == (7, "Client 1")
    assert (conversation.client_id, conversation.amocrm_lead_id, conversation.status) == (client.id, 5, "active")
    assert (conversation.chat_ref, conversation.last_activity) == ("chat", NOW)
    assert (message.conversation_id, message.sender_type) == (conversation.id, "client")
    assert (message.content, message.message_type) == ("Hello", "text")
    assert message.timestamp == datetime.fromtimestamp(SENT_AT, UTC)
    assert (message.amocrm_message_id, message.amocrm_contact_id) == ("a", 7)
    assert (message.amocrm_chat_id, message.amocrm_talk_id) == ("chat", "31")


def test_the_raw_event_is_kept_beside_the_message(database: Database) -> None:
    attachment = {"type": "picture", "link": "https://drive.example.ru/1.png"}
    take(database, received(body(said("a", text="", attachment=attachment, origin="telegram"))))

    (message,) = rows(database, messages)
    assert (message.content, message.message_type) == ("", "picture")
    assert message.metadata == {
        "amocrm_lead_id": 5,
        "amocrm_timestamp": SENT_AT,
        "source": "amocrm_webhook",
        "raw": {
            "id": "a",
            "chat_id": "chat",
            "contact_id": "7",
            "text": "",
            "created_at": str(SENT_AT),
            "entity_type": "lead",
            "entity_id": "5",
            "type": "incoming",
            "author": {"type": "external", "name": "Client 1"},
            "attachment": attachment,
            "origin": "telegram",
        },
    }


def test_a_message_without_a_time_has_that_of_its_arrival(database: Database) -> None:
    take(database, received(body(said("a", created_at=None))))

    assert rows(database, messages)[0].timestamp == NOW


def test_the_longest_names_are_stored(database: Database) -> None:
    name = "👍" * 200
    event = build({"leads": {"👍" * 5000: [{"id": 1}]}})
    take(database, received(body(said(name, chat=name, talk_id=name, text="long"))), received(event))

    assert texts_by_lead(database) == {5: ["long"]}


# Turns.


def test_a_clients_message_opens_a_turn(database: Database) -> None:
    (result,) = take(database, received(body(said("a"))))

    (turn,) = rows(database, turns)
    assert (turn.state, turn.first_message_at, turn.last_message_at) == (State.WAITING, NOW, NOW)
    assert rows(database, messages)[0].turn_id == turn.id
    assert result.to_answer == [turn.id]


def test_a_burst_shares_one_turn_that_is_announced_once(database: Database, deliver: Deliver) -> None:
    results = deliver(said("a"), said("b"), said("c"))

    (turn,) = rows(database, turns)
    assert {row.turn_id for row in rows(database, messages)} == {turn.id}
    assert to_answer(results) == [turn.id]


def test_the_turn_knows_when_the_client_was_last_heard(database: Database) -> None:
    take(database, received(body(said("a"))))
    take(database, received(body(said("b")), NOW + timedelta(seconds=9)))

    (turn,) = rows(database, turns)
    assert (turn.first_message_at, turn.last_message_at) == (NOW, NOW + timedelta(seconds=9))


@pytest.mark.parametrize("state", [State.ANSWERING, State.SENDING, State.SENT, State.KEPT, State.FAILED])
def test_what_comes_after_a_turn_was_taken_waits_in_another(database: Database, state: str) -> None:
    (first,) = take(database, received(body(said("a"))))[0].to_answer
    in_state(database, first, state)
    (second,) = take(database, received(body(said("b"))))[0].to_answer

    assert first != second
    assert [row.turn_id for row in rows(database, messages)] == [first, second]


@pytest.mark.parametrize(
    "entry",
    [
        written_by_manager("a"),
        said("a", author={"type": "bot"}),
        said("a", type="outgoing"),
    ],
    ids=["manager", "bot", "outgoing"],
)
def test_only_a_clients_message_opens_a_turn(database: Database, entry: dict[str, Any]) -> None:
    (result,) = take(database, received(body(entry)))

    assert rows(database, messages)[0].sender_type == "manager"
    assert rows(database, turns) == []
    assert result.to_answer == []


def test_an_outgoing_event_is_part_of_the_history(database: Database) -> None:
    take(database, received(build({"outgoing_message": {"add": [said("a", lead=None)]}})))
    take(database, received(body(said("b"))))

    assert [row.sender_type for row in rows(database, messages)] == ["manager", "client"]
    assert texts_by_lead(database) == {5: ["a", "b"]}


# Repetitions.


def test_a_repeated_delivery_changes_nothing(database: Database) -> None:
    content = body(said("a"), written_by_manager("b"), said(None, text="c"))
    take(database, received(content))
    before = everything(database)

    (result,) = take(database, received(content, NOW + timedelta(minutes=95)))

    assert (result.saved, result.duplicates, result.to_answer) == (0, 3, [])
    assert everything(database) == before
    assert totals(database) == {"duplicates": 3}


def test_a_repetition_in_the_same_commit_is_known(database: Database) -> None:
    first, second = take(database, received(body(said("a"), said("a"))), received(body(said("a"))))

    assert (first.saved, first.duplicates) == (1, 1)
    assert (second.saved, second.duplicates) == (0, 1)
    assert len(rows(database, messages)) == 1


def test_a_repetition_after_a_restart_is_known(database: Database) -> None:
    content = body(said("a"), said(None, text="b"))
    serve(database, content)

    ((result,), announced) = serve(Database(database.url), content, clock=FakeClock(NOW + timedelta(minutes=20)))

    assert (result.saved, result.duplicates, announced) == (0, 2, [])
    assert len(rows(database, messages)) == 2


def test_a_repetition_may_bring_something_new(database: Database) -> None:
    take(database, received(body(said("a"))))

    (result,) = take(database, received(body(said("a"), said("b"))))

    assert (result.saved, result.duplicates) == (1, 1)
    assert texts_by_lead(database) == {5: ["a", "b"]}


def test_without_id_and_time_a_repetition_is_known_also_in_the_next_window(database: Database) -> None:
    content = body(said(None, text="a", created_at=None))
    for minutes in (0, 5, 20, 35, 95):
        take(database, received(content, NOW + timedelta(minutes=minutes)))

    assert len(rows(database, messages)) == 1


def test_without_ids_the_same_words_of_another_chat_are_another_message(database: Database, deliver: Deliver) -> None:
    deliver(said(None, text="hi", chat="one", lead=1), said(None, text="hi", chat="two", lead=2))

    assert texts_by_lead(database) == {1: ["hi"], 2: ["hi"]}


# Leads that become known later.


def test_without_a_lead_a_message_is_stored_and_its_turn_waits(database: Database) -> None:
    (result,) = take(database, received(body(said("a", lead=None))))

    assert texts_by_lead(database) == {None: ["a"]}
    assert [row.state for row in rows(database, turns)] == [State.WAITING]
    assert result.to_answer == []
    assert database.read_now(lambda connection: queue.idle(connection, "me", NOW)) == []


def test_the_lead_of_a_later_message_is_that_of_the_earlier_ones(database: Database, deliver: Deliver) -> None:
    results = deliver(said("a", lead=None), said("b", lead=None), said("c"))

    (turn,) = rows(database, turns)
    assert texts_by_lead(database) == {5: ["a", "b", "c"]}
    assert leads_told(database) == {"a": 5, "b": 5, "c": 5}
    assert {row.turn_id for row in rows(database, messages)} == {turn.id}
    assert to_answer(results) == [turn.id]
    assert len(rows(database, conversations)) == 1


def test_a_managers_message_may_name_the_lead(database: Database, deliver: Deliver) -> None:
    results = deliver(said("a", lead=None), written_by_manager("b"))

    assert texts_by_lead(database) == {5: ["a", "b"]}
    assert [turn.state for turn in rows(database, turns)] == [State.CANCELLED]
    assert to_answer(results) == []


def test_what_waited_joins_the_leads_conversation(database: Database, deliver: Deliver) -> None:
    results = deliver(said("a", chat="old"), said("b", lead=None, chat="new"), said("c", chat="new"))

    of_chat = {row.chat_ref: row.id for row in rows(database, turns)}
    assert texts_by_lead(database) == {5: ["a", "b", "c"]}
    assert leads_told(database) == {"a": 5, "b": 5, "c": 5}
    assert [row.turn_id for row in rows(database, messages)] == [of_chat["old"], of_chat["new"], of_chat["new"]]
    assert set(of_chat.values()) == set(to_answer(results))
    assert len(rows(database, conversations)) == 1


def test_a_joined_turn_counts_from_its_first_message(database: Database) -> None:
    take(database, received(body(said("a", lead=None, chat="new"))))
    take(database, received(body(said("b", chat="old")), NOW + timedelta(seconds=5)))
    take(database, received(body(said("c", chat="new")), NOW + timedelta(seconds=9)))

    moments = {row.chat_ref: (row.first_message_at, row.last_message_at) for row in rows(database, turns)}
    assert moments["new"] == (NOW, NOW + timedelta(seconds=9))


def test_the_waiting_turn_is_handed_to_a_conversation_whose_turn_is_taken(database: Database) -> None:
    take(database, received(body(said("a", chat="old"))))
    in_state(database, 1, State.ANSWERING)
    take(database, received(body(said("b", lead=None, chat="new"))))

    (result,) = take(database, received(body(said("c", chat="new"))))

    assert [row.state for row in rows(database, turns)] == [State.ANSWERING, State.WAITING]
    assert [row.turn_id for row in rows(database, messages)] == [1, 2, 2]
    assert result.to_answer == [2]


def test_several_chats_may_wait_for_the_same_lead(database: Database, deliver: Deliver) -> None:
    deliver(
        said("a", lead=None, chat="one"),
        said("b", lead=None, chat="two"),
        said("c", lead=None, chat="three"),
        said("d", chat="two"),
        said("e", chat="one"),
        said("f", chat="three"),
    )

    assert texts_by_lead(database) == {5: ["a", "b", "c", "d", "e", "f"]}
    assert set(leads_told(database).values()) == {5}
    chat_of = {row.id: row.chat_ref for row in rows(database, turns)}
    asked = {row.content: chat_of[row.turn_id] for row in rows(database, messages)}
    assert asked == {"a": "one", "b": "two", "c": "three", "d": "two", "e": "one", "f": "three"}


def test_what_waited_joins_a_conversation_that_is_made_in_the_same_commit(database: Database) -> None:
    take(database, received(body(said("a", lead=None, chat="new", contact_id=8, author=None))))
    take(database, received(body(said("b", chat="old"))), received(body(said("c", lead=5, chat="new"))))

    (conversation,) = rows(database, conversations)
    assert texts_by_lead(database) == {5: ["a", "b", "c"]}
    assert leads_told(database) == {"a": 5, "b": 5, "c": 5}
    assert {row.id: row.amocrm_contact_id for row in rows(database, clients)}[conversation.client_id] == 7


def test_what_waited_takes_its_place_in_time(database: Database, deliver: Deliver) -> None:
    deliver(
        said("c", lead=None, chat="new", created_at=SENT_AT + 3),
        said("a", chat="old", created_at=SENT_AT + 1),
        said("d", chat="new", created_at=SENT_AT + 4),
        said("b", chat="old", created_at=SENT_AT + 2),
    )

    assert texts_by_lead(database) == {5: ["a", "b", "c", "d"]}


def test_different_chats_wait_apart(database: Database, deliver: Deliver) -> None:
    deliver(said("a", lead=None, chat="one"), said("b", lead=None, chat="two"), said("c", chat="one"))

    assert texts_by_lead(database) == {None: ["b"], 5: ["a", "c"]}


@pytest.mark.parametrize("reference", [{"talk_id": "31"}, {"contact_id": 8}], ids=["talk", "contact"])
def test_a_chat_without_an_id_is_told_by_what_it_has(
    database: Database, deliver: Deliver, reference: dict[str, Any]
) -> None:
    deliver(said("a", lead=None, chat=None, **reference), said("b", chat=None, **reference))

    assert texts_by_lead(database) == {5: ["a", "b"]}


def test_a_chat_that_has_a_lead_keeps_it(database: Database, deliver: Deliver) -> None:
    results = deliver(said("a"), said("b", lead=None))

    assert texts_by_lead(database) == {5: ["a", "b"]}
    assert leads_told(database) == {"a": 5, "b": 5}
    assert to_answer(results) == [1]


# Chats that move.


def test_a_chat_may_move_to_another_lead(database: Database, deliver: Deliver) -> None:
    results = deliver(said("a", lead=5), said("b", lead=6), said("c", lead=None))

    assert texts_by_lead(database) == {5: ["a"], 6: ["b", "c"]}
    assert sorted(to_answer(results)) == [1, 2]


def test_a_chat_may_move_back(database: Database, deliver: Deliver) -> None:
    deliver(said("a", lead=5), said("b", lead=6), said("c", lead=5), said("d", lead=None))

    assert texts_by_lead(database) == {5: ["a", "c", "d"], 6: ["b"]}


def test_a_chat_that_moves_leaves_the_others_of_its_lead_behind(database: Database, deliver: Deliver) -> None:
    deliver(said("a", lead=5, chat="one"), said("b", lead=5, chat="two"), said("c", lead=6, chat="one"))
    take(database, received(body(said("d", lead=None, chat="two"))))

    assert texts_by_lead(database) == {5: ["a", "b", "d"], 6: ["c"]}


def test_an_older_chat_of_a_deal_goes_on_there(database: Database, deliver: Deliver) -> None:
    results = deliver(said("a", chat="one"), said("b", chat="two"), said("c", lead=None, chat="one"))

    assert texts_by_lead(database) == {5: ["a", "b", "c"]}
    assert leads_told(database) == {"a": 5, "b": 5, "c": 5}
    assert to_answer(results) == [1, 2]  # each chat has its own turn


def test_an_older_chat_that_moves_is_not_found_where_it_was(database: Database, deliver: Deliver) -> None:
    deliver(
        said("a", lead=5, chat="one"),
        said("b", lead=5, chat="two"),
        said("c", lead=6, chat="one"),
        said("d", lead=6, chat="three"),
        said("e", lead=None, chat="one"),
        said("f", lead=None, chat="two"),
    )

    assert texts_by_lead(database) == {5: ["a", "b", "f"], 6: ["c", "d", "e"]}


def test_an_older_chat_of_what_waited_is_found_where_it_went(database: Database, deliver: Deliver) -> None:
    deliver(
        said("a", chat="old"),
        said("b", lead=None, chat="new"),
        said("c", chat="new"),
        said("d", chat="old"),
        said("e", lead=None, chat="new"),
    )

    assert texts_by_lead(database) == {5: ["a", "b", "c", "d", "e"]}


def test_a_chat_is_written_down_when_it_moves_and_not_with_every_message(database: Database) -> None:
    written: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if "chats" in statement and not statement.startswith("SELECT"):
            written.append(statement)

    sa.event.listen(database.writes, "before_cursor_execute", note)
    take(database, received(body(*(said(f"a{number}", chat=f"chat {number % 7}") for number in range(50)))))
    assert len(written) == 1
    take(database, received(body(*(said(f"b{number}", chat=f"chat {number % 7}") for number in range(50)))))
    assert len(written) == 1


def test_a_conversation_names_the_chat_that_wrote_last(database: Database, deliver: Deliver) -> None:
    deliver(said("a", chat="one"), said("b", chat="two"), said("c", lead=6, chat="two"), said("d", chat="one"))
    assert [row.chat_ref for row in rows(database, conversations)] == ["one", "two"]

    deliver(said("e", lead=6, chat="one"), said("f", lead=6, chat="two"), said("g", lead=None, chat="one"))
    assert [row.chat_ref for row in rows(database, conversations)] == [None, "one"]


def test_messages_in_known_conversations_take_few_statements_and_touch_few_indexes(database: Database) -> None:
    take(database, *(received(body(said(f"a{n}", lead=n, chat=f"{n}", contact_id=n))) for n in range(1, 31)))
    written: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        written.append(statement)

    sa.event.listen(database.writes, "before_cursor_execute", note)
    take(database, *(received(body(said(f"b{n}", lead=n, chat=f"{n}", contact_id=n))) for n in range(1, 31)))

    assert len([one for one in written if not one.startswith("BEGIN")]) <= 8
    assert not any("SET chat_ref" in one for one in written)


def test_a_late_reply_in_the_former_lead_does_not_move_the_chat_back(database: Database) -> None:
    take(database, received(body(said("a", lead=5))))
    take(database, received(body(said("b", lead=6)), NOW + timedelta(seconds=1)))
    with database.writes.begin() as connection:
        former = conversations.c.amocrm_lead_id == 5
        connection.execute(conversations.update().where(former).values(last_activity=NOW + timedelta(seconds=2)))

    take(database, received(body(said("c", lead=None)), NOW + timedelta(seconds=3)))

    assert texts_by_lead(database) == {5: ["a"], 6: ["b", "c"]}


def test_messages_of_one_moment_leave_the_chat_at_the_last_lead(database: Database) -> None:
    take(database, received(body(said("a", lead=5), said("b", lead=6), said("c", lead=5))))
    take(database, received(body(said("d", lead=None))))

    assert texts_by_lead(database) == {5: ["a", "c", "d"], 6: ["b"]}


def test_of_two_conversations_of_a_chat_the_last_active_one_goes_on(database: Database) -> None:
    take(database, received(body(said("a", lead=5))), received(body(said("b", lead=6, chat="other"))))
    with database.writes.begin() as connection:
        connection.execute(conversations.update().values(chat_ref="chat"))
        connection.execute(chats.delete())  # a process of an older version does not know them
        first = conversations.c.amocrm_lead_id == 5
        connection.execute(conversations.update().where(first).values(last_activity=NOW + timedelta(seconds=1)))

    take(database, received(body(said("c", lead=None))))

    assert texts_by_lead(database) == {5: ["a", "c"], 6: ["b"]}


def test_a_completed_conversation_is_not_continued(database: Database) -> None:
    take(database, received(body(said("a"))))
    with database.writes.begin() as connection:
        connection.execute(conversations.update().values(status="completed"))

    take(database, received(body(said("b"))))

    assert [row.status for row in rows(database, conversations)] == ["completed", "active"]
    assert texts_by_lead(database) == {5: ["a", "b"]}


# Clients.


def test_a_client_of_two_leads_is_one(database: Database, deliver: Deliver) -> None:
    deliver(said("a", lead=5), said("b", lead=6))

    (client,) = rows(database, clients)
    assert {row.client_id for row in rows(database, conversations)} == {client.id}


def test_a_contact_may_become_known_later(database: Database, deliver: Deliver) -> None:
    deliver(said("a", contact_id=None, author={"type": "external"}), said("b"))

    (client,) = rows(database, clients)
    assert (client.amocrm_contact_id, client.name) == (7, "Client 1")


def test_a_name_once_known_stays(database: Database, deliver: Deliver) -> None:
    deliver(said("a"), said("b", author={"type": "external", "name": "Client 2"}), said("c", author=None))

    assert [row.name for row in rows(database, clients)] == ["Client 1"]


def test_another_contact_takes_the_conversation_over(database: Database, deliver: Deliver) -> None:
    deliver(said("a"), said("b", contact_id=8, author={"type": "external", "name": "Client 2"}))

    (conversation,) = rows(database, conversations)
    assert {row.id: row.name for row in rows(database, clients)}[conversation.client_id] == "Client 2"
    assert [row.amocrm_contact_id for row in rows(database, messages)] == [7, 8]


def test_a_contact_known_elsewhere_is_not_made_twice(database: Database, deliver: Deliver) -> None:
    deliver(
        said("a", lead=5, chat="one"), said("b", lead=6, chat="two", contact_id=None), said("c", lead=6, chat="two")
    )

    assert [row.amocrm_contact_id for row in rows(database, clients) if row.amocrm_contact_id] == [7]
    assert len({row.client_id for row in rows(database, conversations)}) == 1


# What is not a message.


def test_what_cannot_be_understood_is_kept_as_it_came(database: Database) -> None:
    (result,) = take(database, received(b"\x00\xff not a form"))

    (kept,) = rows(database, quarantine)
    assert (kept.body, kept.received_at) == (b"\x00\xff not a form", NOW)
    assert "is not known" in kept.reason
    assert (result.saved, result.duplicates) == (0, 0)
    assert totals(database) == {"quarantined": 1}


def test_messages_beside_a_problem_are_stored_and_the_whole_body_is_kept(database: Database) -> None:
    content = body(said("a"), {"id": "nowhere", "author": {}})
    take(database, received(content))

    assert texts_by_lead(database) == {5: ["a"]}
    assert [row.body for row in rows(database, quarantine)] == [content]


def test_other_events_are_counted_and_leave_nothing_else(database: Database) -> None:
    noise = build({"leads": {"update": [{"id": 1}, {"id": 2}]}, "talk": {"add": [{"talk_id": 1}]}})
    take(database, received(noise), received(noise))

    assert totals(database) == {"event.leads.update": 4, "event.talk.add": 2}
    assert not any(everything(database).values())
    assert rows(database, quarantine) == []


def test_a_body_that_was_not_read_to_its_end_is_set_aside(database: Database) -> None:
    async def run() -> None:
        database.start()
        await Inbox(database, FakeClock(NOW), lambda turn_ids: None).quarantine(b"message[add]", "too large")
        await database.writer.stop()

    asyncio.run(run())

    assert [(row.body, row.reason) for row in rows(database, quarantine)] == [(b"message[add]", "too large")]


# Many at once.


def test_deliveries_at_once_are_each_stored_once(database: Database) -> None:
    bodies = [
        body(said(f"{lead}-{number}", lead=lead, chat=f"chat-{lead}")) for lead in (1, 2, 3) for number in range(40)
    ]

    results, announced = serve(database, *bodies, *bodies)

    assert sum(result.saved for result in results) == 120
    assert sum(result.duplicates for result in results) == 120
    assert {lead: len(texts) for lead, texts in texts_by_lead(database).items()} == {1: 40, 2: 40, 3: 40}
    assert sorted(announced) == [row.id for row in rows(database, turns)]
    assert len(announced) == 3


def test_a_turn_is_announced_when_it_is_committed(database: Database) -> None:
    announced: list[int] = []
    committed: list[int] = []

    async def run() -> None:
        def announce(turn_ids: Sequence[int]) -> None:
            announced.extend(turn_ids)
            committed.extend(database.read_now(lambda connection: queue.idle(connection, "me", NOW)))

        database.start()
        await Inbox(database, FakeClock(NOW), announce).receive(body(said("a")))
        await database.writer.stop()

    asyncio.run(run())

    assert announced == committed == [1]


def test_no_statement_grows_with_the_number_of_messages(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "MOST_AT_ONCE", 10)
    values: list[int] = []

    @sa.event.listens_for(database.writes, "before_cursor_execute")
    def count(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
        if statement.startswith("SELECT"):
            values.append(len(parameters))

    entries = [said(f"{n}", lead=n, chat=f"{n}", contact_id=n) for n in range(1, 101)]
    (result,) = take(database, received(body(*entries)))

    assert max(values) <= 2 * 10 + 1
    assert result.saved == 100
    assert sorted(result.to_answer) == [row.id for row in rows(database, turns)]
    assert texts_by_lead(database) == {n: [f"{n}"] for n in range(1, 101)}


@st.composite
def talks(draw: st.DrawFn) -> tuple[list[list[Received]], dict[str, int | None]]:
    """Messages of two chats that move among two leads each, cut into commits; and the lead that each belongs to."""
    deliveries: list[Received] = []
    belongs: dict[str, int | None] = {}
    current: dict[str, int | None] = {}
    for number in range(draw(st.integers(1, 12))):
        chat = draw(st.sampled_from(["one", "two"]))
        lead = draw(st.sampled_from({"one": [None, 1, 2], "two": [None, 3, 4]}[chat]))
        contact = draw(st.sampled_from([None, 7, 8]))
        writes = draw(st.sampled_from([said, written_by_manager]))
        id_ = f"{chat}-{number}"
        content = body(writes(id_, lead=lead, chat=chat, contact_id=contact))
        deliveries.append(received(content, NOW + timedelta(seconds=number)))
        if lead and current.get(chat) is None:
            belongs |= {known: lead for known in belongs if known.startswith(chat)}
        current[chat] = lead or current.get(chat)
        belongs[id_] = current[chat]
    cuts = draw(st.lists(st.booleans(), min_size=len(deliveries), max_size=len(deliveries)))
    commits: list[list[Received]] = []
    for delivery, cut in zip(deliveries, cuts, strict=True):
        if cut or not commits:
            commits.append([])
        commits[-1].append(delivery)
    return commits, belongs


@given(talks())
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_result_does_not_depend_on_what_shares_a_commit(
    database: Database, talk: tuple[list[list[Received]], dict[str, int | None]]
) -> None:
    commits, belongs = talk
    with database.writes.begin() as connection:
        for table in (messages, turns, conversations, clients):
            connection.execute(table.delete())

    announced = {turn for commit in commits for result in take(database, *commit) for turn in result.to_answer}

    assert leads_told(database) == belongs
    by_conversation = {row.id: row.amocrm_lead_id for row in rows(database, conversations)}
    assert {row.content: by_conversation[row.conversation_id] for row in rows(database, messages)} == belongs
    home = {row.id: row.conversation_id for row in rows(database, turns)}
    for row in rows(database, messages):
        assert (row.turn_id is None) == (row.sender_type == "manager")
        assert row.turn_id is None or home[row.turn_id] == row.conversation_id
    waiting = {row.id for row in rows(database, turns) if row.state == State.WAITING}
    assert {turn for turn in waiting if by_conversation[home[turn]]} <= announced


# When it cannot be stored at once.


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


def blocked(database: Database) -> bool:
    """Whether the writer waits for another connection."""
    if database.is_sqlite:
        return database.writer.waiting == 0  # it has taken the job, and SQLite has one lock for all
    waits = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    return bool(database.read_now(lambda connection: connection.scalar(waits)))


@pytest.mark.parametrize(("theirs", "duplicates"), [("a", 1), ("b", 0)], ids=["the same", "another"])
def test_what_another_process_stores_at_the_same_time_is_found(
    database: Database, theirs: str, duplicates: int
) -> None:
    other = Database(database.url)

    async def run() -> Stored:
        taking = Inbox(database, FakeClock(NOW), lambda turn_ids: None)
        database.start()
        with other.writes.begin() as connection:
            store(connection, [received(body(said(theirs)))])
            ours = asyncio.create_task(taking.receive(body(said("a"))))
            await until(lambda: blocked(database))
        stored = await ours
        await database.writer.stop()
        return stored

    stored = asyncio.run(run())
    other.close()

    assert (stored.saved, stored.duplicates) == (1 - duplicates, duplicates)
    assert texts_by_lead(database) == {5: list(dict.fromkeys([theirs, "a"]))}
    assert len(rows(database, clients)) == len(rows(database, turns)) == 1


def test_two_processes_that_see_the_same_chats_for_the_first_time_agree(database: Database) -> None:
    take(database, received(body(said("known", chat="main"))))
    refs = [f"chat {number}" for number in range(20)]

    def process(name: str, order: Sequence[str]) -> list[Any]:
        own = Database(database.url)
        bodies = [body(said(f"{name} {ref}", chat=ref)) for ref in order]
        bodies += [body(said(f"{name} {ref} later", chat=ref, lead=None)) for ref in order]
        results, _announced = serve(own, *bodies)
        own.close()
        return results

    with ThreadPoolExecutor(2) as threads:
        ended = list(threads.map(process, ("a", "b"), (refs, refs[::-1])))

    assert [stored.saved for those in ended for stored in those] == [1] * 80
    assert len(texts_by_lead(database)[5]) == 81
    assert {(row.chat_ref, row.conversation_id) for row in rows(database, chats)} == {
        (ref, 1) for ref in [*refs, "main"]
    }


def refuse(connection: Connection, text: str, sqlstate: str = "P0001") -> None:
    """Let the database refuse messages with this text."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(
            f"CREATE TRIGGER refuse BEFORE INSERT ON messages WHEN NEW.content = '{text}' "
            "BEGIN SELECT RAISE(FAIL, 'refused'); END"
        )
        return
    connection.exec_driver_sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$BEGIN RAISE 'refused' USING ERRCODE = '{sqlstate}', DETAIL = NEW.content; END$$"
    )
    connection.exec_driver_sql(
        "CREATE TRIGGER refuse BEFORE INSERT ON messages FOR EACH ROW "
        f"WHEN (NEW.content = '{text}') EXECUTE FUNCTION refuse()"
    )


def test_a_delivery_that_the_database_refuses_is_sent_again_and_harms_no_other(database: Database) -> None:
    with database.writes.begin() as connection:
        refuse(connection, "bad")

    (first, bad, last), announced = serve(
        database,
        body(said("a", lead=1, chat="one")),
        body(said("good", lead=2, chat="two"), said("bad", lead=2, chat="two")),
        body(said("c", lead=3, chat="three")),
    )

    assert isinstance(bad, StorageError)
    assert "bad" not in str(bad)
    assert (first.saved, last.saved) == (1, 1)
    assert texts_by_lead(database) == {1: ["a"], 3: ["c"]}
    assert len(rows(database, conversations)) == len(announced) == 2


def test_a_delivery_that_we_cannot_store_is_kept_in_quarantine(database: Database) -> None:
    take(database, received(body(said("a", lead=None))))
    with database.writes.begin() as connection:
        connection.execute(messages.update().values(metadata=["changed", "by", "hand"]))

    (result, other), _announced = serve(database, body(said("b")), body(said("c", lead=6, chat="other")))

    assert (result.saved, other.saved) == (0, 1)
    assert [row.body for row in rows(database, quarantine)] == [body(said("b"))]
    assert texts_by_lead(database) == {None: ["a"], 6: ["c"]}


def test_a_text_that_the_database_cannot_hold_is_kept_in_quarantine_and_out_of_the_log(
    prepared_postgres_url: str,
) -> None:
    database = Database(prepared_postgres_url)
    with database.writes.begin() as connection:
        refuse(connection, "secret words", sqlstate="22000")  # data_exception

    with capture_logs() as log:
        (result,), _announced = serve(database, body(said("secret words")))

    assert result.saved == 0
    assert [row.reason for row in rows(database, quarantine)] == ["cannot be stored: DataError"]
    assert len(log) == 1
    assert "secret words" not in str(log)
    assert log[0]["exc_info"] is False
    database.close()


def test_what_will_be_sent_again_is_not_kept_in_quarantine(prepared_postgres_url: str) -> None:
    database = Database(prepared_postgres_url)
    with database.writes.begin() as connection:
        refuse(connection, "bad", sqlstate="53100")  # disk_full

    (result,), _announced = serve(database, body(said("bad")))

    assert isinstance(result, StorageError)
    assert rows(database, quarantine) == []
    database.close()


def test_what_a_full_disk_refuses_is_not_half_stored(tmp_path: Path) -> None:
    database = Database(put_prepared(tmp_path))
    content = body(*(said(f"{number}", text="long" * 1000) for number in range(100)))
    with database.writes.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 20}")

    (result,), announced = serve(database, content)

    assert isinstance(result, StorageError)
    assert "full" in str(result)
    assert not any(everything(database).values())
    assert announced == []
    database.close()


# What another process does at the same moment; only PostgreSQL has several.


def test_a_message_does_not_join_a_turn_that_is_being_taken_in_hand(prepared_postgres_url: str) -> None:
    mine, theirs = Database(prepared_postgres_url), Database(prepared_postgres_url)
    take(mine, received(body(said("a"))))
    (turn,) = rows(mine, turns)
    with theirs.writes.begin() as connection:
        claimed = in_hand.claimed(connection, turn.id, "them", NOW)

    with ThreadPoolExecutor(1) as pool:
        with theirs.writes.begin() as connection:
            assert queue.take(connection, claimed, "them")
            storing = pool.submit(take, mine, received(body(said("b"))))
            waits = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            wait_for(lambda: mine.read_now(lambda looking: looking.scalar(waits)), "a process that waits for the turn")
        storing.result(10)

    states = {one.id: one.state for one in rows(mine, turns)}
    assert {row.content: states[row.turn_id] for row in rows(mine, messages)} == {"a": "answering", "b": "waiting"}
    mine.close()
    theirs.close()


def test_a_manager_who_writes_as_a_reply_is_committed_waits_without_keeping_it(prepared_postgres_url: str) -> None:
    """Both lock the turn first and the conversation then, so that neither is undone for the other's sake."""
    replying, telling = Database(prepared_postgres_url), Database(prepared_postgres_url)
    take(replying, received(body(said("a"))))
    (turn,) = rows(replying, turns)
    with replying.writes.begin() as connection:
        written = in_hand.written(connection, turn.id, "me", NOW)

    with ThreadPoolExecutor(1) as pool:
        told: list[Future[list[Stored]]] = []

        @sa.event.listens_for(replying.writes, "before_cursor_execute")
        def a_manager_writes(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
            if statement.startswith("UPDATE conversations"):
                told.append(pool.submit(take, telling, received(body(written_by_manager("b")))))
                waits = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
                wait_for(
                    lambda: replying.read_now(lambda looking: looking.scalar(waits)), "a manager's word that waits"
                )

        with replying.writes.begin() as connection:
            connection.exec_driver_sql("SET LOCAL deadlock_timeout = '5ms'")
            assert sending.commit_to_send(connection, written, "me", NOW)
        (stored,) = told[0].result(10)

    assert stored.saved == 1
    replying.close()
    telling.close()


# A database that takes its time.


def test_a_delivery_that_is_not_stored_in_time_is_refused_stored_all_the_same_and_known_when_it_comes_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert IN_TIME < AMOCRM_WAITS

    async def scenario() -> Stored:
        taking = Inbox(database, FakeClock(NOW), lambda turn_ids: None)
        async with held(database):
            monkeypatch.setattr(inbox, "ANSWER_SECONDS", 0.05)
            with pytest.raises(StorageError, match="in time"):
                await taking.receive(body(said("a")))
            monkeypatch.setattr(inbox, "ANSWER_SECONDS", 60)
        return await taking.receive(body(said("a")))

    stored = run(database, scenario)
    assert (stored.saved, stored.duplicates) == (0, 1)
    assert texts_by_lead(database) == {5: ["a"]}
    assert database.read_now(lambda connection: queue.idle(connection, "me", NOW)) == [1]  # the next sweep begins it
