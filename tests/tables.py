"""Tables of texts, which stand as JSON in ``samples``: one test a property, which names every row that breaks it."""

import json
from collections.abc import Callable, Iterable
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import Any

SAMPLES = Path(__file__).parent / "samples"


def table(name: str) -> dict[str, Any]:
    """What stands in a file of samples."""
    found: dict[str, Any] = json.loads((SAMPLES / f"{name}.json").read_text("utf-8"))
    return found


def every(name: str, part: str, arguments: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Have a test hold for each row of a table.

    arguments: the names, with commas between them, of those of the test's arguments that come from a row. The others
    are fixtures, which all rows share.
    """
    names = arguments.split(", ")
    return every_of([row if len(names) > 1 else [row] for row in table(name)[part]], arguments)


def every_of(rows: Iterable[Iterable[Any]], arguments: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Have a test hold for each of these rows, as ``every`` does."""
    names = arguments.split(", ")
    given = [dict(zip(names, row, strict=True)) for row in rows]

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @wraps(test)
        def of_all(**fixtures: Any) -> None:
            assert given
            wrong = [f"{row}\n    {error!r}" for row in given if (error := _error(test, row | fixtures))]
            assert not wrong, f"{len(wrong)} of {len(given)} rows:\n" + "\n".join(wrong)

        whole = signature(test)
        others = [one for one in whole.parameters.values() if one.name not in names]
        of_all.__signature__ = whole.replace(parameters=others)  # type: ignore[attr-defined]
        return of_all

    return decorate


def _error(test: Callable[..., None], arguments: dict[str, Any]) -> Exception | None:
    try:
        test(**arguments)
    except Exception as error:
        return error
    return None
