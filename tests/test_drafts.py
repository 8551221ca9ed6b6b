"""Drafts for a manager's approval, and an assistant that is switched off."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from otvet.commands import operate, view
from otvet.conversations.conversation import set_mode
from otvet.conversations.tables import messages
from otvet.delivery.delivery import GIVE_UP_AFTER
from otvet.delivery.methods import DeliveryOptions
from otvet.settings.loading import load_settings
from otvet.storage.database import Database
from otvet.turns import drafts, staff
from otvet.turns.policy import Policy
from otvet.turns.turn import Reason, State, turns
from tests.running import command, otvet, wait_for
from tests.standins.amocrm import AmoStandin, amocrm_standin
from tests.standins.sender import incoming
from tests.test_answer import LEAD, Stage, Writer
from tests.test_deliver import BOT, LONG, account, answered, cut_for_instagram, with_salesbot, with_talks
from tests.test_end_to_end import connected


@pytest.fixture
def amo() -> Any:
    with account() as amo:
        yield amo


def drafting(database: Database, amo: AmoStandin, **how: Any) -> Stage:
    stage = Stage(database, Writer("knowledge", "Delivery costs 300 roubles."), amo=amo)
    stage.policy = replace(stage.policy, mode="draft")
    stage.delivery_options = DeliveryOptions(**how)
    return stage


def approve(stage: Stage, turn: int, text: str | None = None) -> str | None:
    with stage.database.writes.begin() as connection:
        return drafts.approve(connection, turn, text)


def texts(amo: AmoStandin) -> list[str]:
    return [note["params"]["text"] for note in amo.notes(LEAD)]


def test_a_draft_is_shown_to_the_staff_and_sent_when_approved(database: Database, amo: AmoStandin) -> None:
    with_bot = with_salesbot(database, amo)
    stage = drafting(
        database, amo, via={"*": "salesbot"}, note=False, salesbot_id=BOT, field_id=with_bot.delivery_options.field_id
    )
    (turn,) = stage.client_writes()
    assert answered(stage, turn) == State.DRAFT
    (note,) = texts(amo)
    assert note.startswith(f"DRAFT of a reply, not sent to the client yet. To send it: otvet approve {turn}")
    assert "Delivery costs 300 roubles." in note
    assert stage.said() == []
    assert amo.chats.seen == []
    assert approve(stage, turn) is None
    assert answered(stage, turn) == State.SENT
    assert amo.chats.told(LEAD) == ["Delivery costs 300 roubles."]
    assert stage.said() == ["Delivery costs 300 roubles."]
    assert approve(stage, turn) == f"the question {turn} has no draft that waits for a manager"


def test_a_changed_text_is_sent_in_place_of_the_draft(database: Database, amo: AmoStandin) -> None:
    stage = drafting(database, amo)
    (turn,) = stage.client_writes()
    answered(stage, turn)
    assert approve(stage, turn, "For you it is free.") is None
    assert answered(stage, turn) == State.SENT
    _draft, note = texts(amo)
    assert note.startswith("For you it is free.\n\n[otvet:")
    assert stage.said() == ["For you it is free."]


@pytest.mark.parametrize("drop", ["before", "after"])
def test_a_crash_while_the_draft_is_written_makes_one_note(database: Database, amo: AmoStandin, drop: str) -> None:
    stage = drafting(database, amo)
    (turn,) = stage.client_writes()
    amo.fault(path="/api/v4/leads/*/notes", method="POST", drop=drop)
    assert answered(stage, turn) == State.DRAFT
    assert len(texts(amo)) == 1


def test_a_draft_waits_although_its_note_cannot_be_written(database: Database, amo: AmoStandin) -> None:
    stage = drafting(database, amo)
    stage.policy = replace(stage.policy, stale=timedelta(days=1000))
    (turn,) = stage.client_writes()
    amo.fault(path="/api/v4/leads/*/notes", method="POST", status=503, times=None)
    assert answered(stage, turn) == State.DRAFT
    assert stage.clock.monotonic() >= GIVE_UP_AFTER.total_seconds()


def test_newer_words_while_a_draft_waits_are_answered_with_the_older_ones(database: Database, amo: AmoStandin) -> None:
    stage = drafting(database, amo)
    (first,) = stage.client_writes("How much?")
    answered(stage, first)
    (second,) = stage.client_writes("And how long?")
    assert approve(stage, first) == f"the client has written on since the draft {first}; a new one is being written"
    stage.responders[0].text = "300 roubles, two days."
    assert answered(stage, second) == State.DRAFT
    assert stage.responders[0].asked[-1].question_text == "How much?\nAnd how long?"
    assert approve(stage, first) == f"the question {first} has no draft that waits for a manager"
    assert approve(stage, second) is None
    assert answered(stage, second) == State.SENT
    assert stage.said() == ["300 roubles, two days."]


def test_words_between_approval_and_sending_lead_to_a_new_draft(database: Database, amo: AmoStandin) -> None:
    stage = drafting(database, amo)
    (turn,) = stage.client_writes("How much?")
    answered(stage, turn)
    assert approve(stage, turn) is None
    stage.client_writes("And how long?")
    stage.responders[0].text = "300 roubles, two days."
    assert answered(stage, turn) == State.DRAFT
    assert stage.said() == []
    assert len(texts(amo)) == 2


def test_a_manager_who_answers_in_the_chat_ends_the_draft(database: Database, amo: AmoStandin) -> None:
    stage = drafting(database, amo)
    (turn,) = stage.client_writes()
    answered(stage, turn)
    stage.clock.advance(5)
    stage.manager_writes("I will tell you.")
    assert stage.turn(turn).state == State.CANCELLED
    assert approve(stage, turn) is not None


def test_a_rejected_draft_is_not_sent(database: Database, amo: AmoStandin) -> None:
    stage = drafting(database, amo)
    (turn,) = stage.client_writes()
    answered(stage, turn)
    with database.writes.begin() as connection:
        assert drafts.reject(connection, turn, stage.clock.now()) is None
        assert drafts.reject(connection, turn, stage.clock.now()) is not None
    assert (stage.turn(turn).state, stage.turn(turn).reason) == (State.CANCELLED, Reason.REJECTED)


def test_a_client_who_asks_for_a_person_need_not_wait_for_the_approval(database: Database, amo: AmoStandin) -> None:
    stage = drafting(database, amo)
    (turn,) = stage.client_writes("Can I talk to a human?")
    assert answered(stage, turn) == State.DRAFT
    stage.tell_staff()
    assert len(amo.tasks(LEAD)) == 1
    assert approve(stage, turn) is None
    assert answered(stage, turn) == State.SENT
    stage.tell_staff()
    assert len(amo.tasks(LEAD)) == 1


def test_a_mode_of_its_own_wins(database: Database, amo: AmoStandin) -> None:
    stage = drafting(database, amo)
    (turn,) = stage.client_writes()
    with database.writes.begin() as connection:
        assert set_mode(connection, LEAD, "auto")
    assert answered(stage, turn) == State.SENT


@pytest.mark.parametrize("everywhere", [True, False])
def test_switched_off_it_stores_and_does_not_write(database: Database, amo: AmoStandin, everywhere: bool) -> None:
    stage = Stage(database, amo=amo)
    stage.policy = Policy(mode="off" if everywhere else "auto")
    (turn,) = stage.client_writes()
    if not everywhere:
        with database.writes.begin() as connection:
            set_mode(connection, LEAD, "off")
    assert answered(stage, turn) == State.CANCELLED
    assert stage.turn(turn).reason == Reason.OFF
    assert stage.responders[0].asked == []
    stored = database.read_now(lambda connection: connection.scalars(sa.select(messages.c.content)).all())
    assert stored == ["Do you have it?"]


def test_switched_off_while_the_reply_is_written_nothing_is_sent(database: Database, amo: AmoStandin) -> None:
    class SwitchedOff(Writer):
        async def reply(self, context: Any, attempt: Any) -> Any:
            with database.writes.begin() as connection:
                set_mode(connection, LEAD, "off")
            return await super().reply(context, attempt)

    stage = Stage(database, SwitchedOff("knowledge", "Too late."), amo=amo)
    (turn,) = stage.client_writes()
    assert answered(stage, turn) == State.CANCELLED
    assert texts(amo) == []


# A mode that is set while the reply is on its way


NOTES, RUN_OF_BOT = "/api/v4/leads/*/notes", f"/api/v4/bots/{BOT}/run"


def switch_while_waiting(stage: Stage, mode: str) -> None:
    """The operator sets it when the first attempt has failed."""

    def switch() -> None:
        with stage.database.writes.begin() as connection:
            sending = turns.select().where(turns.c.state == State.SENDING)
            if connection.execute(sending).first() is not None:
                set_mode(connection, LEAD, mode)

    stage.clock.on_sleep = switch


@pytest.mark.parametrize(("way", "path"), [("note", NOTES), ("salesbot", RUN_OF_BOT)])
def test_switched_off_while_amocrm_is_away_nothing_is_sent_when_it_is_back(
    database: Database, amo: AmoStandin, way: str, path: str
) -> None:
    stage = with_salesbot(database, amo) if way == "salesbot" else Stage(database, amo=amo)
    (turn,) = stage.client_writes()
    amo.fault(path=path, method="POST", status=429)
    switch_while_waiting(stage, "off")
    assert answered(stage, turn) == State.CANCELLED
    assert stage.turn(turn).reason == Reason.OFF
    assert (texts(amo), amo.chats.seen) == ([], [])


@pytest.mark.parametrize(("way", "path"), [("note", NOTES), ("salesbot", RUN_OF_BOT)])
def test_a_reply_that_could_not_be_sent_becomes_a_draft(
    database: Database, amo: AmoStandin, way: str, path: str
) -> None:
    stage = with_salesbot(database, amo, "It is free.") if way == "salesbot" else Stage(database, amo=amo)
    (turn,) = stage.client_writes()
    amo.fault(path=path, method="POST", status=429)
    switch_while_waiting(stage, "draft")
    assert answered(stage, turn) == State.DRAFT
    (note,) = texts(amo)
    assert note.startswith("DRAFT")
    assert (stage.said(), amo.chats.seen) == ([], [])
    assert approve(stage, turn) is None
    assert answered(stage, turn) == State.SENT
    assert stage.said() == [stage.turn(turn).reply]
    assert len(amo.chats.seen) == (way == "salesbot")
    assert len(texts(amo)) == (1 if way == "salesbot" else 2)


@pytest.mark.parametrize(("mode", "parts_told"), [("off", 1), ("draft", 2)])
def test_a_mode_that_is_set_between_two_parts(database: Database, amo: AmoStandin, mode: str, parts_told: int) -> None:
    stage = with_talks(database, amo, LONG)
    turn = cut_for_instagram(stage)

    def switch(_seen: Any) -> None:
        with database.writes.begin() as connection:
            set_mode(connection, LEAD, mode)

    amo.chats.on_seen = switch
    assert answered(stage, turn) == State.SENT
    told = amo.chats.told(LEAD)
    assert len(told) == parts_told  # what the client has begun to read a manager cannot approve any more
    assert stage.said() == [LONG if mode == "draft" else told[0]]
    assert stage.turn(turn).reason == (None if mode == "draft" else Reason.OFF)


@pytest.mark.parametrize("mode", ["off", "draft"])
def test_what_a_person_wants_sent_is_sent_in_any_mode(database: Database, amo: AmoStandin, mode: str) -> None:
    stage = Stage(database, amo=amo)
    (turn,) = stage.client_writes()
    amo.fault(path=NOTES, method="POST", status=422)
    assert answered(stage, turn) == State.FAILED
    with database.writes.begin() as connection:
        set_mode(connection, LEAD, mode)
        assert staff.retry(connection, turn, stage.clock.now()) == turn
    assert answered(stage, turn) == State.SENT


def test_without_amocrm_a_draft_waits_here(database: Database) -> None:
    stage = Stage(database)
    stage.policy = replace(stage.policy, mode="draft")
    (turn,) = stage.client_writes()
    assert answered(stage, turn) == State.DRAFT
    assert approve(stage, turn) is None
    assert answered(stage, turn) == State.KEPT


def test_the_terminal_shows_what_was_asked_and_the_draft(
    database: Database, amo: AmoStandin, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = Stage(database, Writer("knowledge", "[bold]300[/bold] roubles\x1b[31m.\nOr more."), amo=amo)
    stage.policy = replace(stage.policy, mode="draft")
    (turn,) = stage.client_writes("[red]How much[/red]\x1b[31m is it?\n" + "Tell me. " * 50)
    assert answered(stage, turn) == State.DRAFT
    settings = load_settings(database_url=database.url)
    capsys.readouterr()

    operate.show(settings, None)
    listed = capsys.readouterr().out
    view.show(settings, LEAD)
    viewed = capsys.readouterr().out
    for shown in (listed, viewed):
        assert "[bold]300[/bold] roubles\ufffd[31m." in shown
        assert f"otvet approve {turn if shown is viewed else 'NUMBER'}" in shown
        assert "\x1b" not in shown
    assert "client: [red]How much[/red]\ufffd[31m is it? Tell me." in listed
    assert listed.count("Tell me.") < 30
    assert "draft, not sent" in viewed

    with database.writes.begin() as connection:
        drafts.reject(connection, turn, stage.clock.now())
    view.show(settings, LEAD)
    assert "300" not in capsys.readouterr().out


@pytest.mark.slow
def test_drafts_from_the_terminal_and_over_the_api(tmp_path: Path) -> None:
    with amocrm_standin() as amo, otvet(tmp_path, **connected(amo), OTVET_MODE="draft") as server:
        for lead in (LEAD, LEAD + 1, LEAD + 2):
            amo.add_lead(lead)
            server.deliver(incoming("hello", message_id=f"m-{lead}", lead_id=lead, chat_id=f"chat-{lead}"))
        drafts = wait_for(lambda: _three(server.get("/api/turns?state=draft")["turns"]), "three drafts")
        number = {draft["lead_id"]: draft["id"] for draft in drafts}
        assert "draft, waits for approval" in command(tmp_path, "turns").stdout

        path = f"/api/turns/{number[LEAD]}/approve"
        assert server.api("POST", path, json={"text": " "}).status_code == 422
        assert server.api("POST", path, json={"text": "Changed."}).status_code == 200
        wait_for(lambda: len(amo.notes(LEAD)) == 2, "the note of the approved draft")
        assert amo.notes(LEAD)[1]["params"]["text"].startswith("Changed.")
        assert server.api("POST", path).status_code == 409

        approved = command(tmp_path, "approve", str(number[LEAD + 1]))
        assert (approved.returncode, "the client gets it within seconds" in approved.stdout) == (0, True)
        wait_for(lambda: len(amo.notes(LEAD + 1)) == 2, "the note of the other one")
        assert command(tmp_path, "reject", str(number[LEAD + 2])).returncode == 0
        assert command(tmp_path, "reject", str(number[LEAD + 2])).returncode == 1
        assert command(tmp_path, "approve", str(number[LEAD + 2])).returncode == 1

        assert command(tmp_path, "mode", str(LEAD), "off").returncode == 0
        (conversation,) = [one for one in server.get("/api/conversations")["conversations"] if one["lead_id"] == LEAD]
        assert conversation["mode"] == "off"
        assert command(tmp_path, "mode", str(LEAD), "loud").returncode == 2
        changed = server.api("POST", f"/api/conversations/{LEAD}/mode?mode=auto")
        assert changed.json() == {"lead_id": LEAD, "mode": "auto"}
        server.deliver(incoming("hello again", message_id="m-again", chat_id=f"chat-{LEAD}"))
        wait_for(lambda: len(amo.notes(LEAD)) == 3, "a reply without approval")


def _three(found: list[Any]) -> list[Any] | None:
    return found if len(found) == 3 else None
