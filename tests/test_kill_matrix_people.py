"""The kill matrix where people have a say; the play besides ``test_kill_matrix``, and the same chain of kills.

A run has four deals. In one the client writes on while the reply is being written. In one the client asks for a
person, and writes on. In one a manager writes while the reply is due, and the client writes on. In one replies are
drafts, which a manager approves. A turn may be left to people only where one of them is the cause.
"""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.amocrm.events import read_delivery
from otvet.conversations.conversation import set_mode
from otvet.conversations.tables import DRAFT, conversations
from otvet.delivery.notes import Notes
from otvet.intake.inbox import Received, store
from otvet.turns import sending
from otvet.turns.turn import Reason, State, Writer, turns
from tests import promises
from tests.standins.amocrm import AmoStandin
from tests.standins.sender import incoming, outgoing
from tests.test_kill_matrix import (
    FIRST_LEAD,
    KINDS,
    LEAST_POINTS,
    Chain,
    Deal,
    Run,
    Step,
    databases,
    matrix,
    points_of_today,
    said_in,
    wrongs,
)

pytestmark = pytest.mark.slow

DEALS = 4


class PeopleChain(Chain):
    """The deals of a run are, in their order: interrupted, asking, taken over, drafted."""

    def _settings(self) -> dict[str, str]:
        self._amo.rate = 1000
        self._manus.scenario(*["slow"] * 10_000)  # see _hurry
        return super()._settings() | {"OTVET_AMOCRM_CALLS_A_SECOND": "100"}

    def _new_run(self, number: int) -> Run:
        deals = [Deal(FIRST_LEAD + DEALS * number + which) for which in range(DEALS)]
        interrupted, asking, taken_over, drafted = deals
        self._set_draft_mode(drafted)
        run = Run(number, deals)
        run.steps += [
            self._delivery(interrupted, 1),
            self._delivery(asking, 1, body=_of_client(asking, 1, "Позовите менеджера")),
            self._delivery(taken_over, 1),
            Step("a manager", self._sending(_of_manager(taken_over))),
            self._delivery(drafted, 1),
            self._delivery(interrupted, 2, lambda: self._is_being_written(interrupted)),
            self._delivery(asking, 2, lambda: self._seen(run, asking, State.SENT)),
            self._delivery(taken_over, 2, lambda: self._seen(run, taken_over, State.SENT, State.CANCELLED)),
            Step("approval", lambda: self._approve(drafted), lambda: self._seen(run, drafted, State.DRAFT, State.SENT)),
        ]
        return run

    def _set_draft_mode(self, deal: Deal) -> None:
        """Its conversation is known from an earlier word of a manager."""
        now = datetime.now(UTC)
        body = outgoing("Good day", message_id=f"{deal.lead}-0", lead_id=deal.lead, chat_id=f"chat-{deal.lead}")
        with self._database.writes.begin() as connection:
            store(connection, [Received(body, read_delivery(body, now), now)])
            set_mode(connection, deal.lead, DRAFT)

    def _sending(self, content: bytes) -> Any:
        return lambda: self._post(content)

    def _approve(self, deal: Deal) -> httpx2.Response:
        (turn,) = self._turns(deal)
        url = f"{self._server.url}/api/turns/{turn.id}/approve"
        answer = self._http.post(url, headers={"Authorization": f"Bearer {self._server.token}"})
        # One that was given before a kill holds.
        return answer if answer.status_code != 409 else httpx2.Response(200, request=answer.request)

    def _turns(self, deal: Deal) -> Sequence[Any]:
        query = sa.select(turns).join(conversations).where(conversations.c.amocrm_lead_id == deal.lead)
        return self._database.read_now(lambda connection: connection.execute(query.order_by(turns.c.id)).all())

    def _seen(self, run: Run, deal: Deal, *states: str) -> bool:
        """Whether the deal's newest turn has come to one of these states."""
        self._hurry(run)
        found = self._turns(deal)
        return bool(found) and found[-1].state in states

    def _is_being_written(self, deal: Deal) -> bool:
        """Or was, by somebody else where Manus could not be asked."""
        return any(_title(deal) == task["title"] for task in self._manus.creates) or self._has_reply(deal)

    def _hurry(self, run: Run) -> None:
        """Let Manus come to the end of what it is slow with, but not of what the client is still to interrupt."""
        interrupted = run.deals[0]
        held = _title(interrupted) if len(interrupted.acknowledged) < 2 else None
        for asked, task in zip(self._manus.creates, list(self._manus.tasks.values()), strict=False):
            if asked["title"] != held:
                task.steps = type(task.steps)(step for step in task.steps if step)

    def _at_rest(self, run: Run) -> bool:
        self._hurry(run)
        to_be_told = self._database.read_now(lambda connection: promises.to_be_told(connection, datetime.now(UTC)))
        return super()._at_rest(run) and to_be_told == 0

    def _wrongs(self, connection: Connection, run: Run) -> Iterator[str]:
        interrupted, asking, taken_over, drafted = run.deals
        for deal in run.deals:
            yield from _wrongly_stored(connection, deal)
        yield from wrongs(connection, interrupted, self._amo, self._manus)
        yield from _wrongs_asking(connection, asking, self._amo)
        yield from _wrongs_taken_over(connection, taken_over, self._amo)
        yield from _wrongs_drafted(connection, drafted, self._amo)
        yield from promises.broken(connection, self._amo, [deal.lead for deal in run.deals], datetime.now(UTC))


def _title(deal: Deal) -> str:
    return f"amoCRM {deal.lead}"


def _of_client(deal: Deal, number: int, text: str) -> bytes:
    message = f"{deal.lead}-{number}"
    return incoming(text, message_id=message, lead_id=deal.lead, chat_id=f"chat-{deal.lead}")


def _of_manager(deal: Deal) -> bytes:
    about: dict[str, Any] = {"message_id": f"{deal.lead}-manager", "lead_id": deal.lead, "chat_id": f"chat-{deal.lead}"}
    return outgoing("I will answer this.", created_at=int(time.time()), **about)


def _ended(connection: Connection, deal: Deal) -> Sequence[Any]:
    """The turns of what the client said, in its order."""
    ids = list(dict.fromkeys(row.turn_id for row in said_in(connection, deal)))
    return connection.execute(sa.select(turns).where(turns.c.id.in_(ids)).order_by(turns.c.id)).all()


def _wrongly_stored(connection: Connection, deal: Deal) -> Iterator[str]:
    said = [row.amocrm_message_id for row in said_in(connection, deal)]
    if said != deal.acknowledged:
        yield f"{deal.acknowledged} were acknowledged, {said} are stored"


def _told(turn: Any) -> tuple[str, str | None]:
    return turn.state, turn.reason


def _notes(connection: Connection, deal: Deal, amo: AmoStandin, *expected: str) -> Iterator[str]:
    """What is wrong with a deal's notes, of which each has one of these markers."""
    texts = [note["params"]["text"] for note in amo.notes(deal.lead)]
    written = [text.rpartition("[")[2].rstrip("]") for text in texts]
    if written != list(expected):
        yield f"deal {deal.lead} has the notes {written} in place of {list(expected)}"


def _installation(connection: Connection) -> str:
    return str(connection.scalar(sa.text("SELECT value FROM installation WHERE name = 'name'")))


def _wrongs_asking(connection: Connection, deal: Deal, amo: AmoStandin) -> Iterator[str]:
    """The client is told, a manager has one task, and what came then is left to the manager."""
    asked, *left = _ended(connection, deal)
    if (asked.state, asked.responder) != (State.SENT, Writer.HUMAN_REQUEST) or [*map(_told, left)] != [
        (State.HANDED, Reason.PAUSED)
    ]:
        yield f"who asked for a person got {[_told(turn) for turn in (asked, *left)]}"
    yield from _notes(connection, deal, amo, sending.marker(_installation(connection), asked.id))
    if len(amo.tasks(deal.lead)) != 1:
        yield f"{len(amo.tasks(deal.lead))} tasks for who asked for a person"


def _wrongs_taken_over(connection: Connection, deal: Deal, amo: AmoStandin) -> Iterator[str]:
    """Either the reply was on its way before the manager wrote, or there is none; then the manager has the deal."""
    first, *left = _ended(connection, deal)
    sent = _told(first) == (State.SENT, None)
    if not (sent or _told(first) == (State.CANCELLED, Reason.MANAGER)) or [*map(_told, left)] != [
        (State.HANDED, Reason.PAUSED)
    ]:
        yield f"where a manager took over: {[_told(turn) for turn in (first, *left)]}"
    yield from _notes(connection, deal, amo, *[sending.marker(_installation(connection), first.id)] * sent)


def _wrongs_drafted(connection: Connection, deal: Deal, amo: AmoStandin) -> Iterator[str]:
    """One draft for the staff, and one reply when it was approved."""
    (turn,) = _ended(connection, deal)
    if not (turn.state == State.SENT and turn.approved):
        yield f"the approved draft ended as {_told(turn)}"
    name = _installation(connection)
    (draft, *_) = [note["params"]["text"] for note in amo.notes(deal.lead)] or [""]
    told = draft if draft == f"Sent to the client: {turn.reply}" else Notes(name).draft_marker(turn)
    yield from _notes(connection, deal, amo, told, sending.marker(name, turn.id))


@pytest.mark.parametrize("kind", KINDS)
def test_a_kill_at_any_point_where_people_have_a_say(tmp_path: Path, request: pytest.FixtureRequest, kind: str) -> None:
    step, points = points_of_today(request, kind, days=4)
    killed, wrong = matrix(tmp_path, databases(kind, tmp_path, request), points, PeopleChain)
    assert wrong == {}
    assert len(killed) >= LEAST_POINTS // step
