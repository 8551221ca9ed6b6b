"""A turn brought to a state by the steps that the service takes, for tests that begin in the middle."""

from datetime import datetime

from sqlalchemy.engine import Connection

from otvet.responders.base import Reply
from otvet.turns import drafts, queue, sending
from otvet.turns.turn import Turn, get

WRITTEN_ALREADY = Reply("Written already.", "template")


def claimed(connection: Connection, turn_id: int, me: str, now: datetime) -> Turn:
    turn = queue.claim(connection, turn_id, me, now)
    assert turn is not None
    return turn


def taken(connection: Connection, turn_id: int, me: str, now: datetime) -> Turn:
    assert queue.take(connection, claimed(connection, turn_id, me, now), me)
    return _now(connection, turn_id)


def written(connection: Connection, turn_id: int, me: str, now: datetime, reply: Reply = WRITTEN_ALREADY) -> Turn:
    assert drafts.write_down(connection, taken(connection, turn_id, me, now), me, reply)
    return _now(connection, turn_id)


def being_sent(connection: Connection, turn_id: int, me: str, now: datetime) -> Turn:
    turn = sending.commit_to_send(connection, written(connection, turn_id, me, now), me, now)
    assert turn is not None
    return turn


def kept(connection: Connection, turn_id: int, me: str, now: datetime) -> None:
    assert sending.keep(connection, written(connection, turn_id, me, now), me, now)


def _now(connection: Connection, turn_id: int) -> Turn:
    turn = get(connection, turn_id)
    assert turn is not None
    return turn
