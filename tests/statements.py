"""One cache of compiled SQL for all engines of a process.

SQLAlchemy keeps one in each engine, and nearly every test makes engines of its own: compiling took a quarter of the
time of a test with a database, and of the start of a server.
"""

from collections.abc import MutableMapping
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.util import LRUCache

_STATEMENTS = 5000


class _Shared(LRUCache[Any, Any]):
    """A cache whose keys name the kind of database, not the one engine's dialect, which is their first part."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get((key[0].name, *key[1:]), default)

    def __setitem__(self, key: Any, compiled: Any) -> None:
        super().__setitem__((key[0].name, *key[1:]), compiled)


def share() -> None:
    """Have all connections that are made from now on share what was compiled for one."""
    shared: MutableMapping[Any, Any] = _Shared(_STATEMENTS)

    @event.listens_for(Engine, "engine_connect")
    def connected(connection: Connection) -> None:
        connection.execution_options(compiled_cache=shared)
