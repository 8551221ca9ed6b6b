"""The engine's SQLite file beside ``conversations.db``. It may be lost, so a broken file is moved aside."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy import event
from sqlalchemy.engine import Engine, make_url

from otvet.storage.engines import make_private

log = structlog.get_logger(__name__)


def open_file(url: str) -> Engine:
    """Open the file at a sqlite:/// address, and create it if there is none."""
    path = Path(make_url(url).database or "")
    _set_broken_file_aside(path)
    engine = sa.create_engine(url, connect_args={"timeout": 30})
    make_private(path)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = "IMMEDIATE"  # as DBOS does on an engine that it creates
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")  # a workflow may be lost; the turn knows its state

    return engine


def _set_broken_file_aside(path: Path) -> None:
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        aside = path.with_name(path.name + ".broken")
        path.replace(aside)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        log.warning(
            "the workflow file was broken; open turns start again without it", cause=str(error), kept=str(aside)
        )
