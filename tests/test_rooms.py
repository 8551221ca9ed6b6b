"""The house: few files at the root, none too long, imports downwards only, and one file that writes each table."""

import ast
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import otvet
from otvet.storage.engines import metadata

ROOT = Path(otvet.__file__).parent
PROJECT = ROOT.parents[1]
MOST_AT_THE_ROOT = 8
MOST_LINES = 420
MAKES_THE_SCHEMA = "schema"  # takes rows over from older versions, before anybody else is there


@cache
def modules() -> dict[str, ast.Module]:
    """The program's files, by their path in the package."""
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py"))}


def test_the_root_has_few_files() -> None:
    assert len(list(ROOT.glob("*.py"))) <= MOST_AT_THE_ROOT


def test_no_file_is_long() -> None:
    long = {
        path.name: count for path in ROOT.rglob("*.py") if (count := len(path.read_text().splitlines())) > MOST_LINES
    }
    assert long == {}


def test_the_contract_of_the_imports_names_every_room_and_nothing_else() -> None:
    contracts = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts]
    rooms = {f"otvet.{path.name}" for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    files = {f"otvet.{path.stem}" for path in ROOT.glob("*.py")} - {"otvet.__init__"}
    assert sorted(layers) == sorted(rooms | files)


def test_each_table_is_written_by_one_file() -> None:
    writers: defaultdict[str, set[str]] = defaultdict(set)
    for name, module in modules().items():
        for table in written(module):
            if not name.startswith(MAKES_THE_SCHEMA):
                writers[table].add(name)
    assert {table: sorted(files) for table, files in writers.items() if len(files) > 1} == {}
    assert writers.keys() == metadata.tables.keys()


def written(module: ast.Module) -> Iterator[str]:
    """The tables that a file inserts into, updates or deletes from, as it calls them."""
    names = dict(tables_named(module))
    for call in ast.walk(module):
        if not isinstance(call, ast.Call):
            continue
        if isinstance(call.func, ast.Attribute) and call.func.attr in ("insert", "update", "delete"):
            subjects = [call.func.value, *call.args]
        elif isinstance(call.func, ast.Name) and call.func.id == "insert":
            subjects = call.args
        else:
            continue
        for subject in subjects:
            if isinstance(subject, ast.Name | ast.Attribute) and (name := names.get(ast.unparse(subject))) is not None:
                yield name


@cache
def variables() -> dict[str, str]:
    """The tables' names, by the variables that they are defined as."""
    return {
        ast.unparse(node.targets[0]): str(ast.literal_eval(node.value.args[0]))
        for module in modules().values()
        for node in module.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func) == "sa.Table"
    }


def tables_named(module: ast.Module) -> Iterator[tuple[str, str]]:
    """(what stands in the file, the table's name): imported, of an imported module, or defined here."""
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("otvet"):
            for one in node.names:
                known = one.asname or one.name
                if one.name in variables():
                    yield known, variables()[one.name]
                for variable, table in variables().items():
                    yield f"{known}.{variable}", table
        elif isinstance(node, ast.Assign):
            names = (one.id for one in node.targets if isinstance(one, ast.Name))
            yield from ((name, variables()[name]) for name in names if name in variables())


def test_a_write_elsewhere_is_seen() -> None:
    foreign = ast.parse("from otvet.turns import turn as t\nfrom otvet.turns.turn import turns as q\nq.delete()\n")
    assert set(written(foreign)) == {"turns"}
    assert set(written(ast.parse("from otvet.turns import turn as t\nt.turns.update()"))) == {"turns"}
    assert set(written(ast.parse("from otvet.turns.turn import turns\ninsert('sqlite', turns)"))) == {"turns"}
