"""What ``otvet check`` says of a connected account."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from otvet.account import health
from otvet.amocrm import addresses
from otvet.app import checking_account
from otvet.settings.loading import load_settings
from otvet.storage import outages
from otvet.storage.database import Database
from tests.databases import put_prepared
from tests.running import SECRET, command
from tests.standins.amocrm import AmoStandin, amocrm_standin

PUBLIC = "https://otvet.example.com"
HOOK = f"{PUBLIC}/webhook/amocrm/{SECRET}"


@pytest.fixture
def amo() -> Iterator[AmoStandin]:
    with amocrm_standin() as standin:
        standin.rate = 1000
        yield standin


def check(folder: Path, amo: AmoStandin, **more: str) -> tuple[int, str]:
    """(exit code, what was printed, on one line)"""
    ours = {"OTVET_AMOCRM_BASE_URL": amo.url, "OTVET_AMOCRM_TOKEN": amo.token, "OTVET_PUBLIC_URL": PUBLIC}
    (folder / "knowledge").mkdir(exist_ok=True)
    result = command(folder, "check", **{**ours, "OTVET_PORT": "9", "COLUMNS": "300", **more})
    return result.returncode, " ".join(result.stdout.split())


def test_a_webhook_that_is_there_is_disabled_or_is_missing(tmp_path: Path, amo: AmoStandin) -> None:
    code, printed = check(tmp_path, amo)
    told = "✗ Webhook amoCRM does not send the messages to this server; start otvet connect"
    assert (code, told in printed) == (1, True)
    amo.access.hooks[HOOK] = {"destination": HOOK, "settings": ["add_message"], "disabled": False}
    code, printed = check(tmp_path, amo)
    assert (code, "✓ Webhook" in printed, "✓ Token the token works" in printed) == (0, True, True)
    amo.access.disable_hooks()
    code, printed = check(tmp_path, amo)
    assert (code, "✗ Webhook amoCRM has switched the webhook off. A running Otvet switches it on again" in printed) == (
        1,
        True,
    )
    assert amo.access.hooks[HOOK]["disabled"]  # it was only looked at
    assert SECRET not in printed
    assert not (tmp_path / "conversations.db").exists()


def test_what_the_token_may_not_see(tmp_path: Path, amo: AmoStandin) -> None:
    amo.fault(path="/api/v4/webhooks", status=403, times=None)
    code, printed = check(tmp_path, amo)
    assert (code, "– Webhook whether the webhook is there cannot be seen" in printed) == (0, True)


def test_a_ban_is_respected(tmp_path: Path, amo: AmoStandin) -> None:
    database = Database(put_prepared(tmp_path))
    with database.writes.begin() as connection:
        outages.begin(connection, "banned", "amoCRM has blocked this server", datetime.now(UTC))
    database.close()
    code, printed = check(tmp_path, amo)
    assert (code, "✗ amoCRM amoCRM has blocked this server" in printed) == (1, True)
    assert amo.log == []


def test_deliveries_are_told_as_they_are_now_and_not_as_the_watch_saw_them(tmp_path: Path, amo: AmoStandin) -> None:
    database = Database(put_prepared(tmp_path))
    now = datetime.now(UTC)
    printed = []
    for came, saw in ((now, "warning"), (now - timedelta(days=3), "good"), (None, "warning")):
        with database.writes.begin() as connection:
            health.note_moment(connection, health.LAST_DELIVERY, came)
            health.keep(connection, {health.DELIVERIES: (saw, "what the watch said ten minutes ago")}, now)
        printed.append(check(tmp_path, amo)[1])
    database.close()
    assert "✓ Deliveries the last delivery came at" in printed[0]
    assert "– Deliveries nothing has come from amoCRM since" in printed[1]
    assert "✓ Deliveries nothing has come from amoCRM yet" in printed[2]
    assert not any("ten minutes ago" in one for one in printed)


def test_keys_without_a_consent(tmp_path: Path, amo: AmoStandin) -> None:
    own = {"OTVET_AMOCRM_TOKEN": "", "OTVET_AMOCRM_CLIENT_ID": "id", "OTVET_AMOCRM_CLIENT_SECRET": "secret"}
    code, printed = check(tmp_path, amo, **own)
    assert (code, "✗ amoCRM there is no consent yet; start otvet connect" in printed) == (1, True)
    code, printed = check(tmp_path, amo, **(own | {"OTVET_AMOCRM_CLIENT_SECRET": ""}))
    assert (code, "set OTVET_AMOCRM_CLIENT_SECRET" in printed) == (1, True)


def test_a_token_that_crosses_the_network_in_the_clear(
    tmp_path: Path, amo: AmoStandin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "HERE", ())  # the stand-in is somewhere else
    settings = load_settings(
        database_url=f"sqlite:///{tmp_path / 'conversations.db'}", amocrm_base_url=amo.url, amocrm_token=amo.token
    )

    async def look() -> list[tuple[str, str, str]]:
        async with httpx2.AsyncClient(trust_env=False) as http:
            return [finding async for finding in checking_account.look(settings, http)]

    assert ("Token", "warning") in [
        (subject, state) for subject, state, sentence in asyncio.run(look()) if "unencrypted" in sentence
    ]
