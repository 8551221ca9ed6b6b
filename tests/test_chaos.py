"""The chaos run in its short form: kills and faults throughout, and nothing lost, doubled or out of order."""

from pathlib import Path

from tests.chaos import Options, run

KILLS = 5


def test_one_process_on_sqlite_is_killed_again_and_again(tmp_path: Path) -> None:
    options = Options("sqlite", messages=300, conversations=40, kill_every=1.5, least_kills=KILLS)
    report = run(options, tmp_path, f"sqlite:///{tmp_path / 'conversations.db'}")
    assert report.kills >= KILLS
    assert report.kept, f"{report}"


def test_three_processes_on_postgresql_are_killed_in_turn(tmp_path: Path, postgres_url: str) -> None:
    options = Options("postgresql", messages=300, conversations=40, processes=3, kill_every=1, least_kills=KILLS)
    report = run(options, tmp_path, postgres_url)
    assert report.kills >= KILLS
    assert report.kept, f"{report}"
