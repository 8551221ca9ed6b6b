"""What the workflow engine keeps, for a test to look through."""

import base64
import binascii
from collections.abc import Iterator
from contextlib import closing, suppress

import sqlalchemy as sa

from otvet.storage.engines import make_engine

SCHEMA = "dbos"  # where the engine has its tables on PostgreSQL


def kept(url: str) -> str:
    """All that its tables hold, in lines; also what it packs in base64."""
    engine = make_engine(url, read_only=True)
    schema = None if engine.dialect.name == "sqlite" else SCHEMA
    found = sa.MetaData()
    found.reflect(engine, schema=schema)
    with closing(engine.connect()) as connection:
        rows = [row for table in found.tables.values() for row in connection.execute(sa.select(table))]
    engine.dispose()
    return "\n".join(text for row in rows for value in row if value is not None for text in _unpacked(str(value)))


def _unpacked(text: str) -> Iterator[str]:
    yield text
    with suppress(binascii.Error, ValueError):
        yield base64.b64decode(text, validate=True).decode("utf-8", "replace")
