"""What a copy has loaded (see ``forked``): the whole program, in the language of the tests, and its SQL compiled."""

import asyncio
import gc
import importlib
import os
import tempfile
from datetime import timedelta

import httpx2

from otvet.answering.engine import Engine
from tests import certificates, statements

COMMANDS = (
    *("ask", "check", "connect", "copy_database", "forget", "operate", "replay"),
    *("report", "selftest", "simulate", "view"),
)
# What most commands can do without, so that it is loaded when it is needed.
LATE = (
    *("alembic.command", "alembic.context", "anyio._backends._asyncio", "h11", "httptools", "mako", "truststore"),
    *("dbos._sys_db_sqlite", "fastapi.telemetry._runtime", "typer._adapters", "uvicorn.lifespan.on"),
    *("uvicorn.loops.auto", "uvicorn.loops.uvloop", "uvicorn.protocols.http.httptools_impl"),
    *("uvicorn.protocols.http.auto", "uvicorn.protocols.websockets.auto"),
    *(f"otvet.commands.{name}" for name in COMMANDS),
)


async def _run_the_engine(folder: str) -> None:
    """Begin and end what the workflow engine does in each server."""
    engine, done = Engine(f"sqlite:///{folder}/workflows.db", "loaded"), asyncio.Event()

    async def answer(_turn: int) -> str:
        await engine.begin_later("turn-1", 1, timedelta(0))
        return "sent"

    async def job() -> None:
        pass

    engine.every("job", 1, job)
    await engine.start(answer, lambda _turn: done.set())
    await engine.begin("turn-1", 1)
    await asyncio.wait_for(done.wait(), 30)
    await engine.stop()


os.environ["OTVET_LANG"] = "en"  # before the texts of the commands are read
certificates.read_once()
statements.share()
for name in ("otvet.cli", *LATE, "tests.killable"):
    importlib.import_module(name)
httpx2.create_ssl_context()
with tempfile.TemporaryDirectory(prefix="otvet-loaded-") as folder:
    asyncio.run(_run_the_engine(folder))
gc.collect()
gc.freeze()  # a copy shares this memory until it is written to, and its own collections would write to all of it
