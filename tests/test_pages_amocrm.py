"""The account connected in the browser, as ``otvet connect`` does it; and what the check-list and health say of it."""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, expect

from tests.browsing import DESKTOP, add_user, stored, visit
from tests.running import command, otvet, wait_for
from tests.standins.amocrm import AmoStandin, amocrm_standin
from tests.standins.sender import incoming
from tests.test_pages_settings import Signed

LEAD = 27754599
KEY = "integration-secret-of-the-tests"


@pytest.fixture
def amo() -> Iterator[AmoStandin]:
    with amocrm_standin() as standin:
        standin.rate = 1000
        standin.add_lead(LEAD)
        yield standin


def know_something(folder: Path) -> None:
    (folder / "knowledge").mkdir()
    (folder / "knowledge" / "ours.md").write_text("# How much is the delivery?\n\nThe delivery is 300 rubles.\n")


def test_from_nothing_to_a_reply_in_the_account_without_a_terminal(
    tmp_path: Path, browser: Browser, amo: AmoStandin
) -> None:
    know_something(tmp_path)
    with otvet(tmp_path) as server:
        add_user(server)
        with visit(browser, server, width=DESKTOP) as olga:
            page = olga.sign_in().page
            page.goto("/start")
            expect(page.locator(".first-steps .good")).to_have_count(1)  # the knowledge
            page.get_by_role("link", name="Connect amoCRM").click()
            page.fill("#amocrm_base_url", amo.url)
            page.fill("#public_url", server.url)
            page.fill("#amocrm_token", "not-the-token")
            page.get_by_role("button", name="Connect", exact=True).click()
            expect(page.locator(".step.bad")).to_contain_text("Token")
            expect(page.locator("#progress .being-written")).to_have_count(0)
            assert stored(server, "SELECT name FROM kept_settings") == []
            page.reload()
            page.fill("#amocrm_base_url", amo.url)
            page.fill("#public_url", server.url)
            page.fill("#amocrm_token", amo.token)
            page.get_by_role("button", name="Connect", exact=True).click()
            expect(page.locator("#progress")).to_contain_text("subscribed")
            expect(page.locator(".step.bad")).to_have_count(0)
            assert [hook["destination"] for hook in amo.access.hooks.values()] == [server.webhook]
            page.goto("/start")
            expect(page.locator(".first-steps .good")).to_have_count(2)
            server.deliver(incoming("How much is the delivery?", message_id="m-1", lead_id=LEAD))
            wait_for(lambda: amo.notes(LEAD), "the reply is in the deal")
            assert amo.token not in page.content()
            page.goto("/health")
            expect(page.locator("#health")).to_contain_text("connected to")


def test_a_way_that_does_not_work_is_not_taken_and_one_that_does_is(tmp_path: Path, amo: AmoStandin) -> None:
    connected = {"OTVET_AMOCRM_BASE_URL": amo.url, "OTVET_AMOCRM_TOKEN": amo.token}
    with otvet(tmp_path, **connected) as server:
        add_user(server)
        olga = Signed(server)
        assert "set in the environment: OTVET_AMOCRM_TOKEN" in olga.get("/settings/amocrm")

        def settled(text: str) -> bool:
            html = olga.get("/settings/amocrm")
            return text in html and "being-written" not in html

        assert olga.post("/settings/amocrm/replies", reply_via="pigeon").status_code == 422
        assert olga.post("/settings/amocrm/replies", reply_via="salesbot").status_code == 303
        wait_for(lambda: settled("{{lead.cf."), "the guide to the bot")
        assert olga.post("/settings/amocrm/replies", reply_via="widget").status_code == 303
        wait_for(lambda: settled("amoCRM cannot reach this server"), "the widget lacks an address")
        assert stored(server, "SELECT name FROM kept_settings") == []
        assert olga.post("/settings/amocrm/replies", reply_via="note").status_code == 303
        wait_for(lambda: stored(server, "SELECT value FROM kept_settings") == [("note",)], "notes are chosen")
        for account, sentence in (("https://example.com", "no address of an account"), (amo.url + "/x", "")):
            answer = olga.post("/settings/amocrm/connect", amocrm_base_url=account, amocrm_token="a token")
            assert answer.status_code == 422
            assert sentence in answer.text


def test_a_consent_is_given_in_the_browser(tmp_path: Path, amo: AmoStandin) -> None:
    know_something(tmp_path)
    with otvet(tmp_path) as server:
        add_user(server)
        amo.access.integration("our-integration", KEY, f"{server.url}/oauth/amocrm")
        olga = Signed(server)
        olga.get("/settings/amocrm")
        answer = olga.post(
            "/settings/amocrm/connect",
            amocrm_base_url=amo.url,
            public_url=server.url,
            amocrm_client_id="our-integration",
            amocrm_client_secret=KEY,
        )
        assert answer.status_code == 303, answer.text
        ways = wait_for(
            lambda: re.findall(r'href="([^"]+/oauth\?[^"]+)"', olga.get("/settings/amocrm")), "the way there"
        )
        assert stored(server, "SELECT name FROM kept_settings") == []  # nothing is kept before it is known to work
        consent = httpx2.get(unescape(ways[0]), follow_redirects=True, trust_env=False)
        assert "amoCRM is connected" in consent.text
        wait_for(lambda: "subscribed" in olga.get("/settings/amocrm"), "the webhook is subscribed")
        names = {row[0] for row in stored(server, "SELECT name FROM kept_settings")}
        assert {"amocrm_base_url", "amocrm_client_id", "amocrm_client_secret"} <= names
        assert KEY not in olga.get("/settings/amocrm")
        server.deliver(incoming("How much is the delivery?", message_id="m-1", lead_id=LEAD))
        wait_for(lambda: amo.notes(LEAD), "the reply is in the deal")


def test_the_command_beside_a_running_server_takes_effect_by_itself(tmp_path: Path, amo: AmoStandin) -> None:
    know_something(tmp_path)
    with otvet(tmp_path) as server:
        options = ("--account", amo.url, "--token", amo.token, "--public-url", server.url, "--reply-via", "note")
        result = command(
            tmp_path, "connect", "--yes", *options, OTVET_PORT=server.url.rpartition(":")[2], COLUMNS="400"
        )
        assert "it runs and knows the account" in result.stdout
        assert result.returncode == 0
        server.deliver(incoming("How much is the delivery?", message_id="m-1", lead_id=LEAD))
        wait_for(lambda: amo.notes(LEAD), "the reply is in the deal")


@pytest.mark.quick
def test_health_names_what_to_do_first_and_calls_nobody(tmp_path: Path, amo: AmoStandin) -> None:
    with otvet(tmp_path) as server:
        add_user(server)
        assert server.get("/health")["status"] == "ok"  # what machines ask
        olga = Signed(server)
        html = olga.get("/health")
        assert html.index("Knowledge") < html.index("no AI is connected") < html.index("What works")
        assert "The whole check" in html
        olga.post("/assistant/stop")
        assert "Olga stopped it everywhere" in olga.get("/health")
        assert amo.log == []
        olga.post("/health/check")
        wait_for(lambda: "Found on" in olga.get("/health"), "the whole check has run", 120)
        assert "Another model" in olga.get("/health")
