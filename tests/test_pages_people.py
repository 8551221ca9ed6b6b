"""Users, tokens, the audit and one's own page in a real browser."""

from pathlib import Path

import httpx2
from playwright.sync_api import Browser, expect

from otvet.users.users import Role
from tests.browsing import PASSWORD, PHONE, add_user, stored, visit
from tests.running import otvet


def test_an_owner_invites_makes_a_token_and_shuts_somebody_out(tmp_path: Path, browser: Browser) -> None:
    with otvet(tmp_path) as server:
        add_user(server)
        add_user(server, "<b>Igor</b>", Role.MANAGER)
        with visit(browser, server) as olga, visit(browser, server, width=PHONE, scripts=False) as anna:
            page = olga.sign_in().page
            page.goto("/settings/people")
            page.get_by_label("viewer").check()
            page.get_by_role("button", name="Make a link").click()
            link = page.locator("#secret").inner_text()
            page.get_by_role("link", name="Copied, go on").click()
            expect(page.get_by_role("button", name="Withdraw")).to_have_count(1)

            anna.page.goto(link)  # on a phone, without scripts
            anna.page.fill("#name", "Anna")
            anna.page.fill("#password", PASSWORD)
            anna.page.get_by_role("button", name="Begin").click()
            anna.page.goto("/me")
            expect(anna.page.locator("main")).to_contain_text("this browser")
            assert anna.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
            anna.page.get_by_label("Single keys move and act").uncheck()
            anna.page.get_by_role("button", name="Save").click()
            expect(anna.page.get_by_label("Single keys move and act")).not_to_be_checked()

            page.goto("/settings/tokens")
            page.fill("#name", "Prometheus")
            page.get_by_role("button", name="Make a token").click()
            token = page.locator("#secret").inner_text()
            good = {"authorization": f"Bearer {token}"}
            assert httpx2.get(f"{server.url}/metrics", headers=good, trust_env=False).status_code == 200
            page.goto("/settings/tokens")
            expect(page.locator("main")).to_contain_text("last used")
            expect(page.locator("main")).not_to_contain_text(token)
            page.get_by_role("button", name="Revoke").click()
            expect(page.locator("main")).to_contain_text("There is no token yet.")
            assert httpx2.get(f"{server.url}/metrics", headers=good, trust_env=False).status_code == 401

            page.goto("/settings/people")
            page.get_by_role("link", name="<b>Igor</b>").click()
            page.get_by_label("owner").check()
            page.get_by_role("button", name="Save").click()
            expect(page.get_by_label("owner")).to_be_checked()
            page.get_by_role("button", name="Shut out").click()
            expect(page.locator(".notice")).to_contain_text("Shut out since")
            page.goto("/settings/audit")
            rows = page.locator("tbody tr")
            expect(rows.nth(0)).to_contain_text("Shut a user out")
            expect(rows.nth(1)).to_contain_text("Changed a role: owner")
            assert stored(server, "SELECT count(*) FROM audit") == [(rows.count(),)]
