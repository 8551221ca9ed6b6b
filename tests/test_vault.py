"""The key file: for its owner alone, also where somebody else has written it."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from otvet.account.vault import OtherKey, Vault, key_in

KEY = "a key that was copied by hand"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o666])
def test_a_key_file_that_others_can_read_is_closed_to_them(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "otvet.key"
    file.write_text(KEY)
    file.chmod(mode)
    with capture_logs() as logs:
        assert key_in(file) == KEY
    assert file.stat().st_mode & 0o777 == 0o600
    assert [entry["log_level"] for entry in logs] == ["warning"]
    assert KEY not in repr(logs)
    with capture_logs() as logs:
        key_in(file)
    assert logs == []


def test_one_that_cannot_be_closed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "otvet.key"
    file.write_text(KEY)
    file.chmod(0o644)

    def refuse(_file: Path, _mode: int) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "chmod", refuse)
    with capture_logs() as logs:
        assert key_in(file) == KEY
    assert ["0600" in entry["event"] for entry in logs] == [True]


def test_a_mode_that_is_narrower_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "otvet.key"
    file.write_text(KEY)
    file.chmod(0o400)
    assert key_in(file) == KEY
    assert file.stat().st_mode & 0o777 == 0o400


def test_what_another_key_has_sealed() -> None:
    with pytest.raises(OtherKey, match="otvet connect"):
        Vault("another key " * 3).open(Vault(KEY * 2).seal("token"))
