"""What a copy has loaded (see ``forked``): the whole program, in the language of the tests."""

import gc
import importlib
import os

from tests import certificates

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

os.environ["OTVET_LANG"] = "en"  # before the texts of the commands are read
certificates.read_once()
for name in ("otvet.cli", *LATE, "tests.killable"):
    importlib.import_module(name)
gc.collect()
gc.freeze()  # a copy shares this memory until it is written to, and its own collections would write to all of it
