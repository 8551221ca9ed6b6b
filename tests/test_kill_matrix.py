"""The promise at every point of the work: ``tests/killable.py`` is killed at the 1st, the 2nd, the 3rd point and so on.

A run is four messages in two deals: a burst of two, and a question with another one after its reply. Each run ends
with a kill at its own point; the program is started again, amoCRM delivers again what got no 200, and everything must
come to rest. Then the stand-in amoCRM, the stand-in Manus and the database are asked what became of it. The program
that recovers from one kill is the one that is killed at the next point, as a service that crashes again and again.

The killed processes are copies of one that has loaded the program (see ``forked``), which makes a start cheap enough
for every point. ``test_kill_matrix_people`` has another play.
"""

import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.conversations.tables import conversations, messages
from otvet.storage.database import Database
from otvet.storage.heartbeats import processes
from otvet.storage.rate_limits import places
from otvet.turns import handoffs, sending
from otvet.turns.parts import parts
from otvet.turns.turn import OPEN, State, turns
from tests import killable
from tests.forked import Forked
from tests.running import PATIENCE_SECONDS, Otvet, wait_for
from tests.standins.amocrm import AmoStandin, amocrm_standin
from tests.standins.manus import ManusStandin, digest, manus_standin
from tests.standins.sender import headers, incoming
from tests.test_end_to_end import connected

AT_ONCE = 4  # mostly they wait
FIRST_LEAD = 5000
NEVER = 1_000_000
KINDS = ("sqlite", "postgresql")
EIGHTH = 8
PATIENCE = 2 * PATIENCE_SECONDS  # a call whose connection breaks on a busy machine is waited for a minute
LEAST_POINTS = 40  # fewer, and the points are not where the work is


class Killable(Otvet):
    """A server that kills itself; ``at`` is the point."""

    at = NEVER

    def _begin(self) -> Forked:
        self.log = self.folder / f"killed-at-{self.at}.log"
        self.log.touch()
        environment = {**self.environment, "KILL_AT": str(self.at)}
        return Forked(killable.run, str(self.folder), str(self.log), environment)

    @property
    def dead(self) -> bool:
        """Whether it killed itself; fails if it ended in any other way."""
        assert self._process is not None
        status = self._process.poll()
        assert status in (None, -signal.SIGKILL), f"ended with {status}:\n{self.log.read_text()}"
        return status is not None


@dataclass
class Deal:
    """A conversation that a test has: the ids of its messages, in the order in which they were acknowledged."""

    lead: int
    acknowledged: list[str] = field(default_factory=list)

    def text(self, message: str) -> str:
        return f"The question {message}?"

    def body(self, message: str) -> bytes:
        return incoming(self.text(message), message_id=message, lead_id=self.lead, chat_id=f"chat-{self.lead}")


def open_turns(connection: Connection, leads: Sequence[int]) -> int:
    """How many turns of these deals are not closed."""
    here = conversations.c.amocrm_lead_id.in_(leads)
    query = sa.select(sa.func.count()).select_from(turns).join(conversations).where(here, turns.c.state.in_(OPEN))
    return connection.scalar(query) or 0


def said_in(connection: Connection, deal: Deal) -> Sequence[Any]:
    """What the client said in a deal, in its order, and the turns that it is in."""
    return connection.execute(
        sa.select(messages.c.amocrm_message_id, messages.c.turn_id)
        .join(conversations)
        .where(conversations.c.amocrm_lead_id == deal.lead, messages.c.sender_type == "client")
        .order_by(messages.c.id)
    ).all()


def wrongs(connection: Connection, deal: Deal, amo: AmoStandin, manus: ManusStandin | None = None) -> Iterator[str]:
    """What is wrong with a deal that has come to rest; nothing if the promise was kept."""
    said = said_in(connection, deal)
    if [row.amocrm_message_id for row in said] != deal.acknowledged:
        yield f"{deal.acknowledged} were acknowledged, {said} are stored"
    name = connection.scalar(sa.text("SELECT value FROM installation WHERE name = 'name'"))
    in_order = list(dict.fromkeys(row.turn_id for row in said))
    markers = [sending.marker(name, turn_id) for turn_id in in_order]
    written = [note["params"]["text"].rsplit("[", 1)[1].rstrip("]") for note in amo.notes(deal.lead)]
    if written != markers:
        yield f"the notes are {written}, the turns {markers}"
    states = {row.id: row for row in connection.execute(sa.select(turns).where(turns.c.id.in_(in_order)))}
    if {row.state for row in states.values()} != {State.SENT}:
        yield f"the turns ended as {[row.state for row in states.values()]}"
    replies = connection.scalar(
        sa.select(sa.func.count()).where(messages.c.turn_id.in_(in_order), messages.c.sender_type == "assistant")
    )
    if replies != len(in_order):
        yield f"{replies} replies are stored for {len(in_order)} turns"
    if manus:
        yield from _wrongs_with_manus(deal, said, states, manus)


def _wrongs_with_manus(deal: Deal, said: Sequence[Any], states: dict[int, Any], manus: ManusStandin) -> Iterator[str]:
    created = [one["message"]["content"] for one in manus.creates if one["title"] == f"amoCRM {deal.lead}"]
    sent = [one["message"]["content"] for one in manus.sends if f"The question {deal.lead}-" in str(one)]
    drafts = sum(1 + row.redrafts for row in states.values())
    if len(created) + len(sent) > drafts:
        yield f"Manus was asked {len(created)} + {len(sent)} times for {drafts} drafts"
    asked = {digest(content): content for content in (*created, *sent)}
    for row in said:
        turn = states.get(row.turn_id)
        if turn is not None and turn.responder == "manus" and turn.reply:
            content = asked.get(turn.reply.split()[1].rstrip("."), "")
            if deal.text(row.amocrm_message_id) not in content:
                yield f"the reply to {row.amocrm_message_id} answers {content!r}"


def let_time_pass(connection: Connection) -> None:
    """As if a minute had gone by: the dead process is known to be dead, and Manus may be asked again."""
    connection.execute(processes.delete())
    connection.execute(places.delete())
    a_minute_ago = datetime.now(UTC) - timedelta(minutes=1)
    connection.execute(turns.update().values(sent_attempt_at=a_minute_ago).where(turns.c.sent_attempt_at.is_not(None)))
    made = handoffs.handoffs
    unsure = made.update().where(made.c.sent_attempt_at.is_not(None))
    connection.execute(unsure.values(sent_attempt_at=a_minute_ago, retry_at=None))
    connection.execute(parts.update().values(given_at=a_minute_ago).where(parts.c.given_at.is_not(None)))


def _at_once() -> bool:
    return True


@dataclass
class Step:
    """What happens from outside as soon as it may: a request to the service. ``done``: it got its 200."""

    name: str
    ask: Callable[[], httpx2.Response]
    when: Callable[[], bool] = _at_once
    done: Callable[[], object] = lambda: None


@dataclass
class Run:
    """Deals, and what is still to happen to them."""

    number: int
    deals: Sequence[Deal]
    steps: deque[Step] = field(default_factory=deque)


class Chain:
    """One service that is killed again and again, with stand-ins of its own."""

    def __init__(self, folder: Path, url: str, amo: AmoStandin, manus: ManusStandin) -> None:
        self._amo = amo
        self._manus = manus
        self._server = Killable(folder, **self._settings(), OTVET_DATABASE_URL=url)
        self._database = Database(url)
        self._http = httpx2.Client(trust_env=False)

    def _settings(self) -> dict[str, str]:
        return connected(self._amo, self._manus)

    def _new_run(self, number: int) -> Run:
        burst, dialogue = (Deal(FIRST_LEAD + 2 * number + which) for which in (0, 1))
        run = Run(number, (burst, dialogue))
        run.steps += [self._delivery(burst, 1), self._delivery(burst, 2), self._delivery(dialogue, 1)]
        run.steps.append(self._delivery(dialogue, 2, lambda: self._has_reply(dialogue)))
        return run

    def _delivery(
        self, deal: Deal, number: int, when: Callable[[], bool] = _at_once, body: bytes | None = None
    ) -> Step:
        message = f"{deal.lead}-{number}"
        content = body or deal.body(message)
        return Step(message, lambda: self._post(content), when, lambda: deal.acknowledged.append(message))

    def _post(self, content: bytes) -> httpx2.Response:
        return self._http.post(self._server.webhook, content=content, headers=headers("1"))

    def _has_reply(self, deal: Deal) -> bool:
        return bool(self._amo.notes(deal.lead))

    def go_on(self, points: Iterator[int]) -> dict[int, list[str]]:
        """Be killed at each of the points that it takes; gives what went wrong at which. Ends with one not reached."""
        found: dict[int, list[str]] = {}
        run = None
        try:
            for number in points:
                self._start(number)
                if run:
                    self._recover(run, found)
                run = self._be_killed(number, found)
                if run is None:
                    break
            return found
        finally:
            self._server.kill()
            self._database.close()
            self._http.close()

    def _start(self, at: int) -> None:
        self._server.at = at
        self._server.start()

    def _recover(self, run: Run, found: dict[int, list[str]]) -> None:
        """Bring a run to its end that was cut off."""
        self._play(run)
        wait_for(lambda: self._at_rest(run), f"an end of all turns after a kill at point {run.number}", PATIENCE)
        self._judge(run, found)

    def _be_killed(self, number: int, found: dict[int, list[str]]) -> Run | None:
        """The run that was cut off; None if it came to its end."""
        run = self._new_run(number)
        self._http.get(self._server.webhook).raise_for_status()  # from here on its points are counted
        self._play(run)
        ended = f"a kill at point {number} or the end of the run"
        wait_for(lambda: self._server.dead or self._at_rest(run), ended, PATIENCE)
        if not self._server.dead:
            self._judge(run, found)
            return None
        with self._database.writes.begin() as connection:
            let_time_pass(connection)
        return run

    def _play(self, run: Run) -> None:
        """Do what is still to be done, in its order, as long as there is somebody to do it to."""
        while run.steps:
            step = run.steps[0]
            wait_for(lambda: self._server.dead or step.when(), f"time for {step.name} at point {run.number}")  # noqa: B023
            if not self._server.dead:
                step.when = _at_once  # also where it has to be repeated
            try:
                answer = step.ask()
            except httpx2.TransportError:
                wait_for(lambda: self._server.dead, "the end of what does not answer any more")
                return
            answer.raise_for_status()
            step.done()
            run.steps.popleft()

    def _at_rest(self, run: Run) -> bool:
        leads = [deal.lead for deal in run.deals]
        return self._database.read_now(lambda connection: open_turns(connection, leads)) == 0

    def _judge(self, run: Run, found: dict[int, list[str]]) -> None:
        with self._database.reads.connect() as connection:
            wrong = list(self._wrongs(connection, run))
        if wrong:
            found[run.number] = [_last_words(self._server.folder, run.number), *wrong]

    def _wrongs(self, connection: Connection, run: Run) -> Iterator[str]:
        for deal in run.deals:
            yield from wrongs(connection, deal, self._amo, self._manus)


def _last_words(folder: Path, number: int) -> str:
    log = (folder / f"killed-at-{number}.log").read_text().splitlines()
    return next((line for line in log if line.startswith("SIGKILL")), "not killed")


def matrix(
    folder: Path, urls: Sequence[str], points: Iterator[int], chain: type[Chain] = Chain
) -> tuple[set[int], dict[int, list[str]]]:
    """Kill a service at all of these points, several at the same time: (the points reached, what went wrong)."""

    def one(number: int, url: str) -> dict[int, list[str]]:
        own = folder / f"chain-{number}"
        own.mkdir()
        with amocrm_standin() as amo, manus_standin(limits={}) as manus:
            amo.any_lead = True
            manus.hidden_reads = 0
            return chain(own, url, amo, manus).go_on(points)

    with ThreadPoolExecutor(len(urls)) as threads:
        found = [threads.submit(one, number, url) for number, url in enumerate(urls)]
    wrong = {point: those for future in found for point, those in future.result().items()}
    killed = {
        int(log.stem.removeprefix("killed-at-"))
        for log in folder.glob("chain-*/*.log")
        if "SIGKILL at" in log.read_text()
    }
    return killed, wrong


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_kill_at_any_point(tmp_path: Path, request: pytest.FixtureRequest, kind: str) -> None:
    step, points = points_of_today(request, kind)
    killed, wrong = matrix(tmp_path, databases(kind, tmp_path, request), points)
    assert wrong == {}
    assert len(killed) >= LEAST_POINTS // step


def points_of_today(request: pytest.FixtureRequest, kind: str, days: int = 2) -> tuple[int, Iterator[int]]:
    """From point to point, and the points: in so many days it is every point on each of the databases.

    With --whole-matrix it is every point on both at once.
    """
    if request.config.getoption("whole_matrix"):
        return 1, count(1)
    return days, count(1 + (datetime.now(UTC).toordinal() + KINDS.index(kind)) % days, days)


def databases(kind: str, folder: Path, request: pytest.FixtureRequest) -> list[str]:
    """An empty one for each chain."""
    if kind == "sqlite":
        return [f"sqlite:///{folder / f'chain-{number}' / 'conversations.db'}" for number in range(AT_ONCE)]
    postgres = request.getfixturevalue("postgres")
    return [postgres.create() for _ in range(AT_ONCE)]  # they go with the server
