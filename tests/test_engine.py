"""The workflow engine on a real database."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest
import sqlalchemy as sa
from dbos._dbos import _get_dbos_instance
from sqlalchemy.exc import IntegrityError
from structlog.testing import capture_logs

from otvet.answering import engine as module
from otvet.answering.engine import Engine
from otvet.storage.engines import PATIENCE, make_engine
from tests.running import wait_for
from tests.test_database import with_options
from tests.workflows import SCHEMA, kept

Result = TypeVar("Result")

A_DAY = 86_400  # seconds: a job of that period runs once while a test does, at the start
A_SECOND = 1


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DELAYED_POLL_SECONDS", 0.1)


async def sent(_turn_id: int) -> str:
    return "sent"


async def never_ends() -> None:
    await asyncio.Event().wait()


def run(
    url: str,
    me: str,
    play: Callable[[Engine], Awaitable[None]],
    *,
    answer: Callable[[int], Awaitable[str]] = sent,
    wake: Callable[[int], object] = lambda _turn_id: None,
    jobs: dict[str, tuple[int | str, Callable[[], Awaitable[object]]]] | None = None,
    alive: tuple[str, ...] = (),
) -> None:
    """Play with an engine that is stopped at the end, as by a SIGTERM. alive: the other processes that are."""

    async def whole() -> None:
        engine = Engine(url, me)
        engine.alive = (me, *alive)
        for name, (when, job) in (jobs or {}).items():
            engine.every(name, when, job)
        await engine.start(answer, wake)
        try:
            await play(engine)
        finally:
            await engine.stop()

    asyncio.run(whole())


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.05)  # between two looks at a database: there is nothing to be told by


def recorded(url: str, what: str, table: str = "workflow_status") -> list[Any]:
    """A column of one of the engine's tables."""
    engine = make_engine(url, read_only=True)
    prefix = "" if engine.dialect.name == "sqlite" else f"{SCHEMA}."
    with closing(engine.connect()) as connection:
        found = list(connection.scalars(sa.text(f"SELECT {what} FROM {prefix}{table}")))
    engine.dispose()
    return found


# Turns


@pytest.mark.quick
def test_a_workflow_that_was_cut_off_runs_from_its_top_in_another_process(database_url: str) -> None:
    seen: list[str] = []
    ended = asyncio.Event()

    async def cut_off(_turn_id: int) -> str:
        seen.append("begun")
        await asyncio.Event().wait()
        return "never"

    async def to_the_end(_turn_id: int) -> str:
        seen.append("begun again")
        ended.set()
        return "sent"

    async def begin(engine: Engine) -> None:
        await engine.begin("turn-1", 1)
        while not seen:
            await asyncio.sleep(0)

    async def begin_again(engine: Engine) -> None:
        await engine.begin_again("turn-1", 1)
        await asyncio.wait_for(ended.wait(), 60)

    run(database_url, "the first", begin, answer=cut_off)
    run(database_url, "the second", begin_again, answer=to_the_end)
    assert seen == ["begun", "begun again"]


@pytest.mark.quick
def test_what_a_dead_process_left_behind_is_forgotten(database_url: str) -> None:
    begun = asyncio.Event()

    async def cut_off(_turn_id: int) -> str:
        begun.set()
        await asyncio.Event().wait()
        return "never"

    async def begin(engine: Engine) -> None:
        await engine.begin("turn-1", 1)
        await begun.wait()

    async def tidy(engine: Engine) -> None:
        later = datetime.now(UTC) + timedelta(hours=2)
        assert await engine.forget(later, timedelta(hours=3)) == 0  # too young
        engine.alive = ("the first",)
        assert await engine.forget(later, timedelta(hours=1)) == 0
        engine.alive = ()
        assert await engine.forget(later, timedelta(hours=1)) == 1
        assert await engine.forget(later, timedelta(hours=1)) == 0

    run(database_url, "the first", begin, answer=cut_off)
    run(database_url, "the second", tidy)


def test_however_many_have_ended_all_are_forgotten(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_FORGOTTEN_AT_ONCE", 2)

    async def play(engine: Engine) -> None:
        for turn_id in range(5):
            await engine.begin(f"turn-{turn_id}", turn_id)
        await until(lambda: recorded(database_url, "status") == ["SUCCESS"] * 5)
        assert await engine.forget(datetime.now(UTC) + timedelta(hours=2), timedelta(hours=1)) == 5

    run(database_url, "this process", play)


@pytest.mark.quick
def test_an_error_that_quotes_a_client_is_neither_kept_nor_logged(database_url: str) -> None:
    words = "What does the purple umbrella cost?"
    failures = [
        UnicodeEncodeError("utf-8", words, 0, 1, "surrogates not allowed"),
        IntegrityError(None, None, psycopg.errors.CheckViolation(f"refused\nDETAIL:  Failing row contains ({words})")),
    ]
    ended: list[int] = []

    async def answer(turn_id: int) -> str:
        ended.append(turn_id)
        raise failures[turn_id]

    async def begin(engine: Engine) -> None:
        for turn_id in range(len(failures)):
            await engine.begin(f"turn-{turn_id}", turn_id)
        while kept(database_url).count("ERROR") < len(failures):
            await asyncio.sleep(0.05)  # between two looks at a database: there is nothing to be told by

    with capture_logs() as log:
        run(database_url, "this process", begin, answer=answer)
    assert "purple umbrella" not in kept(database_url)
    assert [line["error"] for line in log if "error" in line] == ["UnicodeEncodeError", "IntegrityError"]
    assert "purple umbrella" not in str(log)


# Turns that are put off


def test_a_turn_is_put_off_and_then_woken_and_may_be_put_off_again(database_url: str) -> None:
    woken: list[int] = []

    async def play(engine: Engine) -> None:
        async def put_off(delay: timedelta) -> bool:
            await engine.begin_later("turn-7", 7, delay)
            now = datetime.now(UTC)
            assert await engine.put_off(["turn-8"], now) == set()
            return await engine.put_off(["turn-7"], now) == {"turn-7"}

        assert await put_off(timedelta(hours=3))
        assert await put_off(timedelta(seconds=0.3))  # in place of the hours
        await until(lambda: woken == [7])
        assert await engine.put_off(["turn-7"], datetime.now(UTC)) == set()
        assert await put_off(timedelta(hours=3))
        assert await engine.put_off(["turn-7"], datetime.now(UTC) + timedelta(hours=4)) == set()  # nobody woke it
        await engine.end_delays()
        await until(lambda: woken == [7, 7])

    run(database_url, "this process", play, wake=woken.append)


@pytest.mark.quick
def test_a_turn_that_was_woken_may_put_itself_off_at_once(database_url: str) -> None:
    woken: list[int] = []

    async def play(engine: Engine) -> None:
        async def again() -> None:
            await engine.begin_later("turn-7", 7, timedelta(seconds=0.1))

        def wake(turn_id: int) -> None:
            woken.append(turn_id)
            if len(woken) < 3:
                asyncio.get_running_loop().create_task(again())

        waker.append(wake)
        await again()
        await until(lambda: len(woken) == 3)

    waker: list[Callable[[int], object]] = []
    run(database_url, "this process", play, wake=lambda turn_id: waker[0](turn_id))


def test_after_a_kill_another_process_wakes_what_was_put_off_and_goes_on_with_the_jobs(
    database_url: str, tmp_path: Path
) -> None:
    first, second = tmp_path / "first.log", tmp_path / "second.log"
    with process(database_url, "the first", first, "7") as killed:
        wait_for(lambda: "ready" in first.read_text(), "the turn put off")
        killed.kill()
    with process(database_url, "the second", second):
        wait_for(lambda: "ready" in second.read_text(), "the second process")
        end_delays(database_url)
        wait_for(lambda: "woken 7" in second.read_text(), "the turn woken")
        wait_for(lambda: "job" in second.read_text(), "a run of the job")
    assert "woken" not in first.read_text()


@contextmanager
def process(url: str, me: str, log: Path, *put_off: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Killed at the end."""
    command = [sys.executable, "-m", "tests.engine_process", url, me, *put_off]
    with log.open("wb") as output:
        running = subprocess.Popen(command, stdout=output, cwd=Path(__file__).parents[1])
    try:
        yield running
    finally:
        running.kill()
        running.wait()


def end_delays(url: str) -> None:
    """As if the hours had passed."""
    engine = make_engine(url)
    prefix = "" if engine.dialect.name == "sqlite" else f"{SCHEMA}."
    with engine.begin() as connection:
        delayed = sa.text(f"UPDATE {prefix}workflow_status SET delay_until_epoch_ms = 1 WHERE status = 'DELAYED'")
        assert connection.execute(delayed).rowcount == 1
    engine.dispose()


# Jobs


def test_two_processes_run_a_job_once_at_each_of_its_times(database_url: str, tmp_path: Path) -> None:
    logs = [tmp_path / "first.log", tmp_path / "second.log"]

    def runs() -> int:
        return sum(log.read_text().count("job") for log in logs)

    with process(database_url, "the first", logs[0]), process(database_url, "the second", logs[1]):
        wait_for(lambda: all("ready" in log.read_text() for log in logs), "both processes")
        before = runs()
        wait_for(lambda: runs() >= before + 4, "runs of the job")
    begun = [status for status in recorded(database_url, "status") if status not in ("ENQUEUED", "DELAYED")]
    assert runs() <= len(begun)  # each is a time of its own: it is the workflow's id


def test_a_job_runs_at_the_start_unless_it_has_run_in_its_period(database_url: str) -> None:
    runs: list[str] = []

    async def job() -> None:
        runs.append("run")

    async def first(_engine: Engine) -> None:
        await until(lambda: runs)
        await until(lambda: "SUCCESS" in recorded(database_url, "status"))

    async def again(_engine: Engine) -> None:
        assert recorded(database_url, "status") == ["SUCCESS"]

    run(database_url, "the first", first, jobs={"nightly": (A_DAY, job)})
    run(database_url, "the second", again, jobs={"nightly": (A_DAY, job)})
    assert runs == ["run"]


def test_a_slow_job_is_not_overlapped_by_its_next_run(database_url: str) -> None:
    begun: list[str] = []

    async def slow() -> None:
        begun.append("slow")
        await asyncio.Event().wait()

    async def play(_engine: Engine) -> None:
        await until(lambda: kept(database_url).count("left out") >= 2)
        assert begun == ["slow"]

    run(database_url, "this process", play, jobs={"slow": (A_SECOND, slow)})


def test_before_a_stop_jobs_are_cut_off_and_no_other_begins(database_url: str) -> None:
    seen: list[str] = []

    async def slow() -> None:
        seen.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cut off")

    async def play(engine: Engine) -> None:
        await until(lambda: seen)
        await engine.stop_jobs()
        assert seen == ["begun", "cut off"]
        await until(lambda: "left out" in kept(database_url))
        assert seen == ["begun", "cut off"]

    run(database_url, "this process", play, jobs={"slow": (A_SECOND, slow)})


@pytest.mark.parametrize("lives", [True, False])
def test_a_run_that_another_process_has_in_hand_is_waited_for_while_that_one_lives(
    database_url: str, lives: bool
) -> None:
    begun: list[str] = []

    async def slow() -> None:
        begun.append("slow")
        await asyncio.Event().wait()

    async def quick() -> None:
        begun.append("quick")

    async def first(_engine: Engine) -> None:
        await until(lambda: begun)

    async def second(_engine: Engine) -> None:
        await until(lambda: "left out" in kept(database_url) if lives else "quick" in begun)

    run(database_url, "the first", first, jobs={"job": (A_SECOND, slow)})
    run(database_url, "the second", second, jobs={"job": (A_SECOND, quick)}, alive=("the first",) if lives else ())
    assert ("quick" in begun) != lives


def test_an_error_does_not_end_a_schedule_and_tells_nothing_of_a_client(database_url: str) -> None:
    words = "What does the purple umbrella cost?"
    runs: list[str] = []

    async def job() -> None:
        runs.append("run")
        if len(runs) == 1:
            raise IntegrityError(None, None, psycopg.errors.CheckViolation(f"Failing row contains ({words})"))

    async def play(_engine: Engine) -> None:
        await until(lambda: len(runs) >= 2)

    with capture_logs() as log:
        run(database_url, "this process", play, jobs={"job": (A_SECOND, job)})
    assert [(line["job"], line["reason"]) for line in log if "job" in line] == [("job", "IntegrityError")]
    assert "purple umbrella" not in kept(database_url) + str(log)


def test_what_a_job_calls_of_the_engine_is_not_recorded_as_its_step(database_url: str) -> None:
    engines: list[Engine] = []

    async def job() -> None:
        await until(lambda: engines)
        await engines[0].forget(datetime.now(UTC), timedelta(hours=1))
        await engines[0].begin_later("turn-1", 1, timedelta(hours=1))

    async def play(engine: Engine) -> None:
        engines.append(engine)
        await until(lambda: sorted(recorded(database_url, "status")) == ["DELAYED", "SUCCESS"])

    run(database_url, "this process", play, jobs={"job": (A_DAY, job)})
    assert recorded(database_url, "function_name", "operation_outputs") == []


def test_a_job_of_a_version_before_is_not_scheduled_any_more(database_url: str) -> None:
    async def play(_engine: Engine) -> None:
        pass

    run(database_url, "the first", play, jobs={"old": (A_DAY, never_ends), "both": (A_DAY, never_ends)})
    run(database_url, "the second", play, jobs={"both": (A_DAY, never_ends), "new": ("30 2 * * *", never_ends)})
    assert sorted(recorded(database_url, "schedule_name", "workflow_schedules")) == ["both", "new"]


def test_a_time_of_a_cron_expression_that_was_missed_is_made_up_for(database_url: str) -> None:
    runs: list[str] = []

    async def job() -> None:
        runs.append("run")

    jobs: dict[str, Any] = {"nightly": ("30 2 * * *", job)}

    async def first(_engine: Engine) -> None:
        yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
        _get_dbos_instance()._sys_db.update_last_fired_at("nightly", yesterday)

    async def second(_engine: Engine) -> None:
        await until(lambda: runs)

    run(database_url, "the first", first, jobs=jobs)
    assert runs == []
    run(database_url, "the second", second, jobs=jobs)
    assert runs == ["run"]


@pytest.mark.quick
@pytest.mark.parametrize(
    ("seconds", "cron"),
    [
        (1, "*/1 * * * * *"),
        (15, "*/15 * * * * *"),
        (60, "0 */1 * * * *"),
        (600, "0 */10 * * * *"),
        (3600, "0 0 */1 * * *"),
        (A_DAY, "0 0 0 * * *"),
    ],
)
def test_a_period_as_a_cron_expression(seconds: int, cron: str) -> None:
    assert module._cron(seconds) == cron


@pytest.mark.quick
@pytest.mark.parametrize("seconds", [0, 7, 61, 90, 7 * 60, 5 * 3600, 2 * A_DAY])
def test_a_period_that_divides_nothing_is_refused(seconds: int) -> None:
    with pytest.raises(ValueError, match="divide neither"):
        module._cron(seconds)


# The connections


def with_a_connection(url: str, look: Callable[[sa.Connection], Result]) -> Result:
    """What is seen with a connection that DBOS itself works with."""

    found: list[Result] = []

    async def play(_engine: Engine) -> None:
        with _get_dbos_instance()._sys_db.engine.connect() as connection:
            found.append(look(connection))

    run(url, "this process", play)
    return found[0]


def settings_of_a_connection(url: str) -> tuple[str, ...]:
    names = ("idle_in_transaction_session_timeout", "statement_timeout")
    return with_a_connection(url, lambda one: tuple(str(one.scalar(sa.text(f"SHOW {name}"))) for name in names))


def test_the_engine_too_takes_a_silent_server_for_gone_within_seconds(postgres_url: str) -> None:
    told = with_a_connection(postgres_url, lambda one: one.connection.driver_connection.info.get_parameters())  # type: ignore[union-attr]
    assert told.items() >= PATIENCE.items()


def test_the_engines_connections_do_not_idle_in_a_transaction(postgres_url: str) -> None:
    assert settings_of_a_connection(postgres_url)[0] == "5s"


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ("-c statement_timeout=70s", ("5s", "70s")),
        ("-c idle_in_transaction_session_timeout=9s", ("9s", "0")),
    ],
)
def test_options_of_the_address_are_kept(postgres_url: str, options: str, settings: tuple[str, str]) -> None:
    assert settings_of_a_connection(with_options(postgres_url, options)) == settings
