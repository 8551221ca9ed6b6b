"""What a copy has loaded (see ``forked``): the whole program, in the language of the tests."""

import importlib
import os

# What most commands can do without, so that it is loaded when it is needed.
LATE = (
    *("alembic.command", "alembic.context", "h11", "httpcore2", "httptools", "mako", "truststore"),
    *("uvicorn.lifespan.on", "uvicorn.loops.uvloop", "uvicorn.protocols.http.httptools_impl"),
    *(f"otvet.commands.{name}" for name in ("ask", "check", "connect", "copy_database", "forget", "operate", "replay")),
    *(f"otvet.commands.{name}" for name in ("report", "selftest", "simulate", "view")),
)

os.environ["OTVET_LANG"] = "en"  # before the texts of the commands are read
for name in ("otvet.cli", *LATE, "tests.killable"):
    importlib.import_module(name)
