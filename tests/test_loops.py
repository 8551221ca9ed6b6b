"""Two auto-repliers: a chat whose client seems to be a bot is left to staff."""

from dataclasses import replace

from otvet.answering.answering import Answering
from otvet.storage.database import Database
from otvet.turns import staff
from otvet.turns import turn as turn_
from otvet.turns.turn import Reason, State
from tests.test_answer import LEAD, Stage

AWAY = "Thank you! We are away, and will answer in the morning."


def talk(stage: Stage, *texts: str, pause: float = 60) -> list[str]:
    """How the questions end that a client puts one after the other."""
    ended: list[str] = []

    async def play(answering: Answering) -> None:
        for text in texts:
            stage.clock.advance(pause)
            ended.extend([await answering.answer(turn) for turn in stage.client_writes(text)])

    stage.run(play)
    return ended


def left(stage: Stage) -> list[str | None]:
    listed = stage.database.read_now(lambda connection: turn_.listed(connection, (State.HANDED,), 10))
    return [turn.reason for turn in listed]


def test_the_same_words_for_the_third_time_are_left_to_staff(database: Database) -> None:
    stage = Stage(database)
    assert talk(stage, AWAY, AWAY, AWAY) == [State.KEPT, State.KEPT, State.HANDED]
    assert left(stage) == [Reason.REPEATED]


def test_other_words_between_them_escapes_and_letters_do_not_hide_them(database: Database) -> None:
    stage = Stage(database)
    texts = (AWAY, "Hello?", AWAY.upper(), "Who is there?", AWAY.replace(" ", "  "))
    assert talk(stage, *texts)[-1] == State.HANDED
    assert left(stage) == [Reason.REPEATED]


def test_the_chat_stays_with_staff_until_a_manager_writes(database: Database) -> None:
    stage = Stage(database)
    stage.pause_minutes = 1
    talk(stage, AWAY, AWAY, AWAY)
    assert talk(stage, "And another text of this bot") == ["not ours"]  # it has joined the entry
    assert left(stage) == [Reason.REPEATED]
    stage.clock.advance(60)
    stage.manager_writes("I have switched it off.")
    assert left(stage) == []
    assert talk(stage, "So I am a person after all.", pause=120) == [State.KEPT]


def test_a_person_may_say_yes_again_and_again(database: Database) -> None:
    stage = Stage(database)
    assert talk(stage, "Yes", "To Kazan", "Yes", "Two", "Yes") == [State.KEPT] * 5
    assert talk(stage, "Hello?", "Hello?", "Hello?")[-1] == State.HANDED


def test_the_same_words_in_other_chats_and_on_other_days_are_not_counted(database: Database) -> None:
    stage = Stage(database)
    for lead in range(LEAD, LEAD + 3):
        stage.clock.advance(60)
        (turn,) = stage.client_writes("How much is the delivery?", lead)
        assert stage.answer(turn) == State.KEPT
    assert talk(stage, *["How much is the delivery?"] * 3, pause=25 * 3600) == [State.KEPT] * 3


def test_many_replies_within_a_minute_are_left_to_staff(database: Database) -> None:
    stage = Stage(database)
    texts = [f"beep {number}" for number in range(stage.policy.replies_a_minute + 1)]
    assert talk(stage, *texts, pause=1) == [State.KEPT] * (len(texts) - 1) + [State.HANDED]
    assert left(stage) == [Reason.TOO_FAST]


def test_as_many_replies_in_more_time_are_a_talk(database: Database) -> None:
    stage = Stage(database)
    stage.policy = replace(stage.policy, replies_a_minute=3)
    assert talk(stage, "a", "b", "c", "d", "e", pause=20) == [State.KEPT] * 5


def test_what_staff_asked_for_is_answered_all_the_same(database: Database) -> None:
    stage = Stage(database)
    talk(stage, AWAY, AWAY, AWAY)
    (turn,) = database.read_now(lambda connection: turn_.listed(connection, (State.HANDED,), 10))
    with database.writes.begin() as connection:
        assert staff.retry(connection, turn.id, stage.clock.now()) == turn.id
    assert stage.answer(turn.id) == State.KEPT
