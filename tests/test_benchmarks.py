"""A benchmark that misses its aim says so to make."""

from collections.abc import Callable

import pytest
from benchmarks import local


@pytest.mark.parametrize(("took", "code"), [(20.0, 0), (20.1, 1)])
def test_a_slow_search_fails(monkeypatch: pytest.MonkeyPatch, took: float, code: int) -> None:
    def measured(work: Callable[[], object]) -> float:
        work()
        return took

    monkeypatch.setattr(local, "PASSAGES", 100)
    monkeypatch.setattr(local, "_milliseconds", measured)
    monkeypatch.setattr(local, "keep", lambda _name, _text: None)
    assert local.main() == code
