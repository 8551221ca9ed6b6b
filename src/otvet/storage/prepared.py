"""Statements for the hot path: compiled once for each dialect, their values go straight to the driver.

SQLAlchemy's own execution of a row costs more than the database's work on it. A list is one value, so the text does not
depend on its length, and the driver can reuse the statement that it has prepared.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler


class Prepared:
    """A statement with named values. Its rows hold the driver's own values: on SQLite a moment comes as text.

    columns: for an INSERT, the columns that every row gives.
    """

    def __init__(self, statement: Any, columns: Collection[str] = ()) -> None:
        self._statement = statement
        self._columns = list(columns) or None
        self._ready: dict[str, tuple[str, Callable[[Mapping[str, Any]], Any]]] = {}

    def rows(self, connection: Connection, **values: Any) -> Sequence[Any]:
        """Run it once and return its rows."""
        text, bind = self._for(connection.dialect)
        return connection.exec_driver_sql(text, bind(values)).all()

    def run(self, connection: Connection, many: Sequence[Mapping[str, Any]]) -> None:
        """Run it once for each mapping of values."""
        if many:
            text, bind = self._for(connection.dialect)
            connection.exec_driver_sql(text, [bind(values) for values in many])

    def _for(self, dialect: Dialect) -> tuple[str, Callable[[Mapping[str, Any]], Any]]:
        ready = self._ready.get(dialect.name)
        if ready is None:
            compiled: SQLCompiler = self._statement.compile(dialect=dialect, column_keys=self._columns)
            ready = self._ready[dialect.name] = str(compiled), _binder(compiled, dialect)
        return ready


def _binder(compiled: SQLCompiler, dialect: Dialect) -> Callable[[Mapping[str, Any]], Any]:
    """A function that turns named values into the driver's parameters: a tuple for SQLite, a mapping for PostgreSQL."""
    names = list(compiled.positiontup or compiled.binds)
    converts = [compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect) for name in names]
    parts = list(zip(names, converts, strict=True))
    constants = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}

    def values_of(values: Mapping[str, Any]) -> list[Any]:
        given = {**constants, **values} if constants else values
        return [convert(given[name]) if convert else given[name] for name, convert in parts]

    if compiled.positional:
        return lambda values: tuple(values_of(values))
    return lambda values: dict(zip(names, values_of(values), strict=True))


class among(sa.ColumnElement[bool]):  # noqa: N801 - reads as a function, as SQLAlchemy's own do
    """``column IN values``, where the values are one parameter: a list under this name."""

    inherit_cache = False
    type = sa.Boolean()

    def __init__(self, column: sa.Column[Any], name: str) -> None:
        self.column = column
        self.values: sa.BindParameter[Any] = sa.bindparam(name, type_=_Listed(column.type))

    def self_group(self, against: Any = None) -> Any:
        """No ``(...) = 1`` around the condition: SQLite would use no index for it."""
        return self


@compiles(among, "postgresql")
def _array(element: among, compiler: SQLCompiler, **how: Any) -> str:
    return f"{compiler.process(element.column, **how)} = ANY ({compiler.process(element.values, **how)})"


@compiles(among, "sqlite")
def _json_array(element: among, compiler: SQLCompiler, **how: Any) -> str:
    values = compiler.process(element.values, **how)
    return f"{compiler.process(element.column, **how)} IN (SELECT value FROM json_each({values}))"  # noqa: S608 - two parts of a compiled statement


class _Listed(sa.types.TypeDecorator[Collection[Any]]):
    """A list as one parameter: an array for PostgreSQL, JSON for SQLite."""

    impl = sa.Text
    cache_ok = True

    def __init__(self, of: sa.types.TypeEngine[Any]) -> None:
        super().__init__()
        self.of = of

    def load_dialect_impl(self, dialect: Dialect) -> sa.types.TypeEngine[Any]:
        return dialect.type_descriptor(ARRAY(self.of) if dialect.name == "postgresql" else sa.Text())

    def process_bind_param(self, value: Collection[Any] | None, dialect: Dialect) -> Any:
        listed = list(value or ())
        return listed if dialect.name == "postgresql" else json.dumps(listed, ensure_ascii=False)
