"""The chaos run in its short form: kills and faults throughout, and nothing lost, doubled, out of order or astray."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.amocrm.events import read_delivery
from otvet.conversations.tables import messages
from otvet.intake.inbox import Received, store
from otvet.schema.upgrade import prepare
from otvet.storage.database import Database
from otvet.turns.turn import turns
from tests.chaos import FIRST_LEAD, Judge, Options, Report, Said, run

KILLS = 5
NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)


@pytest.mark.slow
def test_one_process_on_sqlite_is_killed_again_and_again(tmp_path: Path) -> None:
    options = Options("sqlite", messages=300, conversations=40, kill_every=1.5, least_kills=KILLS)
    report = run(options, tmp_path, f"sqlite:///{tmp_path / 'conversations.db'}")
    assert report.kills >= KILLS
    assert report.kept, f"{report}"
    assert mostly_by_manus(report), f"{report}"


@pytest.mark.slow
def test_three_processes_on_postgresql_are_killed_in_turn(tmp_path: Path, postgres_url: str) -> None:
    options = Options("postgresql", messages=300, conversations=40, processes=3, kill_every=1, least_kills=KILLS)
    report = run(options, tmp_path, postgres_url)
    assert report.kills >= KILLS
    assert report.kept, f"{report}"
    assert mostly_by_manus(report), f"{report}"


def mostly_by_manus(report: Report) -> bool:
    """Else its part of the way was hardly gone."""
    replies = {name: int(str(count)) for name, count in report.rows.items() if name.startswith("replies by")}
    return 2 * replies.get("replies by manus", 0) > sum(replies.values())


Notes = list[dict[str, Any]]
Spoil = Callable[[Connection, Notes], object]


def note(id_: int, turn: int) -> dict[str, Any]:
    return {"id": id_, "params": {"text": f"Answer to m{turn}\n\n[otvet:{turn}-0a1b2c3d4e]"}}


def judge(database_url: str, spoil: Spoil, contacts: tuple[int, int] = (1, 1)) -> Report:
    """Two messages of one deal, each with a turn and a note; then something is spoilt. contacts: who wrote them."""
    database = Database(database_url)
    prepare(database, NOW)
    notes = [note(11, 1), note(12, 2)]
    wrote = dict(enumerate(contacts, 1))
    said = [Said(f"m{number}", FIRST_LEAD, "?", False, False, contact) for number, contact in wrote.items()]
    with database.writes.begin() as connection:
        for number, one in enumerate(said, 1):
            body = one.send()
            one.acknowledged_at = one.sent_at
            one.sent_at -= 1 / number
            store(connection, [Received(body, read_delivery(body, NOW), NOW)])
            answer = {"state": "sent", "note_id": 10 + number, "reply": f"Answer to m{number}", "responder": "manus"}
            connection.execute(turns.update().where(turns.c.id == number).values(**answer))
        said[0].acknowledged_at = said[1].sent_at - 0.1
        spoil(connection, notes)
    database.close()
    amo = SimpleNamespace(notes=lambda _: notes, tasks=lambda _: [])
    play = SimpleNamespace(options=Options(), amo=amo, said=said, leads=[FIRST_LEAD], senders={})
    play.kills, play.faults, play.seconds = 0, Counter(), 0.0
    return Judge(play, database_url).report()  # type: ignore[arg-type]


def second_turn(**values: Any) -> Spoil:
    return lambda connection, _: connection.execute(turns.update().where(turns.c.id == 2).values(**values))


def test_the_judge_finds_nothing_where_nothing_is_wrong(database_url: str) -> None:
    assert judge(database_url, lambda *_: None).kept


@pytest.mark.parametrize(("state", "reason"), [("handed", "paused"), ("cancelled", "manager")])
@pytest.mark.parametrize(("before", "kept"), [(timedelta(seconds=1), True), (timedelta(minutes=1), False)])
def test_the_judge_lets_a_manager_have_a_conversation_for_the_pause(
    database_url: str, state: str, reason: str, before: timedelta, kept: bool
) -> None:
    def takes_over(connection: Connection, notes: Notes) -> None:
        told = connection.execute(sa.select(messages).order_by(messages.c.id.desc()).limit(1)).one()._asdict()
        of_manager = {"sender_type": "manager", "amocrm_message_id": "m3", "content": "m3 I am here", "turn_id": None}
        wrote_at = {"id": 99, "timestamp": told["timestamp"] - before}
        connection.execute(messages.insert(), {**told, **of_manager, **wrote_at})
        second_turn(state=state, reason=reason, closed_at=told["timestamp"])(connection, notes)
        notes.pop()

    assert judge(database_url, takes_over).kept == kept


SPOILT: dict[str, tuple[str, Spoil]] = {
    "a message that is gone": ("lost", lambda connection, _: connection.execute(messages.delete())),
    "a note that is not there": ("lost", lambda _, notes: notes.pop()),
    "a note in place of another": ("lost", second_turn(note_id=13)),
    "an open turn": ("lost", second_turn(state="waiting")),
    "a turn cancelled by nobody": ("lost", second_turn(state="cancelled", reason="manager", closed_at=NOW)),
    "a turn left to a person by nobody": ("lost", second_turn(state="handed", reason="paused", closed_at=NOW)),
    "a turn that failed": ("lost", second_turn(state="failed", reason="?", closed_at=NOW)),
    "a reply to something else": ("lost", second_turn(reply="Answer to m1")),
    "a second note": ("doubled", lambda _, notes: notes.append(note(13, 2))),
    "a note of a turn left to a person": ("doubled", second_turn(state="handed")),
    "a note of no turn": ("doubled", lambda _, notes: notes.append({"id": 13, "params": {"text": "?"}})),
    "answers the other way round": ("disordered", lambda _, notes: notes[0].update(id=13)),
}


@pytest.mark.parametrize(("verdict", "spoil"), SPOILT.values(), ids=SPOILT)
def test_the_judge_finds(database_url: str, verdict: str, spoil: Spoil) -> None:
    report = judge(database_url, spoil)
    assert not report.kept
    assert getattr(report, verdict), f"{report}"


def name_the_first(_: Connection, notes: Notes) -> None:
    notes[1]["params"]["text"] = f"Answer to m1 and {notes[1]['params']['text']}"


ASTRAY: dict[str, Spoil] = {
    "a question in a turn of another chat": second_turn(chat_ref=f"chat-{FIRST_LEAD}-1"),
    "a reply that tells what was said in another chat": name_the_first,
}


@pytest.mark.parametrize("spoil", ASTRAY.values(), ids=ASTRAY)
def test_the_judge_finds_what_came_into_the_wrong_chat(database_url: str, spoil: Spoil) -> None:
    report = judge(database_url, spoil, contacts=(1, 2))
    assert report.astray
    assert [*report.lost, *report.doubled, *report.disordered] == []
    assert not report.kept


def test_to_the_judge_what_one_chat_says_again_is_no_others(database_url: str) -> None:
    assert judge(database_url, name_the_first).kept


def test_to_the_judge_two_chats_have_no_order(database_url: str) -> None:
    assert judge(database_url, lambda _, notes: notes[0].update(id=13), contacts=(1, 2)).disordered == []
