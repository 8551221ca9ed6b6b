"""The promise with three processes on one PostgreSQL: they share the work, take over from the dead, and answer once.

The stand-in amoCRM is the judge, as in ``test_kill_matrix``.
"""

import os
import signal
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from pathlib import Path
from threading import Barrier
from typing import TypeVar

import httpx2
import pytest
import sqlalchemy as sa

from otvet.storage.database import Database
from otvet.storage.rate_limits import places
from otvet.turns.turn import OPEN, turns
from tests.running import Otvet, wait_for
from tests.standins.amocrm import AmoStandin, amocrm_standin
from tests.standins.manus import ManusStandin, manus_standin
from tests.test_end_to_end import connected
from tests.test_kill_matrix import Deal, Killable, open_turns, wrongs

Server = TypeVar("Server", bound=Otvet)

pytestmark = pytest.mark.slow

HURRIED = {"HURRY": "1"}  # see forked
TAKEN_OVER_WITHIN = 30  # seconds after a death; of them, twenty until a silent process counts as dead


@contextmanager
def processes(servers: Sequence[Otvet]) -> Iterator[Sequence[Otvet]]:
    """All of these running, started at the same time; ended with the block, also those that are stopped."""
    try:
        with ThreadPoolExecutor(len(servers)) as threads:
            list(threads.map(lambda server: server.start(), servers))
        yield servers
    finally:
        for server in servers:
            if server._process and server._process.poll() is None:
                server.kill()


@pytest.fixture
def amo() -> Iterator[AmoStandin]:
    with amocrm_standin() as standin:
        standin.any_lead = True
        yield standin


@pytest.fixture
def manus() -> Iterator[ManusStandin]:
    with manus_standin(limits={}) as standin:
        yield standin


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    """The processes' database, to look into; the first of them makes its tables."""
    database = Database(postgres_url)
    yield database
    database.close()


@pytest.fixture
def three(tmp_path: Path, database: Database, amo: AmoStandin) -> Iterator[Sequence[Otvet]]:
    """Three processes that answer from their own words."""
    with processes(several(tmp_path, database, **connected(amo), **HURRIED)) as servers:
        yield servers


@pytest.fixture
def three_with_manus(
    tmp_path: Path, database: Database, amo: AmoStandin, manus: ManusStandin
) -> Iterator[Sequence[Otvet]]:
    """Three processes that ask Manus and are patient with it."""
    with processes(several(tmp_path, database, **patient(amo, manus), **HURRIED)) as servers:
        yield servers


def patient(amo: AmoStandin, manus: ManusStandin) -> dict[str, str]:
    return connected(amo, manus) | {"OTVET_REPLY_BUDGET_SECONDS": "600"}


def several(folder: Path, database: Database, of: type[Server] = Otvet, **settings: str) -> list[Server]:
    """Three, not yet started, each with a folder of its own."""
    servers = []
    for number in range(3):
        own = folder / f"process-{number}"
        own.mkdir()
        servers.append(of(own, OTVET_DATABASE_URL=database.url, **settings))
    return servers


def deals(count: int, first: int = 7000) -> list[Deal]:
    return [Deal(first + number) for number in range(count)]


def ask(server: Otvet, deal: Deal) -> None:
    """Deliver the deal's next message."""
    message = f"{deal.lead}-{len(deal.acknowledged) + 1}"
    server.deliver(deal.body(message)).raise_for_status()
    deal.acknowledged.append(message)


def wait_until_answered(database: Database, asked: Sequence[Deal], patience: float = 60) -> None:
    leads = [deal.lead for deal in asked]
    wait_for(
        lambda: database.read_now(lambda connection: open_turns(connection, leads)) == 0, "all turns closed", patience
    )


def found(database: Database, asked: Sequence[Deal], amo: AmoStandin) -> list[str]:
    """What is wrong with these deals."""
    with database.reads.connect() as connection:
        return [wrong for deal in asked for wrong in wrongs(connection, deal, amo)]


def owners(database: Database) -> Counter[int]:
    """How many open turns each process has, by its process id."""
    query = sa.select(turns.c.owner).where(turns.c.state.in_(OPEN), turns.c.owner.is_not(None))
    names = database.read_now(lambda connection: connection.scalars(query).all())
    return Counter(int(name.split("-")[-2]) for name in names)


def hurry(manus: ManusStandin) -> None:
    """Let Manus come to the end of what it is slow with."""
    for task in manus.tasks.values():
        task.steps = deque(step for step in task.steps if step)


def wait_until_manus_has_answered(manus: ManusStandin, database: Database, asked: Sequence[Deal]) -> None:
    """Let Manus be quick with what it has and what it is still given, and wait for the end of all turns."""

    def closed() -> bool:
        hurry(manus)
        return database.read_now(lambda connection: open_turns(connection, [deal.lead for deal in asked])) == 0

    wait_for(closed, "all turns closed")


def test_a_first_start_of_three_at_once_on_an_empty_database(
    three: Sequence[Otvet], database: Database, amo: AmoStandin
) -> None:
    asked = deals(3)
    for server, deal in zip(three, asked, strict=True):
        ask(server, deal)
    wait_until_answered(database, asked)
    assert found(database, asked, amo) == []


def test_a_message_delivered_to_two_at_once_is_saved_once_and_answered_once(
    three: Sequence[Otvet], database: Database, amo: AmoStandin
) -> None:
    asked = deals(20)
    together = Barrier(2)

    def deliver(server: Otvet) -> int:
        saved = 0
        for deal in asked:
            together.wait(60)
            saved += server.deliver(deal.body(f"{deal.lead}-1")).raise_for_status().json()["saved"]
        return saved

    with ThreadPoolExecutor(2) as threads:
        saved = sum(threads.map(deliver, three[:2]))
    for deal in asked:
        deal.acknowledged.append(f"{deal.lead}-1")
    assert saved == len(asked)
    wait_until_answered(database, asked)
    assert found(database, asked, amo) == []


def test_the_order_of_a_conversation_holds_whichever_process_is_told(
    three: Sequence[Otvet], database: Database, amo: AmoStandin
) -> None:
    asked = deals(3)
    for number, server in enumerate(islice(cycle(three), 36)):
        deal = asked[number % 9 // 3]  # each deal is told to each process
        ask(server, deal)
        if number % 4 == 3:
            wait_for(lambda deal=deal: amo.notes(deal.lead), "a reply in between")
    wait_until_answered(database, asked)
    assert found(database, asked, amo) == []


def test_a_killed_process_is_taken_over_from_within_half_a_minute(
    tmp_path: Path, database: Database, amo: AmoStandin, manus: ManusStandin
) -> None:
    """With the heartbeats of the service, which the other tests do not sit out."""
    with processes(several(tmp_path, database, **patient(amo, manus))) as servers:
        kill_one(servers, database, amo, manus)


def kill_one(three_with_manus: Sequence[Otvet], database: Database, amo: AmoStandin, manus: ManusStandin) -> None:
    asked = deals(6)
    manus.scenario(*["slow"] * len(asked))
    for server, deal in zip(cycle(three_with_manus), asked):
        ask(server, deal)
    wait_for(lambda: len(manus.creates) == len(asked), "all questions with Manus")
    victim, *_others = three_with_manus
    assert owners(database)[victim.pid] == 2
    victim.kill()
    wait_for(lambda: not owners(database)[victim.pid], "the others have its turns", TAKEN_OVER_WITHIN)
    hurry(manus)
    wait_until_answered(database, asked)
    assert found(database, asked, amo) == []
    assert len(manus.creates) == len(asked)


def test_a_process_that_hung_finds_that_its_turns_are_another_ones(
    three_with_manus: Sequence[Otvet], database: Database, amo: AmoStandin, manus: ManusStandin
) -> None:
    asked = deals(3)
    manus.scenario("slow", "slow", "slow")
    for server, deal in zip(three_with_manus, asked, strict=True):
        ask(server, deal)
    wait_for(lambda: len(manus.creates) == 3, "all questions with Manus")
    hung, *_others = three_with_manus
    os.kill(hung.pid, signal.SIGSTOP)
    wait_for(lambda: not owners(database)[hung.pid], "the others have its turn", TAKEN_OVER_WITHIN)
    hurry(manus)
    wait_until_answered(database, asked)
    os.kill(hung.pid, signal.SIGCONT)
    more = deals(1, first=7100)
    ask(hung, more[0])  # it works on
    wait_until_answered(database, more)
    assert found(database, asked + more, amo) == []


def test_a_process_that_goes_on_while_another_one_has_its_turn_does_not_send(
    three_with_manus: Sequence[Otvet], database: Database, amo: AmoStandin, manus: ManusStandin
) -> None:
    asked = deals(1)
    manus.scenario("slow")
    hung, *_others = three_with_manus
    ask(hung, asked[0])
    wait_for(lambda: manus.creates, "the question with Manus")
    os.kill(hung.pid, signal.SIGSTOP)
    wait_for(lambda: not owners(database)[hung.pid], "another one has its turn", TAKEN_OVER_WITHIN)
    os.kill(hung.pid, signal.SIGCONT)
    hurry(manus)  # both look for the answer
    wait_until_answered(database, asked)
    assert found(database, asked, amo) == []
    more = deals(1, first=7100)
    ask(hung, more[0])  # it works on
    wait_until_answered(database, more)
    assert found(database, asked + more, amo) == []


def test_a_rolling_restart_under_load_takes_its_time_from_nobody(
    three_with_manus: Sequence[Otvet], database: Database, amo: AmoStandin, manus: ManusStandin
) -> None:
    in_hand = deals(6)
    manus.scenario(*["slow"] * len(in_hand))
    for server, deal in zip(cycle(three_with_manus), in_hand):
        ask(server, deal)
    wait_for(lambda: len(manus.creates) == len(in_hand), "all questions with Manus")
    told = deals(4, first=7100)

    def restart(server: Otvet) -> None:
        begun = time.monotonic()
        assert server.end(signal.SIGTERM) == 0
        assert time.monotonic() - begun < 20
        assert not owners(database)[server.pid]
        server.start()

    with ThreadPoolExecutor(1) as thread:
        for server in three_with_manus:
            restarting = thread.submit(restart, server)
            others = [one for one in three_with_manus if one is not server]
            for other, deal in zip(cycle(others), told * 2):
                ask(other, deal)
            restarting.result()
    wait_until_manus_has_answered(manus, database, in_hand + told)
    assert found(database, in_hand + told, amo) == []
    assert len(manus.creates) <= len(in_hand + told)


def test_amocrm_is_never_called_more_often_than_it_allows_by_all_together(
    three: Sequence[Otvet], database: Database, amo: AmoStandin
) -> None:
    asked = deals(40)
    amo.rate = 1000  # nothing is refused: what is called again later would hide it
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(ask, islice(cycle(three), len(asked)), asked))
    wait_until_answered(database, asked)
    assert found(database, asked, amo) == []
    # amoCRM allows 7 a second. A busy machine holds calls up and lets them go together, but none comes too early.
    at = sorted(entry["at"] for entry in amo.log)
    early = [number for number, moment in enumerate(at) if number > 7 * (moment - at[0]) + 2 * 7]
    assert early == []


def places_taken(database: Database) -> int:
    query = sa.select(sa.func.count()).select_from(places)
    return database.read_now(lambda connection: connection.scalar(query)) or 0


def test_a_process_that_hung_before_a_call_sees_that_the_turn_is_another_ones(
    three: Sequence[Otvet], database: Database, amo: AmoStandin
) -> None:
    """It hangs while it waits for its place among amoCRM's calls; the note is written by another one meanwhile."""
    hung, *_others = three
    asked = deals(1)
    with database.writes.begin() as connection:
        for _place in range(6):
            connection.execute(places.insert().values(name="amocrm", at=datetime.now(UTC) + timedelta(seconds=5)))
    ask(hung, asked[0])
    wait_for(lambda: places_taken(database) == 7, "a reply that waits for its place")
    os.kill(hung.pid, signal.SIGSTOP)
    wait_for(lambda: not owners(database)[hung.pid], "another one has its turn", TAKEN_OVER_WITHIN)
    wait_until_answered(database, asked)
    os.kill(hung.pid, signal.SIGCONT)
    more = deals(1, first=7100)
    ask(hung, more[0])
    wait_until_answered(database, more)
    assert found(database, asked + more, amo) == []


def test_a_process_that_hangs_in_the_middle_of_a_write_does_not_stop_the_others(
    tmp_path: Path, database: Database, amo: AmoStandin
) -> None:
    """It hangs before the commit of a message; amoCRM delivers the message to another one, and all goes on there."""
    servers = several(tmp_path, database, Killable, KILL_WITH="SIGSTOP", KILL_WHERE="a commit", **connected(amo))
    hung, *others = servers
    hung.at = 1
    with processes(servers):
        httpx2.get(hung.webhook, trust_env=False)  # from here on its points are counted
        (deal,) = asked = deals(1)
        with pytest.raises(httpx2.TimeoutException):
            ask(hung, deal)
        body = deal.body(f"{deal.lead}-1")
        wait_for(lambda: delivered(others[0], body), "an acknowledgement", TAKEN_OVER_WITHIN)
        deal.acknowledged.append(f"{deal.lead}-1")
        wait_until_answered(database, asked)
        os.kill(hung.pid, signal.SIGCONT)
        more = deals(1, first=7100)
        ask(hung, more[0])
        wait_until_answered(database, more)
        assert found(database, asked + more, amo) == []


def delivered(server: Otvet, body: bytes) -> bool:
    with suppress(httpx2.TimeoutException):
        return server.deliver(body).status_code == 200
    return False
