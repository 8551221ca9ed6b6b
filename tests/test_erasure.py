"""A client's data erased: nothing of it is left, nothing brings it back, and nobody else's is touched."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from otvet.amocrm.events import read_delivery
from otvet.answering import summaries
from otvet.commands.forget import Who, forget
from otvet.conversations.history import history
from otvet.conversations.tables import chats, clients, conversations, messages
from otvet.deals import known
from otvet.guard.finding import Finding
from otvet.intake.inbox import Received, store
from otvet.intake.quarantine import quarantine
from otvet.responders.manus.api import ManusApi
from otvet.settings.loading import load_settings
from otvet.staff import erasure
from otvet.storage.database import Database
from otvet.storage.engines import metadata
from otvet.turns import attempts, queue, staff
from otvet.turns import turn as turn_
from otvet.turns.turn import NEEDS_STAFF, Reason, State, turns
from otvet.widget import calls as bot_calls
from otvet.widget import told_twice
from otvet.widget.waiting import bot_waits
from tests.clocks import FakeClock
from tests.running import command, otvet, wait_for
from tests.standins.amocrm import amocrm_standin
from tests.standins.manus import ManusStandin, manus_standin
from tests.standins.sender import incoming, outgoing
from tests.test_end_to_end import connected

LEAD, CONTACT = 27754599, 93589657
MARK = "Zanzibar"  # stands in everything that is the client's
PHONE = "+7 900 123-45-67"


class Shop:
    """A database with a client who said much, and another one."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = FakeClock()

    def receive(self, body: bytes) -> Any:
        now = self.clock.now()
        with self.database.writes.begin() as connection:
            (stored,) = store(connection, [Received(body, read_delivery(body, now), now)])
        return stored

    def client_writes(self, text: str, message_id: str, **more: Any) -> Any:
        at = int(self.clock.now().timestamp())
        about = {"author_name": f"Client {MARK}", "created_at": at, "message_id": message_id, **more}
        return self.receive(incoming(text, **about))

    def another_writes(self, text: str, message_id: str, **more: Any) -> Any:
        about = {"lead_id": LEAD + 1, "contact_id": CONTACT + 1, "chat_id": "other", "author_name": "Another", **more}
        return self.client_writes(text, message_id, **about)

    def change(self, statement: Any) -> None:
        with self.database.writes.begin() as connection:
            connection.execute(statement)

    def filled(self) -> "Shop":
        """Everything that may hold a word of the client's holds one."""
        self.client_writes(f"I live in {MARK}", "m-1", attachment={"type": "file", "file_name": f"{MARK}.jpg"})
        self.receive(outgoing(f"Hello {MARK}", message_id="m-2", created_at=1))
        self.client_writes(f"In {MARK} I said", "m-3", lead_id=LEAD + 7, chat_id="second chat")
        self.another_writes("What does a blanket cost?", "m-4")
        self.change(
            turns.update().values(
                state=State.FAILED,
                reply=f"Dear {MARK}",
                responder="manus",
                details={"findings": [["price", MARK]], "task_id": "task-of-details"},
                summary=f"Call {MARK}",
                gap=True,
            )
        )
        self.change(turns.update().where(turns.c.id == 3).values(reply="Dear client", details={}, summary="Call"))
        for turn, conversation in ((1, 1), (2, 2), (3, 3)):
            self.change(
                attempts.attempts.insert().values(
                    turn_id=turn,
                    responder="manus",
                    started_at=self.clock.now(),
                    outcome="replied",
                    facts={"task": f"task-{turn}", "word": MARK if turn < 3 else ""},
                    refused=f"No, {MARK}" if turn < 3 else "kept",
                    findings=[["price", MARK]] if turn < 3 else None,
                )
            )
            thread = f"thread-{turn}#digest"
            self.change(
                attempts.threads.insert().values(conversation_id=conversation, responder="manus", thread=thread)
            )
            here = messages.c.conversation_id == conversation
            first = sa.select(sa.func.min(messages.c.id)).where(here).scalar_subquery()
            self.change(messages.update().where(messages.c.id == first).values(first_version={"x": MARK}))
        mine = conversations.c.id < 3
        values = {"summary": f"{MARK} asked", "deal": {"name": MARK}, "first_version": {"x": MARK}}
        self.change(conversations.update().where(mine).values(**values))
        self.change(clients.update().where(clients.c.id == 1).values(phone=PHONE, email=f"{MARK}@example.com"))
        self.change(clients.update().where(clients.c.id == 1).values(card={"x": MARK}, first_version={"x": MARK}))
        self.change(messages.update().where(messages.c.conversation_id == 3).values(first_version=sa.null()))
        for body in (
            b"x=from+Client%20" + MARK.encode(),
            f"contact={CONTACT}".encode(),
            PHONE.encode(),
            b"of=somebody",
        ):
            self.change(quarantine.insert().values(received_at=self.clock.now(), reason="?", body=body))
        return self

    def erase(self, **who: int) -> erasure.Erased | None:
        with self.database.writes.begin() as connection:
            whose = erasure.find(connection, **who)
            return erasure.erase(connection, whose, self.clock.now()) if whose else None

    def everything(self) -> str:
        def read(connection: sa.Connection) -> str:
            tables = metadata.tables.values()
            return str([(table.name, connection.execute(sa.select(table)).all()) for table in tables])

        return self.database.read_now(read)

    def rows(self, table: sa.Table) -> list[Any]:
        query = sa.select(table).order_by(table.c.id)
        return list(self.database.read_now(lambda connection: connection.execute(query).all()))


@pytest.mark.parametrize("who", [{"lead_id": LEAD}, {"lead_id": LEAD + 7}, {"contact_id": CONTACT}])
def test_nothing_of_the_client_is_left_and_the_others_stay(database: Database, who: Mapping[str, int]) -> None:
    shop = Shop(database).filled()
    before = shop.everything()
    assert MARK in before
    assert PHONE in before
    erased = shop.erase(**who)
    assert erased is not None
    after = shop.everything()
    assert MARK not in after
    assert PHONE not in after
    assert "chat_id" not in str([row for row in shop.rows(messages) if row.message_type == "erased"])
    assert (erased.conversations, erased.messages, erased.quarantined) == (2, 3, 3)
    assert erased.tasks == {"thread-1", "thread-2", "task-1", "task-2", "task-of-details"}
    (of_another,) = [row for row in shop.rows(messages) if row.conversation_id == 3]
    assert of_another.content == "What does a blanket cost?"
    assert shop.rows(turns)[2].reply == "Dear client"
    assert shop.rows(clients)[1].name == "Another"
    assert [row.body for row in shop.rows(quarantine)] == [b"of=somebody"]
    assert [row.amocrm_message_id for row in shop.rows(messages)] == ["m-1", "m-2", "m-3", "m-4"]


def test_a_repeated_webhook_brings_nothing_back(database: Database) -> None:
    shop = Shop(database)
    shop.client_writes(f"I live in {MARK}", "m-1")
    shop.erase(lead_id=LEAD)
    tables = (messages, conversations, clients, turns)
    before = [shop.rows(table) for table in tables]
    stored = shop.client_writes(f"I live in {MARK}", "m-1")
    assert (stored.duplicates, stored.saved, stored.to_answer) == (1, 0, [])
    assert [shop.rows(table) for table in tables] == before


def test_what_was_left_open_is_closed_and_cannot_be_tried_again(database: Database) -> None:
    shop = Shop(database)
    shop.client_writes("hello", "m-1")
    shop.erase(lead_id=LEAD)
    (turn,) = shop.rows(turns)
    assert (turn.state, turn.reason) == (State.CANCELLED, Reason.ERASED)
    with database.writes.begin() as connection:
        assert not queue.claim(connection, turn.id, "me", shop.clock.now())
        assert staff.retry(connection, turn.id, shop.clock.now()) is None
        assert turn_.listed(connection, NEEDS_STAFF, 9) == []


def test_who_comes_back_begins_anew(database: Database) -> None:
    shop = Shop(database)
    shop.client_writes(f"I live in {MARK}", "m-1")
    shop.erase(contact_id=CONTACT)
    shop.clock.advance(60)
    stored = shop.client_writes("hello again", "m-2", author_name="Somebody")
    (turn,) = stored.to_answer
    told = database.read_now(lambda connection: history(connection, LEAD, turn, 60))
    assert list(told) == []
    row = database.read_now(lambda connection: known.get(connection, 1))
    assert row is not None
    assert known.deal_is_due(row, shop.clock.now(), known.OLD, "")
    assert known.card_is_due(row, shop.clock.now(), "")


def test_without_a_turn_nobody_reads_the_cards_again(database: Database) -> None:
    shop = Shop(database)
    shop.client_writes("hello", "m-1")
    shop.erase(lead_id=LEAD)
    assert database.read_now(lambda connection: known.unread(connection, shop.clock.now(), 9)) == []
    with database.writes.begin() as connection:
        known.changed(connection, [LEAD], [CONTACT], shop.clock.now())
    assert database.read_now(lambda connection: known.unread(connection, shop.clock.now(), 9)) == []


def test_in_the_conversation_of_another_only_what_the_client_said_goes(database: Database) -> None:
    shop = Shop(database)
    shop.client_writes(f"From {MARK}", "m-1", lead_id=LEAD + 1, chat_id="theirs")
    shop.clock.advance(60)
    shop.another_writes("And I?", "m-2")
    shop.change(conversations.update().values(summary=f"{MARK} and another"))
    erased = shop.erase(contact_id=CONTACT)
    assert erased is not None
    assert MARK not in shop.everything()
    assert [row.content for row in shop.rows(messages)] == ["", "And I?"]


def shared_deal(database: Database) -> Shop:
    """The client and another one write in one deal, the other one last; each has a deal of their own besides."""
    shop = Shop(database)
    shop.client_writes(f"Alone in {MARK}", "m-1", lead_id=LEAD + 7, chat_id="mine")
    shop.another_writes("Alone", "m-2", lead_id=LEAD + 8)
    shop.client_writes(f"From {MARK}", "m-3", lead_id=LEAD + 1, chat_id="mine")
    shop.change(turns.update().values(state=State.SENT))
    shop.change(
        messages.insert().values(
            conversation_id=3,
            sender_type="assistant",
            content=f"Dear {MARK}",
            metadata={},
            timestamp=shop.clock.now(),
            turn_id=3,
        )
    )
    shop.clock.advance(60)
    shop.another_writes("And I?", "m-4")
    return shop


@pytest.mark.parametrize("who", [{"contact_id": CONTACT}, {"contact_id": CONTACT + 1}])
def test_of_a_deal_that_two_share_each_loses_their_own_words_only(database: Database, who: Mapping[str, int]) -> None:
    shop = shared_deal(database)
    shop.change(conversations.update().values(summary="of both"))
    whose = shop.database.read_now(lambda connection: erasure.find(connection, **who))
    assert whose is not None
    assert whose.shared == {3}
    shop.erase(**who)
    left = [row.content for row in shop.rows(messages)]
    chats_left = shop.database.read_now(lambda one: one.scalars(sa.select(chats.c.chat_ref)).all())
    if who["contact_id"] == CONTACT:
        assert left == ["", "Alone", "", "", "And I?"]
        assert MARK not in shop.everything()
        assert chats_left == ["other"]
        assert shop.rows(turns)[3].state == State.WAITING
    else:
        assert left == [f"Alone in {MARK}", "", f"From {MARK}", f"Dear {MARK}", ""]
        assert chats_left == ["mine"]
        assert shop.rows(turns)[3].state == State.CANCELLED
    assert shop.rows(conversations)[2].summary is None


def test_of_a_deal_all_who_wrote_there_are_erased_everywhere(database: Database) -> None:
    shop = shared_deal(database)
    whose = shop.database.read_now(lambda connection: erasure.find(connection, lead_id=LEAD + 1))
    assert whose is not None
    assert whose.contacts == {CONTACT, CONTACT + 1}
    shop.erase(lead_id=LEAD + 1)
    assert [row.content for row in shop.rows(messages)] == [""] * 5
    assert {row.state for row in shop.rows(turns)[3:]} == {State.CANCELLED}


def test_a_question_in_which_somebody_else_waits_too_is_answered_all_the_same(database: Database) -> None:
    shop = Shop(database)
    shop.client_writes(f"From {MARK}", "m-1", lead_id=LEAD + 1, chat_id="mine")
    shop.another_writes("And I?", "m-2")
    shop.erase(contact_id=CONTACT)
    assert [row.content for row in shop.rows(messages)] == ["", "And I?"]
    ended = {row.id: (row.state, row.reason) for row in shop.rows(turns)}
    assert list(ended.values()) == [(State.CANCELLED, Reason.ERASED), (State.WAITING, None)]


def test_words_of_a_first_version_in_a_deal_of_two_go_with_the_deals_client(database: Database) -> None:
    shop = Shop(database)
    shop.another_writes("And I?", "m-1")
    shop.client_writes(f"From {MARK}", "m-2", lead_id=LEAD + 1, chat_id="mine")
    of_old = {"conversation_id": 1, "sender_type": "client", "metadata": {}, "timestamp": shop.clock.now()}
    shop.change(messages.insert().values(content=f"Of old in {MARK}", **of_old))
    shop.erase(contact_id=CONTACT)
    assert [row.content for row in shop.rows(messages)] == ["And I?", "", ""]


def test_conversations_without_a_deal_are_not_everybodys(database: Database) -> None:
    shop = Shop(database)
    shop.client_writes("hello", "m-1", lead_id=None)
    shop.another_writes("Without a deal too", "m-2", lead_id=None)
    shop.erase(contact_id=CONTACT)
    assert [row.content for row in shop.rows(messages)] == ["", "Without a deal too"]
    assert shop.erase(contact_id=404) is None
    assert shop.erase(lead_id=404) is None


def test_what_was_being_written_meanwhile_does_not_come_back(database: Database) -> None:
    shop = Shop(database)
    shop.client_writes("hello", "m-1")
    now = shop.clock.now()

    async def play() -> None:
        database.start()
        turn = database.read_now(lambda one: turn_.get(one, 1))
        assert turn is not None
        log = database.read_now(lambda one: attempts.StoredAttempts(one, database, shop.clock, turn, 0))
        due = summaries.Due(1, "", None, database.read_now(lambda one: one.execute(sa.select(messages)).all()))
        row = database.read_now(lambda one: known.get(one, 1))
        assert row is not None
        token = now + known.AFTER_A_FAILURE
        assert await database.write(lambda one: known.claim(one, row, token, deal=True, card=True)) == (True, True)
        await asyncio.to_thread(shop.erase, lead_id=LEAD)
        await log.of("manus").refuse(MARK, [Finding("price", MARK)])
        card = {"name": MARK, "phone": MARK, "email": MARK, "card": {"x": MARK}}
        assert not await database.write(lambda one: summaries.save(one, due, MARK))
        assert not await database.write(lambda one: known.save_deal(one, row, token, {"name": MARK}, now))
        assert not await database.write(lambda one: known.save_contact(one, row, token, card, now))
        late = await database.write(lambda one: known.claim(one, row, token, deal=True, card=True))
        assert late == (False, False)  # whoever had looked before
        await database.writer.stop()

    asyncio.run(play())
    assert MARK not in shop.everything()


def test_what_a_bot_had_told_does_not_swallow_the_next_message(database: Database) -> None:
    shop = Shop(database)
    now = shop.clock.now()
    with database.writes.begin() as connection:
        bot_calls.take(connection, bot_calls.BotCall(LEAD, "https://example.amocrm.ru/1", f"In {MARK}"), now)
    shop.erase(lead_id=LEAD)
    assert [row.chat_ref for row in shop.rows(bot_waits)] == [None]
    voice = incoming("", created_at=int(now.timestamp()), attachment={"type": "voice", "file_name": MARK})
    with database.writes.begin() as connection:
        (stored,) = store(connection, [Received(voice, read_delivery(voice, now), now)], adopt=told_twice.adopt)
    assert (stored.saved, stored.duplicates) == (1, 0)
    first = shop.rows(messages)[0]
    assert (first.message_type, first.metadata) == ("erased", {})


HARMLESS = {
    "search_position.version",
    "chats.chat_ref",  # its rows are deleted
    "clients.card_read_at",
    "conversations.paused_by",
    "conversations.status",
    "closed_gaps.who",
    "closed_gaps.words",  # digests of words
    "counters.name",
    "gates.name",
    "gates.reason",
    "gates.sentence",
    "installation.name",
    "installation.value",
    "instruction_versions.text",  # staff's own words
    "instruction_versions.who",
    "messages.amocrm_message_id",
    "messages.sender_type",
    "notices.matter",  # a hand-off by its number
    "processes.id",
    "quarantine.reason",  # its rows are deleted
    "rate_places.name",
    "spending.responder",
    "threads.responder",
    "threads.thread",  # its rows are deleted
    "tries.outcome",  # a sentence of ours
    "tries.responder",
    "turns.left_because",  # a code
    "turns.model",
    "turns.owner",
    "turns.responder",
    "turns.state",
    "turns.way",
    "chats.paused_by",
    "bot_waits.return_url",  # an address of amoCRM's
    "conversations.mode",
    *(f"consents.{name}" for name in ("base_url", "client_id", "client_secret", "redirect_url", "sentence", "state")),
    *(f"handoffs.{name}" for name in ("closed_by", "refusal")),
    *(f"parts.{name}" for name in ("echo_id", "outside_id", "state")),
    *(f"tokens.{name}" for name in ("access_token", "base_url", "client_id", "name", "redirect_url", "refresh_token")),
    "tokens.refusal",
    *(f"watched.{name}" for name in ("sentence", "state", "subject")),
    *(f"api_tokens.{name}" for name in ("created_by", "name", "scope", "token")),
    *(f"audit.{name}" for name in ("details", "did", "what", "who")),  # deals and questions by their numbers
    "failed_sign_ins.key",
    *(f"invitations.{name}" for name in ("invited_by", "role", "token")),
    *(f"kept_settings.{name}" for name in ("changed_by", "name", "value")),
    *(f"sessions.{name}" for name in ("address", "browser", "csrf", "token")),
    *(f"users.{name}" for name in ("known_as", "name", "password", "role")),
}
ERASED = {
    *(f"clients.{name}" for name in ("name", "phone", "email", "card", "first_version")),
    *(f"conversations.{name}" for name in ("chat_ref", "summary", "deal", "first_version")),
    *(f"messages.{name}" for name in ("content", "message_type", "metadata", "amocrm_chat_id", "amocrm_talk_id")),
    *(f"{table}.chat_ref" for table in ("messages", "turns", "threads", "bot_waits")),
    "messages.first_version",
    "handoffs.chat_ref",
    "parts.text",
    "quarantine.body",
    *(f"ratings.{name}" for name in ("reason", "who")),  # its rows are deleted
    *(f"tries.{name}" for name in ("facts", "refused", "findings")),
    *(f"turns.{name}" for name in ("reply", "details", "reason", "summary")),
}


def test_every_column_that_can_hold_words_was_thought_of() -> None:
    """A new one belongs into one of the two sets, and if it may hold a client's words into erasure.py."""
    wordy = (sa.Text, sa.JSON, sa.LargeBinary)
    found = {
        str(column) for table in metadata.tables.values() for column in table.columns if isinstance(column.type, wordy)
    }
    assert found - HARMLESS - ERASED == set()
    assert ERASED - found == set()


def manus_settings(manus: ManusStandin) -> dict[str, str]:
    with amocrm_standin() as amo:
        settings = connected(amo, manus)
    return {name: value for name, value in settings.items() if "MANUS" in name}


def files_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("conversations*"))


def test_from_the_terminal_the_files_hold_nothing_of_it_and_manus_neither(tmp_path: Path) -> None:
    with manus_standin() as manus:
        manus.answer = lambda _: f"Greetings to {MARK}."
        settings = manus_settings(manus)
        with otvet(tmp_path, **settings) as server:
            for number in range(30):
                server.deliver(incoming(f"{MARK} {number}", message_id=f"m-{number}"))
            wait_for(lambda: server.messages(LEAD, "assistant"), "a reply")
            wait_for(server.settled, "all turns closed")
        assert MARK.encode() in files_of(tmp_path)
        (task,) = manus.tasks

        asked = command(tmp_path, "forget", str(LEAD), **settings)
        assert asked.returncode == 1  # nobody agreed
        no = command(tmp_path, "forget", str(LEAD), typed="maybe\nнет\n", **settings)
        assert (no.returncode, no.stdout.count("(y/n)")) == (1, 2)
        assert "please answer" in no.stdout
        assert MARK.encode() in files_of(tmp_path)
        done = command(tmp_path, "forget", str(LEAD), typed="Да\n", **settings)
        assert done.returncode == 0, done.stderr
        assert "a client was erased" not in done.stdout + done.stderr  # a line of the log
        assert "erased: 3" in done.stdout  # the thirty, and the replies to them
        assert MARK.encode() not in files_of(tmp_path)
        assert manus.deletes == [task]
        assert command(tmp_path, "forget", "404", "--yes", **settings).returncode == 1
        assert command(tmp_path, "forget", "--yes", **settings).returncode == 2
        both = command(tmp_path, "forget", str(LEAD), "--contact", "1", "--yes", **settings)
        assert (both.returncode, "both" in both.stderr) == (2, True)


def test_the_command_says_who_is_erased_and_what_is_out_of_its_reach(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    shared_deal(database)
    speech = {"transcribe_base_url": "https://user:secret@speech.example/v1", "transcribe_model": "whisper-1"}
    settings = load_settings(database_url=database.url, **speech)
    forget(settings, Who(lead_id=LEAD + 1), agreed=True)
    said = capsys.readouterr().out
    assert f"{CONTACT}, {CONTACT + 1}" in said
    assert "(speech.example)" in said
    assert "secret" not in said


def test_over_the_api_with_the_token_only(tmp_path: Path) -> None:
    with manus_standin() as manus:
        manus.answer = lambda _: f"Greetings to {MARK}."
        with otvet(tmp_path, **manus_settings(manus), OTVET_API_TOKEN="the-token") as server:
            headers = {"Authorization": "Bearer the-token"}
            server.deliver(incoming(f"I live in {MARK}"))
            wait_for(lambda: manus.creates, "a question to Manus")
            wait_for(lambda: server.get("/api/stats", headers=headers)["turns_open"] == 0, "the turn closed")
            manus.app.plan(path="/v2/task.delete", status=500)

            def delete(query: str, **more: Any) -> httpx2.Response:
                return httpx2.delete(f"{server.url}/api/clients{query}", trust_env=False, **more)

            assert delete(f"?lead_id={LEAD}").status_code == 401
            assert delete("", headers=headers).status_code == 422
            assert delete("?lead_id=404", headers=headers).status_code == 404
            answer = delete(f"?contact_id={CONTACT}", headers=headers)
            assert answer.status_code == 200
            assert answer.json()["messages"] == 2
            assert answer.json()["tasks_left"] == list(manus.tasks)
            told = server.get(f"/api/conversations/{LEAD}/messages", headers=headers)["messages"]
            assert [one["content"] for one in told] == ["", ""]
            wait_for(lambda: MARK.encode() not in files_of(tmp_path), "files without the client's words")
            assert MARK not in server.log.read_text()


def test_without_a_key_the_tasks_are_named(database: Database) -> None:
    shop = Shop(database).filled()

    async def play(manus: ManusApi | None) -> erasure.Erased | None:
        again = Database(database.url)
        again.start()
        erased = await erasure.forget(again, shop.clock, manus, lead_id=LEAD)
        await again.stop()
        return erased

    erased = asyncio.run(play(None))
    assert erased is not None
    assert "thread-1" in erased.tasks_left
    shop.clock.advance(timedelta(minutes=1).total_seconds())
    erased = asyncio.run(play(None))
    assert erased is not None
    assert erased.tasks_left == []  # what is known once is not known for ever
