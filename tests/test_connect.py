"""``otvet connect`` against the stand-in and a real server: from nothing to a working reply, and what is in its way."""

import os
import pty
import re
import select
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from dotenv import dotenv_values

from otvet.account import tokens
from otvet.account.setup import name_of_server, public_address
from otvet.clock import SystemClock
from otvet.errors import SettingsError, UsageError
from otvet.settings.env_file import update
from otvet.storage import outages
from otvet.storage.database import Database
from tests import forked
from tests.forked import Forked
from tests.running import SECRET, Begun, Otvet, begun, command, environment, otvet, wait_for
from tests.standins.amocrm import BLOCKED, AmoStandin, amocrm_standin
from tests.standins.amocrm_access import RIGHTS
from tests.standins.sender import ACCOUNT, body, incoming, message

LEAD = 27754599
CLIENT = "11111111-2222-3333-4444-555555555555"
KEY = "integration-secret-of-the-tests"
SALESBOT = 36143
NOBODY = "http://127.0.0.1:9"
BROKEN_OFF = "Broken off. What was written already is kept; start the same command again to go on."


def connect(folder: Path, *options: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return command(folder, "connect", "--yes", *options, **({"COLUMNS": "400"} | settings))


def said(result: subprocess.CompletedProcess[str]) -> str:
    return " ".join((result.stdout + result.stderr).split())


def env(folder: Path) -> str:
    return (folder / ".env").read_text()


def calls(amo: AmoStandin, method: str, path: str) -> int:
    return sum((entry["method"], entry["path"]) == (method, path) for entry in amo.log)


@contextmanager
def again(folder: Path, server: Otvet, **settings: str) -> Iterator[Otvet]:
    """The same server, started once more where it was."""
    with otvet(folder, OTVET_PORT=server.url.rpartition(":")[2], **settings) as started:
        yield started


def know_something(folder: Path) -> None:
    """An answer of the owner's own."""
    (folder / "knowledge").mkdir()
    (folder / "knowledge" / "ours.md").write_text("# Delivery\n\nThe delivery is 300 rubles.\n")


@pytest.mark.quick
def test_from_nothing_to_a_working_reply(tmp_path: Path, amo: AmoStandin) -> None:
    know_something(tmp_path)
    with otvet(tmp_path) as server:
        first = connect(tmp_path, "--account", amo.url, "--token", amo.token, "--public-url", server.url)
    assert first.returncode == 0, said(first)
    assert "it runs and knows the account" in said(first)  # it has taken the settings up by itself
    with again(tmp_path, server):
        before = env(tmp_path), len(amo.access.hooks), calls(amo, "POST", "/api/v4/webhooks")
        second = connect(tmp_path)
        (hook,) = amo.access.hooks.values()
        answer = httpx2.post(hook["destination"], content=incoming("How much is the delivery?"), trust_env=False)
        assert answer.json()["saved"] == 1
        wait_for(lambda: amo.notes(LEAD), "a note")
    assert second.returncode == 0, said(second)
    assert "it runs and knows the account" in said(second)
    assert "✗" not in said(second)
    assert "–" not in said(second)
    assert (env(tmp_path), len(amo.access.hooks), calls(amo, "POST", "/api/v4/webhooks")) == before
    assert amo.token not in said(first) + said(second)


@contextmanager
def asking_for_consent(folder: Path, amo: AmoStandin, server: Otvet) -> Iterator[tuple[str, Begun]]:
    """``otvet connect`` that waits for the consent, and the page it shows."""
    amo.access.integration(CLIENT, KEY, f"{server.url}/oauth/amocrm")
    options = ["--yes", "--account", amo.url, "--public-url", server.url, "--client-id", CLIENT, "--client-secret", KEY]
    with begun(folder, "connect", *options, COLUMNS="400") as waiting:
        page = wait_for(lambda: re.search(r"http\S+/oauth\?\S+(?=\s)", waiting.printed()), "the page for the consent")
        yield page[0], waiting


def visit(page: str) -> httpx2.Response:
    """The administrator's browser."""
    return httpx2.get(page, follow_redirects=True, trust_env=False)


def end(waiting: Begun) -> tuple[int, str]:
    """Its exit code, and what it printed."""
    code = waiting.wait()
    return code, " ".join((waiting.printed() + waiting.printed("stderr")).split())


def test_a_consent_from_nothing_to_a_working_reply(tmp_path: Path, amo: AmoStandin) -> None:
    with otvet(tmp_path) as server:
        with asking_for_consent(tmp_path, amo, server) as (page, waiting):
            shown = visit(page)
            code, printed = end(waiting)
        assert (shown.status_code, code) == (200, 0), printed
        assert "is connected" in shown.text
        assert "no-store" in shown.headers["cache-control"]
        state = str(httpx2.URL(page).params["state"])
        repeated = visit(f"{server.url}/oauth/amocrm?state={state}&code={amo.access.code(CLIENT)}")
        assert (repeated.status_code, "opened already" in repeated.text) == (400, True)
        assert amo.access.pairs == 1
        log = server.log.read_text()
    with again(tmp_path, server) as restarted:
        second = connect(tmp_path)
        restarted.deliver(incoming("How much is the delivery?"))
        wait_for(lambda: amo.notes(LEAD), "a note")
        log += restarted.log.read_text()
    assert second.returncode == 0, said(second)
    assert amo.access.pairs == 1
    held = b"".join(file.read_bytes() for file in tmp_path.glob("conversations*") if file.suffix != ".key").decode(
        "utf-8", "replace"
    )
    for secret in (*amo.access.given, KEY):
        assert secret not in printed + said(second) + log + held
    assert KEY in env(tmp_path)
    assert SECRET not in log.replace(server.webhook, "")
    assert (tmp_path / "conversations.key").stat().st_mode & 0o777 == 0o600


def test_a_consent_that_is_denied_or_given_for_another_account(tmp_path: Path, amo: AmoStandin) -> None:
    with otvet(tmp_path) as server:
        amo.access.consent = False
        with asking_for_consent(tmp_path, amo, server) as (page, waiting):
            assert visit(page).status_code == 400
            assert "denied" in end(waiting)[1]
        amo.access.consent, amo.access.referer = True, "other.amocrm.ru"
        with asking_for_consent(tmp_path, amo, server) as (page, waiting):
            assert "other.amocrm.ru" in visit(page).text
            code, printed = end(waiting)
        assert "other.amocrm.ru" in printed
        assert code == 1
    assert amo.access.pairs == 0
    assert not (tmp_path / ".env").exists()


def test_an_answer_that_nobody_waits_for(tmp_path: Path) -> None:
    with otvet(tmp_path) as server:
        for query in ("", "?state=made-up&code=x", "?code=<script>&state=<script>", "?error=access_denied"):
            answer = visit(f"{server.url}/oauth/amocrm{query}")
            assert answer.status_code == 400, query
            assert "<script>" not in answer.text
            assert "otvet connect" in answer.text, query


def test_a_code_of_the_integrations_window(tmp_path: Path, amo: AmoStandin) -> None:
    with otvet(tmp_path) as server:
        amo.access.integration(CLIENT, KEY, f"{server.url}/oauth/amocrm")
        given = ("--account", amo.url, "--public-url", server.url, "--client-id", CLIENT, "--client-secret", KEY)
        wrong = connect(tmp_path, *given, "--code", "made-up")
        assert wrong.returncode == 1
        assert "20 minutes" in said(wrong)
        right = connect(tmp_path, *given, "--code", amo.access.code(CLIENT))
        assert right.returncode == 0, said(right)
    assert "OTVET_AMOCRM_CLIENT_ID" in env(tmp_path)


# The same once more


def made(amo: AmoStandin) -> tuple[int, ...]:
    """What was changed in amoCRM: subscriptions, removals, pairs of tokens, and codes that were not taken."""
    changes = [calls(amo, method, "/api/v4/webhooks") for method in ("POST", "DELETE")]
    return (*changes, calls(amo, "POST", "/oauth2/access_token"), amo.access.pairs, amo.access.refused)


@pytest.mark.parametrize("by_consent", [False, True])
def test_the_very_same_command_changes_nothing(tmp_path: Path, amo: AmoStandin, by_consent: bool) -> None:
    with otvet(tmp_path) as server:
        amo.access.integration(CLIENT, KEY, f"{server.url}/oauth/amocrm")
        keys = ("--client-id", CLIENT, "--client-secret", KEY, "--code", amo.access.code(CLIENT))
        way = keys if by_consent else ("--token", amo.token)
        bot = ("--reply-via", "salesbot", "--salesbot-id", str(SALESBOT))
        amo.chats.add_bot(SALESBOT)
        given = ("--account", amo.url, "--public-url", server.url, *way, *bot)
        first = connect(tmp_path, *given)
        assert first.returncode == 0, said(first)
        before = env(tmp_path), (tmp_path / ".env").stat().st_mtime_ns, made(amo), dict(amo.chats.fields)
        second = connect(tmp_path, *given)
        assert second.returncode == 0, said(second)
        assert "✗" not in said(second)
        assert ".env is as it must be" in said(second)
        assert (env(tmp_path), (tmp_path / ".env").stat().st_mtime_ns, made(amo), dict(amo.chats.fields)) == before


def test_a_code_that_is_worth_nothing_takes_no_good_consent_away(tmp_path: Path, amo: AmoStandin) -> None:
    with otvet(tmp_path) as server:
        amo.access.integration(CLIENT, KEY, f"{server.url}/oauth/amocrm")
        given = ("--account", amo.url, "--public-url", server.url, "--client-id", CLIENT, "--client-secret", KEY)
        connect(tmp_path, *given, "--code", amo.access.code(CLIENT))
        result = connect(tmp_path, *given, "--code", "of-last-week")
        assert result.returncode == 0, said(result)
        assert "The consent of before goes on" in said(result)
        assert "was subscribed already" in said(result)
        newer = connect(tmp_path, "--code", amo.access.code(CLIENT))
        assert newer.returncode == 0, said(newer)
    assert amo.access.pairs == 2


def test_a_lost_key_is_mended_by_a_new_consent(tmp_path: Path, amo: AmoStandin) -> None:
    with otvet(tmp_path) as server:
        amo.access.integration(CLIENT, KEY, f"{server.url}/oauth/amocrm")
        given = ("--account", amo.url, "--public-url", server.url, "--client-id", CLIENT, "--client-secret", KEY)
        connect(tmp_path, *given, "--code", amo.access.code(CLIENT))
    (tmp_path / "conversations.key").unlink()
    with again(tmp_path, server) as locked_out:
        locked_out.deliver(incoming("How much is the delivery?"))
        wait_for(lambda: "another key" in locked_out.get("/ready")["amocrm"], "a closed gate")
        result = connect(tmp_path, "--code", amo.access.code(CLIENT))
        assert result.returncode == 0, said(result)
        assert "encrypted with another key" in said(result)
        assert "Stop it and start it again" in said(result)
    with again(tmp_path, server):
        wait_for(lambda: amo.notes(LEAD), "the note to what waited")
        assert "✗" not in said(connect(tmp_path))


def test_a_server_with_another_key_does_not_keep_anybody_waiting(tmp_path: Path, amo: AmoStandin) -> None:
    with otvet(tmp_path, OTVET_SECRET_KEY="k" * 40) as server, asking_for_consent(tmp_path, amo, server) as (page, it):
        assert "different keys" in visit(page).text
        code, printed = end(it)
    assert "different keys" in printed
    assert code == 1


# What is in the way


@pytest.mark.quick
@pytest.mark.parametrize("address", ["https://ответ.рф", "https://crm.xn--b1amarcd.xn--p1ai"])
def test_a_cyrillic_address(address: str) -> None:
    step = name_of_server(address)
    assert step is not None
    assert step.state == "bad"
    assert name_of_server("https://otvet.example.com") is None


@pytest.mark.quick
def test_a_wrong_token_is_written_nowhere(tmp_path: Path, amo: AmoStandin) -> None:
    result = connect(tmp_path, "--account", amo.url, "--token", "not-the-token", "--public-url", NOBODY)
    assert result.returncode == 1
    assert "long-lived token" in said(result)
    assert not (tmp_path / ".env").exists()
    assert amo.access.hooks == {}


def test_a_server_that_is_not_there(tmp_path: Path, amo: AmoStandin) -> None:
    result = connect(tmp_path, "--account", amo.url, "--token", amo.token, "--public-url", NOBODY)
    assert result.returncode == 1
    assert f"{NOBODY}/webhook/amocrm/ does not answer" in said(result)
    assert "make run" in said(result)


def test_a_server_that_runs_and_is_not_seen_under_its_address(tmp_path: Path, amo: AmoStandin) -> None:
    with otvet(tmp_path) as server:
        given = ("--account", amo.url, "--token", amo.token, "--public-url", NOBODY)
        result = connect(tmp_path, *given, OTVET_PORT=server.url.rpartition(":")[2])
    assert result.returncode == 1
    assert f"Otvet runs here, but is not seen at {NOBODY}/webhook/amocrm/ (ConnectError)" in said(result)
    assert f"lead the tunnel or proxy to {server.url}" in said(result)
    assert "make run" not in said(result)


def test_something_else_at_the_public_address(tmp_path: Path, amo: AmoStandin) -> None:
    with amocrm_standin() as other:
        other.fault(method="POST", path="/webhook/*", status=200, body="{}", times=None)
        result = connect(tmp_path, "--account", amo.url, "--token", amo.token, "--public-url", other.url)
    assert result.returncode == 1
    assert "answered by something else (status 200)" in said(result)


@pytest.mark.parametrize(
    ("status", "told"), [(402, "Billing"), (403, "Incoming message received"), (422, "Incoming message received")]
)
def test_webhooks_that_amocrm_refuses_are_entered_by_hand(
    tmp_path: Path, amo: AmoStandin, status: int, told: str
) -> None:
    amo.fault(path="/api/v4/webhooks", status=status, times=None)
    with otvet(tmp_path) as server:
        result = connect(tmp_path, "--account", amo.url, "--token", amo.token, "--public-url", server.url)
    assert result.returncode == 1
    assert told in said(result)
    assert "subscription has ended" not in said(result)  # amoCRM takes the other calls
    assert server.webhook in said(result)


@pytest.mark.parametrize("status", [402, 422])
def test_an_address_to_be_entered_by_hand_is_shown_whole(tmp_path: Path, amo: AmoStandin, status: int) -> None:
    amo.fault(path="/api/v4/webhooks", status=status, times=None)
    public_url = f"http://{'a' * 60}.{'b' * 60}.invalid"
    given = ("--account", amo.url, "--token", amo.token, "--public-url", public_url)
    result = connect(tmp_path, *given, COLUMNS="80", OTVET_WEBHOOK_SECRET=SECRET)
    assert f"  {public_url}/webhook/amocrm/{SECRET}" in result.stdout.splitlines()
    assert "…" not in result.stdout
    assert f"{public_url}/webhook/amocrm/doesnotanswer" in unspaced(result.stdout)


def test_check_shows_addresses_whole(tmp_path: Path) -> None:
    address = f"http://{'a' * 60}.{'b' * 60}.invalid"
    shown = command(tmp_path, "check", OTVET_HOST=address.removeprefix("http://"), OTVET_PORT="8570", COLUMNS="80")
    assert f"{address}:8570" in unspaced(shown.stdout)
    assert "…" not in shown.stdout


def unspaced(printed: str) -> str:
    """What was printed, however a table has laid it over its lines."""
    return "".join(printed.split())


@pytest.mark.parametrize(
    ("key", "told"), [("", "only told that a manager will reply"), ("sk-test", "the AI knows nothing of your prices")]
)
def test_examples_are_no_answers(tmp_path: Path, amo: AmoStandin, key: str, told: str) -> None:
    """Who has only them would wait for an answer from them in vain."""
    shutil.copytree(Path(__file__).parent.parent / "knowledge", tmp_path / "knowledge")
    with otvet(tmp_path) as server:
        given = ("--account", amo.url, "--token", amo.token, "--public-url", server.url)
        result = connect(tmp_path, *given, OTVET_MANUS_API_KEY=key)
    assert result.returncode == 0, said(result)
    assert f"– Knowledge no answers of yours in {tmp_path / 'knowledge'} yet" in said(result)
    assert told in said(result)
    assert "remove line 1" in said(result)
    assert "Connected; see the lines marked with –." in said(result)


def test_an_account_that_knows_few_events(tmp_path: Path, amo: AmoStandin) -> None:
    amo.access.events = ("add_message", "add_talk", "update_lead")
    with otvet(tmp_path) as server:
        result = connect(tmp_path, "--account", amo.url, "--token", amo.token, "--public-url", server.url)
        (hook,) = amo.access.hooks.values()
        assert set(hook["settings"]) == set(amo.access.events)
        asked = calls(amo, "POST", "/api/v4/webhooks")
        assert connect(tmp_path).returncode == 0
    assert result.returncode == 0, said(result)
    assert "add_outgoing_message" in said(result)
    assert calls(amo, "POST", "/api/v4/webhooks") == asked


def test_events_that_a_person_ticked_are_kept(tmp_path: Path, amo: AmoStandin) -> None:
    amo.access.events += ("add_lead",)
    with otvet(tmp_path) as server:
        theirs = {"id": 1, "destination": server.webhook, "settings": ["add_lead"], "disabled": False}
        amo.access.hooks[server.webhook] = theirs
        connect(tmp_path, "--account", amo.url, "--token", amo.token, "--public-url", server.url)
    assert {"add_message", "add_lead"} <= set(amo.access.hooks[server.webhook]["settings"])


def test_rights_that_are_missing(tmp_path: Path, amo: AmoStandin) -> None:
    amo.access.rights = RIGHTS | {"is_admin": False, "leads": {"view": "A", "edit": "D"}}
    result = connect(tmp_path, "--account", amo.url, "--token", amo.token, "--public-url", NOBODY)
    assert "the token's owner may not: change deals" in said(result)
    amo.access.rights = None
    assert "does not tell them" in said(connect(tmp_path))


@pytest.mark.parametrize("typed", ["", " \n", "Bearer \n"])
def test_an_empty_token_is_a_missing_answer(tmp_path: Path, amo: AmoStandin, typed: str) -> None:
    result = command(tmp_path, "connect", "--yes", "--account", amo.url, "--token", "-", typed=typed)
    assert (result.returncode, result.stderr.strip()) == (2, "the token is empty; give --token")


def test_a_ban_is_respected(tmp_path: Path, amo: AmoStandin) -> None:
    given = ("--account", amo.url, "--token", amo.token)
    amo.fault(status=403, body=BLOCKED, content_type="text/html", times=None)
    connect(tmp_path, *given)
    database = Database(f"sqlite:///{tmp_path / 'conversations.db'}")
    with database.writes.begin() as connection:
        outages.begin(connection, "banned", "amoCRM has blocked this server", SystemClock().now())
    database.close()
    asked = len(amo.log)
    result = connect(tmp_path, *given)
    assert result.returncode == 1
    assert "has blocked this server" in said(result)
    assert len(amo.log) == asked


@pytest.mark.quick
@pytest.mark.parametrize(
    "address", ["https://evil.example.com", "amocrm.ru", "www.amocrm.ru", "a@b.amocrm.ru.evil.com", ""]
)
def test_an_address_that_is_none_of_amocrms(tmp_path: Path, address: str) -> None:
    result = connect(tmp_path, "--account", address or " ", "--token", "secret-token")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "example.amocrm.ru" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.quick
def test_the_token_of_one_account_is_not_tried_at_another(tmp_path: Path, amo: AmoStandin) -> None:
    for settings in (
        {"OTVET_AMOCRM_TOKEN": amo.token},
        {"OTVET_AMOCRM_CLIENT_ID": CLIENT, "OTVET_AMOCRM_CLIENT_SECRET": KEY},
    ):
        options = ("--account", amo.url, *(["--code", "x"] if "OTVET_AMOCRM_CLIENT_ID" in settings else []))
        result = connect(tmp_path, *options, OTVET_AMOCRM_BASE_URL="https://other.amocrm.ru", **settings)
        assert result.returncode == 2
    assert amo.log == []


def test_nothing_is_asked_unattended(tmp_path: Path) -> None:
    for options, told in (((), "--account"), (("--account", "example"), "--token"), (("--code", "x"), "--account")):
        result = connect(tmp_path, *options)
        assert result.returncode == 2
        assert told in result.stderr


def test_answers_that_are_typed(tmp_path: Path, amo: AmoStandin) -> None:
    result = typed(tmp_path, amo.url, "3", "1", amo.token, "", "1")
    assert "account" in result.stdout.lower()
    assert "--public-url" in said(result)
    assert result.returncode == 1
    assert f"OTVET_AMOCRM_BASE_URL='{amo.url}'" in env(tmp_path)
    assert "OTVET_REPLY_VIA=note" in env(tmp_path)
    assert amo.token not in said(result)


def typed(folder: Path, *lines: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Somebody types the answers, and then breaks it off."""
    text = "".join(f"{line}\n" for line in lines)
    return command(folder, "connect", *options, typed=text, COLUMNS="400")


def test_a_mistake_in_an_answer_is_explained_and_asked_for_again(tmp_path: Path, amo: AmoStandin) -> None:
    accounts, ways, addresses = ("evil.example.com", amo.url), ("x", "3", "1"), ("otvet", "otvet.invalid")
    printed = said(typed(tmp_path, *accounts, *ways, "Bearer ", "с токеном", amo.token, *addresses, "1"))
    assert "evil.example.com is no address of an account" in printed
    assert printed.count("enter a number from 1 to 2") == 2
    assert "the token is empty" in printed
    assert "this is no token" in printed
    assert "otvet is no address of a server; it looks like https://otvet.example.com" in printed
    assert dotenv_values(tmp_path / ".env")["OTVET_PUBLIC_URL"] == "https://otvet.invalid"


def test_a_token_that_amocrm_refuses_is_asked_for_again_and_nothing_is_lost(tmp_path: Path, amo: AmoStandin) -> None:
    result = typed(tmp_path, amo.url, "1", amo.token[:-4], "withdrawn", amo.token, "otvet.invalid", "1")
    assert said(result).count("amoCRM does not accept this token for") == 2
    assert said(result).count("account's address") == 1
    written = dotenv_values(tmp_path / ".env")
    assert (written["OTVET_AMOCRM_TOKEN"], written["OTVET_PUBLIC_URL"]) == (amo.token, "https://otvet.invalid")
    assert amo.token[:-4] not in said(result)


def test_a_token_of_an_option_or_the_settings_that_is_refused_is_asked_for_too(tmp_path: Path, amo: AmoStandin) -> None:
    known = ("--account", amo.url, "--public-url", "https://otvet.invalid")
    result = typed(tmp_path, amo.token, "1", options=(*known, "--token", "of-another-account"))
    assert said(result).count("amoCRM does not accept this token for") == 1
    assert dotenv_values(tmp_path / ".env")["OTVET_AMOCRM_TOKEN"] == amo.token
    amo.token = "a-new-one"  # the old one was withdrawn
    result = typed(tmp_path, amo.token, "1")
    assert said(result).count("amoCRM does not accept this token for") == 1
    assert dotenv_values(tmp_path / ".env")["OTVET_AMOCRM_TOKEN"] == "a-new-one"


@pytest.mark.parametrize("fault", [{"status": 402}, {"status": 503}, {"drop": "before"}])
def test_no_other_token_is_asked_for_where_it_is_not_the_tokens_fault(
    tmp_path: Path, amo: AmoStandin, fault: dict[str, Any]
) -> None:
    amo.fault(path="/api/v4/account", times=None, **fault)
    result = typed(tmp_path, amo.url, "1", amo.token, "otvet.invalid", "1")
    assert "does not accept this token" not in said(result)
    assert result.returncode == 1


@pytest.mark.quick
def test_a_mistake_in_an_option_is_said_before_anything_is_asked(tmp_path: Path, amo: AmoStandin) -> None:
    result = typed(tmp_path, amo.url, "1", amo.token, options=("--public-url", "otvet.example.com"))
    assert (result.returncode, result.stdout) == (1, "")
    assert "OTVET_PUBLIC_URL" in result.stderr


def read_until(terminal: int, what: str) -> str:
    """What comes to a terminal, up to ``what``."""
    printed = ""
    while what not in printed:
        ready, _, _ = select.select([terminal], [], [], 60)
        assert ready, printed
        printed += os.read(terminal, 4096).decode("utf-8", "replace")
    return printed


def rest(terminal: int) -> str:
    """What comes to a terminal until nobody has it open."""
    printed = b""
    with suppress(OSError):
        while select.select([terminal], [], [], 30)[0]:
            printed += os.read(terminal, 4096)
    return printed.decode("utf-8", "replace")


@pytest.mark.parametrize("hidden", [False, True])
def test_one_ctrl_c_at_a_question_ends_it(tmp_path: Path, amo: AmoStandin, hidden: bool) -> None:
    terminal, theirs = pty.openpty()
    given = ["--account", amo.url, *([] if hidden else ["--token", amo.token])]
    asked = environment(tmp_path, COLUMNS="400")
    asking = Forked(forked.run_at_a_terminal, ["connect", *given], str(tmp_path), asked, *[os.ttyname(theirs)] * 3)
    try:
        if hidden:
            read_until(terminal, "Your choice")
            os.write(terminal, b"1\n")
            read_until(terminal, "not shown")
        else:
            read_until(terminal, "empty: not yet")
            os.write(terminal, b"\n")
            read_until(terminal, "Your choice")
        os.close(theirs)
        os.write(terminal, b"\x03")
        printed = rest(terminal)
        assert asking.wait(60) == 130
    finally:
        asking.send_signal(signal.SIGKILL)
        os.close(terminal)
    assert [line for line in printed.splitlines()[1:] if line.strip()] == [BROKEN_OFF]
    assert (tmp_path / ".env").exists() != hidden  # what was seen to work before that is kept


@pytest.mark.quick
@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("otvet.example.com", "https://otvet.example.com"),
        (" otvet.example.com:8443/ ", "https://otvet.example.com:8443"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("https://example.com/otvet", "https://example.com/otvet"),
    ],
)
def test_a_public_address_as_it_is_typed(typed: str, address: str) -> None:
    assert public_address(typed) == address


@pytest.mark.quick
@pytest.mark.parametrize(
    "typed", ["otvet", "https://", "https:/otvet.example.com", "ftp://example.com", "a b.com", "ответ.рф", "a.com:x"]
)
def test_what_is_no_public_address(typed: str) -> None:
    with pytest.raises(UsageError):
        public_address(typed)


# .env


@pytest.mark.quick
def test_the_settings_file_keeps_what_it_has(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("# mine\nOTVET_PORT=8001\nexport OTHER='a b'\n\n# secret\nOTVET_AMOCRM_TOKEN=old\nLAST=1")
    file.chmod(0o644)
    awkward = 'a\'b\\c#d $e "f"\\'
    changed = update(file, {"amocrm_token": awkward, "public_url": "https://otvet.example.com", "port": "8001"})
    assert changed == ["OTVET_AMOCRM_TOKEN", "OTVET_PUBLIC_URL"]
    others = ["# mine", "export OTHER='a b'", "", "# secret", "LAST=1"]
    assert [line for line in file.read_text().splitlines() if not line.startswith("OTVET_")] == others
    assert "OTVET_PORT=8001" in file.read_text().splitlines()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert dotenv_values(file, interpolate=True)["OTVET_AMOCRM_TOKEN"] == awkward
    before = file.stat().st_mtime_ns
    assert update(file, {"amocrm_token": awkward}) == []
    assert file.stat().st_mtime_ns == before
    assert update(file, {"amocrm_token": ""}) == ["OTVET_AMOCRM_TOKEN"]
    assert list(tmp_path.iterdir()) == [file]
    assert [line for line in file.read_text().splitlines() if not line.startswith("OTVET_")] == others


@pytest.mark.quick
def test_the_settings_file_is_changed_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    file, link = tmp_path / ".env", tmp_path / "link"
    file.write_text("OTVET_PORT=8001\nOTVET_PORT=8002\n")
    link.symlink_to(file)
    with pytest.raises(SettingsError):
        update(link, {"amocrm_token": "new", "public_url": "\udc80"})  # no file can hold half a character
    assert file.read_text() == "OTVET_PORT=8001\nOTVET_PORT=8002\n"
    assert sorted(tmp_path.iterdir()) == [file, link]
    assert update(link, {"port": "8003"}) == ["OTVET_PORT"]
    assert link.is_symlink()
    assert set(file.read_text().splitlines()) == {"OTVET_PORT=8003"}  # of two lines the second would win


def test_a_variable_of_the_environment_that_wins_is_named(tmp_path: Path, amo: AmoStandin) -> None:
    given = ("--account", amo.url, "--token", amo.token, "--public-url", NOBODY)
    result = connect(tmp_path, *given, OTVET_AMOCRM_TOKEN="another")
    assert "the environment sets OTVET_AMOCRM_TOKEN otherwise" in said(result)


# While it runs


@pytest.fixture
def connected(tmp_path: Path, amo: AmoStandin) -> Iterator[Otvet]:
    """A server that an own integration let in."""
    with otvet(tmp_path) as server, asking_for_consent(tmp_path, amo, server) as (page, waiting):
        visit(page)
        assert waiting.wait() == 0
    with again(tmp_path, server) as started:
        wait_for(lambda: "token" in started.get("/ready").get("amocrm_watch", {}), "the watch's first look")
        yield started


def aged(folder: Path, hours: float) -> None:
    """The tokens were given that long ago."""
    database = Database(f"sqlite:///{folder / 'conversations.db'}")
    with database.writes.begin() as connection:
        row = connection.execute(sa.select(tokens.tokens)).one()
        earlier = {"issued_at": row.issued_at, "expires_at": row.expires_at}
        passed = {name: at.fromtimestamp(at.timestamp() - hours * 3600, at.tzinfo) for name, at in earlier.items()}
        connection.execute(tokens.tokens.update().values(passed))
    database.close()


def test_a_token_that_ends_in_between_is_renewed_on_the_way(tmp_path: Path, amo: AmoStandin, connected: Otvet) -> None:
    amo.access.expire()
    aged(tmp_path, hours=1)
    connected.deliver(incoming("How much is the delivery?"))
    wait_for(lambda: amo.notes(LEAD), "a note")
    wait_for(connected.settled, "the turn closed")
    assert len(amo.notes(LEAD)) == 1
    assert amo.access.pairs == 2


def test_a_withdrawn_consent_stops_sending_and_keeps_the_queue(
    tmp_path: Path, amo: AmoStandin, connected: Otvet
) -> None:
    amo.access.revoke()
    aged(tmp_path, hours=1)
    connected.deliver(incoming("How much is the delivery?"))
    wait_for(lambda: "withdrawn the consent" in connected.get("/ready")["amocrm"], "the closed gate")
    assert not connected.settled()
    assert amo.access.refused == 1
    given = connect(tmp_path, "--code", amo.access.code(CLIENT))
    assert given.returncode == 0, said(given)
    wait_for(lambda: amo.notes(LEAD), "the note that waited")
    wait_for(connected.settled, "the turn closed")
    assert connected.get("/ready")["amocrm"] == "open"


def test_a_delivery_of_another_account_is_put_aside(connected: Otvet) -> None:
    foreign = {**ACCOUNT, "id": 1, "subdomain": "other"}
    wait_for(lambda: connected.get("/ready")["amocrm_watch"]["token"] == "good", "the known account")
    said_there = body(("message", "add", [message("hello")]), account=foreign)
    assert connected.deliver(said_there).json() == {"saved": 0, "duplicates": 0}
    assert connected.get("/api/stats")["quarantined"] == 1
    assert connected.deliver(incoming("hello")).json()["saved"] == 1
    assert connected.get("/api/stats")["quarantined"] == 1


def test_so_it_is_from_the_first_moment_after_a_restart(tmp_path: Path, amo: AmoStandin) -> None:
    """The watch's own look takes as long as amoCRM does; what is known stands in the database."""
    with otvet(tmp_path) as server:
        connect(tmp_path, "--account", amo.url, "--token", amo.token, "--public-url", server.url)
    amo.fault(path="/api/v4/account", delay=30, times=None)
    foreign = body(("message", "add", [message("hello")]), account={**ACCOUNT, "id": 1, "subdomain": "other"})
    with again(tmp_path, server) as started:
        assert started.deliver(foreign).json() == {"saved": 0, "duplicates": 0}
        assert started.get("/api/stats")["quarantined"] == 1
        assert started.deliver(incoming("hello")).json()["saved"] == 1


def test_a_trial_delivery_is_not_kept(connected: Otvet) -> None:
    before = connected.get("/ready")["amocrm_watch"]["last_delivery_at"]
    answer = httpx2.post(connected.webhook, content=b"otvet_trial=aaaaaaaaaaaaaaaaaaaa", trust_env=False)
    assert len(answer.json()["otvet_trial"]) == 64
    assert connected.get("/api/stats")["quarantined"] == 0
    assert connected.get("/ready")["amocrm_watch"]["last_delivery_at"] == before
