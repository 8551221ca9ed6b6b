import logging
from collections.abc import Iterator

import pytest
import structlog

from otvet import logs


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


@pytest.mark.parametrize("form", ["console", "json"])
def test_an_error_is_told_without_what_was_worked_on(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up(form)
    said = "my phone is +7 900 000-00-00"  # what a client wrote, in a variable beside the error
    for log in (structlog.get_logger("otvet"), logging.getLogger("dbos")):
        try:
            raise ZeroDivisionError(len(said))
        except ZeroDivisionError:
            log.exception("something failed")
    told = capsys.readouterr().err
    assert told.count("ZeroDivisionError: 28") == 2
    assert "900 000" not in told
