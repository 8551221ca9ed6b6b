"""What every test may ask for: both databases, empty and ready. And which tests are slow."""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import settings
from playwright.sync_api import Browser

from otvet.storage.database import Database
from tests import certificates, databases, statements
from tests.browsing import chromium
from tests.standins.amocrm import AmoStandin, amocrm_standin
from tests.standins.openai import OpenAiStandin, openai_standin
from tests.standins.sender import LEAD

settings.register_profile("untimed", deadline=None)  # machines are busy: no test is about seconds
settings.load_profile("untimed")


# The files whose SQL differs between the databases, or whose promise is kept by locks and indexes of the database:
# they run on both in ``make test``, and so do single tests of other files, which are marked ``both``. Of the others
# ``make test-slow`` runs what is left to do on PostgreSQL.
OWN_SQL = {
    "test_database",
    "test_schema",
    "test_search",
}
# The files that play whole scenes with the program, a browser or several services, seconds each: for every change a
# few of them, marked ``quick``, are enough; the rest is for ``make test-slow``.
SCENES = {
    "test_connect",
    "test_connect_replies",
    "test_copy_database",
    "test_engine",
    "test_manus_cases",
    "test_operate",
    "test_pages",
    "test_pages_amocrm",
    "test_pages_chat",
    "test_pages_knowledge",
    "test_pages_look",
    "test_pages_people",
    "test_pages_search",
    "test_pages_settings",
    "test_password",
    "test_renewal",
    "test_replay",
    "test_serve",
    "test_wired",
}
SLOWEST_FILES = 10
FOLDER = pytest.StashKey[tempfile.TemporaryDirectory[str]]()


os.environ["OTVET_LANG"] = "en"  # before the program is loaded, whichever test is the first to do so
certificates.read_once()
statements.share()
# The frames of a traceback in colours, as a log that nobody has set up shows them, take a second to draw.
_plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
structlog.configure(processors=[*structlog.get_config()["processors"][:-1], _plain])


def pytest_addoption(parser: pytest.Parser) -> None:
    whole = "kill at every point on both databases, not at a part of them a day: many minutes"
    parser.addoption("--whole-matrix", action="store_true", help=whole)


def pytest_configure(config: pytest.Config) -> None:
    """A folder for PostgreSQL. Not below pytest's own folders, which another run on the same machine may clear away."""
    if not hasattr(config, "workerinput"):
        config.stash[FOLDER] = tempfile.TemporaryDirectory(prefix="otvet-postgres-", ignore_cleanup_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a process of a parallel run where all of them find PostgreSQL."""
    node.workerinput["postgres"] = node.config.stash[FOLDER].name


def pytest_unconfigure(config: pytest.Config) -> None:
    if FOLDER in config.stash:
        databases.Postgres(Path(config.stash[FOLDER].name)).stop()
        config.stash[FOLDER].cleanup()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave to ``make test-slow`` the scenes, and PostgreSQL where a test runs on both, but for what is named above."""
    for item in items:
        kind = getattr(item, "callspec", None) and item.callspec.params.get("kind")  # type: ignore[attr-defined]
        other = kind == "postgresql" and item.path.stem not in OWN_SQL and not item.get_closest_marker("both")
        if other or (item.path.stem in SCENES and not item.get_closest_marker("quick")):
            item.add_marker(pytest.mark.slow)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which files take the time."""
    spent = Counter[str]()
    for reports in terminalreporter.stats.values():
        for report in reports:
            spent[report.nodeid.partition("::")[0]] += getattr(report, "duration", 0)
    if len(spent) > SLOWEST_FILES:
        terminalreporter.section("slowest files")
        for file, seconds in spent.most_common(SLOWEST_FILES):
            terminalreporter.line(f"{seconds:8.1f}s {file}")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A test sees neither the developer's .env nor the developer's database."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OTVET_LANG", "en")


@pytest.fixture(scope="module")
def running_openai() -> Iterator[OpenAiStandin]:
    with openai_standin() as standin:
        yield standin


@pytest.fixture
def service(running_openai: OpenAiStandin) -> OpenAiStandin:
    """A chat-completions endpoint as new; the tests of a file share its process."""
    running_openai.reset()
    return running_openai


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real Chromium for the tests of a file; each visit is a profile of its own.

    Playwright keeps an event loop running in this thread, so no test of the file can have one of its own.
    """
    with chromium() as started:
        yield started


@pytest.fixture
def amo() -> Iterator[AmoStandin]:
    """An account with the deal LEAD, which lets itself be called as often as a test likes."""
    with amocrm_standin() as standin:
        standin.rate = 1000
        standin.add_lead(LEAD)
        yield standin


@pytest.fixture(scope="session")
def postgres(pytestconfig: pytest.Config) -> databases.Postgres:
    """The PostgreSQL of this run."""
    given = getattr(pytestconfig, "workerinput", None)
    server = databases.Postgres(Path(given["postgres"] if given else pytestconfig.stash[FOLDER].name))
    server.start()
    return server


@pytest.fixture
def postgres_url(postgres: databases.Postgres) -> Iterator[str]:
    """An empty database of its own for one test."""
    url = postgres.create()
    yield url
    postgres.drop(url)


@pytest.fixture
def prepared_postgres_url(postgres: databases.Postgres) -> Iterator[str]:
    """A database with today's schema."""
    url = postgres.lend()
    yield url
    postgres.give_back(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """The test runs twice: on a SQLite file and on PostgreSQL."""
    return str(request.param)


@pytest.fixture
def database_url(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> str:
    """The address of an empty database; of one with today's schema where the test asks for ``database`` too."""
    prepared = "database" in request.fixturenames
    if kind == "postgresql":
        return str(request.getfixturevalue("prepared_postgres_url" if prepared else "postgres_url"))
    file = tmp_path / "conversations.db"
    if prepared:
        shutil.copy(databases.prepared_file(), file)
    return f"sqlite:///{file}"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database with today's schema. Start its writer on the test's own event loop where it is needed."""
    database = Database(database_url)
    yield database
    database.close()
