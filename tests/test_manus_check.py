"""What ``otvet check`` says of the Manus account."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import command
from tests.standins.manus import ManusStandin, manus_standin

PUBLIC = "https://otvet.example.com"


@pytest.fixture
def manus() -> Iterator[ManusStandin]:
    with manus_standin() as standin:
        yield standin


def check(folder: Path, manus: ManusStandin, **settings: str) -> tuple[int, str]:
    """(exit code, what was printed, on one line)"""
    ours = {"OTVET_MANUS_BASE_URL": manus.url, "OTVET_MANUS_API_KEY": manus.key, "OTVET_PORT": "9", "COLUMNS": "300"}
    (folder / "knowledge").mkdir(exist_ok=True)
    result = command(folder, "check", **(ours | settings))
    return result.returncode, " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("credits", "code", "told"),
    [
        (1300, 0, "✓ Manus the key works, 1300 credits left"),
        (120, 0, "– Manus the key works, but only 120 credits are left, enough for about 2 replies"),
        (0, 1, "✗ Manus the key works, but no credits are left"),
    ],
)
def test_credits(tmp_path: Path, manus: ManusStandin, credits: int, code: int, told: str) -> None:
    manus.credits = {"total_credits": credits}
    found = check(tmp_path, manus)
    assert found[0] == code
    assert told in found[1]


@pytest.mark.parametrize("refusal", ["unauthenticated", "permission_denied"])
def test_a_key_that_is_refused_comes_with_what_to_do(tmp_path: Path, manus: ManusStandin, refusal: str) -> None:
    manus.fault("usage.availableCredits", code=refusal)
    code, printed = check(tmp_path, manus)
    assert code == 1
    assert "https://manus.im/app/settings/api" in printed
    assert "OTVET_MANUS_API_KEY" in printed


def test_connectors_of_the_account(tmp_path: Path, manus: ManusStandin) -> None:
    assert "Manus account" not in check(tmp_path, manus)[1]
    manus.connectors = ["Gmail", "Notion"]
    assert "– Manus account the account has connectors (Gmail, Notion)" in check(tmp_path, manus)[1]


def test_instructions_that_leave_no_room_for_a_question(tmp_path: Path, manus: ManusStandin) -> None:
    (tmp_path / "instructions.md").write_text("и" * 1900, encoding="utf-8")
    assert "✓ Instructions instructions.md" in check(tmp_path, manus)[1]
    (tmp_path / "instructions.md").write_text("и" * 2100, encoding="utf-8")
    told = "– Instructions instructions.md takes about 4200 tokens, and Manus at most 4000"
    assert told in check(tmp_path, manus)[1]
    assert "✓ Instructions instructions.md" in check(tmp_path, manus, OTVET_MANUS_API_KEY="")[1]


def test_the_webhook(tmp_path: Path, manus: ManusStandin) -> None:
    assert "– Manus webhook none without OTVET_PUBLIC_URL" in check(tmp_path, manus)[1]
    assert "is not registered yet" in check(tmp_path, manus, OTVET_PUBLIC_URL=PUBLIC)[1]
    url = f"{PUBLIC}/webhook/manus"
    manus.hooks["1"] = {"id": "1", "url": url, "status": "active"}
    settings = {"OTVET_PUBLIC_URL": PUBLIC}
    assert f"✓ Manus webhook {url}" in check(tmp_path, manus, **settings)[1]
    manus.hooks["1"]["status"] = "inactive"
    assert f"{url} is paused" in check(tmp_path, manus, **settings)[1]


def test_what_is_not_told_needs_no_mending(tmp_path: Path, manus: ManusStandin) -> None:
    manus.fault("webhook.list", code="permission_denied")
    manus.fault("connector.list", code="permission_denied")
    assert check(tmp_path, manus, OTVET_PUBLIC_URL=PUBLIC)[0] == 0
