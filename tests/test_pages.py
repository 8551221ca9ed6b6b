"""The pages in a real browser, and what guards them."""

from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, expect

from tests.browsing import PASSWORD, add_user, first_code, stored, visit
from tests.running import Otvet, otvet
from tests.standins.sender import incoming

HTML = {"accept": "text/html"}


def asked(server: Otvet, path: str, **options: object) -> httpx2.Response:
    return httpx2.get(f"{server.url}{path}", trust_env=False, headers=HTML, **options)  # type: ignore[arg-type]


def test_the_first_visit_makes_an_owner_with_the_code_of_the_log_and_nobody_else(
    tmp_path: Path, browser: Browser
) -> None:
    with otvet(tmp_path) as server, visit(browser, server) as first, visit(browser, server) as second:
        for one, code in ((second, "WRONG-WRONG"), (first, first_code(tmp_path))):
            one.page.goto("/")
            expect(one.page).to_have_url(f"{server.url}/set-up")
            one.page.fill("#code", code)
            one.page.fill("#name", "Olga")
            one.page.fill("#password", PASSWORD)
            one.page.click("button.primary")
        expect(second.page.get_by_role("alert")).to_contain_text("not the code")
        second.errors.clear()  # Chromium notes each answer of 401
        assert stored(server, "SELECT name, role FROM users") == [("Olga", "owner")]
        second.page.goto("/set-up")
        expect(second.page).to_have_url(f"{server.url}/sign-in")
        first.page.goto("/")
        expect(first.page.get_by_role("navigation")).to_contain_text("Olga")


def test_a_hand_off_appears_by_itself_and_is_taken_over(tmp_path: Path, browser: Browser) -> None:
    with otvet(tmp_path) as server:
        add_user(server)
        with visit(browser, server) as olga:
            page = olga.sign_in().page
            expect(page.locator(".empty").first).to_contain_text("Nobody waits")
            server.deliver(incoming("call a manager please", message_id="m-1", lead_id=77))
            expect(page.locator(".row")).to_contain_text("deal 77")
            expect(page).to_have_title("(1) Needs a person · Otvet")
            page.click(".row")
            expect(page.locator(".bubble.client")).to_contain_text("call a manager please")
            expect(page.locator("#left")).to_contain_text("asked for a person")
            page.get_by_role("button", name="Seen to").click()
            expect(page.locator("#left")).to_have_count(0)
            assert stored(server, "SELECT who, did FROM audit WHERE did = 'done'") == [("Olga", "done")]


@pytest.mark.quick
@pytest.mark.parametrize("origin", [None, "https://elsewhere.example", "null"])
def test_a_change_that_no_page_of_ours_asked_for_is_refused(tmp_path: Path, origin: str | None) -> None:
    with otvet(tmp_path) as server:
        add_user(server)
        sent = {"name": "Olga", "password": PASSWORD}
        headers = {"origin": origin} if origin else {}
        answer = httpx2.post(f"{server.url}/sign-in", data=sent, headers=headers, trust_env=False)
        assert answer.status_code == 403
        own = httpx2.post(f"{server.url}/sign-in", data=sent, headers={"origin": server.url}, trust_env=False)
        assert own.status_code == 303
        cookie = own.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        session = {"cookie": cookie.partition(";")[0]}
        out = httpx2.post(f"{server.url}/sign-out", headers={**session, "origin": server.url}, trust_env=False)
        assert out.status_code == 403  # without the token of the form


@pytest.mark.quick
def test_every_answer_carries_the_content_policy(tmp_path: Path) -> None:
    with otvet(tmp_path) as server:
        for path in ("/", "/sign-in", "/set-up", "/no-such-page", "/chats/1"):
            answer = asked(server, path, follow_redirects=True)
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
