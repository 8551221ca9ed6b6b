"""What a copy has loaded (see ``forked``): the whole program, in the language of the tests, and its SQL compiled."""

import asyncio
import gc
import importlib
import os
import tempfile

import httpx2
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from structlog.testing import capture_logs

from otvet.app.wiring import wire
from otvet.settings.loading import load_settings
from otvet.turns.turn import turns
from tests import certificates, statements
from tests.standins.sender import incoming

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


async def _answer(folder: str) -> None:
    """Be a server that answers one question."""
    settings = load_settings(database_url=f"sqlite:///{folder}/conversations.db", quiet_seconds=0, stale_minutes=1e8)
    service = wire(settings)
    await service.start()
    await service.inbox.receive(incoming("Do you have it?"))
    async with asyncio.timeout(30):
        while not await service.database.read(_ended):
            await asyncio.sleep(0.01)
    await service.stop()


def _ended(connection: Connection) -> bool:
    return bool(connection.scalar(sa.select(sa.func.count()).where(turns.c.closed_at.is_not(None))))


for name in [name for name in os.environ if name.startswith("OTVET_")]:
    del os.environ[name]  # of the developer's
os.environ["OTVET_LANG"] = "en"  # before the texts of the commands are read
certificates.read_once()
statements.share()
for name in ("otvet.cli", *LATE, "tests.killable"):
    importlib.import_module(name)
httpx2.create_ssl_context()
with tempfile.TemporaryDirectory(prefix="otvet-loaded-") as folder:
    before = os.getcwd()  # noqa: PTH109
    os.chdir(folder)  # there is no settings file
    with capture_logs():
        asyncio.run(_answer(folder))
    os.chdir(before)
gc.collect()
gc.freeze()  # a copy shares this memory until it is written to, and its own collections would write to all of it
